use mcp_connect_catalog::{Version, VersionStatus};
use serde::Deserialize;
use wasm_bindgen::JsValue;

use super::{Store, StoreError};
use crate::authority::{
    CallerFacts, ConnectRequest, CredentialHash, Facts, Moderation, Presented, ServerFacts,
    VersionFacts,
};

/// Each join finds one row by a unique key, so the cost is the same however large the tables are.
/// The text says no more than is asked for, since D1 compiles it on each call.
fn facts_query(has_key: bool, has_version: bool) -> String {
    let (caller, from, condition) = if has_key {
        (
            "k.secret_hash, c.client_id, c.tenant_id, c.status AS client_status",
            "api_keys k JOIN clients c ON c.client_id = k.client_id LEFT JOIN",
            "WHERE k.key_id = ?2",
        )
    } else {
        (
            "NULL AS secret_hash, NULL AS client_id, NULL AS tenant_id, NULL AS client_status",
            "(SELECT 1) LEFT JOIN",
            "",
        )
    };
    let version = match (has_version, has_key) {
        (false, _) => "v.id = s.default_version",
        (true, true) => "v.server_id = s.id AND v.version = ?3",
        (true, false) => "v.server_id = s.id AND v.version = ?2",
    };
    format!(
        "SELECT {caller}, (s.namespace_proven OR (s.origin_level <> 'none' AND s.verified_origin IS v.origin)) AS verified, s.moderation,
                s.jwks_uri, s.tls_pin_sha256, v.version, v.status AS version_status, v.endpoint
         FROM {from} servers s ON s.name = ?1 LEFT JOIN versions v ON {version} {condition}"
    )
}

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
        let version = request.server_ref.version.as_ref().map(Version::as_str);
        let mut values = vec![request.server_ref.name.as_str().into()];
        values.extend(
            [key_id, version]
                .into_iter()
                .flatten()
                .map(JsValue::from_str),
        );
        let sql = facts_query(key_id.is_some(), version.is_some());
        let rows: Vec<Row> = self.rows(&sql, values).await?;
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
