//! Signing keys as the authority holds them, and what was withdrawn.

use mcp_connect_client::ConnectError;
use mcp_connect_descriptor::{Algorithm, KeyStatus};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::{Admin, Changed};
use crate::{cli::RevocationKind, paging::Page};

/// A signing key of the authority; nothing of it is secret.
#[derive(Deserialize, Serialize)]
pub(crate) struct HeldKey {
    pub(crate) kid: String,
    pub(crate) alg: Algorithm,
    pub(crate) status: KeyStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<u64>,
    pub(crate) signs: bool,
    pub(crate) revoked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_reason: Option<String>,
}

/// Something that was withdrawn.
#[derive(Deserialize, Serialize)]
pub(crate) struct Revocation {
    pub(crate) kind: String,
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant_id: Option<String>,
    pub(crate) revoked_at: String,
    pub(crate) actor: String,
    pub(crate) reason: String,
}

#[derive(Deserialize)]
struct KeyList {
    keys: Vec<HeldKey>,
}

#[derive(Deserialize)]
struct RevocationPage {
    revocations: Vec<Revocation>,
    next_cursor: Option<String>,
}

impl Admin {
    pub(crate) async fn keys(&self) -> Result<Vec<HeldKey>, ConnectError> {
        let list: KeyList = self
            .authority
            .call(Method::GET, "/v1/admin/keys", None::<&()>)
            .await?;
        Ok(list.keys)
    }

    pub(crate) async fn revoke(
        &self,
        kind: RevocationKind,
        id: &str,
        tenant_id: Option<&str>,
        reason: &str,
    ) -> Result<Changed<Revocation>, ConnectError> {
        #[derive(Serialize)]
        struct Body<'a> {
            kind: &'static str,
            id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            tenant_id: Option<&'a str>,
            reason: &'a str,
        }
        let body = Body {
            kind: kind.as_str(),
            id,
            tenant_id,
            reason,
        };
        self.post("/v1/admin/revocations", &body).await
    }

    pub(crate) async fn revocations(
        &self,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Revocation>, ConnectError> {
        let page: RevocationPage = self.page("/v1/admin/revocations", cursor, limit).await?;
        Ok(Page {
            items: page.revocations,
            next_cursor: page.next_cursor,
        })
    }
}
