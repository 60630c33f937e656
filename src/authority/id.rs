//! The ids that administrators and identity providers give.

use mcp_connect_catalog::is_dot_segment;

/// The longest id of a client, in bytes.
const MAX_CLIENT_ID_BYTES: usize = 256;

/// What [`is_client_id`] wants, for whoever gives another id.
pub(crate) const CLIENT_ID_FORM: &str = "1 to 256 visible ASCII characters without spaces, and neither \"*\" nor a dot segment (\".\" or \"..\", also written with \"%2e\")";

/// Says whether a text can be the id of a tenant: 1 to 128 letters, digits, ".", "_", ":" or "-".
/// Such ids go into URLs, logs and descriptors, and stand before other ids in keys, which a slash or
/// a space ends. A dot segment is none, since clients remove it from the path of a URL.
pub(crate) fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(allowed) && !is_dot_segment(text)
}

/// Says whether a text can be the id of a client: 1 to 256 visible ASCII characters. Identity
/// providers choose these ids, and many are URLs, paths or pairs (`https://app.example/client.json`,
/// `spiffe://example/agent`, `auth0|5f7c`, `repo:o/r:ref:refs/heads/main`).
///
/// A dot segment can't stand in a path, and `*` means every client in a policy.
pub(crate) fn is_client_id(text: &str) -> bool {
    (1..=MAX_CLIENT_ID_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && text != "*"
        && !is_dot_segment(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_id_is_visible_ascii() {
        for id in [
            "a",
            "desktop",
            "https://app.example/oauth/client.json?v=1#x",
            "spiffe://acme.example/ns/prod/sa/agent",
            "auth0|5f7c8ec7c33c6c004bbafe82",
            "repo:octo-org/octo-repo:ref:refs/heads/main",
            "abc@clients",
            "system:serviceaccount:ns:name",
            "arn:aws:iam::1:role/agent",
            "CN=agent,O=acme",
            "50%",
            "a~b\"c\\d'e",
            "...",
            "**",
            &"x".repeat(256),
        ] {
            assert!(is_client_id(id), "{id}");
        }
        for id in [
            "",
            " ",
            "a b",
            "a\tb",
            "a\n",
            "a\0",
            "a\u{7f}",
            "ä",
            "a\u{202e}",
            ".",
            "..",
            "%2e",
            ".%2E",
            "*",
            &"x".repeat(257),
        ] {
            assert!(!is_client_id(id), "{id:?}");
        }
    }

    #[test]
    fn a_tenants_id_can_be_told_from_what_follows_it() {
        for id in ["acme", "acme.example", "a:b", "a-b_c", &"x".repeat(128)] {
            assert!(is_id(id), "{id}");
        }
        for id in [
            "",
            "a/b",
            "a b",
            "a~b",
            "a|b",
            "a@b",
            "a%2Fb",
            ".",
            "..",
            &"x".repeat(129),
        ] {
            assert!(!is_id(id), "{id:?}");
        }
    }
}
