//! Which identity provider an access token is of: found by its issuer and audience, in the one query
//! in which everything else about its caller is found.

use serde_json::{Map, Value, json};
use wasm_bindgen::JsValue;

use super::{Row, Store, StoreError, connect::client, providers::read_claims, row::unreadable};
use crate::authority::{AccessToken, KeySource, ProviderFacts, TokenProvider, TokenRules};

/// The columns that [`provider`] reads. `p` is a provider whose audience is `aud`, `o` one for which
/// another claim stands for it.
pub(super) const COLUMNS: &str = "coalesce(p.audience, o.audience) AS audience,
    coalesce(p.tenant_id, o.tenant_id) AS provider_tenant_id, o.tenant_id AS other_tenant_id,
    coalesce(p.jwks_uri, o.jwks_uri) AS provider_jwks_uri,
    coalesce(p.client_claims, o.client_claims) AS client_claims, o.audience_claim,
    coalesce(p.required_claims, o.required_claims) AS required_claims,
    coalesce(p.token_type, o.token_type) AS token_type,
    p.issuer IS NOT NULL AND o.issuer IS NOT NULL AS is_of_several,
    CASE WHEN p.issuer IS NULL AND o.issuer IS NULL THEN
      (SELECT json_group_array(tenant_id) FROM
        (SELECT tenant_id FROM identity_providers WHERE issuer = ?4 LIMIT 20))
    END AS issuer_tenants,";

/// Joins the provider of a token whose issuer is ?4, and the client that the provider's claims name.
/// Adds ?5, the claims that could name a client, ?6, those that could name an audience, and the values
/// of `aud`.
pub(super) fn join(token: &AccessToken, values: &mut Vec<JsValue>) -> String {
    values.push(possible_clients(token).into());
    values.push(possible_audiences(token).into());
    let audiences = super::connect::parameters(token.audiences().into_iter(), values);
    let claims = "coalesce(p.client_claims, o.client_claims)";
    format!(
        "LEFT JOIN identity_providers p
           ON p.issuer = ?4 AND p.audience IN ({audiences}) AND p.audience_claim = 'aud'
         LEFT JOIN identity_providers o INDEXED BY identity_providers_by_claim
           ON o.issuer = ?4 AND o.audience_claim <> 'aud'
           AND o.audience IN (SELECT value FROM json_each(?6 -> o.audience_claim))
         LEFT JOIN clients c ON c.client_id = coalesce(
           ?5 ->> ({claims} ->> 0), ?5 ->> ({claims} ->> 1),
           ?5 ->> ({claims} ->> 2), ?5 ->> ({claims} ->> 3))
         LEFT JOIN tenants t ON t.tenant_id = coalesce(p.tenant_id, o.tenant_id)"
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

/// By claim: what in the token could be an audience.
fn possible_audiences(token: &AccessToken) -> String {
    let mut audiences = Map::new();
    for (claim, values) in token.possible_audiences() {
        audiences.insert(claim.to_owned(), json!(values));
    }
    Value::Object(audiences).to_string()
}

/// The provider of a token, of the rows that were found for it.
pub(super) fn provider(rows: &[Row], token: &AccessToken) -> Result<TokenProvider, StoreError> {
    let Some(row) = rows.first() else {
        return Ok(TokenProvider::Unknown);
    };
    if let Some(tenants) = row.optional("issuer_tenants") {
        let tenants: Vec<String> = serde_json::from_slice(tenants.as_bytes())
            .map_err(|e| unreadable("issuer_tenants", e))?;
        if tenants.is_empty() {
            return Ok(TokenProvider::Unknown);
        }
        let tenants = without_repetitions(tenants);
        return Ok(TokenProvider::OtherAudience(tenants));
    }
    if rows.len() > 1 || row.flag("is_of_several") {
        let columns = ["provider_tenant_id", "other_tenant_id"];
        let tenants = rows
            .iter()
            .flat_map(|row| columns.map(|name| row.owned(name)));
        let tenants = without_repetitions(tenants.flatten().collect());
        return Ok(TokenProvider::Several(tenants));
    }
    let required = row.required("required_claims")?;
    Ok(TokenProvider::One(Box::new(ProviderFacts {
        source: KeySource {
            issuer: token.issuer().to_owned(),
            jwks_uri: row.owned("provider_jwks_uri"),
        },
        audience: row.required("audience")?,
        rules: TokenRules {
            audience_claim: row.owned("audience_claim"),
            required_claims: serde_json::from_slice(required.as_bytes())
                .map_err(|e| unreadable("required_claims", e))?,
            token_type: row.owned("token_type"),
        },
        tenant_id: row.required("provider_tenant_id")?,
        client_claims: read_claims(row.text("client_claims"))?,
        client: client(row),
    })))
}

fn without_repetitions(tenants: Vec<String>) -> Vec<String> {
    let mut once = Vec::new();
    for tenant in tenants {
        if !once.contains(&tenant) {
            once.push(tenant);
        }
    }
    once
}

/// What is registered of whoever shows a token, for administrators who try one.
pub(crate) struct TokenFacts {
    pub(crate) provider: TokenProvider,
    pub(crate) is_tenant_suspended: bool,
    /// The providers with the token's issuer.
    pub(crate) of_issuer: Vec<Row>,
}

impl Store {
    /// Finds the provider of a token as connect does.
    pub(crate) async fn token_facts(&self, token: &AccessToken) -> Result<TokenFacts, StoreError> {
        // The numbers of the parameters are those of connect's query.
        let mut values = vec![JsValue::NULL, JsValue::NULL, JsValue::NULL];
        values.push(token.issuer().into());
        let join = join(token, &mut values);
        let sql = format!(
            "SELECT {COLUMNS} c.client_id, c.tenant_id, c.status AS client_status,
               t.status AS tenant_status
             FROM authority a {join} WHERE a.id = 1 AND ?1 IS ?2 AND ?2 IS ?3 LIMIT 2"
        );
        let rows = self.rows(&sql, values).await?;
        let is_suspended = |row: &Row| row.optional("tenant_status") == Some("suspended");
        Ok(TokenFacts {
            provider: provider(&rows, token)?,
            is_tenant_suspended: rows.first().is_some_and(is_suspended),
            of_issuer: self.providers_of_issuer(token.issuer()).await?,
        })
    }
}
