//! Where an identity provider says which keys are its own.

use mcp_connect_descriptor::strict_json;
use serde_json::{Map, Value};

/// Where the keys of an identity provider come from.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct KeySource {
    pub(crate) issuer: String,
    /// `None`: the provider's metadata says.
    pub(crate) jwks_uri: Option<String>,
}

/// Why a document that a provider serves can't be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ServedFault {
    #[error("is no JSON object but a page (HTML or XML): check the URL")]
    Page,
    #[error("is no JSON object that can be read: {0}")]
    Unreadable(strict_json::Fault),
}

/// Reads a document that a provider serves. A byte order mark is skipped (RFC 8259, section 8.1).
pub(super) fn read_served(body: &[u8]) -> Result<Map<String, Value>, ServedFault> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    strict_json::from_slice(body).map_err(|fault| {
        if body.trim_ascii_start().starts_with(b"<") {
            ServedFault::Page
        } else {
            ServedFault::Unreadable(fault)
        }
    })
}

/// Why a provider's metadata can't be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum MetadataFault {
    #[error("its metadata {0}")]
    Unreadable(ServedFault),
    #[error("its metadata is of another issuer, {0:?}: the two must be equal to the letter")]
    OtherIssuer(String),
    #[error("its metadata has no jwks_uri")]
    NoKeys,
}

/// The longest issuer of a provider's metadata that an operator is shown.
const MAX_SHOWN_CHARS: usize = 256;

/// `OpenID` Connect Discovery 1.0 (section 4) appends to the issuer, RFC 8414 (section 3) puts the
/// name between host and path. They are tried in this order.
pub(crate) fn metadata_urls(issuer: &str) -> [String; 2] {
    let issuer = issuer.trim_end_matches('/');
    let path = issuer
        .find("://")
        .and_then(|scheme| {
            issuer
                .get(scheme + 3..)?
                .find('/')
                .map(|path| scheme + 3 + path)
        })
        .unwrap_or(issuer.len());
    let (origin, path) = issuer.split_at(path);
    [
        format!("{issuer}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ]
}

/// The URL of the keys, where the metadata is this issuer's.
pub(crate) fn jwks_uri(metadata: &[u8], issuer: &str) -> Result<String, MetadataFault> {
    let metadata = read_served(metadata).map_err(MetadataFault::Unreadable)?;
    let text = |member| metadata.get(member).and_then(Value::as_str);
    let named = text("issuer").unwrap_or_default();
    if named != issuer {
        let shown = named.chars().take(MAX_SHOWN_CHARS).collect();
        return Err(MetadataFault::OtherIssuer(shown));
    }
    text("jwks_uri")
        .map(str::to_owned)
        .ok_or(MetadataFault::NoKeys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_where_the_two_standards_put_it() {
        for (issuer, openid, oauth) in [
            (
                "https://id.example",
                "https://id.example/.well-known/openid-configuration",
                "https://id.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://id.example:8443/realms/a/",
                "https://id.example:8443/realms/a/.well-known/openid-configuration",
                "https://id.example:8443/.well-known/oauth-authorization-server/realms/a",
            ),
        ] {
            assert_eq!(metadata_urls(issuer), [openid, oauth]);
        }
    }

    #[test]
    fn metadata_of_another_issuer_is_none() {
        let issuer = "https://id.example";
        let keys = r#""jwks_uri":"https://id.example/keys""#;
        for (metadata, result) in [
            (
                format!(r#"{{"issuer":"{issuer}",{keys}}}"#),
                Ok("https://id.example/keys".into()),
            ),
            (
                format!(r#"{{"issuer":"{issuer}/",{keys}}}"#),
                Err(MetadataFault::OtherIssuer(format!("{issuer}/"))),
            ),
            (
                format!("{{{keys}}}"),
                Err(MetadataFault::OtherIssuer(String::new())),
            ),
            (
                format!(r#"{{"issuer":"{issuer}"}}"#),
                Err(MetadataFault::NoKeys),
            ),
            (
                format!(r#"{{"issuer":"{issuer}","jwks_uri":7}}"#),
                Err(MetadataFault::NoKeys),
            ),
            (
                format!(r#"{{"issuer":"x","issuer":"{issuer}",{keys}}}"#),
                Err(MetadataFault::Unreadable(ServedFault::Unreadable(
                    strict_json::Fault::Duplicate,
                ))),
            ),
            (
                format!("\u{feff}{{\"issuer\":\"{issuer}\",{keys}}}"),
                Ok("https://id.example/keys".into()),
            ),
            (
                "<html>".into(),
                Err(MetadataFault::Unreadable(ServedFault::Page)),
            ),
        ] {
            assert_eq!(jwks_uri(metadata.as_bytes(), issuer), result, "{metadata}");
        }
    }
}
