//! Against whatever else may answer at the URL of an authority: no such answer passes for one of an authority.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use std::fs;

use axum::{
    Json, Router,
    http::{Uri, header},
    response::IntoResponse,
};
use serde_json::{Value, json};
use support::{SERVER, connectctl, text};
use tempfile::{TempDir, tempdir};
use tokio::{net::TcpListener, runtime::Runtime};

/// The media type of an exported audit trail.
const LINES: &str = "application/x-ndjson";

/// Answers every request alike, for as long as it is held.
struct Other {
    _runtime: Runtime,
    url: String,
    home: TempDir,
}

impl Other {
    fn start(router: Router) -> Self {
        let runtime = Runtime::new().unwrap();
        let url = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(async { axum::serve(listener, router).await });
            url
        });
        Self {
            _runtime: runtime,
            url,
            home: tempdir().unwrap(),
        }
    }

    /// Answers with this body.
    fn saying(media_type: &'static str, body: &'static str) -> Self {
        let answer = async move || ([(header::CONTENT_TYPE, media_type)], body).into_response();
        Self::start(Router::new().fallback(answer))
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = connectctl(self.home.path());
        let output = command
            .env("CONNECT_AUTHORITY", &self.url)
            .env("CONNECT_OPERATOR_TOKEN", "operator-s3cret")
            .args(arguments)
            .output()
            .unwrap();
        let code = output.status.code().unwrap();
        (code, text(&output.stdout), text(&output.stderr))
    }

    /// What it answers is no authority's, which is said in words.
    fn is_not_believed(&self, arguments: &[&str], shown: &str) {
        let (code, stdout, stderr) = self.run(arguments);
        let shown = format!("{arguments:?} {shown:?}: {stderr}");
        assert_eq!((code, stdout.as_str()), (3, ""), "{shown}");
        assert!(
            stderr.contains("the authority's answer is not what the protocol describes: ")
                && stderr.contains("the base URL of an MCP connect authority?"),
            "{shown}"
        );
        for internal in [
            "struct",
            "invalid type",
            "sequence",
            "expected",
            "line 1 column",
            "::",
        ] {
            assert!(!stderr.contains(internal), "{internal}: {shown}");
        }
    }
}

#[test]
fn what_is_no_audit_trail_is_not_intact() {
    for (media_type, body) in [
        ("text/plain", ""),
        ("text/html; charset=utf-8", "<html></html>"),
        ("application/json", "[]"),
        ("application/json", "{}"),
        ("application/json", ""),
        (LINES, "{}\n"),
        (LINES, "[]\n"),
        (LINES, "<html>"),
    ] {
        let other = Other::saying(media_type, body);
        other.is_not_believed(&["audit", "verify"], body);
        other.is_not_believed(&["audit", "export"], body);
        // An earlier export outlives a failed one.
        let file = other.home.path().join("trail.jsonl");
        fs::write(&file, "earlier").unwrap();
        let file = file.to_str().unwrap();
        other.is_not_believed(&["audit", "export", "--output", file], body);
        assert_eq!(fs::read_to_string(file).unwrap(), "earlier");
    }
}

#[test]
fn an_empty_trail_is_called_empty() {
    let other = Other::saying("application/X-NDJSON; charset=utf-8", "");
    let empty = other.home.path().join("empty.jsonl");
    fs::write(&empty, "").unwrap();
    for arguments in [
        &["audit", "verify"][..],
        &["audit", "verify", "--file", empty.to_str().unwrap()],
    ] {
        let (code, stdout, stderr) = other.run(arguments);
        assert_eq!(code, 0, "{stderr}");
        assert!(stderr.contains("The trail is empty"), "{stderr}");
        assert!(!format!("{stdout}{stderr}").contains("intact"), "{stderr}");
        let (_, stdout, _) = other.run(&[arguments, &["--json"]].concat());
        let found: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(
            (found.get("intact"), &found["empty"]),
            (None, &json!(true)),
            "{found}"
        );
    }
    // A head that was noted of a trail is in no empty one.
    let noted = "A".repeat(42) + "E";
    let (code, _, stderr) = other.run(&["audit", "verify", "--head", &noted]);
    assert_eq!(code, 1, "{stderr}");
}

#[test]
fn an_answer_of_another_form_is_told_without_types() {
    let policy = tempdir().unwrap();
    let file = policy.path().join("file.json");
    fs::write(&file, r#"{"allow": ["*"]}"#).unwrap();
    let file = file.to_str().unwrap();
    for body in [
        "[]",
        "null",
        "\"x\"",
        "7",
        "{}",
        "",
        "[[\"a\", \"b\"]]",
        "<html>",
    ] {
        let other = Other::saying("application/json", body);
        for arguments in [
            &["whoami"][..],
            &["connect", SERVER],
            &["call", SERVER, "echo"],
            &["stats"],
            &["stats", "--json"],
            &["status"],
            &["audit", "list"],
            &["clients", "list"],
            &["clients", "create", "a"],
            &["clients", "suspend", "a", "--reason", "r"],
            &["clients", "keys", "list", "a"],
            &["clients", "keys", "rotate", "a", "--reason", "r"],
            &["tenants", "list"],
            &["tenants", "show", "a"],
            &["providers", "list", "--tenant", "a"],
            &["admins", "list"],
            &["servers", "search"],
            &["servers", "list"],
            &["servers", "show", SERVER],
            &["servers", "proofs", SERVER],
            &["servers", "health", SERVER],
            &["servers", "revoke", SERVER, "--reason", "r"],
            &["servers", "purge", "--all", "--reason", "r"],
            &["moderation", "list"],
            &["moderation", "export"],
            &["policy", "show"],
            &["policy", "set", file, "--reason", "r"],
            &["policy", "explain", SERVER],
            &["keys", "status"],
            &["revoke", "jti", "a", "--reason", "r"],
            &["revocations", "list"],
            &["mirror", "status"],
            &["mirror", "sync"],
            &["mirror", "rejected"],
            &["cache", "rebuild"],
            &["validate", file],
        ] {
            other.is_not_believed(arguments, body);
        }
    }
}

#[test]
fn a_registry_that_answers_something_else_has_not_published() {
    for body in ["[]", "{}", "null", r#"{"server": {}}"#] {
        let other = Other::saying("application/json", body);
        let login = json!({ "registry": other.url, "method": "none", "token": "t0ken", "expires_at": 9_999_999_999_u64 });
        let directory = other.home.path().join(".config/connectctl");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("login.json"), login.to_string()).unwrap();
        let file = other.home.path().join("server.json");
        fs::write(&file, "{}").unwrap();
        other.is_not_believed(&["publish", file.to_str().unwrap()], body);
    }
}

#[test]
fn publishing_a_url_that_nobody_is_sent_to_warns() {
    let published = async |_: Uri| {
        Json(json!({ "server": { "name": SERVER, "version": "1.0.0" } })).into_response()
    };
    let other = Other::start(Router::new().fallback(published));
    let login = json!({ "registry": other.url, "method": "none", "token": "t0ken", "expires_at": 9_999_999_999_u64 });
    let directory = other.home.path().join(".config/connectctl");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("login.json"), login.to_string()).unwrap();
    let file = other.home.path().join("server.json");
    for (url, problem) in [
        ("https://mcp.example.com/mcp", None),
        (
            "https://user:pw@mcp.example.com/mcp",
            Some("has a user name or password"),
        ),
        ("https://mcp.example.com/mcp#top", Some("has a fragment")),
    ] {
        let server = json!({ "name": SERVER, "version": "1.0.0",
            "remotes": [{ "type": "streamable-http", "url": url }] });
        fs::write(&file, server.to_string()).unwrap();
        let (code, stdout, stderr) = other.run(&["publish", file.to_str().unwrap()]);
        assert_eq!(code, 0, "{stderr}");
        assert!(stdout.contains(SERVER), "{stdout}");
        assert_eq!(stderr.contains("warning:"), problem.is_some(), "{stderr}");
        assert!(stderr.contains(problem.unwrap_or_default()), "{stderr}");
        assert!(!stderr.contains("pw@"), "{stderr}");
    }
}

#[test]
fn a_new_client_is_shown_with_the_end_and_the_label_of_its_key() {
    let created = async |_: Uri| {
        Json(
            json!({ "client_id": "desktop", "status": "active", "created_at": "2026-01-02T03:04:05.000Z",
            "api_key": "mcpk_AAAAAAAAAAAAAAAA_new", "label": "laptop",
            "expires_at": "2026-04-02T03:04:05.000Z" }),
        )
    };
    let other = Other::start(Router::new().fallback(created));
    let create = [
        "clients", "create", "desktop", "--label", "laptop", "--for", "90d",
    ];
    let (code, stdout, stderr) = other.run(&create);
    assert_eq!(code, 0, "{stderr}");
    for shown in ["AAAAAAAAAAAAAAAA", "laptop", "2026-04-02T03:04:05.000Z"] {
        assert!(stdout.contains(shown), "{shown}: {stdout}");
    }
    assert_eq!(stdout.lines().last(), Some("mcpk_AAAAAAAAAAAAAAAA_new"));
    let (_, stdout, _) = other.run(&[&create[..], &["--json"]].concat());
    let created: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(created["label"], "laptop", "{created}");
}
