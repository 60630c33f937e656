//! Whether a request may pass, and what its answer means for sessions and streams.

use std::sync::Arc;

use http::{Method, Request, Response};
use mcp_connect_descriptor::RefusalCode;
use tracing::Span;

use crate::{
    ConnectBody, Mode, Rejection, Verified, Verifier, clock,
    lease::{EndReason, Lease},
    refusal::Refused,
    session_header::{self, HeaderFault, SESSION_ID},
    session_key::SessionKey,
    telemetry,
    tenure::Tenure,
    verifier::Reason,
};

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
        let named = named_session(request);
        let admitted = match (checked, named) {
            (Ok(caller), Ok(key)) => Self::new(verifier, mode, caller, key, request.method()),
            // Whose session it is can't be known where the server may read another id.
            (Ok(_), Err(fault)) => Err(Rejection::from(fault).into()),
            (Err(rejection), Ok(key)) => {
                if let (Some(key), Some(setback)) = (key, setback(rejection.code())) {
                    verifier.sessions().note_setback(&key, setback);
                }
                Err(rejection.into())
            }
            (Err(rejection), Err(fault)) => Err(match rejection.code() {
                RefusalCode::Missing if mode == Mode::Optional => Rejection::from(fault).into(),
                _ => rejection.into(),
            }),
        };
        let refused = match admitted {
            Ok(admission) => return Ok(Passage::Governed(admission)),
            Err(refused) => refused,
        };
        // A session that began with a descriptor can't be gone on with without one.
        let may_be_ungoverned = refused.is_missing()
            && named.is_ok_and(|key| !key.is_some_and(|key| verifier.sessions().contains(&key)));
        match mode {
            Mode::Optional if may_be_ungoverned => Ok(Passage::Ungoverned(refused)),
            Mode::Optional | Mode::Required => {
                log_refusal(verifier, &refused);
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
            Refused::SessionEndedMeanwhile
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
        mut response: Response<B>,
    ) -> Response<ConnectBody<B>> {
        let (enforced, span) = (self.enforced, self.span.clone());
        if enforced {
            withhold_unusable_session(&mut response);
        }
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
        match session_header::session_key(response.headers()) {
            Ok(Some(key)) if !(self.session_is_known && self.named == Some(key)) => {
                let descriptor = self.caller.shared();
                let lease: Arc<Lease> =
                    sessions.bind(key, descriptor, self.enforced, clock::now())?;
                Ok(Tenure::new(lease, is_call(&self.method)))
            }
            _ => Ok(self.tenure),
        }
    }
}

/// Takes a session id off an answer whose later requests would be refused, or could be told from those
/// of another session by nobody. Without one, the client knows at once that there is no session.
fn withhold_unusable_session<B>(response: &mut Response<B>) {
    if let Err(fault) = session_header::session_key(response.headers()) {
        response.headers_mut().remove(SESSION_ID);
        tracing::warn!(reason = %fault, "the server's session id is withheld from its answer");
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

/// One line for each refusal; but if this machine's clock is wrong, that was told, and its
/// consequences would bury it.
fn log_refusal(verifier: &Verifier, refused: &Refused) {
    if refused.is_of_dates() && verifier.clock_is_wrong() {
        tracing::debug!(code = refused.code(), reason = %refused, "refused");
    } else {
        tracing::info!(code = refused.code(), reason = %refused, "refused");
    }
}

/// Reads which session a request names, where every reader reads the same.
fn named_session<A>(request: &Request<A>) -> Result<Option<SessionKey>, HeaderFault> {
    session_header::check_last_event_id(request.headers())?;
    session_header::session_key(request.headers())
}

fn report(refused: &Refused) {
    telemetry::refused(refused.code(), false);
    tracing::warn!(
        code = refused.code(),
        reason = %refused,
        "would have been refused in mode \"required\"",
    );
}
