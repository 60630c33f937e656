//! Changes of all servers that a pattern matches, each by its own call with its own audit row.

use std::{
    collections::VecDeque,
    io::{self, BufRead, IsTerminal},
};

use mcp_connect_catalog::ServerRef;
use mcp_connect_client::ConnectError;
use serde::Serialize;
use serde_json::json;
use tokio::task::{JoinSet, LocalSet};

use crate::{
    api::{Admin, FoundServer, Identity, ModerationAction, ServerAction, ServerFilter},
    cli::Bulk,
    config::Settings,
    failure::Failure,
    output,
    pattern::ServerPattern,
    retry::{is_temporary, patiently},
};

/// The most calls under way at a time.
const AT_ONCE: usize = 16;
const PAGE: u32 = 100;
/// The most servers that a person is shown, before and after.
const SHOWN: usize = 20;

#[derive(Clone, Copy)]
pub(crate) enum BulkAction {
    Moderate(ModerationAction),
    /// Each at the origin at which it was shown.
    Verify,
    Unverify(Option<&'static str>),
}

#[derive(Default, Serialize)]
struct Summary {
    matched: usize,
    changed: usize,
    unchanged: usize,
    failed: Vec<FailedChange>,
    /// The servers that the revocation feed has no room for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out_of_feed: Vec<String>,
}

/// What a call did.
struct Applied {
    changed: bool,
    is_left_out: bool,
}

impl Applied {
    const fn told(changed: bool) -> Self {
        Self {
            changed,
            is_left_out: false,
        }
    }
}

#[derive(Serialize)]
struct FailedChange {
    server: String,
    message: String,
}

pub(crate) async fn run(
    settings: &Settings,
    pattern: &ServerPattern,
    action: BulkAction,
    reason: &str,
    options: &Bulk,
    json: bool,
) -> Result<(), Failure> {
    let admin = Admin::new(settings.operator()?);
    let filter = ServerFilter {
        servers: Some(pattern.as_str()),
        ..ServerFilter::default()
    };
    let mut servers = admin.find_servers(filter, PAGE, true).await?.items;
    if action.widens() {
        servers.retain(|server| pattern.matches_exactly(&server.id));
    }
    if servers.is_empty() {
        return Err(Failure::no(format!("no server matches {pattern}"))
            .code("server_not_found")
            .hint("`connectctl servers list` lists servers; namespace/** has all below a namespace, too"));
    }
    let question = format!("{} {} servers", action.verb(), servers.len());
    if options.dry_run {
        return preview(&servers, &question, json);
    }
    if !options.yes {
        show(&servers, &question);
        confirm(&question)?;
    }
    let mut summary = Summary {
        matched: servers.len(),
        ..Summary::default()
    };
    let changes = change_all(&admin, servers, action, reason, &mut summary);
    let done = LocalSet::new().run_until(changes).await;
    let printed = summary.show(json);
    done.map_err(|error| stopped(error, &summary))?;
    printed?;
    if summary.failed.is_empty() {
        return Ok(());
    }
    Err(Failure::no(format!(
        "{} of {} servers could not be changed",
        summary.failed.len(),
        summary.matched
    ))
    .hint("mend what is said of each, then run it again: what is done already stays as it is"))
}

impl BulkAction {
    /// Whether callers may reach more servers after it. Such a change goes by the letter, as `allow` does in policies.
    const fn widens(self) -> bool {
        matches!(
            self,
            Self::Verify | Self::Moderate(ModerationAction::Reinstate)
        )
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Moderate(ModerationAction::Quarantine(_)) => "quarantine",
            Self::Moderate(ModerationAction::Revoke) => "revoke",
            Self::Moderate(ModerationAction::Reinstate) => "reinstate",
            Self::Verify => "verify",
            Self::Unverify(_) => "unverify",
        }
    }

    /// Changes one server.
    async fn apply(
        self,
        admin: &Admin,
        server: &FoundServer,
        reason: &str,
    ) -> Result<Applied, ConnectError> {
        let action = match self {
            Self::Moderate(action) => {
                let server_ref = ServerRef {
                    name: server.id.clone(),
                    version: None,
                };
                let answer = admin.moderate(&server_ref, action, reason, true).await?;
                return Ok(Applied {
                    changed: answer.changed,
                    is_left_out: answer.subject.feed.as_deref() == Some("left_out"),
                });
            }
            Self::Verify => ServerAction::Verify(Identity {
                origin: server.origin.as_deref(),
                ..Identity::default()
            }),
            Self::Unverify(level) => ServerAction::Unverify(level),
        };
        let answer = admin.change_server(&server.id, action, reason).await?;
        Ok(Applied::told(answer.changed))
    }
}

/// Changes the servers, several at a time. What one server is refused for stops none of the others.
async fn change_all(
    admin: &Admin,
    servers: Vec<FoundServer>,
    action: BulkAction,
    reason: &str,
    summary: &mut Summary,
) -> Result<(), ConnectError> {
    let progress = output::progress_bar(servers.len(), "servers");
    let mut waiting = VecDeque::from(servers);
    let mut calls = JoinSet::new();
    let mut stopped = None;
    loop {
        while stopped.is_none()
            && calls.len() < AT_ONCE
            && let Some(server) = waiting.pop_front()
        {
            let (admin, reason) = (admin.clone(), reason.to_owned());
            calls.spawn_local(async move {
                let tried = patiently(async || action.apply(&admin, &server, &reason).await).await;
                (server, tried)
            });
        }
        let Some(done) = calls.join_next().await else {
            break;
        };
        // A call that panicked was told by its panic.
        let Ok((server, tried)) = done else { continue };
        match tried {
            Ok(applied) => summary.note(server.id.as_str(), &applied),
            Err(error) if concerns_all(&error) => stopped = Some(error),
            Err(error) => summary.failed.push(FailedChange {
                server: server.id.to_string(),
                message: error.to_string(),
            }),
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    stopped.map_or(Ok(()), Err)
}

/// Whether the next server would meet the same.
const fn concerns_all(error: &ConnectError) -> bool {
    match error {
        ConnectError::Denied(denial) if matches!(denial.status, 401 | 403) => true,
        ConnectError::Denied(_) => is_temporary(error),
        _ => true,
    }
}

fn stopped(error: ConnectError, summary: &Summary) -> Failure {
    Failure::from(error)
        .context(&format!(
            "stopped after {} of {} servers",
            summary.changed + summary.unchanged + summary.failed.len(),
            summary.matched
        ))
        .hint("run it again: what is done already stays as it is")
}

fn preview(servers: &[FoundServer], question: &str, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(
            &json!({ "dry_run": true, "matched": servers.len(), "servers": servers }),
        );
    }
    output::line(&format!("would {question}:"))?;
    output::print_table(&table(servers.get(..SHOWN).unwrap_or(servers)))?;
    if servers.len() > SHOWN {
        output::note(&format!(
            "and {} more; --json has all",
            servers.len() - SHOWN
        ));
    }
    Ok(())
}

/// Names what a change would touch, on standard error: standard output is for what became of it.
fn show(servers: &[FoundServer], question: &str) {
    output::note(&format!("This would {question}:"));
    for server in servers.iter().take(SHOWN) {
        output::note(&format!(
            "  {} ({}, {})",
            server.id, server.state, server.level
        ));
    }
    if servers.len() > SHOWN {
        output::note(&format!("  and {} more", servers.len() - SHOWN));
    }
}

fn confirm(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(
            Failure::usage(format!("nobody can be asked whether to {question}"))
                .hint("--yes answers for you, --dry-run shows them all"),
        );
    }
    output::note(&format!("Type \"yes\" to {question}:"));
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(Failure::no("nothing was changed"))
}

pub(crate) fn table(servers: &[FoundServer]) -> comfy_table::Table {
    let header = ["server", "version", "state", "level", "source", "origin"];
    let mut table = output::table(&header);
    for server in servers {
        table.add_row([
            output::cell(server.id.as_str()),
            output::maybe(server.version.as_deref()),
            output::status(&server.state),
            output::level(&server.level),
            output::cell(&server.source),
            output::maybe(server.origin.as_deref()),
        ]);
    }
    table
}

impl Summary {
    fn note(&mut self, server: &str, applied: &Applied) {
        if applied.changed {
            self.changed += 1;
        } else {
            self.unchanged += 1;
        }
        if applied.is_left_out {
            self.left_out_of_feed.push(server.to_owned());
        }
    }

    fn show(&self, json: bool) -> Result<(), Failure> {
        if json {
            return output::json(self);
        }
        if !self.failed.is_empty() {
            let mut table = output::table(&["failed", "why"]);
            for failed in self.failed.iter().take(SHOWN) {
                table.add_row([output::cell(&failed.server), output::cell(&failed.message)]);
            }
            output::print_table(&table)?;
        }
        let left_out = self.left_out_of_feed.len();
        if left_out > 0 {
            output::note(&format!(
                "{left_out} of them did not fit into the revocation feed: no new descriptor is issued for these, and those that \
                 clients have end by themselves within 160 s; --json names them"
            ));
        }
        output::line(&format!(
            "{} changed, {} unchanged, {} failed",
            self.changed,
            self.unchanged,
            self.failed.len()
        ))
    }
}
