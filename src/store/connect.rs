use mcp_connect_catalog::{Version, VersionStatus};
use serde::Deserialize;

use super::{Store, StoreError, text};
use crate::authority::{
    CallerFacts, ConnectRequest, CredentialHash, Facts, Moderation, Presented, ServerFacts,
    VersionFacts,
};

/// Each join finds one row by a unique key, so the cost is the same however large the tables are.
const FACTS: &str = "
SELECT k.secret_hash, c.client_id, c.tenant_id, c.status AS client_status,
       s.verified AND s.verified_origin IS v.origin AS verified, s.moderation, s.jwks_uri, s.tls_pin_sha256,
       v.version, v.status AS version_status, v.endpoint
FROM (SELECT 1)
LEFT JOIN api_keys k ON k.key_id = ?1
LEFT JOIN clients  c ON c.client_id = k.client_id
LEFT JOIN servers  s ON s.name = ?2
LEFT JOIN versions v ON v.id = CASE WHEN ?3 IS NULL THEN s.default_version
                                    ELSE (SELECT id FROM versions WHERE server_id = s.id AND version = ?3) END";

#[derive(Deserialize)]
struct Row {
    secret_hash: Option<String>,
    client_id: Option<String>,
    tenant_id: Option<String>,
    client_status: Option<super::ClientStatus>,
    verified: Option<u8>,
    moderation: Option<Moderation>,
    jwks_uri: Option<String>,
    tls_pin_sha256: Option<String>,
    version: Option<String>,
    version_status: Option<VersionStatus>,
    endpoint: Option<String>,
}

impl Store {
    /// Everything that a connect decision needs, in one round trip to D1.
    #[worker::send]
    pub(crate) async fn connect_facts(
        &self,
        request: &ConnectRequest,
        presented: &Presented,
    ) -> Result<Facts, StoreError> {
        let key_id = match presented {
            Presented::ApiKey(key) => Some(key.key_id()),
            Presented::Nothing | Presented::Unreadable => None,
        };
        let reference = &request.server_ref;
        let values = vec![
            text(key_id),
            reference.name.as_str().into(),
            text(reference.version.as_ref().map(Version::as_str)),
        ];
        let rows: Vec<Row> = self.rows(FACTS, values).await?;
        Ok(rows.into_iter().next().map(Facts::from).unwrap_or_default())
    }
}

impl From<Row> for Facts {
    fn from(row: Row) -> Self {
        let secret_hash = row.secret_hash.as_deref().and_then(CredentialHash::decode);
        Self {
            caller: secret_hash
                .zip(row.client_id)
                .map(|(secret_hash, client_id)| CallerFacts {
                    secret_hash,
                    client_id,
                    tenant_id: row.tenant_id,
                    suspended: row.client_status != Some(super::ClientStatus::Active),
                }),
            server: row.moderation.map(|moderation| ServerFacts {
                verified: row.verified == Some(1),
                moderation,
                jwks_uri: row.jwks_uri,
                tls_pin_sha256: row.tls_pin_sha256,
            }),
            version: row
                .version
                .zip(row.version_status)
                .map(|(version, status)| VersionFacts {
                    version,
                    status,
                    endpoint: row.endpoint,
                }),
        }
    }
}
