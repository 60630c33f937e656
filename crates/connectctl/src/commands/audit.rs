use serde_json::json;

use crate::{
    api::{Admin, AuditEntry},
    cli::AuditCommand,
    config::Settings,
    failure::Failure,
    output,
    paging::pages,
};

pub(crate) async fn run(
    command: &AuditCommand,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let AuditCommand::List { limit, all } = *command;
    let admin = Admin::new(settings.operator()?);
    let list = pages(all, async |cursor| admin.audit(cursor, limit).await).await?;
    if json {
        return match list.next_cursor {
            Some(cursor) => output::json(&json!({ "entries": list.items, "next_cursor": cursor })),
            None => output::json(&json!({ "entries": list.items })),
        };
    }
    output::print_table(&table(&list.items))?;
    if list.next_cursor.is_some() {
        output::note("There are more: --all shows them.");
    }
    Ok(())
}

fn table(entries: &[AuditEntry]) -> comfy_table::Table {
    let mut table = output::table(&["seq", "at", "actor", "action", "subject", "reason"]);
    for entry in entries {
        table.add_row([
            output::cell(&entry.seq.to_string()),
            output::cell(&entry.at),
            output::cell(&entry.actor),
            output::cell(&entry.action),
            output::cell(&entry.subject),
            output::maybe(entry.reason.as_deref()),
        ]);
    }
    table
}
