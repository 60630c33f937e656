//! D1 and KV: the only place with SQL or a binding. Rows go in, domain types come out.
//!
//! D1 is the truth, always read from its primary, so that a revocation holds from the moment it is
//! acknowledged. KV carries copies that may be a minute old.

mod administrators;
mod api_keys;
mod audit;
mod changes;
mod claims;
mod clients;
mod compiled;
mod connect;
mod corrections;
mod counters;
mod credentials;
mod d1;
mod edge;
mod ending;
mod feed_share;
mod health;
mod import;
mod key_sets;
mod kv;
mod lately;
mod mirror;
mod moderation;
mod page;
mod policies;
mod proofs;
mod providers;
mod purge;
mod quotas;
mod registry;
mod registry_latest;
mod registry_list;
mod registry_write;
mod renewal;
mod revocations;
mod row;
mod search;
mod server_list;
mod servers;
mod spent_proofs;
mod tenants;
mod token_provider;

use serde::Deserialize;
use wasm_bindgen::JsValue;
use worker::Env;

use self::d1::{Outcome, Statement, changed, changes, nth_row, nth_rows};
pub(crate) use self::{
    administrators::{AdministratorChange, Doors},
    api_keys::{KeyCreation, MAX_LIVE_KEYS},
    audit::{AuditFilter, AuditPage},
    clients::NewClient,
    counters::Counter,
    d1::database_bytes,
    edge::ServerCopy,
    ending::{ENDING_DAYS, Ending, Endings},
    import::{ImportOutcome, ImportResult, Source},
    key_sets::KeySetCopy,
    mirror::{Mirror, Named},
    moderation::{Decision, InFeed, ModerationChange, ModerationFilter, ModerationOutcome},
    page::Page,
    policies::{NewPolicy, PolicyScope, PolicyVersion, PolicyWrite},
    proofs::{DueProof, Identity, Method, Verified},
    providers::{MAX_BY_CLAIM, MAX_PROVIDERS, NewProvider},
    purge::PurgeFilter,
    registry::{LATEST, RegistryVersion},
    registry_list::MAX_NUMBER,
    registry_write::{Author, Obstacle, StatusChange, StatusChanged, Written},
    revocations::{Connectable, Withdrawn},
    row::Row,
    search::Found,
    server_list::ServerFilter,
    servers::{ServerSummary, Standing},
    token_provider::TokenFacts,
};
use crate::platform::{metrics, now_millis};

/// How to reach D1 and KV. Opening either is left to the call that needs it, so that a missing
/// binding closes only what depends on it.
#[derive(Clone)]
pub(crate) struct Store {
    env: Env,
}

/// Of a client, a tenant or an administrator.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
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

impl Store {
    pub(crate) fn new(env: &Env) -> Self {
        Self { env: env.clone() }
    }

    /// Whether D1 answers and has been migrated.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        let tables =
            "SELECT 1 FROM servers, versions, search_fts, authority, tenants, clients, api_keys,
             revocations, audit, audit_seals, editions, remotes,
             administrators, administrator_keys, spent_proofs, changes, mirror, search_vocabulary LIMIT 0";
        self.rows(tables, Vec::new()).await?;
        Ok(())
    }

    /// A change: one transaction in one round trip, all statements or none.
    async fn batch(&self, statements: Vec<Statement<'_>>) -> Result<Vec<Outcome>, StoreError> {
        d1::change(&self.env, &statements).await
    }

    /// Reads by several statements, at one moment and in one round trip.
    async fn read(&self, statements: Vec<Statement<'_>>) -> Result<Vec<Outcome>, StoreError> {
        d1::read(&self.env, &statements).await
    }

    /// The rows of one statement.
    async fn rows(&self, sql: &str, values: Vec<JsValue>) -> Result<Vec<Row>, StoreError> {
        nth_rows(&mut d1::read(&self.env, &[(sql, values)]).await?, 0)
    }
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

impl From<worker::KvError> for StoreError {
    fn from(error: worker::KvError) -> Self {
        metrics::count(metrics::storage_failed("kv"));
        Self::Unavailable(error.to_string())
    }
}
