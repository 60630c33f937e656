-- How the tokens of an identity provider say whom they are for, and what else they must say.

ALTER TABLE identity_providers ADD COLUMN audience_claim TEXT NOT NULL DEFAULT 'aud';
ALTER TABLE identity_providers ADD COLUMN required_claims TEXT NOT NULL DEFAULT '{}'; -- JSON: claim to value, null: any
ALTER TABLE identity_providers ADD COLUMN token_type TEXT;                            -- NULL: any that an access token has

-- Tokens don't tell which claim stands for the audience, so these are found by issuer; few have one.
CREATE INDEX identity_providers_by_claim ON identity_providers (issuer) WHERE audience_claim <> 'aud';
