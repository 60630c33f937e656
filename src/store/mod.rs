//! D1 and KV: the only place with SQL or a binding. Rows go in, domain types come out.
//!
//! D1 is the truth, always read from its primary, so that a revocation holds from the moment it is
//! acknowledged. KV carries copies that may be a minute old.

mod administrators;
mod api_keys;
mod audit;
mod clients;
mod compiled;
mod connect;
mod counters;
mod credentials;
mod edge;
mod health;
mod import;
mod key_sets;
mod kv;
mod moderation;
mod policies;
mod proofs;
mod providers;
mod revocations;
mod servers;
mod tenants;

use std::{future::Future, time::Duration};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use wasm_bindgen::JsValue;
use worker::{
    D1Database, D1DatabaseSession, D1PreparedStatement, D1Result, D1SessionConstraint, Env,
};

pub(crate) use self::{
    administrators::{AdministratorChange, Doors},
    api_keys::{KeyCreation, MAX_LIVE_KEYS},
    audit::AuditFilter,
    clients::{Client, NewClient},
    counters::Counter,
    credentials::KeyRecord,
    edge::EdgeCopy,
    import::{ImportOutcome, ImportResult},
    key_sets::KeySetCopy,
    moderation::{ModerationChange, ModerationFilter, ModerationOutcome},
    policies::{NewPolicy, PolicyHead, PolicyScope, PolicyVersion, PolicyWrite},
    proofs::{DueProof, Identity, Method},
    providers::{MAX_PROVIDERS, NewProvider},
    revocations::{RevocationEntry, Withdrawn},
    servers::ServerSummary,
};
use crate::platform::{metrics, now_millis, within};

/// How to reach D1 and KV. Opening either is left to the call that needs it, so that a missing
/// binding closes only what depends on it.
#[derive(Clone)]
pub(crate) struct Store {
    env: Env,
}

/// Of a client, a tenant or an administrator.
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Active,
    Suspended,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

/// SQL with the values of its parameters.
type Statement<'a> = (&'a str, Vec<JsValue>);

/// Some rows of a list, and whether there are more.
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) more: bool,
}

impl<T> Page<T> {
    /// Of rows of which one more than wanted was asked for.
    fn new(mut rows: Vec<T>, limit: u32) -> Self {
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        Self { rows, more }
    }

    /// The last row, where another page follows it.
    pub(crate) fn next_after(&self) -> Option<&T> {
        self.rows.last().filter(|_| self.more)
    }
}

/// The store could not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// A constraint of the schema was broken; the text says which.
    #[error("{0}")]
    Conflict(String),
    /// The change would leave nobody who may do everything.
    #[error("no operator would be left who can administrate")]
    LastOperator,
    /// More than D1 takes in one value.
    #[error("too large for one call")]
    TooLarge,
    /// D1 or KV failed; the text is for the log only.
    #[error("{0}")]
    Unavailable(String),
    /// A change failed, or D1 did not say in time what became of it: it was made whole or not at all.
    #[error("it is not known whether the change was made: {0}")]
    Unconfirmed(String),
}

/// A caller waits no longer for an answer of D1.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// A change gets more time, since nobody knows what became of it when that is over. A client's own
/// limit is 30 s.
const WRITE_LIMIT: Duration = Duration::from_secs(15);

impl Store {
    pub(crate) fn new(env: &Env) -> Self {
        Self { env: env.clone() }
    }

    /// Whether D1 answers and has been migrated.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        let tables =
            "SELECT 1 FROM servers, versions, servers_fts, authority, tenants, clients, api_keys,
             revocations, audit, audit_seals,
             administrators, administrator_keys LIMIT 0";
        self.rows::<IgnoredAny>(tables, Vec::new()).await?;
        Ok(())
    }

    fn primary(&self) -> Result<D1DatabaseSession, StoreError> {
        let database: D1Database = self.env.d1("DB")?;
        Ok(database.with_session_constraint(D1SessionConstraint::FirstPrimary)?)
    }

    /// A change: one transaction in one round trip, all statements or none.
    async fn batch(&self, statements: Vec<Statement<'_>>) -> Result<Vec<D1Result>, StoreError> {
        self.transaction(statements, WRITE_LIMIT)
            .await
            .map_err(|error| match error {
                StoreError::Unavailable(problem) => StoreError::Unconfirmed(problem),
                other => other,
            })
    }

    /// Reads by several statements, at one moment and in one round trip.
    async fn read(&self, statements: Vec<Statement<'_>>) -> Result<Vec<D1Result>, StoreError> {
        self.transaction(statements, READ_LIMIT).await
    }

    async fn transaction(
        &self,
        statements: Vec<Statement<'_>>,
        limit: Duration,
    ) -> Result<Vec<D1Result>, StoreError> {
        let session = self.primary()?;
        let statements = statements
            .into_iter()
            .map(|(sql, values)| session.prepare(sql).bind(&values))
            .collect::<worker::Result<Vec<D1PreparedStatement>>>()?;
        in_time(limit, session.batch(statements)).await
    }

    /// The rows of one statement.
    async fn rows<T: DeserializeOwned>(
        &self,
        sql: &str,
        values: Vec<JsValue>,
    ) -> Result<Vec<T>, StoreError> {
        let statement = self.primary()?.prepare(sql).bind(&values)?;
        Ok(in_time(READ_LIMIT, statement.all()).await?.results()?)
    }
}

/// D1 has a limit of its own, of 30 s; that is too long for who waits, and for what piles up.
async fn in_time<T>(
    limit: Duration,
    query: impl Future<Output = worker::Result<T>>,
) -> Result<T, StoreError> {
    let result = match within(limit, query).await {
        Some(result) => result.map_err(StoreError::from),
        None => Err(StoreError::Unavailable(format!(
            "D1 gave no answer within {} s",
            limit.as_secs()
        ))),
    };
    if let Err(StoreError::Unavailable(_)) = &result {
        metrics::count(metrics::storage_failed("d1"));
    }
    result
}

fn nth_rows<T: DeserializeOwned>(results: &[D1Result], index: usize) -> Result<Vec<T>, StoreError> {
    let result = results
        .get(index)
        .ok_or_else(|| StoreError::Unavailable("D1 left out a result".into()))?;
    Ok(result.results()?)
}

fn changed(results: &[D1Result], index: usize) -> Result<bool, StoreError> {
    Ok(changes(results, index)? > 0)
}

/// How many rows a statement changed.
fn changes(results: &[D1Result], index: usize) -> Result<usize, StoreError> {
    let changes = results
        .get(index)
        .and_then(|result| result.meta().transpose())
        .transpose()?
        .and_then(|meta| meta.changes);
    Ok(changes.unwrap_or(0))
}

/// Numbers go to D1 as JavaScript has them: whole up to 2^53, where `D1Type::Integer` has 32 bits.
#[expect(
    clippy::cast_precision_loss,
    reason = "dates in microseconds stay below 2^53 until 2255"
)]
fn number(value: u64) -> JsValue {
    JsValue::from_f64(value as f64)
}

/// Milliseconds since the Unix epoch, as they go over the wire.
fn date(column: &str) -> String {
    format!("strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000.0, 'unixepoch')")
}

fn text(value: Option<&str>) -> JsValue {
    value.map_or(JsValue::NULL, JsValue::from_str)
}

fn now() -> JsValue {
    number(now_millis())
}

impl From<worker::Error> for StoreError {
    fn from(error: worker::Error) -> Self {
        // The library has two shapes for one error of D1, depending on the call.
        let message = match &error {
            worker::Error::D1(error) => error.cause(),
            other => other.to_string(),
        };
        if message.contains("SQLITE_CONSTRAINT") {
            Self::Conflict(message)
        } else {
            Self::Unavailable(message)
        }
    }
}

impl From<worker::KvError> for StoreError {
    fn from(error: worker::KvError) -> Self {
        metrics::count(metrics::storage_failed("kv"));
        Self::Unavailable(error.to_string())
    }
}
