use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{anyhow, ensure};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use mcp_connect_verifier::{ConnectLayer, ConnectService, CorsLayer, Verifier};
use tokio::{join, net::TcpListener};
use tokio_util::sync::CancellationToken;
use tower::{Layer as _, ServiceExt as _, service_fn};
use url::Url;

use crate::{
    Options,
    backend::{Backend, Passing},
    connections::{BoxBody, Limits, serve},
    headers::{self, PublicOrigin},
    health::Health,
    metrics::{self, Metrics},
    route::{Route, Routes},
    settings::Settings,
};

/// Probes are few, and must get through when clients are many.
const HEALTH_CONNECTIONS: usize = 16;
/// As long as an answer to a probe takes at most.
const HEALTH_DRAIN: Duration = Duration::from_secs(1);

/// A guard that has its addresses, and runs when told so.
#[derive(Debug)]
pub struct Guard {
    listener: TcpListener,
    health: Option<(TcpListener, Health)>,
    front: Front,
    cors: CorsLayer,
    limits: Limits,
    stop: CancellationToken,
}

/// What a connection asks.
#[derive(Clone, Debug)]
struct Front {
    routes: Arc<Routes>,
    governed: ConnectService<Backend>,
    open: Backend,
}

impl Guard {
    /// Takes its addresses, and starts to fetch the authority's keys. Needs a Tokio runtime. An error
    /// says which setting is wrong.
    pub async fn bind(options: Options) -> anyhow::Result<Self> {
        let settings = Settings::load(options)?;
        let listener = listen("listen", settings.listen).await?;
        let health_listener = match settings.health_listen {
            Some(address) => Some(listen("health_listen", address).await?),
            None => None,
        };
        // Before there is a verifier, which describes its own.
        let metrics = Metrics::install()?;
        let verifier = settings.verifier.clone().build()?;
        let front = Front::new(&settings, verifier.clone())?;
        let stop = CancellationToken::new();
        let health = health_listener.map(|listener| {
            let health = Health {
                backend: Arc::new(settings.backend.socket),
                metrics,
                stop: stop.clone(),
                verifier,
            };
            (listener, health)
        });
        Ok(Self {
            listener,
            health,
            front,
            cors: settings.cors,
            limits: Limits {
                connections: settings.max_connections,
                idle: settings.longest_idle,
                drain: settings.longest_drain,
            },
            stop,
        })
    }

    /// Where it listens, with the port that it got.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Where it listens for probes.
    pub fn health_address(&self) -> anyhow::Result<Option<SocketAddr>> {
        let health = self.health.as_ref();
        Ok(health
            .map(|(listener, _)| listener.local_addr())
            .transpose()?)
    }

    /// Serves until `stop` is ready, then takes no more requests, ends streams that only listen, and
    /// waits for calls as long as they may go on.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let front = self.front;
        let answering = service_fn(move |request| {
            let front = front.clone();
            async move { Ok::<_, Infallible>(front.answer(request).await) }
        });
        // Outside of everything, so that pages can read whatever the answer is.
        let service = self.cors.layer(answering);
        let answer = move |request| {
            let answering = service.clone().oneshot(request);
            async move {
                let Ok(response) = answering.await;
                response
            }
        };
        let serving = serve(self.listener, self.limits, self.stop.clone(), answer);

        // Probes hear of the stopping until there is nothing left to stop.
        let stopped = CancellationToken::new();
        let probing = async {
            if let Some((listener, health)) = self.health {
                let limits = Limits {
                    connections: HEALTH_CONNECTIONS,
                    drain: HEALTH_DRAIN,
                    ..self.limits
                };
                let answer = move |request| {
                    let health = health.clone();
                    async move { own(health.answer(&request).await) }
                };
                serve(listener, limits, stopped.clone(), answer).await;
            }
        };
        join!(
            async {
                stop.await;
                self.stop.cancel();
            },
            async {
                serving.await;
                stopped.cancel();
            },
            probing,
        );
    }
}

/// Whether a guard could run with these options; an error says which can't be used. Needs a Tokio
/// runtime.
pub fn check(options: Options) -> anyhow::Result<()> {
    let settings = Settings::load(options)?;
    let verifier = settings.verifier.clone().build()?;
    Front::new(&settings, verifier).map(drop)
}

async fn listen(setting: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = why_not(&error, address);
        anyhow!("{setting}: can't listen on {address}: {why}")
    })
}

/// Says what stands in the way of listening, and the way out.
fn why_not(error: &io::Error, address: SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there; stop that, or choose another port".into()
        }
        io::ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {}; 0.0.0.0 stands for all that it has",
            address.ip()
        ),
        io::ErrorKind::PermissionDenied => {
            "this user may not use that port; choose one above 1023".into()
        }
        _ => error.to_string(),
    }
}

impl Front {
    fn new(settings: &Settings, verifier: Verifier) -> anyhow::Result<Self> {
        let audience: Url = verifier.audience().parse()?;
        let public_path = audience.path().to_owned();
        let mut hosts = settings.hosts.clone();
        hosts.extend(audience.host_str().map(str::to_owned));
        let routes = Routes {
            governed: public_path.clone(),
            open: settings.open_paths.clone(),
            hosts,
        };
        ensure!(
            !routes.open.contains(&public_path),
            "open_paths must not have the path of the audience, which is governed",
        );
        let backend_path = settings.backend.path.as_str();
        ensure!(
            !routes.open.iter().any(|open| open == backend_path),
            "open_paths must not have the path of the backend: it would be open to anybody there",
        );
        let passing = Passing {
            public_path,
            backend_path: settings.backend.path.clone(),
            host: settings.backend.host.clone(),
            public: PublicOrigin {
                scheme: HeaderValue::from_str(audience.scheme())?,
                host: HeaderValue::from_str(audience.authority())?,
            },
            trusts_forwarded: settings.trusts_forwarded,
            tells_identity: settings.tells_identity,
        };
        let backend = Backend::new(&settings.backend.socket, settings.connect_limit, passing);
        Ok(Self {
            routes: Arc::new(routes),
            governed: ConnectLayer::new(verifier).layer(backend.clone()),
            open: backend,
        })
    }

    async fn answer(self, mut request: Request<Incoming>) -> Response<BoxBody> {
        let route = self.routes.find(&request);
        // The verifier judges by what the backend sees.
        headers::remove_hop_by_hop(request.headers_mut());
        let answered = match route {
            Ok(Route::Governed) => self.governed.oneshot(request).await.map(boxed),
            Ok(Route::Open) => {
                // Nobody has judged whose session it is.
                headers::remove_session(request.headers_mut());
                self.open.oneshot(request).await.map(boxed)
            }
            Err(fault) => Err(fault),
        };
        answered.unwrap_or_else(|fault| {
            metrics::count(fault);
            own(fault.to_response())
        })
    }
}

fn boxed<B>(response: Response<B>) -> Response<BoxBody>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Send + 'static,
{
    response.map(BodyExt::boxed_unsync)
}

fn own(response: Response<Full<Bytes>>) -> Response<BoxBody> {
    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}
