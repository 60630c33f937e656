//! Says in words why JSON is not of the shape that was asked for. What serde says of that names types of
//! Rust, which nobody knows who sent the JSON.

use serde::de::IgnoredAny;

use crate::{json_path, text::shown};

/// Says which member of `json` kept it from being read, what it is and what it must be:
/// `policy.clients: must be an object, but is a list`. `whole` stands for what has no member.
pub fn misread(json: &[u8], error: &serde_json::Error, whole: &str) -> String {
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(json) {
        return format!("{whole}: is not JSON: {error}");
    }
    let text = error.to_string();
    let text = match text.rsplit_once(" at line ") {
        Some((text, _)) if error.line() > 0 => text,
        _ => &text,
    };
    let mut path = json_path::at(json, error);
    if let Some(member) = text.strip_prefix("missing field `") {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(member.trim_end_matches('`'));
        return format!("{path}: is missing");
    }
    let place = if path.is_empty() { whole } else { &path };
    format!("{place}: {}", reworded(text, error.is_syntax()))
}

fn reworded(text: &str, is_syntax: bool) -> String {
    // It is JSON, so the reader wanted something else in this place: a word of a few.
    if is_syntax {
        return match text {
            "number out of range" => "is a number beyond those of IEEE 754".to_owned(),
            "recursion limit exceeded" => "is nested too deep".to_owned(),
            _ => "must be a string".to_owned(),
        };
    }
    if text.starts_with("duplicate field ") {
        return "stands there twice".to_owned();
    }
    if let Some(unknown) = text.strip_prefix("unknown field `") {
        return match unknown.rsplit_once("`, expected ") {
            Some((_, known)) => format!("is no member; there are {}", names(known)),
            None => "is no member; there are none".to_owned(),
        };
    }
    if let Some(unknown) = text.strip_prefix("unknown variant `") {
        let (unknown, known) = unknown.rsplit_once("`, expected ").unwrap_or((unknown, ""));
        return format!(
            "must be one of {}, but is \"{}\"",
            names(known),
            shown(unknown)
        );
    }
    if let Some(length) = text.strip_prefix("invalid length ") {
        let (length, expected) = length.split_once(", expected ").unwrap_or((length, ""));
        return format!("must be {}, but has the length {length}", wanted(expected));
    }
    let wrong = ["invalid type: ", "invalid value: "];
    let wrong = wrong.iter().find_map(|prefix| text.strip_prefix(prefix));
    match wrong.and_then(|wrong| wrong.rsplit_once(", expected ")) {
        Some((is, expected)) => format!("must be {}, but is {}", wanted(expected), found(is)),
        // A reader of ours has said it already.
        None => text.to_owned(),
    }
}

/// The names between the backticks of a text.
fn names(text: &str) -> String {
    let names = text.split('`').skip(1).step_by(2);
    let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}

fn wanted(expected: &str) -> String {
    match expected {
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        "unit" => "null".to_owned(),
        "u8" => whole_number(u8::MAX.into()),
        "u16" => whole_number(u16::MAX.into()),
        "u32" | "usize" => whole_number(u32::MAX.into()),
        "u64" => whole_number(u64::MAX),
        expected if expected.starts_with("struct ") => "an object".to_owned(),
        expected => expected.to_owned(),
    }
}

fn whole_number(max: u64) -> String {
    format!("a whole number from 0 to {max}")
}

fn found(is: &str) -> String {
    match is {
        "null" => return "null".to_owned(),
        "sequence" => return "a list".to_owned(),
        "map" => return "an object".to_owned(),
        _ => {}
    }
    if let Some(text) = is.strip_prefix("string ") {
        return format!("the string \"{}\"", shown(text.trim_matches('"')));
    }
    // What is left are numbers and truth values, each between backticks.
    is.split('`')
        .nth(1)
        .map_or("something else", |value| value)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use mcp_connect_strict_json as strict_json;
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::Namespace;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Body {
        name: String,
        role: Option<Role>,
        count: Option<u32>,
        is_on: Option<bool>,
        #[serde(default, deserialize_with = "strict_json::maybe_object")]
        nested: Option<Nested>,
        #[serde(default, deserialize_with = "strict_json::objects")]
        list: Vec<Nested>,
        namespace: Option<Namespace>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Role {
        Auditor,
        Operator,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Nested {
        names: Vec<String>,
    }

    fn told(json: &str) -> String {
        let error = serde_json::from_str::<Body>(json).unwrap_err();
        misread(json.as_bytes(), &error, "the body")
    }

    #[test]
    fn says_what_is_there_and_what_must_be() {
        for (json, expected) in [
            ("{}", "name: is missing"),
            (r#"{"name":null}"#, "name: must be a string, but is null"),
            (r#"{"name":["a"]}"#, "name: must be a string, but is a list"),
            (r#"{"name":{}}"#, "name: must be a string, but is an object"),
            (r#"{"name":true}"#, "name: must be a string, but is true"),
            (r#"{"name":1.5}"#, "name: must be a string, but is 1.5"),
            (r#"{"name":"a","name":"b"}"#, "name: stands there twice"),
            (
                r#"{"name":"a","other":1}"#,
                r#"other: is no member; there are "name", "role", "count", "is_on", "nested", "list", "namespace""#,
            ),
            (
                r#"{"role":"viewer"}"#,
                r#"role: must be one of "auditor", "operator", but is "viewer""#,
            ),
            (
                r#"{"role":"a`, expected \u202e"}"#,
                r#"role: must be one of "auditor", "operator", but is "a`, expected \u{202e}""#,
            ),
            (r#"{"role":5,"name":"a"}"#, "role: must be a string"),
            (
                r#"{"name":"a","role":["operator"]}"#,
                "role: must be a string",
            ),
            (r#"{"role":true}"#, "role: must be a string"),
            (
                r#"{"count":-1}"#,
                "count: must be a whole number from 0 to 4294967295, but is -1",
            ),
            (
                r#"{"count":4294967296}"#,
                "count: must be a whole number from 0 to 4294967295, but is 4294967296",
            ),
            (
                r#"{"count":"7"}"#,
                r#"count: must be a whole number from 0 to 4294967295, but is the string "7""#,
            ),
            (
                r#"{"count":1e999}"#,
                "count: is a number beyond those of IEEE 754",
            ),
            (r#"{"is_on":0}"#, "is_on: must be true or false, but is 0"),
            (
                r#"{"nested":[]}"#,
                "nested: must be an object, but is a list",
            ),
            (
                r#"{"nested":[["a"]]}"#,
                "nested: must be an object, but is a list",
            ),
            (r#"{"nested":{}}"#, "nested.names: is missing"),
            (
                r#"{"nested":{"names":null}}"#,
                "nested.names: must be a list, but is null",
            ),
            (
                r#"{"nested":{"names":["a",1]}}"#,
                "nested.names[1]: must be a string, but is 1",
            ),
            (
                r#"{"nested":{"name":1}}"#,
                r#"nested.name: is no member; there are "names""#,
            ),
            (r#"{"list":[{"names":[]},{}]}"#, "list[1].names: is missing"),
            (
                r#"{"list":[[["a"]]]}"#,
                "list[0]: must be an object, but is a list",
            ),
            (
                r#"{"name":"a","namespace":"-"}"#,
                r#"namespace: the namespace before "/" must be two or more letters, digits, "." or "-", beginning and ending with a letter or digit"#,
            ),
            (
                r#"{"name":"a"} x"#,
                "the body: is not JSON: trailing characters at line 1 column 14",
            ),
        ] {
            assert_eq!(told(json), expected, "{json}");
        }
    }

    #[test]
    fn what_is_long_is_cut_off() {
        let long = "x".repeat(5000);
        for json in [
            format!(r#"{{"role":"{long}"}}"#),
            format!(r#"{{"count":"{long}"}}"#),
            format!(r#"{{"{long}":1}}"#),
        ] {
            assert!(told(&json).len() < 200, "{}", told(&json));
        }
    }

    proptest! {
        #[test]
        fn no_type_of_rust_is_named(
            member in prop::sample::select(vec!["name", "role", "count", "is_on", "nested", "list", "namespace"]),
            value in prop::sample::select(vec![
                "null", "true", "-1", "1.5", "1e400", "\"\"", "\"a\"", "[]", "[null]", "[[]]", "{}", "{\"a\":1}", "[{}]",
                "{\"names\":[{}]}", "{\"operator\":{}}",
            ]),
        ) {
            let json = format!("{{\"{member}\":{value}}}");
            if serde_json::from_str::<Body>(&json).is_err() {
                let told = told(&json);
                for word in ["struct", "enum", "variant", "field", "sequence", "map", "u32", "invalid", "line", "Role"] {
                    prop_assert!(!told.contains(word), "{told}");
                }
            }
        }
    }
}
