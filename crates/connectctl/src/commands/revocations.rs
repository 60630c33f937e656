use std::slice;

use comfy_table::Table;

use crate::{
    api::{Admin, Revocation},
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
    output::change(&answer, |subject| table(slice::from_ref(subject)), json)
}

pub(crate) async fn run(
    command: &RevocationsCommand,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let RevocationsCommand::List { limit, all } = *command;
    let admin = Admin::new(settings.operator()?);
    let list = pages(all, async |cursor| admin.revocations(cursor, limit).await).await?;
    output::page("revocations", &list, table, json)
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
