//! The operator's calls of the authority. Names and ids go into the path as they are: clap has
//! checked them, or [`segment`] escapes them.

mod administrators;
mod audit;
mod client_keys;
mod mirror;
mod moderation;
mod policies;
mod providers;
mod purge;
mod revocations;
mod servers;
mod tenants;

use std::{
    fmt::{self, Write},
    iter::{once, repeat},
};

use mcp_connect_catalog::ServerName;
use mcp_connect_client::{Authority, ConnectError, Server};
use reqwest::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};

pub(crate) use self::{
    administrators::{Administrator, AdministratorKey, NewKey, Rotation, WithKey},
    audit::AuditFilter,
    client_keys::{ClientKey, CreatedKey},
    mirror::{Followed, Mirror, RejectedEntry},
    moderation::{Moderated, ModerationAction, ModerationFilter, Standing},
    policies::{Explanation, NewPolicy, PolicyHead},
    providers::{NewProvider, Provider, SkippedKey},
    purge::{PurgeRequest, PurgedServer},
    revocations::{HeldKey, NewRevocation, Revocation},
    servers::{FoundServer, ServerFilter},
    tenants::Tenant,
};
use crate::paging::Page;

/// The authority, for its operator. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Admin {
    authority: Authority,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Client {
    #[serde(rename = "client_id")]
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    pub(crate) status: String,
    pub(crate) created_at: String,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct CreatedClient {
    #[serde(flatten)]
    pub(crate) client: Client,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<String>,
    /// The use of the key, as its maker said it, and its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
}

/// Something, and whether the call has changed it.
#[derive(Deserialize, Serialize)]
pub(crate) struct Changed<T> {
    #[serde(flatten)]
    pub(crate) subject: T,
    pub(crate) changed: bool,
}

/// What pins a verified server's identity.
#[derive(Default, Serialize)]
pub(crate) struct Identity<'a> {
    /// The origin that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jwks_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_pin_sha256: Option<&'a str>,
}

#[derive(Deserialize)]
struct ClientPage {
    clients: Vec<Client>,
    next_cursor: Option<String>,
}

#[derive(Clone, Copy)]
pub(crate) enum ClientAction {
    Suspend,
    Resume,
}

pub(crate) enum ServerAction<'a> {
    Verify(Identity<'a>),
    /// One level, or all.
    Unverify(Option<&'static str>),
}

/// What holds of how a server was verified.
#[derive(Deserialize, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names that go over the wire")]
pub(crate) struct Proofs {
    pub(crate) id: String,
    pub(crate) verification: String,
    pub(crate) proofs: Vec<Proof>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Proof {
    pub(crate) level: String,
    pub(crate) subject: String,
    pub(crate) method: String,
    pub(crate) actor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) proven_at: String,
    pub(crate) confirmed_at: String,
    pub(crate) checked_at: String,
    pub(crate) failures: u32,
}

/// Whether an endpoint answers as an MCP server.
#[derive(Deserialize, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names that go over the wire")]
pub(crate) struct Health {
    pub(crate) id: String,
    pub(crate) endpoint: String,
    pub(crate) gating: String,
    pub(crate) health: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) checked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_success: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failures: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What became of one entry of an import.
#[derive(Deserialize)]
pub(crate) struct EntryResult {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) outcome: EntryOutcome,
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EntryOutcome {
    Imported,
    Updated,
    Unchanged,
    Refused,
}

#[derive(Deserialize)]
struct ImportAnswer {
    results: Vec<EntryResult>,
}

/// Copies that were renewed.
#[derive(Deserialize)]
pub(crate) struct RebuiltCopies {
    pub(crate) renewed: u64,
    /// Where to go on, if there are more.
    pub(crate) next: Option<String>,
}

impl Admin {
    pub(crate) const fn new(authority: Authority) -> Self {
        Self { authority }
    }

    pub(crate) async fn create_client(
        &self,
        client_id: &str,
        tenant_id: Option<&str>,
        name: Option<&str>,
        key: NewKey<'_>,
        with_key: bool,
    ) -> Result<CreatedClient, ConnectError> {
        #[derive(Serialize)]
        struct Body<'a> {
            client_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            tenant_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            name: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            api_key: Option<bool>,
            #[serde(flatten)]
            key: NewKey<'a>,
        }
        let body = Body {
            client_id,
            tenant_id,
            name,
            api_key: (!with_key).then_some(false),
            key,
        };
        self.post("/v1/admin/clients", &body).await
    }

    pub(crate) async fn change_client(
        &self,
        client_id: &str,
        action: ClientAction,
        reason: &str,
    ) -> Result<Changed<Client>, ConnectError> {
        let path = format!("/v1/admin/clients/{}/{action}", segment(client_id));
        self.post(&path, &json!({ "reason": reason })).await
    }

    pub(crate) async fn clients(&self, cursor: Option<&str>) -> Result<Page<Client>, ConnectError> {
        let page: ClientPage = self.page("/v1/admin/clients", cursor, 100).await?;
        Ok(Page {
            items: page.clients,
            next_cursor: page.next_cursor,
        })
    }

    pub(crate) async fn stats(&self) -> Result<Value, ConnectError> {
        let stats: Value = self.get("/v1/admin/stats").await?;
        for member in ["registry", "counters"] {
            if !stats.get(member).is_some_and(Value::is_object) {
                let problem = format!("it has no member {member:?}");
                return Err(ConnectError::InvalidAnswer(problem));
            }
        }
        Ok(stats)
    }

    pub(crate) async fn change_server(
        &self,
        server: &ServerName,
        action: ServerAction<'_>,
        reason: &str,
    ) -> Result<Changed<Server>, ConnectError> {
        #[derive(Serialize)]
        struct Body<'a> {
            reason: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            level: Option<&'static str>,
            #[serde(flatten)]
            identity: Identity<'a>,
        }
        let mut body = Body {
            reason,
            level: None,
            identity: Identity::default(),
        };
        let verb = match action {
            ServerAction::Verify(identity) => {
                body.identity = identity;
                "verify"
            }
            ServerAction::Unverify(level) => {
                body.level = level;
                "unverify"
            }
        };
        let path = format!("/v1/admin/servers/{server}/{verb}");
        self.post(&path, &body).await
    }

    pub(crate) async fn prove(
        &self,
        server: &ServerName,
        level: &'static str,
        reason: Option<&str>,
    ) -> Result<Changed<Server>, ConnectError> {
        let path = format!("/v1/admin/servers/{server}/prove");
        self.post(&path, &with_reason(json!({ "level": level }), reason))
            .await
    }

    pub(crate) async fn proofs(&self, server: &ServerName) -> Result<Proofs, ConnectError> {
        self.get(&format!("/v1/admin/servers/{server}/proofs"))
            .await
    }

    pub(crate) async fn health(&self, server: &ServerName) -> Result<Health, ConnectError> {
        self.get(&format!("/v1/admin/servers/{server}/health"))
            .await
    }

    pub(crate) async fn probe(&self, server: &ServerName) -> Result<Health, ConnectError> {
        self.post(&format!("/v1/admin/servers/{server}/probe"), &json!({}))
            .await
    }

    /// Renews the copies of some servers after this one.
    pub(crate) async fn rebuild_copies(
        &self,
        after: &str,
        reason: Option<&str>,
    ) -> Result<RebuiltCopies, ConnectError> {
        let body = with_reason(json!({ "after": after }), reason);
        self.post("/v1/admin/cache/rebuild", &body).await
    }

    /// The results, in the order of the entries.
    pub(crate) async fn import(
        &self,
        entries: &[&RawValue],
        reason: Option<&str>,
    ) -> Result<Vec<EntryResult>, ConnectError> {
        #[derive(Serialize)]
        struct Body<'a> {
            servers: &'a [&'a RawValue],
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
        }
        let body = Body {
            servers: entries,
            reason,
        };
        let answer: ImportAnswer = self.post("/v1/admin/import", &body).await?;
        if answer.results.len() == entries.len() {
            Ok(answer.results)
        } else {
            Err(ConnectError::InvalidAnswer(format!(
                "{} results for {} entries",
                answer.results.len(),
                entries.len()
            )))
        }
    }

    async fn page<T: DeserializeOwned>(
        &self,
        path: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<T, ConnectError> {
        let limit = limit.to_string();
        let path = query(path, &[("limit", Some(&limit)), ("cursor", cursor)]);
        self.authority.call(Method::GET, &path, None::<&()>).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ConnectError> {
        self.authority.call(Method::GET, path, None::<&()>).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, ConnectError> {
        self.authority.call(Method::POST, path, Some(body)).await
    }
}

/// A body with the reason, if one was given.
fn with_reason(mut body: Value, reason: Option<&str>) -> Value {
    if let (Some(reason), Some(members)) = (reason, body.as_object_mut()) {
        members.insert("reason".to_owned(), reason.into());
    }
    body
}

/// A path with those parameters that have a value.
fn query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut path = path.to_owned();
    let given = parameters
        .iter()
        .filter_map(|(name, value)| Some((name, (*value)?)));
    for ((name, value), sign) in given.zip(once('?').chain(repeat('&'))) {
        let _ = write!(path, "{sign}{name}={}", segment(value));
    }
    path
}

impl fmt::Display for ClientAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Suspend => "suspend",
            Self::Resume => "resume",
        })
    }
}

/// One segment of a path, or one value of a query: everything but the unreserved characters of
/// RFC 3986 (section 2.3) percent-encoded.
pub(crate) fn segment(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_stays_one() {
        assert_eq!(segment("desktop-1.a_b~c"), "desktop-1.a_b~c");
        assert_eq!(segment("a/b?c#d%e ü"), "a%2Fb%3Fc%23d%25e%20%C3%BC");
    }
}
