use url::Url;

/// Longer than any endpoint that an authority knows.
const MAX_BYTES: usize = 2 * 1024;

/// The URI of an HTTP request without query and fragment, in the one spelling by which two of them
/// are compared (RFC 9449, section 4.3; RFC 3986, sections 6.2.2 and 6.2.3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TargetUri(String);

impl TargetUri {
    /// `None`: not an absolute http or https URI in ASCII of at most 2 KiB, or one with credentials.
    pub fn parse(uri: &str) -> Option<Self> {
        // What the URL standard would mend is not the URI that was written.
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        if uri.len() > MAX_BYTES || !uri.bytes().all(is_plain) {
            return None;
        }
        let (scheme, rest) = uri.split_once("://")?;
        let is_http = ["http", "https"]
            .iter()
            .any(|http| scheme.eq_ignore_ascii_case(http));
        if !is_http || rest.starts_with('/') {
            return None;
        }
        let url = Url::parse(uri).ok()?;
        if !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let normal = url.origin().ascii_serialization() + &normal_path(url.path())?;
        // Escapes make it longer.
        (normal.len() <= MAX_BYTES).then_some(Self(normal))
    }

    /// The URI itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Escapes are written in capitals, and not at all where none is needed (RFC 3986, section 6.2.2).
/// The URL standard leaves them as they are.
fn normal_path(path: &str) -> Option<String> {
    let mut pieces = path.split('%');
    let mut normal = pieces.next()?.to_owned();
    for piece in pieces {
        let (escape, rest) = piece.split_at_checked(2)?;
        if !escape.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let char = char::from(u8::from_str_radix(escape, 16).ok()?);
        if char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_' | '~') {
            normal.push(char);
        } else {
            normal.push('%');
            normal.push_str(&escape.to_ascii_uppercase());
        }
        normal.push_str(rest);
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_uri_has_one_spelling() {
        for (uri, normal) in [
            ("https://mcp.example", "https://mcp.example/"),
            ("HTTPS://MCP.Example:443/", "https://mcp.example/"),
            ("http://127.0.0.1:80/mcp", "http://127.0.0.1/mcp"),
            ("https://mcp.example:80/mcp", "https://mcp.example:80/mcp"),
            ("https://mcp.example/mcp?a=b#c", "https://mcp.example/mcp"),
            (
                "https://mcp.example/a/./b/../mcp",
                "https://mcp.example/a/mcp",
            ),
            (
                "https://mcp.example/a/%2e%2E/mcp",
                "https://mcp.example/mcp",
            ),
            ("https://mcp.example/%6d%63p", "https://mcp.example/mcp"),
            ("https://mcp.example/a%2fb", "https://mcp.example/a%2Fb"),
            ("https://[0:0::1]/mcp", "https://[::1]/mcp"),
            // A slash at the end, and the case of a path, mean something.
            ("https://mcp.example/mcp/", "https://mcp.example/mcp/"),
            ("https://mcp.example/MCP", "https://mcp.example/MCP"),
        ] {
            assert_eq!(TargetUri::parse(uri).unwrap().as_str(), normal, "{uri}");
        }
    }

    #[test]
    fn refuses_what_is_no_uri_of_a_request() {
        for uri in [
            "",
            "/mcp",
            "mcp.example/mcp",
            "ftp://mcp.example/mcp",
            "https://",
            "https:mcp.example/mcp",
            "https:/mcp.example/mcp",
            "https:///mcp.example/mcp",
            "https://user@mcp.example/mcp",
            "https://:secret@mcp.example/mcp",
            "https://mcp.example\\mcp",
            "https://mcp.example/m cp",
            " https://mcp.example/mcp",
            "https://mcp.example/\u{fc}",
            "https://mcp.example/%",
            "https://mcp.example/%2",
            "https://mcp.example/%zz",
            "https://mcp.example/%+1",
        ] {
            assert_eq!(TargetUri::parse(uri), None, "{uri}");
        }
        let long = format!("https://mcp.example/{}", "x".repeat(MAX_BYTES));
        assert_eq!(TargetUri::parse(&long), None);
        let escaped = format!("https://mcp.example/{}", "\"".repeat(MAX_BYTES / 2));
        assert_eq!(TargetUri::parse(&escaped), None);
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(uri in "https?://[a-z.:0-9]{1,12}/[ -~]{0,40}") {
            if let Some(target) = TargetUri::parse(&uri) {
                prop_assert_eq!(TargetUri::parse(target.as_str()), Some(target));
            }
        }
    }
}
