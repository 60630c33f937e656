use crate::{AuditEntry, ChainHash};

/// Where a trail ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(clippy::exhaustive_structs)] // what a chain amounts to
pub struct Head {
    /// How many entries there are; the number of the last one.
    pub seq: u64,
    /// The hash of the last one.
    pub hash: ChainHash,
    /// How many of the last ones the authority has not sealed yet.
    pub unsealed: u64,
}

/// What is wrong with a trail, at the first entry where something is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// Its content, or the seal on it, is another than it was when it was sealed.
    #[error("entry {seq} was changed: it does not have the hash that it was sealed with")]
    Changed {
        /// Which entry.
        seq: u64,
    },
    /// Entries were taken away.
    #[error("entry {seq} is missing: entry {found} stands in its place")]
    Missing {
        /// The entry that should be here.
        seq: u64,
        /// The one that is.
        found: u64,
    },
    /// Entries stand in another order, or twice.
    #[error("entry {seq} stands after entry {after}: the order is not the one of the trail")]
    Reordered {
        /// Which entry.
        seq: u64,
        /// The one before it.
        after: u64,
    },
    /// The seal was taken away from an entry before one that has it.
    #[error("entry {seq} has no hash, though a later one has")]
    Unsealed {
        /// Which entry.
        seq: u64,
    },
}

/// Checks a whole trail, in its order from the first entry on. No hash in it is trusted: each is
/// computed. Who rewrote the trail with all its hashes is found out by a head that was noted before.
pub fn verify_chain<'a>(entries: impl IntoIterator<Item = &'a AuditEntry>) -> Result<Head, Broken> {
    let mut head = Head {
        seq: 0,
        hash: ChainHash::START,
        unsealed: 0,
    };
    let mut entries = entries.into_iter();
    while let Some(entry) = entries.next() {
        head = match head.followed_by(entry) {
            // What comes later was not taken away.
            Err(Broken::Missing { seq, found }) if entries.any(|later| later.seq == seq) => {
                return Err(Broken::Reordered {
                    seq: found,
                    after: head.seq,
                });
            }
            other => other?,
        };
    }
    Ok(head)
}

impl Head {
    /// Computes the next entry's hash, and holds the stored one against it.
    fn followed_by(self, entry: &AuditEntry) -> Result<Self, Broken> {
        let seq = entry.seq;
        if seq <= self.seq {
            let after = self.seq;
            return Err(Broken::Reordered { seq, after });
        }
        if seq > self.seq + 1 {
            return Err(Broken::Missing {
                seq: self.seq + 1,
                found: seq,
            });
        }
        let hash = self.hash.seal(entry);
        let unsealed = match entry.hash {
            None => self.unsealed + 1,
            Some(_) if self.unsealed > 0 => return Err(Broken::Unsealed { seq: self.seq }),
            Some(stored) if stored != hash => return Err(Broken::Changed { seq }),
            Some(_) => 0,
        };
        Ok(Self {
            seq,
            hash,
            unsealed,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trail(length: u64, sealed: u64) -> Vec<AuditEntry> {
        let mut hash = ChainHash::START;
        (1..=length)
            .map(|seq| {
                let mut entry = AuditEntry {
                    seq,
                    at: format!("2026-11-23T07:29:32.{seq:03}Z"),
                    actor: "alice".into(),
                    action: "client.suspend".into(),
                    subject: format!("client-{seq}"),
                    reason: (seq % 2 == 0).then(|| "too loud".into()),
                    detail: (seq % 3 == 0).then(|| "detail".into()),
                    hash: None,
                };
                hash = hash.seal(&entry);
                entry.hash = (seq <= sealed).then_some(hash);
                entry
            })
            .collect()
    }

    #[test]
    fn a_good_trail_has_a_head_and_maybe_a_tail_that_is_not_sealed_yet() {
        assert_eq!(verify_chain(&[]).unwrap().hash, ChainHash::START);
        let head = verify_chain(&trail(5, 3)).unwrap();
        assert_eq!((head.seq, head.unsealed), (5, 2));
        // Sealing later comes to the same hash.
        assert_eq!(verify_chain(&trail(5, 5)).unwrap().hash, head.hash);
    }

    #[test]
    fn what_was_taken_away_put_in_or_moved_is_named() {
        let mut missing = trail(5, 5);
        missing.remove(2);
        assert_eq!(
            verify_chain(&missing),
            Err(Broken::Missing { seq: 3, found: 4 })
        );

        let mut moved = trail(5, 5);
        moved.swap(2, 3);
        assert_eq!(
            verify_chain(&moved),
            Err(Broken::Reordered { seq: 4, after: 2 })
        );

        let mut twice = trail(5, 5);
        twice.insert(3, twice[2].clone());
        assert_eq!(
            verify_chain(&twice),
            Err(Broken::Reordered { seq: 3, after: 3 })
        );

        let mut renumbered = trail(5, 5);
        renumbered.remove(2);
        for (entry, seq) in renumbered.iter_mut().zip(1..) {
            entry.seq = seq;
        }
        assert_eq!(verify_chain(&renumbered), Err(Broken::Changed { seq: 3 }));

        let mut unsealed = trail(5, 5);
        unsealed[2].hash = None;
        assert_eq!(verify_chain(&unsealed), Err(Broken::Unsealed { seq: 3 }));

        assert_eq!(
            verify_chain(&trail(5, 5)[1..]),
            Err(Broken::Missing { seq: 1, found: 2 })
        );
    }

    #[test]
    fn a_trail_that_was_cut_or_rewritten_whole_has_another_head() {
        let noted = verify_chain(&trail(5, 5)).unwrap().hash;
        assert_ne!(verify_chain(&trail(4, 4)).unwrap().hash, noted);
        let mut rewritten = trail(5, 5);
        rewritten[0].actor = "mallory".into();
        let mut hash = ChainHash::START;
        for entry in &mut rewritten {
            hash = hash.seal(entry);
            entry.hash = Some(hash);
        }
        assert_ne!(verify_chain(&rewritten).unwrap().hash, noted);
    }

    proptest! {
        /// Whatever member of whatever entry becomes another one is found, at that entry.
        #[test]
        fn any_change_is_found(at in 0usize..8, member in 0usize..6, text in ".{0,8}") {
            let good = trail(8, 8);
            let mut changed = good.clone();
            let entry = &mut changed[at];
            match member {
                0 => entry.at = text,
                1 => entry.actor = text,
                2 => entry.action = text,
                3 => entry.subject = text,
                4 => entry.reason = Some(text),
                _ => entry.detail = Some(text),
            }
            prop_assume!(changed != good);
            let seq = good[at].seq;
            prop_assert_eq!(verify_chain(&changed), Err(Broken::Changed { seq }));
        }

        /// Text that moves from one member to the next is another entry.
        #[test]
        fn members_do_not_run_into_each_other(one in ".{0,6}", two in ".{0,6}", cut in 0usize..6) {
            let joined = format!("{one}{two}");
            prop_assume!(joined.is_char_boundary(cut) && joined[..cut] != one);
            let mut entry = trail(1, 0).remove(0);
            (entry.actor, entry.action) = (one, two);
            let mut other = entry.clone();
            (other.actor, other.action) = (joined[..cut].to_owned(), joined[cut..].to_owned());
            prop_assert_ne!(ChainHash::START.seal(&entry), ChainHash::START.seal(&other));
        }
    }
}
