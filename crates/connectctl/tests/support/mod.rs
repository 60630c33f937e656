#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use assert_cmd::Command;
use mcp_connect_descriptor::{Descriptor, ServerIdentity};

pub(crate) const SERVER: &str = "com.example/weather";

/// `connectctl` in an environment that says nothing, with `home` as the home directory.
pub(crate) fn connectctl(home: &Path) -> Command {
    let mut command = Command::cargo_bin("connectctl").unwrap();
    command
        .env_clear()
        .env("HOME", home)
        .timeout(std::time::Duration::from_mins(1));
    command
}

#[expect(clippy::disallowed_methods, reason = "tests run now")]
pub(crate) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

pub(crate) fn descriptor(issuer: &str, endpoint: &str, issued_at: u64) -> Descriptor {
    Descriptor {
        issuer: issuer.into(),
        endpoint: endpoint.into(),
        server: ServerIdentity {
            id: SERVER.into(),
            version: "1.2.0".into(),
            verified: true,
            jwks_uri: None,
            tls_pin_sha256: None,
        },
        issued_at,
        not_before: issued_at,
        expires_at: issued_at + 60,
        jti: "q3VYb2h1S2FmT0l5dUtQZA".into(),
        client_id: Some("desktop".into()),
        tenant_id: None,
        confirmation: None,
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
