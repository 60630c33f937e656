//! How it is told what to do, how it says how it is, and how it stops.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, http::Response, routing::post};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{AUDIENCE, Guard, SERVER_ID, command, echo, eventually, serve};
use tokio::net::{TcpListener, TcpStream};

/// The exit of `--check`, and all that it says.
async fn check(arguments: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
    let output = command()
        .arg("--check")
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

const GOOD: [&str; 8] = [
    "--backend",
    "http://127.0.0.1:1/mcp",
    "--issuer",
    "https://authority.example",
    "--audience",
    AUDIENCE,
    "--server-id",
    SERVER_ID,
];

fn file(name: &str, text: &str) -> PathBuf {
    let name = format!("mcp-connect-guard-{}-{name}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// In words, and without what only the program's author understands.
fn assert_readable(said: &str) {
    for riddle in [
        "mcp_connect",
        "std::",
        "Caused by",
        "os error",
        "Error(",
        "stack backtrace",
    ] {
        assert!(!said.contains(riddle), "{riddle}: {said}");
    }
}

#[tokio::test]
async fn checks_its_configuration() {
    assert_eq!(
        check(&GOOD, &[]).await,
        (true, "the configuration can be used\n".into())
    );
    for (arguments, problem) in [
        (
            &["--backend", "http://10.0.0.1/mcp"][..],
            "backend must be on a loopback",
        ),
        (&["--backend", "https://127.0.0.1/mcp"], "--backend"),
        (&["--backend-host", "a b"], "backend_host must"),
        (
            &["--connect-seconds", "0"],
            "connect_seconds must be 1 to 60",
        ),
        (&["--idle-seconds", "0"], "idle_seconds must be 1 to 3600"),
        (
            &["--drain-seconds", "3601"],
            "drain_seconds must be 0 to 3600",
        ),
        (&["--max-connections", "0"], "max_connections must"),
        (&["--hosts", "a.example:80"], "hosts must"),
        (&["--open-paths", "health"], "open_paths must"),
        (&["--open-paths", "/mcp"], "open_paths must not"),
        (
            &["--backend", "http://127.0.0.1:1/x", "--open-paths", "/x"],
            "the path of the backend",
        ),
        (&["--listen", "here"], "--listen"),
        (&["--listen", "here"], "like 127.0.0.1:8788"),
        (
            &["--cors-origins", "*"],
            "cors_origins: \"*\" is not an origin",
        ),
        (
            &["--cors-origins", "https://app.example/"],
            "must be written as browsers send it: https://app.example\n",
        ),
        (
            &["--issuer", "http://authority.example"],
            "issuer must be https",
        ),
        (&["--mode", "maybe"], "mode must be"),
        (
            &["--config", "/nonexistent/guard.toml"],
            "/nonexistent/guard.toml: can't be read: there is no such file\n",
        ),
    ] {
        let changed: Vec<_> = GOOD
            .chunks(2)
            .filter(|pair| pair[0] != arguments[0])
            .flatten()
            .chain(arguments)
            .copied()
            .collect();
        let (passed, said) = check(&changed, &[]).await;
        assert!(!passed && said.contains(problem), "{arguments:?}: {said}");
        assert_readable(&said);
    }
    let (passed, said) = check(&[], &[]).await;
    assert!(!passed && said.contains("backend must be set"), "{said}");
    let remote = ["--backend=http://10.0.0.1/mcp", "--allow-remote-backend"];
    let (passed, said) = check(&[&GOOD[2..], &remote].concat(), &[]).await;
    assert!(passed, "{said}");
}

#[tokio::test]
async fn flags_stand_over_the_environment_over_a_file() {
    let path = file(
        "settings.toml",
        r#"
            [guard]
            backend = "http://127.0.0.1:1/mcp"
            idle_seconds = 0
            identity_headers = true
            [verifier]
            issuer = "https://authority.example"
            audience = "https://mcp.example/mcp"
            server_id = "nonsense"
            grace_seconds = 9999
        "#,
    );
    let config = ("MCP_CONNECT_GUARD_CONFIG", path.to_str().unwrap());
    let (passed, said) = check(&[], &[config]).await;
    assert!(!passed && said.contains("idle_seconds"), "{said}");
    let idle = ("MCP_CONNECT_GUARD_IDLE_SECONDS", "5");
    let (passed, said) = check(&[], &[config, idle]).await;
    assert!(
        !passed && said.contains("server_id") && said.contains("grace_seconds"),
        "{said}"
    );
    let id = ("MCP_CONNECT_SERVER_ID", "also nonsense");
    let grace = ("MCP_CONNECT_GRACE_SECONDS", "9");
    let (passed, said) = check(&[], &[config, idle, id, grace]).await;
    assert!(!passed && said.contains("server_id"), "{said}");
    let flag = ["--server-id", SERVER_ID];
    let (passed, said) = check(&flag, &[config, idle, id, grace]).await;
    assert!(passed, "{said}");
    std::fs::remove_file(path).unwrap();

    for (text, problem) in [
        ("[guard]\nbackend_url = 1", "backend_url"),
        ("[guards]", "guards"),
        ("[verifier]\ngrace = 1", "grace"),
        (
            "[guard]\nbackend = \"ftp://127.0.0.1\"",
            "must be like http://127.0.0.1",
        ),
        ("[guard", "TOML parse error"),
    ] {
        let path = file("wrong.toml", text);
        let name = path.to_str().unwrap();
        let (passed, said) = check(&["--config", name], &[]).await;
        assert!(
            !passed && said.contains(name) && said.contains(problem),
            "{said}"
        );
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn says_when_an_address_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = command()
        .args(GOOD)
        .args(["--listen", &address])
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("listen: can't listen on") && said.contains(&address),
        "{said}"
    );
    assert!(said.contains("another program listens there"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_readable(&said);
    for (address, problem) in [("192.0.2.1:8788", "this machine has no address 192.0.2.1")] {
        let output = command().args(GOOD).args(["--listen", address]).output();
        let said = String::from_utf8(output.await.unwrap().stderr).unwrap();
        assert!(said.contains(problem), "{said}");
        assert_readable(&said);
    }
    let output = command().args(GOOD).env("RUST_LOG", "x=y=z").output();
    let said = String::from_utf8(output.await.unwrap().stderr).unwrap();
    assert!(said.contains("RUST_LOG"), "{said}");
}

#[tokio::test]
async fn says_in_words_what_it_can_not_reach() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let guard = Guard::before(nobody).await;
    guard.governed(Method::POST).send().await.unwrap();
    let log = guard.log().await;
    assert!(log.contains("The MCP server can't be reached"), "{log}");
    assert!(
        !log.contains("Connect)") && !log.contains("error trying"),
        "{log}"
    );

    let mut process = command()
        .args(&GOOD[..2])
        .args(&GOOD[4..])
        .args(["--listen", "127.0.0.1:0", "--issuer"])
        .arg(format!("http://{nobody}"))
        .stderr(std::process::Stdio::piped())
        .spawn();
    if let Ok(process) = &mut process {
        // The key set and the revocation feed are fetched side by side, so
        // either may be told first.
        let stderr = tokio::io::BufReader::new(process.stderr.take().unwrap());
        let mut lines = tokio::io::AsyncBufReadExt::lines(stderr);
        let told = loop {
            let line = lines.next_line().await.unwrap().expect("it still runs");
            assert!(!line.contains("error sending request"), "{line}");
            if line.contains("authority") {
                break line;
            }
        };
        assert!(
            told.contains("nothing listens there (connection refused)"),
            "{told}"
        );
        process.kill().await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_clock_makes_it_unavailable_and_is_named() {
    let ahead = Duration::from_mins(5);
    let issuer = support::authority_ahead_by(ahead).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = format!("http://{}/", listener.local_addr().unwrap());
    let guard = Guard::of_issuer(issuer, &backend, &["--health-listen", "127.0.0.1:0"]).await;
    let url = format!("http://{}/healthz", guard.health.unwrap());
    eventually("the keys are there", async || {
        let said: Value = guard
            .client
            .get(&url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        said["key_set"]["usable"] == true
    })
    .await;
    let health = guard.client.get(&url).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::SERVICE_UNAVAILABLE);
    let said: Value = health.json().await.unwrap();
    assert_eq!(said["status"], "unavailable");
    assert_eq!(said["clock"]["wrong"], true);
    let offset = said["clock"]["offset_seconds"].as_i64().unwrap();
    assert!((-301..=-299).contains(&offset), "{offset}");
    let problem = said["clock"]["problem"].as_str().unwrap();
    assert!(problem.starts_with("this machine's clock is"), "{problem}");
    assert!(problem.ends_with("s behind the authority's"), "{problem}");
}

#[tokio::test]
async fn pages_of_configured_origins_may_connect() {
    const PAGE: &str = "https://app.example";
    let backend = format!("http://{}/", serve(Router::new().fallback(echo)).await);
    let guard = Guard::with(&backend, &["--cors-origins", PAGE]).await;
    let preflight = guard
        .ungoverned(Method::OPTIONS)
        .header("origin", PAGE)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "mcp-connect,content-type");
    let preflight = preflight.send().await.unwrap();
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    let allowed = preflight.headers()["access-control-allow-headers"]
        .to_str()
        .unwrap();
    for name in [
        "MCP-Connect",
        "Mcp-Session-Id",
        "MCP-Protocol-Version",
        "Last-Event-ID",
    ] {
        assert!(allowed.contains(name), "{allowed}");
    }
    let elsewhere = guard.client.get(format!("http://{}/else", guard.address));
    for (request, status) in [
        (guard.governed(Method::POST), 200),
        (guard.ungoverned(Method::POST), 401),
        (guard.ungoverned(Method::PUT), 405),
        (elsewhere, 404),
    ] {
        let answer = request.header("origin", PAGE).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["access-control-allow-origin"], PAGE);
        let exposed = answer.headers()["access-control-expose-headers"]
            .to_str()
            .unwrap();
        assert!(exposed.contains("WWW-Authenticate") && exposed.contains("Mcp-Session-Id"));
    }
    let stranger = guard
        .ungoverned(Method::OPTIONS)
        .header("origin", "https://evil.example");
    let stranger = stranger
        .header("access-control-request-method", "POST")
        .send()
        .await;
    assert_eq!(stranger.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn health_is_asked_for_beside_the_traffic() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = listener.local_addr().unwrap();
    let url = format!("http://{backend}/");
    let guard = Guard::with(&url, &["--health-listen", "127.0.0.1:0"]).await;
    let base = format!("http://{}", guard.health.unwrap());
    let health = async || {
        let response = guard.client.get(format!("{base}/healthz")).send();
        let response = response.await.unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    eventually("the keys are there", async || {
        health().await.0 == StatusCode::OK
    })
    .await;
    let (_, said) = health().await;
    assert_eq!(said["status"], "ok");
    assert_eq!(said["backend"], "reachable");
    assert_eq!(
        (&said["key_set"]["usable"], &said["key_set"]["keys"]),
        (&json!(true), &json!(1))
    );
    assert!(said["key_set"]["age_seconds"].as_u64().unwrap() < 30);
    // This authority has no feed, and connecting goes on all the same.
    assert_eq!(said["feed"]["failing"], true);
    drop(listener);
    let (status, said) = health().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        (&said["status"], &said["backend"]),
        (&json!("unavailable"), &json!("unreachable"))
    );

    let other = guard
        .client
        .get(format!("{base}/mcp"))
        .send()
        .await
        .unwrap();
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
    let post = guard
        .client
        .post(format!("{base}/healthz"))
        .send()
        .await
        .unwrap();
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[cfg(feature = "prometheus")]
#[tokio::test]
async fn what_is_counted_can_be_read_beside_the_traffic() {
    let backend = serve(Router::new().fallback(echo)).await;
    let url = format!("http://{backend}/");
    let guard = Guard::with(&url, &["--health-listen", "127.0.0.1:0"]).await;
    for request in [
        guard.ungoverned(Method::GET),
        guard.ungoverned(Method::PUT),
        guard.governed(Method::GET),
    ] {
        request.send().await.unwrap();
    }
    let metrics = format!("http://{}/metrics", guard.health.unwrap());
    let metrics = guard.client.get(metrics).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        "mcp_connect_refusals_total{code=\"descriptor_missing\",effect=\"enforced\"} 1",
        "mcp_connect_guard_faults_total{code=\"method_not_allowed\"} 1",
        "# HELP mcp_connect_guard_faults_total Requests answered by the guard itself, by code.",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }
    assert!(
        !metrics.contains("desktop") && !metrics.contains("acme"),
        "{metrics}"
    );
}

/// A backend with a call that takes a second, one that takes for ever, and a stream that only
/// listens.
async fn slow(arguments: &[&str]) -> (Guard, Arc<AtomicBool>) {
    let called = Arc::new(AtomicBool::new(false));
    let call = {
        let called = Arc::clone(&called);
        async move |request: axum::extract::Request| {
            called.store(true, Ordering::SeqCst);
            if request.uri().query() == Some("for=ever") {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            "done"
        }
    };
    let listen = async || {
        Response::builder()
            .header("content-type", "text/event-stream")
            .body(axum::body::Body::new(Silence))
            .unwrap()
    };
    let app = Router::new().route("/inner", post(call).get(listen));
    let backend = serve(app).await;
    let guard = Guard::with(&format!("http://{backend}/inner"), arguments).await;
    (guard, called)
}

struct Silence;

impl http_body::Body for Silence {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn lets_calls_finish_when_it_is_told_to_stop() {
    for signal in ["TERM", "INT"] {
        let (guard, called) = slow(&["--health-listen", "127.0.0.1:0"]).await;
        let listening = guard.governed(Method::GET).send().await.unwrap();
        let call = tokio::spawn(guard.governed(Method::POST).send());
        eventually("it is called", || {
            std::future::ready(called.load(Ordering::SeqCst))
        })
        .await;
        guard.signal(signal).await;

        let health = format!("http://{}/healthz", guard.health.unwrap());
        eventually("probes hear of it", async || {
            let health = guard.client.get(&health).send().await.unwrap();
            health.json::<Value>().await.unwrap()["status"] == "stopping"
        })
        .await;
        assert!(TcpStream::connect(guard.address).await.is_err());
        assert!(!call.is_finished());
        // The stream that only listens has ended, well.
        assert_eq!(listening.text().await.unwrap(), "");
        assert_eq!(call.await.unwrap().unwrap().text().await.unwrap(), "done");
        let (status, log) = guard.ended().await;
        assert!(status.success(), "{signal}: {status}");
        assert!(!log.contains("still open"), "{log}");
    }
}

#[tokio::test]
async fn calls_that_never_finish_are_cut_off() {
    let (guard, called) = slow(&["--drain-seconds", "1"]).await;
    let call = guard.governed(Method::POST).query(&[("for", "ever")]);
    let call = tokio::spawn(call.send());
    eventually("it is called", || {
        std::future::ready(called.load(Ordering::SeqCst))
    })
    .await;
    let began = Instant::now();
    guard.signal("TERM").await;
    assert!(call.await.unwrap().is_err());
    let (status, log) = guard.ended().await;
    assert!(status.success(), "{status}");
    assert!((1..4).contains(&began.elapsed().as_secs()));
    assert!(log.contains("still open"), "{log}");
}

#[tokio::test]
async fn no_token_is_ever_logged() {
    let guard = Guard::before(serve(Router::new().fallback(echo)).await).await;
    let good = guard.token(60);
    let bad = format!("{good}x");
    for token in [&good, &bad] {
        let request = guard.ungoverned(Method::GET).header("mcp-connect", token);
        let request = request.header("mcp-session-id", "secret-session");
        let request = request.header("authorization", "Bearer secret-bearer");
        request
            .query(&[("q", "secret-query")])
            .send()
            .await
            .unwrap();
    }
    let log = guard.log().await;
    assert!(log.contains("refused"), "{log}");
    let signature = good.rsplit('.').next().unwrap();
    assert!(
        !log.contains("secret-") && !log.contains(signature),
        "{log}"
    );
}
