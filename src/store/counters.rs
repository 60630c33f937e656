use super::{Row, Store, StoreError, now, nth_rows};
use crate::platform::metrics::Series;

/// A sum over all isolates, or a number of rows.
pub(crate) struct Counter {
    pub(crate) name: String,
    /// As Prometheus writes them.
    pub(crate) labels: String,
    pub(crate) value: f64,
}

impl Counter {
    fn read(row: &Row) -> Self {
        Self {
            name: row.text("name").to_owned(),
            labels: row.text("labels").to_owned(),
            value: row.real("value"),
        }
    }
}

/// Statements, and whether they have to know the time.
const CENSUS: [(&str, bool); 7] = [
    (
        "SELECT 'servers' AS name, '' AS labels, count(*) AS value FROM servers",
        false,
    ),
    (
        "SELECT 'versions' AS name, 'status=\"' || status || '\"' AS labels, count(*) AS value
         FROM versions GROUP BY status",
        false,
    ),
    (
        "SELECT 'clients' AS name, 'status=\"' || status || '\"' AS labels, count(*) AS value
         FROM clients GROUP BY status",
        false,
    ),
    (
        "SELECT 'tenants' AS name, 'status=\"' || status || '\"' AS labels, count(*) AS value
         FROM tenants GROUP BY status",
        false,
    ),
    (
        "SELECT 'moderated_servers' AS name, 'state=\"' || moderation || '\"' AS labels, count(*) AS value
         FROM servers WHERE moderation <> 'active' AND coalesce(moderation_expires_at > ?1, 1)
         GROUP BY moderation",
        true,
    ),
    (
        "SELECT 'moderated_versions' AS name, 'state=\"' || moderation || '\"' AS labels, count(*) AS value
         FROM versions WHERE moderation <> 'active' AND coalesce(moderation_expires_at > ?1, 1)
         GROUP BY moderation",
        true,
    ),
    (
        "SELECT 'revocations' AS name, 'kind=\"' || kind || '\"' AS labels, count(*) AS value
         FROM revocations GROUP BY kind",
        false,
    ),
];

impl Store {
    /// Adds what an isolate has counted.
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
    pub(crate) async fn counters(&self) -> Result<Vec<Counter>, StoreError> {
        let sql = "SELECT name, labels, value FROM counters ORDER BY name, labels";
        let rows = self.rows(sql, Vec::new()).await?;
        Ok(rows.iter().map(Counter::read).collect())
    }

    /// What is in the registry, by counting it: this reads every row.
    pub(crate) async fn census(&self) -> Result<Vec<Counter>, StoreError> {
        let mut counters = Vec::new();
        let statements = CENSUS.map(|(sql, is_dated)| {
            let values = if is_dated { vec![now()] } else { Vec::new() };
            (sql, values)
        });
        let mut results = self.read(statements.into()).await?;
        for index in 0..results.len() {
            counters.extend(nth_rows(&mut results, index)?.iter().map(Counter::read));
        }
        Ok(counters)
    }
}
