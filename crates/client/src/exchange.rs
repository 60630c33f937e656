//! Exchanges with the authority: no redirects, bounded in time and size, refusals decoded.

use std::{
    error::Error,
    io::{self, ErrorKind},
    time::{Duration, UNIX_EPOCH},
};

use http::{
    HeaderMap, HeaderName,
    header::{AGE, CONTENT_TYPE, DATE, RETRY_AFTER},
};
use reqwest::{Identity, RequestBuilder, Response, redirect};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::{Host, Url};

use crate::{
    ConnectError, Denial, DenialCode,
    clock::{AuthorityClock, Moment},
};

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

/// What went wrong between here and a host, in words: without the URL, and without the names of a library's types.
pub fn network_reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "there was no answer in time".to_owned();
    }
    let mut deepest: &(dyn Error + 'static) = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    let text = deepest.to_string();
    if error.is_connect() {
        return connect_reason(deepest, &text);
    }
    if error.is_builder() {
        return format!("the request can't be made: {text}");
    }
    "the answer broke off".to_owned()
}

fn connect_reason(deepest: &(dyn Error + 'static), text: &str) -> String {
    if let Some(error) = deepest.downcast_ref::<io::Error>() {
        match error.kind() {
            ErrorKind::ConnectionRefused => return "nothing listens there".to_owned(),
            ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => {
                return "the connection was closed before there was an answer".to_owned();
            }
            _ => {}
        }
    }
    let known = [
        ("lookup address", "the name of its host can't be resolved"),
        (
            "UnknownIssuer",
            "its TLS certificate is of an issuer that this machine does not trust",
        ),
        ("NotValidForName", "its TLS certificate is for another host"),
        ("certificate expired", "its TLS certificate has expired"),
        ("Expired", "its TLS certificate has expired"),
        ("NotValidYet", "its TLS certificate is not valid yet"),
        ("corrupt message", "it does not speak TLS"),
        ("InvalidContentType", "it does not speak TLS"),
        ("unreachable", "there is no way to it in the network"),
    ];
    let known = known.iter().find(|(part, _)| text.contains(part));
    known.map_or_else(|| without_number(text), |(_, reason)| (*reason).to_owned())
}

/// An error of the system without its number, which tells a person nothing.
fn without_number(text: &str) -> String {
    let plain = text.split(" (os error").next().unwrap_or(text);
    plain.trim().to_owned()
}

/// Sends the request and reads the answer of at most `max_bytes`. The authority's clock learns from
/// its date, whatever the answer is.
pub(crate) async fn bytes(
    request: RequestBuilder,
    max_bytes: usize,
    clock: &AuthorityClock,
) -> Result<Vec<u8>, ConnectError> {
    capped_body(answer(request, clock).await?, max_bytes).await
}

/// Sends the request and reads the answer as text, which has to be of this media type: a success of anything else than
/// an authority must not pass for one of an authority.
pub(crate) async fn text(
    request: RequestBuilder,
    max_bytes: usize,
    media_type: &str,
    clock: &AuthorityClock,
) -> Result<String, ConnectError> {
    let response = answer(request, clock).await?;
    let found = response.headers().get(CONTENT_TYPE);
    let found = found.and_then(|found| found.to_str().ok());
    let found = found.and_then(|found| found.split(';').next());
    let found = found.unwrap_or("nothing").trim();
    if !found.eq_ignore_ascii_case(media_type) {
        let found = first_chars(found, CODE_CHARS);
        return Err(ConnectError::InvalidAnswer(format!(
            "its content type is {found}, not {media_type}"
        )));
    }
    let body = capped_body(response, max_bytes).await?;
    String::from_utf8(body)
        .map_err(|_| ConnectError::InvalidAnswer("it is not text in UTF-8".to_owned()))
}

/// Sends the request; an answer of success is all that comes back.
async fn answer(request: RequestBuilder, clock: &AuthorityClock) -> Result<Response, ConnectError> {
    let response = request.send().await.map_err(network)?;
    let now = Moment::now();
    if let Some(date) = date_of_sending(response.headers()) {
        clock.learn(date, &now);
    }
    if response.status().is_success() {
        Ok(response)
    } else {
        Err(refusal(response, clock.unix_now()).await)
    }
}

/// … and decodes it. Members that aren't known are ignored.
pub(crate) async fn json<T: DeserializeOwned>(
    request: RequestBuilder,
    max_bytes: usize,
    clock: &AuthorityClock,
) -> Result<T, ConnectError> {
    let body = bytes(request, max_bytes, clock).await?;
    json_object(&body).map_err(ConnectError::InvalidAnswer)
}

/// Reads a JSON object. What is wrong with another text is told in words that continue "the answer: …", without the
/// names of types.
pub fn json_object<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    // Anything else is refused before it is read: a list would fill the members of a struct in their order.
    if !text.starts_with(b"{") {
        let what = match serde_json::from_slice(text) {
            Ok(Value::Array(_)) => "a list",
            Ok(Value::Bool(_)) => "true or false",
            Ok(Value::Null) => "null",
            Ok(Value::Number(_)) => "a number",
            Ok(Value::String(_)) => "a text",
            Ok(Value::Object(_)) | Err(_) => return Err("it is not JSON".to_owned()),
        };
        return Err(format!("it is {what}, not an object"));
    }
    serde_json::from_slice(text).map_err(|error| {
        if !error.is_data() {
            return "it is not JSON".to_owned();
        }
        let error = error.to_string();
        let missing = error.strip_prefix("missing field `");
        missing.and_then(|rest| rest.split('`').next()).map_or_else(
            || "one of its members is not what it should be".to_owned(),
            |member| format!("it has no member {member:?}"),
        )
    })
}

/// A certificate's dates are compared with this machine's clock: where they don't fit, either may be
/// wrong.
fn network(error: reqwest::Error) -> ConnectError {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    let is_of_dates = |text: &str| {
        text.contains("certificate") && (text.contains("not valid yet") || text.contains("expired"))
    };
    match causes.find(|cause| is_of_dates(&cause.to_string())) {
        Some(_) => ConnectError::CertificateDates(error),
        None => ConnectError::Network(error),
    }
}

/// When an answer left the authority, by its clock, as far as caches say (RFC 9111, section 5.1).
fn date_of_sending(headers: &HeaderMap) -> Option<u64> {
    let age = headers
        .get(AGE)
        .and_then(|age| age.to_str().ok()?.parse().ok());
    Some(date(headers, &DATE)?.saturating_add(age.unwrap_or(0)))
}

/// Reads a date in each of the three forms that HTTP knows (RFC 9110, section 5.6.7), in seconds since
/// the Unix epoch.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let date = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?.trim()).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date, which is compared with that of
/// the same answer, or with the authority's clock.
fn retry_after(headers: &HeaderMap, authority_now: u64) -> Option<u64> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    value.parse().ok().or_else(|| {
        let from = date(headers, &DATE).unwrap_or(authority_now);
        Some(date(headers, &RETRY_AFTER)?.saturating_sub(from))
    })
}

async fn capped_body(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, ConnectError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(network)? {
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

async fn refusal(response: Response, authority_now: u64) -> ConnectError {
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers(), authority_now);
    let problem = match capped_body(response, PROBLEM_BYTES).await {
        Ok(body) => serde_json::from_slice::<Problem>(&body).ok(),
        Err(error @ ConnectError::Network(_)) => return error,
        Err(_) => None,
    };
    let retry_after = retry_after.or_else(|| problem.as_ref()?.retry_after);
    let retry_after = retry_after.map(Duration::from_secs);
    match problem.and_then(Problem::into_code_and_detail) {
        Some((code, detail)) => ConnectError::Denied(Denial {
            status,
            code: DenialCode::from_wire(&first_chars(&code, CODE_CHARS)),
            detail: first_chars(&detail, DETAIL_CHARS),
            retry_after,
        }),
        None => match retry_after {
            Some(retry_after) => ConnectError::Busy {
                status,
                retry_after,
            },
            None => ConnectError::Status(status),
        },
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
    fn what_is_not_the_object_is_told_without_types() {
        #[derive(Debug, Deserialize, Eq, PartialEq)]
        struct Whoami {
            name: String,
        }
        for (text, problem) in [
            ("", "it is empty"),
            (" \n", "it is empty"),
            ("<html>", "it is not JSON"),
            ("{", "it is not JSON"),
            ("[]", "it is a list, not an object"),
            (r#"["name"]"#, "it is a list, not an object"),
            ("null", "it is null, not an object"),
            ("\"x\"", "it is a text, not an object"),
            ("7", "it is a number, not an object"),
            ("true", "it is true or false, not an object"),
            ("{}", "it has no member \"name\""),
            (
                r#"{"name": []}"#,
                "one of its members is not what it should be",
            ),
        ] {
            assert_eq!(
                json_object::<Whoami>(text.as_bytes()),
                Err(problem.to_owned()),
                "{text}"
            );
        }
        assert!(json_object::<Whoami>(b" {\"name\": \"a\", \"more\": 1}\n").is_ok());
        assert!(json_object::<Value>(b"[]").is_err());
    }

    #[test]
    fn a_pause_is_read_in_seconds_and_as_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        const NOW: u64 = 784_111_777;
        for (value, date, seconds) in [
            ("30", None, Some(30)),
            (" 0 ", None, Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", None, Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", None, Some(60)),
            ("Sun Nov  6 08:50:37 1994", None, Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None, Some(0)),
            (
                "Sun, 06 Nov 1994 10:00:10 GMT",
                Some("Sun, 06 Nov 1994 10:00:00 GMT"),
                Some(10),
            ),
            ("soon", None, None),
            ("-1", None, None),
            ("1.5", None, None),
            ("", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            assert_eq!(retry_after(&headers, NOW), seconds, "{value:?}");
        }
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
