//! Where in a JSON document a reader stopped.

use crate::text::shown;

/// The member that was read when this error came up, as `policy.allow[3]`; nothing for the document
/// as a whole. Found from line and column, since tracking it while reading (`serde_path_to_error`)
/// costs a copy of the reader for each type, a tenth of the Worker's size.
pub(crate) fn at(json: &[u8], error: &serde_json::Error) -> String {
    let line = error.line().saturating_sub(1);
    let before: usize = json
        .split_inclusive(|byte| *byte == b'\n')
        .take(line)
        .map(<[u8]>::len)
        .sum();
    // A value that can't begin as it does was looked at, not read.
    let looked_at = usize::from(error.is_syntax());
    let column = error.column().saturating_sub(looked_at);
    let read = json.get(..before + column).unwrap_or(json);
    path(read)
}

/// What a document is in the middle of where it ends.
fn path(read: &[u8]) -> String {
    let mut steps: Vec<Step> = Vec::new();
    let mut bytes = read.iter().enumerate();
    while let Some((start, byte)) = bytes.next() {
        match byte {
            b'{' => steps.push(Step::Member(None)),
            b'[' => steps.push(Step::Item(0)),
            b'}' | b']' => {
                steps.pop();
            }
            b',' => match steps.last_mut() {
                Some(Step::Item(index)) => *index += 1,
                Some(Step::Member(name)) => *name = None,
                None => {}
            },
            b'"' => {
                let end = end_of_string(&mut bytes).unwrap_or(read.len());
                if let Some(Step::Member(name @ None)) = steps.last_mut() {
                    *name = read.get(start + 1..end);
                }
            }
            _ => {}
        }
    }
    let path: String = steps
        .iter()
        .map(|step| match step {
            Step::Item(index) => format!("[{index}]"),
            Step::Member(Some(name)) => format!(".{}", shown(&String::from_utf8_lossy(name))),
            Step::Member(None) => String::new(),
        })
        .collect();
    path.trim_start_matches('.').to_owned()
}

enum Step<'a> {
    Item(usize),
    /// Its name, once that was read.
    Member(Option<&'a [u8]>),
}

fn end_of_string<'a>(bytes: &mut impl Iterator<Item = (usize, &'a u8)>) -> Option<usize> {
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(at),
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Body {
        name: String,
        count: Option<u8>,
        nested: Option<Nested>,
        list: Option<Vec<Nested>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Nested {
        names: Vec<String>,
    }

    fn path_of(json: &str) -> String {
        at(
            json.as_bytes(),
            &serde_json::from_str::<Body>(json).unwrap_err(),
        )
    }

    #[test]
    fn names_what_is_wrong() {
        for (json, expected) in [
            (r#"{"name":1}"#, "name"),
            (r#"{"name":"a","count":-1}"#, "count"),
            (r#"{"name":"a","count":256,"nested":null}"#, "count"),
            ("{\"name\": \"a\",\n \"count\" :\n  []}", "count"),
            (
                r#"{"name":"a,\"{[","nested":{"names":["a",1]}}"#,
                "nested.names[1]",
            ),
            (
                r#"{"name":"a","list":[{"names":[]},{"names":[null]}]}"#,
                "list[1].names[0]",
            ),
            (r#"{"name":"a","list":[{"names":[]},{}]}"#, "list[1]"),
            (r#"{"name":"a","nested":{"other":1}}"#, "nested.other"),
            (r#"{"name":"a","name":"b"}"#, "name"),
            (r#"{"count":1}"#, ""),
        ] {
            assert_eq!(path_of(json), expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn takes_whatever_bytes(json in prop::collection::vec(any::<u8>(), 0..64)) {
            path(&json);
            if let Err(error) = serde_json::from_slice::<Body>(&json) {
                at(&json, &error);
            }
        }
    }
}
