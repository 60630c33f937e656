use std::{collections::BTreeMap, str::FromStr};

use mcp_connect_strict_json as strict_json;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use crate::{
    Claim, Endpoint, EndpointRules, MAX_STATUS_MESSAGE_CHARS, NameError, OFFICIAL_META, ServerName,
    Version, VersionError, date::date_micros, meta::is_own, misread::misread, text::has_nul,
};

/// One version of one server, as registries exchange it: `{"server": server.json, "_meta": {…}}`.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs)] // the store writes it member by member
pub struct Entry {
    /// The server.
    pub name: ServerName,
    /// The version.
    pub version: Version,
    /// A name for people.
    pub title: Option<String>,
    /// What it does.
    pub description: String,
    /// The first remote over streamable HTTP that a client can be sent to, if there is one.
    pub endpoint: Option<Endpoint>,
    /// The claims of all remotes to their URLs, each once.
    pub claims: Vec<Claim>,
    /// What its publisher says of this version.
    pub status: VersionStatus,
    /// Why, in the publisher's words.
    pub status_message: Option<String>,
    /// When the status became what it is, in microseconds since the Unix epoch, where that is known.
    pub status_changed_at_micros: Option<u64>,
    /// When it was published, in microseconds since the Unix epoch, where that is known.
    pub published_at_micros: Option<u64>,
    /// When its registry last changed it, in microseconds since the Unix epoch, where that is known.
    pub updated_at_micros: Option<u64>,
    /// Whether its registry calls it the latest version of its name, where it says so.
    pub is_latest: Option<bool>,
    /// The members of `_meta` beside server.json that are neither the registry's nor an authority's,
    /// each exactly as it came.
    pub meta: Option<Box<RawValue>>,
    /// `server.json` exactly as it came.
    pub server_json: Box<RawValue>,
}

/// What the publisher of a version says of it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum VersionStatus {
    /// To be used.
    #[default]
    Active,
    /// Withdrawn: not listed, not connected to.
    Deleted,
    /// Works, but should be left.
    Deprecated,
}

impl VersionStatus {
    /// The status as registries write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleted => "deleted",
            Self::Deprecated => "deprecated",
        }
    }
}

/// Why an entry can't be represented. The text begins with the member at fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// A date that is no RFC 3339 date.
    #[error("_meta {0} is not an RFC 3339 date")]
    Date(&'static str),
    /// What others say beside server.json has more than 64 KiB.
    #[error("_meta is larger than 64 KiB")]
    MetaTooLarge,
    /// The name breaks the rules.
    #[error("name: {0}")]
    Name(#[from] NameError),
    /// Without it, clients refuse a whole page of a list.
    #[error("description is empty")]
    NoDescription,
    /// The character U+0000, at which SQL and C end a text.
    #[error("{0} has the character U+0000")]
    Nul(&'static str),
    /// JSON of another shape than a server.json.
    #[error("{0}")]
    Shape(String),
    /// A text is too long to be listed.
    #[error("{member} is longer than {max} characters")]
    TextTooLong {
        /// Which text.
        member: &'static str,
        /// The most characters that it may have.
        max: usize,
    },
    /// `server.json` is larger than 256 KiB.
    #[error("server is larger than 256 KiB")]
    TooLarge,
    /// The version breaks the rules.
    #[error("version: {0}")]
    Version(#[from] VersionError),
}

const MAX_SERVER_JSON_BYTES: usize = 256 * 1024;
const MAX_META_BYTES: usize = 64 * 1024;
/// Ten times what publishing allows; lists of a hundred servers must stay readable.
const MAX_TITLE_CHARS: usize = 1000;
const MAX_DESCRIPTION_CHARS: usize = 1000;

#[derive(Deserialize)]
struct RawEntry {
    server: Box<RawValue>,
    #[serde(rename = "_meta")]
    meta: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct ServerJson {
    name: String,
    version: String,
    #[serde(default)]
    title: Option<String>,
    description: String,
    remotes: Option<Vec<Remote>>,
}

#[derive(Deserialize)]
struct Remote {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    url: String,
}

/// The words of a registry about a version. Its schema requires no member, so one without a status is active, as one is of
/// which no registry says anything; a status that is there has to be one that we know.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfficialMeta {
    #[serde(default)]
    status: VersionStatus,
    status_message: Option<String>,
    status_changed_at: Option<String>,
    published_at: Option<String>,
    updated_at: Option<String>,
    is_latest: Option<bool>,
}

#[derive(Default, Deserialize)]
struct OfficialStatus {
    #[serde(default)]
    status: VersionStatus,
}

impl Entry {
    /// Reads an entry. What only says how good a server.json is (its `$schema`, the length of a
    /// title, …) is left to publishing: here counts whether the entry can be represented.
    pub fn parse(json: &RawValue, rules: EndpointRules) -> Result<Self, EntryError> {
        let raw: RawEntry = from_str(json.get(), "")?;
        let mut meta = raw.meta()?;
        let official: OfficialMeta = take_official(&mut meta)?;
        check_length(
            "statusMessage",
            official.status_message.as_deref(),
            MAX_STATUS_MESSAGE_CHARS,
        )?;
        if official
            .status_message
            .as_deref()
            .is_some_and(|message| message.contains('\0'))
        {
            return Err(EntryError::Nul("statusMessage"));
        }
        meta.retain(|name, _| !is_own(name));
        let mut entry = Self::published(raw.server, rules)?;
        entry.status = official.status;
        entry.status_message = official.status_message.filter(|text| !text.is_empty());
        entry.status_changed_at_micros = date("statusChangedAt", official.status_changed_at)?;
        entry.published_at_micros = date("publishedAt", official.published_at)?;
        entry.updated_at_micros = date("updatedAt", official.updated_at)?;
        entry.is_latest = official.is_latest;
        entry.meta = others(&meta)?;
        Ok(entry)
    }

    /// Reads what a registry says of the status of an entry, whatever else of the entry can't be read.
    pub fn status_of(json: &RawValue) -> Result<VersionStatus, EntryError> {
        let raw: RawEntry = from_str(json.get(), "")?;
        let official: OfficialStatus = take_official(&mut raw.meta()?)?;
        Ok(official.status)
    }

    /// An entry of which no registry has said anything yet.
    pub fn published(server_json: Box<RawValue>, rules: EndpointRules) -> Result<Self, EntryError> {
        if server_json.get().len() > MAX_SERVER_JSON_BYTES {
            return Err(EntryError::TooLarge);
        }
        let server: ServerJson = from_str(server_json.get(), "server: ")?;
        // Whoever reads it back must be able to, and must find one thing in it: no lone surrogate,
        // no nesting without end, no member twice.
        if has_nul(&strict(&server_json, "server: ")?) {
            return Err(EntryError::Nul("server"));
        }
        check_length("title", server.title.as_deref(), MAX_TITLE_CHARS)?;
        check_length(
            "description",
            Some(&server.description),
            MAX_DESCRIPTION_CHARS,
        )?;
        if server.description.is_empty() {
            return Err(EntryError::NoDescription);
        }
        let remotes = server.remotes.unwrap_or_default();
        let name = ServerName::from_str(&server.name)?;
        Ok(Self {
            claims: Claim::all(&name, remotes.iter().map(|remote| remote.url.as_str())),
            name,
            version: Version::from_str(&server.version)?,
            title: server.title,
            description: server.description,
            endpoint: remotes
                .iter()
                .filter(|remote| remote.kind == "streamable-http")
                .find_map(|remote| Endpoint::parse(&remote.url, rules).ok()),
            status: VersionStatus::Active,
            status_message: None,
            status_changed_at_micros: None,
            published_at_micros: None,
            updated_at_micros: None,
            is_latest: None,
            meta: None,
            server_json,
        })
    }

    /// Its `server.json` as [`canonical_server_json`] writes it.
    pub fn canonical_server_json(&self) -> String {
        canonical_server_json(&self.server_json)
    }
}

/// A `server.json` in a form that is the same for the same content: members sorted, no blanks.
pub fn canonical_server_json(server_json: &RawValue) -> String {
    serde_json::from_str::<Value>(server_json.get())
        .map_or_else(|_| server_json.get().to_owned(), |value| sorted(&value))
}

impl RawEntry {
    fn meta(&self) -> Result<BTreeMap<String, Box<RawValue>>, EntryError> {
        match &self.meta {
            Some(meta) => strict(meta, "_meta: "),
            None => Ok(BTreeMap::new()),
        }
    }
}

/// Takes out what the registry says. `null` is written by registries that have nothing to say.
fn take_official<T: Default + DeserializeOwned>(
    meta: &mut BTreeMap<String, Box<RawValue>>,
) -> Result<T, EntryError> {
    match meta.remove(OFFICIAL_META) {
        Some(meta) if meta.get() != "null" => {
            from_str(meta.get(), &format!("_meta {OFFICIAL_META}: "))
        }
        _ => Ok(T::default()),
    }
}

fn from_str<'a, T: Deserialize<'a>>(json: &'a str, context: &str) -> Result<T, EntryError> {
    // Derived structs accept a list of their members, too.
    if !json.trim_start().starts_with('{') {
        return Err(EntryError::Shape(format!("{context}not an object")));
    }
    serde_json::from_slice(json.as_bytes()).map_err(|error| {
        let problem = misread(json.as_bytes(), &error, "the entry");
        EntryError::Shape(format!("{context}{problem}"))
    })
}

fn strict<T: DeserializeOwned>(json: &RawValue, context: &str) -> Result<T, EntryError> {
    strict_json::from_slice(json.get().as_bytes())
        .map_err(|fault| EntryError::Shape(format!("{context}{fault}")))
}

fn date(member: &'static str, text: Option<String>) -> Result<Option<u64>, EntryError> {
    text.map(|text| date_micros(&text).ok_or(EntryError::Date(member)))
        .transpose()
}

fn others(meta: &BTreeMap<String, Box<RawValue>>) -> Result<Option<Box<RawValue>>, EntryError> {
    if meta.is_empty() {
        return Ok(None);
    }
    let meta = serde_json::value::to_raw_value(meta)
        .map_err(|error| EntryError::Shape(format!("_meta: {error}")))?;
    if meta.get().len() > MAX_META_BYTES {
        return Err(EntryError::MetaTooLarge);
    }
    // Read only if there may be one: it is served as it came.
    if meta.get().contains("\\u0000") && has_nul(&strict(&meta, "_meta: ")?) {
        return Err(EntryError::Nul("_meta"));
    }
    Ok(Some(meta))
}

fn check_length(member: &'static str, text: Option<&str>, max: usize) -> Result<(), EntryError> {
    if text.is_some_and(|text| text.chars().count() > max) {
        return Err(EntryError::TextTooLong { member, max });
    }
    Ok(())
}

/// `serde_json` keeps members in the order of the text when any crate of the build asks for it.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut sorted_members = BTreeMap::new();
            sorted_members.extend(members);
            let members: Vec<String> = sorted_members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), sorted(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(sorted).collect();
            format!("[{}]", items.join(","))
        }
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Entry, EntryError> {
        Entry::parse(
            &RawValue::from_string(json.to_owned()).unwrap(),
            EndpointRules::Public,
        )
    }

    #[test]
    fn nul_and_what_does_not_show_are_refused() {
        let entry = |server: &str, meta: &str| {
            let members = r#""name":"com.example/x1","description":"d""#;
            parse(&format!(
                r#"{{"server":{{{members},{server}}},"_meta":{meta}}}"#
            ))
            .map(drop)
        };
        let version = r#""version":"1.0.0""#;
        let nul = |member| Err(EntryError::Nul(member));
        assert_eq!(entry(version, "{}"), Ok(()));
        assert_eq!(entry(version, r#"{"x":"\\u0000"}"#), Ok(()));
        assert_eq!(
            entry(&format!(r#"{version},"title":"a\u0000""#), "{}"),
            nul("server")
        );
        assert_eq!(entry(version, r#"{"x":["\u0000"]}"#), nul("_meta"));
        assert_eq!(entry(version, r#"{"\u0000":1}"#), nul("_meta"));
        let official =
            r#"{"io.modelcontextprotocol.registry/official":{"statusMessage":"\u0000"}}"#;
        assert_eq!(entry(version, official), nul("statusMessage"));
        for version in ["1.0.0\u{202e}", "..", "1 0"] {
            let refusal = entry(&format!(r#""version":"{version}""#), "{}");
            assert!(matches!(refusal, Err(EntryError::Version(_))), "{version}");
        }
    }

    fn with_remotes(remotes: &str) -> Entry {
        parse(&format!(
            r#"{{"server":{{"name":"com.example/x1","version":"1.0.0","description":"d","remotes":{remotes}}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn reads_what_the_registry_serves() {
        let entry = parse(
            r#"{"server":{"name":"ai.exa/exa","description":"search","version":"3.1.1","custom":{"b":1},
                 "remotes":[{"type":"sse","url":"https://mcp.exa.ai/sse"},
                            {"type":"streamable-http","url":"https://mcp.exa.ai/mcp"}]},
                "_meta":{"io.modelcontextprotocol.registry/official":
                 {"status":"deprecated","publishedAt":"2025-12-03T16:45:12.14883Z","isLatest":false}}}"#,
        )
        .unwrap();
        assert_eq!(entry.name.as_str(), "ai.exa/exa");
        assert_eq!(entry.status, VersionStatus::Deprecated);
        assert_eq!(entry.published_at_micros, Some(1_764_780_312_148_830));
        assert_eq!(entry.endpoint.unwrap().as_str(), "https://mcp.exa.ai/mcp");
        assert!(entry.server_json.get().contains(r#""custom":{"b":1}"#));
    }

    #[test]
    fn what_registries_say_is_taken_apart() {
        let entry = parse(
            r#"{"server":{"name":"ab/cd","version":"1","description":"d","remotes":[{"type":"stdio"}]},
                "_meta":{"x.y/z":{"n": 1.00, "big":12345678901234567890123,"unknown":[null]},
                 "org.mcp-connect/authority":{"verified":"endpoint"},
                 "Org.MCP-connect/Authority":{"verified":"endpoint"},
                 "io.modelcontextprotocol.registry/OFFICIAL":{"status":"active"},
                 "io.modelcontextprotocol.registry/offici\u0041l":{"status":"active"},
                 "io.modelcontextprotocol.registry/official":
                 {"status":"deleted","statusMessage":"moved","statusChangedAt":"1970-01-01T00:00:03Z",
                  "publishedAt":"1970-01-01T00:00:01Z","updatedAt":"1970-01-01T00:00:02Z","isLatest":true}}}"#,
        )
        .unwrap();
        assert_eq!(entry.status, VersionStatus::Deleted);
        assert_eq!(entry.status_message.as_deref(), Some("moved"));
        assert_eq!(entry.status_changed_at_micros, Some(3_000_000));
        assert_eq!(entry.published_at_micros, Some(1_000_000));
        assert_eq!(entry.updated_at_micros, Some(2_000_000));
        assert_eq!(entry.is_latest, Some(true));
        assert_eq!(
            entry.meta.unwrap().get(),
            r#"{"x.y/z":{"n": 1.00, "big":12345678901234567890123,"unknown":[null]}}"#
        );
        let silent =
            parse(r#"{"server":{"name":"ab/cd","version":"1","description":"d"}}"#).unwrap();
        assert_eq!(silent.status, VersionStatus::Active);
        assert!(silent.is_latest.is_none() && silent.meta.is_none());
        let large = format!(
            r#"{{"server":{{"name":"ab/cd","version":"1","description":"d"}},"_meta":{{"x":"{}"}}}}"#,
            "m".repeat(MAX_META_BYTES)
        );
        assert_eq!(parse(&large).unwrap_err(), EntryError::MetaTooLarge);
    }

    #[test]
    fn an_entry_without_a_usable_remote_is_kept_without_endpoint() {
        for remotes in [
            "[]",
            r#"[{"type":"sse","url":"https://mcp.exa.ai/sse"}]"#,
            r#"[{"type":"streamable-http","url":"https://{tenant}.exa.ai/mcp"}]"#,
            r#"[{"type":"streamable-http","url":"https://10.0.0.1/mcp"}]"#,
        ] {
            assert_eq!(with_remotes(remotes).endpoint, None, "{remotes}");
        }
    }

    #[test]
    fn names_the_member_at_fault() {
        let server = |members: &str| parse(&format!(r#"{{"server":{{{members}}}}}"#)).unwrap_err();
        for (error, begins) in [
            (parse("[]").unwrap_err(), "not an object"),
            (
                server(&format!(r#""name":"ab/cd","version":"1","description":"{}""#, "d".repeat(1001))),
                "description is longer",
            ),
            (
                server(r#""name":"ab/cd","version":"1","description":"""#),
                "description is empty",
            ),
            (
                server(r#""name":"ab/cd","version":"1","description":"d","x":"\ud800""#),
                "server: ",
            ),
            (
                parse(r#"{"server":["ab/cd","1",null,"d",[]]}"#).unwrap_err(),
                "server: not an object",
            ),
            (
                server(r#""name":"ab/cd","version":"1","description":"d","x":[{"a":1,"\u0061":2}]"#),
                "server: two members of one name",
            ),
            (
                parse(r#"{"server":{"name":"ab/cd","version":"1","description":"d"},
                    "_meta":{"x":1,"x":2}}"#)
                .unwrap_err(),
                "_meta: two members of one name",
            ),
            (
                parse(r#"{"server":{"name":"ab/cd","version":"1","description":"d"},
                    "_meta":{"x":1e999}}"#)
                .unwrap_err(),
                "_meta: not JSON",
            ),
            (parse(r#"{"server":{},"server":{}}"#).unwrap_err(), "server: stands there twice"),
            (parse("{}").unwrap_err(), "server: is missing"),
            (server(r#""version":"1","description":"d""#), "server: name: is missing"),
            (server(r#""name":"x","version":"1","description":"d""#), "name: "),
            (server(r#""name":"ab/cd","version":"latest","description":"d""#), "version: "),
            (server(r#""name":"ab/cd","version":1,"description":"d""#), "server: version: must be a string, but is 1"),
            (
                parse(r#"{"server":{"name":"ab/cd","version":"1","description":"d"},
                    "_meta":{"io.modelcontextprotocol.registry/official":{"publishedAt":"yesterday"}}}"#)
                .unwrap_err(),
                "_meta publishedAt",
            ),
            (
                parse(r#"{"server":{"name":"ab/cd","version":"1","description":"d"},
                    "_meta":{"io.modelcontextprotocol.registry/official":{"status":"odd"}}}"#)
                .unwrap_err(),
                "_meta io.modelcontextprotocol.registry/official: status: must be one of \"active\", \"deleted\", \"deprecated\"",
            ),
        ] {
            assert!(error.to_string().starts_with(begins), "{error}");
        }
    }

    #[test]
    fn what_has_no_status_is_active_and_what_has_an_odd_one_is_refused() {
        let read = |official: &str| {
            parse(&format!(
                r#"{{"server":{{"name":"ab/cd","version":"1","description":"d"}},"_meta":{{"{OFFICIAL_META}":{official}}}}}"#
            ))
        };
        let dated = r#"{"publishedAt":"2025-01-01T00:00:00Z","updatedAt":"2025-01-02T00:00:00Z","isLatest":true}"#;
        for official in [
            dated,
            "{}",
            "null",
            r#"{"isLatest":false}"#,
            r#"{"statusMessage":"why"}"#,
        ] {
            assert_eq!(
                read(official).unwrap().status,
                VersionStatus::Active,
                "{official}"
            );
        }
        let entry = read(dated).unwrap();
        assert_eq!((entry.is_latest, entry.status_message), (Some(true), None));
        assert_eq!(
            entry.published_at_micros,
            date_micros("2025-01-01T00:00:00Z")
        );
        for (status, told) in [
            ("null", "status: must be a string"),
            ("7", "status: must be a string"),
            (
                r#""yanked""#,
                r#"status: must be one of "active", "deleted", "deprecated", but is "yanked""#,
            ),
            (r#"["active"]"#, "status: must be a string"),
        ] {
            let error = read(&format!(r#"{{"status":{status}}}"#))
                .unwrap_err()
                .to_string();
            assert_eq!(error, format!("_meta {OFFICIAL_META}: {told}"));
        }
    }

    #[test]
    fn the_status_is_read_whatever_else_can_not() {
        let status = |official: &str| {
            let json =
                format!(r#"{{"server":{{"name":7}},"_meta":{{"{OFFICIAL_META}":{official}}}}}"#);
            Entry::status_of(&RawValue::from_string(json).unwrap())
        };
        for (official, expected) in [
            (
                r#"{"status":"deleted","updatedAt":"yesterday"}"#,
                VersionStatus::Deleted,
            ),
            (r#"{"status":"deprecated"}"#, VersionStatus::Deprecated),
            ("{}", VersionStatus::Active),
            ("null", VersionStatus::Active),
        ] {
            assert_eq!(status(official), Ok(expected), "{official}");
        }
        for official in [
            r#"{"status":"yanked"}"#,
            r#"{"status":"Active"}"#,
            r#"{"status":""}"#,
            r#"{"status":null}"#,
            r#"{"status":1}"#,
            r#"{"status":"active","status":"deleted"}"#,
            r#"["active"]"#,
            r#""active""#,
        ] {
            assert!(status(official).is_err(), "{official}");
        }
    }

    #[test]
    fn the_canonical_form_ignores_order_and_blanks_only() {
        let a = parse(
            r#"{"server":{"name":"ab/cd","version":"1","description":"d","z":{"b":1,"a":[2,1]}}}"#,
        );
        let b = parse(
            r#"{"server": {"z": {"a": [2, 1], "b": 1}, "description":"d","version":"1", "name":"ab/cd"}}"#,
        );
        let c = parse(
            r#"{"server":{"name":"ab/cd","version":"1","description":"d","z":{"b":1,"a":[1,2]}}}"#,
        );
        let [a, b, c] = [a, b, c].map(|entry| entry.unwrap().canonical_server_json());
        assert_eq!(a, b);
        assert_ne!(a, c);
    }
}
