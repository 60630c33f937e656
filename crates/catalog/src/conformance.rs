//! Tables of cases and documents that lie beside the repository where there are any.

use serde_json::Value;

/// A file of JSON beside the repository.
pub(crate) fn shared(path: &str) -> Option<Value> {
    let path = format!("{}/../../../shared/{path}", env!("CARGO_MANIFEST_DIR"));
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("not compared: {path} is not there");
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}
