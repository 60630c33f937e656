//! What a login gave, kept for the commands after it. Never printed.

use std::{fs, io::ErrorKind};

use mcp_connect_client::Authority;
use serde::{Deserialize, Serialize};

use crate::{
    clock::now_seconds,
    config::Settings,
    failure::{Failure, io_reason},
    private_file,
};

#[derive(Deserialize, Serialize)]
pub(crate) struct Session {
    pub(crate) registry: String,
    pub(crate) method: String,
    pub(crate) token: String,
    /// In seconds since the Unix epoch.
    pub(crate) expires_at: u64,
}

impl Session {
    pub(crate) fn keep(&self, settings: &Settings) -> Result<(), Failure> {
        let file = settings.session_file()?;
        let fault = |error: std::io::Error| {
            Failure::unavailable(format!(
                "can't write {}: {}",
                file.display(),
                io_reason(&error)
            ))
        };
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).map_err(fault)?;
        }
        let text = serde_json::to_string(self)
            .map_err(|error| Failure::unavailable(format!("can't write JSON: {error}")))?;
        private_file::replace(&file, &text).map_err(fault)
    }

    /// Whether there was anything to forget.
    pub(crate) fn forget(settings: &Settings) -> Result<bool, Failure> {
        let file = settings.session_file()?;
        match fs::remove_file(&file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Failure::unavailable(format!(
                "can't remove {}: {}",
                file.display(),
                io_reason(&error)
            ))),
        }
    }

    /// The registry at which somebody has logged in, as that publisher asks it.
    pub(crate) fn registry(settings: &Settings) -> Result<Authority, Failure> {
        let fault = |problem: String| {
            Failure::no(problem).hint("log in first: `connectctl login --help` tells how")
        };
        let file = settings.session_file()?;
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(fault("nobody has logged in".into()));
            }
            Err(error) => {
                let problem = format!("can't read {}: {}", file.display(), io_reason(&error));
                return Err(Failure::usage(problem));
            }
        };
        // The parser's own message may quote the token.
        let session: Self = serde_json::from_str(&text)
            .map_err(|_| fault(format!("{} is no login", file.display())))?;
        if settings
            .issuer()
            .is_some_and(|wanted| wanted != session.registry)
        {
            return Err(fault(format!("the login is at {}", session.registry)));
        }
        if now_seconds() >= session.expires_at {
            return Err(fault("the login has ended".into()));
        }
        Ok(Authority::new(&session.registry)?.with_credential(&session.token)?)
    }
}
