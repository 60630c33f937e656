//! A server as it is read by many: from its copy near the caller while that is fresh; else from D1; and
//! when D1 is out, from the copy whatever its age.
//!
//! Where D1 is out and there is no copy, a server does not exist if every server was copied once: a
//! client that takes each answer but 200 and 404 for a reason to block all servers blocks that one.

use mcp_connect_catalog::ServerName;

use super::App;
use crate::{
    platform::{log, metrics},
    store::{ServerCopy, StoreError, Written},
};

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
        let found = match &copy {
            Some(copy) if copy.is_fresh() => "fresh",
            Some(_) => "stale",
            None => "missing",
        };
        metrics::count(metrics::looked_up("edge_copy", found));
        if copy.as_ref().is_some_and(ServerCopy::is_fresh) {
            return Ok(copy);
        }
    }
    let problem = match app.store.load_server(name).await {
        Ok(server) => {
            if let Some(server) = server.as_ref().filter(|_| !is_exact) {
                keep(app, name, server);
            }
            return Ok(server);
        }
        Err(error) => error,
    };
    if copy.is_none() {
        copy = match app.store.edge_copy(name).await {
            Ok(copy) => copy,
            Err(_) => return Err(problem),
        };
    }
    if copy.is_none() && !app.store.all_are_copied().await {
        return Err(problem);
    }
    // While D1 is out, that is each of them.
    log::error_once(
        "",
        "served_from_edge_copy",
        &[("problem", &problem.to_string())],
    );
    Ok(copy)
}

/// Makes a change of a server, and renews its copy, also where it isn't known whether the change was made.
pub(super) async fn renewed<T>(
    app: &App,
    name: &str,
    change: impl Future<Output = Result<Written<T>, StoreError>>,
) -> Result<Written<T>, StoreError> {
    let written = change.await;
    if matches!(
        written,
        Ok(Written::Done(_)) | Err(StoreError::Unconfirmed(_))
    ) {
        app.store.renew_copy(name).await;
    }
    written
}

/// After the answer, so that nobody waits for it.
fn keep(app: &App, name: &str, server: &ServerCopy) {
    let (store, name, server) = (app.store.clone(), name.to_owned(), server.clone());
    app.context.wait_until(async move {
        if let Err(error) = store.put_edge_copy(&name, &server).await {
            log::error("edge_copy_failed", &[("problem", &error.to_string())]);
        }
    });
}
