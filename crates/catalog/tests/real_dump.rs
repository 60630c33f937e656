//! The real registry as it once was is taken in, but for what can't be.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::{collections::BTreeMap, fs, path::PathBuf};

use mcp_connect_catalog::{
    Depth, EndpointRules, Entry, Official, Severity, VersionStatus, faults, format_date, issues,
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

#[derive(Deserialize)]
struct Dump {
    servers: Vec<Box<RawValue>>,
}

fn dump() -> Option<Dump> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/official-registry-2025-12-12.json");
    let Ok(text) = fs::read_to_string(&path) else {
        eprintln!("not imported: {} is not there", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

#[test]
fn exactly_what_can_not_be_represented_is_refused() {
    let Some(dump) = dump() else { return };
    let mut refusals = BTreeMap::new();
    let (mut taken, mut connectable, mut deleted) = (0, 0, 0);
    for json in &dump.servers {
        match Entry::parse(json, EndpointRules::Public) {
            Ok(entry) => {
                taken += 1;
                connectable += usize::from(entry.endpoint.is_some());
                deleted += usize::from(entry.status == VersionStatus::Deleted);
            }
            Err(refusal) => *refusals.entry(refusal.to_string()).or_insert(0) += 1,
        }
    }
    // Dirty as it is (empty `$schema`s and repositories, packages of version "latest", …), each
    // entry says what a registry must know.
    assert_eq!(refusals, BTreeMap::new());
    assert_eq!((taken, connectable, deleted), (2628, 925, 0));
}

#[test]
fn the_latest_version_is_the_one_that_the_registry_calls_so() {
    let Some(dump) = dump() else { return };
    let mut latest: BTreeMap<String, (String, bool)> = BTreeMap::new();
    let mut entries: Vec<Entry> = dump
        .servers
        .iter()
        .map(|json| Entry::parse(json, EndpointRules::Public).unwrap())
        .collect();
    entries.sort_by_key(|entry| entry.published_at_micros);
    for entry in entries {
        let key = entry.version.sort_key(entry.published_at_micros.unwrap());
        let this = (key, entry.is_latest.unwrap());
        let best = latest
            .entry(entry.name.to_string())
            .or_insert_with(|| this.clone());
        if best.0 < this.0 {
            *best = this;
        }
    }
    let others: Vec<&String> = latest
        .iter()
        .filter(|(_, (_, is))| !is)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(others, Vec::<&String>::new());
}

#[test]
fn what_the_registry_says_is_served_as_it_was() {
    let Some(dump) = dump() else { return };
    for json in &dump.servers {
        let Ok(entry) = Entry::parse(json, EndpointRules::Public) else {
            continue;
        };
        let said: Value = serde_json::from_str(json.get()).unwrap();
        let said = &said["_meta"]["io.modelcontextprotocol.registry/official"];
        let published_at = entry.published_at_micros.unwrap();
        assert_eq!(format_date(published_at), said["publishedAt"]);
        let official = Official {
            status: entry.status,
            status_message: entry.status_message,
            status_changed_at: entry.status_changed_at_micros.unwrap_or(published_at),
            published_at,
            updated_at: entry.updated_at_micros.unwrap(),
            is_latest: entry.is_latest.unwrap(),
        };
        let served: Value = serde_json::from_str(&official.with_others(&json!({}), None)).unwrap();
        let served = &served["io.modelcontextprotocol.registry/official"];
        for (member, value) in said.as_object().unwrap() {
            assert_eq!(&served[member], value, "{member} {said}");
        }
    }
}

#[test]
fn what_would_be_refused_today_is_known_by_its_rule() {
    let Some(dump) = dump() else { return };
    let mut rules = BTreeMap::new();
    for json in &dump.servers {
        let entry: Value = serde_json::from_str(json.get()).unwrap();
        let server = &entry["server"];
        let issues = issues(server, Depth::Publish, EndpointRules::Public);
        let error = issues
            .iter()
            .find(|issue| issue.severity == Severity::Error);
        let rule = match (faults(server).first(), error) {
            (Some(fault), _) => fault.message.clone(),
            (None, Some(issue)) => issue.reference.to_owned(),
            (None, None) => "none".to_owned(),
        };
        *rules.entry(rule).or_insert(0) += 1;
    }
    let format = r#"expected value to be one of "string, number, boolean, filepath""#;
    let expected = [
        // Of `$schema`.
        ("expected length >= 1", 17),
        (format, 1),
        // Of packages.
        ("reserved-version-string", 5),
        ("none", 2605),
    ];
    let expected = expected.map(|(rule, count)| (rule.to_owned(), count));
    assert_eq!(rules, BTreeMap::from(expected));
}
