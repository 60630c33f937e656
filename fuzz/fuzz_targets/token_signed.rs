//! Any header and payload as a descriptor that the authority has signed: what is accepted keeps
//! every rule, and survives being minted again.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mcp_connect_descriptor::{Descriptor, Refusal, TOKEN_TYPE, UnverifiedDescriptor, verify};
use mcp_connect_fuzz::{Authority, NOW, assert_descriptor, assert_form, expected, split};

static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

fuzz_target!(|input: &[u8]| {
    let Some((header, payload)) = split(input) else {
        return;
    };
    let Some(signer) = AUTHORITY.signer(header) else {
        return;
    };
    // What is refused in any case needs no signature.
    match accept(&signer.forged(header, payload)) {
        Err(Refusal::BadSignature) => {}
        Err(_) => return,
        Ok(_) => panic!("forged"),
    }
    let token = signer.token(header, payload);
    let Ok(accepted) = accept(&token) else {
        return;
    };
    let parsed = UnverifiedDescriptor::parse(&token).expect("it was accepted");
    assert_eq!(parsed.key_id(), signer.key.id());
    assert_eq!(parsed.into_claims_unverified(), accepted);
    let payload = assert_form(&AUTHORITY, &token, TOKEN_TYPE, 8 * 1024);
    assert_descriptor(&payload, &accepted);
    let again = accepted.mint(&signer.key).expect("fit to be minted");
    assert_eq!(accept(&again).as_ref(), Ok(&accepted));
});

fn accept(token: &str) -> Result<Descriptor, Refusal> {
    verify(token, &AUTHORITY.keys, &expected(), NOW)
}
