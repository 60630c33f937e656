use mcp_connect_catalog::ServerRef;
use mcp_connect_client::ConnectError;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Admin, Changed, segment};
use crate::paging::Page;

/// One version of a policy; 0 is what holds before anybody wrote one.
#[derive(Deserialize, Serialize)]
pub(crate) struct PolicyVersion {
    #[serde(flatten)]
    pub(crate) head: PolicyHead,
    pub(crate) policy: Value,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct PolicyHead {
    pub(crate) version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct NewPolicy<'a> {
    pub(crate) policy: &'a Value,
    pub(crate) reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) if_version: Option<u32>,
}

/// What connect would say, and why.
#[derive(Deserialize, Serialize)]
pub(crate) struct Explanation {
    pub(crate) decision: String,
    pub(crate) code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decided_by: Option<String>,
    pub(crate) caller: ExplainedCaller,
    pub(crate) server: ExplainedServer,
    pub(crate) findings: Vec<Finding>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct ExplainedCaller {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant_id: Option<String>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct ExplainedServer {
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) level: Option<String>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Finding {
    pub(crate) scope: String,
    pub(crate) group: String,
    pub(crate) permits: bool,
    pub(crate) because: String,
}

#[derive(Deserialize)]
struct HistoryPage {
    versions: Vec<PolicyHead>,
    next_cursor: Option<String>,
}

impl Admin {
    /// The version in force, or an older one.
    pub(crate) async fn policy(
        &self,
        tenant: Option<&str>,
        version: Option<u32>,
    ) -> Result<PolicyVersion, ConnectError> {
        let path = policy_path(tenant);
        let path = version.map_or(path.clone(), |version| format!("{path}?version={version}"));
        self.authority.call(Method::GET, &path, None::<&()>).await
    }

    pub(crate) async fn set_policy(
        &self,
        tenant: Option<&str>,
        policy: &NewPolicy<'_>,
    ) -> Result<Changed<PolicyHead>, ConnectError> {
        self.post(&policy_path(tenant), policy).await
    }

    pub(crate) async fn policy_history(
        &self,
        tenant: Option<&str>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<PolicyHead>, ConnectError> {
        let path = format!("{}/history", policy_path(tenant));
        let page: HistoryPage = self.page(&path, cursor, limit).await?;
        Ok(Page {
            items: page.versions,
            next_cursor: page.next_cursor,
        })
    }

    pub(crate) async fn explain(
        &self,
        server_ref: &ServerRef,
        client_id: Option<&str>,
        tenant_id: Option<&str>,
    ) -> Result<Explanation, ConnectError> {
        #[derive(Serialize)]
        struct Body<'a> {
            server_ref: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            client_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            tenant_id: Option<&'a str>,
        }
        let body = Body {
            server_ref: server_ref.to_string(),
            client_id,
            tenant_id,
        };
        self.post("/v1/admin/policy/explain", &body).await
    }
}

/// Of a tenant's policy, or of the policy for all.
fn policy_path(tenant: Option<&str>) -> String {
    tenant.map_or_else(
        || "/v1/admin/policy".to_owned(),
        |tenant| format!("/v1/admin/tenants/{}/policy", segment(tenant)),
    )
}
