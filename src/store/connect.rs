use mcp_connect_descriptor::SigningKeys;
use wasm_bindgen::JsValue;

use super::{
    Row, Status, Store, StoreError,
    compiled::{self, Held},
    proofs::effective_level,
    text, token_provider,
};
use crate::authority::{
    AccessToken, Caller, ConnectRequest, CredentialHash, Facts, KeyFacts, ModerationFacts,
    Presented, ServerFacts, TenantFacts, TokenProvider, VersionFacts,
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
    keys: &SigningKeys,
    [held, held_of_tenant]: [Option<&Held>; 2],
) -> (String, Vec<JsValue>) {
    const CLIENT: &str = "c.client_id, c.tenant_id, c.status AS client_status,
        t.status AS tenant_status, t.policy_digest AS tenant_policy_digest,
        t.pinned_at ->> ?1 AS tenant_pinned_at,
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
            let from = token_provider::join(token, &mut values);
            (format!("{} {CLIENT}", token_provider::COLUMNS), from)
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
    let key_ids = keys.iter().map(|entry| entry.key.id());
    let key_ids = parameters(key_ids, &mut values);
    let sql = format!(
        "SELECT {caller} a.policy_digest AS policy_digest, a.pinned_at ->> ?1 AS pinned_at,
           CASE WHEN a.policy_digest IS ?2 THEN NULL ELSE a.policy END AS policy,
           (SELECT json_group_array(subject) FROM revocations
             WHERE kind = 'key' AND subject IN ({key_ids})) AS revoked_keys,
           s.moderation, s.moderation_expires_at, s.moderation_reason, s.jwks_uri, s.tls_pin_sha256,
           {version} AS version, {status} AS version_status, {endpoint} AS endpoint,
           {digest} AS digest, {edited_at} AS edited_at,
           CASE WHEN {endpoint} IS NULL THEN (
             SELECT value ->> 'url' FROM json_each({server_json}, '$.remotes')
             WHERE value ->> 'type' = 'streamable-http' LIMIT 1
           ) END AS unusable_url,
           {moderation} AS version_moderation,
           {moderation_expires_at} AS version_moderation_expires_at,
           {moderation_reason} AS version_moderation_reason,
           {level} AS level
         FROM authority a {from} LEFT JOIN servers s ON s.name = ?1 {versions} WHERE a.id = 1
         LIMIT 2",
        version = of("version"),
        status = of("status"),
        endpoint = of("endpoint"),
        digest = of("content_hash"),
        edited_at = of("edited_at"),
        server_json = of("server_json"),
        level = effective_level(&of("origin")),
        moderation = of("moderation"),
        moderation_expires_at = of("moderation_expires_at"),
        moderation_reason = of("moderation_reason"),
    );
    (sql, values)
}

/// Adds values; their list in SQL.
pub(super) fn parameters<'a>(
    texts: impl Iterator<Item = &'a str>,
    values: &mut Vec<JsValue>,
) -> String {
    let places: Vec<String> = texts
        .map(|text| {
            values.push(text.into());
            format!("?{}", values.len())
        })
        .collect();
    places.join(", ")
}

impl Store {
    /// Everything that a connect decision needs, in one round trip to D1.
    pub(crate) async fn connect_facts(
        &self,
        request: &ConnectRequest,
        presented: &Presented,
        keys: &SigningKeys,
    ) -> Result<Facts, StoreError> {
        let about = match presented {
            Presented::ApiKey(key) => About::Key(key.key_id()),
            Presented::AccessToken(token) => About::Token(token),
            Presented::Nothing | Presented::Unreadable | Presented::UnusableToken => About::Nobody,
        };
        let (facts, _) = self.facts(request, about, keys).await?;
        Ok(facts)
    }

    /// The same about a client, a tenant or nobody, with what is registered of that client.
    pub(crate) async fn facts_about(
        &self,
        request: &ConnectRequest,
        client_id: Option<&str>,
        tenant_id: Option<&str>,
        keys: &SigningKeys,
    ) -> Result<(Facts, Option<Caller>), StoreError> {
        let about = if client_id.or(tenant_id).is_none() {
            About::Nobody
        } else {
            About::Named {
                client_id,
                tenant_id,
            }
        };
        self.facts(request, about, keys).await
    }

    async fn facts(
        &self,
        request: &ConnectRequest,
        about: About<'_>,
        keys: &SigningKeys,
    ) -> Result<(Facts, Option<Caller>), StoreError> {
        // Whose policy it will be is known only afterwards, but likely it is the one of last time.
        let held = compiled::held(compiled::AUTHORITY);
        let held_of_tenant = about.hint().and_then(compiled::held_of_tenant);
        let holding = [held.as_ref(), held_of_tenant.as_ref()];
        let (sql, values) = facts_query(request, about, keys, holding);
        let rows = self.rows(&sql, values).await?;
        let provider = match about {
            About::Token(token) => token_provider::provider(&rows, token)?,
            About::Nobody | About::Key(_) | About::Named { .. } => TokenProvider::Unknown,
        };
        let row = rows.first().ok_or_else(|| {
            StoreError::Unavailable("the row of the table authority is missing".into())
        })?;
        let policy = compiled::in_force(
            compiled::AUTHORITY,
            held,
            row.optional("policy_digest"),
            row.optional("policy"),
        )?;
        let tenant = match about
            .hint()
            .zip(row.optional_one_of::<Status>("tenant_status")?)
        {
            None => None,
            Some((hint, status)) => Some(TenantFacts {
                is_suspended: status != Status::Active,
                policy: compiled::in_force(
                    hint,
                    held_of_tenant,
                    row.optional("tenant_policy_digest"),
                    row.optional("tenant_policy"),
                )?,
                pinned_at: row.number("tenant_pinned_at"),
            }),
        };
        let facts = Facts {
            key: key(row),
            provider,
            tenant,
            policy,
            pinned_at: row.number("pinned_at"),
            server: server(row)?,
            version: version(row)?,
            revoked_keys: serde_json::from_slice(row.text("revoked_keys").as_bytes())
                .map_err(|error| StoreError::Unavailable(format!("revoked keys: {error}")))?,
        };
        Ok((facts, client(row)))
    }
}

pub(super) fn client(row: &Row) -> Option<Caller> {
    Some(Caller {
        client_id: Some(row.owned("client_id")?),
        tenant_id: row.owned("tenant_id"),
        is_suspended: row.text("client_status") != Status::Active.as_str(),
    })
}

fn key(row: &Row) -> Option<KeyFacts> {
    Some(KeyFacts {
        secret_hash: CredentialHash::decode(row.optional("secret_hash")?)?,
        expires_at: row.number("expires_at"),
        is_revoked: row.number("revoked_at").is_some(),
        owner: client(row)?,
    })
}

fn server(row: &Row) -> Result<Option<ServerFacts>, StoreError> {
    let Some(state) = row.optional_one_of("moderation")? else {
        return Ok(None);
    };
    Ok(Some(ServerFacts {
        moderation: ModerationFacts {
            state,
            expires_at: row.number("moderation_expires_at"),
            reason: row.owned("moderation_reason"),
        },
        jwks_uri: row.owned("jwks_uri"),
        tls_pin_sha256: row.owned("tls_pin_sha256"),
    }))
}

fn version(row: &Row) -> Result<Option<VersionFacts>, StoreError> {
    let Some(version) = row.owned("version") else {
        return Ok(None);
    };
    Ok(Some(VersionFacts {
        version,
        status: row.one_of("version_status")?,
        digest: row.required("digest")?,
        edited_at: row.number("edited_at"),
        endpoint: row.owned("endpoint"),
        unusable_url: row.owned("unusable_url"),
        moderation: ModerationFacts {
            state: row.one_of("version_moderation")?,
            expires_at: row.number("version_moderation_expires_at"),
            reason: row.owned("version_moderation_reason"),
        },
        level: row.one_of("level")?,
    }))
}
