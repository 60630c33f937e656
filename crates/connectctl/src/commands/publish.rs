use std::path::Path;

use mcp_connect_catalog::{EndpointRules, ServerRef, unconnectable_remotes};
use mcp_connect_client::{Authority, ConnectError};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use crate::{
    api::segment,
    cli::{PublishedStatus, StatusArgs},
    config::Settings,
    failure::Failure,
    output,
    session::Session,
};

const OFFICIAL: &str = "io.modelcontextprotocol.registry/official";

#[derive(Deserialize, Serialize)]
struct Verdict {
    valid: bool,
    #[serde(default)]
    issues: Vec<Issue>,
}

#[derive(Deserialize, Serialize)]
struct Issue {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    message: String,
    severity: String,
    reference: String,
}

pub(crate) async fn publish(
    file: &Path,
    settings: &Settings,
    as_json: bool,
) -> Result<(), Failure> {
    let registry = Session::registry(settings)?;
    let server = read(file)?;
    let published: Result<Value, _> = registry
        .call(Method::POST, "/v0/publish", Some(&server))
        .await;
    match published {
        Ok(entry) => {
            show(&entries(entry)?, as_json)?;
            warn_of_unconnectable(&server, registry.issuer());
            Ok(())
        }
        Err(ConnectError::Denied(denial)) if denial.status == 422 => {
            let verdict = judge(&registry, &server).await?;
            if verdict.valid {
                return Err(ConnectError::Denied(denial).into());
            }
            refused(&verdict, as_json)
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn validate(
    file: &Path,
    settings: &Settings,
    as_json: bool,
) -> Result<(), Failure> {
    let server = read(file)?;
    let verdict = judge(&settings.anonymous()?, &server).await?;
    if !verdict.valid {
        return refused(&verdict, as_json);
    }
    verdict.show(as_json)?;
    if !as_json {
        output::note(
            "The server.json is valid. Whether its version and its URLs are still free, publishing it tells.",
        );
    }
    Ok(())
}

pub(crate) async fn set_status(
    server: &ServerRef,
    status: PublishedStatus,
    args: &StatusArgs,
    settings: &Settings,
    as_json: bool,
) -> Result<(), Failure> {
    let name = segment(server.name.as_str());
    let of_server = format!("/v0/servers/{name}");
    let (current, path) = match (&server.version, args.all_versions) {
        (None, true) => (format!("{of_server}/versions"), of_server),
        (Some(version), false) => {
            let of_version = format!("{of_server}/versions/{}", segment(version.as_str()));
            (of_version.clone(), of_version)
        }
        (None, false) => {
            return Err(Failure::usage("no version is given")
                .hint("write namespace/name@version, or add --all-versions"));
        }
        (Some(_), true) => {
            return Err(Failure::usage("with --all-versions, write namespace/name"));
        }
    };
    let registry = Session::registry(settings)?;
    // Whether there is anything to change, before it is asked for.
    let current = format!("{current}?include_deleted=true");
    let _: Value = registry.call(Method::GET, &current, None::<&()>).await?;
    let mut body = json!({ "status": status.as_str() });
    if let (Some(message), Some(members)) = (&args.message, body.as_object_mut()) {
        members.insert("statusMessage".to_owned(), message.as_str().into());
    }
    let path = format!("{path}/status");
    let answer = registry.call(Method::PATCH, &path, Some(&body)).await?;
    show(&entries(answer)?, as_json)
}

/// The entries of a registry's answer: one, or a list.
fn entries(mut answer: Value) -> Result<Vec<Value>, ConnectError> {
    let list = answer.get_mut("servers").and_then(Value::as_array_mut);
    let entries = match list.map(std::mem::take) {
        Some(entries) => entries,
        None => vec![answer],
    };
    let is_entry = |entry: &Value| {
        let server = entry.get("server");
        let has =
            |member| server.is_some_and(|server| server.get(member).is_some_and(Value::is_string));
        has("name") && has("version")
    };
    if entries.iter().all(is_entry) {
        Ok(entries)
    } else {
        let problem = "it is not an entry of a registry".to_owned();
        Err(ConnectError::InvalidAnswer(problem))
    }
}

/// Registries publish URLs that no client is sent to: whoever publishes one should know.
fn warn_of_unconnectable(server: &RawValue, registry: &str) {
    let rules = if registry.starts_with("http:") {
        EndpointRules::PublicOrLoopback
    } else {
        EndpointRules::Public
    };
    let server = serde_json::from_str(server.get()).unwrap_or_default();
    for issue in unconnectable_remotes(&server, rules) {
        output::warn(&format!("{}: {}", issue.path, issue.message));
    }
}

fn read(file: &Path) -> Result<Box<RawValue>, Failure> {
    let text = output::read_input(file)?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{} is not JSON: {error}", file.display())))
}

#[expect(clippy::borrowed_box, reason = "a body has a size")]
async fn judge(registry: &Authority, server: &Box<RawValue>) -> Result<Verdict, Failure> {
    let verdict = registry.call(Method::POST, "/v0/validate", Some(server));
    Ok(verdict.await?)
}

fn refused(verdict: &Verdict, as_json: bool) -> Result<(), Failure> {
    verdict.show(as_json)?;
    Err(Failure::no("the registry does not take this server.json"))
}

impl Verdict {
    fn show(&self, as_json: bool) -> Result<(), Failure> {
        if as_json {
            return output::json(self);
        }
        if self.issues.is_empty() {
            return Ok(());
        }
        let mut table = output::table(&["severity", "path", "problem", "reference"]);
        for issue in &self.issues {
            table.add_row([
                output::cell(&issue.severity),
                output::cell(&issue.path),
                output::cell(&issue.message),
                output::cell(&issue.reference),
            ]);
        }
        output::print_table(&table)
    }
}

/// Entries as the registry has them now.
fn show(entries: &[Value], as_json: bool) -> Result<(), Failure> {
    if as_json {
        return match entries {
            [entry] => output::json(entry),
            entries => output::json(&json!({ "servers": entries })),
        };
    }
    let mut table = output::table(&["server", "version", "status", "latest"]);
    for entry in entries {
        let text = |path: [&str; 2]| entry.get(path[0])?.get(path[1])?.as_str();
        let official = entry.get("_meta").and_then(|meta| meta.get(OFFICIAL));
        let status = official.and_then(|official| official.get("status")?.as_str());
        let is_latest = official.and_then(|official| official.get("isLatest")?.as_bool());
        table.add_row([
            output::maybe(text(["server", "name"])),
            output::maybe(text(["server", "version"])),
            output::status(status.unwrap_or("unknown")),
            output::cell(if is_latest == Some(true) {
                "latest"
            } else {
                ""
            }),
        ]);
    }
    output::print_table(&table)
}
