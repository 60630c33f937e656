use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Request, Response};
use mcp_connect_descriptor::HEADER;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;

use crate::{
    ConnectBody, Mode, Rejection, Verified, Verifier,
    admission::{Admission, Passage},
    refusal::Refused,
    sender::Sender,
    session_header,
    verifier::{Attempt, Reason},
};

/// Puts a [`Verifier`] in front of a service: an axum router, or any hyper service.
///
/// Where browsers connect, a [`CorsLayer`](crate::CorsLayer) belongs outside of this one: preflight
/// requests have no descriptor.
#[derive(Clone, Debug)]
pub struct ConnectLayer {
    verifier: Verifier,
    mode: Option<Mode>,
}

impl ConnectLayer {
    /// A layer that asks this verifier.
    pub const fn new(verifier: Verifier) -> Self {
        Self {
            verifier,
            mode: None,
        }
    }

    /// The mode of this layer, whatever the path, in place of those that the verifier is set to. So
    /// parts of a router can differ:
    ///
    /// ```no_run
    /// # use axum::{Router, routing::any};
    /// # use mcp_connect_verifier::{ConnectLayer, Mode, Verifier};
    /// # fn app(verifier: Verifier) -> Router {
    /// let tools = Router::new()
    ///     .route("/mcp", any(async || "…"))
    ///     .layer(ConnectLayer::new(verifier.clone()));
    /// let trial = Router::new()
    ///     .route("/trial", any(async || "…"))
    ///     .layer(ConnectLayer::new(verifier).mode(Mode::Report));
    /// tools.merge(trial).route("/healthz", any(async || "ok"))
    /// # }
    /// ```
    #[must_use]
    pub const fn mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }
}

impl<S> Layer<S> for ConnectLayer {
    type Service = ConnectService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConnectService {
            inner,
            verifier: self.verifier.clone(),
            mode: self.mode,
        }
    }
}

/// A service that only governed requests reach; made by [`ConnectLayer`].
#[derive(Clone, Debug)]
pub struct ConnectService<S> {
    inner: S,
    verifier: Verifier,
    mode: Option<Mode>,
}

impl<S, A, B> Service<Request<A>> for ConnectService<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone,
{
    type Response = Response<ConnectBody<B>>;
    type Error = S::Error;
    type Future = ConnectFuture<S, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let sender = Sender::take(&mut request);
        let descriptor = take_descriptor(request.headers_mut());
        // Nobody but this layer says who is connecting.
        request.extensions_mut().remove::<Verified>();
        let by_path = || self.verifier.settings().modes.of(request.uri().path());
        let mode = self.mode.unwrap_or_else(by_path);
        if mode == Mode::Off {
            mark_ungoverned(
                &mut request,
                &self.verifier,
                &Rejection::from(Reason::Missing).into(),
            );
            return ConnectFuture {
                verifier: self.verifier.clone(),
                state: State::Calling {
                    call: self.inner.call(request),
                    admission: None,
                },
            };
        }
        session_header::prepare(request.headers_mut());
        let checked = match descriptor {
            Err(reason) => Err(reason.into()),
            Ok(descriptor) => match self.verifier.attempt(&sender, &descriptor) {
                Attempt::Done(checked) => checked,
                Attempt::UnknownKey(_) => {
                    let verifier = self.verifier.clone();
                    // A clone need not be ready; the service that was polled is.
                    let clone = self.inner.clone();
                    let ready = mem::replace(&mut self.inner, clone);
                    return ConnectFuture {
                        verifier: self.verifier.clone(),
                        state: State::Checking {
                            check: Box::pin(async move {
                                verifier.verify_from(&sender, &descriptor).await
                            }),
                            held: Some((ready, request)),
                            mode,
                        },
                    };
                }
            },
        };
        ConnectFuture {
            verifier: self.verifier.clone(),
            state: State::after_check(&mut self.inner, &self.verifier, mode, checked, request),
        }
    }
}

/// Takes the descriptor off a request, so that the server behind can neither log nor forward it.
fn take_descriptor(headers: &mut HeaderMap) -> Result<String, Reason> {
    let several = headers.get_all(HEADER).iter().nth(1).is_some();
    let value = headers.remove(HEADER).ok_or(Reason::Missing)?;
    if several {
        return Err(Reason::Header("is there more than once"));
    }
    match value.to_str() {
        Ok(text) if text.contains(',') => Err(Reason::Header("has a comma")),
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Reason::Header("is not visible ASCII")),
    }
}

type Check = Pin<Box<dyn Future<Output = Result<Verified, Rejection>> + Send>>;

pin_project! {
    /// The answer of a [`ConnectService`] to come.
    pub struct ConnectFuture<S, A>
    where
        S: Service<Request<A>>,
    {
        verifier: Verifier,
        #[pin]
        state: State<S, A>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, A>
    where
        S: Service<Request<A>>,
    {
        Calling {
            #[pin]
            call: S::Future,
            admission: Option<Admission>,
        },
        /// The key is not known yet: the rare case, and the only one that needs a box.
        Checking {
            check: Check,
            held: Option<(S, Request<A>)>,
            mode: Mode,
        },
        Refused {
            refused: Refused,
        },
    }
}

impl<S: Service<Request<A>>, A> State<S, A> {
    fn after_check(
        service: &mut S,
        verifier: &Verifier,
        mode: Mode,
        checked: Result<Verified, Rejection>,
        mut request: Request<A>,
    ) -> Self {
        match Admission::decide(verifier, mode, checked, &request) {
            Ok(Passage::Governed(admission)) => {
                request.extensions_mut().insert(admission.caller().clone());
                let call = admission.span().in_scope(|| service.call(request));
                Self::Calling {
                    call,
                    admission: Some(admission),
                }
            }
            Ok(Passage::Ungoverned(refused)) => {
                mark_ungoverned(&mut request, verifier, &refused);
                Self::Calling {
                    call: service.call(request),
                    admission: None,
                }
            }
            Err(refused) => Self::Refused { refused },
        }
    }
}

#[cfg(feature = "axum")]
fn mark_ungoverned<A>(request: &mut Request<A>, verifier: &Verifier, refused: &Refused) {
    crate::extract::mark_ungoverned(request.extensions_mut(), verifier, refused);
}

#[cfg(not(feature = "axum"))]
const fn mark_ungoverned<A>(_: &mut Request<A>, _: &Verifier, _: &Refused) {}

impl<S, A, B> Future for ConnectFuture<S, A>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Output = Result<Response<ConnectBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Calling { call, admission } => {
                    let span = admission.as_ref().map(Admission::span);
                    let entered = span.map(Span::enter);
                    if let Poll::Ready(answered) = call.poll(cx) {
                        drop(entered);
                        let response = answered?;
                        return Poll::Ready(Ok(match admission.take() {
                            Some(admission) => admission.conclude(this.verifier, response),
                            None => response.map(ConnectBody::ungoverned),
                        }));
                    }
                    drop(entered);
                    // A call that has not been answered yet must end in time like a stream.
                    let Some(admission) = admission else {
                        return Poll::Pending;
                    };
                    let Some(tenure) = admission.tenure() else {
                        return Poll::Pending;
                    };
                    ready!(tenure.poll_end(cx));
                    let refused = admission.outlived();
                    tracing::info!(code = refused.code(), reason = %refused, "call cancelled");
                    this.state.set(State::Refused { refused });
                }
                StateProjection::Checking { check, held, mode } => {
                    let checked = ready!(check.as_mut().poll(cx));
                    let Some((mut service, request)) = held.take() else {
                        return Poll::Pending; // only after a panic of the service below
                    };
                    let next =
                        State::after_check(&mut service, this.verifier, *mode, checked, request);
                    this.state.set(next);
                }
                StateProjection::Refused { refused } => {
                    return Poll::Ready(Ok(refused.to_response(this.verifier.settings())));
                }
            }
        }
    }
}

impl<S: Service<Request<A>>, A> fmt::Debug for ConnectFuture<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectFuture").finish_non_exhaustive()
    }
}
