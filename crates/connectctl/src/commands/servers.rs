use mcp_connect_client::{Authority, Server, ServerDetail};
use serde_json::json;

use crate::{
    api::{Admin, Identity, ServerAction},
    cli::{Moderation, ServersCommand},
    config::Settings,
    failure::Failure,
    output,
    paging::{Page, pages},
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
        ServersCommand::Verify(args) => {
            let identity = Identity {
                jwks_uri: args.jwks_uri.as_deref(),
                tls_pin_sha256: args.tls_pin_sha256.as_deref(),
            };
            let action = ServerAction::Verify(identity);
            moderate(settings, action, &args.moderation, json).await
        }
        ServersCommand::Unverify(args) => {
            moderate(settings, ServerAction::Unverify, &args, json).await
        }
        ServersCommand::Revoke(args) => moderate(settings, ServerAction::Revoke, &args, json).await,
        ServersCommand::Reinstate(args) => {
            moderate(settings, ServerAction::Reinstate, &args, json).await
        }
    }
}

async fn search(
    authority: &Authority,
    query: &str,
    limit: u32,
    all: bool,
    json: bool,
) -> Result<(), Failure> {
    let Page {
        items: servers,
        next_cursor,
    } = pages(all, async |cursor| {
        let page = authority.search(query, cursor, limit).await?;
        Ok(Page {
            items: page.servers,
            next_cursor: page.next_cursor,
        })
    })
    .await?;
    if json {
        return match next_cursor {
            Some(cursor) => output::json(&json!({ "servers": servers, "next_cursor": cursor })),
            None => output::json(&json!({ "servers": servers })),
        };
    }
    output::print_table(&list(&servers))?;
    if next_cursor.is_some() {
        output::note("There are more: --all shows them.");
    }
    Ok(())
}

async fn moderate(
    settings: &Settings,
    action: ServerAction<'_>,
    args: &Moderation,
    json: bool,
) -> Result<(), Failure> {
    let answer = Admin::new(settings.operator()?)
        .moderate(&args.server, action, &args.reason)
        .await?;
    if json {
        return output::json(&answer);
    }
    output::print_table(&list(&[answer.subject]))?;
    if !answer.changed {
        output::note("It was so already: nothing changed.");
    }
    Ok(())
}

fn list(servers: &[Server]) -> comfy_table::Table {
    let mut table = output::table(&["server", "version", "", "status", "description"]);
    for server in servers {
        table.add_row([
            output::cell(&server.id),
            output::cell(&server.version),
            output::verified(server.verified),
            output::status(&server.status),
            output::cell(&server.description),
        ]);
    }
    table
}

fn show(detail: &ServerDetail) -> Result<(), Failure> {
    let server = &detail.summary;
    output::print_table(&output::record([
        ("server", output::cell(&server.id)),
        ("version", output::cell(&server.version)),
        ("title", output::maybe(server.title.as_deref())),
        ("description", output::cell(&server.description)),
        ("endpoint", output::maybe(server.endpoint.as_deref())),
        ("verified", output::verified(server.verified)),
        ("status", output::status(&server.status)),
        ("reason", output::maybe(detail.status_reason.as_deref())),
        ("published", output::maybe(detail.published_at.as_deref())),
        ("key set", output::maybe(server.jwks_uri.as_deref())),
    ]))?;
    if detail.versions.is_empty() {
        return Ok(());
    }
    let mut table = output::table(&["version", "status", "published"]);
    for version in &detail.versions {
        table.add_row([
            output::cell(&version.version),
            output::status(&version.status),
            output::maybe(version.published_at.as_deref()),
        ]);
    }
    output::print_table(&table)
}
