//! Whether a request may pass, and what its answer means for sessions and streams.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response};
use mcp_connect_descriptor::RefusalCode;
use tracing::Span;

use crate::{
    ConnectBody, Mode, Rejection, Verified, Verifier, clock,
    lease::{EndReason, Lease},
    refusal::Refused,
    session_key::SessionKey,
    telemetry,
    tenure::Tenure,
    verifier::Reason,
};

const SESSION_HEADER: &str = "mcp-session-id";

/// What a request passes with.
pub(crate) enum Passage {
    Governed(Admission),
    /// As the mode allows; here is what a handler answers that wants a descriptor nevertheless.
    Ungoverned(Refused),
}

/// A governed request that was let through.
pub(crate) struct Admission {
    caller: Verified,
    tenure: Tenure,
    /// The session that the request names.
    named: Option<SessionKey>,
    /// Whether the lease is the one of that session.
    session_is_known: bool,
    method: Method,
    enforced: bool,
    span: Span,
}

impl Admission {
    /// Lets a request pass, governed, or ungoverned where the mode allows it, or refuses it.
    pub(crate) fn decide<A>(
        verifier: &Verifier,
        mode: Mode,
        checked: Result<Verified, Rejection>,
        request: &Request<A>,
    ) -> Result<Passage, Refused> {
        let key = session_key(request.headers());
        // Which of several the server means can't be known, so neither whose session it is.
        let several = request.headers().get_all(SESSION_HEADER).iter().count() > 1;
        let admitted = match checked {
            Ok(_) if several => Err(Rejection::from(Reason::SeveralSessionIds).into()),
            Ok(caller) => Self::new(verifier, mode, caller, key, request.method()),
            Err(rejection) => {
                if let (Some(key), Some(setback)) = (key, setback(rejection.code())) {
                    verifier.sessions().note_setback(&key, setback);
                }
                Err(rejection.into())
            }
        };
        let refused = match admitted {
            Ok(admission) => return Ok(Passage::Governed(admission)),
            Err(refused) => refused,
        };
        // A session that began with a descriptor can't be gone on with without one.
        let may_be_ungoverned = refused.is_missing()
            && !several
            && !key.is_some_and(|key| verifier.sessions().contains(&key));
        match mode {
            Mode::Optional if may_be_ungoverned => Ok(Passage::Ungoverned(refused)),
            Mode::Optional | Mode::Required => {
                tracing::info!(code = refused.code(), reason = %refused, "refused");
                telemetry::refused(refused.code(), true);
                Err(refused)
            }
            Mode::Report | Mode::Off => {
                report(&refused);
                Ok(Passage::Ungoverned(refused))
            }
        }
    }

    fn new(
        verifier: &Verifier,
        mode: Mode,
        caller: Verified,
        key: Option<SessionKey>,
        method: &Method,
    ) -> Result<Self, Refused> {
        let sessions = verifier.sessions();
        let descriptor = caller.shared();
        let known = match key {
            Some(key) => sessions.renew(&key, descriptor, clock::now())?,
            None => None,
        };
        let span = tracing::info_span!(
            "mcp_connect",
            client_id = caller.client_id,
            tenant_id = caller.tenant_id,
            jti = caller.jti,
            server_id = caller.server.id,
        );
        let session_is_known = known.is_some();
        let lease = known.unwrap_or_else(|| sessions.lease(descriptor));
        Ok(Self {
            tenure: Tenure::new(lease, is_call(method)),
            caller,
            named: key,
            session_is_known,
            method: method.clone(),
            enforced: mode != Mode::Report,
            span,
        })
    }

    pub(crate) const fn caller(&self) -> &Verified {
        &self.caller
    }

    /// Around everything that is done for the request.
    pub(crate) const fn span(&self) -> &Span {
        &self.span
    }

    /// What the call, which has not been answered yet, must end by.
    pub(crate) fn tenure(&mut self) -> Option<&mut Tenure> {
        self.enforced.then_some(&mut self.tenure)
    }

    /// The end of a call that was not answered in time.
    pub(crate) fn outlived(&self) -> Refused {
        self.tenure.report_end();
        if self.session_is_known {
            Refused::SessionEnded
        } else if self.tenure.lease().end_reason() == EndReason::Revoked {
            Refused::Descriptor(Reason::WithdrawnMeanwhile.into())
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
        let (enforced, span) = (self.enforced, self.span.clone());
        match self.final_tenure(verifier, &response) {
            Ok(tenure) if enforced => {
                response.map(|body| ConnectBody::governed(body, tenure, span))
            }
            Ok(_) => response.map(|body| ConnectBody::unlimited(body, span)),
            Err(refused) if enforced => {
                tracing::info!(code = refused.code(), reason = %refused, "answer withheld");
                telemetry::refused(refused.code(), true);
                refused.to_response(verifier.settings())
            }
            Err(refused) => {
                report(&refused);
                response.map(|body| ConnectBody::unlimited(body, span))
            }
        }
    }

    /// What the answer must end by: the lease of its session, where it has one.
    fn final_tenure<B>(
        self,
        verifier: &Verifier,
        response: &Response<B>,
    ) -> Result<Tenure, Refused> {
        let sessions = verifier.sessions();
        if !response.status().is_success() {
            return Ok(self.tenure);
        }
        if self.method == Method::DELETE {
            if let Some(key) = self.named {
                sessions.remove(&key);
            }
            return Ok(self.tenure);
        }
        // Only the server gives out session ids: one that a client made up binds nobody.
        match session_key(response.headers()) {
            Some(key) if !(self.session_is_known && self.named == Some(key)) => {
                let descriptor = self.caller.shared();
                let lease: Arc<Lease> =
                    sessions.bind(key, descriptor, self.enforced, clock::now())?;
                Ok(Tenure::new(lease, is_call(&self.method)))
            }
            _ => Ok(self.tenure),
        }
    }
}

/// A call ends by itself, other than a stream that a client listens to.
fn is_call(method: &Method) -> bool {
    method == Method::POST
}

/// What it means for a session that a request in its name was refused, should no better one come.
const fn setback(code: RefusalCode) -> Option<EndReason> {
    match code {
        RefusalCode::Revoked => Some(EndReason::Revoked),
        RefusalCode::Invalid | RefusalCode::WrongAudience => Some(EndReason::AuthFailed),
        _ => None,
    }
}

/// Spaces around an id, which HTTP/2 lets through and the next HTTP/1.1 connection doesn't, are no part
/// of it.
fn session_key(headers: &HeaderMap) -> Option<SessionKey> {
    let id = headers.get(SESSION_HEADER)?;
    Some(SessionKey::new(id.as_bytes().trim_ascii()))
}

fn report(refused: &Refused) {
    telemetry::refused(refused.code(), false);
    tracing::warn!(
        code = refused.code(),
        reason = %refused,
        "would have been refused in mode \"required\"",
    );
}
