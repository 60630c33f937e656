use serde::Deserialize;

use super::{Store, StoreError, now};
use crate::platform::metrics::Series;

/// A sum over all isolates, or a number of rows.
#[derive(Deserialize)]
pub(crate) struct Counter {
    pub(crate) name: String,
    /// As Prometheus writes them.
    pub(crate) labels: String,
    pub(crate) value: f64,
}

impl Store {
    /// Adds what an isolate has counted.
    #[worker::send]
    pub(crate) async fn add_counters(&self, sums: &[(Series, f64)]) -> Result<(), StoreError> {
        let rows: Vec<(&str, String, f64)> = sums
            .iter()
            .map(|(series, value)| (series.name, series.label_text(), *value))
            .collect();
        let json = serde_json::to_string(&rows)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        self.batch(vec![(
            "INSERT INTO counters (name, labels, value)
             SELECT value ->> 0, value ->> 1, CAST(value ->> 2 AS REAL) FROM json_each(?1) WHERE true
             ON CONFLICT (name, labels) DO UPDATE SET value = value + excluded.value",
            vec![json.into()],
        )])
        .await?;
        Ok(())
    }

    /// As many rows as this program has names and labels.
    #[worker::send]
    pub(crate) async fn counters(&self) -> Result<Vec<Counter>, StoreError> {
        self.rows(
            "SELECT name, labels, value FROM counters ORDER BY name, labels",
            Vec::new(),
        )
        .await
    }

    /// What is in the registry, by counting it: this reads every row.
    #[worker::send]
    pub(crate) async fn census(&self) -> Result<Vec<Counter>, StoreError> {
        self.rows(
            "SELECT 'servers' AS name, '' AS labels, count(*) AS value FROM servers
             UNION ALL SELECT 'versions', 'status=\"' || status || '\"', count(*) FROM versions GROUP BY status
             UNION ALL SELECT 'clients', 'status=\"' || status || '\"', count(*) FROM clients GROUP BY status
             UNION ALL SELECT 'tenants', 'status=\"' || status || '\"', count(*) FROM tenants GROUP BY status
             UNION ALL SELECT 'moderated_servers', 'state=\"' || moderation || '\"', count(*) FROM servers
               WHERE moderation <> 'active' AND (moderation_expires_at IS NULL OR moderation_expires_at > ?1)
               GROUP BY moderation
             UNION ALL SELECT 'moderated_versions', 'state=\"' || moderation || '\"', count(*) FROM versions
               WHERE moderation <> 'active' AND (moderation_expires_at IS NULL OR moderation_expires_at > ?1)
               GROUP BY moderation
             UNION ALL SELECT 'revocations', 'kind=\"' || kind || '\"', count(*) FROM revocations GROUP BY kind",
            vec![now()],
        )
        .await
    }
}
