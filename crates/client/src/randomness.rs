use crate::ConnectError;

/// Of the operating system.
#[expect(clippy::disallowed_methods, reason = "the randomness of this crate")]
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], ConnectError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| ConnectError::Proof("there is no randomness"))?;
    Ok(bytes)
}
