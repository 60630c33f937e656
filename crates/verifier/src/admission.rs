//! Whether a request may pass, and what its answer means for sessions and streams.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response};

use crate::{
    ConnectBody, Mode, Rejection, Verified, Verifier, clock, lease::Lease, refusal::Refused,
    session_key::SessionKey, telemetry, verifier::Reason,
};

const SESSION_HEADER: &str = "mcp-session-id";

/// A governed request that was let through.
pub(crate) struct Admission {
    verified: Verified,
    lease: Arc<Lease>,
    /// The session that the request names.
    named: Option<SessionKey>,
    /// Whether the lease is the one of that session.
    session_is_known: bool,
    ends_session: bool,
    mode: Mode,
}

impl Admission {
    /// Lets a request pass, governed, or ungoverned where the mode allows it, or refuses it.
    pub(crate) fn decide<A>(
        verifier: &Verifier,
        mode: Mode,
        checked: Result<Verified, Rejection>,
        request: &Request<A>,
    ) -> Result<Option<Self>, Refused> {
        let key = session_key(request.headers());
        // Which of several the server means can't be known, so neither whose session it is.
        let several = request.headers().get_all(SESSION_HEADER).iter().count() > 1;
        let admitted = checked.map_err(Refused::from).and_then(|verified| {
            if several {
                return Err(Rejection::from(Reason::SeveralSessionIds).into());
            }
            let known = match key {
                Some(key) => {
                    let descriptor = verified.shared();
                    verifier.sessions().renew(&key, descriptor, clock::now())?
                }
                None => None,
            };
            Ok(Self {
                session_is_known: known.is_some(),
                lease: known.unwrap_or_else(|| verifier.sessions().lease(verified.shared())),
                verified,
                named: key,
                ends_session: request.method() == Method::DELETE,
                mode,
            })
        });
        let refused = match admitted {
            Ok(admission) => return Ok(Some(admission)),
            Err(refused) => refused,
        };
        // A session that began with a descriptor can't be gone on with without one.
        let may_be_ungoverned = refused.is_missing()
            && !several
            && !key.is_some_and(|key| verifier.sessions().contains(&key));
        match mode {
            Mode::Optional if may_be_ungoverned => Ok(None),
            Mode::Optional | Mode::Required => {
                tracing::info!(code = refused.code(), reason = %refused, "refused");
                telemetry::refused(refused.code(), true);
                Err(refused)
            }
            Mode::Report | Mode::Off => {
                report(&refused);
                Ok(None)
            }
        }
    }

    /// Whether what keeps the call open is enforced.
    pub(crate) fn is_enforced(&self) -> bool {
        self.mode != Mode::Report
    }

    pub(crate) const fn verified(&self) -> &Verified {
        &self.verified
    }

    /// What keeps the call, and the stream that answers it, open.
    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The end of a call whose lease has ended before it was answered.
    pub(crate) fn outlived(&self) -> Refused {
        self.lease.report_end();
        if self.session_is_known {
            Refused::SessionEnded
        } else {
            Refused::Descriptor(Reason::Outlived.into())
        }
    }

    /// Takes note of the session that the answer begins, goes on with or ends, and makes sure that
    /// a stream ends in time.
    pub(crate) fn conclude<B>(
        self,
        verifier: &Verifier,
        response: Response<B>,
    ) -> Response<ConnectBody<B>> {
        let reports_only = !self.is_enforced();
        match self.final_lease(verifier, &response) {
            Ok(_) if reports_only => response.map(ConnectBody::ungoverned),
            Ok(lease) => response.map(|body| ConnectBody::governed(body, lease)),
            Err(refused) if reports_only => {
                report(&refused);
                response.map(ConnectBody::ungoverned)
            }
            Err(refused) => {
                tracing::info!(code = refused.code(), reason = %refused, "answer withheld");
                refused.to_response(verifier.settings())
            }
        }
    }

    /// The lease that the answer's session has, where there is one.
    fn final_lease<B>(
        self,
        verifier: &Verifier,
        response: &Response<B>,
    ) -> Result<Arc<Lease>, Refused> {
        let sessions = verifier.sessions();
        if !response.status().is_success() {
            return Ok(self.lease);
        }
        if self.ends_session {
            if let Some(key) = self.named {
                sessions.remove(&key);
            }
            return Ok(self.lease);
        }
        // Only the server gives out session ids: one that a client made up binds nobody.
        match session_key(response.headers()) {
            Some(key) if !(self.session_is_known && self.named == Some(key)) => {
                Ok(sessions.bind(key, self.verified.shared(), clock::now())?)
            }
            _ => Ok(self.lease),
        }
    }
}

fn session_key(headers: &HeaderMap) -> Option<SessionKey> {
    let id = headers.get(SESSION_HEADER)?;
    Some(SessionKey::new(id.as_bytes()))
}

fn report(refused: &Refused) {
    telemetry::refused(refused.code(), false);
    tracing::warn!(
        code = refused.code(),
        reason = %refused,
        "would have been refused in mode \"required\"",
    );
}
