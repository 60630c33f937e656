use sha2::{Digest, Sha256};

/// A session id as it is kept: a hash, since the id itself is a credential and may be
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

    /// Which of `parts` it belongs to: evenly, since a hash is.
    pub(crate) const fn spread(&self, parts: usize) -> usize {
        let [first, ..] = self.0;
        first as usize % parts
    }
}
