//! The keys of identity providers: held in the isolate, copied in KV, fetched through the guarded
//! way out. A token whose key is held waits for nothing.

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

use http::StatusCode;
use mcp_connect_catalog::{Endpoint, EndpointRules};
use worker::Delay;

use super::App;
use crate::{
    authority::{
        AccessToken, Holding, KeyHint, KeySource, MetadataFault, NoKey, ProviderKeys, SignedToken,
        Step, TokenFault, jwks_uri, metadata_urls,
    },
    platform::{
        SignatureError, VerifyingKey, log,
        metrics::{self, looked_up},
        now_millis,
        outbound::{self, Outbound},
    },
    store::{KeySetCopy, Store},
};

/// For each of the up to three requests.
const TIME_LIMIT: Duration = Duration::from_secs(3);
const MAX_BYTES: usize = mcp_connect_descriptor::MAX_KEY_SET_BYTES;
const WAIT: Duration = Duration::from_millis(25);
/// More providers than that aren't held: KV has them.
const MAX_HELD: usize = 256;

thread_local! {
    // Holds nothing that may be lost: KV has it, and the providers.
    static HELD: RefCell<HashMap<KeySource, Held>> = RefCell::default();
}

#[derive(Clone, Default)]
struct Held {
    holding: Holding,
    keys: Option<Rc<Keys>>,
}

struct Keys {
    set: ProviderKeys,
    /// By place in the set.
    imported: RefCell<Vec<(usize, VerifyingKey)>>,
}

/// Why it can't be said that a provider signed a token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unproven {
    #[error(transparent)]
    Refused(#[from] TokenFault),
    #[error("the provider's keys can't be got")]
    NoKeys,
    #[error(transparent)]
    Platform(#[from] SignatureError),
}

/// The token, if the provider whose keys these are signed it.
pub(crate) async fn check_signature<'a>(
    app: &App,
    source: &KeySource,
    token: &'a AccessToken,
) -> Result<SignedToken<'a>, Unproven> {
    count_held(source, token.key());
    let key = key_for(app, source, token.key()).await?;
    let signed = key.check(token).await?;
    signed.ok_or_else(|| TokenFault("the signature is not the key's").into())
}

/// What the isolate has at hand, before anything is awaited.
fn count_held(source: &KeySource, hint: &KeyHint) {
    let Held { holding, keys } = held(source);
    let fits = keys
        .as_deref()
        .is_some_and(|keys| keys.set.find(hint).is_ok());
    let found = match holding.step(fits, now_millis()) {
        Step::Use => "fresh",
        Step::UseAndLook => "stale",
        _ => "missing",
    };
    metrics::count(looked_up("provider_keys", found));
}

async fn key_for(app: &App, source: &KeySource, hint: &KeyHint) -> Result<VerifyingKey, Unproven> {
    loop {
        let Held { holding, keys } = held(source);
        let fits = fits(keys.as_deref(), hint)?;
        let step = holding.step(fits, now_millis());
        if matches!(step, Step::Look | Step::UseAndLook) {
            look_behind(app, source, hint);
        }
        match (step, keys) {
            (Step::Use | Step::UseAndLook, Some(keys)) => return keys.import(hint).await,
            // Nobody can await what another request waits for.
            (Step::Look | Step::Wait, _) => Delay::from(WAIT).await,
            (Step::Refuse, _) => return Err(TokenFault("no key of the provider fits").into()),
            (Step::Unavailable | Step::Use | Step::UseAndLook, _) => return Err(Unproven::NoKeys),
        }
    }
}

fn fits(keys: Option<&Keys>, hint: &KeyHint) -> Result<bool, TokenFault> {
    match keys.map(|keys| keys.set.find(hint)) {
        Some(Ok(_)) => Ok(true),
        Some(Err(NoKey::Unknown)) | None => Ok(false),
        Some(Err(NoKey::Ambiguous)) => {
            Err(TokenFault("the provider has more than one key that fits"))
        }
    }
}

impl Keys {
    fn parse(json: &str) -> Option<Rc<Self>> {
        let set = ProviderKeys::parse(json.as_bytes()).ok()?;
        Some(Self::new(set))
    }

    fn new(set: ProviderKeys) -> Rc<Self> {
        let imported = RefCell::default();
        Rc::new(Self { set, imported })
    }

    async fn import(&self, hint: &KeyHint) -> Result<VerifyingKey, Unproven> {
        let algorithm = hint.algorithm;
        let Ok((place, key)) = self.set.find(hint) else {
            return Err(Unproven::NoKeys);
        };
        let known = self
            .imported
            .borrow()
            .iter()
            .find(|(at, key)| *at == place && key.algorithm() == algorithm)
            .map(|(_, key)| key.clone());
        if let Some(key) = known {
            return Ok(key);
        }
        let key = VerifyingKey::import(key, algorithm).await?;
        self.imported.borrow_mut().push((place, key.clone()));
        Ok(key)
    }
}

fn held(source: &KeySource) -> Held {
    HELD.with_borrow(|held| held.get(source).cloned().unwrap_or_default())
}

fn change_held(source: &KeySource, change: impl FnOnce(&mut Held)) {
    HELD.with_borrow_mut(|held| {
        if held.len() >= MAX_HELD && !held.contains_key(source) {
            held.clear();
        }
        change(held.entry(source.clone()).or_default());
    });
}

/// Goes on even if the request that began it is given up.
fn look_behind(app: &App, source: &KeySource, hint: &KeyHint) {
    change_held(source, |held| {
        held.holding.looked_at = Some(now_millis());
        held.holding.looking = true;
    });
    let (app_behind, source, hint) = (app.clone(), source.clone(), hint.clone());
    app.context.wait_until(async move {
        look(&app_behind, &source, &hint).await;
        change_held(&source, |held| held.holding.looking = false);
    });
}

/// Takes over what KV has, and asks the provider where that is not enough.
async fn look(app: &App, source: &KeySource, hint: &KeyHint) {
    let mut copy = app.store.key_set_copy(source).await.unwrap_or_default();
    adopt(source, &copy);
    let Held { holding, keys } = held(source);
    let known = Holding {
        fetched_at: holding.fetched_at,
        looked_at: Some(copy.looked_at),
        looking: false,
    };
    let fits = fits(keys.as_deref(), hint).unwrap_or(true);
    if !matches!(
        known.step(fits, now_millis()),
        Step::Look | Step::UseAndLook
    ) {
        metrics::count(looked_up("provider_keys_copy", "fresh"));
        // Another isolate has looked: the next look is due when it is for that one.
        change_held(source, |held| held.holding.looked_at = Some(copy.looked_at));
        return;
    }
    let found = copy.key_set.as_ref().map_or("missing", |_| "stale");
    metrics::count(looked_up("provider_keys_copy", found));
    // From before KV was read, so that KV and the isolate agree on when the next look is due.
    copy.looked_at = holding.looked_at.unwrap_or_else(now_millis);
    match fetch(source, app.settings.endpoint_rules()).await {
        Ok((key_set, set)) => {
            change_held(source, |held| {
                held.holding.fetched_at = Some(copy.looked_at);
                held.keys = Some(Keys::new(set));
            });
            copy.fetched_at = Some(copy.looked_at);
            copy.key_set = Some(key_set);
        }
        Err(problem) => {
            let members = [("issuer", source.issuer.as_str()), ("problem", &problem)];
            log::error("provider_keys_failed", &members);
        }
    }
    keep(&app.store, source, &copy).await;
}

/// A copy that is newer than what is held replaces it whole.
fn adopt(source: &KeySource, copy: &KeySetCopy) {
    let newer = copy.fetched_at > held(source).holding.fetched_at;
    let keys = copy.key_set.as_deref().and_then(Keys::parse);
    if let Some(keys) = keys.filter(|_| newer) {
        change_held(source, |held| {
            held.holding.fetched_at = copy.fetched_at;
            held.keys = Some(keys);
        });
    }
}

async fn keep(store: &Store, source: &KeySource, copy: &KeySetCopy) {
    if let Err(error) = store.put_key_set_copy(source, copy).await {
        log::error("key_set_copy_failed", &[("problem", &error.to_string())]);
    }
}

/// That a provider can be used: its keys are got and kept. The error is for the operator.
pub(crate) async fn try_out(app: &App, source: &KeySource) -> Result<(), String> {
    let looked_at = now_millis();
    let (key_set, set) = fetch(source, app.settings.endpoint_rules()).await?;
    if set.is_empty() {
        return Err(
            "the provider's key set has no key for RS256, PS256, ES256 or EdDSA signatures (RSA needs 2048 bits)"
                .into(),
        );
    }
    let copy = KeySetCopy {
        key_set: Some(key_set),
        fetched_at: Some(looked_at),
        looked_at,
    };
    keep(&app.store, source, &copy).await;
    Ok(())
}

async fn fetch(source: &KeySource, rules: EndpointRules) -> Result<(String, ProviderKeys), String> {
    let jwks_uri = match &source.jwks_uri {
        Some(jwks_uri) => jwks_uri.clone(),
        None => discover(&source.issuer, rules).await?,
    };
    let body = get(&jwks_uri, rules).await?;
    let set = ProviderKeys::parse(&body).map_err(|fault| format!("{jwks_uri}: {fault}"))?;
    let key_set = String::from_utf8(body).map_err(|_| format!("{jwks_uri}: is not UTF-8"))?;
    Ok((key_set, set))
}

async fn discover(issuer: &str, rules: EndpointRules) -> Result<String, String> {
    let mut problems = Vec::new();
    for url in metadata_urls(issuer) {
        let found = match get(&url, rules).await {
            Ok(metadata) => jwks_uri(&metadata, issuer),
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        match found {
            Ok(jwks_uri) => return Ok(jwks_uri),
            Err(fault) => problems.push(format!("{url}: {fault}")),
        }
        if found == Err(MetadataFault::OtherIssuer) {
            break;
        }
    }
    Err(problems.join("; "))
}

async fn get(url: &str, rules: EndpointRules) -> Result<Vec<u8>, String> {
    let endpoint = Endpoint::parse(url, rules).map_err(|error| format!("{url}: {error}"))?;
    let answer = outbound::fetch(&Outbound {
        url: &endpoint,
        headers: &[("accept", "application/json")],
        body: None,
        time_limit: TIME_LIMIT,
        max_bytes: MAX_BYTES,
    })
    .await
    .map_err(|error| format!("{url}: {error}"))?;
    match answer.status {
        StatusCode::OK => Ok(answer.body),
        status if status.is_redirection() => Err(format!(
            "{url}: answered {status}; redirects are not followed, give the final URL"
        )),
        status => Err(format!("{url}: answered {status}")),
    }
}
