use super::{Store, StoreError, changed, number};
use crate::{authority::SPENT_MILLIS, platform::now_millis};

impl Store {
    /// Whether this is the first time that a proof is shown. It is remembered for as long as it is good:
    /// one that says until when, in milliseconds since the Unix epoch, is dated by that.
    pub(crate) async fn spend_proof(
        &self,
        proof: &str,
        good_until: Option<u64>,
    ) -> Result<bool, StoreError> {
        let now = now_millis();
        let results = self
            .batch(vec![
                (
                    "DELETE FROM spent_proofs WHERE spent_at < ?1",
                    vec![number(now.saturating_sub(2 * SPENT_MILLIS))],
                ),
                (
                    "INSERT INTO spent_proofs (proof, spent_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                    vec![proof.into(), number(good_until.unwrap_or(now).max(now))],
                ),
            ])
            .await?;
        changed(&results, 1)
    }
}
