//! The binary: its line, its answer, its end.
#![cfg(unix)]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[tokio::test]
async fn pages_of_configured_origins_may_connect() {
    const PAGE: &str = "https://app.example";
    let mut process = Command::new(env!("CARGO_BIN_EXE_hapi-server"))
        .args(["--listen", "127.0.0.1:0", "--server-id", "com.example/hapi"])
        .args(["--cors-origins", PAGE])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let url = format!("{}/mcp", line.split_whitespace().nth(2).unwrap());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let asks = client.request(reqwest::Method::OPTIONS, &url);
    let asks = asks.header("access-control-request-method", "POST");
    let preflight = asks.header("origin", PAGE).send().await.unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-origin"], PAGE);
    let refused = client
        .post(&url)
        .header("origin", PAGE)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["access-control-allow-origin"], PAGE);
    process.kill().unwrap();
    process.wait().unwrap();
}

#[tokio::test]
async fn says_in_one_line_why_it_can_not_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (arguments, problem) in [
        (&["--listen", &address][..], "another program listens there"),
        (&["--authority", "authority.example"], "issuer must be"),
        (&["--server-id", "hapi"], "server_id must be"),
        (
            &["--endpoint", "http://0.0.0.0/mcp"],
            "audience must be https",
        ),
        (&["--config", "/nonexistent.toml"], "/nonexistent.toml"),
        (&["--cors-origins", "app.example"], "is not an origin"),
    ] {
        let defaults = [
            ["--listen", "127.0.0.1:0"],
            ["--server-id", "com.example/hapi"],
        ];
        let kept = defaults.into_iter().filter(|pair| pair[0] != arguments[0]);
        let output = Command::new(env!("CARGO_BIN_EXE_hapi-server"))
            .args(kept.flatten())
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.lines().last().unwrap();
        assert!(
            last.starts_with("hapi-server: ") && last.contains(problem),
            "{said}"
        );
        for riddle in ["::", "Caused by", "os error", "stack backtrace"] {
            assert!(!said.contains(riddle), "{riddle}: {said}");
        }
    }
}

#[tokio::test]
async fn says_where_it_listens_and_stops_when_told() {
    for signal in ["INT", "TERM"] {
        let mut process = Command::new(env!("CARGO_BIN_EXE_hapi-server"))
            .args(["--listen", "127.0.0.1:0", "--server-id", "com.example/hapi"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.split_whitespace().nth(2).unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let health = client
            .get(format!("{address}/health"))
            .send()
            .await
            .unwrap();
        assert_eq!(health.status(), 200);
        assert!(
            line.trim_end().ends_with(&format!("{address}/mcp")),
            "{line}"
        );

        let told = Command::new("kill")
            .args(["-s", signal, &process.id().to_string()])
            .status();
        assert!(told.unwrap().success());
        let until = Instant::now() + Duration::from_secs(10);
        let status = loop {
            if let Some(status) = process.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it did not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(status.success(), "{signal}: {status}");
    }
}
