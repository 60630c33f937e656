//! The decision: who is calling, may it connect, and the descriptor that says so. Plain functions
//! over plain data; no platform, no SQL, no clock, no randomness.

mod credential;
mod decide;
mod mint;

pub(crate) use self::{
    credential::{ApiKey, CredentialHash, bearer},
    decide::{
        CallerFacts, ConnectRequest, Denial, Facts, Moderation, Policy, Presented, ServerFacts,
        VersionFacts, admit, decide,
    },
    mint::{Ticket, mint},
};
