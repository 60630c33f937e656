use std::{fmt, str::FromStr};

use ::url::Host;

/// A domain whose owner may publish under its reverse: 3 to 253 characters, two or more labels of
/// letters, digits and hyphens, and no address in any notation. Its case is kept.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Domain(String);

/// A text that is no [`Domain`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is not a domain such as \"example.com\"")]
pub struct DomainError;

const MAX_CHARS: usize = 253;

impl Domain {
    /// The domain as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace of the domain: its labels in lower case, the last one first.
    pub fn namespace(&self) -> String {
        reversed(&self.0)
    }
}

/// Whether a host is the domain, or below it.
pub fn lies_under(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The labels in lower case, the last one first.
pub(crate) fn reversed(labels: &str) -> String {
    let labels = labels.to_ascii_lowercase();
    labels.rsplit('.').collect::<Vec<_>>().join(".")
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let fits = text.len() <= MAX_CHARS
            && text.contains('.')
            && text.split('.').all(is_label)
            // `0x7f.1` is one of an address's notations to whoever fetches a URL.
            && matches!(Host::parse(text), Ok(Host::Domain(_)));
        fits.then(|| Self(text.to_owned())).ok_or(DomainError)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conformance::shared;

    #[test]
    fn accepts_domains_and_no_addresses() {
        for (text, valid) in [
            ("example.com", true),
            ("a.b.example.com", true),
            ("123.example.com", true),
            ("xn--bcher-kva.example", true),
            ("", false),
            ("localhost", false),
            ("-example.com", false),
            ("example.com-", false),
            ("example..com", false),
            ("example.com.", false),
            ("exa_mple.com", false),
            ("bücher.example", false),
            ("example.com/x", false),
            ("example.com:8080", false),
            ("user@example.com", false),
            ("127.0.0.1", false),
            ("127.1", false),
            ("0x7f.1", false),
            ("example.0x1", false),
            ("::1", false),
            ("[::1]", false),
        ] {
            assert_eq!(text.parse::<Domain>().is_ok(), valid, "{text}");
        }
        assert!(
            format!("{}.com", "a".repeat(250))
                .parse::<Domain>()
                .is_err()
        );
    }

    #[test]
    fn the_namespace_is_the_reverse() {
        let domain: Domain = "mcp.Example.com".parse().unwrap();
        assert_eq!(domain.namespace(), "com.example.mcp");
        assert_eq!(domain.to_string(), "mcp.Example.com");
    }

    #[test]
    fn accepts_what_the_official_registry_accepts() {
        let Some(cases) = shared("conformance/registry/misc-cases.json") else {
            return;
        };
        for case in cases["is_valid_domain"].as_array().unwrap() {
            let domain = case["domain"].as_str().unwrap();
            assert_eq!(domain.parse::<Domain>().is_ok(), case["want"], "{domain}");
        }
    }

    #[test]
    fn a_host_lies_under_a_domain_at_a_dot() {
        assert!(lies_under("example.com", "example.com"));
        assert!(lies_under("a.b.example.com", "example.com"));
        assert!(!lies_under("evilexample.com", "example.com"));
        assert!(!lies_under("example.com.evil.net", "example.com"));
        assert!(!lies_under("example.com", "mcp.example.com"));
        assert!(!lies_under("example.com.", "example.com"));
        assert!(!lies_under("8.8.8.8", "example.com"));
    }

    proptest! {
        #[test]
        fn under_means_the_same_last_labels(host in "[a-z.]{1,20}", domain in "[a-z]{1,5}\\.[a-z]{2,3}") {
            let labels = |text: &str| text.rsplit('.').map(str::to_owned).collect::<Vec<_>>();
            let expected = labels(&host).starts_with(&labels(&domain));
            prop_assert_eq!(lies_under(&host, &domain), expected);
        }

        #[test]
        fn what_is_accepted_is_one_host_of_a_url(text in "[a-zA-Z0-9.x-]{1,30}") {
            if let Ok(domain) = text.parse::<Domain>() {
                let url = ::url::Url::parse(&format!("https://{domain}/")).unwrap();
                let lower = text.to_ascii_lowercase();
                prop_assert_eq!(url.domain(), Some(lower.as_str()));
            }
        }
    }
}
