//! D1 by its JavaScript interface. Rows come as JSON: the library's own way is a second reader of
//! every type of row, and a call into JavaScript for each of its members.

use std::{cell::Cell, future::Future, mem, time::Duration};

use js_sys::{Array, Error, JSON, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::Env;
use worker_sys::types::{D1Database, D1DatabaseSession, D1PreparedStatement, D1Result};

use super::{StoreError, row::Row};
use crate::platform::{metrics, within};

/// A caller waits no longer for an answer of D1.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// A change gets more time, since nobody knows what became of it when that is over. A client's own
/// limit is 30 s.
const WRITE_LIMIT: Duration = Duration::from_secs(15);

thread_local! {
    /// How large the database was when this isolate last heard of it; 0: it has not yet.
    static DATABASE_BYTES: Cell<f64> = const { Cell::new(0.0) };
}

/// How large the database is in bytes, by the last answer that this isolate got of it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of bytes"
)]
pub(crate) fn database_bytes() -> Option<u64> {
    Some(DATABASE_BYTES.get() as u64).filter(|bytes| *bytes > 0)
}

/// SQL with the values of its parameters.
pub(super) type Statement<'a> = (&'a str, Vec<JsValue>);

/// What one statement came to.
pub(super) struct Outcome {
    pub(super) rows: Vec<Row>,
    changes: u32,
}

/// One statement that reads.
pub(super) async fn select(
    env: &Env,
    sql: &str,
    values: Vec<JsValue>,
) -> Result<Outcome, StoreError> {
    let query = async {
        let answer = prepare(&primary(env)?, sql, values)?.all()?;
        outcome(JsFuture::from(answer).await?)
    };
    in_time(READ_LIMIT, query).await
}

/// Reads by several statements, at one moment and in one round trip.
pub(super) async fn read(
    env: &Env,
    statements: Vec<Statement<'_>>,
) -> Result<Vec<Outcome>, StoreError> {
    in_time(READ_LIMIT, transaction(env, statements)).await
}

/// A change: one transaction in one round trip, all statements or none.
pub(super) async fn change(
    env: &Env,
    statements: Vec<Statement<'_>>,
) -> Result<Vec<Outcome>, StoreError> {
    in_time(WRITE_LIMIT, transaction(env, statements))
        .await
        .map_err(|error| match error {
            StoreError::Unavailable(problem) => StoreError::Unconfirmed(problem),
            other => other,
        })
}

async fn transaction(
    env: &Env,
    statements: Vec<Statement<'_>>,
) -> Result<Vec<Outcome>, StoreError> {
    let session = primary(env)?;
    let prepared = Array::new();
    for (sql, values) in statements {
        let statement = prepare(&session, sql, values)?;
        prepared.push(&statement);
    }
    let answers: Array = JsFuture::from(session.session_batch(prepared)?)
        .await?
        .unchecked_into();
    answers.iter().map(outcome).collect()
}

fn primary(env: &Env) -> Result<D1DatabaseSession, StoreError> {
    let database = Reflect::get(env, &JsValue::from_str("DB"))?;
    if database.is_undefined() {
        return Err(StoreError::Unavailable("there is no binding DB".into()));
    }
    let database: D1Database = database.unchecked_into();
    Ok(database.with_session(Some("first-primary"))?)
}

fn prepare(
    session: &D1DatabaseSession,
    sql: &str,
    values: Vec<JsValue>,
) -> Result<D1PreparedStatement, JsValue> {
    session
        .session_prepare(sql)?
        .bind(values.into_iter().collect())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of rows"
)]
fn outcome(answer: JsValue) -> Result<Outcome, StoreError> {
    let answer: D1Result = answer.unchecked_into();
    let rows = match answer.results()? {
        Some(rows) if rows.length() > 0 => {
            let json: String = JSON::stringify(&rows)?.into();
            Row::read_all(&json)?
        }
        _ => Vec::new(),
    };
    let meta = answer.meta()?;
    let changes = Reflect::get(&meta, &JsValue::from_str("changes"))?;
    if let Some(bytes) = Reflect::get(&meta, &JsValue::from_str("size_after"))?.as_f64() {
        DATABASE_BYTES.set(bytes);
    }
    Ok(Outcome {
        rows,
        changes: changes.unchecked_into_f64() as u32,
    })
}

/// D1 has a limit of its own, of 30 s; that is too long for who waits, and for what piles up.
async fn in_time<T>(
    limit: Duration,
    query: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let result = within(limit, query).await.unwrap_or_else(|| {
        Err(StoreError::Unavailable(format!(
            "D1 gave no answer within {} s",
            limit.as_secs()
        )))
    });
    if let Err(StoreError::Unavailable(_)) = &result {
        metrics::count(metrics::storage_failed("d1"));
    }
    result
}

/// The rows of one statement of several.
pub(super) fn nth_rows(outcomes: &mut [Outcome], index: usize) -> Result<Vec<Row>, StoreError> {
    let outcome = outcomes.get_mut(index).ok_or_else(left_out)?;
    Ok(mem::take(&mut outcome.rows))
}

/// The one row of one statement of several, if there is one.
pub(super) fn nth_row(outcomes: &mut [Outcome], index: usize) -> Result<Option<Row>, StoreError> {
    Ok(nth_rows(outcomes, index)?.pop())
}

pub(super) fn changed(outcomes: &[Outcome], index: usize) -> Result<bool, StoreError> {
    Ok(changes(outcomes, index)? > 0)
}

/// How many rows a statement changed.
pub(super) fn changes(outcomes: &[Outcome], index: usize) -> Result<u32, StoreError> {
    Ok(outcomes.get(index).ok_or_else(left_out)?.changes)
}

fn left_out() -> StoreError {
    StoreError::Unavailable("D1 left out a result".into())
}

impl From<JsValue> for StoreError {
    fn from(error: JsValue) -> Self {
        let message = error
            .dyn_ref::<Error>()
            .map_or_else(|| format!("{error:?}"), |error| error.message().into());
        if message.contains("SQLITE_CONSTRAINT") {
            Self::Conflict(message)
        } else {
            Self::Unavailable(message)
        }
    }
}
