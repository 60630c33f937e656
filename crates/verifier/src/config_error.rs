use std::{fmt, io, path::PathBuf};

/// What is wrong with the configuration of a [`Verifier`](crate::Verifier).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file of settings can't be used.
    #[error("the configuration file {}: {problem}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The HTTP client could not be set up, for instance for want of root certificates.
    #[error("the HTTP client for the authority can't be set up: {0}")]
    HttpClient(#[source] reqwest::Error),
    /// The file of `key_set_file` can't be used.
    #[error("key_set_file (MCP_CONNECT_KEY_SET_FILE) {}: {problem}", path.display())]
    KeySetFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The key set is kept fresh by a task, which needs a Tokio runtime.
    #[error("a verifier must be built within a Tokio runtime")]
    NoRuntime,
    /// Settings have values that can't be used: every one of them.
    #[error("{}", join(.0))]
    Settings(Vec<WrongSetting>),
}

/// A setting whose value can't be used.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WrongSetting {
    /// Its name in a file.
    pub name: &'static str,
    /// What it must be.
    pub problem: &'static str,
}

impl WrongSetting {
    pub(crate) const fn new(name: &'static str, problem: &'static str) -> Self {
        Self { name, problem }
    }

    /// The name of the setting in the environment.
    pub fn variable(&self) -> String {
        variable(self.name)
    }
}

impl fmt::Display for WrongSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.name, self.problem, self.variable())
    }
}

/// What a setting is called in the environment.
pub(crate) fn variable(name: &str) -> String {
    format!("MCP_CONNECT_{}", name.to_ascii_uppercase())
}

/// Why a file can't be read, in the system's words, without its number for it.
pub(crate) fn unreadable(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    format!("can't be read: {words}")
}

fn join(problems: &[WrongSetting]) -> String {
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}
