//! Whether publishers still serve the tokens that prove what is theirs.

use std::{
    collections::{BTreeSet, HashMap},
    fmt, slice,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use mcp_connect_catalog::{Endpoint, EndpointRules, ServerName};

use super::UpkeepError;
use crate::{
    authority::{Challenge, Found, MAX_CHALLENGE_BYTES, Provable, Standing},
    platform::{
        Settings, log, now_millis,
        outbound::{self, Answer, Outbound, OutboundError},
    },
    store::{DueProof, Store},
};

/// Who the audit trail says it was.
const ACTOR: &str = "authority";

const TIME_LIMIT: Duration = Duration::from_secs(5);
/// A Worker has six connections at once.
const CONCURRENCY: usize = 5;
/// Several runs a night, each proof once.
const CHECKED_RECENTLY_MILLIS: u64 = 20 * 60 * 60 * 1000;
/// What is read, asked and written in one go.
const CHUNK: u32 = 50;
const MAX_CHUNKS: usize = 20;
const LONGEST_RUN_MILLIS: u64 = 10 * 60 * 1000;

/// What a run did.
#[derive(Default)]
pub(crate) struct Checked {
    confirmed: usize,
    gone: usize,
    unclear: usize,
    lost: usize,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            confirmed,
            gone,
            unclear,
            lost,
        } = self;
        write!(
            f,
            "{confirmed} confirmed, {gone} gone, {unclear} unclear, {lost} lost"
        )
    }
}

/// Asks for the document of one challenge, now.
pub(crate) async fn ask(challenge: &Challenge, rules: EndpointRules) -> Found {
    let document = fetch(&challenge.url, rules).await;
    judge(challenge, &document)
}

async fn fetch(url: &str, rules: EndpointRules) -> Result<Answer, Found> {
    // As a proof was recorded, so its URL is checked again: the rules may have become stricter.
    let url = Endpoint::parse(url, rules)
        .map_err(|error| Found::Gone(format!("the URL {error}, so it is not asked")))?;
    let request = Outbound {
        url: &url,
        headers: &[
            ("accept", "text/plain"),
            ("user-agent", "mcp-connect-authority"),
        ],
        body: None,
        time_limit: TIME_LIMIT,
        max_bytes: MAX_CHALLENGE_BYTES,
    };
    outbound::fetch(&request)
        .await
        .map_err(|error| match error {
            OutboundError::TooLarge(_) => Found::Gone(error.to_string()),
            OutboundError::TimedOut => {
                Found::Unclear(format!("no answer within {} s", TIME_LIMIT.as_secs()))
            }
            OutboundError::Failed(_) => Found::Unclear(error.to_string()),
        })
}

fn judge(challenge: &Challenge, document: &Result<Answer, Found>) -> Found {
    match document {
        Ok(answer) => challenge.judge(answer.status.as_u16(), &answer.body),
        Err(finding) => finding.clone(),
    }
}

/// The proofs that nobody looked at for the longest, as many as a run may ask about.
pub(crate) async fn check_again(
    settings: &Settings,
    store: &Store,
) -> Result<Checked, UpkeepError> {
    let issuer = settings
        .issuer()
        .map_err(|fault| UpkeepError::Setting(fault.setting, fault.problem))?;
    let rules = settings.endpoint_rules();
    let began_at = now_millis();
    let mut checked = Checked::default();
    for _ in 0..MAX_CHUNKS {
        let since = began_at.saturating_sub(CHECKED_RECENTLY_MILLIS);
        let due = store.due_proofs(since, CHUNK).await?;
        if due.is_empty() || now_millis().saturating_sub(began_at) > LONGEST_RUN_MILLIS {
            break;
        }
        check_chunk(issuer, rules, store, &due, &mut checked).await?;
    }
    Ok(checked)
}

async fn check_chunk(
    issuer: &str,
    rules: EndpointRules,
    store: &Store,
    due: &[DueProof],
    checked: &mut Checked,
) -> Result<(), UpkeepError> {
    let challenges: Vec<(&DueProof, Option<Challenge>)> = due
        .iter()
        .map(|due| (due, challenge_of(issuer, rules, due)))
        .collect();
    // Servers of one namespace share its document: each is asked for once.
    let mut urls = BTreeSet::new();
    urls.extend(
        challenges
            .iter()
            .filter_map(|(_, challenge)| Some(challenge.as_ref()?.url.clone())),
    );
    let documents: HashMap<String, Result<Answer, Found>> = stream::iter(urls)
        .map(|url| async move {
            let document = fetch(&url, rules).await;
            (url, document)
        })
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;

    let now = now_millis();
    let mut kept = Vec::new();
    for (due, challenge) in challenges {
        let finding = challenge
            .and_then(|challenge| Some(judge(&challenge, documents.get(&challenge.url)?)))
            .unwrap_or_else(|| Found::Gone("it can't be asked for any more".into()));
        let reason = match &finding {
            Found::Holds => {
                checked.confirmed += 1;
                ""
            }
            Found::Gone(reason) => {
                checked.gone += 1;
                reason
            }
            Found::Unclear(reason) => {
                checked.unclear += 1;
                reason
            }
        };
        let standing = Standing {
            failures: due.failures,
            confirmed_at: due.confirmed_at,
        };
        match standing.after(&finding, now) {
            Some(standing) => kept.push((due, standing)),
            None => lose(store, due, reason, checked).await?,
        }
    }
    Ok(store.keep_proofs(&kept).await?)
}

fn challenge_of(issuer: &str, rules: EndpointRules, due: &DueProof) -> Option<Challenge> {
    let name: ServerName = due.name.parse().ok()?;
    match due.level {
        Provable::Namespace => Challenge::of_namespace(issuer, &name, rules).ok(),
        Provable::Endpoint => Some(Challenge::of_origin(issuer, &name, &due.subject)),
    }
}

async fn lose(
    store: &Store,
    due: &DueProof,
    found: &str,
    checked: &mut Checked,
) -> Result<(), UpkeepError> {
    let reason = format!("the proof of {} no longer holds: {found}", due.subject);
    if !store.lose_proof(due, ACTOR, &reason).await? {
        return Ok(());
    }
    checked.lost += 1;
    log::info(
        "proof_lost",
        &[
            ("server_id", &due.name),
            ("level", due.level.as_str()),
            ("reason", &reason),
        ],
    );
    store
        .renew_copies_to_the_end(slice::from_ref(&due.name))
        .await;
    Ok(())
}
