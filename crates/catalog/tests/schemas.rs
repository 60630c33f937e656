//! The table by which server.json is checked says of every document what the published schemas say.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::{fs, path::PathBuf};

use jsonschema::Validator;
use mcp_connect_catalog::{Depth, EndpointRules, Issue, IssueKind, Severity, faults, issues};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const PUBLISHED: [&str; 6] = [
    "2025-07-09",
    "2025-09-16",
    "2025-09-29",
    "2025-10-11",
    "2025-10-17",
    "2025-12-11",
];

fn shared(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(path)
}

fn read(path: &PathBuf) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A published schema as others read it. Formats aren't looked at: they are left to the rules.
struct Published {
    date: &'static str,
    validator: Validator,
}

fn published() -> Vec<Published> {
    if !shared("data/server-schema").exists() {
        eprintln!("not compared: the published schemas are not there");
        return Vec::new();
    }
    PUBLISHED
        .iter()
        .map(|date| Published {
            date,
            validator: jsonschema::draft7::options()
                .should_validate_formats(false)
                .build(&read(&shared(&format!("data/server-schema/{date}.json"))))
                .unwrap(),
        })
        .collect()
}

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/server.json")).unwrap()
}

/// What is wrong with a document by the table, were it one of this schema.
fn found(date: &str, document: &Value) -> Vec<Issue> {
    let mut document = document.clone();
    if let Some(members) = document.as_object_mut() {
        let url =
            format!("https://static.modelcontextprotocol.io/schemas/{date}/server.schema.json");
        members.insert("$schema".into(), url.into());
    }
    issues(&document, Depth::Full, EndpointRules::Public)
        .into_iter()
        .filter(|issue| issue.kind == IssueKind::Schema && issue.severity == Severity::Error)
        .collect()
}

/// The document with its members spelt as the first schema has them.
fn in_snake_case(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let spelt = name.chars().fold(String::new(), |mut spelt, char| {
                    if char.is_ascii_uppercase() {
                        spelt.push('_');
                    }
                    spelt.push(char.to_ascii_lowercase());
                    spelt
                });
                (spelt, in_snake_case(value))
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(in_snake_case).collect(),
        scalar => scalar.clone(),
    }
}

/// How many of the published schemas accept the document, after comparing what they say.
fn compare(schemas: &[Published], document: &Value) -> usize {
    let mut accepted = 0;
    // What is no object has no schema.
    if !document.is_object() {
        return accepted;
    }
    for document in [document, &in_snake_case(document)] {
        for schema in schemas {
            let mut document = document.clone();
            if let Some(members) = document.as_object_mut() {
                members.insert("$schema".into(), "https://example.com/".into());
            }
            let found = found(schema.date, &document);
            let valid = schema.validator.is_valid(&document);
            assert_eq!(
                found.is_empty(),
                valid,
                "{} {found:#?}\n{document:#}",
                schema.date
            );
            accepted += usize::from(valid);
        }
    }
    accepted
}

#[test]
fn a_full_document_has_no_faults() {
    assert_eq!(faults(&fixture()), []);
    assert_eq!(issues(&fixture(), Depth::Full, EndpointRules::Public), []);
    let schemas = published();
    if !schemas.is_empty() {
        // By each in its spelling: packages of the other one miss what they must have.
        assert_eq!(compare(&schemas, &fixture()), 6);
    }
}

#[test]
fn cases_examples_and_the_real_registry_are_judged_alike() {
    let schemas = published();
    if schemas.is_empty() {
        return;
    }
    let mut documents = Vec::new();
    for case in read(&shared("conformance/registry/validator-cases.json"))["cases"]
        .as_array()
        .unwrap()
    {
        documents.push(case["server"].clone());
    }
    for folder in ["valid", "invalid"] {
        for file in fs::read_dir(shared("data/server-json-examples").join(folder)).unwrap() {
            documents.push(read(&file.unwrap().path()));
        }
    }
    for entry in read(&shared("data/official-registry-2025-12-12.json"))["servers"]
        .as_array()
        .unwrap()
    {
        documents.push(entry["server"].clone());
    }
    let accepted: usize = documents
        .iter()
        .map(|document| compare(&schemas, document))
        .sum();
    assert!(
        documents.len() > 2700 && accepted > 10_000,
        "{} {accepted}",
        documents.len()
    );
}

#[test]
fn the_examples_of_the_official_registry_are_what_they_are_called() {
    for (folder, valid) in [("valid", true), ("invalid", false)] {
        let Ok(files) = fs::read_dir(shared("data/server-json-examples").join(folder)) else {
            eprintln!("not compared: the examples are not there");
            return;
        };
        for file in files {
            let path = file.unwrap().path();
            let found = found("2025-12-11", &read(&path));
            assert_eq!(found.is_empty(), valid, "{path:?} {found:#?}");
        }
    }
}

#[test]
fn faults_are_found_where_others_find_them() {
    let path = shared("conformance/registry/validator-cases.json");
    if !path.exists() {
        eprintln!("not compared: {path:?} is not there");
        return;
    }
    for case in read(&path)["cases"].as_array().unwrap() {
        let found = found("2025-12-11", &case["server"]);
        let expected = &case["static_schema_2025_12_11_valid"];
        assert_eq!(
            found.is_empty(),
            expected.as_bool().unwrap(),
            "{found:#?} {case}"
        );
        for place in case["static_schema_error_paths"].as_array().unwrap() {
            let place = place
                .as_str()
                .unwrap()
                .split('/')
                .fold(String::new(), |path, part| match part.parse::<usize>() {
                    Ok(index) => format!("{path}[{index}]"),
                    Err(_) if path.is_empty() => part.to_owned(),
                    Err(_) => format!("{path}.{part}"),
                });
            let there = found.iter().any(|issue| issue.path.starts_with(&place));
            assert!(there, "{place} {found:#?}");
        }
    }
}

#[test]
fn each_schema_refuses_what_it_doesnt_allow() {
    let schemas = published();
    let cases: Value = serde_json::from_str(include_str!("../fixtures/schemas.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let mut document = fixture();
        let (place, name) = case["at"].as_str().unwrap().rsplit_once('/').unwrap();
        let name = name.replace("~1", "/");
        let parent = document
            .pointer_mut(place)
            .unwrap()
            .as_object_mut()
            .unwrap();
        match case.get("value") {
            Some(value) => parent.insert(name, value.clone()),
            None => parent.remove(&name),
        };
        compare(&schemas, &document);
        let refused = |date: &str| {
            let spelt = if date == "2025-07-09" {
                in_snake_case(&document)
            } else {
                document.clone()
            };
            !found(date, &spelt).is_empty()
        };
        let refusing: Vec<&str> = PUBLISHED.into_iter().filter(|date| refused(date)).collect();
        assert_eq!(json!(refusing), case["refused_by"], "{case}");
        if let Some(issue) = found("2025-12-11", &document).first() {
            assert_eq!(
                json!([issue.path, issue.reference]),
                case["issue"],
                "{case}"
            );
        }
        let faults: Vec<String> = faults(&document)
            .into_iter()
            .map(|it| it.location)
            .collect();
        assert_eq!(json!(faults), case["faults"], "{case}");
    }
}

/// Something that is done to a document at the place that a number leads to.
#[derive(Clone, Debug)]
enum Mutation {
    Replace(Value),
    Insert(&'static str, Value),
    Remove,
    Repeat,
}

fn values() -> impl Strategy<Value = Value> {
    let text = |text: &str| Just(Value::from(text)).boxed();
    let length = |count: usize| Just(Value::from("é".repeat(count))).boxed();
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        Just(json!(5)),
        Just(json!([])),
        Just(json!({})),
        Just(json!(["48x48", "48X48"])),
        Just(json!([{}])),
        Just(json!({"x": {}, "y": {"format": "date"}})),
        Just(json!({"type": "stdio", "url": 5})),
        Just(json!({"type": "sse", "url": "https://a.b"})),
        Just(json!({"type": "positional"})),
        prop::sample::select(vec![0, 1, 2, 3, 100, 101, 200, 201, 255, 256]).prop_flat_map(length),
        prop::sample::select(vec![
            "latest",
            "stdio",
            "sse",
            "streamable-http",
            "positional",
            "named",
            "active",
            "light",
            "image/png",
            "number",
            "a/b",
            "a.b/c_d",
            "a_b/c",
            "a/b/c",
            "http://",
            "http://a",
            "https://a b",
            "https://a\t",
            "https://\u{a0}",
            "ftp://a",
            "any",
            "1x1",
            "x1",
            "0x",
        ])
        .prop_flat_map(text),
        "[a-f0-9]{63,65}".prop_map(Value::from),
    ]
}

fn mutations() -> impl Strategy<Value = Mutation> {
    let names = vec![
        "name",
        "title",
        "status",
        "icons",
        "variables",
        "headers",
        "url",
        "value",
        "valueHint",
        "value_hint",
        "placeholder",
        "isRequired",
        "is_required",
        "format",
        "theme",
        "version",
        "license",
        "_meta",
        "io.modelcontextprotocol.registry/official",
        "fileSha256",
        "remotes",
        "packageArguments",
        "registry_type",
    ];
    prop_oneof![
        3 => values().prop_map(Mutation::Replace),
        2 => (prop::sample::select(names), values()).prop_map(|(name, value)| Mutation::Insert(name, value)),
        2 => Just(Mutation::Remove),
        1 => Just(Mutation::Repeat),
    ]
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Object(members) => members.values().map(count).sum(),
        Value::Array(items) => items.iter().map(count).sum(),
        _ => 0,
    }
}

/// Does it at the node of this number, counted depth first. `None`: take the node away.
fn mutate(value: &Value, place: &mut usize, mutation: &Mutation) -> Option<Value> {
    if *place == 0 {
        *place = usize::MAX;
        return match (mutation, value) {
            (Mutation::Remove, _) => None,
            (Mutation::Replace(other), _) => Some(other.clone()),
            (Mutation::Insert(name, other), Value::Object(members)) => {
                let mut members = members.clone();
                members.insert((*name).to_owned(), other.clone());
                Some(members.into())
            }
            (Mutation::Repeat, Value::Array(items)) => {
                Some(items.iter().chain(items).cloned().collect())
            }
            _ => Some(value.clone()),
        };
    }
    *place -= usize::from(*place != usize::MAX);
    Some(match value {
        Value::Object(members) => members
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), mutate(value, place, mutation)?)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items
            .iter()
            .filter_map(|item| mutate(item, place, mutation))
            .collect(),
        scalar => scalar.clone(),
    })
}

#[test]
fn documents_made_wrong_are_judged_alike() {
    let schemas = published();
    if schemas.is_empty() {
        return;
    }
    let mut seeds = vec![fixture()];
    for file in fs::read_dir(shared("data/server-json-examples/valid")).unwrap() {
        seeds.push(read(&file.unwrap().path()));
    }
    let cases = (
        prop::sample::select(seeds),
        prop::collection::vec((any::<prop::sample::Index>(), mutations()), 1..4),
    );
    proptest!(ProptestConfig::with_cases(500), |((seed, steps) in cases)| {
        let mut document = seed;
        for (index, mutation) in steps {
            let mut place = index.index(count(&document));
            document = mutate(&document, &mut place, &mutation).unwrap_or_default();
        }
        compare(&schemas, &document);
    });
}
