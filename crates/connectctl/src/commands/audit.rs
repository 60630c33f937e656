use std::{
    cell::Cell,
    fs::File,
    io::{self, Write},
    path::Path,
};

use mcp_connect_audit::{AuditEntry, ChainHash, Head, verify_chain};
use mcp_connect_client::{ConnectError, json_object};
use serde_json::json;

use crate::{
    api::{Admin, AuditFilter},
    cli::{AuditCommand, AuditList},
    config::Settings,
    failure::{Failure, io_reason},
    output,
    paging::pages,
};

/// The most entries of imports that the authority counts for a page.
const MAX_COUNTED: u64 = 10_000;

pub(crate) async fn run(
    command: &AuditCommand,
    settings: impl Fn() -> Result<Settings, Failure>,
    json: bool,
) -> Result<(), Failure> {
    let admin = || Ok::<_, Failure>(Admin::new(settings()?.operator()?));
    match command {
        AuditCommand::List(args) => list(&admin()?, args, json).await,
        AuditCommand::Export { output, after } => {
            let admin = admin()?;
            match output {
                None => export(&admin, *after, || Ok(io::stdout().lock()))
                    .await
                    .map(drop),
                Some(path) => {
                    let fault = |error| unwritable(path, &error);
                    let create = || File::create(path).map_err(fault);
                    let file = export(&admin, *after, create).await?;
                    file.sync_all().map_err(fault)
                }
            }
        }
        AuditCommand::Verify { file, head } => {
            let entries = match file {
                Some(file) => parse(&output::read_input(file)?).map_err(Failure::usage)?,
                None => fetch(&admin()?).await?,
            };
            verify(&entries, *head, json)
        }
    }
}

async fn list(admin: &Admin, args: &AuditList, json: bool) -> Result<(), Failure> {
    let filter = AuditFilter {
        actor: args.actor.as_deref(),
        action: args.action.as_deref(),
        subject: args.subject.as_deref(),
        since: args.since.as_deref(),
        until: args.until.as_deref(),
        oldest_first: args.oldest_first,
        imports: args.imports,
    };
    let left_out = Cell::new(0);
    let list = pages(args.all, async |cursor| {
        let (page, left) = admin.audit(filter, cursor, args.limit).await?;
        left_out.set(left_out.get() + left.unwrap_or_default());
        Ok(page)
    })
    .await?;
    let left_out = left_out.get();
    if json && left_out > 0 {
        return output::json(&json!({
            "entries": list.items, "next_cursor": list.next_cursor, "left_out": left_out,
        }));
    }
    output::page("entries", &list, table, json)?;
    if left_out > 0 {
        let at_least = if left_out >= MAX_COUNTED {
            "at least "
        } else {
            ""
        };
        output::note(&format!(
            "{at_least}{left_out} entries of imports and the mirror are left out: --imports shows them."
        ));
    }
    Ok(())
}

/// Writes the trail as the authority gives it, part by part, so that it may be long. What it is written to is opened
/// once the first part is there: an earlier export stays if there is none.
async fn export<W: Write>(
    admin: &Admin,
    mut after: u64,
    open: impl FnOnce() -> Result<W, Failure>,
) -> Result<W, Failure> {
    let (mut lines, mut entries) = part(admin, after).await?;
    let mut out = open()?;
    loop {
        let Some(last) = entries.last() else {
            return Ok(out);
        };
        after = last.seq;
        // Whatever is in it, no character of it may move a terminal.
        out.write_all(output::escape_json(&lines).as_bytes())
            .map_err(|error| {
                Failure::unavailable(format!("can't write the output: {}", io_reason(&error)))
            })?;
        (lines, entries) = part(admin, after).await?;
    }
}

async fn fetch(admin: &Admin) -> Result<Vec<AuditEntry>, Failure> {
    let mut entries: Vec<AuditEntry> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |last| last.seq);
        let (_, part) = part(admin, after).await?;
        if part.is_empty() {
            return Ok(entries);
        }
        entries.extend(part);
    }
}

/// The lines after an entry, and what they say; none at the trail's end.
async fn part(admin: &Admin, after: u64) -> Result<(String, Vec<AuditEntry>), Failure> {
    let lines = admin.export_audit(after).await?;
    let entries = parse(&lines).map_err(ConnectError::InvalidAnswer)?;
    if entries.last().is_some_and(|last| last.seq <= after) {
        return Err(Failure::unavailable(
            "the authority's export does not go on",
        ));
    }
    Ok((lines, entries))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!(
        "can't write {}: {}",
        path.display(),
        io_reason(error)
    ))
}

fn parse(lines: &str) -> Result<Vec<AuditEntry>, String> {
    lines
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            json_object(line.as_bytes()).map_err(|problem| {
                format!(
                    "line {} is not an entry of an audit trail: {problem}",
                    index + 1
                )
            })
        })
        .collect()
}

fn verify(entries: &[AuditEntry], noted: Option<ChainHash>, json: bool) -> Result<(), Failure> {
    let head = verify_chain(entries).map_err(|broken| {
        Failure::no(format!("the audit trail is broken: {broken}")).hint(
            "keep the database and the export as they are, and compare them with earlier exports",
        )
    })?;
    let noted_at = noted.map(|noted| find(entries, head, noted)).transpose()?;
    let Head {
        seq,
        hash,
        unsealed,
    } = head;
    if entries.is_empty() {
        // Whoever asks only whether it is intact must not take nothing for a good trail.
        if json {
            return output::json(&json!({ "empty": true, "entries": 0, "head": hash }));
        }
        output::note("The trail is empty: there is nothing to verify.");
        return Ok(());
    }
    if json {
        return output::json(&json!({
            "intact": true, "entries": seq, "head": hash, "unsealed": unsealed,
            "noted_head_at": noted_at,
        }));
    }
    let noted_at = noted_at.map(|seq| format!("entry {seq}"));
    output::print_table(&output::record([
        ("entries", output::cell(&seq.to_string())),
        ("not sealed yet", output::cell(&unsealed.to_string())),
        ("noted head", output::maybe(noted_at.as_deref())),
        ("head", output::cell(&hash.to_string())),
    ]))?;
    output::note("The trail is intact. Note the head: with --head the next check starts from it.");
    Ok(())
}

/// Which entry of an intact trail has the hash that was noted earlier.
fn find(entries: &[AuditEntry], head: Head, noted: ChainHash) -> Result<u64, Failure> {
    if noted == head.hash {
        return Ok(head.seq);
    }
    entries
        .iter()
        .find(|entry| entry.hash == Some(noted))
        .map(|entry| entry.seq)
        .ok_or_else(|| {
            Failure::no(
                "the audit trail was rewritten or cut: no entry has the head that was noted",
            )
            .hint("compare it with the export that the head was noted of")
        })
}

fn table(entries: &[AuditEntry]) -> comfy_table::Table {
    let mut table = output::table(&[
        "seq", "at", "actor", "action", "subject", "detail", "reason",
    ]);
    for entry in entries {
        table.add_row([
            output::cell(&entry.seq.to_string()),
            output::cell(&entry.at),
            output::cell(&entry.actor),
            output::cell(&entry.action),
            output::cell(&entry.subject),
            output::maybe(entry.detail.as_deref()),
            output::maybe(entry.reason.as_deref()),
        ]);
    }
    table
}
