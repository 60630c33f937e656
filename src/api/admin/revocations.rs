use http::StatusCode;
use mcp_connect_catalog::{date_micros, shown};
use mcp_connect_descriptor::{KeyEntry, SigningKeys};
use serde::Deserialize;

use super::{
    Changed, check_reason,
    clients::{check_client_id, check_id},
    list_answer, tenants,
};
use crate::{
    api::{
        App,
        call::{Auditor, Call, Operator},
        problem::Problem,
        respond,
    },
    authority::MAX_REVOKED_KEYS,
    platform::http::Response,
    store::{Row, Status, Withdrawn},
};

/// Of a key's RFC 7638 thumbprint: SHA-256 in base64url.
const KEY_ID_CHARS: usize = 43;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeBody {
    kind: Kind,
    id: String,
    tenant_id: Option<String>,
    /// Revokes a signing key that this authority does not hold.
    #[serde(default)]
    even_if_unknown: bool,
    reason: String,
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Client,
    Jti,
    Key,
    Tenant,
}

/// Withdraws a client, a tenant, a signing key or a single descriptor, at once.
pub(crate) async fn revoke(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let body: RevokeBody = call.json()?;
    let reason = check_reason(&body.reason)?;
    match body.kind {
        Kind::Client => check_client_id("id", &body.id)?,
        Kind::Jti | Kind::Tenant => check_id("id", &body.id)?,
        Kind::Key => check_key_id(&call.app, &body.id)?,
    }
    if let Some(tenant_id) = &body.tenant_id {
        check_id("tenant_id", tenant_id)?;
        if body.kind != Kind::Client {
            return Err(Problem::request_invalid(
                "tenant_id: belongs to kind \"client\"; leave it out",
            ));
        }
    }
    if body.even_if_unknown && body.kind != Kind::Key {
        return Err(Problem::request_invalid(
            "even_if_unknown: belongs to kind \"key\"; leave it out",
        ));
    }
    let (id, actor) = (body.id.as_str(), operator.actor());
    let (subject, changed) = match body.kind {
        Kind::Jti => {
            call.app
                .store
                .revoke(Withdrawn::Jti, id, actor, reason)
                .await?
        }
        Kind::Key => {
            if !body.even_if_unknown {
                check_is_known(&call.app, id).await?;
            }
            check_room_for_key(&call.app, id).await?;
            call.app
                .store
                .revoke(Withdrawn::Key, id, actor, reason)
                .await?
        }
        Kind::Client => revoke_client(&call.app, &body, actor, reason).await?,
        Kind::Tenant => revoke_tenant(&call.app, id, actor, reason).await?,
    };
    respond(StatusCode::OK, &Changed { subject, changed })
}

/// Refuses what is no key's id at all, such as one that was not copied whole.
fn check_key_id(app: &App, key_id: &str) -> Result<(), Problem> {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if key_id.len() == KEY_ID_CHARS && key_id.bytes().all(is_base64url) {
        return Ok(());
    }
    Err(Problem::request_invalid(format!(
        "{}. A kid has {KEY_ID_CHARS} characters of base64url (RFC 7638): was it copied whole, with nothing around it?",
        not_held(app, key_id)
    )))
}

/// Refuses a key that this authority neither holds nor has revoked: a typo would leave the leaked key signing.
async fn check_is_known(app: &App, key_id: &str) -> Result<(), Problem> {
    let is_held = held_keys(app).any(|entry| entry.key.id() == key_id);
    if is_held || app.store.is_withdrawn(key_id, "").await? {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::NOT_FOUND,
        "key_not_found",
        format!(
            "{}. If the key is not put here yet, or no longer, say \"even_if_unknown\": true",
            not_held(app, key_id)
        ),
    ))
}

fn held_keys(app: &App) -> impl Iterator<Item = &KeyEntry> {
    let keys = app.settings.signing_keys();
    keys.into_iter().flat_map(SigningKeys::iter)
}

/// Says that a key is unknown, and which are known.
fn not_held(app: &App, key_id: &str) -> String {
    let held: Vec<String> = held_keys(app)
        .map(|entry| format!("{} ({})", entry.key.id(), entry.status.as_str()))
        .collect();
    let held = if held.is_empty() {
        "it can read none in SIGNING_KEYS".to_owned()
    } else {
        format!("it holds {}", held.join(", "))
    };
    format!(
        "id: this authority holds no signing key {}, so nothing was revoked; {held}",
        shown(key_id)
    )
}

/// Each key takes room in the feed from everything else for a day, so the number of those is bounded that
/// the authority doesn't hold.
async fn check_room_for_key(app: &App, id: &str) -> Result<(), Problem> {
    let keys = app.settings.signing_keys();
    if keys.is_ok_and(|keys| keys.iter().any(|entry| entry.key.id() == id)) {
        return Ok(());
    }
    if app.store.recently_revoked_keys(id).await? < MAX_REVOKED_KEYS as u64 {
        return Ok(());
    }
    let detail = format!(
        "id: {MAX_REVOKED_KEYS} keys were revoked within a day, and this authority holds no key with this id; \
         revoke it tomorrow, if it must be"
    );
    Err(Problem::new(StatusCode::CONFLICT, "too_many_keys", detail))
}

/// Suspends it. A client that only its tenant's identity provider knows is registered as suspended.
async fn revoke_client(
    app: &App,
    body: &RevokeBody,
    actor: &str,
    reason: &str,
) -> Result<(Row, bool), Problem> {
    let tenant_id = body.tenant_id.as_deref();
    let (client, changed, is_registered) = app
        .store
        .revoke_client(&body.id, tenant_id, actor, reason)
        .await?
        .ok_or_else(|| {
            let detail = match tenant_id {
                None => {
                    "no such client; name its tenant_id, if only the tenant's provider knows it"
                }
                Some(_) => "no such client, and no such tenant",
            };
            Problem::new(StatusCode::NOT_FOUND, "client_not_found", detail)
        })?;
    if tenant_id.is_some() && client.optional("tenant_id") != tenant_id {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "client_exists",
            "tenant_id: the client is registered elsewhere; leave tenant_id out, or name the right one",
        ));
    }
    let withdrawn = Withdrawn::Client(client.optional("tenant_id"));
    let (entry, is_new) = app.store.revoke(withdrawn, &body.id, actor, reason).await?;
    let entry = if is_registered {
        entry.with("registered", true)
    } else {
        entry
    };
    Ok((entry, changed || is_new))
}

async fn revoke_tenant(
    app: &App,
    tenant_id: &str,
    actor: &str,
    reason: &str,
) -> Result<(Row, bool), Problem> {
    let (_, changed) = app
        .store
        .set_tenant_status(tenant_id, Status::Suspended, actor, reason)
        .await?
        .ok_or_else(tenants::not_found)?;
    let withdrawn = Withdrawn::Tenant;
    let (entry, is_new) = app
        .store
        .revoke(withdrawn, tenant_id, actor, reason)
        .await?;
    Ok((entry, changed || is_new))
}

pub(crate) async fn list(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let limit = call.page_size()?;
    let cursor = call.query("cursor")?;
    let after = match &cursor {
        None => None,
        Some(cursor) => Some(
            parse_cursor(cursor)
                .ok_or_else(|| Problem::request_invalid("cursor: is not one of this list"))?,
        ),
    };
    let page = call.app.store.list_revocations(after, limit).await?;
    list_answer("revocations", page, |entry| {
        ["revoked_at", "kind", "tenant_id", "id"]
            .map(|column| entry.text(column))
            .join("~")
    })
}

/// When, kind, tenant and subject of the last row of a page.
fn parse_cursor(cursor: &str) -> Option<(u64, &str, &str, &str)> {
    let mut parts = cursor.splitn(4, '~');
    let revoked_at = date_micros(parts.next()?)? / 1000;
    Some((revoked_at, parts.next()?, parts.next()?, parts.next()?))
}
