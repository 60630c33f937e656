use comfy_table::Table;
use serde_json::json;

use crate::{
    api::{Admin, Changed, Revocation},
    cli::{RevocationsCommand, RevokeArgs},
    config::Settings,
    failure::Failure,
    output,
    paging::pages,
};

pub(crate) async fn revoke(
    args: &RevokeArgs,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let admin = Admin::new(settings.operator()?);
    let answer = admin
        .revoke(args.kind, &args.id, args.tenant.as_deref(), &args.reason)
        .await?;
    if json {
        return output::json(&answer);
    }
    let Changed { subject, changed } = answer;
    output::print_table(&table(&[subject]))?;
    if !changed {
        output::note("It was so already: nothing changed.");
    }
    Ok(())
}

pub(crate) async fn run(
    command: &RevocationsCommand,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let RevocationsCommand::List { limit, all } = *command;
    let admin = Admin::new(settings.operator()?);
    let list = pages(all, async |cursor| admin.revocations(cursor, limit).await).await?;
    if json {
        return match list.next_cursor {
            Some(cursor) => {
                output::json(&json!({ "revocations": list.items, "next_cursor": cursor }))
            }
            None => output::json(&json!({ "revocations": list.items })),
        };
    }
    output::print_table(&table(&list.items))?;
    if list.next_cursor.is_some() {
        output::note("There are more: --all shows them.");
    }
    Ok(())
}

fn table(revocations: &[Revocation]) -> Table {
    let mut table = output::table(&["id", "kind", "tenant", "revoked", "actor", "reason"]);
    for revocation in revocations {
        table.add_row([
            output::cell(&revocation.id),
            output::cell(&revocation.kind),
            output::maybe(revocation.tenant_id.as_deref()),
            output::cell(&revocation.revoked_at),
            output::cell(&revocation.actor),
            output::cell(&revocation.reason),
        ]);
    }
    table
}
