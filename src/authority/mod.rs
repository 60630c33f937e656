//! The decision: who is calling, may it connect, and the descriptor that says so. Plain functions
//! over plain data; no platform, no SQL, no clock, no randomness.

mod administrator;
mod credential;
mod decide;
mod mint;

pub(crate) use self::{
    administrator::{
        Administrator, AdministratorFacts, NotAdmitted, Role, admit_administrator,
        check_administrator_name,
    },
    credential::{AdministratorKey, ApiKey, CredentialHash, bearer, is_key_id},
    decide::{
        CallerFacts, ConnectRequest, Denial, Facts, Moderation, Policy, Presented, ServerFacts,
        VersionFacts, admit, decide,
    },
    mint::{Ticket, mint},
};
