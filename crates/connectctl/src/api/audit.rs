use mcp_connect_audit::AuditEntry;
use mcp_connect_client::ConnectError;
use reqwest::Method;
use serde::Deserialize;

use super::{Admin, query};
use crate::paging::Page;

/// Which entries to list.
#[derive(Clone, Copy)]
pub(crate) struct AuditFilter<'a> {
    pub(crate) actor: Option<&'a str>,
    pub(crate) action: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) since: Option<&'a str>,
    pub(crate) until: Option<&'a str>,
    pub(crate) oldest_first: bool,
    /// Whether what imports took in stands among them.
    pub(crate) imports: bool,
}

#[derive(Deserialize)]
struct AuditPage {
    entries: Vec<AuditEntry>,
    next_cursor: Option<String>,
    left_out: Option<u64>,
}

impl Admin {
    /// A page, and how many imports are left out among its entries.
    pub(crate) async fn audit(
        &self,
        filter: AuditFilter<'_>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<(Page<AuditEntry>, Option<u64>), ConnectError> {
        let limit = limit.to_string();
        let path = query(
            "/v1/admin/audit",
            &[
                ("limit", Some(&limit)),
                ("actor", filter.actor),
                ("action", filter.action),
                ("subject", filter.subject),
                ("since", filter.since),
                ("until", filter.until),
                ("imports", (!filter.imports).then_some("exclude")),
                ("order", filter.oldest_first.then_some("oldest")),
                ("cursor", cursor),
            ],
        );
        let page: AuditPage = self.authority.call(Method::GET, &path, None::<&()>).await?;
        let entries = Page {
            items: page.entries,
            next_cursor: page.next_cursor,
        };
        Ok((entries, page.left_out))
    }

    /// JSON lines of the entries after the one of this number; nothing: there are no more.
    pub(crate) async fn export_audit(&self, after: u64) -> Result<String, ConnectError> {
        let after = after.to_string();
        let path = query("/v1/admin/audit/export", &[("after", Some(&after))]);
        self.authority.text(&path, "application/x-ndjson").await
    }
}
