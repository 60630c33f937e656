//! A server as many read it: from its copy near the caller while that is current; else from D1; and while D1 is
//! out, from the copy, if nothing says that its server changed since.
//!
//! If D1 is out and there is no copy, a server does not exist if every server was copied once: a
//! client that takes each answer but 200 and 404 for a reason to block all servers blocks that one.

use futures_util::future::join_all;
use mcp_connect_catalog::ServerName;

use super::{App, problem::Problem};
use crate::{
    platform::{log, metrics},
    store::{ServerCopy, StoreError, Written},
};

/// The most servers whose copies are renewed while the caller waits.
const BEFORE_ANSWER: usize = 5;

/// The most versions that a problem names.
const MAX_NAMED: usize = 5;

/// Says that a server has no such version, and names some that it has.
pub(super) fn no_such_version(server: &ServerCopy) -> Problem {
    let versions = server.version_names();
    let named = versions.get(..MAX_NAMED).unwrap_or(&versions);
    let more = named.len() < versions.len() || !server.is_complete();
    Problem::version_not_found(named, more)
}

/// `None`: no such server. With `is_exact` a copy is looked for only when D1 is out, and none is kept: what
/// anybody may ask for at any time must not write.
pub(super) async fn server(
    app: &App,
    name: &str,
    is_exact: bool,
) -> Result<Option<ServerCopy>, StoreError> {
    if name.parse::<ServerName>().is_err() {
        return Ok(None);
    }
    let mut copy = None;
    if !is_exact {
        // Whatever KV says, D1 knows.
        copy = app.store.edge_copy(name).await.unwrap_or_default();
        let current = match &copy {
            Some(copy) if copy.is_fresh() => app.store.is_current(name, copy).await,
            _ => Ok(false),
        };
        let found = match (&copy, &current) {
            (None, _) => "missing",
            (_, Ok(true)) => "fresh",
            _ => "stale",
        };
        metrics::count(metrics::looked_up("edge_copy", found));
        match current {
            Ok(true) => return Ok(copy),
            Ok(false) => {}
            Err(problem) => {
                if app.store.is_last_known(name, copy.as_ref()).await {
                    return Ok(served(copy, &problem));
                }
            }
        }
    }
    let problem = match app.store.load_server(name).await {
        Ok(server) => {
            if let Some(server) = server.as_ref().filter(|_| !is_exact) {
                keep(app, name, server);
            }
            return Ok(server);
        }
        Err(problem) => problem,
    };
    if copy.is_none() {
        copy = match app.store.edge_copy(name).await {
            Ok(copy) => copy,
            Err(_) => return Err(problem),
        };
    }
    if app.store.is_last_known(name, copy.as_ref()).await {
        return Ok(served(copy, &problem));
    }
    Err(problem)
}

/// While D1 is out, that is each of them.
fn served(copy: Option<ServerCopy>, problem: &StoreError) -> Option<ServerCopy> {
    let problem = problem.to_string();
    log::error_once("", "served_from_edge_copy", &[("problem", &problem)]);
    copy
}

/// Makes a publisher's change of a server, and renews its copy.
pub(super) async fn renewed<T>(
    app: &App,
    name: &str,
    change: impl Future<Output = Result<Written<T>, StoreError>>,
) -> Result<Written<T>, StoreError> {
    let written = change.await;
    let is_change = matches!(written, Ok(Written::Done(_)));
    renew_after(app, name, is_change, written).await
}

/// Renews the copy of a server after a change was tried: if it was made, and also if nobody knows whether it was.
pub(super) async fn renew_after<T>(
    app: &App,
    name: &str,
    is_change: bool,
    tried: Result<T, StoreError>,
) -> Result<T, StoreError> {
    let may_be_changed = is_change || matches!(tried, Err(StoreError::Unconfirmed(_)));
    if may_be_changed {
        renew(app, name).await;
    }
    tried
}

/// Renews the copies of servers that were changed: of a few before the answer, of more after it.
pub(super) async fn renew_several(app: &App, names: Vec<String>) {
    if names.len() > BEFORE_ANSWER {
        let store = app.store.clone();
        app.context
            .wait_until(async move { store.renew_copies_to_the_end(&names).await });
        return;
    }
    join_all(names.iter().map(|name| renew(app, name))).await;
}

async fn renew(app: &App, name: &str) {
    if let Err(left) = app.store.renew_copy_patiently(name).await {
        let (store, name) = (app.store.clone(), name.to_owned());
        app.context
            .wait_until(async move { store.renew_later(&name, left).await });
    }
}

/// After the answer, so that nobody waits for it.
fn keep(app: &App, name: &str, server: &ServerCopy) {
    let (store, name, server) = (app.store.clone(), name.to_owned(), server.clone());
    app.context
        .wait_until(async move { store.keep_copy(&name, &server).await });
}
