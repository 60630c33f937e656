//! Runs the reference MCP server until SIGINT or SIGTERM.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use hapi_server::{Options, Pages, Server};
use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

/// The reference MCP server behind a connect verifier.
///
/// Every setting of the verifier that has no option here can be given by its variable, such as
/// `MCP_CONNECT_MAX_STALENESS_SECONDS`, or in the file of --config: docs/verifier.md lists them. An
/// option stands over a variable, and a variable over the file.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    options: Options,

    /// Origins whose pages may connect, like `https://app.example`: their preflight requests are
    /// answered, and they may read answers.
    #[arg(
        long,
        env = "HAPI_CORS_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGIN"
    )]
    cors_origins: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // In one line: what was being done, and what is wrong with it.
            eprintln!("hapi-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // rmcp logs session ids, which are credentials, at the level of information, and a warning for each request
    // that it refuses: anybody could fill the log.
    let filter = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_else(|_| "info,rmcp=error".into());
    let filter = EnvFilter::try_new(&filter)
        .with_context(|| format!("RUST_LOG is {filter:?}; write a level, such as info or debug"))?;
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();

    let interrupt = signal(SignalKind::interrupt())?;
    let terminate = signal(SignalKind::terminate())?;
    let origins = &arguments.cors_origins;
    let pages = (!origins.is_empty()).then(|| Pages::of_origins(origins));
    let pages = pages.transpose()?;
    let mut server = Server::bind(&arguments.options).await?;
    if let Some(pages) = pages {
        server = server.allow_pages(pages);
    }
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
