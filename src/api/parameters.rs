//! The parameters that the query of an endpoint may have.

use mcp_connect_catalog::shown;
use url::form_urlencoded;

use super::problem::Problem;

/// Each route says which, so no endpoint ignores one by mistake.
#[derive(Clone, Copy)]
pub(super) enum Parameters {
    /// Others are ignored: documents and registries are also asked by programs that add parameters of their own.
    Any,
    /// Others are refused: whoever misspells a filter must not take everything for what it lets through.
    Only(&'static [&'static str]),
}

impl Parameters {
    /// Refuses a query with a parameter that the endpoint does not have.
    pub(super) fn check(self, query: Option<&str>) -> Result<(), Problem> {
        let Self::Only(known) = self else {
            return Ok(());
        };
        let mut names = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let Some((unknown, _)) = names.find(|(name, _)| !known.contains(&&**name)) else {
            return Ok(());
        };
        let there_are = if known.is_empty() {
            "there are none".to_owned()
        } else {
            format!("there are {}", known.join(", "))
        };
        Err(Problem::request_invalid(format!(
            "{}: is not a parameter of this endpoint; {there_are}",
            shown(&unknown)
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(parameters: Parameters, query: &str) -> Option<String> {
        let problem = parameters.check(Some(query)).err()?;
        Some(problem.into_parts().1)
    }

    #[test]
    fn what_an_endpoint_does_not_have_is_refused() {
        const SOME: Parameters = Parameters::Only(&["after", "limit"]);
        for query in [
            "",
            "&",
            "after=1",
            "limit=2&after=",
            "%61fter=1",
            "after=1&after=2",
        ] {
            assert_eq!(told(SOME, query), None, "{query}");
        }
        for (query, name) in [
            ("x", "x"),
            ("after=1&Limit=2", "Limit"),
            ("limit%00=1", "limit\\u{0}"),
            ("=1", ""),
            ("a%E2%80%AE=1", "a\\u{202e}"),
        ] {
            let expected =
                format!("{name}: is not a parameter of this endpoint; there are after, limit");
            assert_eq!(told(SOME, query), Some(expected), "{query}");
        }
        let none = told(Parameters::Only(&[]), "dry_run=true");
        let expected = "dry_run: is not a parameter of this endpoint; there are none";
        assert_eq!(none.as_deref(), Some(expected));
        assert!(told(SOME, &"x".repeat(5000)).unwrap().len() < 200);
        assert_eq!(told(Parameters::Any, "whatever=1"), None);
    }
}
