//! The binary: its line, its answer, its end.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// The binary, once it listens.
struct Process {
    child: Child,
    /// What it said on its line.
    line: String,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hapi-server"))
            .args(["--listen", "127.0.0.1:0", "--server-id", "com.example/hapi"])
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self { child, line }
    }

    fn address(&self) -> &str {
        self.line.split_whitespace().nth(2).unwrap()
    }

    fn tell(&self, signal: &str) {
        let told = Command::new("kill")
            .args(["-s", signal, &self.child.id().to_string()])
            .status();
        assert!(told.unwrap().success());
    }

    /// Waits for its end; returns that, and what it logged.
    async fn stopped(mut self) -> (ExitStatus, String) {
        let until = Instant::now() + Duration::from_secs(10);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it did not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        (status, log)
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn pages_of_configured_origins_may_connect() {
    const PAGE: &str = "https://app.example";
    let process = Process::start(&["--cors-origins", PAGE]);
    let url = format!("{}/mcp", process.address());
    let client = client();
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
    process.tell("TERM");
    process.stopped().await;
}

#[tokio::test]
async fn who_is_refused_does_not_fill_the_log() {
    const REFUSED: usize = 50;
    // Whoever has no descriptor gets as far as the server itself, which looks at the headers.
    let process = Process::start(&["--mode", "optional"]);
    let url = format!("{}/mcp", process.address());
    let client = client();
    for n in 0..REFUSED {
        for (header, value) in [
            ("origin", format!("https://page-{n}.example")),
            ("origin", format!("page {n}")),
            ("host", format!("rebound-{n}.example")),
        ] {
            let refused = client.post(&url).header(header, &value).send().await;
            assert_eq!(refused.unwrap().status(), 403, "{header}: {value}");
        }
    }
    process.tell("TERM");
    let (_, log) = process.stopped().await;
    assert!(log.lines().count() < REFUSED / 10, "{log}");
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
        let process = Process::start(&[]);
        let (line, address) = (&process.line, process.address());
        let health = client()
            .get(format!("{address}/health"))
            .send()
            .await
            .unwrap();
        assert_eq!(health.status(), 200);
        assert!(
            line.trim_end().ends_with(&format!("{address}/mcp")),
            "{line}"
        );

        process.tell(signal);
        let (status, _) = process.stopped().await;
        assert!(status.success(), "{signal}: {status}");
    }
}
