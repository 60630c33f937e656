//! The decision: who is calling, may it connect, and the descriptor that says so. Plain functions
//! over plain data; no platform, no SQL, no clock, no randomness.

mod administrator;
mod credential;
mod decide;
mod feed;
mod health;
mod mint;
mod policy;
mod proof;

pub(crate) use self::{
    administrator::{
        Administrator, AdministratorFacts, NotAdmitted, Role, admit_administrator,
        check_administrator_name,
    },
    credential::{AdministratorKey, ApiKey, CredentialHash, bearer, is_key_id},
    decide::{
        Admission, Caller, ConnectRequest, Denial, Facts, Grant, KeyFacts, Moderation,
        ModerationFacts, Presented, Scope, ServerFacts, TenantFacts, VersionFacts, admit,
        authenticate, decide, policy_findings,
    },
    feed::{FeedRow, WINDOW_SECONDS, feed},
    health::{
        Gating, LEGACY_VERSION, MODERN_VERSION, Verdict, admit_endpoint, discover_request,
        endpoint_hash, holds_answer, initialize_request, judge_discover, judge_initialize,
        negotiated_version,
    },
    mint::{Ticket, mint},
    policy::{Finding, Group, Level, Policy, PolicyDocument},
    proof::{Challenge, Found, MAX_CHALLENGE_BYTES, Provable, Standing, Unprovable, lies_under},
};
