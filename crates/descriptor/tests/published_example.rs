//! The worked example of docs/protocol.md is what this crate mints and accepts.

use mcp_connect_descriptor::{Descriptor, Expected, ServerIdentity, SigningKeys, verify};

const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","status":"active",
    "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

#[test]
fn the_published_example_holds() {
    let keys = SigningKeys::parse(KEYS).unwrap();
    let descriptor = Descriptor {
        issuer: "https://authority.example".into(),
        endpoint: "https://mcp.example/mcp".into(),
        server: ServerIdentity {
            id: "com.example/weather".into(),
            version: "1.2.0".into(),
            verified: true,
            jwks_uri: None,
            tls_pin_sha256: None,
        },
        issued_at: 1_800_000_000,
        not_before: 1_800_000_000,
        expires_at: 1_800_000_060,
        jti: "q3VYb2h1S2FmT0l5dUtQZA".into(),
        client_id: Some("desktop".into()),
        tenant_id: Some("acme".into()),
        confirmation: None,
    };
    let minted = descriptor.mint(keys.active()).unwrap();
    let published = include_str!("../../../docs/protocol.md")
        .lines()
        .find(|line| line.starts_with("eyJ") && line.matches('.').count() == 2)
        .unwrap();
    assert_eq!(published, minted);

    let expected = Expected::new("https://authority.example", "com.example/weather")
        .audience("https://mcp.example/mcp");
    assert_eq!(
        verify(published, &keys.public(), &expected, 1_800_000_030),
        Ok(descriptor)
    );
}
