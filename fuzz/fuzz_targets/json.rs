//! Strict JSON: accepted exactly where a plain reading finds an object without duplicate members.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_connect_descriptor::strict_json;
use mcp_connect_fuzz::object;
use serde_json::{Map, Value};

fuzz_target!(|input: &[u8]| {
    let strict: Option<Map<String, Value>> = strict_json::from_slice(input).ok();
    assert_eq!(strict, object(input));
});
