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
    pub(crate) created_at: String,
}

#[derive(Serialize)]
pub(crate) struct NewProvider<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jwks_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) client_claims: &'a [String],
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
    ) -> Result<Provider, ConnectError> {
        self.post(&path(tenant_id, ""), provider).await
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
