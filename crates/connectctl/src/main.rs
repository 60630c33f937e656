//! The operator's command line of an MCP connect authority.

mod api;
mod cli;
mod clock;
mod commands;
mod config;
mod domain_key;
mod failure;
mod output;
mod paging;
mod pattern;
mod presets;
mod private_file;
mod retry;
mod rotation;
mod session;
mod usage;

use std::{env, process::ExitCode};

use crate::{
    cli::{Cli, Command},
    config::Settings,
    failure::Failure,
    usage::Request,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let result = match usage::read(env::args_os()) {
        Ok(Request::Run(cli)) => {
            output::choose_json(cli.global.json);
            output::choose_color(cli.global.color);
            run(*cli).await
        }
        Ok(Request::Answered(code)) => return code,
        Err(failure) => Err(failure),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::report(&failure);
            failure.exit_code()
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let json = cli.global.json;
    // Read when a command needs the authority: a broken profile is no hindrance to making keys.
    let settings = || Settings::resolve(&cli.global);
    match cli.command {
        Command::Keys { command } => commands::keys::run(command, &settings, json).await,
        Command::Clients { command } => commands::clients::run(command, &settings()?, json).await,
        Command::Tenants { command } => commands::tenants::run(command, &settings()?, json).await,
        Command::Policy { command } => commands::policy::run(command, &settings()?, json).await,
        Command::Providers { command } => {
            commands::providers::run(command, &settings()?, json).await
        }
        Command::Servers { command } => commands::servers::run(command, &settings()?, json).await,
        Command::Moderation { command } => {
            commands::moderation::run(&command, &settings()?, json).await
        }
        Command::Admins { command } => commands::admins::run(command, &settings()?, json).await,
        Command::Whoami => commands::admins::whoami(&settings()?, json).await,
        Command::Audit { command } => commands::audit::run(&command, settings, json).await,
        Command::Revoke(args) => commands::revocations::revoke(&args, &settings()?, json).await,
        Command::Revocations { command } => {
            commands::revocations::run(&command, &settings()?, json).await
        }
        Command::Mirror { command } => commands::mirror::run(&command, &settings()?, json).await,
        Command::Stats => commands::stats::run(&settings()?, json).await,
        Command::Import(args) => commands::import::run(&args, &settings()?, json).await,
        Command::Login { command } => commands::login::run(&command, &settings()?, json).await,
        Command::Logout => commands::login::log_out(&settings()?),
        Command::Publish { file } => commands::publish::publish(&file, &settings()?, json).await,
        Command::Validate { file } => commands::publish::validate(&file, &settings()?, json).await,
        Command::Status(args) => match (&args.server_ref, args.status) {
            (Some(server), Some(status)) => {
                commands::publish::set_status(server, status, &args, &settings()?, json).await
            }
            _ => commands::stats::ending(&settings()?, json).await,
        },
        Command::Cache { command } => commands::cache::run(&command, &settings()?, json).await,
        Command::Connect(args) => commands::connect::run(&args, &settings()?, json).await,
        Command::Inspect(args) => commands::inspect::run(&args, &settings()?, json).await,
        Command::Call(args) => commands::call::run(args, &settings()?, json).await,
    }
}
