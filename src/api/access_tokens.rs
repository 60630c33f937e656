//! Callers who show an access token of their tenant's identity provider, and administrators who come
//! through Cloudflare Access.

use super::{
    App,
    problem::Problem,
    provider_keys::{self, Unproven},
};
use crate::{
    authority::{
        AccessToken, Caller, Denial, Expected, KeySource, MAX_ACCESS_TOKEN_LIFETIME, ProviderFacts,
        TokenFault, access_identity as identity_of, identify,
    },
    platform::{Access, log, now_millis},
};

/// The longest session of an Access application: a month, in seconds.
const MAX_ACCESS_SESSION: u64 = 31 * 24 * 60 * 60;

/// Who is calling. Why a token is refused is for the log.
pub(crate) async fn authenticate(
    app: &App,
    token: &AccessToken,
    provider: Option<ProviderFacts>,
) -> Result<Result<Caller, Denial>, Problem> {
    let tenant_id = provider
        .as_ref()
        .map(|provider| provider.tenant_id.clone())
        .unwrap_or_default();
    match prove(app, token, provider).await {
        Ok(caller) => Ok(Ok(caller)),
        Err(Unproven::Refused(fault)) => {
            let members = [("tenant_id", &*tenant_id), ("problem", &fault.to_string())];
            log::info("access_token_refused", &members);
            Ok(Err(Denial::TokenRefused))
        }
        Err(error) => Err(Problem::authority_unavailable(
            "access_token_unchecked",
            &error.to_string(),
        )),
    }
}

async fn prove(
    app: &App,
    token: &AccessToken,
    provider: Option<ProviderFacts>,
) -> Result<Caller, Unproven> {
    let provider = provider.ok_or(TokenFault("no one provider of this issuer and audience"))?;
    let expected = Expected {
        issuer: &provider.source.issuer,
        audience: &provider.audience,
        max_lifetime: MAX_ACCESS_TOKEN_LIFETIME,
    };
    token.check(&expected, now_millis() / 1000)?;
    let signed = provider_keys::check_signature(app, &provider.source, token).await?;
    Ok(identify(signed, provider)?)
}

/// Who Cloudflare Access says it is.
pub(crate) async fn access_identity(
    app: &App,
    token: &str,
    access: &Access,
) -> Result<String, Unproven> {
    let token = AccessToken::parse(token)?;
    let expected = Expected {
        issuer: &access.team_domain,
        audience: &access.audience,
        max_lifetime: MAX_ACCESS_SESSION,
    };
    token.check(&expected, now_millis() / 1000)?;
    let source = KeySource {
        issuer: access.team_domain.clone(),
        jwks_uri: Some(format!("{}/cdn-cgi/access/certs", access.team_domain)),
    };
    let signed = provider_keys::check_signature(app, &source, &token).await?;
    Ok(identity_of(signed)?)
}
