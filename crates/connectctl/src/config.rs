//! Where the authority is and who asks: flags, then the environment, then the profile.

use std::{
    collections::BTreeMap,
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use mcp_connect_client::Authority;
use serde::Deserialize;

use crate::{
    cli::Global,
    failure::{Failure, io_reason},
    output,
};

const DEFAULT_PROFILE: &str = "default";

/// What is known of the authority and the caller.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section [profiles.NAME]")]
pub(crate) struct Settings {
    authority: Option<String>,
    operator_token: Option<String>,
    api_key: Option<String>,
    /// Where this program keeps its files.
    #[serde(skip)]
    directory: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "sections [profiles.NAME]")]
struct ConfigFile {
    #[serde(default)]
    profiles: BTreeMap<String, Settings>,
}

impl Settings {
    /// clap has put the flags above the environment already.
    pub(crate) fn resolve(global: &Global) -> Result<Self, Failure> {
        let profile = read_profile(global)?;
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        Ok(Self {
            authority: given(&global.authority).or(profile.authority),
            operator_token: given(&global.operator_token).or(profile.operator_token),
            api_key: given(&global.api_key).or(profile.api_key),
            directory: config_path(global).and_then(|path| Some(path.parent()?.to_owned())),
        })
    }

    /// Where a publisher's login is kept: beside the configuration.
    pub(crate) fn session_file(&self) -> Result<PathBuf, Failure> {
        let directory = self.directory.as_ref().ok_or_else(|| {
            Failure::usage("there is no home directory to keep the login in").hint("give --config")
        })?;
        Ok(directory.join("login.json"))
    }

    /// The issuer that is expected, when the authority is known.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.authority
            .as_deref()
            .map(|url| url.strip_suffix('/').unwrap_or(url))
    }

    /// The authority, as anyone may ask it.
    pub(crate) fn anonymous(&self) -> Result<Authority, Failure> {
        let url = self.authority.as_deref().ok_or_else(|| {
            Failure::usage("no authority is given")
                .hint("give --authority, CONNECT_AUTHORITY or a profile")
        })?;
        Ok(Authority::new(url)?)
    }

    /// … as a client asks it; without an API key as an anonymous one, which its operator may allow.
    pub(crate) fn client(&self) -> Result<Authority, Failure> {
        let authority = self.anonymous()?;
        Ok(match &self.api_key {
            Some(key) => authority.with_credential(key)?,
            None => authority,
        })
    }

    /// … as an administrator asks it.
    pub(crate) fn operator(&self) -> Result<Authority, Failure> {
        let token = self.operator_token.as_deref().ok_or_else(|| {
            Failure::usage("no administrator's key is given")
                .hint("give CONNECT_OPERATOR_TOKEN, a profile or --operator-token")
        })?;
        Ok(self.anonymous()?.with_credential(token)?)
    }
}

fn read_profile(global: &Global) -> Result<Settings, Failure> {
    let name = global.profile.as_deref().unwrap_or(DEFAULT_PROFILE);
    let Some(path) = config_path(global) else {
        return no_profile(global, "there is no home directory to look for profiles in");
    };
    let shown = path.display();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && global.config.is_none() => {
            return no_profile(global, &format!("there is no file {shown}"));
        }
        Err(error) => {
            let why = io_reason(&error);
            return Err(Failure::usage(format!("can't read {shown}: {why}")));
        }
    };
    warn_if_readable_by_others(&path);
    // The parser's own message quotes the line, which may hold a secret.
    let file: ConfigFile = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            1 + text
                .bytes()
                .take(span.start)
                .filter(|byte| *byte == b'\n')
                .count()
        });
        Failure::usage(format!("{shown}, line {line}: {}", error.message()))
    })?;
    let ConfigFile { mut profiles } = file;
    match profiles.remove(name) {
        Some(settings) => Ok(settings),
        None => no_profile(global, &format!("{shown} has no profile {name:?}")),
    }
}

/// Fine, unless one was asked for.
fn no_profile(global: &Global, why: &str) -> Result<Settings, Failure> {
    match global.profile {
        Some(_) => Err(Failure::usage(why.to_owned())),
        None => Ok(Settings::default()),
    }
}

fn config_path(global: &Global) -> Option<PathBuf> {
    global.config.clone().or_else(default_path)
}

fn default_path() -> Option<PathBuf> {
    let configured = env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let directory = configured.or_else(|| Some(env::home_dir()?.join(".config")))?;
    Some(directory.join("connectctl").join("config.toml"))
}

#[cfg(unix)]
fn warn_if_readable_by_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt;

    let readable = fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o044 != 0);
    if readable {
        output::warn(&format!(
            "{0} may hold secrets and others can read it: chmod 600 {0}",
            path.display()
        ));
    }
}

#[cfg(not(unix))]
const fn warn_if_readable_by_others(_: &Path) {}
