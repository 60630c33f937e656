use std::fmt;

/// Why an MCP server refused a request, as it tells the caller.
///
/// One public code stands for many private reasons, so that a caller can't probe the verifier.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RefusalCode {
    /// No key set can be had, past the maximum staleness. 503.
    AuthorityUnreachable,
    /// Good, but past its end. 401: fetch a fresh one.
    Expired,
    /// Anything else that is wrong with a descriptor. 403.
    Invalid,
    /// The request has no descriptor. 401: fetch one.
    Missing,
    /// Named by the revocation feed. 403.
    Revoked,
    /// The descriptor is for another server. 403.
    WrongAudience,
}

impl RefusalCode {
    /// The code as it goes over the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorityUnreachable => "authority_unreachable",
            Self::Expired => "descriptor_expired",
            Self::Invalid => "descriptor_invalid",
            Self::Missing => "descriptor_missing",
            Self::Revoked => "descriptor_revoked",
            Self::WrongAudience => "descriptor_wrong_audience",
        }
    }

    /// The code of that name, as read from a server's answer.
    pub fn from_wire(name: &str) -> Option<Self> {
        [
            Self::AuthorityUnreachable,
            Self::Expired,
            Self::Invalid,
            Self::Missing,
            Self::Revoked,
            Self::WrongAudience,
        ]
        .into_iter()
        .find(|code| code.as_str() == name)
    }

    /// The HTTP status that carries the code.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Missing | Self::Expired => 401,
            Self::Invalid | Self::WrongAudience | Self::Revoked => 403,
            Self::AuthorityUnreachable => 503,
        }
    }

    /// The JSON-RPC error code, from the range that JSON-RPC 2.0 (section 5.1) leaves to servers.
    pub const fn json_rpc_code(self) -> i32 {
        match self {
            Self::Missing => -32001,
            Self::Expired => -32002,
            Self::Invalid => -32003,
            Self::WrongAudience => -32004,
            Self::Revoked => -32005,
            Self::AuthorityUnreachable => -32006,
        }
    }

    /// Whether the same request may succeed with a fresh descriptor, or later. After
    /// [`Revoked`](Self::Revoked), whether there is a fresh one is the authority's to say.
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            Self::Missing | Self::Expired | Self::Revoked | Self::AuthorityUnreachable
        )
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
