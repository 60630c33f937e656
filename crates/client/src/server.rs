use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ConnectError;

/// A server as discovery lists it. Its texts are the publisher's: escape them before showing.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Server {
    /// `namespace/name`.
    pub id: String,
    /// The version that this is about.
    pub version: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does.
    pub description: String,
    /// Where it listens. Not to be connected to without a descriptor, which signs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// `streamable_http`, where it has such an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Whether the authority has verified it.
    pub verified: bool,
    /// How far: `none`, `namespace`, `endpoint` or `operator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<String>,
    /// `active`, `deprecated`, `deleted`, `revoked` or `quarantined`.
    pub status: String,
    /// Its own key set, where the registry knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
}

/// One page of a search.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ServerPage {
    /// The servers, in the authority's order.
    pub servers: Vec<Server>,
    /// Where the next page begins; none: this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Everything that the authority tells about one server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ServerDetail {
    /// What discovery lists.
    #[serde(flatten)]
    pub summary: Server,
    /// When the version was published (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<String>,
    /// The digest of the version's `server.json`, which a policy can pin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why it has its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// Until when, where that is known (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_until: Option<String>,
    /// `server.json` as published.
    pub server: Value,
    /// All versions, when no single one was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<ServerVersion>,
}

/// One version of a server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ServerVersion {
    /// Which one.
    pub version: String,
    /// As [`Server::status`].
    pub status: String,
    /// Why, where the version is held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// When it was published (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<String>,
}

const MAX_SERVER_REF_CHARS: usize = 500;

/// `namespace/name` or `namespace/name@version`, split. Only the form that keeps it in its place in
/// a URL is checked; what names there may be is the authority's to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ServerRef<'a> {
    pub(crate) id: &'a str,
    pub(crate) namespace: &'a str,
    /// `name` or `name@version`.
    pub(crate) rest: &'a str,
    pub(crate) version: Option<&'a str>,
}

impl<'a> ServerRef<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, ConnectError> {
        let fault = |problem| Err(ConnectError::ServerRef(problem));
        if text.len() > MAX_SERVER_REF_CHARS {
            return fault("it is longer than 500 characters");
        }
        if !text.chars().all(|c| c.is_ascii_graphic()) {
            return fault("it has a space, a control character or a character outside ASCII");
        }
        let Some((namespace, rest)) = text.split_once('/') else {
            return fault("it has no slash");
        };
        let (id, version) = match text.split_once('@') {
            Some((id, version)) => (id, Some(version)),
            None => (text, None),
        };
        let name = rest.split('@').next().unwrap_or_default();
        if rest.contains('/') {
            return fault("it has more than one slash");
        }
        if namespace.contains('@') {
            return fault("the version comes before the name");
        }
        if [namespace, name]
            .iter()
            .any(|part| matches!(*part, "" | "." | ".."))
        {
            return fault("its namespace or name is empty or made of dots");
        }
        if version == Some("") {
            return fault("its version is empty");
        }
        Ok(Self {
            id,
            namespace,
            rest,
            version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_a_server_ref() {
        for (text, id, version) in [
            ("com.example/weather", "com.example/weather", None),
            (
                "com.example/weather@1.0.0-rc.1+x",
                "com.example/weather",
                Some("1.0.0-rc.1+x"),
            ),
            ("a/b@c@d", "a/b", Some("c@d")),
        ] {
            let parsed = ServerRef::parse(text).unwrap();
            assert_eq!((parsed.id, parsed.version), (id, version));
        }
    }

    #[test]
    fn refuses_what_would_leave_its_place_in_a_url() {
        let long = format!("a/{}", "b".repeat(500));
        for text in [
            "", "/", "a", "a/", "/b", "a/b/c", "../b", "a/..", "a/../b", "a/.@1", "a@1/b", "a/b@",
            "a/b c", "a/b\n", "a/ü", "a/@1", &long,
        ] {
            assert!(
                matches!(ServerRef::parse(text), Err(ConnectError::ServerRef(_))),
                "{text:?}"
            );
        }
    }
}
