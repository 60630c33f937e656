//! Paths that are not spelled as our routes are: from base URLs that end in a slash or already name a version
//! of the API, with a server's name whose slash is not encoded, in upper case. A path that can mean only one
//! endpoint leads there, and never to another host; any other is not found, and is told how paths are built.

use super::routes::{self, FILES};

/// The versions of the APIs, below each of which clients build their paths.
const VERSIONS: [&str; 3] = ["v0.1", "v0", "v1"];
/// The parts of the API that a client may have left out of its base URL.
const BASES: [&str; 3] = ["v0.1", "v1", ".well-known"];
/// No path of ours has more segments, whatever stands before it.
const MAX_SEGMENTS: usize = 16;

/// What a path means.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Address {
    /// What it says, be it an endpoint or nothing.
    AsWritten,
    /// The endpoint at this path. It is answered in place: a proxy that decodes `%2F` would follow a
    /// redirect for ever.
    SameAs(String),
    /// The endpoint is at this path, where the client has to ask.
    MovedTo(String),
}

/// Reads a path. `is_known` says whether the router finds it.
pub(super) fn read(path: &str, is_known: bool) -> Address {
    let segments: Vec<&str> = segments(path).collect();
    if segments.len() > MAX_SEGMENTS
        || is_known && !may_be_misread(&segments)
        || is_own_misspelled(path)
    {
        return Address::AsWritten;
    }
    let tidy = format!("/{}", segments.join("/"));
    if path.ends_with('/') && !is_registry(&segments) && has_items(&tidy) {
        return Address::AsWritten;
    }
    match meant(&segments).as_slice() {
        [only] if only == path => Address::AsWritten,
        [only] if path == tidy && same_segments(only, path) => Address::SameAs(only.clone()),
        [only] => Address::MovedTo(only.clone()),
        // As the official registry does, whatever is found there.
        _ if path.ends_with('/') && may_end_in_slash(path, &segments) => Address::MovedTo(tidy),
        _ => Address::AsWritten,
    }
}

/// Tells who asked for a path at which nothing is how to ask.
pub(super) fn advice(path: &str) -> String {
    let segments: Vec<&str> = segments(path).take(MAX_SEGMENTS).collect();
    let hint = match meant(&segments).join(" or ") {
        paths if paths.is_empty() => String::new(),
        paths => format!("did you mean {paths}? "),
    };
    format!(
        "there is no such endpoint: {hint}a client's base URL is this host alone, without a path; the registry is \
         below /v0.1, where the slash of a server's name is written %2F, and the authority's own API \
         below /v1 (see /openapi.yaml)",
    )
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// The paths of ours that these segments can mean.
fn meant(segments: &[&str]) -> Vec<String> {
    let as_given = canonical(segments);
    // A base URL that is an endpoint, or names a version, stands before the path.
    let without_base = || {
        (1..segments.len())
            .filter(|&start| segments.get(..start).is_some_and(is_base))
            .find_map(|start| canonical(segments.get(start..)?))
    };
    if let Some(path) = as_given.or_else(without_base) {
        return vec![path];
    }
    BASES
        .iter()
        .filter_map(|base| canonical(&[&[*base], segments].concat()))
        .collect()
}

fn is_base(segments: &[&str]) -> bool {
    match segments {
        [version] => VERSIONS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(version)),
        ["v1", "admin"] => true,
        _ => canonical(segments).is_some(),
    }
}

/// The path of the route that these segments spell, with a server's name as that route wants it.
fn canonical(segments: &[&str]) -> Option<String> {
    let renamed = renamed(segments);
    let renamed = renamed
        .as_ref()
        .map(|segments| segments.iter().map(String::as_str).collect::<Vec<_>>());
    renamed
        .iter()
        .map(Vec::as_slice)
        .chain([segments])
        .find_map(|segments| {
            routes::templates()
                .chain(FILES.map(|file| ("", file)))
                .find_map(|(prefix, template)| fitted(prefix, template, segments))
        })
}

/// The path, if each segment stands where the template has it, in upper or lower case.
fn fitted(prefix: &str, template: &str, segments: &[&str]) -> Option<String> {
    let mut path = String::new();
    let mut given = segments.iter();
    for part in self::segments(prefix).chain(self::segments(template)) {
        let segment = given.next()?;
        path.push('/');
        if part.starts_with('{') {
            path.push_str(segment);
        } else if part.eq_ignore_ascii_case(segment) {
            path.push_str(part);
        } else {
            return None;
        }
    }
    given.next().is_none().then_some(path)
}

/// The segments with the server's name in the other spelling: one segment for the registry, two for
/// the authority's own API.
fn renamed(segments: &[&str]) -> Option<Vec<String>> {
    let at = 1 + segments
        .iter()
        .position(|part| part.eq_ignore_ascii_case("servers"))?;
    let (before, name) = segments.split_at_checked(at)?;
    let (name, after) = if is_registry(segments) {
        match name {
            // Encoded twice, by a client and by a proxy.
            [name, after @ ..] if name.contains("%252") => {
                let (namespace, name) = halves(name)?;
                (vec![format!("{namespace}%2F{name}")], after)
            }
            [namespace, name, after @ ..] if !has_slash(namespace) && !has_slash(name) => {
                (vec![format!("{namespace}%2F{name}")], after)
            }
            _ => return None,
        }
    } else {
        let [name, after @ ..] = name else {
            return None;
        };
        let (namespace, name) = halves(name)?;
        (vec![namespace.to_owned(), name.to_owned()], after)
    };
    let owned = |part: &&str| (*part).to_owned();
    Some(
        before
            .iter()
            .map(owned)
            .chain(name)
            .chain(after.iter().map(owned))
            .collect(),
    )
}

/// Whether a path of the authority's own API is spelled as no client of it does: `/V1/connect`, `/v1//servers`.
/// Registries' clients append to a base URL that somebody typed; clients of this API do not.
fn is_own_misspelled(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    first.eq_ignore_ascii_case("v1") && (first != "v1" || path.contains("//"))
}

/// How the slash of a name may have been encoded.
const SLASHES: [&str; 4] = ["%252F", "%252f", "%2F", "%2f"];

fn halves(name: &str) -> Option<(&str, &str)> {
    SLASHES.iter().find_map(|slash| name.split_once(slash))
}

fn has_slash(segment: &str) -> bool {
    segment.contains("%2F") || segment.contains("%2f")
}

fn is_registry(segments: &[&str]) -> bool {
    let first = segments.first();
    first
        .is_some_and(|first| first.eq_ignore_ascii_case("v0") || first.eq_ignore_ascii_case("v0.1"))
}

/// Whether the router may have taken half of a name for a whole one, or the other way round:
/// `/v0.1/servers/com.example/versions/versions`, `/v1/servers/com.example%2Fweather/challenge`.
fn may_be_misread(segments: &[&str]) -> bool {
    match segments {
        ["v0" | "v0.1", "servers", name, ..] => !has_slash(name),
        ["v1", "servers", namespace, ..] | ["v1", "admin", "servers", namespace, ..] => {
            halves(namespace).is_some()
        }
        _ => false,
    }
}

/// Whether two tidy paths differ in the spelling of a name alone.
fn same_segments(one: &str, other: &str) -> bool {
    let spelled = |path: &str| {
        let path = path.to_owned();
        SLASHES
            .iter()
            .fold(path, |path, slash| path.replace(slash, "/"))
    };
    spelled(one) == spelled(other)
}

/// Whether a list is here whose items are named by the next segment. With a slash at its end it may be what a URL
/// parser made of `/v1/servers/com.example/..`, which asks for an item and must not be shown the list.
fn has_items(path: &str) -> bool {
    routes::templates().any(|(prefix, template)| {
        let below = template.strip_prefix(path).filter(|_| prefix.is_empty());
        below.is_some_and(|below| below.starts_with("/{"))
    })
}

fn may_end_in_slash(path: &str, segments: &[&str]) -> bool {
    path.starts_with("//") || matches!(segments, ["v0" | "v0.1", ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes::Router;

    fn at(path: &str) -> Address {
        read(path, Router::new().knows(path))
    }

    fn moved(path: &str) -> Address {
        Address::MovedTo(path.into())
    }

    fn same(path: &str) -> Address {
        Address::SameAs(path.into())
    }

    #[test]
    fn what_routes_find_is_as_written() {
        for path in [
            "/v0.1/servers",
            "/v0.1/servers/com.example%2Fweather/versions/latest",
            "/v0.1/servers/weather/versions",
            "/v0.1/servers/weather/versions/latest",
            "/v1/servers/com.example/weather",
            "/v1/servers/com.example%2Fweather/tool",
            "/v1/servers/com.example/servers",
            "/v1/admin/clients/a%2Fb/suspend",
            "/healthz",
        ] {
            assert_eq!(at(path), Address::AsWritten, "{path}");
        }
    }

    #[test]
    fn a_base_url_may_end_in_slashes_or_name_a_part_of_the_api() {
        for (path, place) in [
            ("//v0.1/servers", "/v0.1/servers"),
            ("///v0.1//servers//", "/v0.1/servers"),
            ("/v0.1//servers", "/v0.1/servers"),
            ("//v0/publish", "/v0/publish"),
            ("//v1/connect", "/v1/connect"),
            ("//.well-known/jwks.json", "/.well-known/jwks.json"),
            ("/v1/connect/", "/v1/connect"),
            (
                "/v1/servers/com.example/weather/",
                "/v1/servers/com.example/weather",
            ),
            ("//v1/admin/clients", "/v1/admin/clients"),
            ("/healthz/", "/healthz"),
            ("/openapi.yaml/", "/openapi.yaml"),
            ("/v0.1/v0.1/servers", "/v0.1/servers"),
            ("/v0.1//v0.1/servers/", "/v0.1/servers"),
            ("/v0/v0.1/servers", "/v0.1/servers"),
            ("/v0.1/v0/publish", "/v0/publish"),
            ("/v1/v1/connect", "/v1/connect"),
            ("/v1/v0.1/servers", "/v0.1/servers"),
            ("/v0.1/v1/connect", "/v1/connect"),
            ("/v0.1/servers/v0.1/servers", "/v0.1/servers"),
            ("/v1/connect/v1/connect", "/v1/connect"),
            ("/v1/admin/v1/admin/clients", "/v1/admin/clients"),
            ("/v0.1/.well-known/jwks.json", "/.well-known/jwks.json"),
            ("/v0.1/healthz", "/healthz"),
            ("/v0.1/docs", "/docs"),
            ("/V0.1/Servers", "/v0.1/servers"),
            ("/Healthz", "/healthz"),
            ("/publish", "/v0.1/publish"),
            ("/connect", "/v1/connect"),
            ("/jwks.json", "/.well-known/jwks.json"),
            (
                "/v0.1/v0.1/servers/com.example%2Fweather/versions/1.0.0",
                "/v0.1/servers/com.example%2Fweather/versions/1.0.0",
            ),
            (
                "//v0.1/servers/com.example/weather/versions/latest",
                "/v0.1/servers/com.example%2Fweather/versions/latest",
            ),
            (
                "/V0.1/servers/com.example/Weather/VERSIONS",
                "/v0.1/servers/com.example%2FWeather/versions",
            ),
        ] {
            assert_eq!(at(path), moved(place), "{path}");
        }
    }

    #[test]
    fn a_name_may_have_the_slash_of_the_other_api() {
        for (path, place) in [
            (
                "/v0.1/servers/com.example/weather/versions",
                "/v0.1/servers/com.example%2Fweather/versions",
            ),
            (
                "/v0/servers/com.example/weather/versions/latest",
                "/v0/servers/com.example%2Fweather/versions/latest",
            ),
            (
                "/v0.1/servers/com.example/weather/versions/1.0.0/status",
                "/v0.1/servers/com.example%2Fweather/versions/1.0.0/status",
            ),
            (
                "/v0.1/servers/com.example/weather/status",
                "/v0.1/servers/com.example%2Fweather/status",
            ),
            (
                "/v0.1/servers/com.example/versions/versions",
                "/v0.1/servers/com.example%2Fversions/versions",
            ),
            (
                "/v0.1/servers/com.example/versions/versions/versions",
                "/v0.1/servers/com.example%2Fversions/versions/versions",
            ),
            (
                "/v1/servers/com.example%2Fweather",
                "/v1/servers/com.example/weather",
            ),
            (
                "/v0.1/servers/com.example%252Fweather/versions/latest",
                "/v0.1/servers/com.example%2Fweather/versions/latest",
            ),
            (
                "/v1/servers/com.example%252fweather/challenge",
                "/v1/servers/com.example/weather/challenge",
            ),
            (
                "/v1/servers/com.example%2fweather/challenge",
                "/v1/servers/com.example/weather/challenge",
            ),
            (
                "/v1/admin/servers/com.example%2Fweather/revoke",
                "/v1/admin/servers/com.example/weather/revoke",
            ),
        ] {
            assert_eq!(at(path), same(place), "{path}");
        }
    }

    #[test]
    fn what_could_mean_several_or_nothing_is_told_so() {
        for path in [
            "/",
            "/servers",
            "/nothing",
            "/v0.1",
            "/v2/servers",
            "/evil.com/v0.1/servers",
            "//evil.com",
            "/v1/servers/",
            "/v1/admin/clients/",
            "/V1/connect",
            "/v1//servers",
            "/v0.1/servers/a/b/c/versions",
        ] {
            assert_eq!(at(path), Address::AsWritten, "{path}");
        }
        assert!(advice("/servers").contains("did you mean /v0.1/servers or /v1/servers?"));
        for path in ["/servers", "/nothing", "/v0.1/servers/a/b/c"] {
            assert!(
                advice(path).contains("%2F") && advice(path).contains("/v0.1"),
                "{path}"
            );
        }
    }

    #[test]
    fn no_path_leads_to_another_host() {
        for (path, place) in [
            ("//evil.com/", "/evil.com"),
            ("///evil.com//foo/", "/evil.com/foo"),
            ("/v0.1/nothing/", "/v0.1/nothing"),
        ] {
            assert_eq!(at(path), moved(place), "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whoever_follows_arrives_on_this_host(parts in proptest::collection::vec("|/|v0.1|V1|servers|connect|a%2Fb|com.example|versions|evil.com", 0..12)) {
            let mut path = format!("/{}", parts.join("/"));
            let mut hops = 0;
            loop {
                hops += 1;
                assert!(hops < 4, "{path} leads round and round");
                match at(&path) {
                    Address::MovedTo(place) => {
                        assert!(place.starts_with('/') && !place.starts_with("//"), "{path}: {place}");
                        path = place;
                    }
                    Address::SameAs(place) => {
                        assert!(Router::new().knows(&place), "{path}: {place}");
                        break;
                    }
                    Address::AsWritten => break,
                }
            }
        }
    }
}
