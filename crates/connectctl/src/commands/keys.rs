use std::{fs, path::Path};

use mcp_connect_descriptor::{Algorithm, KeyStatus, SigningKey, SigningKeys, SigningKeysError};
use serde_json::{Value, json};

use crate::{
    api::{Admin, Changed, HeldKey, NewRevocation},
    cli::{KeyAlgorithm, KeysCommand, RevocationKind, RotateArgs},
    clock::now_seconds,
    config::Settings,
    failure::{Failure, io_reason},
    output, private_file,
    rotation::{self, Held, Obstacle, Outcome, Step},
};

/// `settings` are read only by those commands that ask an authority.
pub(crate) async fn run(
    command: KeysCommand,
    settings: impl Fn() -> Result<Settings, Failure>,
    as_json: bool,
) -> Result<(), Failure> {
    match command {
        KeysCommand::Generate { status, add, alg } => {
            let default = match add {
                None => KeyStatus::Active,
                Some(_) => KeyStatus::Next,
            };
            let key = new_key(alg, status.map_or(default, Into::into))?;
            match add {
                None => output::json(&json!({ "keys": [key] })),
                Some(file) => output::json(&with_key(&file, key)?),
            }
        }
        KeysCommand::Show { file } => show(&file, as_json),
        KeysCommand::Status => status(&settings()?, as_json).await,
        KeysCommand::Rotate(args) => rotate(&args, &settings()?, as_json).await,
        KeysCommand::Revoke(args) => {
            let revocation = NewRevocation {
                kind: RevocationKind::Key.as_str(),
                id: &args.kid,
                tenant_id: None,
                even_if_unknown: args.even_if_unknown,
                reason: &args.reason,
            };
            revoke(&Admin::new(settings()?.operator()?), &revocation, as_json).await
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the randomness of this crate")]
fn new_key(algorithm: KeyAlgorithm, status: KeyStatus) -> Result<Value, Failure> {
    let algorithm = match algorithm {
        KeyAlgorithm::EdDsa => Algorithm::EdDsa,
        KeyAlgorithm::Es256 => Algorithm::Es256,
    };
    loop {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .map_err(|error| Failure::unavailable(format!("no randomness: {error}")))?;
        // One secret in 2^32 is no key of P-256.
        if let Some(key) = SigningKey::from_secret(algorithm, &secret) {
            return Ok(key.to_private_jwk(status));
        }
    }
}

/// The set of the file with the key added; both have to be good.
fn with_key(file: &Path, key: Value) -> Result<Value, Failure> {
    let mut set = read_set(file)?;
    if let Some(keys) = set.get_mut("keys").and_then(Value::as_array_mut) {
        keys.push(key);
    }
    SigningKeys::parse(&set.to_string()).map_err(|error| {
        Failure::no(format!("with the new key the set would be faulty: {error}"))
            .hint("add it as next; `connectctl keys rotate` makes it active when that is safe")
    })?;
    Ok(set)
}

fn read_set(file: &Path) -> Result<Value, Failure> {
    let text = output::read_input(file)?;
    SigningKeys::parse(&text).map_err(|error| faulty(file, &error))?;
    serde_json::from_str(&text).map_err(|_| faulty(file, &SigningKeysError::NotASet("not JSON")))
}

fn show(file: &Path, as_json: bool) -> Result<(), Failure> {
    let keys =
        SigningKeys::parse(&output::read_input(file)?).map_err(|error| faulty(file, &error))?;
    let public = keys.published(|_| false);
    let public = public.get("keys").and_then(Value::as_array);
    let rows = keys.iter().zip(public.into_iter().flatten());

    if as_json {
        let keys: Vec<Value> = rows
            .map(|(entry, jwk)| {
                json!({ "kid": entry.key.id(), "status": entry.status, "public": jwk })
            })
            .collect();
        return output::json(&json!({ "keys": keys }));
    }
    let mut table = output::table(&["kid", "status", "public JWK"]);
    for (entry, jwk) in rows {
        table.add_row([
            output::cell(entry.key.id()),
            output::status(entry.status.as_str()),
            output::cell(&jwk.to_string()),
        ]);
    }
    output::print_table(&table)
}

async fn status(settings: &Settings, as_json: bool) -> Result<(), Failure> {
    let keys = Admin::new(settings.operator()?).keys().await?;
    if as_json {
        return output::json(&json!({ "keys": keys }));
    }
    let now = now_seconds();
    let mut table = output::table(&["kid", "alg", "status", "for", "signs", "revoked"]);
    for key in &keys {
        let age = key
            .since
            .map(|since| format!("{} s", now.saturating_sub(since)));
        table.add_row([
            output::cell(&key.kid),
            output::cell(key.alg.as_str()),
            output::status(key.status.as_str()),
            output::maybe(age.as_deref()),
            output::cell(if key.signs { "yes" } else { "no" }),
            output::maybe(key.revoked_at.as_deref()),
        ]);
    }
    output::print_table(&table)
}

/// Revokes a signing key, and tells which one signs now.
pub(super) async fn revoke(
    admin: &Admin,
    revocation: &NewRevocation<'_>,
    as_json: bool,
) -> Result<(), Failure> {
    let Changed { subject, changed } = admin.revoke(revocation).await?;
    let keys = admin.keys().await?;
    let signer = keys.iter().find(|key| key.signs);
    if as_json {
        let mut answer = json!(Changed { subject, changed });
        if let (Some(signer), Some(members)) = (signer, answer.as_object_mut()) {
            members.insert("signs".to_owned(), signer.kid.as_str().into());
        }
        output::json(&answer)?;
    } else {
        let is_held = keys.iter().any(|key| key.kid == revocation.id);
        output::note(match (changed, is_held) {
            (false, _) => "It was so already: nothing changed.",
            (true, true) => "The key is revoked: it signs no more, and is published no more.",
            (true, false) => {
                "The key is revoked. This authority does not hold it: should it be put, it will not sign."
            }
        });
    }
    match signer {
        Some(_) if as_json => Ok(()),
        Some(key) => output::line(&format!("{} signs", output::printable(&key.kid))),
        None => Err(Failure::no(
            "no key is left that signs: nothing is issued until another set is put",
        )
        .hint("connectctl keys rotate FILE && wrangler secret put SIGNING_KEYS < FILE")),
    }
}

async fn rotate(args: &RotateArgs, settings: &Settings, as_json: bool) -> Result<(), Failure> {
    let mut set = read_set(&args.file)?;
    // What has no kid gets one: it is how the authority speaks of it.
    let keys = SigningKeys::parse(&set.to_string()).map_err(|error| faulty(&args.file, &error))?;
    let jwks = set
        .get_mut("keys")
        .and_then(Value::as_array_mut)
        .ok_or_else(|| faulty(&args.file, &SigningKeysError::NotASet("no list \"keys\"")))?;
    for (jwk, entry) in jwks.iter_mut().zip(keys.iter()) {
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".into(), entry.key.id().into());
        }
    }
    // The first step needs nobody; whoever can be asked is asked nevertheless.
    let held = match settings.operator() {
        Ok(authority) => Some(Admin::new(authority).keys().await?),
        Err(_) => None,
    };
    let held: Option<Vec<Held>> = held.map(|keys| keys.into_iter().map(Held::from).collect());
    let before = jwks.clone();
    let outcome = rotation::step(jwks, held.as_deref(), args.wait, now_seconds(), |status| {
        new_key(args.alg, status)
    })?;
    let is_changed = *jwks != before;
    SigningKeys::parse(&set.to_string())
        .map_err(|error| Failure::no(format!("the next set would be faulty: {error}")))?;

    let is_stdin = args.file.as_os_str() == "-";
    if is_changed && !is_stdin {
        replace(&args.file, &set)?;
    }
    if is_stdin {
        output::json(&set)?;
    } else if as_json {
        report(&set, &outcome)?;
    }
    let file = if is_stdin {
        "the printed set".to_owned()
    } else {
        args.file.display().to_string()
    };
    tell(&outcome, &file)
}

fn report(set: &Value, outcome: &Outcome) -> Result<(), Failure> {
    let (step, wait) = match outcome {
        Outcome::Done(Step::Added(_)) => ("added", None),
        Outcome::Done(Step::Promoted(_)) => ("promoted", None),
        Outcome::Done(Step::Dropped(_)) => ("dropped", None),
        Outcome::Done(Step::Purged(_)) => ("purged", None),
        Outcome::TooEarly(Obstacle::Wait(_, left)) => ("none", Some(*left)),
        Outcome::TooEarly(_) => ("none", None),
    };
    let keys: Vec<Value> = set
        .get("keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|key| json!({ "kid": key.get("kid"), "status": key.get("status") }))
        .collect();
    output::json(&json!({ "step": step, "safe_in_seconds": wait, "keys": keys }))
}

fn tell(outcome: &Outcome, file: &str) -> Result<(), Failure> {
    let done = match outcome {
        Outcome::Done(Step::Added(kid)) => {
            format!("{kid} is announced as next.")
        }
        Outcome::Done(Step::Promoted(kid)) => {
            format!("{kid} signs from now on; the key before it is retired.")
        }
        Outcome::Done(Step::Dropped(kids)) => {
            format!("Dropped {}: the rotation is complete.", kids.join(", "))
        }
        Outcome::Done(Step::Purged(kids)) => {
            format!("Dropped {}, which was revoked.", kids.join(", "))
        }
        Outcome::TooEarly(Obstacle::Unasked) => {
            return Err(
                Failure::usage("the authority has to be asked before the next step").hint(
                    "give --authority (or CONNECT_AUTHORITY) and CONNECT_OPERATOR_TOKEN, or a profile",
                ),
            );
        }
        Outcome::TooEarly(Obstacle::NotPut(kid)) => {
            return Err(Failure::no(format!(
                "the authority does not hold {kid} as {file} has it"
            ))
            .hint(put(file)));
        }
        Outcome::TooEarly(Obstacle::Wait(kid, left)) => {
            return Err(Failure::no(format!(
                "too early for {kid}: the next step is safe in {left} s"
            ))
            .hint("run this command again then"));
        }
    };
    output::note(&done);
    output::note(&format!("Now: {}", put(file)));
    if !matches!(outcome, Outcome::Done(Step::Dropped(_))) {
        output::note("Then run this command again: it says when the next step is safe.");
    }
    Ok(())
}

fn put(file: &str) -> String {
    format!("wrangler secret put SIGNING_KEYS < {file}")
}

fn replace(file: &Path, set: &Value) -> Result<(), Failure> {
    let fault = |error: std::io::Error| {
        Failure::unavailable(format!(
            "can't write {}: {}; it is as it was",
            file.display(),
            io_reason(&error)
        ))
    };
    let text = serde_json::to_string_pretty(set)
        .map_err(|error| Failure::unavailable(format!("can't write JSON: {error}")))?;
    // Where the file is a link, what it leads to is replaced.
    let file = fs::canonicalize(file).map_err(fault)?;
    private_file::replace(&file, &text).map_err(fault)
}

impl From<HeldKey> for Held {
    fn from(key: HeldKey) -> Self {
        Self {
            kid: key.kid,
            status: key.status,
            revoked: key.revoked,
        }
    }
}

fn faulty(file: &Path, error: &SigningKeysError) -> Failure {
    let file = match file.to_str() {
        Some("-") => "standard input".into(),
        _ => file.display().to_string(),
    };
    Failure::usage(format!("{file}: {error}"))
}
