use super::{
    Page, Row, Status, Store, StoreError, audit::Event, changed, now, nth_row,
    revocations::Revocation, text,
};

const SELECT: &str = "SELECT tenant_id, name, status,
    coalesce((SELECT max(version) FROM policies WHERE scope = tenant_id), 0) AS policy_version,
    strftime('%Y-%m-%dT%H:%M:%fZ', created_at / 1000.0, 'unixepoch') AS created_at
    FROM tenants";

impl Store {
    /// A tenant id that is taken is a conflict.
    pub(crate) async fn create_tenant(
        &self,
        tenant_id: &str,
        name: Option<&str>,
        actor: &str,
        reason: Option<&str>,
    ) -> Result<Row, StoreError> {
        let select = format!("{SELECT} WHERE tenant_id = ?1");
        let mut results = self
            .batch(vec![
                (
                    "INSERT INTO tenants (tenant_id, name, created_at) VALUES (?1, ?2, ?3)",
                    vec![tenant_id.into(), text(name), now()],
                ),
                Event {
                    actor,
                    action: "tenant.create",
                    subject: tenant_id,
                    reason,
                    detail: None,
                }
                .if_changed(),
                (&select, vec![tenant_id.into()]),
            ])
            .await?;
        nth_row(&mut results, 2)?
            .ok_or_else(|| StoreError::Unavailable("the new tenant can't be read".into()))
    }

    pub(crate) async fn tenant(&self, tenant_id: &str) -> Result<Option<Row>, StoreError> {
        let sql = format!("{SELECT} WHERE tenant_id = ?1");
        Ok(self.rows(&sql, vec![tenant_id.into()]).await?.pop())
    }

    /// Up to `limit` tenants in the order of their ids, after the given one.
    pub(crate) async fn list_tenants(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Row>, StoreError> {
        let sql =
            format!("{SELECT} WHERE tenant_id > coalesce(?1, '') ORDER BY tenant_id LIMIT ?2");
        let rows = self
            .rows(&sql, vec![text(after), (limit + 1).into()])
            .await?;
        Ok(Page::new(rows, limit))
    }

    /// The tenant after the change, and whether it was one. `None`: no such tenant.
    pub(crate) async fn set_tenant_status(
        &self,
        tenant_id: &str,
        status: Status,
        actor: &str,
        reason: &str,
    ) -> Result<Option<(Row, bool)>, StoreError> {
        let select = format!("{SELECT} WHERE tenant_id = ?1");
        let (action, revocation) = match status {
            Status::Active => ("tenant.resume", None),
            Status::Suspended => (
                "tenant.suspend",
                Some(Revocation {
                    kind: "tenant",
                    subject: tenant_id,
                    tenant_id: None,
                    actor,
                    reason,
                    owner: None,
                }),
            ),
        };
        let mut statements = vec![
            (
                "UPDATE tenants SET status = ?2 WHERE tenant_id = ?1 AND status <> ?2",
                vec![tenant_id.into(), status.as_str().into()],
            ),
            Event {
                actor,
                action,
                subject: tenant_id,
                reason: Some(reason),
                detail: None,
            }
            .if_changed(),
        ];
        statements.extend(revocation.map(|revocation| revocation.if_changed()));
        let last = statements.len();
        statements.push((&select, vec![tenant_id.into()]));
        let mut results = self.batch(statements).await?;
        let tenant = nth_row(&mut results, last)?;
        let changed = changed(&results, 0)?;
        Ok(tenant.map(|tenant| (tenant, changed)))
    }
}
