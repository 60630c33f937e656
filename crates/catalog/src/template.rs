//! Where a URL with variables may lead, by what its document says of them.

use ::url::{Host, Url};
use serde_json::{Map, Value};

use crate::{
    EndpointRules,
    endpoint::is_private_host,
    url::{fill_with, fill_with_hosts, host_variables},
};

/// The most ways to fill in the variables of one host: far more than any real server offers.
const MAX_COMBINATIONS: usize = 1_000;

/// Whether a URL leads to a host that isn't public, whatever its variables are, or by a value that
/// its document offers for one: `value`, `default` or one of the `choices`.
pub(crate) fn leads_to_private_host(
    url: &str,
    variables: Option<&Map<String, Value>>,
    rules: EndpointRules,
) -> bool {
    let mut names = host_variables(url);
    names.sort_unstable();
    names.dedup();
    let offered: Vec<(String, Vec<&str>)> = names
        .into_iter()
        .map(|name| (format!("{{{name}}}"), offered(variables, name)))
        .filter(|(_, values)| !values.is_empty())
        .collect();
    let mut combinations = MAX_COMBINATIONS;
    any_is_private(url, &offered, rules, &mut combinations)
}

/// The values that a user may pick, or gets without picking.
fn offered<'a>(variables: Option<&'a Map<String, Value>>, name: &str) -> Vec<&'a str> {
    let Some(variable) = variables.and_then(|variables| variables.get(name)) else {
        return Vec::new();
    };
    let text = |member: &str| variable.get(member).and_then(Value::as_str);
    let is_given = |value: &&str| !value.is_empty();
    if let Some(value) = text("value").filter(is_given) {
        return vec![value];
    }
    let choices = variable.get("choices").and_then(Value::as_array);
    choices
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .chain(text("default"))
        .filter(is_given)
        .collect()
}

/// Tries every combination of what is offered; more than can be tried count as private.
fn any_is_private(
    url: &str,
    offered: &[(String, Vec<&str>)],
    rules: EndpointRules,
    combinations: &mut usize,
) -> bool {
    let Some(((variable, values), rest)) = offered.split_first() else {
        *combinations = combinations.saturating_sub(1);
        return *combinations == 0 || is_always_private(url, rules);
    };
    values
        .iter()
        .any(|value| any_is_private(&url.replace(variable, value), rest, rules, combinations))
}

/// Whether no value of the variables that are left leads to a public host.
fn is_always_private(url: &str, rules: EndpointRules) -> bool {
    is_private_host(&fill_with_hosts(url), rules) || is_part_of_a_private_address(url, rules)
}

/// Whether a URL has a part of an address that is private however its other numbers are.
fn is_part_of_a_private_address(url: &str, rules: EndpointRules) -> bool {
    let fill = |number: &'static str| fill_with(url, number);
    if !has_own_host(&fill("")) {
        return false;
    }
    let is_address = |url: &str| {
        Url::parse(url).is_ok_and(|url| matches!(url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_))))
    };
    let mut addresses = ["", "1", "8", "00"]
        .map(fill)
        .into_iter()
        .filter(|filled| is_address(filled))
        .peekable();
    addresses.peek().is_some() && addresses.all(|address| is_private_host(&address, rules))
}

/// Whether something of the host is left without its variables; else it may lead anywhere.
fn has_own_host(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or("");
    let host = authority.rsplit('@').next().unwrap_or("");
    let host = host.split(':').next().unwrap_or("");
    host.contains(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_private(url: &str, variables: &Value) -> bool {
        leads_to_private_host(url, variables.as_object(), EndpointRules::Public)
    }

    #[test]
    fn what_is_private_whatever_the_variable_is() {
        for url in [
            "https://10.0.0.{n}/mcp",
            "https://10.{a}.{b}.{c}/",
            "https://10.{rest}/",
            "https://192.168.{a}.{b}:8443/mcp",
            "https://172.16.{a}.1/",
            "https://169.254.169.25{n}/",
            "https://127.{n}/",
            "https://0x7f.{n}/",
            "https://{user}@10.0.0.{n}/",
            "https://100.64.{n}.1:{port}/",
            "https://{n}.internal/",
            "https://localhost:{port}/",
        ] {
            assert!(is_private(url, &json!({})), "{url}");
        }
        for url in [
            "https://{host}/mcp",
            "https://{host}:{port}/mcp",
            "https://{a}.{b}/",
            "https://{tenant}.example.com/mcp",
            "https://{tenant}-10.example.com/mcp",
            "https://172.{n}.0.1/",
            "https://172.2{n}.0.1/",
            "https://8.8.8.{n}/",
            "https://{n}.0.0.1/",
            "https://example.com/10.0.0.{n}",
            "https://example.com/mcp",
        ] {
            assert!(!is_private(url, &json!({})), "{url}");
        }
    }

    #[test]
    fn what_a_document_offers_for_a_host_is_public() {
        for (url, variables) in [
            (
                "https://{h}/",
                json!({"h": {"choices": ["example.com", "10.0.0.1"]}}),
            ),
            ("https://{h}/", json!({"h": {"default": "localhost"}})),
            (
                "https://{h}/",
                json!({"h": {"value": "printer.local", "choices": ["a.example"]}}),
            ),
            ("https://{h}/", json!({"h": {"default": "127.0.0.1:80"}})),
            ("https://{h}/", json!({"h": {"choices": ["x@192.168.0.1"]}})),
            ("https://{h}/", json!({"h": {"choices": ["10.\t0.0.1"]}})),
            (
                "https://{a}.{b}.0.1/",
                json!({"a": {"choices": ["8", "192"]}, "b": {"choices": ["8", "168"]}}),
            ),
            (
                "https://{env}.{zone}/",
                json!({"env": {"default": "dev"}, "zone": {"choices": ["example.com", "internal"]}}),
            ),
            ("https://{a}.0.0.{n}/", json!({"a": {"choices": ["10"]}})),
        ] {
            assert!(is_private(url, &variables), "{url} {variables}");
        }
        for (url, variables) in [
            (
                "https://{h}/",
                json!({"h": {"choices": ["a.example.com", "b.example.com"]}}),
            ),
            (
                "https://{h}/",
                json!({"h": {"value": "example.com", "default": "localhost"}}),
            ),
            ("https://{h}/", json!({"h": {"default": "<your host>"}})),
            (
                "https://{h}/",
                json!({"h": {"default": "", "choices": [""]}}),
            ),
            (
                "https://{t}.example.com/",
                json!({"t": {"default": "localhost"}}),
            ),
            (
                "https://example.com/{p}",
                json!({"p": {"choices": ["10.0.0.1"]}}),
            ),
            (
                "https://example.com:{p}/",
                json!({"p": {"choices": ["80", "443"]}}),
            ),
        ] {
            assert!(!is_private(url, &variables), "{url} {variables}");
        }
    }

    #[test]
    fn more_combinations_than_can_be_tried_are_refused() {
        let labels = |count: usize| {
            let choices: Vec<String> = (0..count).map(|n| format!("l{n}")).collect();
            json!({"a": {"choices": choices}, "b": {"choices": choices}})
        };
        let url = "https://{a}.{b}.example.com/";
        assert!(!is_private(url, &labels(30)));
        assert!(is_private(url, &labels(40)));
    }

    #[test]
    fn this_machine_may_be_offered_in_development() {
        let variables = json!({"h": {"choices": ["127.0.0.1", "localhost"]}});
        let is_private =
            |rules| leads_to_private_host("http://{h}:{port}/", variables.as_object(), rules);
        assert!(is_private(EndpointRules::Public));
        assert!(!is_private(EndpointRules::PublicOrLoopback));
    }
}
