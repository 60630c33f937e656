use std::{fmt, sync::Arc, time::Duration};

use http::HeaderValue;
use mcp_connect_descriptor::{
    Descriptor, Expected, KeySet, ProofContext, ServerIdentity, TargetUri, UnverifiedDescriptor,
};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use crate::{
    ClockOffset, ConnectError, SenderKey,
    binding::{self, Binding},
    clock::{AuthorityClock, Moment},
    exchange::is_secure_url,
    schedule,
    server::ServerRef,
};

/// The permission to connect to one server now: a descriptor that has passed every check.
#[derive(Clone)]
pub struct Grant {
    descriptor: String,
    header: HeaderValue,
    claims: Descriptor,
    refresh_after: Duration,
    /// How long it is good, counted from when it was asked for.
    life: Duration,
    asked_at: Moment,
    refresh_from: Instant,
    clock_offset: ClockOffset,
    clock: Arc<AuthorityClock>,
    /// Where the descriptor is bound to a key: that key, and the endpoint as proofs name it.
    sender: Option<(SenderKey, TargetUri)>,
}

impl Grant {
    /// The token itself. Secret for as long as it lives.
    pub fn descriptor(&self) -> &str {
        &self.descriptor
    }

    /// The server's endpoint, as signed.
    pub fn endpoint(&self) -> &str {
        &self.claims.endpoint
    }

    /// The server and the version that the descriptor is for.
    pub const fn server(&self) -> &ServerIdentity {
        &self.claims.server
    }

    /// Everything that the descriptor says.
    pub const fn claims(&self) -> &Descriptor {
        &self.claims
    }

    /// How far this machine's clock is from the authority's, by the answer that brought this. The
    /// descriptor is good whatever it is; proofs of other kinds, logs and certificates may not be.
    pub const fn clock_offset(&self) -> ClockOffset {
        self.clock_offset
    }

    /// `exp`, in seconds since the Unix epoch by the authority's clock.
    pub const fn expires_at(&self) -> u64 {
        self.claims.expires_at
    }

    /// How long to use it, from when it was received, before fetching the next one.
    pub const fn refresh_after(&self) -> Duration {
        self.refresh_after
    }

    /// A proof for one request of this method to the endpoint, where the descriptor is bound to a key:
    /// for the header [`PROOF_HEADER`](mcp_connect_descriptor::PROOF_HEADER), beside the descriptor.
    /// Good once, for 60 seconds; a request that is sent again needs a new one.
    pub fn prove(&self, method: &str) -> Result<Option<HeaderValue>, ConnectError> {
        self.sender
            .as_ref()
            .map(|(key, endpoint)| {
                let context = ProofContext::new(method, endpoint).with_token(&self.descriptor);
                key.prove(&context, self.clock.unix_now())
            })
            .transpose()
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.asked_at.until(&Moment::now()) >= self.life
    }

    pub(crate) fn due_at(&self) -> Instant {
        self.refresh_from + self.refresh_after
    }

    /// The value of the header `MCP-Connect`, marked as sensitive.
    pub(crate) fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

/// Only an authority on this machine may send a client to a plain http server on it.
fn is_acceptable(endpoint: &str, issuer: &str) -> bool {
    Url::parse(endpoint).is_ok_and(|url| {
        url.scheme() == "https" || (is_secure_url(&url) && issuer.starts_with("http:"))
    })
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("descriptor", &"[redacted]")
            .field("claims", &self.claims)
            .field("refresh_after", &self.refresh_after)
            .finish_non_exhaustive()
    }
}

/// What `POST /v1/connect` answers. What else it has is in the descriptor, signed.
#[derive(Deserialize)]
pub(crate) struct Answer {
    descriptor: String,
    endpoint: String,
    expires_in: Option<u64>,
    refresh_after: Option<u64>,
}

/// When an answer was asked for and came, by this machine's clocks, and the authority's clock.
pub(crate) struct Times {
    pub(crate) asked_at: Moment,
    /// The first of them, by the clock that timers go by.
    pub(crate) refresh_from: Instant,
    pub(crate) answered_at: Moment,
    pub(crate) clock: Arc<AuthorityClock>,
}

/// What an answer is held against.
pub(crate) struct Asked<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) server_ref: ServerRef<'a>,
    pub(crate) strict: bool,
    pub(crate) binding: &'a Binding,
}

impl Answer {
    /// The key that is said to have signed. Nothing is believed yet.
    pub(crate) fn key_id(&self) -> Result<String, ConnectError> {
        Ok(UnverifiedDescriptor::parse(&self.descriptor)?
            .key_id()
            .to_owned())
    }

    /// Checks everything that a client checks before it uses a descriptor.
    pub(crate) fn into_grant(
        self,
        asked: &Asked<'_>,
        keys: &KeySet,
        times: Times,
    ) -> Result<Grant, ConnectError> {
        let expected = Expected::new(asked.issuer, asked.server_ref.id);
        let unverified = UnverifiedDescriptor::parse(&self.descriptor)?;
        // Everything but whether it is valid now, which this machine's clock may not know.
        let valid_at = unverified.first_valid_at();
        let claims = unverified.verify(keys, &expected, valid_at)?;

        if self.endpoint != claims.endpoint {
            return Err(ConnectError::OtherEndpoint {
                answered: self.endpoint,
                signed: claims.endpoint,
            });
        }
        if !is_acceptable(&claims.endpoint, asked.issuer) {
            return Err(ConnectError::InvalidAnswer(format!(
                "the endpoint {} is not https; http is for loopback hosts and authorities",
                claims.endpoint
            )));
        }
        if let Some(version) = asked.server_ref.version
            && version != claims.server.version
        {
            return Err(ConnectError::OtherVersion {
                asked: version.to_owned(),
                signed: claims.server.version,
            });
        }
        if claims.confirmation != asked.binding.confirmation() {
            return Err(ConnectError::OtherBinding);
        }
        if asked.strict && !claims.server.verified {
            return Err(ConnectError::Unverified(claims.server.id));
        }

        // It was issued for this answer, so its date tells the authority's time.
        let clock_offset = times.clock.learn(claims.issued_at, &times.answered_at);
        let life = life(
            &claims,
            self.expires_in,
            times.answered_at.unix,
            clock_offset,
        )?;

        let sender = match asked.binding.key() {
            Some(key) => Some((key.clone(), binding::target(&claims.endpoint)?)),
            None => None,
        };
        // Compact JWS: base64url and dots, always a header value.
        let mut header = HeaderValue::try_from(self.descriptor.as_str())
            .map_err(|_| ConnectError::InvalidAnswer("the descriptor is no header value".into()))?;
        header.set_sensitive(true);
        let wanted = self.refresh_after.map(Duration::from_secs);
        Ok(Grant {
            refresh_after: schedule::refresh_after(life, wanted),
            descriptor: self.descriptor,
            header,
            claims,
            life,
            asked_at: times.asked_at,
            refresh_from: times.refresh_from,
            clock_offset,
            clock: times.clock,
            sender,
        })
    }
}

/// How long a descriptor is good that has just come: as long as the answer says, which is counted by a
/// clock that nobody sets, and never longer than its dates allow. Only an answer that says nothing has
/// it read by this machine's clock.
fn life(
    claims: &Descriptor,
    expires_in: Option<u64>,
    machine_now: u64,
    clock_offset: ClockOffset,
) -> Result<Duration, ConnectError> {
    let lifetime = claims.expires_at.saturating_sub(claims.issued_at);
    let left = expires_in.unwrap_or_else(|| claims.expires_at.saturating_sub(machine_now));
    match (left.min(lifetime), expires_in) {
        (0, Some(_)) => Err(ConnectError::InvalidAnswer(
            "its descriptor has expired already (expires_in is 0)".into(),
        )),
        (0, None) => Err(ConnectError::Clock(clock_offset)),
        (_, None) if clock_offset.matters() => Err(ConnectError::Clock(clock_offset)),
        (left, _) => Ok(Duration::from_secs(left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_local_authority_sends_a_client_to_plain_http() {
        let (local, remote) = ("http://127.0.0.1:8787", "https://authority.example");
        for (endpoint, issuer, acceptable) in [
            ("https://mcp.example/mcp", remote, true),
            ("https://mcp.example/mcp", local, true),
            ("http://127.0.0.1:8788/mcp", local, true),
            ("http://127.0.0.1:8788/mcp", remote, false),
            ("http://mcp.example/mcp", local, false),
            ("ftp://127.0.0.1/", local, false),
            ("mcp", local, false),
        ] {
            assert_eq!(
                is_acceptable(endpoint, issuer),
                acceptable,
                "{endpoint} of {issuer}"
            );
        }
    }
}
