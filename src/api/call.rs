//! A request as its handler sees it: the application, who is asking, and readers of path, query and
//! body whose faults are told as problems.

use std::{future::Future, pin::Pin, str::FromStr};

use mcp_connect_catalog::{self as catalog, ServerName, ServerRef};
use mcp_connect_descriptor::strict_json;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::{App, limits::Visitor, problem::Problem};
use crate::{
    authority::{AccessToken, Administrator, ApiKey, Presented, Role, bearer},
    platform::{
        http::{Head, Response},
        log,
    },
};

/// What a handler will have answered.
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response, Problem>> + 'a>>;

pub(crate) struct Call {
    pub(super) app: App,
    pub(super) head: Head,
    /// What stands in the path where its route has names in braces, decoded.
    pub(super) members: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) visitor: Visitor,
    /// For what is rarely asked of it.
    pub(super) request: web_sys::Request,
}

impl Call {
    /// What the caller shows, unchecked.
    pub(super) fn credential(&self) -> Presented {
        let Some(header) = &self.head.authorization else {
            return Presented::Nothing;
        };
        match bearer(header) {
            None => Presented::Unreadable,
            Some(token) if token.contains('.') => match AccessToken::parse(token) {
                Ok(token) => Presented::AccessToken(Box::new(token)),
                Err(fault) => {
                    log::info("access_token_refused", &[("problem", &fault.to_string())]);
                    Presented::UnusableToken
                }
            },
            Some(token) => ApiKey::parse(token).map_or(Presented::Unreadable, Presented::ApiKey),
        }
    }

    /// A JSON body, whatever Content-Type it came with.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let body = object(&self.body)?;
        serde_json::from_slice(body).map_err(|error| misread(body, &error))
    }

    /// What stands in the path where the route has this name in braces.
    pub(super) fn member(&self, name: &str) -> &str {
        let member = self.members.iter().find(|(known, _)| known == name);
        member.map_or("", |(_, value)| value)
    }

    pub(super) fn has_member(&self, name: &str) -> bool {
        self.members.iter().any(|(known, _)| known == name)
    }

    /// `{namespace}/{name}` of the path.
    pub(super) fn server_name(&self) -> Result<ServerName, Problem> {
        self.server()
    }

    /// `{namespace}/{name}` or `{namespace}/{name}@{version}` of the path.
    pub(super) fn server_ref(&self) -> Result<ServerRef, Problem> {
        self.server()
    }

    fn server<T: FromStr<Err: ToString>>(&self) -> Result<T, Problem> {
        format!("{}/{}", self.member("namespace"), self.member("name"))
            .parse()
            .map_err(|error: T::Err| {
                Problem::request_invalid(format!("the path: {}", error.to_string()))
            })
    }

    /// A parameter of the query, which may be there once.
    pub(super) fn query(&self, name: &str) -> Result<Option<String>, Problem> {
        let query = self.head.target.query().unwrap_or_default();
        let mut values = form_urlencoded::parse(query.as_bytes())
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned());
        let value = values.next();
        if values.next().is_some() {
            return Err(Problem::request_invalid(format!(
                "{name}: stands in the query more than once"
            )));
        }
        Ok(value)
    }

    /// How many entries a page may have; the default where nothing is said.
    pub(super) fn page_size(&self) -> Result<u32, Problem> {
        const DEFAULT: u32 = 30;
        match self.query("limit")?.map(|limit| limit.parse()) {
            None => Ok(DEFAULT),
            Some(Ok(limit @ 1..=100)) => Ok(limit),
            Some(_) => Err(Problem::request_invalid(
                "limit: must be a whole number from 1 to 100",
            )),
        }
    }
}

/// Derived structs accept a list of their members, too.
fn object(body: &[u8]) -> Result<&[u8], Problem> {
    if body.trim_ascii_start().starts_with(b"{") {
        return Ok(body);
    }
    let fault = strict_json::explain(body).unwrap_or(strict_json::Fault::NotAnObject);
    Err(unreadable(fault))
}

fn unreadable(fault: strict_json::Fault) -> Problem {
    Problem::request_invalid(match fault {
        strict_json::Fault::Empty => "the body is empty; send a JSON object".to_owned(),
        strict_json::Fault::LoneSurrogate => format!("the body has {fault}"),
        strict_json::Fault::Marked => format!("the body {fault}"),
        _ => format!("the body is {fault}"),
    })
}

fn misread(body: &[u8], error: &serde_json::Error) -> Problem {
    if let Some(fault) = strict_json::explain(body) {
        return unreadable(fault);
    }
    Problem::request_invalid(catalog::misread(body, error, "the body"))
}

/// Somebody who may do everything.
pub(crate) struct Operator(pub(super) Administrator);

impl Operator {
    /// Who the audit trail says it was.
    pub(super) fn actor(&self) -> &str {
        &self.0.name
    }
}

/// Somebody who may verify and moderate: a moderator or an operator.
pub(crate) struct Moderator(pub(super) Administrator);

impl Moderator {
    /// Who the audit trail says it was.
    pub(super) fn actor(&self) -> &str {
        &self.0.name
    }
}

/// Somebody who may read everything: any administrator but one for metrics alone.
pub(crate) struct Auditor;

/// Somebody who may read the metrics: any administrator.
pub(crate) struct MetricsReader(pub(super) Administrator);

impl MetricsReader {
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn role(&self) -> Role {
        self.0.role
    }
}
