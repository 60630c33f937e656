//! URLs as the rules of registries look at them: more leniently than a client may.

/// What the rules want to know of a URL.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct SplitUrl {
    /// In lower case; empty, where there is none.
    pub(crate) scheme: String,
    /// Without a port; empty, where there is none.
    pub(crate) host: String,
}

impl SplitUrl {
    /// `None` for what can't be a URL at all.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.chars().any(char::is_control) || !has_whole_escapes(text) {
            return None;
        }
        let is_scheme = |scheme: &str| {
            scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        };
        let before_path = text.split(['/', '?', '#']).next()?;
        let (scheme, rest) = match before_path.split_once(':') {
            Some((scheme, _)) if is_scheme(scheme) => (scheme, text.get(scheme.len() + 1..)?),
            Some(_) => return None,
            None => ("", text),
        };
        let host = match rest.strip_prefix("//") {
            Some(rest) => host(rest.split(['/', '?', '#']).next()?)?,
            None => "",
        };
        Some(Self {
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_ascii_lowercase(),
        })
    }

    /// Whether it leads somewhere over HTTP.
    pub(crate) fn is_http(&self) -> bool {
        matches!(self.scheme.as_str(), "http" | "https") && !self.host.is_empty()
    }
}

fn host(authority: &str) -> Option<&str> {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (host, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    // With it, the host ends elsewhere for browsers.
    let is_user = !user.contains('\\');
    let is_host = !host.contains(|char| " \"<>\\^`{|}".contains(char));
    (is_user && is_host && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)))
        .then_some(host)
}

fn has_whole_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        rest.get(..2)
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

/// The names in braces.
pub(crate) fn template_variables(url: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = url;
    while let Some((_, name, after)) = split_template(rest) {
        names.push(name);
        rest = after;
    }
    names
}

/// The URL with something in the place of each variable that could stand there.
pub(crate) fn fill_template(url: &str) -> String {
    let named = |name: &str| match name {
        "host" => Some("example.com"),
        "port" => Some("8080"),
        "path" => Some("api"),
        "protocol" | "scheme" => Some("http"),
        _ => None,
    };
    fill(url, named, "placeholder")
}

/// … with a public host in the place of each: what is found of the host is what stands beside them.
pub(crate) fn fill_with_hosts(url: &str) -> String {
    let named = |name: &str| (name == "port").then_some("8080");
    fill(url, named, "example.com")
}

/// … with one text in the place of each that is not a port.
pub(crate) fn fill_with(url: &str, other: &'static str) -> String {
    fill(url, |_| None, other)
}

/// The names in braces that stand before the path: in what says who answers.
pub(crate) fn host_variables(url: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = url.split_once("://").map_or("", |(_, rest)| rest);
    while let Some((before, name, after)) = split_template(rest) {
        if before.contains(['/', '\\', '?', '#']) {
            break;
        }
        names.push(name);
        rest = after;
    }
    names
}

fn fill(url: &str, named: fn(&str) -> Option<&'static str>, other: &'static str) -> String {
    let mut filled = String::new();
    let mut rest = url;
    while let Some((before, name, after)) = split_template(rest) {
        filled.push_str(before);
        let is_port = filled.ends_with(':') && (after.is_empty() || after.starts_with('/'));
        let other = if is_port { "8080" } else { other };
        filled.push_str(named(name).unwrap_or(other));
        rest = after;
    }
    filled + rest
}

fn split_template(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    (!name.is_empty()).then_some((before, name, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> Option<(String, String)> {
        SplitUrl::parse(text).map(|url| (url.scheme, url.host))
    }

    #[test]
    fn urls_are_split() {
        for (text, scheme, host) in [
            ("https://example.com/a?b#c", "https", "example.com"),
            ("HTTPS://Example.com:8080", "https", "example.com"),
            ("https://user:pw@example.com", "https", "example.com"),
            ("https://[::1]:80/", "https", "::1"),
            ("https:///x", "https", ""),
            ("https://has blanks.in/the path", "", "-"),
            ("https://example.com/the path", "https", "example.com"),
            ("data:image/png;base64,AA", "data", ""),
            ("example.com/docs", "", ""),
            ("/icon.png", "", ""),
            ("", "", ""),
        ] {
            let expected = (host != "-").then(|| (scheme.to_owned(), host.to_owned()));
            assert_eq!(split(text), expected, "{text}");
        }
        for text in [
            ":foo",
            "1a:b",
            "https://example.com/\n",
            "https://example.com/%zz",
            "https://example.com/%4",
            "https://example.com:port/",
            "https://[::1/",
            "https://{host}/",
            "https://10.0.0.1\\@example.com/",
        ] {
            assert_eq!(split(text), None, "{text}");
        }
    }

    #[test]
    fn variables_are_filled_in() {
        for (url, filled) in [
            (
                "{scheme}://{host}:{port}/{path}",
                "http://example.com:8080/api",
            ),
            (
                "https://{tenant}.x.y:{p}/{id}",
                "https://placeholder.x.y:8080/placeholder",
            ),
            ("https://x.y:{p}", "https://x.y:8080"),
            ("https://x.y/{}/{a", "https://x.y/{}/{a"),
        ] {
            assert_eq!(fill_template(url), filled);
        }
        assert_eq!(
            fill_with_hosts("https://{a}@{b}.x:{p}/"),
            "https://example.com@example.com.x:8080/"
        );
        assert_eq!(template_variables("{a}{b}/{a}"), ["a", "b", "a"]);
        assert_eq!(
            host_variables("https://{a}.{b/c}:{d}/{e}"),
            ["a", "b/c", "d"]
        );
        assert_eq!(host_variables("https://x?{e}"), [] as [&str; 0]);
    }

    proptest! {
        #[test]
        fn what_clients_find_the_rules_find(text in "https?://[a-zA-Z0-9.-]{1,20}(:[0-9]{1,4})?/[a-z{}?#@:]*") {
            if let Ok(url) = ::url::Url::parse(&text) {
                let split = SplitUrl::parse(&text).unwrap();
                prop_assert_eq!(split.scheme.as_str(), url.scheme());
                if let Some(domain) = url.domain() {
                    prop_assert_eq!(split.host.as_str(), domain);
                }
            }
        }

        #[test]
        fn any_text_is_answered(text in "\\PC*") {
            let _ = SplitUrl::parse(&fill_template(&text));
            let _ = template_variables(&text);
        }
    }
}
