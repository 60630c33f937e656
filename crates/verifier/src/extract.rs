//! A handler that demands a descriptor in its signature.

use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{Extensions, StatusCode, request::Parts};

use crate::{
    Verified, Verifier,
    refusal::{PublicRefusal, Refused},
};

/// Left with a request that the layer lets pass without a descriptor.
#[derive(Clone)]
struct Passed {
    verifier: Verifier,
    refusal: PublicRefusal,
}

/// What a handler answers that demands a descriptor from a request without one.
pub(crate) fn mark_ungoverned(extensions: &mut Extensions, verifier: &Verifier, refused: &Refused) {
    extensions.insert(Passed {
        verifier: verifier.clone(),
        refusal: refused.public(),
    });
}

/// A request reached a handler that demands a [`Verified`], and is ungoverned. Its answer is the
/// one that the layer gives in mode `required`; without a layer in front it is 500.
#[derive(Debug)]
pub struct Ungoverned(Option<Box<Response>>);

impl<S: Sync> FromRequestParts<S> for Verified {
    type Rejection = Ungoverned;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Ungoverned> {
        if let Some(verified) = parts.extensions.get::<Self>() {
            return Ok(verified.clone());
        }
        let passed = parts.extensions.get::<Passed>();
        Err(Ungoverned(passed.map(|passed| {
            let response = passed.refusal.to_response(passed.verifier.settings());
            Box::new(response.map(Body::from))
        })))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Verified {
    type Rejection = Ungoverned;

    /// A request that no layer has looked at is refused: whether it is governed can't be said.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Ungoverned> {
        let verified = parts.extensions.get::<Self>().cloned();
        if verified.is_none() && parts.extensions.get::<Passed>().is_none() {
            return Err(Ungoverned(None));
        }
        Ok(verified)
    }
}

impl IntoResponse for Ungoverned {
    fn into_response(self) -> Response {
        if let Some(response) = self.0 {
            return *response;
        }
        tracing::error!("a handler asks for a descriptor, but no ConnectLayer is in front");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}
