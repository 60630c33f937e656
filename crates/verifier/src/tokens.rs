//! Descriptors that were found good, so that showing one again costs next to nothing.

use std::{
    fmt,
    hash::{Hash, Hasher, RandomState},
    ops::Range,
};

use quick_cache::{
    Equivalent, Weighter,
    sync::{Cache, DefaultLifecycle},
};

use crate::verified::Verified;

/// What a descriptor of the usual size takes, as token and as claims; a longer one counts as several.
const USUAL_BYTES: u64 = 2048;

/// Remembers by the whole token, which is compared: what was never verified is never found, whatever
/// its hash. Whatever is remembered belongs to a generation of what is withdrawn, and is forgotten
/// with it.
pub(crate) struct Tokens(Option<Cache<Token, Remembered, BySize, RandomState>>);

#[derive(Clone)]
struct Remembered {
    verified: Verified,
    generation: u64,
    /// In seconds since the Unix epoch, leeway included.
    valid: Range<u64>,
}

impl Tokens {
    /// Room for so many descriptors of the usual size; none at all with 0.
    pub(crate) fn new(capacity: usize) -> Self {
        let cache = || {
            Cache::with(
                capacity,
                capacity as u64,
                BySize,
                RandomState::new(),
                DefaultLifecycle::default(),
            )
        };
        Self((capacity > 0).then(cache))
    }

    /// The descriptor, if this token was found good in this generation, and is valid at this second.
    pub(crate) fn get(&self, token: &str, generation: u64, now: u64) -> Option<Verified> {
        let remembered = self.0.as_ref()?.get(&Shown(token))?;
        (remembered.generation == generation && remembered.valid.contains(&now))
            .then_some(remembered.verified)
    }

    /// `generation` is that from before the check, and `leeway` in seconds.
    pub(crate) fn insert(&self, token: &str, verified: &Verified, generation: u64, leeway: u64) {
        let Some(cache) = &self.0 else {
            return;
        };
        let from = verified.not_before.max(verified.issued_at);
        let remembered = Remembered {
            verified: verified.clone(),
            generation,
            valid: from.saturating_sub(leeway)..verified.expires_at.saturating_add(leeway),
        };
        cache.insert(Token(token.into()), remembered);
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

#[derive(Eq, PartialEq)]
struct Token(Box<str>);

/// A token that somebody shows.
struct Shown<'a>(&'a str);

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Shown(&self.0).hash(state);
    }
}

impl Hash for Shown<'_> {
    /// By the end, which is of the signature: whoever has no key can't choose it, and what isn't
    /// signed never gets in. It makes a hash of a kilobyte unnecessary.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let token = self.0.as_bytes();
        state.write(token.last_chunk::<32>().map_or(token, <[u8; 32]>::as_slice));
    }
}

impl Equivalent<Token> for Shown<'_> {
    fn equivalent(&self, key: &Token) -> bool {
        *self.0 == *key.0
    }
}

#[derive(Clone)]
struct BySize;

impl Weighter<Token, Remembered> for BySize {
    fn weight(&self, key: &Token, _: &Remembered) -> u64 {
        // Claims take about as much as the token that they came in.
        (2 * key.0.len() as u64).div_ceil(USUAL_BYTES).max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use mcp_connect_descriptor::{Descriptor, ServerIdentity};
    use proptest::prelude::*;

    use super::*;
    use crate::verified::Signed;

    /// Another one than the default.
    const LEEWAY: u64 = 3;

    fn verified(jti: &str, not_before: u64, expires_at: u64) -> Verified {
        Verified::new(Signed {
            descriptor: Descriptor {
                issuer: "https://authority.example".into(),
                endpoint: "https://mcp.example/mcp".into(),
                server: ServerIdentity {
                    id: "com.example/weather".into(),
                    version: "1.0.0".into(),
                    verified: true,
                    jwks_uri: None,
                    tls_pin_sha256: None,
                },
                issued_at: not_before,
                not_before,
                expires_at,
                jti: jti.into(),
                client_id: None,
                tenant_id: None,
                confirmation: None,
            },
            key_id: "kid".into(),
        })
    }

    fn weight(tokens: &Tokens) -> u64 {
        tokens.0.as_ref().unwrap().weight()
    }

    #[test]
    fn is_bounded_by_the_size_of_what_it_remembers() {
        for token_bytes in [700, 8192] {
            let tokens = Tokens::new(100);
            let filling = "x".repeat(token_bytes);
            for number in 0..10_000 {
                let token = format!("{number:06}{filling}{number:032}");
                tokens.insert(&token, &verified("jti", 100, 160), 0, LEEWAY);
                assert!(weight(&tokens) <= 100);
            }
            let held = tokens.0.as_ref().unwrap().len();
            assert!(held > 0 && held * token_bytes <= 100 * 2048, "{held}");
        }
    }

    #[test]
    fn tokens_that_end_alike_are_different_tokens() {
        let tokens = Tokens::new(100);
        let end = "e".repeat(86);
        tokens.insert(&format!("a.{end}"), &verified("a", 100, 160), 0, LEEWAY);
        tokens.insert(&format!("b.{end}"), &verified("b", 100, 160), 0, LEEWAY);
        for jti in ["a", "b"] {
            let found = tokens.get(&format!("{jti}.{end}"), 0, 120).unwrap();
            assert_eq!(found.jti, jti);
        }
        for stranger in [format!("c.{end}"), end.clone(), format!("aa.{end}")] {
            assert!(tokens.get(&stranger, 0, 120).is_none());
        }
    }

    #[test]
    fn remembers_nothing_where_there_is_no_room() {
        let tokens = Tokens::new(0);
        tokens.insert("token", &verified("jti", 100, 160), 0, LEEWAY);
        assert!(tokens.get("token", 0, 120).is_none());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert { token: u8, from: u64, lives: u64 },
        Get { token: u8, now: u64 },
        NextGeneration,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u8..6, 0u64..40, 1u64..20)
                .prop_map(|(token, from, lives)| Step::Insert { token, from, lives }),
            8 => (0u8..6, 0u64..70).prop_map(|(token, now)| Step::Get { token, now }),
            1 => Just(Step::NextGeneration),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        /// As long as there is room: what was inserted last in this generation, while it is valid.
        #[test]
        fn is_a_map_that_generations_empty(steps in proptest::collection::vec(step(), 1..60)) {
            let tokens = Tokens::new(1000);
            let mut model: HashMap<u8, (u64, u64)> = HashMap::new();
            let mut generation = 0;
            for step in steps {
                match step {
                    Step::Insert { token, from, lives } => {
                        let verified = verified(&token.to_string(), from, from + lives);
                        tokens.insert(&format!("token {token}"), &verified, generation, LEEWAY);
                        model.insert(token, (from, from + lives));
                    }
                    Step::Get { token, now } => {
                        let found = tokens.get(&format!("token {token}"), generation, now);
                        let expected = model
                            .get(&token)
                            .filter(|(from, to)| now + LEEWAY >= *from && now < to + LEEWAY);
                        prop_assert_eq!(
                            found.map(|it| (it.jti.clone(), it.not_before, it.expires_at)),
                            expected.map(|(from, to)| (token.to_string(), *from, *to))
                        );
                    }
                    Step::NextGeneration => {
                        generation += 1;
                        model.clear();
                    }
                }
            }
        }
    }
}
