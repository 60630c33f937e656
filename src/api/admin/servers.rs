//! Lists servers by pattern, state, level and source, for those who decide about many at once.

use http::StatusCode;
use mcp_connect_catalog::ServerName;

use super::List;
use crate::{
    api::{
        call::{Auditor, Call},
        problem::Problem,
        respond,
    },
    authority::Pattern,
    platform::http::Response,
    store::ServerFilter,
};

/// The servers that a change of many would touch.
pub(crate) async fn list(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let limit = call.page_size()?;
    let servers: Option<Pattern> = call
        .query("servers")?
        .map(|pattern| pattern.parse())
        .transpose()
        .map_err(|error: String| Problem::request_invalid(format!("servers: {error}")))?;
    let state = one_of(call, "state", &["active", "quarantined", "revoked"])?;
    let level = one_of(
        call,
        "level",
        &["none", "namespace", "endpoint", "operator"],
    )?;
    let source = one_of(call, "source", &["local", "mirrored"])?;
    let after: Option<ServerName> = call
        .query("cursor")?
        .map(|cursor| cursor.parse())
        .transpose()
        .map_err(|_| Problem::request_invalid("cursor: is not one of this list"))?;
    let filter = ServerFilter {
        servers: servers.as_ref(),
        state: state.as_deref(),
        level: level.as_deref(),
        source: source.as_deref(),
        after: after.as_ref(),
    };
    let (rows, next_cursor) = call.app.store.list_all_servers(&filter, limit).await?;
    let list = List {
        name: "servers",
        rows,
        next_cursor,
    };
    respond(StatusCode::OK, &list)
}

fn one_of(call: &Call, parameter: &str, known: &[&str]) -> Result<Option<String>, Problem> {
    let value = call.query(parameter)?;
    match &value {
        Some(value) if !known.contains(&value.as_str()) => Err(Problem::request_invalid(format!(
            "{parameter}: must be one of {}",
            known.join(", ")
        ))),
        _ => Ok(value),
    }
}
