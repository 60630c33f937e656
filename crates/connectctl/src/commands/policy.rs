use comfy_table::Color;
use serde_json::Value;

use crate::{
    api::{Admin, Explanation, NewPolicy, PolicyHead},
    cli::{ExplainArgs, PolicyCommand, SetPolicyArgs},
    config::Settings,
    failure::Failure,
    output,
    paging::pages,
};

pub(crate) async fn run(
    command: PolicyCommand,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let admin = Admin::new(settings.operator()?);
    match command {
        PolicyCommand::Show { scope, version } => {
            let answer = admin.policy(scope.tenant.as_deref(), version).await?;
            if json {
                return output::json(&answer);
            }
            // The document alone goes to standard output, to be edited and set again.
            output::note(&origin(&answer.head));
            output::json(&answer.policy)
        }
        PolicyCommand::Set(args) => set(&admin, &args, json).await,
        PolicyCommand::History { scope, limit, all } => {
            let tenant = scope.tenant.as_deref();
            let list = pages(all, async |cursor| {
                admin.policy_history(tenant, cursor, limit).await
            })
            .await?;
            output::page("versions", &list, table, json)
        }
        PolicyCommand::Explain(args) => explain(&admin, &args, json).await,
    }
}

async fn set(admin: &Admin, args: &SetPolicyArgs, json: bool) -> Result<(), Failure> {
    let text = output::read_input(&args.file)?;
    let policy: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{} is not JSON: {error}", args.file.display())))?;
    let policy = NewPolicy {
        policy: &policy,
        reason: &args.reason,
        if_version: args.if_version,
    };
    let answer = admin
        .set_policy(args.scope.tenant.as_deref(), &policy)
        .await?;
    if json {
        return output::json(&answer);
    }
    output::print_table(&table(&[answer.subject]))?;
    output::note(if answer.changed {
        "In force from now on, for every connect and every refresh."
    } else {
        "It was so already: nothing changed."
    });
    Ok(())
}

async fn explain(admin: &Admin, args: &ExplainArgs, json: bool) -> Result<(), Failure> {
    let (client, tenant) = (args.client.as_deref(), args.tenant.as_deref());
    let explanation = admin.explain(&args.server_ref, client, tenant).await?;
    if json {
        return output::json(&explanation);
    }
    output::print_table(&verdict(&explanation))?;
    if explanation.findings.is_empty() {
        return Ok(());
    }
    output::line("")?;
    let mut table = output::table(&["whose", "what", "says", "because"]);
    for finding in &explanation.findings {
        table.add_row([
            output::cell(&finding.scope),
            output::cell(&finding.group),
            if finding.permits {
                output::cell("yes").fg(Color::Green)
            } else {
                output::cell("no").fg(Color::Red)
            },
            output::cell(&finding.because),
        ]);
    }
    output::print_table(&table)
}

fn verdict(explanation: &Explanation) -> comfy_table::Table {
    let Explanation {
        decision,
        code,
        caller,
        server,
        ..
    } = explanation;
    let is_granted = decision == "granted";
    let caller = match (&caller.client_id, &caller.tenant_id) {
        (None, None) => "nobody".to_owned(),
        (Some(client), None) => client.clone(),
        (None, Some(tenant)) => format!("a client of {tenant}"),
        (Some(client), Some(tenant)) => format!("{client} of {tenant}"),
    };
    let server = match &server.version {
        Some(version) => format!("{} {version}", server.id),
        None => server.id.clone(),
    };
    let mut members = vec![
        (
            "decision",
            if is_granted {
                output::cell(decision).fg(Color::Green)
            } else {
                output::cell(&format!("{decision}: {code}")).fg(Color::Red)
            },
        ),
        ("caller", output::cell(&caller)),
        ("server", output::cell(&server)),
    ];
    if let Some(level) = &explanation.server.level {
        members.push(("verified", output::cell(level)));
    }
    let decided_by = match (is_granted, &explanation.decided_by) {
        (true, _) => Some("no state and no rule stands against it"),
        (false, decided_by) => decided_by.as_deref(),
    };
    members.push(("decided by", output::maybe(decided_by)));
    if let Some(detail) = &explanation.detail {
        members.push(("caller is told", output::cell(detail)));
    }
    output::record(members)
}

fn origin(head: &PolicyHead) -> String {
    match (&head.actor, &head.at, &head.reason) {
        (Some(actor), Some(at), Some(reason)) => {
            format!("Version {}, by {actor} at {at}: {reason}", head.version)
        }
        _ => "Nobody wrote a policy yet: version 0, which allows everything.".to_owned(),
    }
}

fn table(versions: &[PolicyHead]) -> comfy_table::Table {
    let mut table = output::table(&["version", "at", "actor", "reason"]);
    for head in versions {
        table.add_row([
            output::cell(&head.version.to_string()),
            output::maybe(head.at.as_deref()),
            output::maybe(head.actor.as_deref()),
            output::maybe(head.reason.as_deref()),
        ]);
    }
    table
}
