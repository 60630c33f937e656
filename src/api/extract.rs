//! What handlers take: the application, who is calling, and bodies, queries and paths whose faults
//! are told as problems.

use std::{convert::Infallible, str::FromStr};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
};
use http::{header::AUTHORIZATION, request::Parts};
use mcp_connect_catalog::{ServerName, ServerRef};
use serde::de::DeserializeOwned;

use super::{App, authenticate, limits::Visitor, problem::Problem};
use crate::{
    authority::{AccessToken, Administrator, ApiKey, Presented, Role, bearer},
    platform::log,
};

impl<S: Sync> FromRequestParts<S> for App {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            Problem::authority_unavailable("internal_fault", "a request came without its platform")
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            Problem::authority_unavailable("internal_fault", "a request came without its visitor")
        })
    }
}

/// What a caller shows, unchecked.
pub(crate) struct Credential(pub(crate) Presented);

impl<S: Sync> FromRequestParts<S> for Credential {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let Some(header) = parts.headers.get(AUTHORIZATION) else {
            return Ok(Self(Presented::Nothing));
        };
        let token = header.to_str().ok().and_then(bearer);
        Ok(Self(token.map_or(Presented::Unreadable, read)))
    }
}

fn read(token: &str) -> Presented {
    if !token.contains('.') {
        return ApiKey::parse(token).map_or(Presented::Unreadable, Presented::ApiKey);
    }
    match AccessToken::parse(token) {
        Ok(token) => Presented::AccessToken(Box::new(token)),
        Err(fault) => {
            log::info("access_token_refused", &[("problem", &fault.to_string())]);
            Presented::UnusableToken
        }
    }
}

/// Somebody who may do everything.
pub(crate) struct Operator(Administrator);

impl Operator {
    /// Who the audit trail says it was.
    pub(crate) fn actor(&self) -> &str {
        &self.0.name
    }
}

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        authenticate::require(Role::Operator, parts).map(Self)
    }
}

/// Somebody who may read everything and moderate: a moderator or an operator.
pub(crate) struct Moderator(Administrator);

impl Moderator {
    /// Who the audit trail says it was.
    pub(crate) fn actor(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn role(&self) -> Role {
        self.0.role
    }
}

impl<S: Sync> FromRequestParts<S> for Moderator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        authenticate::require(Role::Moderator, parts).map(Self)
    }
}

/// A JSON body, whatever Content-Type it came with.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|_| Problem::request_invalid("the body could not be read"))?;
        if bytes.is_empty() {
            return Err(Problem::request_invalid(
                "the body is empty; send a JSON object",
            ));
        }
        // Derived structs accept a list of their members, too.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(Problem::request_invalid("the body is not a JSON object"));
        }
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let body = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let member = match error.path().to_string() {
                path if error.inner().is_data() && path != "." => path,
                _ => "the body".to_owned(),
            };
            Problem::request_invalid(format!("{member}: {}", error.into_inner()))
        })?;
        json.end()
            .map_err(|error| Problem::request_invalid(format!("the body: {error}")))?;
        Ok(Self(body))
    }
}

/// The query of a URL.
pub(crate) struct UrlQuery<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for UrlQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(query)| Self(query))
            .map_err(|error| Problem::request_invalid(format!("the query: {}", error.body_text())))
    }
}

/// `{namespace}/{name}` of a path.
pub(crate) struct NamePath(pub(crate) ServerName);

impl<S: Send + Sync> FromRequestParts<S> for NamePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        parse_path(parts, state).await.map(Self)
    }
}

/// `{namespace}/{name}` or `{namespace}/{name}@{version}` of a path.
pub(crate) struct RefPath(pub(crate) ServerRef);

impl<S: Send + Sync> FromRequestParts<S> for RefPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        parse_path(parts, state).await.map(Self)
    }
}

/// What stands in a path where its route has names in braces.
pub(crate) async fn path_members<T, S>(parts: &mut Parts, state: &S) -> Result<T, Problem>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    let Path(members) = Path::from_request_parts(parts, state)
        .await
        .map_err(|error| Problem::request_invalid(format!("the path: {}", error.body_text())))?;
    Ok(members)
}

async fn parse_path<T, S>(parts: &mut Parts, state: &S) -> Result<T, Problem>
where
    T: FromStr<Err: ToString>,
    S: Send + Sync,
{
    let (namespace, name): (String, String) = path_members(parts, state).await?;
    format!("{namespace}/{name}")
        .parse()
        .map_err(|error: T::Err| {
            Problem::request_invalid(format!("the path: {}", error.to_string()))
        })
}

/// How many entries a page may have; the default where nothing is said.
pub(crate) fn page_size(limit: Option<&str>) -> Result<u32, Problem> {
    const DEFAULT: u32 = 30;
    match limit.map(str::parse) {
        None => Ok(DEFAULT),
        Some(Ok(limit @ 1..=100)) => Ok(limit),
        Some(_) => Err(Problem::request_invalid(
            "limit: must be a whole number from 1 to 100",
        )),
    }
}
