use crate::mode::Modes;

/// What a verifier was told, once it has been checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) server_id: String,
    pub(crate) leeway_seconds: u64,
    pub(crate) modes: Modes,
}
