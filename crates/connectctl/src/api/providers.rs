use std::collections::BTreeMap;

use mcp_connect_client::ConnectError;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Admin, Changed, segment};

/// An identity provider whose access tokens are taken for a tenant.
#[derive(Deserialize, Serialize)]
pub(crate) struct Provider {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) tenant_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jwks_uri: Option<String>,
    pub(crate) client_claims: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) audience_claim: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) required_claims: BTreeMap<String, Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_type: Option<String>,
    pub(crate) created_at: String,
}

/// A provider right after it was registered.
#[derive(Deserialize, Serialize)]
pub(crate) struct AddedProvider {
    #[serde(flatten)]
    pub(crate) provider: Provider,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) skipped_keys: Vec<SkippedKey>,
}

/// A key of a provider that checks no token.
#[derive(Deserialize, Serialize)]
pub(crate) struct SkippedKey {
    pub(crate) index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kid: Option<String>,
    pub(crate) problem: String,
}

/// What the authority makes of an access token.
#[derive(Deserialize, Serialize)]
pub(crate) struct TokenVerdict {
    pub(crate) accepted: bool,
    pub(crate) problems: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant_id: Option<String>,
    pub(crate) identity_providers: Vec<Provider>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usable_keys: Option<usize>,
    #[serde(default)]
    pub(crate) skipped_keys: Vec<SkippedKey>,
}

#[derive(Serialize)]
pub(crate) struct NewProvider<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jwks_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) client_claims: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) audience_claim: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) required_claims: BTreeMap<String, Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_type: Option<&'a str>,
    pub(crate) reason: &'a str,
}

/// Which provider it was.
#[derive(Deserialize, Serialize)]
pub(crate) struct RemovedProvider {
    pub(crate) issuer: String,
    pub(crate) audience: String,
}

#[derive(Deserialize)]
struct ProviderList {
    identity_providers: Vec<Provider>,
}

impl Admin {
    pub(crate) async fn add_provider(
        &self,
        tenant_id: &str,
        provider: &NewProvider<'_>,
    ) -> Result<AddedProvider, ConnectError> {
        self.post(&path(tenant_id, ""), provider).await
    }

    pub(crate) async fn test_token(&self, token: &str) -> Result<TokenVerdict, ConnectError> {
        let body = json!({ "token": token });
        self.post("/v1/admin/identity-providers/test", &body).await
    }

    pub(crate) async fn providers(&self, tenant_id: &str) -> Result<Vec<Provider>, ConnectError> {
        let path = path(tenant_id, "");
        let list: ProviderList = self.authority.call(Method::GET, &path, None::<&()>).await?;
        Ok(list.identity_providers)
    }

    pub(crate) async fn remove_provider(
        &self,
        tenant_id: &str,
        issuer: &str,
        audience: &str,
        reason: &str,
    ) -> Result<Changed<RemovedProvider>, ConnectError> {
        let body = json!({ "issuer": issuer, "audience": audience, "reason": reason });
        self.post(&path(tenant_id, "/remove"), &body).await
    }
}

fn path(tenant_id: &str, rest: &str) -> String {
    let tenant = segment(tenant_id);
    format!("/v1/admin/tenants/{tenant}/identity-providers{rest}")
}
