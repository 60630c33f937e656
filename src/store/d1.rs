//! D1 by its JavaScript interface. Rows come as JSON: the library's own way is a second reader of
//! every type of row, and a call into JavaScript for each of its members.

use std::{cell::Cell, future::Future, mem, time::Duration};

use js_sys::{Array, Error, JSON, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::Env;
use worker_sys::types::{D1Database, D1DatabaseSession, D1PreparedStatement, D1Result};

use super::{StoreError, row::Row};
use crate::platform::{log, metrics, sleep, within};

/// The longest that a caller waits for an answer of D1.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// The longest that a read waits for its first answer, and the pause after one that failed: then it is
/// asked a second time, within the same limit.
const FIRST_LIMIT: Duration = Duration::from_millis(2_500);
const PAUSE: Duration = Duration::from_millis(50);
/// The longest that a read waits that can do without an answer.
const GLANCE_LIMIT: Duration = Duration::from_millis(1_500);
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

/// Reads by several statements, at one moment and in one round trip. One that fails in passing is
/// repeated once.
pub(super) async fn read(
    env: &Env,
    statements: &[Statement<'_>],
) -> Result<Vec<Outcome>, StoreError> {
    in_time(READ_LIMIT, async {
        match within(FIRST_LIMIT, ask(env, statements)).await {
            Some(Err(StoreError::Unavailable(problem)))
                if may_pass(&problem) && all_read(statements) =>
            {
                log::error_once("", "d1_read_repeated", &[("problem", &problem)]);
                sleep(PAUSE).await;
                ask(env, statements).await
            }
            None if all_read(statements) => ask(env, statements).await,
            None => Err(StoreError::Unavailable("D1 gave no answer".into())),
            Some(answer) => answer,
        }
    })
    .await
}

/// Reads by one statement, for what can do without: once, and for a short time.
pub(super) async fn glance(env: &Env, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
    let mut outcomes = in_time(GLANCE_LIMIT, ask(env, &[statement])).await?;
    nth_rows(&mut outcomes, 0)
}

/// A change: one transaction in one round trip, all statements or none. It is never repeated, since
/// one that failed may have been made.
pub(super) async fn change(
    env: &Env,
    statements: &[Statement<'_>],
) -> Result<Vec<Outcome>, StoreError> {
    in_time(WRITE_LIMIT, ask(env, statements))
        .await
        .map_err(|error| match error {
            StoreError::Unavailable(problem) => StoreError::Unconfirmed(problem),
            other => other,
        })
}

async fn ask(env: &Env, statements: &[Statement<'_>]) -> Result<Vec<Outcome>, StoreError> {
    let session = primary(env)?;
    if let [(sql, values)] = statements {
        let answer = prepare(&session, sql, values)?.all()?;
        return Ok(vec![outcome(JsFuture::from(answer).await?)?]);
    }
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

/// Whether the same question may be answered a moment later. SQL that is wrong stays so, and a
/// database that is overloaded, or that the question was too much for, is not asked again.
fn may_pass(problem: &str) -> bool {
    !["SQLITE", "overloaded", "exceeded", "no binding"]
        .iter()
        .any(|lasting| problem.contains(lasting))
}

/// Whether no statement can change anything, which by its place none should.
fn all_read(statements: &[Statement<'_>]) -> bool {
    statements.iter().all(|(sql, _)| is_read(sql))
}

fn is_read(sql: &str) -> bool {
    let sql = sql.trim_start();
    (sql.starts_with("SELECT") || sql.starts_with("WITH"))
        && !["INSERT ", "UPDATE ", "DELETE ", "REPLACE "]
            .iter()
            .any(|change| sql.contains(change))
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
    values: &[JsValue],
) -> Result<D1PreparedStatement, JsValue> {
    session.session_prepare(sql)?.bind(values.iter().collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reads_is_repeated() {
        for sql in [
            "SELECT 1",
            "\n  WITH newest AS (SELECT 1) SELECT updated_at FROM newest",
            "SELECT replace(name, 'a', 'b') FROM servers",
        ] {
            assert!(is_read(sql), "{sql}");
        }
        for sql in [
            "UPDATE servers SET name = ''",
            "INSERT INTO audit (seq) SELECT 1",
            "WITH gone AS (SELECT 1) DELETE FROM servers",
            "WITH a AS (SELECT 1) UPDATE servers SET id = 1 RETURNING id",
            "PRAGMA optimize",
        ] {
            assert!(!is_read(sql), "{sql}");
        }
        let read = ("SELECT 1", Vec::new());
        let change = ("DELETE FROM servers", Vec::new());
        assert!(all_read(&[read.clone(), read.clone()]));
        assert!(!all_read(&[read, change]));
    }

    #[test]
    fn what_lasts_is_not_asked_again() {
        for problem in [
            "D1_ERROR: Network connection lost.",
            "D1_ERROR: Internal error in D1 DB storage caused object to be reset.",
            "D1_ERROR: D1 DB reset because its code was updated.",
            "D1_ERROR: Cannot resolve D1 DB due to transient issue on remote node.",
        ] {
            assert!(may_pass(problem), "{problem}");
        }
        for problem in [
            "D1_ERROR: no such column: x: SQLITE_ERROR",
            "D1_ERROR: D1 DB is overloaded. Too many requests queued.",
            "D1_ERROR: D1 DB exceeded its CPU time limit and was reset.",
            "D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.",
            "there is no binding DB",
        ] {
            assert!(!may_pass(problem), "{problem}");
        }
    }
}
