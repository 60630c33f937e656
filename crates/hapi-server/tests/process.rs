//! The binary: its line, its answer, its end.
#![cfg(unix)]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

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
