use std::{fmt, time::Duration};

use mcp_connect_descriptor::{KeySetError, Refusal};

use crate::ClockOffset;

/// Why there is no grant, or no answer of the authority.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The base URL can't be one of an authority.
    #[error("the authority's base URL {0}")]
    BaseUrl(String),
    /// An HTTP status without problem details (RFC 9457), from somebody who wants to be left alone for a
    /// while.
    #[error("the authority answered HTTP {status} without saying why; try again in {} s", retry_after.as_secs())]
    Busy {
        /// The HTTP status.
        status: u16,
        /// `Retry-After`.
        retry_after: Duration,
    },
    /// The TLS client certificate can't be used.
    #[error("the client certificate is not PEM of a certificate and its private key")]
    Certificate,
    /// The server's TLS certificate is not valid at the time that this machine's clock shows.
    #[error(
        "the authority's TLS certificate is not valid by this machine's clock: set the clock, or, if \
         it is right, ask the operator of the authority for a certificate that has not expired"
    )]
    CertificateDates(#[source] reqwest::Error),
    /// The answer doesn't say for how long the descriptor is good, and by this machine's clock it isn't.
    #[error("{0}, and its answer does not say how long the descriptor is good: set the clock")]
    Clock(ClockOffset),
    /// The caller's credential can't be sent as a bearer token (RFC 6750, section 2.1).
    #[error("the caller's credential is not printable ASCII without spaces")]
    Credential,
    /// The authority says no.
    #[error("{0}")]
    Denied(Denial),
    /// The answer is not what the protocol describes.
    #[error("the authority's answer is not what the protocol describes: {0}")]
    InvalidAnswer(String),
    /// The authority's key set can't be used.
    #[error("the authority's key set is unusable: {0}")]
    KeySet(#[from] KeySetError),
    /// The authority can't be reached, or the answer broke off.
    #[error("the authority can't be reached")]
    Network(#[source] reqwest::Error),
    /// The descriptor is not bound to what it was asked to be bound to, or is bound unasked.
    #[error("the descriptor is not bound to its sender as asked for (cnf)")]
    OtherBinding,
    /// The endpoint of the answer is not the signed one.
    #[error("the answer names the endpoint {answered}, the signed descriptor {signed}")]
    OtherEndpoint {
        /// `endpoint` of the answer.
        answered: String,
        /// `aud` of the descriptor.
        signed: String,
    },
    /// One version was asked for and another was signed.
    #[error("version {asked} was asked for, the descriptor is for {signed}")]
    OtherVersion {
        /// The version in the `server_ref`.
        asked: String,
        /// `mcp.server.version` of the descriptor.
        signed: String,
    },
    /// A segment of the path is `.` or `..`: what is asked for would be another thing than was named.
    #[error("the path {0:?} has a segment \".\" or \"..\", which would lead to something else")]
    Path(String),
    /// No proof could be made that this client holds the key of its descriptors.
    #[error("no proof of the sender's key: {0}")]
    Proof(&'static str),
    /// The descriptor itself is not good.
    #[error("the authority's descriptor is not good: {0}")]
    Refused(#[from] Refusal),
    /// Not `namespace/name` or `namespace/name@version`.
    #[error("not a server_ref: {0}; write namespace/name or namespace/name@version")]
    ServerRef(&'static str),
    /// An HTTP status without problem details (RFC 9457).
    #[error("the authority answered HTTP {0} without saying why")]
    Status(u16),
    /// Strict mode, and the authority has not verified the server.
    #[error("{0} is not verified, and strict mode wants that")]
    Unverified(String),
}

impl ConnectError {
    /// Whether a client ends its session and does not come back by itself.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Denied(denial) if denial.code.is_final())
    }

    /// Whether this machine's clock is what has to be looked at.
    pub const fn is_of_clock(&self) -> bool {
        matches!(self, Self::CertificateDates(_) | Self::Clock(_))
    }

    /// How long the authority wants to be left alone.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => Some(*retry_after),
            Self::Denied(denial) => denial.retry_after,
            _ => None,
        }
    }
}

/// A refusal of the authority: `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{code}: {detail}")]
#[non_exhaustive]
pub struct Denial {
    /// The HTTP status.
    pub status: u16,
    /// The machine code.
    pub code: DenialCode,
    /// What the authority tells a person, at most 1,000 characters. Not to be trusted: escape it.
    pub detail: String,
    /// `Retry-After`, or `retry_after` of the body.
    pub retry_after: Option<Duration>,
}

/// The machine codes of the authority.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DenialCode {
    /// Storage or keys can't be reached; nothing is issued.
    AuthorityUnavailable,
    /// No, an unknown, expired or revoked caller credential.
    CallerUnauthenticated,
    /// The policy of the tenant or the operator says no, or the client is suspended.
    PolicyBlocked,
    /// Too many requests.
    RateLimited,
    /// The request is not as described; the detail names the member.
    RequestInvalid,
    /// No such server, or no such version.
    ServerNotFound,
    /// Revoked, quarantined, deleted or moderated out.
    ServerRevoked,
    /// The endpoint does not answer as an MCP server.
    ServerUnavailable,
    /// Not verified, and the policy in force wants that.
    ServerUnverified,
    /// The version has no streamable HTTP endpoint.
    TransportNotSupported,
    /// A code of other endpoints, or of later versions of the protocol.
    Other(String),
}

impl DenialCode {
    const KNOWN: [Self; 10] = [
        Self::AuthorityUnavailable,
        Self::CallerUnauthenticated,
        Self::PolicyBlocked,
        Self::RateLimited,
        Self::RequestInvalid,
        Self::ServerNotFound,
        Self::ServerRevoked,
        Self::ServerUnavailable,
        Self::ServerUnverified,
        Self::TransportNotSupported,
    ];

    /// The code as it goes over the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::AuthorityUnavailable => "authority_unavailable",
            Self::CallerUnauthenticated => "caller_unauthenticated",
            Self::PolicyBlocked => "policy_blocked",
            Self::RateLimited => "rate_limited",
            Self::RequestInvalid => "request_invalid",
            Self::ServerNotFound => "server_not_found",
            Self::ServerRevoked => "server_revoked",
            Self::ServerUnavailable => "server_unavailable",
            Self::ServerUnverified => "server_unverified",
            Self::TransportNotSupported => "transport_not_supported",
            Self::Other(code) => code,
        }
    }

    /// The code of that name.
    pub fn from_wire(code: &str) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|known| known.as_str() == code)
            .unwrap_or_else(|| Self::Other(code.to_owned()))
    }

    /// Whether a client ends its session and does not come back by itself.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::ServerRevoked | Self::PolicyBlocked)
    }
}

impl fmt::Display for DenialCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_wire_and_two_are_final() {
        for code in DenialCode::KNOWN {
            assert_eq!(DenialCode::from_wire(code.as_str()), code);
        }
        let of_later = DenialCode::from_wire("quota_exceeded");
        assert_eq!(of_later, DenialCode::Other("quota_exceeded".into()));
        assert!(!of_later.is_final());

        let last_words: Vec<_> = DenialCode::KNOWN
            .into_iter()
            .filter(DenialCode::is_final)
            .collect();
        assert_eq!(
            last_words,
            [DenialCode::PolicyBlocked, DenialCode::ServerRevoked]
        );
    }
}
