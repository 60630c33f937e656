//! The decision: who is calling, may it connect, and the descriptor that says so. Plain functions
//! over plain data; no platform, no SQL, no clock, no randomness.

mod administrator;
mod credential;
mod decide;
mod feed;
mod mint;
mod policy;

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
    mint::{Ticket, mint},
    policy::{Finding, Group, Level, Policy, PolicyDocument},
};
