use std::sync::Arc;

use mcp_connect_catalog::{Version, VersionStatus};
use serde::Deserialize;
use wasm_bindgen::JsValue;

use super::{Store, StoreError, compiled, text};
use crate::authority::{
    Caller, ConnectRequest, CredentialHash, Facts, KeyFacts, Level, Moderation, ModerationFacts,
    Policy, Presented, ServerFacts, TenantFacts, VersionFacts,
};

/// Each join finds one row by a unique key, so the cost is the same however large the tables are.
/// A policy comes along only where it is another than the isolate holds. The text says no more than
/// is asked for, since D1 compiles it on each call.
fn facts_query(has_key: bool, has_version: bool) -> String {
    let (caller, from, pin) = if has_key {
        (
            "k.secret_hash, k.expires_at, k.revoked_at, c.client_id, c.tenant_id,
             c.status AS client_status, t.status AS tenant_status,
             t.policy_digest AS tenant_policy_digest,
             CASE WHEN t.policy_digest IS ?4 THEN NULL ELSE t.policy END AS tenant_policy,",
            "LEFT JOIN api_keys k ON k.key_id = ?3
             LEFT JOIN clients c ON c.client_id = k.client_id
             LEFT JOIN tenants t ON t.tenant_id = c.tenant_id",
            "coalesce(t.pins ->> ?1, a.pins ->> ?1)",
        )
    } else {
        ("", "", "a.pins ->> ?1")
    };
    let (versions, of): (_, fn(&str) -> String) = if has_version {
        let number = if has_key { 5 } else { 3 };
        (
            format!("LEFT JOIN versions v ON v.server_id = s.id AND v.version = ?{number}"),
            |column| format!("v.{column}"),
        )
    } else {
        (
            // A pin to what there is not leads to a version that the policy then refuses.
            format!(
                "LEFT JOIN versions p ON p.server_id = s.id AND p.version = {pin}
                 LEFT JOIN versions v ON v.id = CASE WHEN p.id IS NULL THEN s.default_version END"
            ),
            |column| format!("coalesce(p.{column}, v.{column})"),
        )
    };
    format!(
        "SELECT {caller} a.policy_digest AS policy_digest,
           CASE WHEN a.policy_digest IS ?2 THEN NULL ELSE a.policy END AS policy,
           (SELECT json_group_array(subject) FROM revocations WHERE kind = 'key') AS revoked_keys,
           s.moderation, s.moderation_expires_at, s.jwks_uri, s.tls_pin_sha256,
           {version} AS version, {status} AS version_status, {endpoint} AS endpoint,
           {moderation} AS version_moderation,
           {moderation_expires_at} AS version_moderation_expires_at,
           CASE WHEN s.origin_level <> 'none' AND s.verified_origin IS {origin} THEN s.origin_level
                WHEN s.namespace_proven THEN 'namespace' ELSE 'none' END AS level
         FROM authority a {from} LEFT JOIN servers s ON s.name = ?1 {versions} WHERE a.id = 1",
        version = of("version"),
        status = of("status"),
        endpoint = of("endpoint"),
        origin = of("origin"),
        moderation = of("moderation"),
        moderation_expires_at = of("moderation_expires_at"),
    )
}

#[derive(Deserialize)]
struct Row {
    secret_hash: Option<String>,
    expires_at: Option<u64>,
    revoked_at: Option<u64>,
    client_id: Option<String>,
    tenant_id: Option<String>,
    client_status: Option<super::Status>,
    tenant_status: Option<super::Status>,
    tenant_policy_digest: Option<String>,
    tenant_policy: Option<String>,
    policy_digest: Option<String>,
    policy: Option<String>,
    revoked_keys: String,
    moderation: Option<Moderation>,
    moderation_expires_at: Option<u64>,
    jwks_uri: Option<String>,
    tls_pin_sha256: Option<String>,
    version: Option<String>,
    version_status: Option<VersionStatus>,
    version_moderation: Option<Moderation>,
    version_moderation_expires_at: Option<u64>,
    endpoint: Option<String>,
    level: Level,
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
        // Whose policy it will be is known only afterwards, but likely it is the one of last time.
        let held = compiled::held(compiled::AUTHORITY);
        let held_of_tenant = key_id.and_then(compiled::held);

        let mut values = vec![
            request.server_ref.name.as_str().into(),
            text(held.as_ref().map(|held| &*held.digest)),
        ];
        if let Some(key_id) = key_id {
            values.push(key_id.into());
            let digest = held_of_tenant.as_ref().map(|held| &*held.digest);
            values.push(text(digest));
        }
        values.extend(version.map(JsValue::from_str));
        let sql = facts_query(key_id.is_some(), version.is_some());
        let row: Row = self.rows(&sql, values).await?.pop().ok_or_else(|| {
            StoreError::Unavailable("the row of the table authority is missing".into())
        })?;
        let policy = compiled::in_force(
            compiled::AUTHORITY,
            held,
            row.policy_digest.as_deref(),
            row.policy.as_deref(),
        )?;
        let tenant = match row.tenant_status {
            None => None,
            Some(status) => Some(TenantFacts {
                is_suspended: status != super::Status::Active,
                policy: compiled::in_force(
                    key_id.unwrap_or_default(),
                    held_of_tenant,
                    row.tenant_policy_digest.as_deref(),
                    row.tenant_policy.as_deref(),
                )?,
            }),
        };
        row.into_facts(policy, tenant)
    }
}

impl Row {
    fn into_facts(
        self,
        policy: Arc<Policy>,
        tenant: Option<TenantFacts>,
    ) -> Result<Facts, StoreError> {
        let secret_hash = self.secret_hash.as_deref().and_then(CredentialHash::decode);
        let key = secret_hash
            .zip(self.client_id)
            .map(|(secret_hash, client_id)| KeyFacts {
                secret_hash,
                expires_at: self.expires_at,
                is_revoked: self.revoked_at.is_some(),
                owner: Caller {
                    client_id: Some(client_id),
                    tenant_id: self.tenant_id,
                    is_suspended: self.client_status != Some(super::Status::Active),
                },
            });
        let server = self.moderation.map(|state| ServerFacts {
            moderation: ModerationFacts {
                state,
                expires_at: self.moderation_expires_at,
            },
            jwks_uri: self.jwks_uri,
            tls_pin_sha256: self.tls_pin_sha256,
        });
        let version = self
            .version
            .zip(self.version_status)
            .zip(self.version_moderation)
            .map(|((version, status), state)| VersionFacts {
                version,
                status,
                endpoint: self.endpoint,
                moderation: ModerationFacts {
                    state,
                    expires_at: self.version_moderation_expires_at,
                },
                level: self.level,
            });
        let revoked_keys = serde_json::from_str(&self.revoked_keys)
            .map_err(|error| StoreError::Unavailable(format!("revoked keys: {error}")))?;
        Ok(Facts {
            key,
            tenant,
            policy,
            server,
            version,
            revoked_keys,
        })
    }
}
