//! Errors as registries tell them: huma's `ErrorModel`, which is an RFC 9457 problem. Stock clients show the
//! whole of it, so each sentence stands in it once.

use std::borrow::Cow;

use http::StatusCode;
use mcp_connect_catalog::Fault;
use serde::Serialize;
use serde_json::Value;

use crate::{
    api::{
        document,
        problem::{Problem, title},
    },
    platform::{
        Fault as SettingFault,
        http::{Header, Response},
    },
    store::StoreError,
};

pub(in crate::api) struct Refusal {
    status: StatusCode,
    detail: Cow<'static, str>,
    errors: Vec<Fault>,
    headers: Vec<Header>,
}

#[derive(Serialize)]
struct ErrorModel<'a> {
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
}

/// One thing that is wrong, and where: `body.name`, `query.limit`.
pub(super) fn fault(
    location: impl Into<String>,
    message: impl Into<String>,
    value: Option<&Value>,
) -> Fault {
    Fault {
        message: message.into(),
        location: location.into(),
        value: value.cloned(),
    }
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
        }
    }

    pub(super) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// What there is not, or not for who asks.
    pub(super) fn not_found(detail: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// What breaks a rule that every request of its kind must keep.
    pub(super) fn invalid(errors: Vec<Fault>) -> Self {
        Self {
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation failed")
        }
    }

    pub(super) fn unauthorized(detail: &'static str) -> Self {
        Self {
            headers: vec![("www-authenticate", "Bearer".into())],
            ..Self::new(StatusCode::UNAUTHORIZED, detail)
        }
    }

    /// What may be tried again in some seconds.
    pub(super) fn too_many(detail: &'static str, seconds: u64, message: &'static str) -> Self {
        Self {
            headers: vec![("retry-after", seconds.to_string().into())],
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
        .because(message)
    }

    pub(super) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// … and what in particular is wrong.
    pub(super) fn with(mut self, fault: Fault) -> Self {
        self.errors.push(fault);
        self
    }

    pub(super) const fn has_faults(&self) -> bool {
        !self.errors.is_empty()
    }

    /// … and why.
    pub(super) fn because(self, message: impl Into<String>) -> Self {
        self.with(fault("", message, None))
    }

    pub(in crate::api) fn into_response(self) -> Response {
        let model = ErrorModel {
            title: title(self.status),
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        };
        // Texts and numbers alone: nothing of it can fail.
        let body = serde_json::to_vec(&model).unwrap_or_default();
        let mut response = document("application/problem+json", body);
        response.status = self.status;
        response.headers.extend(self.headers);
        response
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let (status, detail, headers) = problem.into_parts();
        Self {
            // As registries say it of themselves.
            status: if status == StatusCode::SERVICE_UNAVAILABLE {
                StatusCode::INTERNAL_SERVER_ERROR
            } else {
                status
            },
            detail: detail.into(),
            errors: Vec::new(),
            headers,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Problem::from(error).into()
    }
}

impl From<SettingFault> for Refusal {
    fn from(fault: SettingFault) -> Self {
        Problem::from(fault).into()
    }
}
