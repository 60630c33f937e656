//! Runs the guard until SIGINT or SIGTERM.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use mcp_connect_guard::{Guard, Options, check};
use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // In one line: what was being done, and what is wrong with it.
            eprintln!("mcp-connect-guard: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    if options.check {
        check(options)?;
        println!("the configuration can be used");
        return Ok(());
    }
    let filter = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_else(|_| "info".into());
    let filter = EnvFilter::try_new(&filter)
        .with_context(|| format!("RUST_LOG is {filter:?}; write a level, such as info or debug"))?;
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();

    let interrupt = signal(SignalKind::interrupt())?;
    let terminate = signal(SignalKind::terminate())?;
    let guard = Guard::bind(options).await?;
    println!("listening on http://{}", guard.address()?);
    if let Some(address) = guard.health_address()? {
        println!("health on http://{address}/healthz");
    }
    guard.run(either(interrupt, terminate)).await;
    Ok(())
}

async fn either(mut interrupt: Signal, mut terminate: Signal) {
    select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
