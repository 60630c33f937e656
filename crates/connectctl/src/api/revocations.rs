//! Signing keys as the authority holds them, and what was revoked.

use std::ops::Not;

use mcp_connect_client::ConnectError;
use mcp_connect_descriptor::{Algorithm, KeyStatus};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::{Admin, Changed};
use crate::paging::Page;

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

/// Something that was revoked.
#[derive(Deserialize, Serialize)]
pub(crate) struct Revocation {
    pub(crate) kind: String,
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant_id: Option<String>,
    pub(crate) revoked_at: String,
    pub(crate) actor: String,
    pub(crate) reason: String,
    /// The client was not known before: it is registered now, as suspended.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub(crate) registered: bool,
}

/// What is to be revoked.
#[derive(Serialize)]
pub(crate) struct NewRevocation<'a> {
    pub(crate) kind: &'static str,
    pub(crate) id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant_id: Option<&'a str>,
    /// Of a key that the authority does not hold.
    #[serde(skip_serializing_if = "Not::not")]
    pub(crate) even_if_unknown: bool,
    pub(crate) reason: &'a str,
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
        revocation: &NewRevocation<'_>,
    ) -> Result<Changed<Revocation>, ConnectError> {
        self.post("/v1/admin/revocations", revocation).await
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
