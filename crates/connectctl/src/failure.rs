//! What went wrong, what to do next, and the exit code that says so to a script.

use std::{
    io::{self, ErrorKind},
    process::ExitCode,
};

use mcp_connect_client::{ConnectError, Denial, DenialCode, network_reason};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// How a command ends when it does not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    /// What the authority or the server calls it.
    code: Option<String>,
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
            code: None,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn code(mut self, code: &str) -> Self {
        self.code = Some(code.to_owned());
        self
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

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::No => "refused",
            Self::Usage => "usage",
            Self::Unavailable => "unavailable",
            Self::Clock => "clock",
        }
    }
}

/// As `--json` prints it.
impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("kind", self.kind.as_str())?;
        if let Some(code) = &self.code {
            members.serialize_entry("code", code)?;
        }
        members.serialize_entry("message", &self.message)?;
        if let Some(hint) = &self.hint {
            members.serialize_entry("next", hint)?;
        }
        members.serialize_entry("exit_code", &(self.kind as u8))?;
        members.end()
    }
}

/// Why a file or a stream can't be read or written, without the system's number for it.
pub(crate) fn io_reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "you may not".to_owned(),
        ErrorKind::IsADirectory => "it is a directory".to_owned(),
        ErrorKind::InvalidData => "it is not text in UTF-8".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or(&text).to_owned()
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        const IS_IT_RIGHT: &str = "is --authority (or CONNECT_AUTHORITY, or the profile) the base URL of an MCP connect authority?";
        match error {
            ConnectError::Denied(denial) => of_denial(&denial),
            error if error.is_of_clock() => Self::new(Kind::Clock, error.to_string())
                .hint("set the clock of this machine, by NTP best; nothing else has to be changed"),
            ConnectError::BaseUrl(_)
            | ConnectError::Credential
            | ConnectError::Path(_)
            | ConnectError::ServerRef(_) => Self::usage(error.to_string()),
            ConnectError::Network(error) => {
                let at = error.url().map(|url| url.origin().ascii_serialization());
                let at = at.map_or_else(String::new, |origin| format!(" at {origin}"));
                Self::unavailable(format!(
                    "the authority{at} can't be reached: {}",
                    network_reason(&error)
                ))
                .hint("is --authority right, and does the authority run?")
            }
            ConnectError::Refused(refusal) => {
                Self::no(ConnectError::Refused(refusal.clone()).to_string())
                    .code(refusal.code().as_str())
            }
            ConnectError::OtherEndpoint { .. }
            | ConnectError::OtherVersion { .. }
            | ConnectError::Unverified(_) => Self::no(error.to_string()),
            ConnectError::InvalidAnswer(_)
            | ConnectError::KeySet(_)
            | ConnectError::Status(..500) => Self::unavailable(error.to_string()).hint(IS_IT_RIGHT),
            ConnectError::Status(_) => Self::unavailable(error.to_string()).hint(
                "something before the authority may have answered; try again, then look at its log",
            ),
            _ => Self::unavailable(error.to_string()),
        }
    }
}

fn of_denial(denial: &Denial) -> Failure {
    let kind = match denial.status {
        429 | 500.. => Kind::Unavailable,
        _ => Kind::No,
    };
    let failure = Failure::new(kind, denial.to_string()).code(denial.code.as_str());
    match &denial.code {
        DenialCode::AuthorityUnavailable => {
            failure.hint("GET /healthz of the authority names what is wrong")
        }
        DenialCode::CallerUnauthenticated => failure.hint(
            "connect and call take CONNECT_API_KEY, administrators' commands CONNECT_OPERATOR_TOKEN",
        ),
        DenialCode::PolicyBlocked => {
            failure.hint("`connectctl policy explain` tells an administrator which rule or state decided")
        }
        DenialCode::RateLimited => match denial.retry_after {
            Some(wait) => failure.hint(format!("try again in {} s", wait.as_secs())),
            None => failure.hint("try again later"),
        },
        DenialCode::ServerNotFound => {
            failure.hint("`connectctl servers search` finds names, `servers show` versions")
        }
        DenialCode::ServerRevoked => failure.hint("`connectctl servers show` tells why"),
        DenialCode::ServerUnavailable => {
            failure.hint("`connectctl servers health` tells an administrator what it answers")
        }
        DenialCode::ServerUnverified => {
            failure.hint("an operator can verify it: `connectctl servers verify`")
        }
        DenialCode::Other(code) => match lists(code) {
            Some(hint) => failure.hint(hint),
            None => failure,
        },
        _ => failure,
    }
}

/// What to do about codes of the administration.
fn lists(code: &str) -> Option<&'static str> {
    Some(match code {
        "administrator_not_found" => {
            "`connectctl admins list` lists the administrators that there are"
        }
        "client_not_found" => "`connectctl clients list` lists the clients that are registered",
        "key_not_found" => {
            "`connectctl keys status` lists signing keys, `clients keys list` and `admins keys list` those of their holders"
        }
        "keys_differ" => "say it with --label and --for",
        "provider_not_found" => {
            "`connectctl providers list` lists those that the tenant has; issuer and audience must match to the letter"
        }
        "role_insufficient" => "`connectctl whoami` shows your role",
        "tenant_not_found" => "`connectctl tenants list` lists the tenants that there are",
        _ => return None,
    })
}
