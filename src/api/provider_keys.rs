//! The keys of identity providers: held in the isolate, copied in KV, fetched through the guarded
//! way out. A token whose key is held waits for nothing.

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

use http::StatusCode;
use mcp_connect_catalog::{Endpoint, EndpointRules};
use serde::Serialize;
use worker::Delay;

use super::App;
use crate::{
    authority::{
        AccessToken, Holding, KeyHint, KeySource, MAX_CANDIDATES, MetadataFault, ProviderKey,
        ProviderKeys, SignatureAlgorithm, SignedToken, SkippedKey, Step, TokenFault, jwks_uri,
        metadata_urls,
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

/// The token, if the provider whose keys these are signed it. If none of the keys that are held did,
/// newer ones are looked for, as for a key that isn't known: a provider may replace a key and keep
/// its id.
pub(crate) async fn check_signature<'a>(
    app: &App,
    source: &KeySource,
    token: &'a AccessToken,
) -> Result<SignedToken<'a>, Unproven> {
    let mut wanted = Wanted {
        hint: token.key()?.clone(),
        tried: None,
    };
    count_held(source, &wanted);
    loop {
        let held = held(source);
        let step = held.holding.step(wanted.is_in(&held), now_millis());
        if matches!(step, Step::Look | Step::UseAndLook) {
            look_behind(app, source, &wanted);
        }
        match (step, held.keys) {
            (Step::Use | Step::UseAndLook, Some(keys)) => {
                if let Some(signed) = keys.check(token, &wanted.hint).await? {
                    return Ok(signed);
                }
                wanted.tried = held.holding.fetched_at;
            }
            // Nobody can await what another request waits for.
            (Step::Look | Step::Wait, _) => Delay::from(WAIT).await,
            (Step::Refuse, keys) => return Err(wanted.refusal(keys.as_deref()).into()),
            (Step::Unavailable | Step::Use | Step::UseAndLook, _) => return Err(Unproven::NoKeys),
        }
    }
}

/// What the isolate has at hand, before anything is awaited.
fn count_held(source: &KeySource, wanted: &Wanted) {
    let held = held(source);
    let found = match held.holding.step(wanted.is_in(&held), now_millis()) {
        Step::Use => "fresh",
        Step::UseAndLook => "stale",
        _ => "missing",
    };
    metrics::count(looked_up("provider_keys", found));
}

/// The key that a token was signed with.
#[derive(Clone)]
struct Wanted {
    hint: KeyHint,
    /// When the keys were fetched of which none had signed it, if any were tried.
    tried: Option<u64>,
}

impl Wanted {
    fn is_in(&self, held: &Held) -> bool {
        let keys = held.keys.as_deref();
        held.holding.fetched_at > self.tried && keys.is_some_and(|keys| keys.set.fits(&self.hint))
    }

    /// Why no key is the one; `keys` are the newest.
    fn refusal(&self, keys: Option<&Keys>) -> TokenFault {
        let fitting = keys.map_or(0, |keys| keys.set.candidates(&self.hint).len());
        TokenFault::new(match (self.tried, fitting) {
            (Some(_), ..=MAX_CANDIDATES) => "the signature is not the key's",
            (Some(_), _) => {
                "the signature is not that of the first 8 keys that fit; more are not tried, and kid would say which it is"
            }
            (None, _) => "no key of the provider fits",
        })
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

    /// Tries the keys that fit, of which the first few count. A key that can't be imported has signed
    /// nothing; if that is so of all, nothing can be said.
    async fn check<'a>(
        &self,
        token: &'a AccessToken,
        hint: &KeyHint,
    ) -> Result<Option<SignedToken<'a>>, Unproven> {
        let (mut was_tried, mut broken) = (false, None);
        for key in self.set.candidates(hint).into_iter().take(MAX_CANDIDATES) {
            let key = match self.import(key, hint.algorithm).await {
                Ok(key) => key,
                Err(error) => {
                    broken = Some(error);
                    continue;
                }
            };
            was_tried = true;
            if let Some(signed) = key.check(token).await? {
                return Ok(Some(signed));
            }
        }
        match broken {
            Some(error) if !was_tried => Err(error.into()),
            _ => Ok(None),
        }
    }

    async fn import(
        &self,
        key: &ProviderKey,
        algorithm: SignatureAlgorithm,
    ) -> Result<VerifyingKey, SignatureError> {
        let known = self
            .imported
            .borrow()
            .iter()
            .find(|(at, known)| *at == key.index && known.algorithm() == algorithm)
            .map(|(_, known)| known.clone());
        if let Some(known) = known {
            return Ok(known);
        }
        let imported = VerifyingKey::import(key, algorithm).await?;
        let entry = (key.index, imported.clone());
        self.imported.borrow_mut().push(entry);
        Ok(imported)
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
fn look_behind(app: &App, source: &KeySource, wanted: &Wanted) {
    change_held(source, |held| {
        held.holding.looked_at = Some(now_millis());
        held.holding.looking = true;
    });
    let (app_behind, source, wanted) = (app.clone(), source.clone(), wanted.clone());
    app.context.wait_until(async move {
        look(&app_behind, &source, &wanted).await;
        change_held(&source, |held| held.holding.looking = false);
    });
}

/// Takes over what KV has, and asks the provider where that is not enough.
async fn look(app: &App, source: &KeySource, wanted: &Wanted) {
    let mut copy = app.store.key_set_copy(source).await.unwrap_or_default();
    adopt(source, &copy);
    let held = held(source);
    let holding = held.holding;
    let known = Holding {
        fetched_at: holding.fetched_at,
        looked_at: Some(copy.looked_at),
        looking: false,
    };
    if !matches!(
        known.step(wanted.is_in(&held), now_millis()),
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

/// What a provider's keys are good for.
#[derive(Serialize)]
pub(crate) struct Examined {
    /// How many of them can check signatures here.
    #[serde(rename = "usable_keys")]
    pub(crate) usable: usize,
    #[serde(rename = "skipped_keys")]
    pub(crate) skipped: Vec<SkippedKey>,
}

/// Fetches and keeps the keys of a provider, each tried out. The error is for the operator.
pub(crate) async fn examine(app: &App, source: &KeySource) -> Result<Examined, String> {
    let looked_at = now_millis();
    let (key_set, set) = fetch(source, app.settings.endpoint_rules()).await?;
    let mut broken = Vec::new();
    for key in set.usable() {
        if let Err(error) = VerifyingKey::import(key, key.algorithm()).await {
            broken.push(key.skipped(format!("can't be used: {error}")));
        }
    }
    let usable = set.usable().len() - broken.len();
    let mut skipped = set.into_skipped();
    skipped.extend(broken);
    let copy = KeySetCopy {
        key_set: Some(key_set),
        fetched_at: Some(looked_at),
        looked_at,
    };
    adopt(source, &copy);
    keep(&app.store, source, &copy).await;
    Ok(Examined { usable, skipped })
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
        let fault = match found {
            Ok(jwks_uri) => return Ok(jwks_uri),
            Err(fault) => fault,
        };
        problems.push(format!("{url}: {fault}"));
        if matches!(fault, MetadataFault::OtherIssuer(_)) {
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
