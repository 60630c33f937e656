use super::{
    Row, Statement, Store, StoreError, audit::Event, changed, credentials, date, now, nth_row,
    nth_rows, number,
};
use crate::authority::{NewApiKey, PastKey};

/// The most keys of one client that work at the same time.
pub(crate) const MAX_LIVE_KEYS: u32 = 10;

/// What became of a new key.
pub(crate) enum KeyCreation {
    Created(Row),
    NoClient,
    /// [`MAX_LIVE_KEYS`] work already.
    TooMany,
}

/// Of the client ?1; ?2 is now.
fn select(condition: &str) -> String {
    format!(
        "SELECT {}, {} AS last_used_at FROM api_keys k WHERE client_id = ?1 AND {condition}",
        credentials::columns(),
        date("k.last_used_at"),
    )
}

const TABLE: credentials::Table = credentials::Table {
    name: "api_keys",
    holder: "client_id",
};

const SELECT_CLIENT: &str = "SELECT 1 FROM clients WHERE client_id = ?1";

/// Of a client that has less than [`MAX_LIVE_KEYS`].
pub(super) fn insert(key: &NewApiKey<'_>, client_id: &str) -> Statement<'static> {
    let mut values = credentials::values(key, client_id);
    values.push(MAX_LIVE_KEYS.into());
    (
        "INSERT INTO api_keys (key_id, client_id, secret_hash, label, created_at, expires_at)
         SELECT ?1, client_id, ?3, ?4, ?5, ?6 FROM clients WHERE client_id = ?2 AND ?7 >
           (SELECT count(*) FROM api_keys WHERE client_id = ?2 AND revoked_at IS NULL
              AND (expires_at IS NULL OR expires_at > ?5))",
        values,
    )
}

impl Store {
    pub(crate) async fn create_api_key(
        &self,
        client_id: &str,
        key: &NewApiKey<'_>,
        actor: &str,
        reason: Option<&str>,
    ) -> Result<KeyCreation, StoreError> {
        let event = Event {
            actor,
            action: "client.key.create",
            subject: client_id,
            reason,
            detail: Some(key.key.key_id()),
        };
        self.insert_api_key(client_id, key, &event, None).await
    }

    /// The keys that a rotation replaces. `None`: no such client.
    pub(crate) async fn past_api_keys(
        &self,
        client_id: &str,
    ) -> Result<Option<Vec<PastKey>>, StoreError> {
        let keys = TABLE.past_query();
        let mut results = self
            .read(vec![
                (SELECT_CLIENT, vec![client_id.into()]),
                (&keys, vec![client_id.into(), now()]),
            ])
            .await?;
        if nth_row(&mut results, 0)?.is_none() {
            return Ok(None);
        }
        let keys = nth_rows(&mut results, 1)?;
        Ok(Some(keys.iter().map(credentials::past_key).collect()))
    }

    /// A new key, and an end for all others: at `others_end`, in milliseconds since the Unix epoch.
    pub(crate) async fn rotate_api_keys(
        &self,
        client_id: &str,
        key: &NewApiKey<'_>,
        others_end: u64,
        actor: &str,
        reason: &str,
    ) -> Result<KeyCreation, StoreError> {
        let event = Event {
            actor,
            action: "client.key.rotate",
            subject: client_id,
            reason: Some(reason),
            detail: Some(key.key.key_id()),
        };
        let (sql, values) = TABLE.end_others(client_id, key.key.key_id(), others_end);
        let end_others = (sql.as_str(), values);
        self.insert_api_key(client_id, key, &event, Some(end_others))
            .await
    }

    async fn insert_api_key(
        &self,
        client_id: &str,
        key: &NewApiKey<'_>,
        event: &Event<'_>,
        then: Option<Statement<'_>>,
    ) -> Result<KeyCreation, StoreError> {
        let select = select("key_id = ?3");
        let values = vec![client_id.into(), now(), key.key.key_id().into()];
        let mut statements = vec![
            insert(key, client_id),
            event.if_changed(),
            (SELECT_CLIENT, vec![client_id.into()]),
            (&select, values),
        ];
        statements.extend(then);
        let mut results = self.batch(statements).await?;
        if nth_row(&mut results, 2)?.is_none() {
            return Ok(KeyCreation::NoClient);
        }
        let created = nth_row(&mut results, 3)?;
        Ok(created.map_or(KeyCreation::TooMany, KeyCreation::Created))
    }

    /// The newest keys. `None`: no such client.
    pub(crate) async fn list_api_keys(
        &self,
        client_id: &str,
    ) -> Result<Option<Vec<Row>>, StoreError> {
        let keys = select(&credentials::newest());
        let mut results = self
            .read(vec![
                (SELECT_CLIENT, vec![client_id.into()]),
                (&keys, vec![client_id.into(), now()]),
            ])
            .await?;
        if nth_row(&mut results, 0)?.is_none() {
            return Ok(None);
        }
        nth_rows(&mut results, 1).map(Some)
    }

    /// The key after the change, and whether it was one. `None`: the client has no such key.
    pub(crate) async fn revoke_api_key(
        &self,
        client_id: &str,
        key_id: &str,
        actor: &str,
        reason: &str,
    ) -> Result<Option<(Row, bool)>, StoreError> {
        let select = select("key_id = ?3");
        let mut results = self
            .batch(vec![
                (
                    "UPDATE api_keys SET revoked_at = ?3
                     WHERE client_id = ?1 AND key_id = ?2 AND revoked_at IS NULL",
                    vec![client_id.into(), key_id.into(), now()],
                ),
                Event {
                    actor,
                    action: "client.key.revoke",
                    subject: client_id,
                    reason: Some(reason),
                    detail: Some(key_id),
                }
                .if_changed(),
                (&select, vec![client_id.into(), now(), key_id.into()]),
            ])
            .await?;
        let record = nth_row(&mut results, 2)?;
        let changed = changed(&results, 0)?;
        Ok(record.map(|record| (record, changed)))
    }

    /// That these keys were used in the hour that began then. Not a change of an administrator: the
    /// audit trail has nothing of it.
    pub(crate) async fn touch_keys(&self, key_ids: &[String], hour: u64) -> Result<(), StoreError> {
        let ids = serde_json::json!(key_ids).to_string();
        self.batch(vec![(
            "UPDATE api_keys SET last_used_at = ?2
             WHERE key_id IN (SELECT value FROM json_each(?1)) AND coalesce(last_used_at, 0) < ?2",
            vec![ids.into(), number(hour)],
        )])
        .await?;
        Ok(())
    }
}
