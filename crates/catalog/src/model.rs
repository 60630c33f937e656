//! `server.json` as each of its published schemas describes it, and as the API of registries takes
//! it: one table, for they differ little. Formats are left to the rules of the API, which know what
//! each URL is for.

use std::fmt;

use serde_json::{Map, Value};

use crate::text::is_invisible;

/// One of the descriptions, as a bit of the sets below.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Schema(u8);

/// The published schemas, oldest first. The last one is the current one.
const PUBLISHED: [&str; 6] = [
    "2025-07-09",
    "2025-09-16",
    "2025-09-29",
    "2025-10-11",
    "2025-10-17",
    "2025-12-11",
];

pub(crate) const CURRENT_URL: &str =
    "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json";

impl Schema {
    /// What may be sent to a registry, whatever its `$schema` is.
    pub(crate) const API: Self = Self(API);

    /// The schema of this date.
    pub(crate) fn published(date: &str) -> Option<Self> {
        let place = PUBLISHED.iter().position(|published| *published == date)?;
        Some(Self(1 << place))
    }

    fn is_in(self, schemas: u8) -> bool {
        self.0 & schemas != 0
    }

    fn spelling(self, name: &str) -> String {
        if !self.is_in(SNAKE) {
            return name.to_owned();
        }
        let mut spelling = String::new();
        for char in name.chars() {
            if char.is_ascii_uppercase() {
                spelling.push('_');
            }
            spelling.push(char.to_ascii_lowercase());
        }
        spelling
    }
}

const API: u8 = 1 << 6;
const ALL: u8 = API | (API - 1);
/// Names of members are in snake case.
const SNAKE: u8 = 1;
/// With a status in the file.
const STATUS: u8 = 0b11;
const OLD: u8 = 0b111;
const LAST: u8 = 1 << 5;
const PUBLIC: u8 = API - 1;

/// Something of a document that its schema doesn't allow.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Finding {
    /// Where: `packages[0].transport.url`.
    pub(crate) path: String,
    /// What is wrong.
    pub(crate) message: String,
    /// The rule of JSON Schema that is broken.
    pub(crate) rule: &'static str,
    /// What is there instead, if that can be told in short.
    pub(crate) value: Option<Value>,
}

/// More are of no use to anybody.
const MAX_FINDINGS: usize = 100;

/// What a schema has against a document.
pub(crate) fn check(schema: Schema, server: &Value) -> Vec<Finding> {
    let mut walk = Walk {
        schema,
        findings: Vec::new(),
    };
    walk.value(&Kind::Object(&SERVER), server, &Place::Root);
    walk.findings
}

/// Where the character U+0000 is, at which SQL and C end a text.
pub(crate) fn find_nul(server: &Value) -> Option<Finding> {
    let path = place_of_nul(server, &Place::Root)?;
    Some(Finding {
        path,
        message: "has the character U+0000; leave it out".to_owned(),
        rule: "pattern",
        value: None,
    })
}

fn place_of_nul(value: &Value, place: &Place<'_>) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(|| place.to_string()),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| place_of_nul(item, &Place::Item(place, index))),
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let place = Place::Member(place, name);
            if name.contains('\0') {
                return Some(place.to_string());
            }
            place_of_nul(value, &place)
        }),
        _ => None,
    }
}

/// Members whose texts are read by programs, or by people who tell things apart by them. What only
/// describes, and the value of an argument, is not among them; of packages, `identifier` and `version` have
/// a rule of their own.
const IDENTIFIERS: [&str; 11] = [
    "fileSha256",
    "id",
    "name",
    "registryBaseUrl",
    "registryType",
    "runtimeHint",
    "src",
    "subfolder",
    "theme",
    "url",
    "websiteUrl",
];

/// Finds the first identifier, or name of a variable, with a character that does not show: its place, and that
/// character. Spaces are left to the rules of each member.
pub(crate) fn find_invisible(server: &Value) -> Option<(String, char)> {
    let members = server.as_object()?;
    members
        .iter()
        .filter(|(name, _)| *name != "_meta")
        .find_map(|(name, value)| invisible(value, name, &Place::Member(&Place::Root, name)))
}

/// `member` is the name under which the value, or the list that it is in, stands.
fn invisible(value: &Value, member: &str, place: &Place<'_>) -> Option<(String, char)> {
    let find = |text: &str| text.chars().find(|c| *c != ' ' && is_invisible(*c));
    match value {
        Value::String(text) if IDENTIFIERS.contains(&member) => {
            find(text).map(|c| (place.to_string(), c))
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| invisible(item, member, &Place::Item(place, index))),
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let place = Place::Member(place, name);
            let odd = (member == "variables").then(|| find(name)).flatten();
            odd.map(|c| (place.to_string(), c))
                .or_else(|| invisible(value, name, &place))
        }),
        _ => None,
    }
}

enum Kind {
    Text(&'static [(Rule, u8)]),
    Flag,
    Each(&'static Kind),
    /// An object whose members are all of one kind.
    Map(&'static Object),
    Object(&'static Object),
    /// To the API, one object; in the schemas, one for each `type`.
    Union(&'static Object, &'static [(&'static str, &'static Object)]),
    /// An object of anything.
    Any,
}

enum Rule {
    Min(usize),
    Max(usize),
    OneOf(&'static [&'static str]),
    NotLatest,
    Pattern(&'static str, fn(&str) -> bool),
}

struct Object {
    members: &'static [&'static [Member]],
    /// Where other members are refused.
    closed: u8,
    /// Two members of which the published schemas want one.
    either: Option<(&'static str, &'static str)>,
}

struct Member {
    name: &'static str,
    kind: Kind,
    /// The schemas that know it.
    known: u8,
    /// The schemas that can't do without it.
    required: u8,
}

const fn member(name: &'static str, kind: Kind) -> Member {
    Member {
        name,
        kind,
        known: ALL,
        required: 0,
    }
}

const fn required(name: &'static str, kind: Kind, required: u8) -> Member {
    Member {
        name,
        kind,
        known: ALL,
        required,
    }
}

const fn since(known: u8, member: Member) -> Member {
    Member { known, ..member }
}

const fn object(members: &'static [&'static [Member]]) -> Object {
    Object {
        members,
        closed: API,
        either: None,
    }
}

const TEXT: Kind = Kind::Text(&[]);

static SERVER: Object = object(&[&[
    required("$schema", Kind::Text(&[(Rule::Min(1), API)]), API),
    required(
        "name",
        Kind::Text(&[
            (Rule::Min(3), ALL),
            (Rule::Max(200), ALL),
            (
                Rule::Pattern("^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$", is_name),
                ALL,
            ),
        ]),
        ALL,
    ),
    required(
        "description",
        Kind::Text(&[(Rule::Min(1), ALL), (Rule::Max(100), ALL)]),
        ALL,
    ),
    since(
        ALL & !OLD,
        member(
            "title",
            Kind::Text(&[(Rule::Min(1), ALL), (Rule::Max(100), ALL)]),
        ),
    ),
    required(
        "version",
        Kind::Text(&[(Rule::Min(1), API), (Rule::Max(255), ALL)]),
        ALL,
    ),
    since(
        STATUS,
        member(
            "status",
            Kind::Text(&[(Rule::OneOf(&["active", "deprecated", "deleted"]), ALL)]),
        ),
    ),
    member("websiteUrl", TEXT),
    member("repository", Kind::Object(&REPOSITORY)),
    since(
        ALL & !OLD,
        member("icons", Kind::Each(&Kind::Object(&ICON))),
    ),
    member("packages", Kind::Each(&Kind::Object(&PACKAGE))),
    member(
        "remotes",
        Kind::Each(&Kind::Union(
            &TRANSPORT,
            &[("streamable-http", &REMOTE), ("sse", &REMOTE)],
        )),
    ),
    member("_meta", Kind::Object(&META)),
]]);

static META: Object = object(&[&[
    member(crate::PUBLISHER_META, Kind::Any),
    since(STATUS, member(crate::OFFICIAL_META, Kind::Any)),
]]);

static REPOSITORY: Object = object(&[&[
    required("url", TEXT, PUBLIC),
    required("source", TEXT, PUBLIC),
    member("id", TEXT),
    member("subfolder", TEXT),
]]);

static ICON: Object = object(&[&[
    required("src", Kind::Text(&[(Rule::Max(255), ALL)]), ALL),
    member(
        "mimeType",
        Kind::Text(&[(
            Rule::OneOf(&[
                "image/png",
                "image/jpeg",
                "image/jpg",
                "image/svg+xml",
                "image/webp",
            ]),
            ALL,
        )]),
    ),
    member(
        "sizes",
        Kind::Each(&Kind::Text(&[(
            Rule::Pattern(r"^(\d+x\d+|any)$", is_icon_size),
            ALL,
        )])),
    ),
    member(
        "theme",
        Kind::Text(&[(Rule::OneOf(&["light", "dark"]), ALL)]),
    ),
]]);

static PACKAGE: Object = Object {
    members: &[&[
        required("registryType", Kind::Text(&[(Rule::Min(1), API)]), ALL),
        member("registryBaseUrl", TEXT),
        required("identifier", Kind::Text(&[(Rule::Min(1), API)]), ALL),
        required(
            "version",
            Kind::Text(&[
                (Rule::Min(1), ALL),
                (Rule::Max(255), LAST | API),
                (Rule::NotLatest, PUBLIC),
            ]),
            OLD,
        ),
        member(
            "fileSha256",
            Kind::Text(&[(Rule::Pattern("^[a-f0-9]{64}$", is_sha256), ALL)]),
        ),
        member("runtimeHint", TEXT),
        required(
            "transport",
            Kind::Union(
                &TRANSPORT,
                &[
                    ("stdio", &STDIO),
                    ("streamable-http", &HTTP),
                    ("sse", &HTTP),
                ],
            ),
            ALL,
        ),
        member("runtimeArguments", ARGUMENTS),
        member("packageArguments", ARGUMENTS),
        member("environmentVariables", KEY_VALUES),
    ]],
    closed: OLD | API,
    either: None,
};

const ARGUMENTS: Kind = Kind::Each(&Kind::Union(
    &ARGUMENT,
    &[("positional", &POSITIONAL), ("named", &NAMED)],
));
const KEY_VALUES: Kind = Kind::Each(&Kind::Object(&KEY_VALUE));
const VARIABLES: Member = member("variables", Kind::Map(&INPUT));
const URL: Kind = Kind::Text(&[(Rule::Pattern(r"^https?://[^\s]+$", is_http_url), LAST)]);

static STDIO: Object = object(&[&[required("type", TEXT, ALL)]]);
static HTTP: Object = object(&[HTTP_MEMBERS]);
static REMOTE: Object = object(&[HTTP_MEMBERS, &[since(LAST, VARIABLES)]]);
static TRANSPORT: Object = object(&[&[
    required("type", TEXT, ALL),
    member("url", TEXT),
    member("headers", KEY_VALUES),
    VARIABLES,
]]);
const HTTP_MEMBERS: &[Member] = &[
    required("type", TEXT, ALL),
    required("url", URL, ALL),
    member("headers", KEY_VALUES),
];

static INPUT: Object = object(&[INPUT_MEMBERS]);
static KEY_VALUE: Object = object(&[INPUT_MEMBERS, &[VARIABLES, required("name", TEXT, ALL)]]);
static POSITIONAL: Object = Object {
    members: &[
        INPUT_MEMBERS,
        &[
            VARIABLES,
            required("type", TEXT, ALL),
            member("valueHint", TEXT),
            member("isRepeated", Kind::Flag),
        ],
    ],
    closed: 0,
    either: Some(("valueHint", "value")),
};
static NAMED: Object = object(&[
    INPUT_MEMBERS,
    &[
        VARIABLES,
        required("type", TEXT, ALL),
        required("name", TEXT, ALL),
        member("isRepeated", Kind::Flag),
    ],
]);
static ARGUMENT: Object = object(&[
    INPUT_MEMBERS,
    &[
        VARIABLES,
        required("type", TEXT, ALL),
        member("name", TEXT),
        member("valueHint", TEXT),
        member("isRepeated", Kind::Flag),
    ],
]);
const INPUT_MEMBERS: &[Member] = &[
    member("description", TEXT),
    member("isRequired", Kind::Flag),
    member(
        "format",
        Kind::Text(&[(
            Rule::OneOf(&["string", "number", "boolean", "filepath"]),
            ALL,
        )]),
    ),
    member("value", TEXT),
    member("isSecret", Kind::Flag),
    member("default", TEXT),
    since(ALL & !OLD, member("placeholder", TEXT)),
    member("choices", Kind::Each(&TEXT)),
];

fn is_name(text: &str) -> bool {
    let is_part = |part: &str, signs: &[u8]| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || signs.contains(&byte))
    };
    text.split_once('/')
        .is_some_and(|(space, name)| is_part(space, b".-") && is_part(name, b"._-"))
}

fn is_icon_size(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text == "any"
        || text
            .split_once('x')
            .is_some_and(|(width, height)| is_number(width) && is_number(height))
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'f' | b'0'..=b'9'))
}

fn is_http_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}

/// Where something stands. Written out for findings alone, and of each name the beginning: they may
/// be as long as the document is.
enum Place<'a> {
    Root,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Self::Root, name) => write!(f, "{name:.200}"),
            Self::Member(place, name) => write!(f, "{place}.{name:.200}"),
            Self::Item(place, index) => write!(f, "{place}[{index}]"),
        }
    }
}

struct Walk {
    schema: Schema,
    findings: Vec<Finding>,
}

impl Walk {
    fn value(&mut self, kind: &Kind, value: &Value, place: &Place<'_>) {
        let expected = match (kind, value) {
            (Kind::Text(rules), Value::String(text)) => return self.text(rules, text, place),
            (Kind::Flag, Value::Bool(_)) | (Kind::Any, Value::Object(_)) => return,
            (Kind::Each(kind), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(kind, item, &Place::Item(place, index));
                }
                return;
            }
            (Kind::Map(object), Value::Object(members)) => {
                for (name, value) in members {
                    self.value(&Kind::Object(object), value, &Place::Member(place, name));
                }
                return;
            }
            (Kind::Object(object), Value::Object(members)) => {
                return self.object(object, members, place);
            }
            (Kind::Union(object, kinds), Value::Object(members)) => {
                return self.union(object, kinds, members, place);
            }
            (Kind::Text(_), _) => "string",
            (Kind::Flag, _) => "boolean",
            (Kind::Each(_), _) => "array",
            _ => "object",
        };
        self.find(place, "type", format!("expected {expected}"), Some(value));
    }

    fn union(
        &mut self,
        object: &Object,
        kinds: &[(&str, &Object)],
        members: &Map<String, Value>,
        place: &Place<'_>,
    ) {
        if self.schema == Schema::API {
            return self.object(object, members, place);
        }
        let Some(kind) = members.get("type") else {
            return self.missing("type", place);
        };
        if let Some((_, object)) = kinds.iter().find(|(name, _)| kind.as_str() == Some(name)) {
            return self.object(object, members, place);
        }
        let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
        let place = Place::Member(place, "type");
        self.find(&place, "enum", one_of(&names), Some(kind));
    }

    fn object(&mut self, object: &Object, members: &Map<String, Value>, place: &Place<'_>) {
        let mut known = Vec::new();
        for member in object.members.iter().copied().flatten() {
            if !self.schema.is_in(member.known) {
                continue;
            }
            let name = self.schema.spelling(member.name);
            match members.get(&name) {
                Some(value) => self.value(&member.kind, value, &Place::Member(place, &name)),
                None if self.schema.is_in(member.required) => self.missing(&name, place),
                None => {}
            }
            known.push(name);
        }
        if let Some((one, other)) = object.either {
            let (one, other) = (self.schema.spelling(one), self.schema.spelling(other));
            if !members.contains_key(&one) && !members.contains_key(&other) {
                self.missing(&format!("{one} or {other}"), place);
            }
        }
        if self.schema.is_in(object.closed) {
            for (name, value) in members {
                if !known.contains(name) {
                    let (place, message) = (Place::Member(place, name), "unexpected property");
                    self.find(
                        &place,
                        "additionalProperties",
                        message.to_owned(),
                        Some(value),
                    );
                }
            }
        }
    }

    fn text(&mut self, rules: &[(Rule, u8)], text: &str, place: &Place<'_>) {
        for (rule, schemas) in rules {
            if !self.schema.is_in(*schemas) {
                continue;
            }
            let (keyword, kept, message) = match rule {
                Rule::Min(min) => (
                    "minLength",
                    text.chars().count() >= *min,
                    format!("expected length >= {min}"),
                ),
                Rule::Max(max) => (
                    "maxLength",
                    text.chars().count() <= *max,
                    format!("expected length <= {max}"),
                ),
                Rule::OneOf(texts) => ("enum", texts.contains(&text), one_of(texts)),
                Rule::NotLatest => (
                    "not",
                    text != "latest",
                    "expected another value than \"latest\"".to_owned(),
                ),
                Rule::Pattern(pattern, matches) => (
                    "pattern",
                    matches(text),
                    format!("expected string to match pattern {pattern}"),
                ),
            };
            if !kept {
                self.find(place, keyword, message, Some(&text.into()));
            }
        }
    }

    fn missing(&mut self, name: &str, place: &Place<'_>) {
        let message = format!("expected required property {name} to be present");
        self.find(place, "required", message, None);
    }

    fn find(
        &mut self,
        place: &Place<'_>,
        rule: &'static str,
        message: String,
        value: Option<&Value>,
    ) {
        if self.findings.len() < MAX_FINDINGS {
            let is_short = |value: &&Value| !value.is_object() && !value.is_array();
            self.findings.push(Finding {
                path: place.to_string(),
                message,
                rule,
                value: value.filter(is_short).cloned(),
            });
        }
    }
}

fn one_of(texts: &[&str]) -> String {
    format!("expected value to be one of \"{}\"", texts.join(", "))
}
