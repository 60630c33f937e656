//! The claims to URLs of versions that were stored before there were claims.

use mcp_connect_catalog::Claim;
use serde_json::{Value, json};

use super::{Store, StoreError};

/// Each has a server.json of at most 256 KiB, and all of them are in memory at once.
const AT_ONCE: u32 = 40;

impl Store {
    /// Writes down what some of them claim; how many there were.
    pub(crate) async fn claim_urls(&self) -> Result<usize, StoreError> {
        let sql = "SELECT v.id, s.name, v.server_json FROM versions v JOIN servers s ON s.id = v.server_id
                   WHERE v.claims IS NULL ORDER BY v.id LIMIT ?1";
        let rows = self.rows(sql, vec![AT_ONCE.into()]).await?;
        let claims: Vec<Value> = rows
            .iter()
            .map(|row| {
                let claims = Claim::of_stored(row.text("name"), row.text("server_json"));
                json!({ "id": row.number("id"), "claims": claims })
            })
            .collect();
        if !claims.is_empty() {
            let sql = "UPDATE versions SET claims = c.value ->> 'claims' FROM json_each(?1) c
                       WHERE versions.id = c.value ->> 'id' AND versions.claims IS NULL";
            self.batch(vec![(sql, vec![json!(claims).to_string().into()])])
                .await?;
        }
        Ok(claims.len())
    }
}
