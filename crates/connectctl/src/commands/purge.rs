//! Takes out what could never be connected to, some servers at a time.

use serde_json::json;

use crate::{
    api::{Admin, PurgeRequest, PurgedServer},
    cli::Purge,
    config::Settings,
    failure::Failure,
    output,
};

pub(crate) async fn run(settings: &Settings, args: &Purge, json: bool) -> Result<(), Failure> {
    let admin = Admin::new(settings.operator()?);
    let mut after = String::new();
    let mut servers: Vec<PurgedServer> = Vec::new();
    let mut purged = 0;
    loop {
        let request = PurgeRequest {
            namespace: args.namespace.as_ref().map(ToString::to_string),
            published_before: args.published_before.as_deref(),
            dry_run: args.dry_run,
            after: &after,
            reason: &args.reason,
        };
        let part = admin.purge(&request).await.map_err(|error| {
            let failure =
                Failure::from(error).context(&format!("the purge stopped after {purged} versions"));
            if purged == 0 {
                return failure;
            }
            failure.hint("run it again: what is gone stays gone")
        })?;
        purged += part.purged;
        // A server with very many versions comes more than once, with what is left of them.
        for server in part.servers {
            match servers.last_mut().filter(|last| last.name == server.name) {
                Some(last) => last.versions = last.versions.max(server.versions),
                None => servers.push(server),
            }
        }
        match part.next {
            Some(next) => after = next,
            None => break,
        }
    }
    if json {
        let found = json!({ "dry_run": args.dry_run, "purged": purged, "servers": servers });
        return output::json(&found);
    }
    show(&servers, args.dry_run, purged)
}

fn show(servers: &[PurgedServer], dry_run: bool, purged: u64) -> Result<(), Failure> {
    let mut table = output::table(&["server", "versions", "bytes"]);
    for server in servers {
        table.add_row([
            output::cell(&server.name),
            output::cell(&server.versions.to_string()),
            output::cell(&server.bytes.to_string()),
        ]);
    }
    output::print_table(&table)?;
    if dry_run {
        let versions: u64 = servers.iter().map(|server| server.versions).sum();
        return output::line(&format!("{versions} versions would go"));
    }
    output::line(&format!("{purged} versions purged"))
}
