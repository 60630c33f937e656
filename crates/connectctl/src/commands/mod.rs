//! One file per command.

pub(crate) mod admins;
pub(crate) mod audit;
pub(crate) mod bulk;
pub(crate) mod cache;
pub(crate) mod call;
pub(crate) mod clients;
pub(crate) mod connect;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod login;
pub(crate) mod mirror;
pub(crate) mod moderation;
pub(crate) mod policy;
pub(crate) mod providers;
pub(crate) mod publish;
pub(crate) mod purge;
pub(crate) mod revocations;
pub(crate) mod servers;
pub(crate) mod stats;
pub(crate) mod tenants;
pub(crate) mod verification;
