use super::{Row, Store, StoreError, audit::Event, changed, now, nth_row, nth_rows, text};

/// The most identity providers that one tenant may have.
pub(crate) const MAX_PROVIDERS: u32 = 20;

pub(crate) struct NewProvider<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) tenant_id: &'a str,
    pub(crate) jwks_uri: Option<&'a str>,
    pub(crate) client_claims: &'a [String],
}

/// The names as the table has them.
pub(super) fn read_claims(json: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_slice(json.as_bytes())
        .map_err(|error| StoreError::Unavailable(format!("client_claims: {error}")))
}

/// With the names as a list.
fn with_claims(row: Row) -> Result<Row, StoreError> {
    let claims = read_claims(row.text("client_claims"))?;
    Ok(row.with("client_claims", claims))
}

const SELECT: &str = "SELECT issuer, audience, tenant_id, jwks_uri, client_claims,
    strftime('%Y-%m-%dT%H:%M:%fZ', created_at / 1000.0, 'unixepoch') AS created_at
    FROM identity_providers";

impl Store {
    /// `None`: no such tenant, or it has all that it may have. A pair of issuer and audience that is
    /// taken is a conflict.
    pub(crate) async fn add_provider(
        &self,
        provider: &NewProvider<'_>,
        actor: &str,
        reason: &str,
    ) -> Result<Option<Row>, StoreError> {
        let claims = serde_json::json!(provider.client_claims).to_string();
        let select = format!("{SELECT} WHERE issuer = ?1 AND audience = ?2");
        let pair = || vec![provider.issuer.into(), provider.audience.into()];
        let mut values = pair();
        values.extend([
            provider.tenant_id.into(),
            text(provider.jwks_uri),
            claims.into(),
            now(),
            MAX_PROVIDERS.into(),
        ]);
        let detail = format!("{} for {}", provider.issuer, provider.audience);
        let mut results = self
            .batch(vec![
                (
                    "INSERT INTO identity_providers
                       (issuer, audience, tenant_id, jwks_uri, client_claims, created_at)
                     SELECT ?1, ?2, tenant_id, ?4, ?5, ?6 FROM tenants
                     WHERE tenant_id = ?3 AND ?7 >
                       (SELECT count(*) FROM identity_providers WHERE tenant_id = ?3)",
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
