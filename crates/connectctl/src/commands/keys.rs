use std::{collections::BTreeMap, path::Path};

use mcp_connect_descriptor::{KeyStatus, SigningKey, SigningKeys, SigningKeysError};
use serde_json::{Value, json};

use crate::{cli::KeysCommand, failure::Failure, output};

pub(crate) fn run(command: KeysCommand, as_json: bool) -> Result<(), Failure> {
    match command {
        KeysCommand::Generate { status, add: None } => {
            let status = status.map_or(KeyStatus::Active, Into::into);
            output::json(&json!({ "keys": [new_key(status)?] }))
        }
        KeysCommand::Generate {
            status,
            add: Some(file),
        } => {
            let status = status.map_or(KeyStatus::Next, Into::into);
            output::json(&with_key(&file, new_key(status)?)?)
        }
        KeysCommand::Show { file } => show(&file, as_json),
    }
}

#[expect(clippy::disallowed_methods, reason = "the randomness of this crate")]
fn new_key(status: KeyStatus) -> Result<Value, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Failure::unavailable(format!("no randomness: {error}")))?;
    Ok(SigningKey::from_seed(&seed).to_private_jwk(status))
}

/// The set of the file with the key added; both have to be good.
fn with_key(file: &Path, key: Value) -> Result<Value, Failure> {
    let text = output::read_input(file)?;
    SigningKeys::parse(&text).map_err(|error| faulty(file, &error))?;
    let mut set: Value = serde_json::from_str(&text)
        .map_err(|_| faulty(file, &SigningKeysError::NotASet("not JSON")))?;
    if let Some(keys) = set.get_mut("keys").and_then(Value::as_array_mut) {
        keys.push(key);
    }
    SigningKeys::parse(&set.to_string()).map_err(|error| {
        Failure::no(format!("with the new key the set would be faulty: {error}"))
            .hint("add it as next, make it active when caches have it, and the old one retired")
    })?;
    Ok(set)
}

fn show(file: &Path, as_json: bool) -> Result<(), Failure> {
    let keys =
        SigningKeys::parse(&output::read_input(file)?).map_err(|error| faulty(file, &error))?;
    let statuses: BTreeMap<&str, KeyStatus> = keys
        .iter()
        .map(|entry| (entry.key.id(), entry.status))
        .collect();
    let public = keys.published(|_| false);
    let public = public.get("keys").and_then(Value::as_array);
    let rows = public.into_iter().flatten().filter_map(|jwk| {
        let kid = jwk.get("kid")?.as_str()?;
        Some((kid, *statuses.get(kid)?, jwk))
    });

    if as_json {
        let keys: Vec<Value> = rows
            .map(|(kid, status, jwk)| json!({ "kid": kid, "status": status, "public": jwk }))
            .collect();
        return output::json(&json!({ "keys": keys }));
    }
    let mut table = output::table(&["kid", "status", "public JWK"]);
    for (kid, status, jwk) in rows {
        table.add_row([
            output::cell(kid),
            output::status(status.as_str()),
            output::cell(&jwk.to_string()),
        ]);
    }
    output::print_table(&table)
}

fn faulty(file: &Path, error: &SigningKeysError) -> Failure {
    let file = match file.to_str() {
        Some("-") => "standard input".into(),
        _ => file.display().to_string(),
    };
    Failure::no(format!("{file}: {error}"))
}
