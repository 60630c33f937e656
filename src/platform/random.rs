/// The platform gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("no randomness: {0}")]
pub(crate) struct RandomnessError(#[from] getrandom::Error);

/// Bytes that nobody can predict.
#[expect(clippy::disallowed_methods, reason = "the randomness of this crate")]
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], RandomnessError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn bytes_are_not_the_same_twice() {
        let [first, second]: [[u8; 16]; 2] = [random_bytes().unwrap(), random_bytes().unwrap()];
        assert_ne!(first, second);
        assert_ne!(first, [0; 16]);
    }
}
