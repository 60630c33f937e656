use mcp_connect_client::ConnectError;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Admin, Changed, segment};
use crate::paging::Page;

/// Whose clients share a policy.
#[derive(Deserialize, Serialize)]
pub(crate) struct Tenant {
    #[serde(rename = "tenant_id")]
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    pub(crate) status: String,
    pub(crate) policy_version: u32,
    pub(crate) created_at: String,
}

#[derive(Deserialize)]
struct TenantPage {
    tenants: Vec<Tenant>,
    next_cursor: Option<String>,
}

impl Admin {
    pub(crate) async fn create_tenant(
        &self,
        id: &str,
        name: Option<&str>,
        reason: Option<&str>,
    ) -> Result<Tenant, ConnectError> {
        #[derive(Serialize)]
        struct Body<'a> {
            tenant_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            name: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
        }
        let body = Body {
            tenant_id: id,
            name,
            reason,
        };
        self.post("/v1/admin/tenants", &body).await
    }

    pub(crate) async fn tenant(&self, id: &str) -> Result<Tenant, ConnectError> {
        let path = format!("/v1/admin/tenants/{}", segment(id));
        self.authority.call(Method::GET, &path, None::<&()>).await
    }

    pub(crate) async fn tenants(&self, cursor: Option<&str>) -> Result<Page<Tenant>, ConnectError> {
        let page: TenantPage = self.page("/v1/admin/tenants", cursor, 100).await?;
        Ok(Page {
            items: page.tenants,
            next_cursor: page.next_cursor,
        })
    }

    /// `change` is `suspend` or `resume`.
    pub(crate) async fn change_tenant(
        &self,
        id: &str,
        change: &str,
        reason: &str,
    ) -> Result<Changed<Tenant>, ConnectError> {
        let path = format!("/v1/admin/tenants/{}/{change}", segment(id));
        self.post(&path, &json!({ "reason": reason })).await
    }
}
