//! Against a small authority on loopback that really signs, and a real MCP server.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use assert_cmd::Command;
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use mcp_connect_descriptor::{KeyStatus, SigningKey, SigningKeys};
use rmcp::{
    RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
        ServerCapabilities, ServerConfig,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};
use support::{SERVER, connectctl, descriptor, text, unix_now};
use tempfile::{TempDir, tempdir};
use tokio::runtime::Runtime;

const TOKEN: &str = "operator-s3cret";
const API_KEY: &str = "mcpk_0123456789abcdef_s3cret";

/// Runs for as long as it is held.
struct World {
    runtime: Runtime,
    home: TempDir,
    authority: Arc<Authority>,
}

struct Authority {
    url: String,
    endpoint: String,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    /// Method, path, and body of what was asked with the right credential.
    calls: Vec<(Method, String, Value)>,
    /// How many imports still fail, and with which status.
    failing_imports: (u32, u16),
    /// Answers imports with 413 that have more entries, or a "huge" one.
    most_entries: Option<usize>,
    /// Refuses connects with this code.
    denial: Option<&'static str>,
    /// Sends clients to this endpoint in place of the MCP server.
    endpoint: Option<String>,
}

impl World {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let authority = runtime.block_on(async {
            let mcp = StreamableHttpService::<_, LocalSessionManager>::new(
                || Ok(Tools),
                Arc::default(),
                StreamableHttpServerConfig::default(),
            );
            let endpoint = serve(Router::new().nest_service("/mcp", mcp)).await + "/mcp";
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let authority = Arc::new(Authority {
                url: format!("http://{}", listener.local_addr().unwrap()),
                endpoint,
                script: Mutex::default(),
            });
            let router = Router::new().fallback(answer).with_state(authority.clone());
            tokio::spawn(async { axum::serve(listener, router).await });
            authority
        });
        Self {
            runtime,
            home: tempdir().unwrap(),
            authority,
        }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.authority.script.lock().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = connectctl(self.home.path());
        command
            .env("CONNECT_AUTHORITY", &self.authority.url)
            .env("CONNECT_OPERATOR_TOKEN", TOKEN)
            .env("CONNECT_API_KEY", API_KEY)
            .args(arguments);
        command
    }

    /// The exit code, standard output and standard error; no secret is in any of them.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(arguments).output().unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(!stdout.contains("s3cret") && !stderr.contains("s3cret"));
        (output.status.code().unwrap(), stdout, stderr)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (code, stdout, stderr) = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str(&stdout).unwrap()
    }

    /// Sends clients to a server that answers every request like this; what `call` says of it.
    fn call_of(
        &self,
        answer: impl Fn() -> Response + Clone + Send + Sync + 'static,
    ) -> (i32, String) {
        let answer = move || std::future::ready(answer());
        let url = self.runtime.block_on(serve(Router::new().fallback(answer)));
        self.call_to(url + "/mcp")
    }

    fn call_to(&self, endpoint: String) -> (i32, String) {
        self.script().endpoint = Some(endpoint);
        let (code, stdout, stderr) = self.run(&["call", SERVER, "echo", "--timeout", "20"]);
        assert_eq!(stdout, "", "{stderr}");
        for internal in [
            "Transport",
            "rmcp",
            "reqwest",
            "Error",
            "::",
            "os error",
            "Send message",
        ] {
            assert!(!stderr.contains(internal), "{internal}: {stderr}");
        }
        assert!(is_harmless(&stderr), "{stderr:?}");
        (code, stderr)
    }

    fn write(&self, name: &str, content: &Value) -> String {
        let path = self.home.path().join(name);
        fs::write(&path, content.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    url
}

#[derive(Clone)]
struct Tools;

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let said = json!(request.arguments).to_string();
        match request.name.as_ref() {
            "echo" => Ok(CallToolResult::success(vec![ContentBlock::text(format!(
                "{said}\n\u{1b}[31mred"
            ))])
            .into()),
            "fail" => Ok(CallToolResult::error(vec![ContentBlock::text("out of order")]).into()),
            "wait" => std::future::pending().await,
            _ => Err(ErrorData::invalid_params("no such tool", None)),
        }
    }
}

fn signing_key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn server(verified: bool, status: &str) -> Value {
    json!({"id": SERVER, "version": "1.2.0", "verified": verified, "status": status,
        "description": "Weather \u{1b}]0;pwned\u{7}\u{202e}\u{9b}2J"})
}

fn problem(status: u16, code: &str) -> Response {
    let body = json!({"type": "about:blank", "title": "No", "status": status, "code": code,
        "detail": format!("it is \u{1b}[31m{code}")});
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

async fn answer(
    State(authority): State<Arc<Authority>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path_and_query().unwrap().as_str();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let url = &authority.url;
    let mut script = authority.script.lock().unwrap();
    let credential = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap());
    if path.starts_with("/v1/admin") && credential != Some(&format!("Bearer {TOKEN}")) {
        return problem(401, "operator_unauthenticated");
    }
    script
        .calls
        .push((method.clone(), path.to_owned(), body.clone()));

    let json = match (method.as_str(), path) {
        ("GET", "/.well-known/mcp-connect-authority") => json!({
            "issuer": url, "connect_endpoint": format!("{url}/v1/connect"),
            "servers_endpoint": format!("{url}/v1/servers"),
            "jwks_uri": format!("{url}/.well-known/jwks.json"),
        }),
        ("GET", "/.well-known/jwks.json") => {
            let private = json!({"keys": [signing_key().to_private_jwk(KeyStatus::Active)]});
            SigningKeys::parse(&private.to_string())
                .unwrap()
                .public()
                .to_json()
        }
        ("POST", "/v1/connect") => {
            if credential != Some(&format!("Bearer {API_KEY}")) {
                return problem(401, "caller_unauthenticated");
            }
            if let Some(code) = script.denial {
                return problem(403, code);
            }
            let endpoint = script.endpoint.as_ref().unwrap_or(&authority.endpoint);
            let signed = descriptor(url, endpoint, unix_now())
                .mint(&signing_key())
                .unwrap();
            json!({"descriptor": signed, "endpoint": endpoint, "expires_in": 60, "refresh_after": 40,
                "server": {"id": SERVER, "version": "1.2.0", "transport": "streamable_http", "verified": true}})
        }
        ("GET", "/v1/servers?limit=1") => {
            json!({"servers": [server(true, "active")], "next_cursor": "c2"})
        }
        ("GET", "/v1/servers?limit=1&cursor=c2") => json!({"servers": [server(false, "revoked")]}),
        ("GET", "/v1/servers/com.example/weather") => {
            let mut detail = server(true, "active");
            detail["server"] = json!({"name": SERVER});
            detail["versions"] = json!([{"version": "1.2.0", "status": "active"}]);
            detail
        }
        ("GET", "/v1/admin/audit?limit=2&imports=exclude") => {
            json!({"entries": [audit_entry(3, Some("\u{1b}[31mmalware")), audit_entry(2, None)],
                "next_cursor": "2"})
        }
        ("GET", "/v1/admin/audit?limit=2&imports=exclude&cursor=2") => {
            json!({"entries": [audit_entry(1, None)]})
        }
        (
            "POST",
            "/v1/admin/servers/com.example/weather/revoke"
            | "/v1/admin/servers/com.example/weather/verify",
        ) => {
            let mut changed = server(true, "revoked");
            changed["changed"] = json!(true);
            changed
        }
        ("POST", "/v1/admin/clients") if body["client_id"] == "taken" => {
            return problem(409, "client_exists");
        }
        ("POST", "/v1/admin/clients") => json!({"client_id": body["client_id"], "status": "active",
            "created_at": "2026-01-02T03:04:05Z", "api_key": "mcpk_new"}),
        ("GET", "/v1/admin/clients?limit=100") => {
            json!({"clients": [{"client_id": "a", "status": "active",
            "created_at": "2026-01-02T03:04:05Z"}], "next_cursor": "x/y"})
        }
        ("GET", "/v1/admin/clients?limit=100&cursor=x%2Fy") => {
            json!({"clients": [{"client_id": "b",
            "tenant_id": "t", "status": "suspended", "created_at": "2026-01-02T03:04:05Z"}]})
        }
        ("POST", "/v1/admin/clients/a%2Fb/suspend") => {
            json!({"client_id": "a/b", "status": "suspended",
            "created_at": "2026-01-02T03:04:05Z", "changed": false})
        }
        ("POST", "/v1/admin/import") => return import(&mut script, &body),
        _ => return problem(404, "server_not_found"),
    };
    Json(json).into_response()
}

fn import(script: &mut Script, body: &Value) -> Response {
    if script.failing_imports.0 > 0 {
        script.failing_imports.0 -= 1;
        return problem(script.failing_imports.1, "authority_unavailable");
    }
    let entries = body["servers"].as_array().unwrap();
    let too_many = script.most_entries.is_some_and(|most| entries.len() > most);
    if too_many || entries.iter().any(|entry| entry["outcome"] == "huge") {
        return problem(413, "request_invalid");
    }
    if entries.iter().any(|entry| entry["outcome"] == "fatal") {
        return problem(400, "request_invalid");
    }
    let results: Vec<Value> = entries
        .iter()
        .map(|entry| match entry["outcome"].as_str().unwrap() {
            "refused" => json!({"name": entry["server"]["name"], "version": "1.0.0",
                "outcome": "refused", "reason": "bad \u{1b}name"}),
            outcome => json!({"outcome": outcome}),
        })
        .collect();
    Json(json!({ "results": results })).into_response()
}

fn audit_entry(seq: u64, reason: Option<&str>) -> Value {
    let mut entry = json!({"seq": seq, "at": "2026-01-02T03:04:05.678Z", "actor": "operator",
        "action": "server.revoke", "subject": SERVER});
    if let Some(reason) = reason {
        entry["reason"] = reason.into();
    }
    entry
}

fn is_harmless(text: &str) -> bool {
    !text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}')
}

#[test]
fn shows_hostile_servers_harmlessly() {
    let world = World::start();
    for arguments in [
        &["servers", "search", "--limit", "1", "--all"] as &[_],
        &["servers", "search", "--limit", "1", "--all", "--json"],
        &["servers", "show", SERVER],
        &["servers", "show", SERVER, "--json"],
    ] {
        let (code, stdout, stderr) = world.run(arguments);
        assert_eq!(code, 0, "{stderr}");
        assert!(is_harmless(&stdout), "{stdout:?}");
        assert!(stdout.contains("pwned"), "{stdout}");
    }
    let found = world.json(&["servers", "search", "--limit", "1", "--all"]);
    assert_eq!(found["servers"][1], server(false, "revoked"));
    let first = world.json(&["servers", "search", "--limit", "1"]);
    assert_eq!(
        (
            first["servers"].as_array().unwrap().len(),
            &first["next_cursor"]
        ),
        (1, &json!("c2"))
    );
}

#[test]
fn colours_only_where_they_are_wanted() {
    let world = World::start();
    let coloured = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = world.command(&["servers", "search", "--limit", "1"]);
        command.args(arguments).envs(environment.iter().copied());
        text(&command.output().unwrap().stdout).contains("\u{1b}[38;5;10m")
    };
    // A pipe is no terminal.
    let forced = ("CLICOLOR_FORCE", "1");
    assert!(!coloured(&[], &[]));
    assert!(coloured(&[], &[forced]));
    assert!(!coloured(&[], &[forced, ("NO_COLOR", "1")]));
    assert!(coloured(&["--color", "always"], &[("NO_COLOR", "1")]));
    assert!(!coloured(&["--color", "never"], &[forced]));
}

#[test]
fn moderates_with_a_reason() {
    let world = World::start();
    let (code, stdout, _) = world.run(&["servers", "revoke", SERVER, "--reason", "malware"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("revoked"), "{stdout}");
    let sent = world.script().calls.last().unwrap().2.clone();
    assert_eq!(sent, json!({"reason": "malware"}));

    let (code, _, stderr) = world.run(&["servers", "verify", "com.example/other", "--reason", "x"]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("server_not_found") && stderr.contains("next:"),
        "{stderr}"
    );
    assert!(is_harmless(&stderr), "{stderr:?}");
}

#[test]
fn verifies_with_an_identity() {
    let world = World::start();
    let pin = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
    let jwks_uri = "https://mcp.example/jwks.json";
    let verify = ["servers", "verify", SERVER, "--reason", "known"];
    for (identity, sent) in [
        (&[] as &[_], json!({"reason": "known"})),
        (
            &["--jwks-uri", jwks_uri, "--tls-pin-sha256", pin],
            json!({"reason": "known", "jwks_uri": jwks_uri, "tls_pin_sha256": pin}),
        ),
    ] {
        let (code, _, stderr) = world.run(&[&verify, identity].concat());
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(world.script().calls.last().unwrap().2, sent);
    }
    let (code, ..) = world.run(&[
        "servers",
        "revoke",
        SERVER,
        "--reason",
        "x",
        "--jwks-uri",
        "y",
    ]);
    assert_eq!(code, 2);
}

#[test]
fn lists_the_audit_log() {
    let world = World::start();
    let (code, stdout, stderr) = world.run(&["audit", "list", "--limit", "2"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout.matches("server.revoke").count(), 2, "{stdout}");
    assert!(
        stdout.contains("malware") && is_harmless(&stdout),
        "{stdout:?}"
    );
    assert!(stderr.contains("--all"), "{stderr}");

    let first = world.json(&["audit", "list", "--limit", "2"]);
    assert_eq!(first["next_cursor"], "2");
    let all = world.json(&["audit", "list", "--limit", "2", "--all"]);
    let entries = [
        audit_entry(3, Some("\u{1b}[31mmalware")),
        audit_entry(2, None),
        audit_entry(1, None),
    ];
    assert_eq!(all, json!({ "entries": entries }));
}

#[test]
fn manages_clients() {
    let world = World::start();
    let created = world.json(&[
        "clients", "create", "desktop", "--tenant", "acme", "--name", "Desk",
    ]);
    assert_eq!(created["api_key"], "mcpk_new");
    let sent = world.script().calls.last().unwrap().2.clone();
    assert_eq!(
        sent,
        json!({"client_id": "desktop", "tenant_id": "acme", "name": "Desk"})
    );

    // For a script: the key is the last line of standard output.
    let (_, stdout, stderr) = world.run(&["clients", "create", "desktop"]);
    assert_eq!(stdout.lines().last(), Some("mcpk_new"));
    assert!(stderr.contains("this once"), "{stderr}");

    let all = world.json(&["clients", "list"]);
    assert_eq!(
        (
            &all["clients"][0]["client_id"],
            &all["clients"][1]["tenant_id"]
        ),
        (&json!("a"), &json!("t"))
    );

    let (code, _, stderr) = world.run(&["clients", "suspend", "a/b", "--reason", "left"]);
    assert_eq!(code, 0);
    assert!(stderr.contains("nothing changed"), "{stderr}");

    let (code, _, stderr) = world.run(&["clients", "create", "taken"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("client_exists"), "{stderr}");

    let output = world
        .command(&["clients", "list", "--operator-token", "wrong"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("operator_unauthenticated"));
}

#[test]
fn connects_and_shows_the_descriptor_only_when_asked() {
    let world = World::start();
    let (code, stdout, _) = world.run(&["connect", SERVER, "--strict"]);
    assert_eq!(code, 0);
    assert!(
        stdout.contains(&world.authority.endpoint) && !stdout.contains("eyJ"),
        "{stdout}"
    );
    let (_, stdout, _) = world.run(&["connect", SERVER, "--show-descriptor"]);
    let shown = stdout.lines().last().unwrap().to_owned();

    let quiet = world.json(&["connect", SERVER]);
    assert_eq!(
        (quiet.get("descriptor"), &quiet["server"]["id"]),
        (None, &json!(SERVER))
    );
    let answer = world.json(&["connect", SERVER, "--show-descriptor"]);
    for token in [shown, answer["descriptor"].as_str().unwrap().to_owned()] {
        let inspected = world
            .command(&["inspect", "--audience", &world.authority.endpoint])
            .write_stdin(token)
            .output()
            .unwrap();
        assert_eq!(
            inspected.status.code(),
            Some(0),
            "{}",
            text(&inspected.stderr)
        );
    }

    let (code, _, stderr) = world.run(&["connect", "com.example/weather@1.0.0"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("version 1.0.0 was asked for"), "{stderr}");
}

#[test]
fn a_denial_is_exit_code_1_with_its_code() {
    let world = World::start();
    for code in [
        "server_revoked",
        "policy_blocked",
        "server_unverified",
        "transport_not_supported",
    ] {
        world.script().denial = Some(code);
        for arguments in [&["connect", SERVER] as &[_], &["call", SERVER, "echo"]] {
            let (exit, stdout, stderr) = world.run(arguments);
            assert_eq!((exit, stdout.as_str()), (1, ""), "{stderr}");
            assert!(stderr.contains(code) && is_harmless(&stderr), "{stderr:?}");
        }
    }
}

#[test]
fn calls_a_tool_through_the_governed_flow() {
    let world = World::start();
    let (code, stdout, stderr) =
        world.run(&["call", SERVER, "echo", r#"{"city":"Oslo"}"#, "--strict"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout, "{\"city\":\"Oslo\"}\n\\u{1b}[31mred\n");
    let result = world.json(&["call", SERVER, "echo"]);
    assert_eq!(result["content"][0]["text"], "null\n\u{1b}[31mred");

    let (code, stdout, stderr) = world.run(&["call", SERVER, "fail"]);
    assert_eq!((code, stdout.as_str()), (1, "out of order\n"));
    assert!(stderr.contains("the tool reports an error"), "{stderr}");

    let (code, _, stderr) = world.run(&["call", SERVER, "nothing"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("no such tool"), "{stderr}");

    let (code, _, stderr) = world.run(&["call", SERVER, "wait", "--timeout", "1"]);
    assert_eq!(code, 3);
    assert!(stderr.contains("no result within 1 s"), "{stderr}");

    let (code, ..) = world.run(&["call", SERVER, "echo", "[1]"]);
    assert_eq!(code, 2);
}

#[test]
fn imports_everything_and_names_what_is_refused() {
    let world = World::start();
    let mut entries = vec![json!({"outcome": "imported"}); 150];
    entries[3] = json!({"outcome": "refused", "server": {"name": "com.example/bad"}});
    entries[7] = json!("no object");
    entries[120] = json!({"outcome": "updated"});
    entries[121] = json!({"outcome": "unchanged"});
    let file = world.write("dump.json", &json!({"servers": entries, "metadata": {}}));

    let (code, stdout, stderr) = world.run(&["import", &file]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("146 imported, 1 updated, 1 unchanged, 2 refused"),
        "{stdout}"
    );
    assert!(
        stdout.contains("com.example/bad") && stdout.contains("no JSON object"),
        "{stdout}"
    );
    assert!(is_harmless(&stdout), "{stdout:?}");
    let sizes: Vec<_> = world
        .script()
        .calls
        .iter()
        .map(|(_, _, body)| body["servers"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [100, 49]);

    let summary = world.json(&["import", &file]);
    assert_eq!(
        (
            &summary["imported"],
            &summary["refused"][0]["index"],
            &summary["refused"][1]["index"]
        ),
        (&json!(146), &json!(3), &json!(7))
    );
}

#[test]
fn an_import_outlives_a_short_failure_and_says_how_far_it_got() {
    let world = World::start();
    let file = world.write(
        "dump.json",
        &json!(vec![json!({"outcome": "imported"}); 101]),
    );
    world.script().failing_imports = (2, 503);
    let (code, stdout, stderr) = world.run(&["import", &file]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("101 imported"), "{stdout}");

    world.script().failing_imports = (4, 503);
    let (code, _, stderr) = world.run(&["import", &file]);
    assert_eq!(code, 3);
    assert!(
        stderr.contains("stopped after 0 of 101 entries") && stderr.contains("again is safe"),
        "{stderr}"
    );
    assert_eq!(world.script().failing_imports.0, 0);

    // What is refused for good is not tried again.
    world.script().failing_imports = (2, 400);
    let (code, ..) = world.run(&["import", &file]);
    assert_eq!((code, world.script().failing_imports.0), (1, 1));
}

#[test]
fn an_import_that_stops_still_tells_what_was_done_and_refused() {
    let world = World::start();
    let mut entries = vec![json!({"outcome": "imported"}); 150];
    entries[3] = json!({"outcome": "refused", "server": {"name": "com.example/bad"}});
    entries[120] = json!({"outcome": "fatal"});
    let file = world.write("dump.json", &json!(entries));

    let (code, stdout, stderr) = world.run(&["import", &file]);
    assert_eq!(code, 1);
    assert!(
        stdout.contains("99 imported, 0 updated, 0 unchanged, 1 refused"),
        "{stdout}"
    );
    assert!(stdout.contains("com.example/bad"), "{stdout}");
    assert!(
        stderr.contains("stopped after 100 of 150 entries"),
        "{stderr}"
    );

    let (code, stdout, _) = world.run(&["import", &file, "--json"]);
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, &summary["imported"], &summary["refused"][0]["index"]),
        (1, &json!(99), &json!(3))
    );
}

#[test]
fn an_import_halves_what_is_too_large_for_a_call() {
    let world = World::start();
    world.script().most_entries = Some(2);
    let mut entries = vec![json!({"outcome": "imported"}); 7];
    entries[2] = json!({"outcome": "huge"});
    let file = world.write("dump.json", &json!(entries));

    let summary = world.json(&["import", &file]);
    assert_eq!(summary["imported"], 6);
    let refused = summary["refused"].as_array().unwrap();
    assert_eq!((refused.len(), &refused[0]["index"]), (1, &json!(2)));
    let reason = refused[0]["reason"].as_str().unwrap();
    assert!(reason.contains("request_invalid"), "{reason}");

    let sizes: Vec<_> = world
        .script()
        .calls
        .iter()
        .map(|(_, _, body)| body["servers"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [7, 3, 1, 2, 1, 1, 4, 2, 2]);
}

/// What a verifier answers (docs/protocol.md, section 4).
fn refusal(status: u16, code: &str, authority: &str, server_ref: &str) -> Response {
    let body = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32003, "message": "The connect descriptor \u{1b}[31m is not valid.",
        "data": {"code": code, "authority": authority, "server_ref": server_ref, "retryable": false}}});
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

#[test]
fn a_refused_call_is_one_sentence_that_says_what_differs() {
    let world = World::start();
    let own = world.authority.url.clone();
    for (status, code, authority, server_ref, exit, said) in [
        (
            403,
            "descriptor_invalid",
            "https://other.example",
            SERVER,
            1,
            format!("this server trusts the authority https://other.example; you asked {own}"),
        ),
        (
            403,
            "descriptor_invalid",
            &own,
            "com.example/other",
            1,
            format!("this server is com.example/other by its own settings; you asked for {SERVER}"),
        ),
        (
            403,
            "descriptor_invalid",
            &own,
            SERVER,
            1,
            "the reason is in its log".into(),
        ),
        (
            403,
            "descriptor_wrong_audience",
            &own,
            SERVER,
            1,
            "its URL is another".into(),
        ),
        (
            403,
            "descriptor_revoked",
            &own,
            SERVER,
            1,
            "the authority has revoked".into(),
        ),
        (
            503,
            "authority_unreachable",
            "https://other.example",
            SERVER,
            3,
            "can't get the keys of its authority, https://other.example".into(),
        ),
    ] {
        let (authority, server_ref) = (authority.to_owned(), server_ref.to_owned());
        let (found, stderr) = world.call_of(move || refusal(status, code, &authority, &server_ref));
        assert_eq!(found, exit, "{stderr}");
        let endpoint = world.script().endpoint.clone().unwrap();
        let begin = format!("error: the server at {endpoint} refuses this call ({code}): ");
        assert!(
            stderr.starts_with(&begin) && stderr.contains(&said),
            "{stderr}"
        );
    }

    let output = world
        .command(&["call", SERVER, "echo", "--json"])
        .output()
        .unwrap();
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "authority_unreachable", "{error}");
    assert_eq!(error["error"]["exit_code"], 3, "{error}");
}

#[test]
fn a_descriptor_that_the_server_finds_expired_names_the_clock() {
    let world = World::start();
    let (code, stderr) = world.call_of(|| {
        let challenge = r#"MCP-Connect error="descriptor_expired", authority="https://other.example", server_ref="com.example/weather""#;
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
    });
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("descriptor_expired") && stderr.contains("trusts the authority"),
        "{stderr}"
    );
}

#[test]
fn what_is_no_mcp_server_is_told_in_words() {
    let world = World::start();
    let html = || ([(header::CONTENT_TYPE, "text/html")], "<html>").into_response();
    let (code, stderr) = world.call_of(html);
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains("does not answer as an MCP server"),
        "{stderr}"
    );

    let (code, stderr) = world.call_of(|| StatusCode::BAD_GATEWAY.into_response());
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("answers HTTP 502"), "{stderr}");

    let own = || {
        (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Bearer")],
        )
            .into_response()
    };
    let (code, stderr) = world.call_of(own);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("wants a credential of its own"), "{stderr}");

    let (code, stderr) = world.call_to("http://127.0.0.1:1/mcp".into());
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains("can't be reached: nothing listens there"),
        "{stderr}"
    );
}

#[test]
fn an_answer_that_is_too_large_names_the_limit() {
    let world = World::start();
    let large = |media_type: &'static str, begin: &'static str| {
        move || {
            let body = begin.to_owned() + &"x".repeat(20 << 20);
            ([(header::CONTENT_TYPE, media_type)], body).into_response()
        }
    };
    for (media_type, begin) in [
        ("application/json", "{\"jsonrpc\": \""),
        ("text/event-stream", "data: "),
    ] {
        let (code, stderr) = world.call_of(large(media_type, begin));
        assert_eq!(code, 3, "{stderr}");
        assert!(
            stderr.contains("its answer is larger than 16 MiB"),
            "{stderr}"
        );
    }
}

#[test]
fn a_stream_that_is_cut_is_told_as_that() {
    let world = World::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/mcp", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 1000\r\n\r\ndata: {";
            let _ = stream.write_all(head.as_bytes());
        }
    });
    let (code, stderr) = world.call_to(endpoint);
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains("broke off") || stderr.contains("closed the connection"),
        "{stderr}"
    );
}

#[test]
fn what_is_no_authority_is_told_in_words() {
    let world = World::start();
    let html = world
        .runtime
        .block_on(serve(Router::new().fallback(async || "<html>")));
    let nothing = world.runtime.block_on(serve(Router::new()));
    let other = world.runtime.block_on(serve(Router::new().fallback(async || {
        Json(json!({"issuer": "https://other.example", "connect_endpoint": "https://other.example/v1/connect",
            "servers_endpoint": "https://other.example/v1/servers", "jwks_uri": "https://other.example/jwks"}))
    })));
    for (authority, code, said) in [
        (
            "http://127.0.0.1:1",
            3,
            "can't be reached: nothing listens there",
        ),
        (
            "https://127.0.0.1:1",
            3,
            "can't be reached: nothing listens there",
        ),
        (
            "https://nowhere.invalid",
            3,
            "the name of its host can't be resolved",
        ),
        (&html, 3, "it is not JSON"),
        (&nothing, 3, "HTTP 404"),
        (&other, 3, "its issuer is \"https://other.example\""),
    ] {
        let (exit, stdout, stderr) = world.run(&["connect", SERVER, "--authority", authority]);
        assert_eq!((exit, stdout.as_str()), (code, ""), "{stderr}");
        assert!(
            stderr.contains(said) && stderr.contains("next:"),
            "{said}: {stderr}"
        );
        for internal in ["reqwest", "hyper", "os error", "client error", "::"] {
            assert!(!stderr.contains(internal), "{stderr}");
        }
    }
}

#[test]
fn errors_are_json_where_results_are() {
    let world = World::start();
    world.script().denial = Some("server_revoked");
    let output = world
        .command(&["connect", SERVER, "--json"])
        .output()
        .unwrap();
    assert!(output.stdout.is_empty());
    let stderr = text(&output.stderr);
    assert!(
        is_harmless(&stderr) && stderr.lines().count() == 1,
        "{stderr:?}"
    );
    let error: Value = serde_json::from_str(&stderr).unwrap();
    let error = &error["error"];
    assert_eq!(
        (&error["kind"], &error["code"], &error["exit_code"]),
        (&json!("refused"), &json!("server_revoked"), &json!(1))
    );
    assert!(
        error["message"].is_string() && error["next"].is_string(),
        "{error}"
    );
}
