//! The decision: who is calling, may it connect, and the descriptor that says so. Plain functions
//! over plain data; no platform, no SQL, no clock, no randomness.

mod access_token;
mod administrator;
mod credential;
mod decide;
mod discovery;
mod explain;
mod feed;
mod health;
mod id;
mod key_freshness;
mod mint;
mod mirror;
mod namespace_proof;
mod policy;
mod proof;
mod proof_of_possession;
mod provider_keys;
mod publishing;
mod registry_token;

pub(crate) use self::{
    access_token::{
        AUDIENCE_CLAIM, AccessToken, Expected, MAX_ACCESS_TOKEN_LIFETIME, SignedToken, TokenFault,
        TokenRules,
    },
    administrator::{
        AccessFacts, Administrator, AdministratorFacts, NotAdmitted, Role, access_identity,
        admit_administrator, admit_by_access, check_administrator_name, is_access_identity,
    },
    credential::{
        AdministratorKey, ApiKey, CredentialHash, Differing, Holder, KeyOf, NewAdministratorKey,
        NewApiKey, NewKey, PastKey, bearer, is_key_id, succeed,
    },
    decide::{
        Admission, Caller, ConnectRequest, Denial, Facts, Grant, KeyFacts, Moderation,
        ModerationFacts, Presented, ProviderFacts, Scope, ServerFacts, TenantFacts, TokenProvider,
        VersionFacts, admit, authenticate, decide, identify, policy_findings,
    },
    discovery::{KeySource, MetadataFault, jwks_uri, metadata_urls},
    explain::Obstacle,
    feed::{
        BULK_FEED_BYTES, FeedRow, IMPORTS_FEED_BYTES, MAX_REVOKED_KEYS, OWNER_FEED_SERVERS,
        PUBLISHERS_FEED_BYTES, WINDOW_SECONDS, feed,
    },
    health::{
        Gating, Health, LEGACY_VERSION, MODERN_VERSION, Verdict, admit_endpoint, discover_request,
        endpoint_hash, holds_answer, initialize_request, judge_discover, judge_initialize,
        negotiated_version,
    },
    id::{CLIENT_ID_FORM, is_client_id, is_id},
    key_freshness::{Holding, KEPT_MILLIS, Step},
    mint::{Ticket, mint},
    mirror::{Astray, Crawl, Following, Progress, most_gone},
    namespace_proof::{
        DomainKey, MAX_RECORD_BYTES, Place, ProofFault, RECORD_PATH, SPENT_MILLIS, SignedTime,
        txt_records,
    },
    policy::{Finding, Level, Pattern, Policy, PolicyDocument},
    proof::{
        Challenge, Found, MAX_CHALLENGE_BYTES, Provable, Standing, UNCONFIRMED_MILLIS, Unprovable,
    },
    proof_of_possession::{
        CertificateFacts, Possession, PossessionFault, certificate as bind_to_certificate,
    },
    provider_keys::{
        ALGORITHM_NAMES, KeyHint, MAX_CANDIDATES, ProviderKey, ProviderKeys, SignatureAlgorithm,
        SkippedKey,
    },
    publishing::{Denied, GITHUB_NAMESPACE, Logins, OidcRules, Quota},
    registry_token::{Publisher, read_registry_token},
};
