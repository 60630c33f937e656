-- What ends soon is found by its date: keys, quarantines, and proofs that the nightly looks no longer confirm.
CREATE INDEX api_keys_ending ON api_keys (expires_at) WHERE revoked_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX administrator_keys_ending ON administrator_keys (expires_at)
WHERE revoked_at IS NULL AND expires_at IS NOT NULL;

CREATE INDEX servers_held_until ON servers (moderation_expires_at) WHERE moderation_expires_at IS NOT NULL;
CREATE INDEX versions_held_until ON versions (moderation_expires_at) WHERE moderation_expires_at IS NOT NULL;

CREATE INDEX proofs_failing ON proofs (failures, checked_at) WHERE method = 'challenge' AND failures > 0;
CREATE INDEX proofs_by_confirmation ON proofs (confirmed_at) WHERE method = 'challenge';
