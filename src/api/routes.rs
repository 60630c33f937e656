//! Every endpoint that there is: where, by which method, who may ask, and what then answers.

use http::Method;
use mcp_connect_catalog::is_dot_segment;
use percent_encoding::percent_decode_str;

use super::{
    admin::{
        administrators, audit, cache, client_keys, clients, health as endpoint_health, import,
        keys, mirror, moderation, policy, proofs, providers, purge, revocations as withdrawals,
        servers as admin_servers, stats, tenants, token_test,
    },
    call::{Answer, Auditor, Call, MetricsReader, Moderator, Operator},
    changes, connect, health,
    parameters::Parameters::{self, Any, Only},
    registry::{self, Refusal},
    revocations, servers, well_known,
};

const MAX_BODY_BYTES: usize = 8 * 1024;
/// A server.json: a list of a hundred must fit into memory more than once.
const MAX_SERVER_BYTES: usize = 64 * 1024;
const MAX_IMPORT_BYTES: usize = 1024 * 1024;
const MAX_POLICY_BYTES: usize = 256 * 1024;
/// An access token in JSON.
const MAX_TOKEN_BODY_BYTES: usize = 16 * 1024;

/// Whoever may not ask never reaches the function.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    Anyone(fn(&Call) -> Answer<'_>),
    MetricsReader(for<'a> fn(&'a Call, &'a MetricsReader) -> Answer<'a>),
    Auditor(for<'a> fn(&'a Call, &'a Auditor) -> Answer<'a>),
    Moderator(for<'a> fn(&'a Call, &'a Moderator) -> Answer<'a>),
    Operator(for<'a> fn(&'a Call, &'a Operator) -> Answer<'a>),
}

macro_rules! anyone {
    ($handler:path) => {
        Handler::Anyone(|call| Box::pin($handler(call)))
    };
}

macro_rules! metrics_reader {
    ($handler:path) => {
        Handler::MetricsReader(|call, reader| Box::pin($handler(call, reader)))
    };
}

macro_rules! auditor {
    ($handler:path) => {
        Handler::Auditor(|call, auditor| Box::pin($handler(call, auditor)))
    };
}

macro_rules! moderator {
    ($handler:path) => {
        Handler::Moderator(|call, moderator| Box::pin($handler(call, moderator)))
    };
}

macro_rules! operator {
    ($handler:path) => {
        Handler::Operator(|call, operator| Box::pin($handler(call, operator)))
    };
}

/// A handler that tells errors as registries do.
macro_rules! registry {
    ($handler:path) => {
        Handler::Anyone(|call| {
            Box::pin(async move { Ok($handler(call).await.unwrap_or_else(Refusal::into_response)) })
        })
    };
}

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

/// Method, path, the parameters of its query, and who answers.
type Route = (Method, &'static str, Parameters, Handler);

const NONE: Parameters = Only(&[]);
/// Of a list without filters.
const LIST: Parameters = Only(&["cursor", "limit"]);

#[rustfmt::skip]
static ROUTES: [Route; 68] = [
    (POST, "/v1/connect", NONE, anyone!(connect::connect)),
    (GET, "/v1/servers", Only(&["query", "cursor", "limit"]), anyone!(servers::list)),
    (GET, "/v1/servers/{namespace}/{name}", NONE, anyone!(servers::detail)),
    (GET, "/v1/servers/{namespace}/{name}/challenge", NONE, anyone!(servers::challenge)),
    (GET, "/v1/changes", Only(&["after", "limit"]), anyone!(changes::list)),
    (GET, "/v1/revocations", NONE, anyone!(revocations::feed_of_all)),
    (GET, "/.well-known/jwks.json", Any, anyone!(well_known::jwks)),
    (GET, "/.well-known/mcp-connect-authority", Any, anyone!(well_known::authority)),
    (GET, "/healthz", Any, anyone!(health::health)),

    (GET, "/v1/admin/whoami", NONE, metrics_reader!(administrators::whoami)),
    (GET, "/v1/admin/administrators", LIST, auditor!(administrators::list)),
    (POST, "/v1/admin/administrators", NONE, operator!(administrators::create)),
    (POST, "/v1/admin/administrators/{name}/suspend", NONE, operator!(administrators::suspend)),
    (POST, "/v1/admin/administrators/{name}/resume", NONE, operator!(administrators::resume)),
    (POST, "/v1/admin/administrators/{name}/role", NONE, operator!(administrators::set_role)),
    (POST, "/v1/admin/administrators/{name}/access-identity", NONE, operator!(administrators::set_access_identity)),
    (GET, "/v1/admin/administrators/{name}/keys", NONE, auditor!(administrators::list_keys)),
    (POST, "/v1/admin/administrators/{name}/keys", NONE, operator!(administrators::create_key)),
    (POST, "/v1/admin/administrators/{name}/keys/rotate", NONE, operator!(administrators::rotate_keys)),
    (POST, "/v1/admin/administrators/{name}/keys/{key_id}/revoke", NONE, operator!(administrators::revoke_key)),

    (GET, "/v1/admin/tenants", LIST, auditor!(tenants::list)),
    (POST, "/v1/admin/tenants", NONE, operator!(tenants::create)),
    (GET, "/v1/admin/tenants/{tenant_id}", NONE, auditor!(tenants::show)),
    (POST, "/v1/admin/tenants/{tenant_id}/suspend", NONE, operator!(tenants::suspend)),
    (POST, "/v1/admin/tenants/{tenant_id}/resume", NONE, operator!(tenants::resume)),
    (GET, "/v1/admin/tenants/{tenant_id}/identity-providers", NONE, auditor!(providers::list)),
    (POST, "/v1/admin/tenants/{tenant_id}/identity-providers", NONE, operator!(providers::add)),
    (POST, "/v1/admin/tenants/{tenant_id}/identity-providers/remove", NONE, operator!(providers::remove)),
    (POST, "/v1/admin/identity-providers/test", NONE, moderator!(token_test::test)),
    (GET, "/v1/admin/tenants/{tenant_id}/policy", Only(&["version"]), auditor!(policy::show)),
    (POST, "/v1/admin/tenants/{tenant_id}/policy", NONE, operator!(policy::write)),
    (GET, "/v1/admin/tenants/{tenant_id}/policy/history", LIST, auditor!(policy::history)),
    (GET, "/v1/admin/policy", Only(&["version"]), auditor!(policy::show)),
    (POST, "/v1/admin/policy", NONE, operator!(policy::write)),
    (GET, "/v1/admin/policy/history", LIST, auditor!(policy::history)),
    (POST, "/v1/admin/policy/explain", NONE, auditor!(policy::explain)),

    (GET, "/v1/admin/clients", LIST, auditor!(clients::list)),
    (POST, "/v1/admin/clients", NONE, operator!(clients::create)),
    (POST, "/v1/admin/clients/{client_id}/suspend", NONE, moderator!(clients::suspend)),
    (POST, "/v1/admin/clients/{client_id}/resume", NONE, moderator!(clients::resume)),
    (GET, "/v1/admin/clients/{client_id}/keys", NONE, auditor!(client_keys::list)),
    (POST, "/v1/admin/clients/{client_id}/keys", NONE, operator!(client_keys::create)),
    (POST, "/v1/admin/clients/{client_id}/keys/rotate", NONE, operator!(client_keys::rotate)),
    (POST, "/v1/admin/clients/{client_id}/keys/{key_id}/revoke", NONE, operator!(client_keys::revoke)),

    (POST, "/v1/admin/import", NONE, operator!(import::import)),
    (POST, "/v1/admin/cache/rebuild", NONE, operator!(cache::rebuild)),
    (POST, "/v1/admin/purge", NONE, operator!(purge::purge)),
    (GET, "/v1/admin/servers", Only(&["servers", "state", "level", "source", "cursor", "limit"]), auditor!(admin_servers::list)),
    (GET, "/v1/admin/servers/{namespace}/{name}/proofs", NONE, auditor!(proofs::list)),
    (POST, "/v1/admin/servers/{namespace}/{name}/prove", NONE, moderator!(proofs::prove)),
    (POST, "/v1/admin/servers/{namespace}/{name}/verify", NONE, moderator!(proofs::verify)),
    (POST, "/v1/admin/servers/{namespace}/{name}/unverify", NONE, moderator!(proofs::unverify)),
    (GET, "/v1/admin/servers/{namespace}/{name}/health", NONE, auditor!(endpoint_health::show)),
    (POST, "/v1/admin/servers/{namespace}/{name}/probe", NONE, moderator!(endpoint_health::probe)),
    (GET, "/v1/admin/moderation", Only(&["state", "namespace", "cursor", "limit"]), auditor!(moderation::list)),
    (POST, "/v1/admin/servers/{namespace}/{name}/quarantine", NONE, moderator!(moderation::quarantine)),
    (POST, "/v1/admin/servers/{namespace}/{name}/revoke", NONE, moderator!(moderation::revoke)),
    (POST, "/v1/admin/servers/{namespace}/{name}/reinstate", NONE, moderator!(moderation::reinstate)),

    (GET, "/v1/admin/mirror", NONE, auditor!(mirror::show)),
    (GET, "/v1/admin/mirror/poison", LIST, auditor!(mirror::list_poison)),
    (POST, "/v1/admin/mirror/sync", NONE, operator!(mirror::sync)),

    (GET, "/v1/admin/keys", NONE, auditor!(keys::list)),
    (GET, "/v1/admin/revocations", LIST, auditor!(withdrawals::list)),
    (POST, "/v1/admin/revocations", NONE, operator!(withdrawals::revoke)),
    (GET, "/v1/admin/audit", Only(&audit::FILTERS), auditor!(audit::list)),
    (GET, "/v1/admin/audit/export", Only(&["after"]), auditor!(audit::export)),
    (GET, "/v1/admin/stats", NONE, auditor!(stats::stats)),
    (GET, "/v1/admin/metrics", NONE, metrics_reader!(stats::metrics)),
];

/// Each is below both prefixes. Stock clients send more than registries know.
#[rustfmt::skip]
static REGISTRY_ROUTES: [Route; 19] = [
    (GET, "/servers", Any, registry!(registry::servers::list)),
    (GET, "/servers/{name}/versions", Any, registry!(registry::servers::versions)),
    (GET, "/servers/{name}/versions/{version}", Any, registry!(registry::servers::version)),
    (PUT, "/servers/{name}/versions/{version}", Any, registry!(registry::publish::edit)),
    (DELETE, "/servers/{name}/versions/{version}", Any, registry!(registry::service::not_offered)),
    (PATCH, "/servers/{name}/versions/{version}/status", Any, registry!(registry::status::set)),
    (PATCH, "/servers/{name}/status", Any, registry!(registry::status::set_all)),
    (POST, "/publish", Any, registry!(registry::publish::publish)),
    (POST, "/validate", Any, registry!(registry::publish::validate)),
    (GET, "/x/org.mcp-connect/search", Any, registry!(registry::search::search)),
    (POST, "/auth/dns", Any, registry!(registry::auth::dns)),
    (POST, "/auth/http", Any, registry!(registry::auth::http)),
    (POST, "/auth/github-at", Any, registry!(registry::auth::github_token)),
    (POST, "/auth/github-oidc", Any, registry!(registry::auth::github_workflow)),
    (POST, "/auth/oidc", Any, registry!(registry::auth::oidc)),
    (POST, "/auth/none", Any, registry!(registry::auth::nobody)),
    (GET, "/health", Any, registry!(registry::service::health)),
    (GET, "/ping", Any, registry!(registry::service::ping)),
    (GET, "/version", Any, registry!(registry::service::version)),
];

/// What the platform serves beside the Worker and clients ask for by name.
pub(super) use crate::platform::files::FILES;

/// The paths of all routes: a prefix, and what follows it.
pub(super) fn templates() -> impl Iterator<Item = (&'static str, &'static str)> {
    let registry = registry::PREFIXES.into_iter().flat_map(|prefix| {
        REGISTRY_ROUTES
            .iter()
            .map(move |(_, path, ..)| (prefix, *path))
    });
    ROUTES
        .iter()
        .map(|(_, path, ..)| ("", *path))
        .chain(registry)
}

/// Where a request goes.
pub(super) struct Found {
    /// The path with names in braces; of the registry's, without its prefix.
    pub(super) route: &'static str,
    pub(super) parameters: Parameters,
    pub(super) handler: Handler,
    pub(super) max_body_bytes: usize,
    pub(super) members: Vec<(String, String)>,
}

pub(super) enum NotFound {
    /// Something in the path is no text.
    Encoding,
    /// The methods that there are.
    Method(Vec<&'static str>),
    Path,
}

/// Finds routes by path, then by method.
pub(super) struct Router(matchit::Router<Vec<&'static Route>>);

impl Router {
    pub(super) fn new() -> Self {
        let mut router = matchit::Router::new();
        let mut insert = |prefix: &str, routes: &'static [Route]| {
            for (path, routes) in by_path(routes) {
                // No two paths are in each other's way: the test below inserts them all.
                let _ = router.insert(format!("{prefix}{path}"), routes);
            }
        };
        insert("", &ROUTES);
        for prefix in registry::PREFIXES {
            insert(prefix, &REGISTRY_ROUTES);
        }
        Self(router)
    }

    /// Whether there is an endpoint at this path, whatever its methods.
    pub(super) fn knows(&self, path: &str) -> bool {
        self.0.at(path).is_ok()
    }

    pub(super) fn find(&self, method: &Method, path: &str) -> Result<Found, NotFound> {
        let matched = self.0.at(path).map_err(|_| {
            if FILES.contains(&path) {
                NotFound::Method(vec!["GET", "HEAD"])
            } else {
                NotFound::Path
            }
        })?;
        let wanted = if method == Method::HEAD { &GET } else { method };
        let route = matched.value.iter().find(|(known, ..)| known == wanted);
        let Some((_, route, parameters, handler)) = route else {
            return Err(NotFound::Method(methods(matched.value)));
        };
        let members = matched
            .params
            .iter()
            .map(|(name, value)| {
                let value = percent_decode_str(value).decode_utf8().ok()?;
                Some((name.to_owned(), value.into_owned()))
            })
            .collect::<Option<Vec<(String, String)>>>()
            .ok_or(NotFound::Encoding)?;
        // Nothing has such a name: other clients would have removed it from the path, and meant
        // what is above.
        if members.iter().any(|(_, member)| is_dot_segment(member)) {
            return Err(NotFound::Path);
        }
        Ok(Found {
            route,
            parameters: *parameters,
            handler: *handler,
            max_body_bytes: max_body_bytes(method, route),
            members,
        })
    }
}

fn by_path(routes: &'static [Route]) -> Vec<(&'static str, Vec<&'static Route>)> {
    let mut by_path: Vec<(&str, Vec<&Route>)> = Vec::new();
    for route in routes {
        match by_path.iter_mut().find(|(path, _)| *path == route.1) {
            Some((_, routes)) => routes.push(route),
            None => by_path.push((route.1, vec![route])),
        }
    }
    by_path
}

fn methods(routes: &[&'static Route]) -> Vec<&'static str> {
    let mut methods: Vec<&str> = routes.iter().map(|(method, ..)| method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods
}

fn max_body_bytes(method: &Method, route: &str) -> usize {
    match route {
        "/publish" | "/validate" => MAX_SERVER_BYTES,
        _ if method == PUT => MAX_SERVER_BYTES,
        _ if method != POST && method != PATCH => 0,
        "/v1/admin/import" => MAX_IMPORT_BYTES,
        "/v1/admin/identity-providers/test" => MAX_TOKEN_BODY_BYTES,
        route if route.ends_with("/policy") => MAX_POLICY_BYTES,
        _ => MAX_BODY_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found() {
        let router = Router::new();
        let all = [
            ("", &ROUTES[..]),
            ("/v0", &REGISTRY_ROUTES),
            ("/v0.1", &REGISTRY_ROUTES),
        ];
        for (prefix, routes) in all {
            for (method, route, ..) in routes {
                let path = format!("{prefix}{}", route.replace(['{', '}'], ""));
                let found = router.find(method, &path).ok().unwrap();
                assert_eq!(found.route, *route);
            }
        }
    }

    #[test]
    fn none_is_there_twice() {
        for routes in [&ROUTES[..], &REGISTRY_ROUTES] {
            for (n, (method, route, ..)) in routes.iter().enumerate() {
                let twin = |(other, path, ..): &Route| other == method && path == route;
                assert!(!routes[n + 1..].iter().any(twin), "{method} {route}");
            }
        }
    }

    #[test]
    fn who_administers_is_asked_for_below_admin_and_nowhere_else() {
        for (method, route, _, handler) in &ROUTES {
            let is_open = matches!(handler, Handler::Anyone(_));
            let is_admin = route.starts_with("/v1/admin/");
            assert_eq!(is_open, !is_admin, "{method} {route}");
        }
    }

    #[test]
    fn members_are_decoded() {
        let router = Router::new();
        let found = router
            .find(&POST, "/v1/admin/clients/a%2Fb%25/suspend")
            .ok()
            .unwrap();
        assert_eq!(found.members, [("client_id".into(), "a/b%".into())]);
        let no_text = router.find(&POST, "/v1/admin/clients/%ff/suspend");
        assert!(matches!(no_text, Err(NotFound::Encoding)));
    }

    #[test]
    fn dot_segments_name_nothing() {
        let router = Router::new();
        for (method, path) in [
            (POST, "/v1/admin/tenants/../policy"),
            (POST, "/v1/admin/tenants/%2e%2E/policy"),
            (POST, "/v1/admin/tenants/%252e%252e/policy"),
            (POST, "/v1/admin/clients/./suspend"),
            (GET, "/v1/servers/com.example/.."),
            (PATCH, "/v0/servers/com.example%2Fa1/versions/../status"),
            (PATCH, "/v0.1/servers/com.example%2Fa1/versions/%2e/status"),
            (PUT, "/v0.1/servers/com.example%2Fa1/versions/.%2E"),
        ] {
            let found = router.find(&method, path);
            assert!(matches!(found, Err(NotFound::Path)), "{method} {path}");
        }
        assert!(router.find(&GET, "/v0/servers/a/versions/...").is_ok());
    }

    #[test]
    fn a_method_that_is_not_there_is_told_those_that_are() {
        let router = Router::new();
        let Err(NotFound::Method(methods)) = router.find(&Method::DELETE, "/v1/admin/clients")
        else {
            panic!()
        };
        assert_eq!(methods, ["GET", "POST", "HEAD"]);
        assert!(router.find(&Method::HEAD, "/healthz").is_ok());
        assert!(router.find(&Method::HEAD, "/v1/connect").is_err());
        assert!(matches!(
            router.find(&GET, "/v1/nothing"),
            Err(NotFound::Path)
        ));
    }

    #[test]
    fn only_who_writes_may_send_a_body() {
        let of = |method, path: &str| {
            let found = Router::new().find(&method, path).ok().unwrap();
            found.max_body_bytes
        };
        assert_eq!(of(GET, "/v1/admin/policy"), 0);
        assert_eq!(of(POST, "/v1/admin/policy"), 256 * 1024);
        assert_eq!(of(POST, "/v1/admin/tenants/a/policy"), 256 * 1024);
        assert_eq!(of(POST, "/v1/admin/policy/explain"), 8 * 1024);
        assert_eq!(of(POST, "/v1/admin/import"), 1024 * 1024);
        assert_eq!(of(POST, "/v1/connect"), 8 * 1024);
        assert_eq!(of(POST, "/v0/publish"), 64 * 1024);
        assert_eq!(of(POST, "/v0.1/validate"), 64 * 1024);
        assert_eq!(of(PUT, "/v0/servers/a/versions/1"), 64 * 1024);
        assert_eq!(of(PATCH, "/v0/servers/a/status"), 8 * 1024);
    }

    /// The paths of the API's description with their methods; of `{change}` each that there is.
    fn described() -> Vec<(String, String)> {
        let document = include_str!("../../schema/openapi.yaml");
        let paths = document.split("\npaths:\n").nth(1).unwrap();
        let paths = paths.split("\ncomponents:\n").next().unwrap();
        let (mut described, mut same) = (Vec::new(), Vec::new());
        let (mut path, mut changes) = (String::new(), Vec::new());
        for line in paths.lines() {
            if let Some((named, rest)) = line
                .strip_prefix("  /")
                .and_then(|line| line.split_once(':'))
            {
                path = format!("/{named}");
                changes.clear();
                if let Some(pointer) = rest.split('"').nth(1) {
                    let pointer = pointer.strip_prefix("#/paths/").unwrap();
                    let other = pointer
                        .replace("~1", "/")
                        .replace("%7B", "{")
                        .replace("%7D", "}");
                    same.push((path.clone(), other));
                }
            } else if line.trim().starts_with("- { name: change,") {
                let names = line.split(['[', ']']).nth(1).unwrap();
                changes = names.split(", ").collect();
            } else if let Some(method) = line
                .strip_prefix("    ")
                .and_then(|line| line.strip_suffix(':'))
                && ["get", "post", "put", "patch", "delete"].contains(&method)
            {
                let method = method.to_uppercase();
                if path.contains("{change}") {
                    described.extend(
                        changes
                            .iter()
                            .map(|change| (method.clone(), path.replace("{change}", change))),
                    );
                } else {
                    described.push((method, path.clone()));
                }
            }
        }
        for (path, other) in same {
            let methods = described.iter().filter(|(_, known)| *known == other);
            let methods: Vec<_> = methods
                .map(|(method, _)| (method.clone(), path.clone()))
                .collect();
            assert!(!methods.is_empty(), "{other}");
            described.extend(methods);
        }
        described.sort();
        described
    }

    #[test]
    fn the_description_has_each_and_no_other() {
        let mut routes = Vec::new();
        for (prefixes, table) in [
            (&[""][..], &ROUTES[..]),
            (&registry::PREFIXES, &REGISTRY_ROUTES),
        ] {
            for prefix in prefixes {
                routes.extend(
                    table.iter().map(|(method, route, ..)| {
                        (method.to_string(), format!("{prefix}{route}"))
                    }),
                );
            }
        }
        routes.sort();
        assert_eq!(described(), routes);
    }
}
