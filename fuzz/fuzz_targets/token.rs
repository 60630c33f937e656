//! Any text as a descriptor: what is accepted, the authority has signed, every character of it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mcp_connect_descriptor::{TOKEN_TYPE, verify};
use mcp_connect_fuzz::{Authority, NOW, assert_descriptor, assert_form, descriptor, expected};

static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);
static SIGNED: LazyLock<[String; 2]> = LazyLock::new(|| {
    AUTHORITY
        .signers
        .each_ref()
        .map(|signer| descriptor().mint(&signer.key).unwrap())
});

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else {
        return;
    };
    let token = match first {
        b'-' => edited(&SIGNED[0], rest),
        b'=' => edited(&SIGNED[1], rest),
        _ => input.to_vec(),
    };
    let Ok(token) = String::from_utf8(token) else {
        return;
    };
    let Ok(accepted) = verify(&token, &AUTHORITY.keys, &expected(), NOW) else {
        return;
    };
    // A second signature of ES256 over the same text can be made by anyone; the text can't.
    let signed = |token: &str| token.rsplit_once('.').unwrap().0.to_owned();
    let is_signed = token == SIGNED[0] || signed(&token) == signed(&SIGNED[1]);
    assert!(is_signed, "forged: {token}");
    assert_descriptor(
        &assert_form(&AUTHORITY, &token, TOKEN_TYPE, 8 * 1024),
        &accepted,
    );
});

/// A token with a few characters put in, left out or replaced: what to do, two bytes that say where,
/// and the character.
fn edited(token: &str, edits: &[u8]) -> Vec<u8> {
    let mut token = token.as_bytes().to_vec();
    for edit in edits.chunks_exact(4).take(8) {
        let place = usize::from(edit[1]) << 8 | usize::from(edit[2]);
        let place = place % (token.len() + 1);
        let is_inside = place < token.len();
        match edit[0] % 4 {
            0 => token.insert(place, edit[3]),
            1 if is_inside => token[place] = edit[3],
            2 if is_inside => drop(token.remove(place)),
            // The last characters of a part are where base64 can be written in two ways.
            _ => token.push(edit[3]),
        }
    }
    token
}
