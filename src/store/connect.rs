use std::sync::Arc;

use mcp_connect_catalog::VersionStatus;
use serde::Deserialize;
use serde_json::{Map, Value};
use wasm_bindgen::JsValue;

use super::{
    Status, Store, StoreError,
    compiled::{self, Held},
    proofs::effective_level,
    providers::read_claims,
    text,
};
use crate::authority::{
    AccessToken, Caller, ConnectRequest, CredentialHash, Facts, KeyFacts, KeySource, Level,
    Moderation, ModerationFacts, Policy, Presented, ProviderFacts, ServerFacts, TenantFacts,
    VersionFacts,
};

/// Whom the facts are about.
#[derive(Clone, Copy)]
enum About<'a> {
    Nobody,
    Key(&'a str),
    Token(&'a AccessToken),
    Named {
        client_id: Option<&'a str>,
        tenant_id: Option<&'a str>,
    },
}

impl<'a> About<'a> {
    /// What the caller's tenant is remembered by.
    fn hint(self) -> Option<&'a str> {
        match self {
            Self::Nobody => None,
            Self::Key(key_id) => Some(key_id),
            Self::Token(token) => Some(token.issuer()),
            Self::Named {
                client_id,
                tenant_id,
            } => tenant_id.or(client_id),
        }
    }
}

/// Each join finds one row by a unique key, so the cost is the same however large the tables are.
/// A policy comes along only where it is another than the isolate holds. The text says no more than
/// is asked for, since D1 compiles it on each call.
fn facts_query(
    request: &ConnectRequest,
    about: About<'_>,
    [held, held_of_tenant]: [Option<&Held>; 2],
) -> (String, Vec<JsValue>) {
    const PROVIDER: &str = "p.audience, p.tenant_id AS provider_tenant_id,
        p.jwks_uri AS provider_jwks_uri, p.client_claims,";
    const CLIENT: &str = "c.client_id, c.tenant_id, c.status AS client_status,
        t.status AS tenant_status, t.policy_digest AS tenant_policy_digest,
        CASE WHEN t.policy_digest IS ?3 THEN NULL ELSE t.policy END AS tenant_policy,";
    let digest = |held: Option<&Held>| text(held.map(|held| &*held.digest));
    let name = &request.server_ref.name;
    let mut values = vec![name.as_str().into(), digest(held)];
    let (caller, from) = match about {
        About::Nobody => (String::new(), String::new()),
        About::Key(key_id) => {
            values.extend([digest(held_of_tenant), key_id.into()]);
            (
                format!("k.secret_hash, k.expires_at, k.revoked_at, {CLIENT}"),
                "LEFT JOIN api_keys k ON k.key_id = ?4
                 LEFT JOIN clients c ON c.client_id = k.client_id
                 LEFT JOIN tenants t ON t.tenant_id = c.tenant_id"
                    .to_owned(),
            )
        }
        About::Token(token) => {
            values.extend([digest(held_of_tenant), token.issuer().into()]);
            values.push(possible_clients(token).into());
            let from = join_provider(token, &mut values);
            (format!("{PROVIDER} {CLIENT}"), from)
        }
        About::Named {
            client_id,
            tenant_id,
        } => {
            values.extend([digest(held_of_tenant), text(client_id), text(tenant_id)]);
            (
                CLIENT.to_owned(),
                "LEFT JOIN clients c ON c.client_id = ?4
                 LEFT JOIN tenants t ON t.tenant_id = coalesce(?5, c.tenant_id)"
                    .to_owned(),
            )
        }
    };
    let (versions, of): (_, fn(&str) -> String) = if let Some(version) = &request.server_ref.version
    {
        values.push(version.as_str().into());
        let number = values.len();
        (
            format!("LEFT JOIN versions v ON v.server_id = s.id AND v.version = ?{number}"),
            |column| format!("v.{column}"),
        )
    } else {
        let mut pin = |of: &str, held: Option<&Held>| {
            // Known of a policy that the isolate holds; looked up in JSON only of another.
            values.push(text(held.and_then(|held| held.policy.pin(name))));
            let (known, digest) = (values.len(), if of == "a" { 2 } else { 3 });
            format!(
                "CASE WHEN {of}.policy_digest IS ?{digest} THEN ?{known} ELSE {of}.pins ->> ?1 END"
            )
        };
        let pin = match about {
            About::Nobody => pin("a", held),
            About::Key(_) | About::Token(_) | About::Named { .. } => {
                format!("coalesce({}, {})", pin("t", held_of_tenant), pin("a", held))
            }
        };
        (
            // A pin to what there is not leads to a version that the policy then refuses.
            format!(
                "LEFT JOIN versions w ON w.server_id = s.id AND w.version = {pin}
                 LEFT JOIN versions v ON v.id = CASE WHEN w.id IS NULL THEN s.default_version END"
            ),
            |column| format!("coalesce(w.{column}, v.{column})"),
        )
    };
    let sql = format!(
        "SELECT {caller} a.policy_digest AS policy_digest,
           CASE WHEN a.policy_digest IS ?2 THEN NULL ELSE a.policy END AS policy,
           (SELECT json_group_array(subject) FROM revocations WHERE kind = 'key') AS revoked_keys,
           s.moderation, s.moderation_expires_at, s.jwks_uri, s.tls_pin_sha256,
           {version} AS version, {status} AS version_status, {endpoint} AS endpoint,
           {moderation} AS version_moderation,
           {moderation_expires_at} AS version_moderation_expires_at,
           {level} AS level
         FROM authority a {from} LEFT JOIN servers s ON s.name = ?1 {versions} WHERE a.id = 1
         LIMIT 2",
        version = of("version"),
        status = of("status"),
        endpoint = of("endpoint"),
        level = effective_level(&of("origin")),
        moderation = of("moderation"),
        moderation_expires_at = of("moderation_expires_at"),
    );
    (sql, values)
}

/// The provider of a token whose issuer is ?4, and the client that the provider's claims name, of
/// those in ?5 and in their order; at most four.
fn join_provider(token: &AccessToken, values: &mut Vec<JsValue>) -> String {
    let audiences = token.audiences().iter().map(|audience| {
        values.push(audience.as_str().into());
        format!("?{}", values.len())
    });
    let audiences = audiences.collect::<Vec<_>>().join(", ");
    format!(
        "LEFT JOIN identity_providers p ON p.issuer = ?4 AND p.audience IN ({audiences})
         LEFT JOIN clients c ON c.client_id = coalesce(
           ?5 ->> (p.client_claims ->> 0), ?5 ->> (p.client_claims ->> 1),
           ?5 ->> (p.client_claims ->> 2), ?5 ->> (p.client_claims ->> 3))
         LEFT JOIN tenants t ON t.tenant_id = p.tenant_id"
    )
}

/// By claim: what in the token could be a client's id.
fn possible_clients(token: &AccessToken) -> String {
    let mut clients = Map::new();
    for (claim, id) in token.possible_clients() {
        clients.insert(claim.to_owned(), id.into());
    }
    Value::Object(clients).to_string()
}

#[derive(Deserialize)]
struct Row {
    secret_hash: Option<String>,
    expires_at: Option<u64>,
    revoked_at: Option<u64>,
    audience: Option<String>,
    provider_tenant_id: Option<String>,
    provider_jwks_uri: Option<String>,
    client_claims: Option<String>,
    client_id: Option<String>,
    tenant_id: Option<String>,
    client_status: Option<Status>,
    tenant_status: Option<Status>,
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
    pub(crate) async fn connect_facts(
        &self,
        request: &ConnectRequest,
        presented: &Presented,
    ) -> Result<Facts, StoreError> {
        let about = match presented {
            Presented::ApiKey(key) => About::Key(key.key_id()),
            Presented::AccessToken(token) => About::Token(token),
            Presented::Nothing | Presented::Unreadable | Presented::UnusableToken => About::Nobody,
        };
        self.facts(request, about).await.map(|(facts, _)| facts)
    }

    /// The same about a client, a tenant or nobody, with what is registered of that client.
    pub(crate) async fn facts_about(
        &self,
        request: &ConnectRequest,
        client_id: Option<&str>,
        tenant_id: Option<&str>,
    ) -> Result<(Facts, Option<Caller>), StoreError> {
        let about = if client_id.or(tenant_id).is_none() {
            About::Nobody
        } else {
            About::Named {
                client_id,
                tenant_id,
            }
        };
        self.facts(request, about).await
    }

    async fn facts(
        &self,
        request: &ConnectRequest,
        about: About<'_>,
    ) -> Result<(Facts, Option<Caller>), StoreError> {
        // Whose policy it will be is known only afterwards, but likely it is the one of last time.
        let held = compiled::held(compiled::AUTHORITY);
        let held_of_tenant = about.hint().and_then(compiled::held_of_tenant);
        let holding = [held.as_ref(), held_of_tenant.as_ref()];
        let (sql, values) = facts_query(request, about, holding);
        let mut rows: Vec<Row> = self.rows(&sql, values).await?;
        // A token for the audiences of two providers is one of neither.
        let provider_issuer = match about {
            About::Token(token) if rows.len() == 1 => Some(token.issuer()),
            _ => None,
        };
        let row = rows.pop().ok_or_else(|| {
            StoreError::Unavailable("the row of the table authority is missing".into())
        })?;
        let policy = compiled::in_force(
            compiled::AUTHORITY,
            held,
            row.policy_digest.as_deref(),
            row.policy.as_deref(),
        )?;
        let tenant = match about.hint().zip(row.tenant_status) {
            None => None,
            Some((hint, status)) => Some(TenantFacts {
                is_suspended: status != Status::Active,
                policy: compiled::in_force(
                    hint,
                    held_of_tenant,
                    row.tenant_policy_digest.as_deref(),
                    row.tenant_policy.as_deref(),
                )?,
            }),
        };
        let client = row.client();
        row.into_facts(provider_issuer, policy, tenant)
            .map(|facts| (facts, client))
    }
}

impl Row {
    fn client(&self) -> Option<Caller> {
        self.client_id.as_ref().map(|client_id| Caller {
            client_id: Some(client_id.clone()),
            tenant_id: self.tenant_id.clone(),
            is_suspended: self.client_status != Some(Status::Active),
        })
    }

    /// The provider of the access token; `issuer` is what it was looked up by.
    fn provider(&self, issuer: &str) -> Result<Option<ProviderFacts>, StoreError> {
        let (Some(audience), Some(tenant_id), Some(claims)) = (
            &self.audience,
            &self.provider_tenant_id,
            &self.client_claims,
        ) else {
            return Ok(None);
        };
        Ok(Some(ProviderFacts {
            source: KeySource {
                issuer: issuer.to_owned(),
                jwks_uri: self.provider_jwks_uri.clone(),
            },
            audience: audience.clone(),
            tenant_id: tenant_id.clone(),
            client_claims: read_claims(claims)?,
            client: self.client(),
        }))
    }

    fn into_facts(
        self,
        issuer: Option<&str>,
        policy: Arc<Policy>,
        tenant: Option<TenantFacts>,
    ) -> Result<Facts, StoreError> {
        let provider = match issuer {
            Some(issuer) => self.provider(issuer)?,
            None => None,
        };
        let secret_hash = self.secret_hash.as_deref().and_then(CredentialHash::decode);
        let key = secret_hash
            .zip(self.client())
            .map(|(secret_hash, owner)| KeyFacts {
                secret_hash,
                expires_at: self.expires_at,
                is_revoked: self.revoked_at.is_some(),
                owner,
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
        let revoked_keys = serde_json::from_slice(self.revoked_keys.as_bytes())
            .map_err(|error| StoreError::Unavailable(format!("revoked keys: {error}")))?;
        Ok(Facts {
            key,
            provider,
            tenant,
            policy,
            server,
            version,
            revoked_keys,
        })
    }
}
