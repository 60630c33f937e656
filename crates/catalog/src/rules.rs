//! What the API of registries wants of a `server.json` beyond its schema.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    Endpoint, EndpointError, EndpointRules, MAX_PUBLISHER_META_BYTES, MAX_REMOTES, NameError,
    PUBLISHER_META, ServerName, Version, VersionError,
    endpoint::is_at_public_host,
    model::{self, CURRENT_URL, Finding, Schema},
    template::leads_to_private_host,
    text::{is_invisible, name_hidden},
    url::{SplitUrl, fill_template, fill_with_hosts, template_variables},
    version::is_range,
};

/// Something in the body of a request that can't be taken as it is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs)] // as it stands in an answer
pub struct Fault {
    /// What is wrong.
    pub message: String,
    /// Where: `body.packages[0].transport.url`; empty for what is wrong with no one place.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub location: String,
    /// What is there, unless it is an object or a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// What somebody should know who wants to publish a `server.json`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs)] // as it stands in an answer
pub struct Issue {
    /// Which check found it.
    #[serde(rename = "type")]
    pub kind: IssueKind,
    /// Where: `packages[0].transport.url`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// Whether it must be mended.
    pub severity: Severity,
    /// The name of the rule.
    pub reference: &'static str,
}

/// Which check found an issue.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum IssueKind {
    /// That against its JSON schema.
    Schema,
    /// That against the rules of registries.
    Semantic,
}

/// Whether an issue must be mended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// It keeps the `server.json` from being published.
    Error,
    /// It should be.
    Warning,
}

/// How much of a `server.json` is checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(clippy::exhaustive_enums)] // publishing and validating
pub enum Depth {
    /// All that publishing it depends on.
    Publish,
    /// … and every rule of its JSON schema.
    Full,
}

/// More are of no use to anybody.
const MAX_ISSUES: usize = 100;

/// What the body of a request has that no `server.json` may have. A body without faults has all
/// that must be there, of the right type and length, nothing unknown, and the character U+0000
/// nowhere.
pub fn faults(server: &Value) -> Vec<Fault> {
    model::check(Schema::API, server)
        .into_iter()
        .chain(model::find_nul(server))
        .map(|finding| Fault {
            message: finding.message,
            location: match finding.path.as_str() {
                "" => "body".to_owned(),
                path => format!("body.{path}"),
            },
            value: finding.value,
        })
        .collect()
}

/// How many bytes the publisher's part of `_meta` has, if they are too many.
pub fn oversized_publisher_meta(server: &Value) -> Option<usize> {
    let bytes = server.get("_meta")?.get(PUBLISHER_META)?.to_string().len();
    (bytes > MAX_PUBLISHER_META_BYTES).then_some(bytes)
}

/// What is wrong with the number of remotes, if they are too many.
pub fn excess_remotes(server: &Value) -> Option<String> {
    let count = server.get("remotes")?.as_array()?.len();
    (count > MAX_REMOTES).then(|| format!("has {count} remotes, more than {MAX_REMOTES}"))
}

/// The remotes that may be published and that no client is sent to, each with the reason. Those with another fault are
/// not among them, nor those with variables: clients of registries fill these in, if this authority does not.
pub fn unconnectable_remotes(server: &Value, rules: EndpointRules) -> Vec<Issue> {
    let nothing = Map::new();
    let members = server.as_object().unwrap_or(&nothing);
    items(members, "remotes")
        .into_iter()
        .filter(|(_, remote)| text(remote, "type") == "streamable-http")
        .filter_map(|(place, remote)| {
            let url = text(remote, "url");
            let problem = Endpoint::parse(url, rules).err()?;
            let is_told = problem != EndpointError::Template && is_remote_url(url, rules);
            is_told.then(|| Issue {
                kind: IssueKind::Semantic,
                path: format!("{place}url"),
                message: format!(
                    "this URL {problem}: it may be published, but no client is sent there"
                ),
                severity: Severity::Warning,
                reference: "remote-not-connectable",
            })
        })
        .collect()
}

/// What is wrong with the spelling of the namespace, unless it is in lower case. Domains, and names
/// at GitHub, are the same in every case; so one owner has one namespace.
pub fn other_spelling(server: &Value) -> Option<String> {
    let name = server.get("name")?.as_str()?;
    let (namespace, rest) = name.split_once('/')?;
    let folded = namespace.to_ascii_lowercase();
    (folded != namespace).then(|| {
        format!("namespaces are published in lower case: write {folded}/{rest} instead of {name}")
    })
}

/// What somebody should know who wants to publish this, in the order of the rules. It may be
/// published when nothing of it is an error.
pub fn issues(server: &Value, depth: Depth, rules: EndpointRules) -> Vec<Issue> {
    let mut check = Check {
        rules,
        issues: Vec::new(),
    };
    let nothing = Map::new();
    let members = server.as_object().unwrap_or(&nothing);
    check.schema(server, text(members, "$schema"), depth);
    check.name(text(members, "name"));
    check.version(text(members, "version"), "");
    if let Some(Value::Object(repository)) = members.get("repository") {
        check.repository(repository);
    }
    check.website(text(members, "websiteUrl"));
    let title = text(members, "title");
    if !title.is_empty() && title.trim().is_empty() {
        let message = ["title cannot be only whitespace"];
        check.error(&["title"], "title-whitespace-only", &message);
    }
    for (place, icon) in items(members, "icons") {
        check.icon(text(icon, "src"), &place);
    }
    for (place, package) in items(members, "packages") {
        check.package(package, &place);
    }
    for (place, remote) in items(members, "remotes") {
        check.remote(remote, &place);
    }
    // Publishing says it in a way of its own: the official registry has no such rule.
    if depth == Depth::Full {
        if let Some(message) = excess_remotes(server) {
            check.error(&["remotes"], "too-many-remotes", &[&message]);
        }
        if let Some(message) = other_spelling(server) {
            check.error(&["name"], "namespace-not-lower-case", &[&message]);
        }
    }
    if let Some((path, sign)) = model::find_invisible(server) {
        let message = ["has ", &name_hidden(sign), "; leave it out"];
        check.error(&[&path], "identifier-has-invisible-character", &message);
    }
    if check.issues.is_empty()
        && let Err(
            error @ (VersionError::Invisible(_) | VersionError::DotSegment | VersionError::TooLong),
        ) = text(members, "version").parse::<Version>()
    {
        let message = ["version ", &error.to_string()];
        check.error(&["version"], "invalid-version", &message);
    }
    if depth == Depth::Full {
        for issue in unconnectable_remotes(server, rules) {
            check.push(issue);
        }
    }
    check.issues
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> &'a str {
    members
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The objects in a list, each after its place: `packages[0].`.
fn items<'a>(members: &'a Map<String, Value>, name: &str) -> Vec<(String, &'a Map<String, Value>)> {
    let items = members.get(name).and_then(Value::as_array);
    let items = items.into_iter().flatten().enumerate();
    items
        .filter_map(|(index, item)| Some((format!("{name}[{index}]."), item.as_object()?)))
        .collect()
}

/// The schema that a URL names, by its date.
fn schema_date(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("/schemas/")?;
    let (date, rest) = rest.split_once('/')?;
    rest.starts_with("server.schema.json").then_some(date)
}

struct Check {
    rules: EndpointRules,
    issues: Vec<Issue>,
}

impl Check {
    /// Place and message come in parts: putting them together here, once, is smaller.
    fn error(&mut self, path: &[&str], reference: &'static str, message: &[&str]) {
        let kind = IssueKind::Semantic;
        self.add(
            kind,
            Severity::Error,
            path.concat(),
            reference,
            message.concat(),
        );
    }

    fn add(
        &mut self,
        kind: IssueKind,
        severity: Severity,
        path: String,
        reference: &'static str,
        message: String,
    ) {
        self.push(Issue {
            kind,
            path,
            message,
            severity,
            reference,
        });
    }

    fn push(&mut self, issue: Issue) {
        if self.issues.len() < MAX_ISSUES {
            self.issues.push(issue);
        }
    }

    fn schema(&mut self, server: &Value, url: &str, depth: Depth) {
        let path = || "$schema".to_owned();
        if url.is_empty() {
            let message = "$schema field is required";
            return self.error(&["$schema"], "schema-field-required", &[message]);
        }
        let date = schema_date(url);
        let schema = date.and_then(Schema::published);
        let Some(schema) = schema else {
            let reference = match date {
                None => "schema-version-extraction-error",
                Some(_) => "schema-version-not-available",
            };
            let message = [
                "$schema is not the URL of a schema that this registry knows; use ",
                CURRENT_URL,
            ]
            .concat();
            return self.add(
                IssueKind::Schema,
                Severity::Error,
                path(),
                reference,
                message,
            );
        };
        if url != CURRENT_URL {
            let message = ["$schema is not the current one, ", CURRENT_URL].concat();
            let reference = "schema-version-deprecated";
            self.add(
                IssueKind::Semantic,
                Severity::Warning,
                path(),
                reference,
                message,
            );
        }
        if depth == Depth::Full {
            for finding in model::check(schema, server) {
                let Finding {
                    path,
                    message,
                    rule,
                    ..
                } = finding;
                self.add(IssueKind::Schema, Severity::Error, path, rule, message);
            }
        }
    }

    fn name(&mut self, name: &str) {
        let message = match name.parse::<ServerName>() {
            Ok(_) => return,
            Err(_) if name.is_empty() => "server name is required and must be a string",
            Err(NameError::Shape) if name.contains('/') => {
                "server name cannot contain multiple slashes"
            }
            Err(_) => {
                "server name must be \"namespace/name\", with non-empty namespace and name parts: two or more letters, \
                 digits, \".\" or \"-\" before the \"/\", and two or more of them or of \"_\" after it; each part begins \
                 and ends with a letter or digit"
            }
        };
        self.error(&["name"], "invalid-server-name", &[message]);
    }

    fn version(&mut self, version: &str, path: &str) {
        if version == "latest" {
            let message = "version string 'latest' is reserved and cannot be used";
            self.error(&[path, "version"], "reserved-version-string", &[message]);
        } else if is_range(version) {
            let message = "version must be a specific version, not a range: ";
            self.error(
                &[path, "version"],
                "version-looks-like-range",
                &[message, version],
            );
        }
    }

    fn repository(&mut self, repository: &Map<String, Value>) {
        let (url, source) = (text(repository, "url"), text(repository, "source"));
        if url.is_empty() && source.is_empty() {
            return;
        }
        if !is_repository(url, source) {
            let message = ["invalid repository URL: ", url];
            self.error(&["repository.url"], "invalid-repository-url", &message);
        }
        let folder = text(repository, "subfolder");
        if !folder.is_empty() && !is_folder(folder) {
            let message = ["invalid subfolder path: ", folder];
            self.error(
                &["repository.subfolder"],
                "invalid-subfolder-path",
                &message,
            );
        }
    }

    fn website(&mut self, url: &str) {
        if url.is_empty() {
            return;
        }
        let (reference, message) = match SplitUrl::parse(url) {
            None => ("invalid-website-url", "invalid websiteUrl: "),
            Some(split) if split.scheme.is_empty() => (
                "website-url-must-be-absolute",
                "websiteUrl must be absolute (include scheme): ",
            ),
            Some(split) if split.scheme != "https" => (
                "website-url-invalid-scheme",
                "websiteUrl must use https scheme: ",
            ),
            Some(_) if url.contains(['"', '\'', '<', '>', ' ']) => (
                "website-url-invalid-characters",
                "websiteUrl contains an invalid character: ",
            ),
            Some(_) => return,
        };
        self.error(&["websiteUrl"], reference, &[message, url]);
    }

    fn icon(&mut self, src: &str, path: &str) {
        let (reference, message) = match SplitUrl::parse(src) {
            None => ("icon-src-invalid-url", "invalid icon src URL: "),
            Some(split) if split.scheme.is_empty() => (
                "icon-src-not-absolute",
                "icon src must be an absolute URL (include scheme): ",
            ),
            Some(split) if split.scheme != "https" => (
                "icon-src-invalid-scheme",
                "icon src must use https scheme: ",
            ),
            Some(_) => return,
        };
        self.error(&[path, "src"], reference, &[message, src]);
    }

    fn package(&mut self, package: &Map<String, Value>, path: &str) {
        if text(package, "identifier").contains(' ') {
            let message = ["package name cannot contain spaces"];
            self.error(&[path, "identifier"], "package-name-has-spaces", &message);
        }
        self.version(text(package, "version"), path);
        for member in ["identifier", "version"] {
            if text(package, member).contains(|c| c != ' ' && is_invisible(c)) {
                let message = [
                    "package ",
                    member,
                    " has a control, format or blank character",
                ];
                self.error(&[path, member], "package-has-invisible-character", &message);
            }
        }
        let mut variables = BTreeSet::new();
        for list in ["runtimeArguments", "packageArguments"] {
            for (place, argument) in items(package, list) {
                self.argument(argument, &[path, &place].concat());
                variables.extend([text(argument, "name"), text(argument, "valueHint")]);
            }
        }
        for (_, variable) in items(package, "environmentVariables") {
            variables.insert(text(variable, "name"));
        }
        if let Some(Value::Object(transport)) = package.get("transport") {
            self.transport(transport, &variables, &[path, "transport."].concat());
        }
    }

    fn argument(&mut self, argument: &Map<String, Value>, path: &str) {
        if text(argument, "type") != "named" {
            return;
        }
        let name = text(argument, "name");
        if name.is_empty() {
            let message = ["named argument name is required"];
            return self.error(&[path, "name"], "named-argument-name-required", &message);
        }
        if name.contains(['<', '>', ' ', '$']) {
            let message = ["invalid named argument name, not only a flag: ", name];
            self.error(&[path, "name"], "invalid-named-argument-name", &message);
        }
        for (member, reference) in [
            ("value", "argument-value-starts-with-name"),
            ("default", "argument-default-starts-with-name"),
        ] {
            if text(argument, member).starts_with(name) {
                let message = ["argument ", member, " cannot start with the name ", name];
                self.error(&[path, member], reference, &message);
            }
        }
    }

    fn transport(
        &mut self,
        transport: &Map<String, Value>,
        variables: &BTreeSet<&str>,
        path: &str,
    ) {
        let (kind, url) = (text(transport, "type"), text(transport, "url"));
        let is_http = matches!(kind, "streamable-http" | "sse");
        let (member, reference, message): (_, _, [&str; 3]) = if !is_http && kind != "stdio" {
            let message = ["unsupported transport type: ", kind, ""];
            ("type", "unsupported-transport-type", message)
        } else if !is_http && url.is_empty() {
            return;
        } else if !is_http {
            let message = ["url must be empty for stdio transport type, got: ", url, ""];
            ("url", "stdio-transport-url-not-empty", message)
        } else if url.is_empty() {
            let message = ["url is required for ", kind, " transport type"];
            ("url", "streamable-transport-url-required", message)
        } else if SplitUrl::parse(&fill_template(url)).is_some_and(|url| url.is_http()) {
            return self.variables(url, variables, path);
        } else {
            (
                "url",
                "invalid-templated-url",
                ["invalid transport URL: ", url, ""],
            )
        };
        self.error(&[path, member], reference, &message);
    }

    fn remote(&mut self, remote: &Map<String, Value>, path: &str) {
        let (kind, url) = (text(remote, "type"), text(remote, "url"));
        let (member, reference, message): (_, _, [&str; 3]) =
            if !matches!(kind, "streamable-http" | "sse") {
                let message = ["unsupported transport type for remotes: ", kind, ""];
                ("type", "unsupported-remote-transport-type", message)
            } else if url.is_empty() {
                let message = ["url is required for ", kind, " transport type"];
                ("url", "remote-transport-url-required", message)
            } else if is_remote_url(url, self.rules) {
                let variables = remote.get("variables").and_then(Value::as_object);
                if leads_to_private_host(url, variables, self.rules) {
                    let message = [
                        "remote URL leads to a host that is not public, whatever its variables are \
                         or by a value that they offer: ",
                        url,
                    ];
                    return self.error(&[path, "url"], "invalid-remote-url", &message);
                }
                let names = variables.into_iter().flatten().map(|(name, _)| &**name);
                return self.variables(url, &names.collect(), path);
            } else {
                let message = ["invalid remote URL, not https to a public host: ", url, ""];
                ("url", "invalid-remote-url", message)
            };
        self.error(&[path, member], reference, &message);
    }

    fn variables(&mut self, url: &str, known: &BTreeSet<&str>, path: &str) {
        if template_variables(url)
            .iter()
            .any(|name| !known.contains(name))
        {
            let message = [
                "template variables in URL ",
                url,
                " reference undefined variables",
            ];
            self.error(&[path, "url"], "invalid-templated-url", &message);
        }
    }
}

fn is_repository(url: &str, source: &str) -> bool {
    let host = match source {
        "github" => "github.com/",
        "gitlab" => "gitlab.com/",
        _ => return false,
    };
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let path = rest.and_then(|rest| rest.strip_prefix("www.").unwrap_or(rest).strip_prefix(host));
    let is_segment = |segment: &str| {
        !segment.is_empty()
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    path.is_some_and(|path| {
        let segments: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
        // Groups of GitLab have groups.
        let enough = segments.len() == 2 || (source == "gitlab" && segments.len() > 2);
        enough && segments.into_iter().all(is_segment)
    })
}

fn is_folder(path: &str) -> bool {
    path.split('/').all(|segment| {
        !matches!(segment, "" | "." | "..")
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    })
}

/// With something in the place of its variables.
fn is_remote_url(url: &str, rules: EndpointRules) -> bool {
    let filled = fill_template(url);
    let Some(split) = SplitUrl::parse(&filled).filter(SplitUrl::is_http) else {
        return false;
    };
    // Publishers may send to more than clients are sent to, but not to other hosts.
    Endpoint::parse(&filled, rules).is_ok()
        || (split.scheme == "https" && is_at_public_host(&fill_with_hosts(url)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conformance::shared;

    fn found(server: &Value) -> Vec<(&'static str, String)> {
        issues(server, Depth::Publish, EndpointRules::Public)
            .into_iter()
            .map(|issue| (issue.reference, issue.path))
            .collect()
    }

    fn with(member: &str, value: &Value) -> Value {
        let mut server = json!({
            "$schema": CURRENT_URL, "name": "com.example/one", "description": "d", "version": "1.0.0",
        });
        server[member] = value.clone();
        server
    }

    #[test]
    fn each_rule_has_its_name() {
        let cases: Value = serde_json::from_str(include_str!("../fixtures/rules.json")).unwrap();
        for case in cases.as_array().unwrap() {
            let server = with(case["member"].as_str().unwrap(), &case["value"]);
            let expected = json!([[case["reference"], case["path"]]]);
            assert_eq!(json!(found(&server)), expected, "{case}");
        }
    }

    #[test]
    fn what_keeps_the_rules_has_no_issues() {
        for (member, value) in [
            ("repository", json!({})),
            (
                "repository",
                json!({"url": "http://www.github.com/a/b/", "source": "github", "subfolder": "a/b"}),
            ),
            (
                "repository",
                json!({"url": "https://gitlab.com/a/b/c", "source": "gitlab"}),
            ),
            ("websiteUrl", json!("https://a.b/c?d=e#f")),
            (
                "packages",
                json!([{"transport": {"type": "sse", "url": "http://localhost:{p}/{h}/{n}"},
                "runtimeArguments": [{"type": "positional", "valueHint": "h"}],
                "packageArguments": [{"type": "named", "name": "n"}],
                "environmentVariables": [{"name": "p"}]}]),
            ),
            (
                "remotes",
                json!([{"type": "sse", "url": "https://{tenant}/{tenant}",
                "variables": {"tenant": {}}}]),
            ),
            (
                "remotes",
                json!([{"type": "sse", "url": "https://user@example.com/#x"},
                    {"type": "sse", "url": "https://[2606:4700::1111]:8443/é"}]),
            ),
        ] {
            assert_eq!(found(&with(member, &value)), [], "{member} {value}");
        }
    }

    #[test]
    fn a_remote_that_no_client_is_sent_to_is_a_warning() {
        for (url, problem) in [
            ("https://mcp.example.com/mcp", None),
            (
                "https://user:pw@mcp.example.com/mcp",
                Some("has a user name or password"),
            ),
            ("https://user@mcp.example.com/mcp", Some("has a user name")),
            ("https://mcp.example.com/mcp#top", Some("has a fragment")),
            ("https://{tenant}.example.com/mcp", None),
        ] {
            let remote =
                json!([{"type": "streamable-http", "url": url, "variables": {"tenant": {}}}]);
            let server = with("remotes", &remote);
            assert_eq!(found(&server), [], "{url}");
            let issues = issues(&server, Depth::Full, EndpointRules::Public);
            assert_eq!(
                issues,
                unconnectable_remotes(&server, EndpointRules::Public)
            );
            let told: Vec<_> = issues
                .iter()
                .map(|issue| {
                    (
                        &*issue.path,
                        issue.severity,
                        issue.message.contains(problem.unwrap_or("?")),
                    )
                })
                .collect();
            let expected = problem.map(|_| ("remotes[0].url", Severity::Warning, true));
            assert_eq!(told, Vec::from_iter(expected), "{url}");
        }
    }

    #[test]
    fn remotes_are_a_hundred_at_most() {
        let remote = |n| json!({"type": "sse", "url": format!("https://example.com/{n}")});
        let of = |count: usize| with("remotes", &(0..count).map(remote).collect());
        assert_eq!(excess_remotes(&of(100)), None);
        assert!(excess_remotes(&of(101)).is_some());
        let issues = issues(&of(101), Depth::Full, EndpointRules::Public);
        let found: Vec<_> = issues
            .iter()
            .map(|issue| (issue.reference, &*issue.path))
            .collect();
        assert_eq!(found, [("too-many-remotes", "remotes")]);
    }

    #[test]
    fn nothing_beside_it_hides_where_a_remote_is() {
        for url in [
            "https://10.0.0.1/mcp#x",
            "https://u@169.254.169.254/",
            "https://[::1]/#x",
            "https://127.0.0.2/é",
            "https://{a}@10.0.0.1/",
            "https://{a}:{a}@10.0.0.1:{a}/{a}",
            "https://{x#}@10.0.0.1/",
            "https://2130706433/#x",
            "https://%31%30.0.0.1/#x",
            "https://１０.0.0.1/",
            "https://intranet/#x",
            "https://{a}.internal/",
            "https://{a}.localhost/",
            "https://{a}10.0.0.1/",
            "https://10.0.0.{a}/mcp",
            "https://10.0.0.1\\@example.com/",
            "https://example.com\\@10.0.0.1/",
            "https:example.com/",
            &format!("https://10.0.0.1/{}", "a".repeat(1024)),
        ] {
            let server = with(
                "remotes",
                &json!([{"type": "sse", "url": url, "variables": {"a": {}, "x#": {}}}]),
            );
            let expected = [("invalid-remote-url", "remotes[0].url".to_owned())];
            assert_eq!(found(&server), expected, "{url}");
        }
    }

    #[test]
    fn what_fits_into_a_request_is_judged_at_once() {
        let names: Vec<String> = (0..40_000).map(|n| format!("v{n}")).collect();
        let url = format!("https://example.com/{{{}}}", names.join("}{"));
        let variables: Map<String, Value> = names
            .into_iter()
            .map(|name| (name, json!({"value": "x"})))
            .collect();
        let many = json!([{"type": "sse", "url": url, "variables": variables}]);
        // Each choice stands below a long name.
        let choices = vec![json!(""); 200_000];
        let deep = json!([{"type": "sse", "url": "https://example.com/",
            "variables": {"n".repeat(500_000): {"choices": choices}}}]);
        let begun = std::time::Instant::now();
        for remotes in [many, deep] {
            let server = with("remotes", &remotes);
            assert_eq!(super::faults(&server), []);
            assert_eq!(issues(&server, Depth::Full, EndpointRules::Public), []);
        }
        assert!(begun.elapsed().as_secs() < 10);
    }

    #[test]
    fn development_may_publish_this_machine() {
        let server = with(
            "remotes",
            &json!([{"type": "sse", "url": "http://127.0.0.1:80/mcp"}]),
        );
        assert_eq!(found(&server).len(), 1);
        assert_eq!(
            issues(&server, Depth::Full, EndpointRules::PublicOrLoopback),
            []
        );
    }

    #[test]
    fn a_choice_that_is_private_is_refused() {
        for (variable, is_refused) in [
            (json!({"choices": ["example.com", "10.0.0.1"]}), true),
            (json!({"default": "localhost"}), true),
            (
                json!({"choices": ["eu.example.com", "us.example.com"]}),
                false,
            ),
        ] {
            let remotes = json!([{"type": "streamable-http", "url": "https://{host}/mcp",
                "variables": {"host": variable}}]);
            let found = found(&with("remotes", &remotes));
            assert_eq!(!found.is_empty(), is_refused, "{remotes} {found:?}");
        }
    }

    #[test]
    fn namespaces_are_in_lower_case() {
        let named = |name: &str| with("name", &json!(name));
        let server = named("io.github.Octo-Cat/Tool");
        let spelling = other_spelling(&server).unwrap();
        assert!(
            spelling.contains("write io.github.octo-cat/Tool"),
            "{spelling}"
        );
        let issues = issues(&server, Depth::Full, EndpointRules::Public);
        assert_eq!(issues[0].reference, "namespace-not-lower-case");
        assert_eq!(other_spelling(&named("io.github.octo-cat/Tool")), None);
    }

    #[test]
    fn what_does_not_show_is_no_part_of_a_version() {
        for (version, sign) in [("1.0.0\u{202e}", "U+202E"), ("1 0", "U+0020"), ("..", "..")] {
            let issues = issues(
                &with("version", &json!(version)),
                Depth::Publish,
                EndpointRules::Public,
            );
            assert_eq!(issues[0].reference, "invalid-version", "{version:?}");
            assert!(issues[0].message.contains(sign), "{issues:?}");
        }
        for member in ["identifier", "version"] {
            let mut package = json!({"registryType": "npm", "identifier": "a", "version": "1.0.0",
                "transport": {"type": "stdio"}});
            package[member] = json!("1\u{200b}0");
            let found = found(&with("packages", &json!([package])));
            assert_eq!(found[0].0, "package-has-invisible-character");
        }
    }

    fn package(member: &str, value: Value) -> Value {
        let mut package = json!({"registryType": "npm", "identifier": "a", "version": "1.0.0",
            "transport": {"type": "stdio"}});
        package[member] = value;
        json!([package])
    }

    fn remote(member: &str, value: Value) -> Value {
        let mut remote = json!({"type": "sse", "url": "https://example.com/"});
        remote[member] = value;
        json!([remote])
    }

    #[test]
    fn what_does_not_show_is_no_part_of_an_identifier() {
        let github = "https://github.com/a/b";
        for sign in [
            "\u{202e}",
            "\u{feff}",
            "\u{200b}",
            "\u{fffe}",
            "\u{1fffe}",
            "\u{85}",
        ] {
            let odd = &format!("a{sign}b");
            for (member, value, path) in [
                (
                    "remotes",
                    remote("headers", json!([{"name": odd}])),
                    "remotes[0].headers[0].name",
                ),
                (
                    "remotes",
                    remote("url", json!(format!("https://example.com/{odd}"))),
                    "remotes[0].url",
                ),
                (
                    "remotes",
                    remote("variables", json!({odd: {}})),
                    "remotes[0].variables.a",
                ),
                (
                    "packages",
                    package("environmentVariables", json!([{"name": odd}])),
                    "packages[0].environmentVariables[0].name",
                ),
                (
                    "packages",
                    package("packageArguments", json!([{"type": "named", "name": odd}])),
                    "packages[0].packageArguments[0].name",
                ),
                (
                    "packages",
                    package(
                        "runtimeArguments",
                        json!([{"type": "positional", "value": "x", "variables": {odd: {}}}]),
                    ),
                    "packages[0].runtimeArguments[0].variables.a",
                ),
                (
                    "packages",
                    package("registryType", json!(odd)),
                    "packages[0].registryType",
                ),
                (
                    "packages",
                    package("runtimeHint", json!(odd)),
                    "packages[0].runtimeHint",
                ),
                (
                    "repository",
                    json!({"url": github, "source": "github", "id": odd}),
                    "repository.id",
                ),
                (
                    "websiteUrl",
                    json!(format!("https://example.com/{odd}")),
                    "websiteUrl",
                ),
                (
                    "icons",
                    json!([{"src": format!("https://example.com/{odd}")}]),
                    "icons[0].src",
                ),
            ] {
                let issues = issues(&with(member, &value), Depth::Publish, EndpointRules::Public);
                let at = issues
                    .iter()
                    .any(|issue| issue.path.starts_with(path) && issue.severity == Severity::Error);
                assert!(at, "{sign:?} {path} {issues:?}");
            }
        }
    }

    #[test]
    fn what_describes_may_have_any_character() {
        for (member, value) in [
            (
                "remotes",
                remote(
                    "headers",
                    json!([{"name": "X-Key", "description": "a\u{200d}b\n"}]),
                ),
            ),
            (
                "packages",
                package(
                    "packageArguments",
                    json!([{"type": "positional", "value": "\t"}]),
                ),
            ),
            ("_meta", json!({PUBLISHER_META: {"name": "a\u{200d}b"}})),
        ] {
            let issues = issues(&with(member, &value), Depth::Publish, EndpointRules::Public);
            assert!(issues.is_empty(), "{issues:?}");
        }
    }

    #[test]
    fn nul_is_nowhere() {
        for (member, value, location) in [
            ("description", json!("a\0b"), "body.description"),
            ("title", json!("\0"), "body.title"),
            (
                "_meta",
                json!({PUBLISHER_META: {"a": [{"b": "\0"}]}}),
                "body._meta.io.modelcontextprotocol.registry/publisher-provided.a[0].b",
            ),
            (
                "_meta",
                json!({PUBLISHER_META: {"a\0": 1}}),
                "body._meta.io.modelcontextprotocol.registry/publisher-provided.a\0",
            ),
        ] {
            let faults = super::faults(&with(member, &value));
            assert_eq!(faults[0].location, location);
            assert_eq!(faults[0].message, "has the character U+0000; leave it out");
        }
    }

    #[test]
    fn faults_say_where_they_are() {
        let mut server = with("license", &json!("MIT"));
        server["packages"] = json!([{"registryType": "", "transport": {"url": 5}, "x": {}}]);
        server["_meta"] = json!({"tools": []});
        server["description"] = json!("d".repeat(101));
        let faults: Vec<(String, String)> = faults(&server)
            .into_iter()
            .map(|it| (it.location, it.message))
            .collect();
        for (location, message) in [
            ("body.license", "unexpected property"),
            ("body._meta.tools", "unexpected property"),
            ("body.packages[0].x", "unexpected property"),
            ("body.description", "expected length <= 100"),
            (
                "body.packages[0]",
                "expected required property identifier to be present",
            ),
            ("body.packages[0].registryType", "expected length >= 1"),
            (
                "body.packages[0].transport",
                "expected required property type to be present",
            ),
            ("body.packages[0].transport.url", "expected string"),
        ] {
            let place = faults
                .iter()
                .position(|it| it.0 == location && it.1 == message);
            assert!(place.is_some(), "{location} {message} {faults:?}");
        }
        assert_eq!(faults.len(), 8);
        assert_eq!(super::faults(&json!([])).len(), 1);
        assert_eq!(super::faults(&with("version", &json!("1"))), []);
    }

    #[test]
    fn what_is_wrong_is_told_in_short() {
        let variables = json!({"é".repeat(20_000): {"choices": vec![json!(1); 200]}});
        let remotes =
            json!([{"type": "sse", "url": "https://example.com", "variables": variables}]);
        let faults = super::faults(&with("remotes", &remotes));
        assert_eq!(faults.len(), 100);
        let begins = format!("body.remotes[0].variables.{}.choices[", "é".repeat(200));
        assert!(
            faults
                .iter()
                .all(|fault| fault.location.starts_with(&begins))
        );
    }

    #[test]
    fn the_publishers_part_of_meta_has_4096_bytes() {
        let meta = |text: usize| {
            with(
                "_meta",
                &json!({PUBLISHER_META: {"x": "m".repeat(text - 8)}}),
            )
        };
        assert_eq!(oversized_publisher_meta(&meta(4096)), None);
        assert_eq!(oversized_publisher_meta(&meta(4097)), Some(4097));
        assert_eq!(
            oversized_publisher_meta(&with("version", &json!("1"))),
            None
        );
    }

    #[test]
    fn the_first_error_is_that_of_the_official_registry() {
        let Some(cases) = shared("conformance/registry/validator-cases.json") else {
            return;
        };
        for case in cases["cases"].as_array().unwrap() {
            let issues = issues(&case["server"], Depth::Publish, EndpointRules::Public);
            let first = issues
                .iter()
                .find(|issue| issue.severity == Severity::Error);
            assert_eq!(
                first.is_none(),
                case["semantic_valid"].as_bool().unwrap(),
                "{case}"
            );
            if let Some(text) = case["error_contains"].as_str() {
                assert!(first.unwrap().message.contains(text), "{first:?} {case}");
            }
        }
    }
}
