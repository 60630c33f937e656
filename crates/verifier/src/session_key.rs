use std::fmt;

use sha2::{Digest, Sha256};

/// A session id as it is kept and logged: a hash, since the id itself is a credential and may be
/// of any length.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(crate) struct SessionKey([u8; 16]);

impl SessionKey {
    pub(crate) fn new(session_id: &[u8]) -> Self {
        let mut key = [0; 16];
        for (byte, digest) in key.iter_mut().zip(Sha256::digest(session_id)) {
            *byte = digest;
        }
        Self(key)
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_show_nothing_of_the_session_id() {
        let shown = SessionKey::new(b"secret-session").to_string();
        assert_eq!(shown.len(), 32);
        assert!(shown.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
