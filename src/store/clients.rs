use super::{
    Page, Row, Statement, Status, Store, StoreError, api_keys, audit::Event, changed, now, nth_row,
    revocations::Revocation, text,
};
use crate::authority::NewApiKey;

pub(crate) struct NewClient<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) tenant_id: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
    /// Why, if that was said.
    pub(crate) reason: Option<&'a str>,
}

const COLUMNS: &str = "client_id, tenant_id, name, status,
    strftime('%Y-%m-%dT%H:%M:%fZ', created_at / 1000.0, 'unixepoch') AS created_at";

impl Store {
    /// Stores the hash of the key's secret; a client id that is taken is a conflict.
    pub(crate) async fn create_client(
        &self,
        client: &NewClient<'_>,
        key: Option<&NewApiKey<'_>>,
        actor: &str,
    ) -> Result<Row, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM clients WHERE client_id = ?1");
        let mut statements = vec![
            (
                "INSERT INTO clients (client_id, tenant_id, name, created_at) VALUES (?1, ?2, ?3, ?4)",
                vec![
                    client.client_id.into(),
                    text(client.tenant_id),
                    text(client.name),
                    now(),
                ],
            ),
            Event {
                actor,
                action: "client.create",
                subject: client.client_id,
                reason: client.reason,
                detail: None,
            }
            .if_changed(),
            (select.as_str(), vec![client.client_id.into()]),
        ];
        statements.extend(key.map(|key| api_keys::insert(key, client.client_id)));
        let mut results = self.batch(statements).await?;
        nth_row(&mut results, 2)?
            .ok_or_else(|| StoreError::Unavailable("the new client can't be read".into()))
    }

    /// Up to `limit` clients in the order of their ids, after the given one.
    pub(crate) async fn list_clients(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Row>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM clients WHERE client_id > coalesce(?1, '') ORDER BY client_id LIMIT ?2"
        );
        let rows = self
            .rows(&sql, vec![text(after), (limit + 1).into()])
            .await?;
        Ok(Page::new(rows, limit))
    }

    /// The client after the change, and whether it was one. `None`: no such client.
    pub(crate) async fn set_client_status(
        &self,
        client_id: &str,
        status: Status,
        actor: &str,
        reason: &str,
    ) -> Result<Option<(Row, bool)>, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM clients WHERE client_id = ?1");
        let mut statements: Vec<Statement<'_>> = set_status(client_id, None, status, actor, reason);
        statements.push((&select, vec![client_id.into()]));
        let last = statements.len() - 1;
        let mut results = self.batch(statements).await?;
        let client = nth_row(&mut results, last)?;
        let changed = changed(&results, 0)?;
        Ok(client.map(|client| (client, changed)))
    }

    /// Suspends a client. One that only the identity provider of this tenant knows is registered as
    /// suspended; one of another tenant stays as it is. Tells whether that was a change, and whether the client was
    /// registered by it. `None`: no such client, and no such tenant.
    pub(crate) async fn revoke_client(
        &self,
        client_id: &str,
        tenant_id: Option<&str>,
        actor: &str,
        reason: &str,
    ) -> Result<Option<(Row, bool, bool)>, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM clients WHERE client_id = ?1");
        let mut statements = vec![(
            "INSERT INTO clients (client_id, tenant_id, status, created_at)
             SELECT ?1, tenant_id, 'active', ?3 FROM tenants WHERE tenant_id = ?2
             ON CONFLICT DO NOTHING",
            vec![client_id.into(), text(tenant_id), now()],
        )];
        let suspended = Status::Suspended;
        statements.extend(set_status(client_id, tenant_id, suspended, actor, reason));
        statements.push((&select, vec![client_id.into()]));
        let last = statements.len() - 1;
        let mut results = self.batch(statements).await?;
        let client = nth_row(&mut results, last)?;
        let (is_registered, changed) = (changed(&results, 0)?, changed(&results, 1)?);
        Ok(client.map(|client| (client, changed, is_registered)))
    }
}

/// The change, its audit row and, where it withdraws the client, its revocation.
fn set_status(
    client_id: &str,
    tenant_id: Option<&str>,
    status: Status,
    actor: &str,
    reason: &str,
) -> Vec<Statement<'static>> {
    let action = match status {
        Status::Active => "client.resume",
        Status::Suspended => "client.suspend",
    };
    let mut statements = vec![
        (
            "UPDATE clients SET status = ?2
             WHERE client_id = ?1 AND status <> ?2 AND (?3 IS NULL OR tenant_id IS ?3)",
            vec![client_id.into(), status.as_str().into(), text(tenant_id)],
        ),
        Event {
            actor,
            action,
            subject: client_id,
            reason: Some(reason),
            detail: None,
        }
        .if_changed(),
    ];
    if status == Status::Suspended {
        let revocation = Revocation {
            kind: "client",
            subject: client_id,
            tenant_id,
            actor,
            reason,
            owner: None,
        };
        statements.push(revocation.if_changed());
    }
    statements
}
