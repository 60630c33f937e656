//! Who publishes: by the registry token that the authority gave out.

use http::StatusCode;

use super::{call::Call, problem::Problem, signing_key};
use crate::{
    authority::{Publisher, TokenFault, bearer, read_registry_token},
    platform::{log, now_millis, random_bytes, signer},
};

/// Why a caller is no publisher. What it asked for plays no part in it.
pub(crate) enum NotPublisher {
    /// There is no header Authorization.
    NoToken,
    /// It is of another form than `Bearer <token>`.
    NotBearer,
    /// It is none of ours, or no longer.
    BadToken,
    /// Nobody can tell now.
    Unknown(Problem),
}

/// A registry token, with the second in which it ends.
pub(crate) struct Login {
    pub(crate) registry_token: String,
    /// In seconds since the Unix epoch.
    pub(crate) expires_at: u64,
}

/// Who is calling, by the token it shows. What it may do is in its permissions.
pub(crate) async fn publisher(call: &Call) -> Result<Publisher, NotPublisher> {
    let header = call.head.authorization.as_deref();
    let token = bearer(header.ok_or(NotPublisher::NoToken)?).ok_or(NotPublisher::NotBearer)?;
    let settings = &call.app.settings;
    let (issuer, keys) = (settings.issuer()?, settings.signing_keys()?);
    let token = read_registry_token(token, issuer, now_millis() / 1000)?;
    let key_id = token.key()?.id.as_deref();
    let key = keys
        .iter()
        .map(|entry| &entry.key)
        .find(|key| key_id == Some(key.id()))
        .ok_or(TokenFault::new("it is signed with another key"))?;
    let signed = signer::signed_by(key, &token)
        .await
        .ok_or(TokenFault::new("the signature is not the key's"))?;
    let (publisher, jti) = Publisher::of_token(signed)?;
    if call.app.store.is_withdrawn(key.id(), jti).await? {
        return Err(TokenFault::new("it was revoked, or its key").into());
    }
    // Denied since it was given out, perhaps.
    Ok(publisher.without(settings.denied()?))
}

/// Gives a token to somebody who has proven to be a publisher.
pub(crate) async fn log_in(call: &Call, publisher: Publisher) -> Result<Login, Problem> {
    let settings = &call.app.settings;
    let publisher = publisher.without(settings.denied()?);
    if publisher.permissions.is_empty() {
        log::info("publisher_denied", &[("actor", &publisher.actor())]);
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "publisher_denied",
            "there is no namespace in which this login may publish here: its own are denied by the operator",
        ));
    }
    let (issuer, keys) = (settings.issuer()?, settings.signing_keys()?);
    let revoked = call.app.store.revoked_keys(keys).await?;
    let revoked: Vec<String> = revoked.into_iter().map(|revoked| revoked.id).collect();
    let key = signing_key(keys, &revoked)?;
    let token = publisher
        .mint(issuer, key, now_millis() / 1000, random_bytes()?)
        .ok_or_else(|| Problem::authority_unavailable("minting_failed", "the token is too long"))?;
    let login = Login {
        registry_token: signer::sign(keys, key, &token.unsigned).await?,
        expires_at: token.expires_at,
    };
    let members = [("actor", &*publisher.actor()), ("jti", &token.jti)];
    log::info("publisher_admitted", &members);
    Ok(login)
}

impl From<TokenFault> for NotPublisher {
    fn from(fault: TokenFault) -> Self {
        log::info("registry_token_refused", &[("problem", &fault.to_string())]);
        Self::BadToken
    }
}

impl<T: Into<Problem>> From<T> for NotPublisher {
    fn from(problem: T) -> Self {
        Self::Unknown(problem.into())
    }
}
