use std::{
    fmt,
    sync::{Arc, Mutex as StdMutex, PoisonError},
};

use rmcp::transport::{
    StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
};
use tokio::{
    sync::{Mutex, watch},
    task::AbortHandle,
    time::{Instant, sleep_until},
};
use tracing::{debug, warn};
use url::Url;

use crate::{
    Authority, ConnectError, Denial, GovernedHttpClient, Grant, ServerFault, exchange,
    schedule::{Attempts, Trigger},
    transport::UntilEnded,
};

/// A permission to connect that is kept fresh in the background.
///
/// It refreshes ahead of expiry, at most three times in 60 s when that fails, and ends for good when
/// the authority revokes the server or its policy blocks the client. Clones are handles to the same
/// connection, and so are the transports made from it; dropping the last one ends the refreshing.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    _refresher: Arc<AbortOnDrop>,
}

/// How a connection stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// The newest grant.
    Live {
        /// It may have expired meanwhile: [`Connection::current`] tells.
        grant: Arc<Grant>,
        /// Why the last refresh failed; none: it did not.
        trouble: Option<Arc<ConnectError>>,
    },
    /// Over, for good.
    Ended(EndReason),
}

/// Why a connection is over.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EndReason {
    /// The authority says no, finally.
    #[error("the authority ended the connection: {0}")]
    Denied(Denial),
    /// A later descriptor is for another endpoint. Open a new connection to go there.
    #[error("the server moved from {from} to {to}: open a new connection")]
    EndpointChanged {
        /// Where this connection went.
        from: String,
        /// Where the later descriptor leads.
        to: String,
    },
}

/// Why there is no descriptor to show now.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotConnected {
    /// Over, for good.
    #[error(transparent)]
    Ended(#[from] EndReason),
    /// The descriptor has run out, or the server refused it, and there is no fresh one yet.
    #[error("no fresh descriptor{}", because(.trouble.as_deref()))]
    NoFreshDescriptor {
        /// Why the last refresh failed; none: the limit of refreshes is used up.
        trouble: Option<Arc<ConnectError>>,
    },
}

fn because(trouble: Option<&ConnectError>) -> String {
    trouble.map_or_else(
        || ": the limit of 3 refreshes in 60 s is used up".to_owned(),
        |error| format!(": {error}"),
    )
}

struct Shared {
    authority: Authority,
    server_ref: String,
    endpoint: Arc<str>,
    http: reqwest::Client,
    state: watch::Sender<State>,
    /// Held while a refresh is under way: whoever comes second finds the new grant.
    attempts: Mutex<Attempts>,
    /// Of the last request to the server, if it had one.
    fault: StdMutex<Option<ServerFault>>,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Fetches the first grant and begins to keep it fresh. Needs a tokio runtime.
    pub async fn open(authority: Authority, server_ref: &str) -> Result<Self, ConnectError> {
        let grant = authority.connect(server_ref).await?;
        let endpoint = Url::parse(grant.endpoint())
            .map_err(|error| ConnectError::InvalidAnswer(error.to_string()))?;
        let shared = Arc::new(Shared {
            server_ref: server_ref.to_owned(),
            endpoint: grant.endpoint().into(),
            http: exchange::client_for(&endpoint, authority.binding().identity())?,
            authority,
            state: watch::Sender::new(State::Live {
                grant: Arc::new(grant),
                trouble: None,
            }),
            attempts: Mutex::default(),
            fault: StdMutex::default(),
        });
        let refresher = tokio::spawn(keep_fresh(shared.clone())).abort_handle();
        Ok(Self {
            shared,
            _refresher: Arc::new(AbortOnDrop(refresher)),
        })
    }

    /// The grant to show now, or why there is none.
    pub fn current(&self) -> Result<Arc<Grant>, NotConnected> {
        match &*self.shared.state.borrow() {
            State::Ended(reason) => Err(reason.clone().into()),
            State::Live { grant, trouble } if grant.is_expired() => {
                Err(NotConnected::NoFreshDescriptor {
                    trouble: trouble.clone(),
                })
            }
            State::Live { grant, .. } => Ok(grant.clone()),
        }
    }

    /// Tells of every refresh, failed ones too, and of the end.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Why the last request to the server had no result, if it had none: the errors of rmcp tell it for programmers.
    pub fn fault(&self) -> Option<ServerFault> {
        let fault = self.shared.fault.lock();
        fault.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note_fault(&self, fault: Option<ServerFault>) {
        *self
            .shared
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// The endpoint that every descriptor of this connection is for.
    pub fn endpoint(&self) -> &str {
        &self.shared.endpoint
    }

    /// A transport for rmcp, directly to the server: `().serve(connection.transport())`.
    pub fn transport(&self) -> StreamableHttpClientTransport<GovernedHttpClient> {
        self.transport_with(StreamableHttpClientTransportConfig::default())
    }

    /// … with settings of your own, such as the user's credential for the server. The URI is always
    /// the signed endpoint, and streams are not resumed after the end.
    pub fn transport_with(
        &self,
        mut config: StreamableHttpClientTransportConfig,
    ) -> StreamableHttpClientTransport<GovernedHttpClient> {
        config.uri = self.shared.endpoint.clone();
        config.retry_config = Arc::new(UntilEnded {
            state: self.watch(),
            policy: config.retry_config,
        });
        StreamableHttpClientTransport::with_client(self.http_client(), config)
    }

    /// The HTTP client beneath the transport, for an rmcp worker of your own.
    pub fn http_client(&self) -> GovernedHttpClient {
        GovernedHttpClient::new(self.clone(), self.shared.http.clone())
    }

    /// [`Self::current`], or a refresh when the grant has run out meanwhile.
    pub(crate) async fn usable(&self) -> Result<Arc<Grant>, NotConnected> {
        let run_out = match &*self.shared.state.borrow() {
            State::Live { grant, .. } if grant.is_expired() => grant.clone(),
            State::Live { grant, .. } => return Ok(grant.clone()),
            State::Ended(reason) => return Err(reason.clone().into()),
        };
        self.replace(&run_out).await
    }

    /// A newer grant than this one, which the server refused or which has run out.
    pub(crate) async fn replace(&self, spent: &Grant) -> Result<Arc<Grant>, NotConnected> {
        self.shared.refresh(spent, Trigger::Demanded).await
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("server_ref", &self.shared.server_ref)
            .field("state", &*self.shared.state.borrow())
            .finish_non_exhaustive()
    }
}

async fn keep_fresh(shared: Arc<Shared>) {
    let mut changes = shared.state.subscribe();
    loop {
        let grant = match &*changes.borrow_and_update() {
            State::Live { grant, .. } => grant.clone(),
            State::Ended(_) => return,
        };
        let allowed = shared.attempts.lock().await.allowed_from(Trigger::Due);
        let wake = allowed.map_or(grant.due_at(), |from| from.max(grant.due_at()));
        tokio::select! {
            () = sleep_until(wake) => {
                // What came of it is in the state.
                let _ = shared.refresh(&grant, Trigger::Due).await;
            }
            // A demanded refresh has moved the schedule, or ended it.
            _ = changes.changed() => {}
        }
    }
}

impl Shared {
    async fn refresh(&self, spent: &Grant, trigger: Trigger) -> Result<Arc<Grant>, NotConnected> {
        let mut attempts = self.attempts.lock().await;
        let trouble = match &*self.state.borrow() {
            State::Ended(reason) => return Err(reason.clone().into()),
            State::Live { grant, .. } if grant.claims().jti != spent.claims().jti => {
                return Ok(grant.clone());
            }
            State::Live { trouble, .. } => trouble.clone(),
        };
        if attempts
            .allowed_from(trigger)
            .is_some_and(|from| from > Instant::now())
        {
            return Err(NotConnected::NoFreshDescriptor { trouble });
        }

        match self.authority.connect(&self.server_ref).await {
            Ok(grant) if grant.endpoint() != &*self.endpoint => {
                Err(self.end(EndReason::EndpointChanged {
                    from: self.endpoint.to_string(),
                    to: grant.endpoint().to_owned(),
                }))
            }
            Ok(grant) => {
                attempts.succeeded(trigger, Instant::now());
                debug!(jti = grant.claims().jti, "refreshed the connect descriptor");
                let grant = Arc::new(grant);
                self.state.send_replace(State::Live {
                    grant: grant.clone(),
                    trouble: None,
                });
                Ok(grant)
            }
            Err(ConnectError::Denied(denial)) if denial.code.is_final() => {
                Err(self.end(EndReason::Denied(denial)))
            }
            Err(error) => {
                attempts.failed(Instant::now(), error.retry_after());
                warn!(server_ref = self.server_ref, %error, "no fresh connect descriptor");
                let error = Arc::new(error);
                self.state.send_modify(|state| {
                    if let State::Live { trouble, .. } = state {
                        *trouble = Some(error.clone());
                    }
                });
                Err(NotConnected::NoFreshDescriptor {
                    trouble: Some(error),
                })
            }
        }
    }

    fn end(&self, reason: EndReason) -> NotConnected {
        warn!(server_ref = self.server_ref, %reason, "connection ended");
        self.state.send_replace(State::Ended(reason.clone()));
        reason.into()
    }
}
