/// The platform gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("no randomness: {0}")]
pub(crate) struct RandomnessError(#[from] getrandom::Error);

/// Bytes that nobody can predict.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], RandomnessError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
