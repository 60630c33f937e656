//! A listener and its connections: how many, how long they may be idle, and how they end.

use std::{
    convert::Infallible,
    future::Future,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use pin_project_lite::pin_project;
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::TaskTracker,
};

use crate::backend::Peer;

/// All header lines of a request together: a descriptor of 8 KiB, an access token as long, cookies.
const MAX_HEADER_BYTES: u32 = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// Of one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// After an error of accept, which may be that there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(crate) type BoxBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Open connections, and requests in progress, of which HTTP/2 has several on one connection.
    /// More wait for their turn.
    pub(crate) connections: usize,
    /// How long a connection may be without a request, and a request's head may take.
    pub(crate) idle: Duration,
    /// How long calls may go on when the guard is told to stop.
    pub(crate) drain: Duration,
}

/// Answers what comes in until `stop`, then lets what runs come to its end within the limit.
pub(crate) async fn serve<A, F>(
    listener: TcpListener,
    limits: Limits,
    stop: CancellationToken,
    answer: A,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<BoxBody>> + Send + 'static,
{
    let free = Arc::new(Semaphore::new(limits.connections));
    let calls = Arc::new(Semaphore::new(limits.connections));
    let open = TaskTracker::new();
    let cut = CancellationToken::new();
    while let Some(Some(accepted)) = stop.run_until_cancelled(accept(&listener, &free)).await {
        let (cut, stop, answer) = (cut.clone(), stop.clone(), answer.clone());
        let calls = Arc::clone(&calls);
        open.spawn(async move {
            let serving = serve_connection(accepted, limits.idle, calls, stop, answer);
            cut.run_until_cancelled(serving).await;
        });
    }
    drop(listener);
    open.close();
    if timeout(limits.drain, open.wait()).await.is_err() {
        tracing::warn!(connections = open.len(), "stopped with calls still open");
        cut.cancel();
        open.wait().await;
    }
}

struct Accepted {
    stream: TcpStream,
    peer: IpAddr,
    /// Its place among those that may be open.
    _permit: OwnedSemaphorePermit,
}

/// `None`: never; the semaphore is not closed.
async fn accept(listener: &TcpListener, free: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(free).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                return Some(Accepted {
                    stream,
                    peer: peer.ip(),
                    _permit: permit,
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection can't be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection<A, F>(
    accepted: Accepted,
    longest_idle: Duration,
    calls: Arc<Semaphore>,
    stop: CancellationToken,
    answer: A,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<BoxBody>> + Send + 'static,
{
    let count = Arc::new(watch::Sender::new(0));
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(accepted.peer));
        let in_flight = InFlight::new(&count);
        let is_get = request.method() == Method::GET;
        let (calls, stopped, answer) = (Arc::clone(&calls), stop.clone(), answer.clone());
        async move {
            // It is not closed, so there is a place in the end.
            let place = calls.acquire_owned().await.ok();
            let response = answer(request).await;
            // Nobody's call is running there: the client comes back for what else happens.
            let is_listening = is_get && is_event_stream(&response);
            let end = is_listening.then(|| stopped.cancelled_owned());
            Ok::<_, Infallible>(response.map(|body| Answer {
                body,
                end,
                in_flight,
                place,
            }))
        }
    });

    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(longest_idle)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_concurrent_streams(MAX_STREAMS);
    // Without it, small events wait for the acknowledgement of the ones before.
    if let Err(error) = accepted.stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let mut connection = pin!(builder.serve_connection(TokioIo::new(accepted.stream), service));

    let mut idle = pin!(idle_for(longest_idle, count.subscribe()));
    let mut is_ending = false;
    loop {
        select! {
            served = &mut connection => {
                if let Err(error) = served {
                    tracing::debug!(%error, "connection broken");
                }
                return;
            }
            () = stop.cancelled(), if !is_ending => {}
            () = &mut idle => {
                if is_ending {
                    return; // it has been asked to end, and says nothing
                }
                idle.set(idle_for(longest_idle, count.subscribe()));
            }
        }
        is_ending = true;
        connection.as_mut().graceful_shutdown();
    }
}

/// Ready when there has been no request for so long, or none whose answer the client took anything
/// of: neither does hyper look after connections that say nothing at all, nor after idle ones of
/// HTTP/2, nor after clients that ask and don't read.
async fn idle_for(limit: Duration, mut in_flight: watch::Receiver<usize>) {
    loop {
        // The sender lives as long as its connection.
        let _ = in_flight.wait_for(|&requests| requests == 0).await;
        if timeout(limit, in_flight.changed()).await.is_err() {
            return;
        }
    }
}

/// A request that has not been answered to the end; counted unless it is the client's turn.
struct InFlight {
    count: Arc<watch::Sender<usize>>,
    waits_for_client: bool,
}

impl InFlight {
    fn new(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|requests| *requests += 1);
        Self {
            count: Arc::clone(count),
            waits_for_client: false,
        }
    }

    /// Whether it waits for the client to take what there is of the answer.
    fn waits_for_client(&mut self, waits: bool) {
        if waits == self.waits_for_client {
            return;
        }
        self.waits_for_client = waits;
        self.count.send_modify(|requests| {
            if waits {
                *requests -= 1;
            } else {
                *requests += 1;
            }
        });
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // No longer counted.
        self.waits_for_client(true);
    }
}

fn is_event_stream<B>(response: &Response<B>) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    content_type
        .map(HeaderValue::as_bytes)
        .is_some_and(|value| {
            let essence = value.split(|&byte| byte == b';').next().unwrap_or_default();
            essence
                .trim_ascii()
                .eq_ignore_ascii_case(b"text/event-stream")
        })
}

pin_project! {
    /// An answer's body, which counts as in flight, and may end before its time.
    struct Answer {
        body: BoxBody,
        #[pin]
        end: Option<WaitForCancellationFutureOwned>,
        in_flight: InFlight,
        place: Option<OwnedSemaphorePermit>,
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.project();
        // Asked for more only when the client has taken what came before.
        this.in_flight.waits_for_client(false);
        if let Poll::Ready(frame) = Pin::new(this.body).poll_frame(cx) {
            this.in_flight.waits_for_client(true);
            return Poll::Ready(frame);
        }
        match this.end.as_pin_mut() {
            Some(end) => end.poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
