//! Exchanges with the authority: no redirects, bounded in time and size, refusals decoded.

use std::time::Duration;

use reqwest::{Identity, RequestBuilder, Response, header::RETRY_AFTER, redirect};
use serde::{Deserialize, de::DeserializeOwned};
use url::{Host, Url};

use crate::{ConnectError, Denial, DenialCode};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const PROBLEM_BYTES: usize = 64 * 1024;
const DETAIL_CHARS: usize = 1000;
const CODE_CHARS: usize = 64;

/// A client for the host of this URL: the authority's, or that of an MCP server. It has no overall
/// time limit, since answers of MCP servers stream. Where there is an identity, it authenticates the
/// client in TLS.
pub(crate) fn client_for(
    url: &Url,
    identity: Option<Identity>,
) -> Result<reqwest::Client, ConnectError> {
    let client = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("mcp-connect-client/", env!("CARGO_PKG_VERSION")));
    let client = match identity {
        Some(identity) => client.identity(identity),
        None => client,
    };
    // A proxy has another loopback than we have, and would read what goes there in clear text.
    let client = if is_loopback(url) {
        client.no_proxy()
    } else {
        client.https_only(true)
    };
    client.build().map_err(ConnectError::Network)
}

/// https, or http to this very machine.
pub(crate) fn is_secure_url(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(url),
        _ => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Sends the request and reads the answer of at most `max_bytes`.
pub(crate) async fn bytes(
    request: RequestBuilder,
    max_bytes: usize,
) -> Result<Vec<u8>, ConnectError> {
    let response = request.send().await.map_err(ConnectError::Network)?;
    if response.status().is_success() {
        capped_body(response, max_bytes).await
    } else {
        Err(refusal(response).await)
    }
}

/// … and decodes it. Members that aren't known are ignored.
pub(crate) async fn json<T: DeserializeOwned>(
    request: RequestBuilder,
    max_bytes: usize,
) -> Result<T, ConnectError> {
    let body = bytes(request, max_bytes).await?;
    serde_json::from_slice(&body).map_err(|error| ConnectError::InvalidAnswer(error.to_string()))
}

async fn capped_body(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, ConnectError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(ConnectError::Network)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(ConnectError::InvalidAnswer(format!(
                "it is longer than {max_bytes} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The members of problem details that a client acts on.
#[derive(Deserialize)]
struct Problem {
    /// Registries have none: their title stands in for it.
    code: Option<String>,
    detail: Option<String>,
    title: Option<String>,
    retry_after: Option<u64>,
    #[serde(default)]
    errors: Vec<Fault>,
}

/// What exactly is wrong, as registries say it.
#[derive(Deserialize)]
struct Fault {
    message: String,
    #[serde(default)]
    location: String,
}

impl Problem {
    fn into_code_and_detail(self) -> Option<(String, String)> {
        let detail = self.detail.or_else(|| self.title.clone());
        let mut detail = detail.unwrap_or_default();
        for Fault { message, location } in self.errors {
            detail.push_str(if detail.is_empty() { "" } else { "; " });
            if !location.is_empty() {
                detail.push_str(&location);
                detail.push_str(": ");
            }
            detail.push_str(&message);
        }
        Some((self.code.or(self.title)?, detail))
    }
}

async fn refusal(response: Response) -> ConnectError {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let problem = match capped_body(response, PROBLEM_BYTES).await {
        Ok(body) => serde_json::from_slice::<Problem>(&body).ok(),
        Err(error @ ConnectError::Network(_)) => return error,
        Err(_) => None,
    };
    let retry_after = retry_after.or_else(|| problem.as_ref()?.retry_after);
    match problem.and_then(Problem::into_code_and_detail) {
        Some((code, detail)) => ConnectError::Denied(Denial {
            status,
            code: DenialCode::from_wire(&first_chars(&code, CODE_CHARS)),
            detail: first_chars(&detail, DETAIL_CHARS),
            retry_after: retry_after.map(Duration::from_secs),
        }),
        None => ConnectError::Status(status),
    }
}

fn first_chars(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_by_its_code_or_as_registries_have_it() {
        for (json, code, detail) in [
            (r#"{"code":"a","title":"T","detail":"d"}"#, "a", "d"),
            (r#"{"code":"a","title":"T"}"#, "a", "T"),
            (r#"{"title":"T","detail":"d","errors":[]}"#, "T", "d"),
            (
                r#"{"title":"T","detail":"d","errors":[{"message":"m"},{"message":"n","location":"body.l","value":7}]}"#,
                "T",
                "d; m; body.l: n",
            ),
        ] {
            let problem: Problem = serde_json::from_str(json).unwrap();
            let told = problem.into_code_and_detail().unwrap();
            assert_eq!(told, (code.to_owned(), detail.to_owned()));
        }
        let silent: Problem = serde_json::from_str(r#"{"status":502}"#).unwrap();
        assert!(silent.into_code_and_detail().is_none());
    }

    #[test]
    fn plain_http_only_to_this_machine() {
        for (url, secure) in [
            ("https://authority.example", true),
            ("http://127.0.0.1:8787", true),
            ("http://127.8.9.1", true),
            ("http://[::1]:8787", true),
            ("http://localhost", true),
            ("http://authority.example", false),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
            ("ftp://localhost", false),
            ("data:,x", false),
        ] {
            assert_eq!(is_secure_url(&Url::parse(url).unwrap()), secure, "{url}");
        }
    }
}
