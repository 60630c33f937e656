//! The same calls to the same backend, straight and through the guard: `cargo bench -p
//! mcp-connect-guard`. The load, the backend and the guard share this machine.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a bench"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use axum::{Json, Router, routing::any};
use serde_json::{Value, json};
use support::{CONNECT, Guard, serve};
use tokio::task::JoinSet;

const CALLERS: [usize; 2] = [1, 32];
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() {
    let app = Router::new().fallback(any(async |Json(call): Json<Value>| {
        Json(json!({ "jsonrpc": "2.0", "id": call["id"], "result": { "content": [] } }))
    }));
    let backend = serve(app).await;
    let guard = Guard::before(backend).await;
    let (straight, guarded) = (format!("http://{backend}/mcp"), guard.url());
    println!("best of {ROUNDS} rounds of {ROUND:?} each, in turn");
    for callers in CALLERS {
        let (mut best_straight, mut best_guarded) = (Round::default(), Round::default());
        for _ in 0..ROUNDS {
            let token = guard.token(60);
            let round = load(&guard.client, &straight, &token, callers).await;
            best_straight = best_straight.better(round);
            let round = load(&guard.client, &guarded, &token, callers).await;
            best_guarded = best_guarded.better(round);
        }
        best_straight.print(callers, "straight");
        best_guarded.print(callers, "guarded");
    }
}

#[derive(Default)]
struct Round {
    latencies: Vec<Duration>,
}

impl Round {
    fn better(self, other: Self) -> Self {
        if other.latencies.len() > self.latencies.len() {
            other
        } else {
            self
        }
    }

    fn print(mut self, callers: usize, name: &str) {
        self.latencies.sort_unstable();
        let count = self.latencies.len();
        let at = |percent: usize| self.latencies[(count - 1) * percent / 100];
        println!(
            "{callers:>2} callers, {name:>8}: {:>6} calls/s, median {:>4} µs, 99 % within {:>5} µs",
            count / usize::try_from(ROUND.as_secs()).unwrap(),
            at(50).as_micros(),
            at(99).as_micros(),
        );
    }
}

async fn load(client: &reqwest::Client, url: &str, token: &str, callers: usize) -> Round {
    let until = Instant::now() + ROUND;
    let mut running = JoinSet::new();
    for id in 0..callers {
        let (client, url, token) = (client.clone(), url.to_owned(), token.to_owned());
        running.spawn(async move {
            let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call" });
            let mut latencies = Vec::new();
            while Instant::now() < until {
                let began = Instant::now();
                let call = client.post(&url).header(CONNECT, &token).json(&call);
                let answer = call.send().await.unwrap().error_for_status().unwrap();
                answer.bytes().await.unwrap();
                latencies.push(began.elapsed());
            }
            latencies
        });
    }
    let latencies = running.join_all().await.concat();
    Round { latencies }
}
