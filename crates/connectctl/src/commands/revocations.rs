use std::slice;

use comfy_table::Table;

use super::keys;
use crate::{
    api::{Admin, NewRevocation, Revocation},
    cli::{RevocationKind, RevocationsCommand, RevokeArgs},
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
    let revocation = NewRevocation {
        kind: args.kind.as_str(),
        id: &args.id,
        tenant_id: args.tenant.as_deref(),
        even_if_unknown: args.even_if_unknown,
        reason: &args.reason,
    };
    if args.kind == RevocationKind::Key {
        return keys::revoke(&admin, &revocation, json).await;
    }
    let answer = admin.revoke(&revocation).await?;
    output::change(&answer, |subject| table(slice::from_ref(subject)), json)?;
    if args.kind == RevocationKind::Jti {
        output::note(
            "The authority keeps no list of its descriptors: it can't tell whether there was one of this jti.",
        );
    }
    if answer.subject.registered {
        output::note(&format!(
            "{} was not known here: it is registered now, as suspended. If that is a typo, nobody is kept out by it.",
            args.id
        ));
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
