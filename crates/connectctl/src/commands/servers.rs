use std::slice;

use mcp_connect_catalog::ServerName;
use mcp_connect_client::{Authority, Server, ServerDetail};
use reqwest::Url;

use super::{
    bulk::{self, BulkAction},
    purge, verification,
};
use crate::{
    api::{Admin, Changed, Identity, ModerationAction, ServerAction, ServerFilter, Standing},
    cli::{self, Level, Moderation, ServerChange, ServersCommand, Verification},
    config::Settings,
    failure::Failure,
    output,
    paging::{Page, pages},
    pattern::{ServerPattern, Target},
};

pub(crate) async fn run(
    command: ServersCommand,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    match command {
        ServersCommand::Search { query, limit, all } => {
            let query = query.unwrap_or_default();
            search(&settings.anonymous()?, &query, limit, all, json).await
        }
        ServersCommand::List(args) => {
            let filter = ServerFilter {
                servers: args.servers.as_ref().map(ServerPattern::as_str),
                state: args.state.map(cli::ServerState::as_str),
                level: args.level.map(cli::ListedLevel::as_str),
                source: args.source.map(cli::ServerSource::as_str),
            };
            let found = Admin::new(settings.operator()?)
                .find_servers(filter, args.limit, args.all)
                .await?;
            output::page("servers", &found, bulk::table, json)
        }
        ServersCommand::Show { server_ref } => {
            let detail = settings
                .anonymous()?
                .server(&server_ref.to_string())
                .await?;
            if json {
                output::json(&detail)
            } else {
                show(&detail)
            }
        }
        ServersCommand::Verify(args) => verify(settings, &args, json).await,
        ServersCommand::Unverify {
            change: args,
            level,
        } => {
            let level = level.map(Level::as_str);
            let ServerChange { bulk, reason, .. } = &args;
            match &args.server {
                Target::Many(pattern) => {
                    let action = BulkAction::Unverify(level);
                    bulk::run(settings, pattern, action, reason, bulk, json).await
                }
                Target::One(server) => {
                    refuse_dry_run(bulk)?;
                    change(
                        settings,
                        ServerAction::Unverify(level),
                        server,
                        reason,
                        json,
                    )
                    .await
                }
            }
        }
        ServersCommand::Challenge { server } => {
            verification::challenge(settings, &server, json).await
        }
        ServersCommand::Prove { server, level, why } => {
            let answer = Admin::new(settings.operator()?)
                .prove(&server, level.as_str(), why.reason.as_deref())
                .await?;
            show_change(&answer, json)
        }
        ServersCommand::Proofs { server } => verification::proofs(settings, &server, json).await,
        ServersCommand::Health { server } => {
            let admin = Admin::new(settings.operator()?);
            verification::health(&admin.health(&server).await?, json)
        }
        ServersCommand::Probe { server } => {
            let admin = Admin::new(settings.operator()?);
            verification::health(&admin.probe(&server).await?, json)
        }
        ServersCommand::Quarantine {
            moderation,
            expires_in,
        } => {
            let action = ModerationAction::Quarantine(expires_in);
            moderate(settings, action, &moderation, json).await
        }
        ServersCommand::Revoke(args) => {
            moderate(settings, ModerationAction::Revoke, &args, json).await
        }
        ServersCommand::Reinstate(args) => {
            moderate(settings, ModerationAction::Reinstate, &args, json).await
        }
        ServersCommand::Purge(args) => purge::run(settings, &args, json).await,
    }
}

async fn verify(settings: &Settings, args: &Verification, json: bool) -> Result<(), Failure> {
    let ServerChange {
        server,
        bulk,
        reason,
    } = &args.change;
    let server = match server {
        Target::One(server) => server,
        Target::Many(pattern) => {
            if args.origin.is_some() || args.jwks_uri.is_some() || args.tls_pin_sha256.is_some() {
                return Err(Failure::usage(
                    "--origin, --jwks-uri and --tls-pin-sha256 are of one server, not of a pattern",
                ));
            }
            return bulk::run(settings, pattern, BulkAction::Verify, reason, bulk, json).await;
        }
    };
    refuse_dry_run(bulk)?;
    let origin = match &args.origin {
        Some(origin) => Some(origin.clone()),
        None => shown_origin(settings, server).await?,
    };
    let identity = Identity {
        origin: origin.as_deref(),
        jwks_uri: args.jwks_uri.as_deref(),
        tls_pin_sha256: args.tls_pin_sha256.as_deref(),
    };
    let action = ServerAction::Verify(identity);
    change(settings, action, server, reason, json).await
}

/// A single server is named in full: there is nothing to show.
fn refuse_dry_run(bulk: &cli::Bulk) -> Result<(), Failure> {
    if bulk.dry_run {
        return Err(Failure::usage(
            "--dry-run shows what a pattern matches, and this is one server",
        )
        .hint("`connectctl servers show` shows it"));
    }
    Ok(())
}

/// The origin at which the authority shows a server, which the person who verifies it is told.
async fn shown_origin(settings: &Settings, server: &ServerName) -> Result<Option<String>, Failure> {
    let shown = settings.anonymous()?.server(server.as_str()).await?;
    let endpoint = shown.summary.endpoint.as_deref();
    let origin = endpoint
        .and_then(|endpoint| Url::parse(endpoint).ok())
        .map(|endpoint| endpoint.origin().ascii_serialization());
    if let Some(origin) = &origin {
        output::note(&format!(
            "{server} is reached at {origin}: what is verified is that origin."
        ));
    }
    Ok(origin)
}

async fn search(
    authority: &Authority,
    query: &str,
    limit: u32,
    all: bool,
    json: bool,
) -> Result<(), Failure> {
    let found = pages(all, async |cursor| {
        let page = authority.search(query, cursor, limit).await?;
        Ok(Page {
            items: page.servers,
            next_cursor: page.next_cursor,
        })
    })
    .await?;
    output::page("servers", &found, list, json)
}

async fn moderate(
    settings: &Settings,
    action: ModerationAction,
    args: &Moderation,
    json: bool,
) -> Result<(), Failure> {
    let server_ref = match &args.server_ref {
        Target::One(server_ref) => server_ref,
        Target::Many(pattern) => {
            let action = BulkAction::Moderate(action);
            return bulk::run(settings, pattern, action, &args.reason, &args.bulk, json).await;
        }
    };
    refuse_dry_run(&args.bulk)?;
    let answer = Admin::new(settings.operator()?)
        .moderate(server_ref, action, &args.reason, false)
        .await?;
    let table = |standing: &Standing| {
        output::record([
            ("server", output::cell(&standing.server.id)),
            ("version", output::cell(&standing.server.version)),
            ("status", output::status(&standing.server.status)),
            ("until", output::maybe(standing.status_until.as_deref())),
            ("reason", output::maybe(standing.status_reason.as_deref())),
        ])
    };
    output::change(&answer, table, json)
}

async fn change(
    settings: &Settings,
    action: ServerAction<'_>,
    server: &ServerName,
    reason: &str,
    json: bool,
) -> Result<(), Failure> {
    let answer = Admin::new(settings.operator()?)
        .change_server(server, action, reason)
        .await?;
    show_change(&answer, json)
}

fn show_change(answer: &Changed<Server>, json: bool) -> Result<(), Failure> {
    output::change(answer, |server| list(slice::from_ref(server)), json)
}

fn list(servers: &[Server]) -> comfy_table::Table {
    let mut table = output::table(&["server", "version", "verified", "status", "description"]);
    for server in servers {
        table.add_row([
            output::cell(&server.id),
            output::cell(&server.version),
            verified(server),
            output::status(&server.status),
            output::cell(&server.description),
        ]);
    }
    table
}

fn verified(server: &Server) -> comfy_table::Cell {
    match &server.verification {
        Some(level) => output::level(level),
        None => output::verified(server.verified),
    }
}

fn show(detail: &ServerDetail) -> Result<(), Failure> {
    let server = &detail.summary;
    output::print_table(&output::record([
        ("server", output::cell(&server.id)),
        ("version", output::cell(&server.version)),
        ("title", output::maybe(server.title.as_deref())),
        ("description", output::cell(&server.description)),
        ("endpoint", output::maybe(server.endpoint.as_deref())),
        ("verified", verified(server)),
        ("status", output::status(&server.status)),
        ("reason", output::maybe(detail.status_reason.as_deref())),
        ("until", output::maybe(detail.status_until.as_deref())),
        ("published", output::maybe(detail.published_at.as_deref())),
        ("digest", output::maybe(detail.digest.as_deref())),
        ("key set", output::maybe(server.jwks_uri.as_deref())),
    ]))?;
    if detail.versions.is_empty() {
        return Ok(());
    }
    let mut table = output::table(&["version", "status", "published", "reason"]);
    for version in &detail.versions {
        table.add_row([
            output::cell(&version.version),
            output::status(&version.status),
            output::maybe(version.published_at.as_deref()),
            output::maybe(version.status_reason.as_deref()),
        ]);
    }
    output::print_table(&table)
}
