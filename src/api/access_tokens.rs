//! Callers who show an access token of their tenant's identity provider, and administrators who come
//! through Cloudflare Access.

use super::{
    App,
    problem::Problem,
    provider_keys::{self, Unproven},
};
use crate::{
    authority::{
        AccessToken, Caller, Denial, Expected, KeySource, TokenProvider, TokenRules,
        access_identity as identity_of, identify,
    },
    platform::{Access, log, now_millis},
};

/// The longest session of an Access application: a month, in seconds.
const MAX_ACCESS_SESSION: u64 = 31 * 24 * 60 * 60;

/// Who is calling. Why a token is refused is for the log, with the issuer that is registered and the
/// tenants it is registered for.
pub(crate) async fn authenticate(
    app: &App,
    token: &AccessToken,
    provider: &TokenProvider,
) -> Result<Result<Caller, Denial>, Problem> {
    match prove(app, token, provider).await {
        Ok(caller) => Ok(Ok(caller)),
        Err(Unproven::Refused(fault)) => {
            let (problem, tenants) = (fault.to_string(), provider.tenants().join(" "));
            let mut members = vec![("problem", &*problem)];
            if !tenants.is_empty() {
                members.extend([("issuer", token.issuer()), ("tenant_id", &*tenants)]);
            }
            log::info("access_token_refused", &members);
            Ok(Err(Denial::TokenRefused))
        }
        Err(error) => Err(Problem::authority_unavailable(
            "access_token_unchecked",
            &format!("{}: {error}", token.issuer()),
        )),
    }
}

async fn prove(
    app: &App,
    token: &AccessToken,
    provider: &TokenProvider,
) -> Result<Caller, Unproven> {
    token.check_payload()?;
    let provider = provider.one()?;
    token.check(&provider.expected(), now_millis() / 1000)?;
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
        rules: TokenRules::NONE,
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
