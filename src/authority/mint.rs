use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_descriptor::{
    Confirmation, Descriptor, MintError, ServerIdentity, SigningKey, Unsigned,
};

use crate::authority::decide::Grant;

/// A descriptor to be signed, with what its holder needs to know to use it.
pub(crate) struct Ticket {
    pub(crate) unsigned: Unsigned,
    pub(crate) claims: Descriptor,
    /// Seconds from now.
    pub(crate) expires_in: u64,
    /// Seconds from now.
    pub(crate) refresh_after: u64,
}

/// `now` in seconds since the Unix epoch, `lifetime` in seconds, `jti` from the platform's
/// randomness. `bound_to` is what the sender has proven to have.
pub(crate) fn mint(
    grant: Grant,
    bound_to: Option<Confirmation>,
    issuer: &str,
    key: &SigningKey,
    lifetime: u64,
    now: u64,
    jti: [u8; 16],
) -> Result<Ticket, MintError> {
    let claims = Descriptor {
        issuer: issuer.to_owned(),
        endpoint: grant.endpoint,
        server: ServerIdentity {
            id: grant.server_id,
            version: grant.version,
            verified: grant.verified,
            jwks_uri: grant.jwks_uri,
            tls_pin_sha256: grant.tls_pin_sha256,
        },
        issued_at: now,
        not_before: now,
        expires_at: now + lifetime,
        jti: Base64UrlUnpadded::encode_string(&jti),
        client_id: grant.client_id,
        tenant_id: grant.tenant_id,
        confirmation: bound_to,
    };
    Ok(Ticket {
        unsigned: claims.to_unsigned(key)?,
        claims,
        expires_in: lifetime,
        refresh_after: refresh_after(lifetime),
    })
}

/// 20 s before the end, never later than two thirds of the lifetime; with less than 30 s to live,
/// after a third.
fn refresh_after(lifetime: u64) -> u64 {
    if lifetime < 30 {
        lifetime / 3
    } else {
        (lifetime - 20).min(lifetime * 2 / 3)
    }
}

#[cfg(test)]
mod tests {
    use mcp_connect_descriptor::{Expected, SigningKeys, verify};
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn what_is_minted_says_what_was_granted() {
        let keys = SigningKeys::parse(
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","status":"active",
                "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
                "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
        )
        .unwrap();
        let grant = Grant {
            server_id: "com.example/weather".into(),
            version: "1.2.0".into(),
            endpoint: "https://mcp.example/mcp".into(),
            verified: true,
            jwks_uri: Some("https://mcp.example/jwks.json".into()),
            tls_pin_sha256: None,
            client_id: Some("desktop".into()),
            tenant_id: None,
        };
        let bound_to = Some(Confirmation::of_certificate(&[7; 32]));
        let ticket = mint(
            grant,
            bound_to.clone(),
            "https://a.example",
            keys.active(),
            60,
            1000,
            [9; 16],
        )
        .unwrap();
        let expected = Expected::new("https://a.example", "com.example/weather")
            .audience("https://mcp.example/mcp");
        let signature = keys.active().sign(&ticket.unsigned).unwrap();
        let descriptor = ticket.unsigned.with_signature(&signature);
        let verified = verify(&descriptor, &keys.public(), &expected, 1059).unwrap();
        assert_eq!(verified, ticket.claims);
        assert_eq!((verified.issued_at, verified.expires_at), (1000, 1060));
        assert_eq!(verified.jti.len(), 22);
        assert_eq!(verified.confirmation, bound_to);
    }

    #[test]
    fn refreshing_leaves_time_for_it() {
        for (lifetime, after) in [
            (1, 0),
            (6, 2),
            (29, 9),
            (30, 10),
            (60, 40),
            (90, 60),
            (120, 80),
        ] {
            assert_eq!(refresh_after(lifetime), after);
        }
    }
}
