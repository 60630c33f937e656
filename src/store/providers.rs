use std::fmt::Write;

use serde_json::{Value, json};

use super::{Row, Store, StoreError, audit::Event, changed, now, nth_row, nth_rows, row, text};
use crate::authority::TokenRules;

/// The most identity providers that one tenant may have.
pub(crate) const MAX_PROVIDERS: u32 = 20;
/// The most identity providers with one issuer whose audience is in another claim than `aud`. Connect
/// looks at each of them.
pub(crate) const MAX_BY_CLAIM: u32 = 20;

pub(crate) struct NewProvider<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) tenant_id: &'a str,
    pub(crate) jwks_uri: Option<&'a str>,
    pub(crate) client_claims: &'a [String],
    pub(crate) rules: &'a TokenRules,
}

/// The names as the table has them.
pub(super) fn read_claims(json: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_slice(json.as_bytes()).map_err(|error| row::unreadable("client_claims", error))
}

/// With the names as a list, and what tokens must say as an object.
fn with_claims(row: Row) -> Result<Row, StoreError> {
    let claims = read_claims(row.text("client_claims"))?;
    let required = row.optional("required_claims").map(str::as_bytes);
    let required: Option<Value> = required
        .map(serde_json::from_slice)
        .transpose()
        .map_err(|error| row::unreadable("required_claims", error))?;
    let row = row.with("client_claims", claims);
    Ok(match required {
        Some(required) => row.with("required_claims", required),
        None => row,
    })
}

/// What is the usual is left out.
const SELECT: &str = "SELECT issuer, audience, tenant_id, jwks_uri, client_claims,
    nullif(audience_claim, 'aud') AS audience_claim,
    nullif(required_claims, '{}') AS required_claims, token_type,
    strftime('%Y-%m-%dT%H:%M:%fZ', created_at / 1000.0, 'unixepoch') AS created_at
    FROM identity_providers";

/// The provider as the audit trail shows it.
fn detail(provider: &NewProvider<'_>) -> String {
    let mut detail = format!("{} for {}", provider.issuer, provider.audience);
    let rules = provider.rules;
    if let Some(claim) = &rules.audience_claim {
        let _ = write!(detail, " in {claim}");
    }
    if !rules.required_claims.is_empty() {
        let _ = write!(detail, ", requires {}", json!(rules.required_claims));
    }
    if let Some(token_type) = &rules.token_type {
        let _ = write!(detail, ", of type {token_type}");
    }
    detail
}

impl Store {
    /// `None`: no such tenant, or there are all that there may be. A pair of issuer and audience that is
    /// taken is a conflict.
    pub(crate) async fn add_provider(
        &self,
        provider: &NewProvider<'_>,
        actor: &str,
        reason: &str,
    ) -> Result<Option<Row>, StoreError> {
        let claims = json!(provider.client_claims).to_string();
        let rules = provider.rules;
        let select = format!("{SELECT} WHERE issuer = ?1 AND audience = ?2");
        let pair = || vec![provider.issuer.into(), provider.audience.into()];
        let mut values = pair();
        values.extend([
            provider.tenant_id.into(),
            text(provider.jwks_uri),
            claims.into(),
            now(),
            MAX_PROVIDERS.into(),
            rules.audience_claim().into(),
            json!(rules.required_claims).to_string().into(),
            text(rules.token_type.as_deref()),
            MAX_BY_CLAIM.into(),
        ]);
        let detail = detail(provider);
        let mut results = self
            .batch(vec![
                (
                    "INSERT INTO identity_providers
                       (issuer, audience, tenant_id, jwks_uri, client_claims, created_at,
                        audience_claim, required_claims, token_type)
                     SELECT ?1, ?2, tenant_id, ?4, ?5, ?6, ?8, ?9, ?10 FROM tenants
                     WHERE tenant_id = ?3
                       AND ?7 > (SELECT count(*) FROM identity_providers WHERE tenant_id = ?3)
                       AND (?8 = 'aud' OR ?11 >
                         (SELECT count(*) FROM identity_providers
                          WHERE issuer = ?1 AND audience_claim <> 'aud'))",
                    values,
                ),
                Event {
                    actor,
                    action: "provider.add",
                    subject: provider.tenant_id,
                    reason: Some(reason),
                    detail: Some(&detail),
                }
                .if_changed(),
                (&select, pair()),
            ])
            .await?;
        if !changed(&results, 0)? {
            return Ok(None);
        }
        nth_row(&mut results, 2)?.map(with_claims).transpose()
    }

    /// `None`: no such tenant.
    pub(crate) async fn list_providers(
        &self,
        tenant_id: &str,
    ) -> Result<Option<Vec<Row>>, StoreError> {
        let select = format!("{SELECT} WHERE tenant_id = ?1 ORDER BY issuer, audience");
        let mut results = self
            .read(vec![
                (
                    "SELECT 1 FROM tenants WHERE tenant_id = ?1",
                    vec![tenant_id.into()],
                ),
                (&select, vec![tenant_id.into()]),
            ])
            .await?;
        if nth_row(&mut results, 0)?.is_none() {
            return Ok(None);
        }
        nth_rows(&mut results, 1)?
            .into_iter()
            .map(with_claims)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// The providers with an issuer, of whichever tenants; as many as can be shown.
    pub(super) async fn providers_of_issuer(&self, issuer: &str) -> Result<Vec<Row>, StoreError> {
        let sql = format!("{SELECT} WHERE issuer = ?1 ORDER BY audience LIMIT 20");
        let rows = self.rows(&sql, vec![issuer.into()]).await?;
        rows.into_iter().map(with_claims).collect()
    }

    /// Issuers that are registered, those first that are most like this one; as many as can be shown.
    pub(crate) async fn issuers_like(&self, issuer: &str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT issuer FROM identity_providers
             ORDER BY rtrim(lower(issuer), '/') = rtrim(lower(?1), '/') DESC, issuer LIMIT 20";
        let rows = self.rows(sql, vec![issuer.into()]).await?;
        Ok(rows.iter().filter_map(|row| row.owned("issuer")).collect())
    }

    /// Whether there was one. From now on no token of it is taken.
    pub(crate) async fn remove_provider(
        &self,
        tenant_id: &str,
        issuer: &str,
        audience: &str,
        actor: &str,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let detail = format!("{issuer} for {audience}");
        let results = self
            .batch(vec![
                (
                    "DELETE FROM identity_providers
                     WHERE issuer = ?1 AND audience = ?2 AND tenant_id = ?3",
                    vec![issuer.into(), audience.into(), tenant_id.into()],
                ),
                Event {
                    actor,
                    action: "provider.remove",
                    subject: tenant_id,
                    reason: Some(reason),
                    detail: Some(&detail),
                }
                .if_changed(),
            ])
            .await?;
        changed(&results, 0)
    }
}
