//! What went wrong, what to do next, and the exit code that says so to a script.

use std::{error::Error, fmt::Write, process::ExitCode};

use mcp_connect_client::{ConnectError, Denial, DenialCode};

/// How a command ends when it does not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// The answer is no.
    No = 1,
    /// Wrong usage, or an input that can't be read.
    Usage = 2,
    /// The authority or the server can't be reached, or failed.
    Unavailable = 3,
    /// This machine's clock has to be set first.
    Clock = 4,
}

impl Failure {
    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self::new(Kind::No, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    /// What to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What was being done.
    pub(crate) fn context(mut self, context: &str) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let message = with_causes(&error);
        match error {
            ConnectError::Denied(denial) => of_denial(&denial, message),
            error if error.is_of_clock() => Self::new(Kind::Clock, message)
                .hint("set the clock of this machine, by NTP best; nothing else has to be changed"),
            ConnectError::BaseUrl(_)
            | ConnectError::Credential
            | ConnectError::Path(_)
            | ConnectError::ServerRef(_) => Self::usage(message),
            ConnectError::Network(_) => {
                Self::unavailable(message).hint("is --authority right, and does the authority run?")
            }
            ConnectError::Refused(_)
            | ConnectError::OtherEndpoint { .. }
            | ConnectError::OtherVersion { .. }
            | ConnectError::Unverified(_) => Self::no(message),
            _ => Self::unavailable(message),
        }
    }
}

fn of_denial(denial: &Denial, message: String) -> Failure {
    let kind = match denial.status {
        429 | 500.. => Kind::Unavailable,
        _ => Kind::No,
    };
    let failure = Failure::new(kind, message);
    match &denial.code {
        DenialCode::AuthorityUnavailable => {
            failure.hint("GET /healthz of the authority names what is wrong")
        }
        DenialCode::CallerUnauthenticated => failure.hint(
            "connect and call take CONNECT_API_KEY, administrators' commands CONNECT_OPERATOR_TOKEN",
        ),
        DenialCode::PolicyBlocked => failure.hint("the operator of the authority can tell why"),
        DenialCode::RateLimited => match denial.retry_after {
            Some(wait) => failure.hint(format!("try again in {} s", wait.as_secs())),
            None => failure.hint("try again later"),
        },
        DenialCode::ServerNotFound => {
            failure.hint("`connectctl servers search` finds names, `servers show` versions")
        }
        DenialCode::ServerRevoked => failure.hint("`connectctl servers show` tells why"),
        DenialCode::ServerUnverified => {
            failure.hint("an operator can verify it: `connectctl servers verify`")
        }
        _ => failure,
    }
}

/// The message with those of its causes, as far as they add something.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            let _ = write!(message, ": {text}");
        }
        cause = error.source();
    }
    message
}
