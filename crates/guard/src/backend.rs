//! The way to the backend: as the request came, but for what is the guard's to say.

use std::{
    error::Error as _,
    future::Future,
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{
    HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{EXPECT, HOST, TRAILER},
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error, connect::Connection},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use mcp_connect_verifier::Verified;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tower::{Service, util::BoxCloneSyncService};

use crate::{
    address::Socket,
    fault::Fault,
    headers::{self, PublicOrigin},
};

/// Shorter than common servers keep idle connections (5 s), so that a request never meets one that
/// is just being closed.
const LONGEST_IDLE: Duration = Duration::from_secs(3);

/// What a request needs on its way to the backend.
#[derive(Debug)]
pub(crate) struct Passing {
    /// What clients call the governed path, and what the backend does.
    pub(crate) public_path: String,
    pub(crate) backend_path: PathAndQuery,
    /// `Host`, always the same one.
    pub(crate) host: HeaderValue,
    pub(crate) public: PublicOrigin,
    /// Whether `Forwarded` and its like come from a proxy in front that is to be believed.
    pub(crate) trusts_forwarded: bool,
    pub(crate) tells_identity: bool,
}

/// The address that a request came from; among its extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The one backend, as the service behind the verifier. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pool: Pool,
    passing: Arc<Passing>,
}

#[derive(Clone, Debug)]
enum Pool {
    Tcp(Client<Connector<TcpStream>, Incoming>),
    Unix(Client<Connector<UnixStream>, Incoming>),
}

type Connector<S> = BoxCloneSyncService<Uri, TokioIo<S>, io::Error>;

impl Backend {
    /// Connects when there is something to ask, for at most this long.
    pub(crate) fn new(socket: &Socket, connect_limit: Duration, passing: Passing) -> Self {
        let pool = match socket.clone() {
            Socket::Tcp { host, port, .. } => {
                Pool::Tcp(client(connect_limit, move || tcp(host.clone(), port)))
            }
            Socket::Unix(path) => Pool::Unix(client(connect_limit, move || {
                UnixStream::connect(path.clone())
            })),
        };
        Self {
            pool,
            passing: Arc::new(passing),
        }
    }
}

/// Whether the backend accepts connections.
pub(crate) async fn is_reachable(socket: &Socket, limit: Duration) -> bool {
    let connecting = async {
        match socket {
            Socket::Tcp { host, port, .. } => tcp(host.clone(), *port).await.map(drop),
            Socket::Unix(path) => UnixStream::connect(path).await.map(drop),
        }
    };
    matches!(timeout(limit, connecting).await, Ok(Ok(())))
}

async fn tcp(host: String, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn client<S, F>(
    limit: Duration,
    connect: impl Fn() -> F + Clone + Send + Sync + 'static,
) -> Client<Connector<S>, Incoming>
where
    F: Future<Output = io::Result<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Connection + Send + Unpin + 'static,
{
    let connector = tower::service_fn(move |_: Uri| {
        let connecting = connect();
        async move {
            let stream = timeout(limit, connecting)
                .await
                .map_err(|_| io::ErrorKind::TimedOut)?;
            stream.map(TokioIo::new)
        }
    });
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(LONGEST_IDLE)
        .pool_timer(TokioTimer::new())
        .build(BoxCloneSyncService::new(connector))
}

impl Service<Request<Incoming>> for Backend {
    type Response = Response<Incoming>;
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Fault>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let request = self.passing.toward_backend(request);
        let answering = match &self.pool {
            Pool::Tcp(client) => client.request(request),
            Pool::Unix(client) => client.request(request),
        };
        Box::pin(async move { toward_client(answering.await) })
    }
}

impl Passing {
    fn toward_backend<B>(&self, request: Request<B>) -> Request<B> {
        let (mut parts, body) = request.into_parts();
        parts.uri = self.backend_uri(&parts.uri);
        parts.version = Version::HTTP_11;

        // "100 Continue" has been sent to the client by the time that its body is read.
        parts.headers.remove(EXPECT);
        headers::join_cookies(&mut parts.headers);
        headers::remove_connect(&mut parts.headers);
        headers::remove_disguised_session(&mut parts.headers);
        // Fields behind the body, which nobody has judged, are not sent unless they are announced.
        parts.headers.remove(TRAILER);
        parts.headers.insert(HOST, self.host.clone());
        if let (false, Some(Peer(peer))) = (self.trusts_forwarded, parts.extensions.get()) {
            headers::replace_forwarded(&mut parts.headers, *peer, &self.public);
        }
        if let (true, Some(verified)) = (self.tells_identity, parts.extensions.get::<Verified>()) {
            headers::insert_identity(&mut parts.headers, verified);
        }
        Request::from_parts(parts, body)
    }

    /// The path as the backend has it; the query stays.
    fn backend_uri(&self, public: &Uri) -> Uri {
        let path = if public.path() == self.public_path {
            self.backend_path.as_str()
        } else {
            public.path()
        };
        let target = match public.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        // The connector knows where to go; the pool wants a name.
        parts.authority = Some(Authority::from_static("backend"));
        // Both halves were parts of URIs.
        parts.path_and_query = target.parse().ok();
        Uri::from_parts(parts).unwrap_or_default()
    }
}

fn toward_client(answered: Result<Response<Incoming>, Error>) -> Result<Response<Incoming>, Fault> {
    let mut response = answered.map_err(|error| {
        let fault = fault(&error);
        // The innermost cause says what happened; the others name layers of libraries.
        let cause = std::iter::successors(error.source(), |&cause| cause.source()).last();
        tracing::warn!(
            code = fault.code(),
            cause = cause.map(tracing::field::display),
            "{}",
            fault.message(),
        );
        fault
    })?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        tracing::warn!("the backend switched protocols, which nobody asked it for");
        return Err(Fault::BackendFailed);
    }
    *response.version_mut() = Version::HTTP_11;
    headers::remove_hop_by_hop(response.headers_mut());
    Ok(response)
}

fn fault(error: &Error) -> Fault {
    let timed_out = |cause: &(dyn std::error::Error + 'static)| {
        let io_error = cause.downcast_ref::<io::Error>();
        io_error.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
    };
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    match (error.is_connect(), causes.any(timed_out)) {
        (true, true) => Fault::BackendSlow,
        (true, false) => Fault::BackendUnreachable,
        (false, _) => Fault::BackendFailed,
    }
}
