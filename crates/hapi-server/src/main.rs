//! Runs the reference MCP server until SIGINT or SIGTERM.

use clap::Parser;
use hapi_server::{Options, Server};
use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    // rmcp logs session ids, which are credentials, at the level of information.
    let filter = EnvFilter::try_new(
        std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_else(|_| "info,rmcp=warn".into()),
    )?;
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();

    let interrupt = signal(SignalKind::interrupt())?;
    let terminate = signal(SignalKind::terminate())?;
    let server = Server::bind(&options).await?;
    println!(
        "listening on http://{} as {} at {}",
        server.address(),
        server.server_id(),
        server.endpoint(),
    );
    server.run(either(interrupt, terminate)).await
}

async fn either(mut interrupt: Signal, mut terminate: Signal) {
    select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
