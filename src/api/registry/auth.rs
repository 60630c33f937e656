//! How publishers log in: what they can prove is theirs becomes a registry token.

use std::time::Duration;

use http::StatusCode;
use mcp_connect_catalog::Endpoint;
use serde_json::{Value, json};

use super::{
    Refusal,
    body::{Checked, body},
    refusal::fault,
};
use crate::{
    api::{
        App,
        call::Call,
        provider_keys::{self, Unproven},
        publishers::log_in,
        respond,
    },
    authority::{
        AccessToken, Expected, KeySource, MAX_RECORD_BYTES, Place, ProofFault, Publisher,
        RECORD_PATH, SignedTime, SignedToken, TokenFault, TokenRules, txt_records,
    },
    platform::{
        Publishing, has_signed,
        http::Response,
        log, now_millis,
        outbound::{self, Answer, Outbound},
    },
};

const DNS_TIME_LIMIT: Duration = Duration::from_secs(5);
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// More than all TXT records of a domain have.
const MAX_DNS_BYTES: usize = 128 * 1024;
/// A hundred memberships of GitHub, with all that it says of each.
const MAX_GITHUB_BYTES: usize = 1024 * 1024;
/// Of a token that vouches for a publisher; Google's live so long.
const MAX_TOKEN_LIFETIME_SECONDS: u64 = 60 * 60;
const USER_AGENT: (&str, &str) = ("user-agent", "mcp-connect-authority");

pub(in crate::api) async fn dns(call: &Call) -> Result<Response, Refusal> {
    domain(call, Place::Dns, "DNS authentication failed").await
}

pub(in crate::api) async fn http(call: &Call) -> Result<Response, Refusal> {
    domain(call, Place::Http, "HTTP authentication failed").await
}

async fn domain(call: &Call, place: Place, failed: &'static str) -> Result<Response, Refusal> {
    opened(call, place.method())?;
    let body = Body::read(
        call,
        &["domain", "timestamp", "signed_timestamp"],
        Some("registry"),
    )?;
    let refuse = |fault: ProofFault| {
        log::info("publisher_refused", &[("problem", fault.0)]);
        Refusal::unauthorized(failed).because(fault.0)
    };
    let proof = SignedTime::read(
        body.text("domain"),
        body.text("timestamp"),
        body.text("signed_timestamp"),
        body.given("registry"),
        call.app.settings.issuer()?,
        now_millis(),
    )
    .map_err(refuse)?;
    let texts = match place {
        Place::Dns => txt_of(call, &proof).await,
        Place::Http => document_of(call, &proof).await,
    };
    let keys = texts.and_then(|texts| Ok(place.keys(&texts)?));
    let keys = keys.map_err(|failure| match failure {
        Failure::Proof(fault) => refuse(fault),
        Failure::Ours(refusal) => refusal,
    })?;
    for key in &keys {
        if !has_signed(key, &proof).await {
            continue;
        }
        if !call.app.store.spend_proof(&proof.id(key), None).await? {
            return Err(refuse(ProofFault(
                "this proof was used before: sign the time anew",
            )));
        }
        return admit(call, proof.publisher(place)).await;
    }
    Err(refuse(ProofFault(
        "signature verification failed with each of the published keys",
    )))
}

/// Why there are no keys of a domain.
enum Failure {
    Proof(ProofFault),
    Ours(Refusal),
}

impl From<ProofFault> for Failure {
    fn from(fault: ProofFault) -> Self {
        Self::Proof(fault)
    }
}

impl<T: Into<Refusal>> From<T> for Failure {
    fn from(refusal: T) -> Self {
        Self::Ours(refusal.into())
    }
}

async fn txt_of(call: &Call, proof: &SignedTime) -> Result<Vec<String>, Failure> {
    let resolver = &call.app.settings.publishing()?.dns_resolver;
    let url = format!("{resolver}?name={}&type=TXT", proof.domain);
    let headers = [("accept", "application/dns-json")];
    let answer = ask(&call.app, &url, &headers, DNS_TIME_LIMIT, MAX_DNS_BYTES).await;
    let answer = answer.filter(|answer| answer.status == StatusCode::OK);
    let answer = answer.ok_or(ProofFault("failed to look up the DNS TXT records"))?;
    Ok(txt_records(&answer.body)?)
}

async fn document_of(call: &Call, proof: &SignedTime) -> Result<Vec<String>, Failure> {
    let url = format!("https://{}{RECORD_PATH}", proof.domain);
    let headers = [("accept", "text/plain"), USER_AGENT];
    let answer = ask(&call.app, &url, &headers, TIME_LIMIT, MAX_RECORD_BYTES).await;
    let answer = answer.ok_or(ProofFault(
        "failed to fetch /.well-known/mcp-registry-auth: it must answer within 10 s, with at most 4096 bytes",
    ))?;
    if answer.status != StatusCode::OK {
        return Err(ProofFault(
            "failed to fetch /.well-known/mcp-registry-auth: it must answer 200; redirects are not followed",
        )
        .into());
    }
    Ok(vec![String::from_utf8_lossy(&answer.body).into_owned()])
}

pub(in crate::api) async fn github_token(call: &Call) -> Result<Response, Refusal> {
    const FAILED: &str = "GitHub authentication failed";
    let namespace = &opened(call, "github-at")?.github_namespace;
    let body = Body::read(call, &["github_token"], None)?;
    let token = body.text("github_token");
    // Else it could be no header.
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::unauthorized(FAILED).because("github_token is no token of GitHub's"));
    }
    let user = github(call, "/user", token).await?;
    let user = user.ok_or_else(|| {
        Refusal::unauthorized(FAILED)
            .because("GitHub does not take the token, or it can't read the user")
    })?;
    // Without leave to read them there are none: the user's own name remains.
    let path = "/user/memberships/orgs?state=active&per_page=100";
    let memberships = github(call, path, token).await?;
    let publisher = Publisher::of_github(&user, memberships.as_ref(), namespace)
        .ok_or_else(|| Refusal::unauthorized(FAILED).because("GitHub names no user"))?;
    admit(call, publisher).await
}

/// What GitHub says to whoever has the token; `None`: that it may not be told.
async fn github(call: &Call, path: &str, token: &str) -> Result<Option<Value>, Refusal> {
    let unavailable = || Refusal::new(StatusCode::BAD_GATEWAY, "GitHub gives no answer; try again");
    let url = format!("{}{path}", call.app.settings.publishing()?.github_api);
    let authorization = format!("Bearer {token}");
    let headers = [
        ("accept", "application/vnd.github+json"),
        ("authorization", &*authorization),
        ("x-github-api-version", "2022-11-28"),
        USER_AGENT,
    ];
    let answer = ask(&call.app, &url, &headers, TIME_LIMIT, MAX_GITHUB_BYTES).await;
    let answer = answer.ok_or_else(unavailable)?;
    // Its limits say nothing of the token: neither that it is bad nor what it may not read.
    if is_limited(&answer) {
        let detail = "GitHub answers no more for this token or this registry for now: there were too many requests; try again later";
        return Err(Refusal::new(StatusCode::BAD_GATEWAY, detail));
    }
    match answer.status.as_u16() {
        200 => serde_json::from_slice(&answer.body)
            .map(Some)
            .map_err(|_| unavailable()),
        401 | 403 | 404 => Ok(None),
        _ => Err(unavailable()),
    }
}

/// As GitHub tells of its limits, primary and secondary ones.
fn is_limited(answer: &Answer) -> bool {
    answer.status == StatusCode::TOO_MANY_REQUESTS
        || (answer.status == StatusCode::FORBIDDEN
            && (answer.header("retry-after").is_some()
                || answer.header("x-ratelimit-remaining") == Some("0")))
}

pub(in crate::api) async fn github_workflow(call: &Call) -> Result<Response, Refusal> {
    let settings = &call.app.settings;
    let publishing = opened(call, "github-oidc")?;
    let (issuer, namespace) = (
        &publishing.github_actions_issuer,
        &publishing.github_actions_namespace,
    );
    let audience = settings.issuer()?;
    let failed = "GitHub OIDC authentication failed";
    by_token(call, issuer, audience, failed, |token| {
        Publisher::of_workflow(token, namespace)
    })
    .await
}

pub(in crate::api) async fn oidc(call: &Call) -> Result<Response, Refusal> {
    let rules = opened(call, "oidc")?.oidc.as_ref();
    let rules = rules.ok_or_else(not_here)?;
    let failed = "OIDC authentication failed";
    let (issuer, audience) = (&rules.issuer, &rules.audience);
    by_token(call, issuer, audience, failed, |token| rules.admit(token)).await
}

async fn by_token(
    call: &Call,
    issuer: &str,
    audience: &str,
    failed: &'static str,
    publisher: impl Fn(SignedToken<'_>) -> Result<Publisher, TokenFault>,
) -> Result<Response, Refusal> {
    let body = Body::read(call, &["oidc_token"], None)?;
    let refuse = |fault: TokenFault| {
        let problem = fault.to_string();
        let members = [("issuer", issuer), ("problem", &problem)];
        log::info("publisher_refused", &members);
        Refusal::unauthorized(failed).because(problem)
    };
    let prove = async {
        let token = AccessToken::parse(body.text("oidc_token"))?;
        let expected = Expected {
            issuer,
            audience,
            rules: TokenRules::NONE,
            max_lifetime: MAX_TOKEN_LIFETIME_SECONDS,
        };
        token.check(&expected, now_millis() / 1000)?;
        let source = KeySource {
            issuer: issuer.to_owned(),
            jwks_uri: None,
        };
        let signed = provider_keys::check_signature(&call.app, &source, &token).await?;
        Ok((publisher(signed)?, token.id(), token.good_until()))
    };
    match prove.await {
        Ok((publisher, id, good_until)) => {
            let good_until = good_until.map(|seconds| seconds.saturating_mul(1000));
            if call.app.store.spend_proof(&id, good_until).await? {
                return admit(call, publisher).await;
            }
            Err(refuse(TokenFault::new(
                "this token was used before: get another",
            )))
        }
        Err(Unproven::Refused(fault)) => Err(refuse(fault)),
        Err(error) => {
            let problem = error.to_string();
            log::error("publisher_unchecked", &[("problem", &problem)]);
            Err(Refusal::new(StatusCode::BAD_GATEWAY, failed).because(problem))
        }
    }
}

pub(in crate::api) async fn nobody(call: &Call) -> Result<Response, Refusal> {
    opened(call, "none")?;
    admit(call, Publisher::anonymous()).await
}

async fn admit(call: &Call, publisher: Publisher) -> Result<Response, Refusal> {
    let login = log_in(call, publisher).await?;
    let body = json!({ "registry_token": login.registry_token, "expires_at": login.expires_at });
    Ok(respond(StatusCode::OK, &body)?)
}

/// The settings of publishers, if they may log in by this method.
fn opened<'a>(call: &'a Call, method: &str) -> Result<&'a Publishing, Refusal> {
    let publishing = call.app.settings.publishing()?;
    if publishing.logins.has(method) {
        Ok(publishing)
    } else {
        Err(not_here())
    }
}

/// What the operator has not opened is as if it were not there.
fn not_here() -> Refusal {
    Refusal::not_found(
        "This way to log in is not open at this registry; its operator opens ways by the setting PUBLISH_LOGINS",
    )
}

/// `None`: there is no answer; why is for the log.
async fn ask(
    app: &App,
    url: &str,
    headers: &[(&'static str, &str)],
    time_limit: Duration,
    max_bytes: usize,
) -> Option<Answer> {
    let unanswered =
        |problem: String| log::info("unanswered", &[("url", url), ("problem", &problem)]);
    let endpoint = Endpoint::parse(url, app.settings.endpoint_rules());
    let url = endpoint
        .map_err(|error| unanswered(error.to_string()))
        .ok()?;
    let request = Outbound {
        url: &url,
        headers,
        body: None,
        time_limit,
        max_bytes,
    };
    let answer = outbound::fetch(&request).await;
    answer.map_err(|error| unanswered(error.to_string())).ok()
}

/// An object of texts.
struct Body(Value);

impl Body {
    /// Every one of `required` is there, `optional` may be, and nothing else.
    fn read(
        call: &Call,
        required: &[&'static str],
        optional: Option<&str>,
    ) -> Result<Self, Refusal> {
        let body = body(call, Checked::ForAnyone, |body| {
            let missing = required.iter().filter(|name| body.get(name).is_none());
            let missing = missing.map(|name| {
                let message = format!("expected required property {name} to be present");
                fault("body", message, None)
            });
            let members = body.as_object().into_iter().flatten();
            let wrong = members.filter_map(|(name, value)| {
                let is_known = required.contains(&name.as_str()) || optional == Some(name);
                let message = match (is_known, value) {
                    (true, Value::String(_)) => return None,
                    (true, _) => "expected string",
                    (false, _) => "unexpected property",
                };
                // Not its value, which may be a secret.
                Some(fault(format!("body.{name}"), message, None))
            });
            missing.chain(wrong).collect()
        });
        body.map(Self)
    }

    fn given(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    fn text(&self, name: &str) -> &str {
        self.given(name).unwrap_or_default()
    }
}
