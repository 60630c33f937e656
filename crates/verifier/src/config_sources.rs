//! Settings from the environment and from files.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    ConfigError, Mode, VerifierBuilder, WrongSetting,
    config_error::{unreadable, variable},
};

/// The variable that names a file to read before the environment.
const FILE_VARIABLE: &str = "MCP_CONNECT_CONFIG";
const MAX_FILE_BYTES: u64 = 64 * 1024;

impl VerifierBuilder {
    /// Settings from the environment of this process, over those of the file that
    /// `MCP_CONNECT_CONFIG` names, where it does. A setting's variable is `MCP_CONNECT_` and its name
    /// in capitals, such as `MCP_CONNECT_ISSUER`; an empty one counts as not set.
    pub fn from_env() -> Result<Self, ConfigError> {
        let file = env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty());
        let builder = match file {
            Some(path) => Self::from_file(path)?,
            None => Self::default(),
        };
        builder.overridden_by(|name| env::var_os(name))
    }

    /// Settings from a file of at most 64 KiB: JSON, or, with the feature `toml`, TOML where its
    /// name ends in `.toml`. A setting that isn't there has its default; one that doesn't exist is an
    /// error.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let path = path.into();
        read(&path)
            .and_then(|text| parse(&path, &text))
            .map_err(|problem| ConfigError::File { path, problem })
    }

    /// Takes each setting that has a variable from there, by the names that
    /// [`from_env`](Self::from_env) reads; the others stay as they are.
    pub fn overridden_by(
        mut self,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let mut variables = Variables {
            variable,
            problems: Vec::new(),
        };
        variables.read("issuer", &mut self.issuer, |text| Ok(text.into()));
        variables.read("audience", &mut self.audience, |text| Ok(text.into()));
        variables.read("server_id", &mut self.server_id, |text| Ok(text.into()));
        variables.read("key_set_url", &mut self.key_set_url, |url| {
            Ok(Some(url.into()))
        });
        variables.read("key_set_file", &mut self.key_set_file, |path| {
            Ok(Some(path.into()))
        });
        variables.read("revocation_feed", &mut self.revocation_feed, |source| {
            Ok(source.into())
        });
        let interval = &mut self.revocation_feed_interval;
        variables.read("revocation_feed_interval_seconds", interval, seconds);
        variables.read("leeway_seconds", &mut self.leeway, seconds);
        variables.read("max_staleness_seconds", &mut self.max_staleness, seconds);
        variables.read("grace_seconds", &mut self.grace, seconds);
        variables.read("call_grace_seconds", &mut self.call_grace, seconds);
        variables.read("max_sessions", &mut self.max_sessions, whole_number);
        variables.read("max_tokens", &mut self.max_tokens, whole_number);
        variables.read("mode", &mut self.mode, mode);
        variables.read("paths", &mut self.paths, paths);
        match variables.problems {
            problems if problems.is_empty() => Ok(self),
            problems => Err(ConfigError::Settings(problems)),
        }
    }
}

struct Variables<V> {
    variable: V,
    problems: Vec<WrongSetting>,
}

impl<V: Fn(&str) -> Option<OsString>> Variables<V> {
    fn read<T>(
        &mut self,
        name: &'static str,
        setting: &mut T,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) {
        let Some(value) = (self.variable)(&variable(name)).filter(|value| !value.is_empty()) else {
            return;
        };
        match value.to_str().ok_or("must be UTF-8").and_then(parse) {
            Ok(value) => *setting = value,
            Err(problem) => self.problems.push(WrongSetting::new(name, problem)),
        }
    }
}

type Parsed<T> = Result<T, &'static str>;

fn seconds(text: &str) -> Parsed<Duration> {
    let seconds = text.parse().map_err(|_| "must be whole seconds")?;
    Ok(Duration::from_secs(seconds))
}

fn whole_number(text: &str) -> Parsed<usize> {
    text.parse().map_err(|_| "must be a whole number")
}

fn mode(name: &str) -> Parsed<Mode> {
    name.parse()
        .map_err(|_| "must be \"required\", \"optional\", \"report\" or \"off\"")
}

/// `/healthz=off,/mcp=required`
fn paths(text: &str) -> Parsed<BTreeMap<String, Mode>> {
    let mut paths = BTreeMap::new();
    for rule in text.split(',') {
        let (path, mode) = rule
            .split_once('=')
            .and_then(|(path, mode)| Some((path.trim(), mode.trim().parse().ok()?)))
            .ok_or("must be paths with modes, as in \"/healthz=off,/mcp=required\"")?;
        if paths.insert(path.to_owned(), mode).is_some() {
            return Err("must name each path once");
        }
    }
    Ok(paths)
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| unreadable(&error))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err("is longer than 64 KiB".into());
    }
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<VerifierBuilder, String> {
    if path
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        return parse_toml(text);
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[cfg(feature = "toml")]
fn parse_toml(text: &str) -> Result<VerifierBuilder, String> {
    toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
}

#[cfg(not(feature = "toml"))]
fn parse_toml(_: &str) -> Result<VerifierBuilder, String> {
    Err("TOML needs the feature \"toml\" of mcp-connect-verifier; JSON doesn't".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIABLES: [(&str, &str); 15] = [
        ("MCP_CONNECT_ISSUER", "https://authority.example"),
        ("MCP_CONNECT_AUDIENCE", "https://mcp.example/mcp"),
        ("MCP_CONNECT_SERVER_ID", "com.example/weather"),
        ("MCP_CONNECT_KEY_SET_URL", "https://keys.example/jwks.json"),
        ("MCP_CONNECT_KEY_SET_FILE", "/etc/keys.json"),
        ("MCP_CONNECT_REVOCATION_FEED", "off"),
        ("MCP_CONNECT_REVOCATION_FEED_INTERVAL_SECONDS", "2"),
        ("MCP_CONNECT_LEEWAY_SECONDS", "2"),
        ("MCP_CONNECT_MAX_STALENESS_SECONDS", "600"),
        ("MCP_CONNECT_GRACE_SECONDS", "10"),
        ("MCP_CONNECT_CALL_GRACE_SECONDS", "20"),
        ("MCP_CONNECT_MAX_SESSIONS", "1000"),
        ("MCP_CONNECT_MAX_TOKENS", "50"),
        ("MCP_CONNECT_MODE", "optional"),
        ("MCP_CONNECT_PATHS", "/healthz=off, /mcp=required"),
    ];

    fn overridden(
        builder: VerifierBuilder,
        variables: &[(&str, &str)],
    ) -> Result<VerifierBuilder, ConfigError> {
        builder.overridden_by(|name| {
            let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
            Some((*value).into())
        })
    }

    fn from_text(name: &str, text: &str) -> Result<VerifierBuilder, String> {
        let folder = env::temp_dir().join(format!("mcp-connect-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        let builder = VerifierBuilder::from_file(&path).map_err(|error| error.to_string());
        std::fs::remove_file(path).unwrap();
        builder
    }

    const JSON: &str = r#"{
        "issuer": "https://authority.example",
        "audience": "https://mcp.example/mcp",
        "server_id": "com.example/weather",
        "key_set_url": "https://keys.example/jwks.json",
        "key_set_file": "/etc/keys.json",
        "revocation_feed": "off",
        "revocation_feed_interval_seconds": 2,
        "leeway_seconds": 2,
        "max_staleness_seconds": 600,
        "grace_seconds": 10,
        "call_grace_seconds": 20,
        "max_sessions": 1000,
        "max_tokens": 50,
        "mode": "optional",
        "paths": { "/healthz": "off", "/mcp": "required" }
    }"#;

    #[test]
    fn environment_and_file_set_every_setting_alike() {
        let by_variables = overridden(VerifierBuilder::default(), &VARIABLES).unwrap();
        let by_file = from_text("all.json", JSON).unwrap();
        assert_eq!(format!("{by_variables:?}"), format!("{by_file:?}"));
        let defaults = format!("{:?}", VerifierBuilder::default());
        for variable in VARIABLES {
            let one = overridden(VerifierBuilder::default(), &[variable]).unwrap();
            assert_ne!(format!("{one:?}"), defaults, "{variable:?}");
        }
    }

    #[test]
    fn the_environment_stands_over_the_file_and_leaves_the_rest() {
        let file = from_text("some.json", JSON).unwrap();
        let variables = [
            ("MCP_CONNECT_GRACE_SECONDS", "7"),
            ("MCP_CONNECT_ISSUER", ""),
        ];
        let both = overridden(file, &variables).unwrap();
        assert_eq!(both.grace, Duration::from_secs(7));
        assert_eq!(both.issuer, "https://authority.example");
        assert_eq!(both.max_sessions, 1000);
    }

    #[test]
    fn names_every_variable_that_can_not_be_read() {
        let wrong = VARIABLES.map(|(name, _)| (name, "-1"));
        let problem = overridden(VerifierBuilder::default(), &wrong).unwrap_err();
        let problem = problem.to_string();
        for name in [
            "LEEWAY_SECONDS",
            "GRACE_SECONDS",
            "MAX_SESSIONS",
            "MODE",
            "PATHS",
        ] {
            assert!(
                problem.contains(&format!("(MCP_CONNECT_{name})")),
                "{problem}"
            );
        }
    }

    #[test]
    fn a_path_has_one_mode() {
        let twice = [("MCP_CONNECT_PATHS", "/mcp=required,/mcp=off")];
        let problem = overridden(VerifierBuilder::default(), &twice).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "paths must name each path once (MCP_CONNECT_PATHS)"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_must_be_text() {
        use std::os::unix::ffi::OsStringExt;
        let read = VerifierBuilder::default().overridden_by(|name| {
            (name == "MCP_CONNECT_MODE").then(|| OsString::from_vec(vec![255]))
        });
        assert_eq!(
            read.unwrap_err().to_string(),
            "mode must be UTF-8 (MCP_CONNECT_MODE)"
        );
    }

    #[test]
    fn a_file_is_named_with_what_is_wrong_in_it() {
        for (name, text, problem) in [
            (
                "unknown.json",
                r#"{"grace": 3}"#.to_owned(),
                "unknown field `grace`",
            ),
            (
                "type.json",
                r#"{"grace_seconds": "3"}"#.to_owned(),
                "line 1",
            ),
            (
                "negative.json",
                r#"{"grace_seconds": -3}"#.to_owned(),
                "line 1",
            ),
            (
                "twice.json",
                r#"{"paths": {"/mcp": "required", "/mcp": "off"}}"#.to_owned(),
                "a path is named twice",
            ),
            (
                "mode.json",
                r#"{"mode": "none"}"#.to_owned(),
                "unknown variant `none`",
            ),
            ("long.json", " ".repeat(65_537), "longer than 64 KiB"),
        ] {
            let error = from_text(name, &text).unwrap_err();
            assert!(error.contains(name) && error.contains(problem), "{error}");
        }
        let missing = VerifierBuilder::from_file("/nonexistent/settings.json").unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/settings.json"));
    }

    #[cfg(not(feature = "toml"))]
    #[test]
    fn says_that_toml_needs_a_feature() {
        assert!(
            from_text("a.toml", "")
                .unwrap_err()
                .contains("feature \"toml\"")
        );
    }

    #[cfg(feature = "toml")]
    #[test]
    fn reads_toml() {
        let toml = r#"
            issuer = "https://authority.example"
            grace_seconds = 10
            [paths]
            "/healthz" = "off"
        "#;
        let builder = from_text("good.toml", toml).unwrap();
        assert_eq!(builder.grace, Duration::from_secs(10));
        assert_eq!(builder.paths["/healthz"], Mode::Off);
        let error = from_text("bad.toml", "grace = 3").unwrap_err();
        assert!(
            error.contains("bad.toml") && error.contains("unknown field"),
            "{error}"
        );
    }
}
