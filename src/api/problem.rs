//! Errors as callers see them: RFC 9457 problems with a machine code. What only the operator may
//! know goes to the log.

use http::StatusCode;
use serde_json::{Map, Value};

use super::{address, document, routes::NotFound};
use crate::{
    authority::Denial,
    platform::{
        Fault, RandomnessError,
        http::{Header, Response, Unreadable},
        iso_date, limiter, log,
    },
    store::StoreError,
};

/// What is out may be back soon, in seconds.
const UNAVAILABLE_RETRY_SECONDS: u32 = 5;

#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// When it may be worth to ask again, in seconds.
    retry_after: Option<u32>,
    /// RFC 6750, section 3: what a 401 asks for.
    challenge: &'static str,
    /// The methods that there are, where another was used.
    allow: Option<String>,
}

/// How long a closed endpoint stays so at least, more or less: the cron asks it every minute.
const ENDPOINT_RETRY_SECONDS: u32 = 30;

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            retry_after: None,
            challenge: "Bearer",
            allow: None,
        }
    }

    pub(crate) fn request_invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "request_invalid", detail)
    }

    fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request_invalid", detail)
    }

    pub(crate) fn server_not_found() -> Self {
        Denial::ServerNotFound.into()
    }

    /// `versions` are some that there are; `more` says that these are not all.
    pub(crate) fn version_not_found(versions: &[&str], more: bool) -> Self {
        let mut detail = Denial::VersionNotFound.to_string();
        if !versions.is_empty() {
            detail = format!("{detail}; it has {}", versions.join(", "));
            if more {
                detail.push_str(" and others");
            }
        }
        Self {
            detail,
            ..Denial::VersionNotFound.into()
        }
    }

    pub(crate) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "caller_unauthenticated", detail)
    }

    /// `scope` is whose limit it is: the client's, the tenant's or the address's.
    pub(crate) fn rate_limited(scope: &str) -> Self {
        let seconds = limiter::RETRY_SECONDS;
        let detail = format!("too many requests of this {scope}; try again in {seconds} s");
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail)
        }
    }

    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn is_rate_limited(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// Whether it is the authority that failed.
    pub(crate) fn is_ours(&self) -> bool {
        self.status.is_server_error() && self.code != "server_unavailable"
    }

    /// The authority fails closed; why is for the log.
    pub(crate) fn authority_unavailable(event: &str, problem: &str) -> Self {
        log::error(event, &[("problem", problem)]);
        let detail = "the authority can't decide this now; try again in a few seconds";
        Self {
            retry_after: Some(UNAVAILABLE_RETRY_SECONDS),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "authority_unavailable",
                detail,
            )
        }
    }
}

impl Problem {
    pub(crate) fn into_response(self) -> Response {
        let mut body = Map::new();
        let mut member = |name: &str, value| body.insert(name.to_owned(), value);
        member("type", "about:blank".into());
        member("title", title(self.status).into());
        member("status", self.status.as_u16().into());
        member("code", self.code.into());
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            member("retry_after", self.retry_after.into());
        }
        let (status, detail, headers) = self.into_parts();
        member("detail", detail.into());
        let body = Value::Object(body).to_string().into_bytes();
        let mut response = Response {
            status,
            ..document("application/problem+json", body)
        };
        response.headers.extend(headers);
        response
    }

    /// What there is to tell whoever knows no codes: status, detail and headers.
    pub(super) fn into_parts(self) -> (StatusCode, String, Vec<Header>) {
        let mut headers: Vec<Header> = Vec::new();
        if let Some(seconds) = self.retry_after {
            headers.push(("retry-after", seconds.to_string().into()));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.push(("www-authenticate", self.challenge.into()));
        }
        if let Some(methods) = self.allow {
            headers.push(("allow", methods.into()));
        }
        (self.status, self.detail, headers)
    }
}

/// Of an error of this status.
pub(super) fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        let status = match denial {
            Denial::CallerUnauthenticated
            | Denial::KeyExpired
            | Denial::KeyRevoked
            | Denial::TokenRefused => StatusCode::UNAUTHORIZED,
            Denial::Impersonation { .. } => StatusCode::BAD_REQUEST,
            Denial::ServerNotFound | Denial::VersionNotFound => StatusCode::NOT_FOUND,
            Denial::ClientSuspended
            | Denial::PolicyBlocked { .. }
            | Denial::ServerRevoked(_)
            | Denial::ServerUnverified { .. }
            | Denial::TenantSuspended
            | Denial::TransportNotSupported
            | Denial::UnusableRemote(_)
            | Denial::VersionDeleted
            | Denial::VersionRevoked(_) => StatusCode::FORBIDDEN,
            Denial::ServerUnavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        let problem = Self::new(status, denial.code(), denial.to_string());
        match denial {
            Denial::TokenRefused => Self {
                challenge: "Bearer error=\"invalid_token\"",
                ..problem
            },
            Denial::ServerRevoked(hold) => Self {
                detail: hold.told("the server", iso_date),
                ..problem
            },
            Denial::VersionRevoked(hold) => Self {
                detail: hold.told("the version", iso_date),
                ..problem
            },
            Denial::ServerUnavailable { last_success } => {
                let since = last_success.map_or_else(
                    || "it has not since this authority first asked".to_owned(),
                    |at| format!("it last did at {}", iso_date(at)),
                );
                Self {
                    detail: format!("{}; {since}", problem.detail),
                    retry_after: Some(ENDPOINT_RETRY_SECONDS),
                    ..problem
                }
            }
            _ => problem,
        }
    }
}

impl Problem {
    /// Nothing answers at this path, or not by this method.
    pub(super) fn no_endpoint(path: &str, fault: NotFound) -> Self {
        match fault {
            NotFound::Encoding => {
                Self::request_invalid("the path: what is percent-encoded must be UTF-8")
            }
            NotFound::Method(methods) => Self {
                allow: Some(methods.join(",")),
                ..Self::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    "this endpoint knows other methods; see the header Allow",
                )
            },
            NotFound::Path => Self::new(StatusCode::NOT_FOUND, "not_found", address::advice(path)),
        }
    }
}

impl From<Unreadable> for Problem {
    fn from(fault: Unreadable) -> Self {
        match fault {
            Unreadable::BodyLonger(max) => {
                Self::too_large(format!("the body is longer than {} KiB", max / 1024))
            }
            Unreadable::Header(name) => {
                Self::request_invalid(format!("the header {name} has a control character"))
            }
            Unreadable::Method => Self::request_invalid("the method is none of HTTP"),
            Unreadable::Target => Self::request_invalid(
                "the path or query has a character that must be percent-encoded",
            ),
        }
    }
}

impl From<worker::Error> for Problem {
    fn from(error: worker::Error) -> Self {
        Self::authority_unavailable("platform_failed", &error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooLarge => {
                Self::too_large("the body has more entries than one call stores; send fewer")
            }
            StoreError::LastOperator => Self::new(
                StatusCode::CONFLICT,
                "last_operator",
                "no operator would be left who can administrate: give another one a key first, or \
                 put the secret OPERATOR_TOKEN",
            ),
            StoreError::Conflict(_) | StoreError::Unavailable(_) => {
                Self::authority_unavailable("storage_failed", &error.to_string())
            }
            StoreError::Unconfirmed(_) => Self {
                detail: "it is not known whether the change was made, whole or not at all; look, or repeat it: what was made already is not made twice".into(),
                ..Self::authority_unavailable("storage_failed", &error.to_string())
            },
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let problem = format!("{} {}", fault.setting, fault.problem);
        Self::authority_unavailable("configuration_fault", &problem)
    }
}

impl From<RandomnessError> for Problem {
    fn from(error: RandomnessError) -> Self {
        Self::authority_unavailable("randomness_failed", &error.to_string())
    }
}
