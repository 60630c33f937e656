//! What proves a server's publisher, and whether its endpoint answers.

use mcp_connect_catalog::ServerName;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::{
    api::{Admin, Health},
    config::Settings,
    failure::Failure,
    output,
};

#[derive(Deserialize, Serialize)]
struct Challenges {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<Challenge>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<Challenge>,
}

#[derive(Deserialize, Serialize)]
struct Challenge {
    subject: String,
    url: String,
    token: String,
}

pub(crate) async fn challenge(
    settings: &Settings,
    server: &ServerName,
    json: bool,
) -> Result<(), Failure> {
    let path = format!("/v1/servers/{server}/challenge");
    let challenges: Challenges = settings
        .anonymous()?
        .call(Method::GET, &path, None::<&()>)
        .await?;
    if json {
        return output::json(&challenges);
    }
    let both = [
        ("namespace", challenges.namespace),
        ("endpoint", challenges.endpoint),
    ];
    let mut table = output::table(&["proves", "serve this line as text", "at"]);
    for (level, challenge) in both {
        let Some(challenge) = challenge else {
            output::note(&format!("There is no way to prove its {level}."));
            continue;
        };
        table.add_row([
            output::cell(level),
            output::cell(&challenge.token),
            output::cell(&challenge.url),
        ]);
    }
    for column in [1, 2] {
        output::keep_whole(&mut table, column);
    }
    output::print_table(&table)
}

pub(crate) async fn proofs(
    settings: &Settings,
    server: &ServerName,
    json: bool,
) -> Result<(), Failure> {
    let answer = Admin::new(settings.operator()?).proofs(server).await?;
    if json {
        return output::json(&answer);
    }
    let header = [
        "level",
        "of",
        "by",
        "who",
        "proven",
        "confirmed",
        "failures",
        "reason",
    ];
    let mut table = output::table(&header);
    for proof in &answer.proofs {
        table.add_row([
            output::level(&proof.level),
            output::cell(&proof.subject),
            output::cell(&proof.method),
            output::cell(&proof.actor),
            output::cell(&proof.proven_at),
            output::cell(&proof.confirmed_at),
            output::cell(&proof.failures.to_string()),
            output::maybe(proof.reason.as_deref()),
        ]);
    }
    output::keep_whole(&mut table, 1);
    output::print_table(&table)?;
    output::note(&format!(
        "The level of its default version is {}.",
        answer.verification
    ));
    Ok(())
}

pub(crate) fn health(health: &Health, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(health);
    }
    let failures = health.failures.map(|failures| failures.to_string());
    output::print_table(&output::record([
        ("server", output::cell(&health.id)),
        ("endpoint", output::cell(&health.endpoint)),
        ("health", output::health(&health.health)),
        ("asked", output::maybe(health.checked_at.as_deref())),
        ("answered", output::maybe(health.last_success.as_deref())),
        ("failures", output::maybe(failures.as_deref())),
        ("reason", output::maybe(health.reason.as_deref())),
        ("gating", output::cell(&health.gating)),
    ]))
}
