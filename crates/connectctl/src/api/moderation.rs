use mcp_connect_catalog::ServerRef;
use mcp_connect_client::{ConnectError, Server};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Admin, Changed, query, segment};
use crate::paging::Page;

/// A server or version that is held back.
#[derive(Deserialize, Serialize)]
pub(crate) struct Moderated {
    pub(crate) server_ref: String,
    pub(crate) state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
}

/// A server or version after a change.
#[derive(Deserialize, Serialize)]
pub(crate) struct Standing {
    #[serde(flatten)]
    pub(crate) server: Server,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_until: Option<String>,
    /// The word of the revocation feed about the change: `told`, `left_out` or `not_needed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) feed: Option<String>,
}

#[derive(Clone, Copy)]
pub(crate) enum ModerationAction {
    /// For so many seconds, or until it is reinstated.
    Quarantine(Option<u64>),
    Revoke,
    Reinstate,
}

#[derive(Clone, Copy)]
pub(crate) struct ModerationFilter<'a> {
    pub(crate) state: Option<&'a str>,
    pub(crate) namespace: Option<&'a str>,
}

#[derive(Deserialize)]
struct ModeratedPage {
    moderated: Vec<Moderated>,
    next_cursor: Option<String>,
}

impl Admin {
    /// Moderates one server; `bulk`: one of many, which share a part of the revocation feed.
    pub(crate) async fn moderate(
        &self,
        server_ref: &ServerRef,
        action: ModerationAction,
        reason: &str,
        bulk: bool,
    ) -> Result<Changed<Standing>, ConnectError> {
        let (verb, mut body) = match action {
            ModerationAction::Quarantine(None) => ("quarantine", json!({ "reason": reason })),
            ModerationAction::Quarantine(Some(seconds)) => (
                "quarantine",
                json!({ "reason": reason, "expires_in": seconds }),
            ),
            ModerationAction::Revoke => ("revoke", json!({ "reason": reason })),
            ModerationAction::Reinstate => ("reinstate", json!({ "reason": reason })),
        };
        if let (true, Some(members)) = (bulk, body.as_object_mut()) {
            members.insert("bulk".to_owned(), true.into());
        }
        let name = &server_ref.name;
        // A version may have characters that mean something in a path.
        let version = match &server_ref.version {
            Some(version) => format!("@{}", segment(version.as_str())),
            None => String::new(),
        };
        let path = format!("/v1/admin/servers/{name}{version}/{verb}");
        self.post(&path, &body).await
    }

    pub(crate) async fn moderated(
        &self,
        filter: ModerationFilter<'_>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Moderated>, ConnectError> {
        let limit = limit.to_string();
        let path = query(
            "/v1/admin/moderation",
            &[
                ("limit", Some(&limit)),
                ("state", filter.state),
                ("namespace", filter.namespace),
                ("cursor", cursor),
            ],
        );
        let page: ModeratedPage = self.authority.call(Method::GET, &path, None::<&()>).await?;
        Ok(Page {
            items: page.moderated,
            next_cursor: page.next_cursor,
        })
    }
}
