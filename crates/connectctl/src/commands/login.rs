use std::{env, time::Duration};

use mcp_connect_catalog::format_date;
use mcp_connect_client::{Authority, network_reason};
use reqwest::{Client, Method, RequestBuilder, Url, redirect};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    cli::{DomainArgs, LoginCommand},
    clock::{now_micros, now_seconds},
    config::Settings,
    domain_key::DomainKey,
    failure::Failure,
    output,
    session::Session,
};

const TIME_LIMIT: Duration = Duration::from_secs(30);
/// RFC 8628, section 3.5.
const SLOW_DOWN: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Granted {
    registry_token: String,
    expires_at: u64,
}

pub(crate) async fn run(
    command: &LoginCommand,
    settings: &Settings,
    as_json: bool,
) -> Result<(), Failure> {
    match command {
        LoginCommand::Dns(args) => domain("dns", args, settings, as_json).await,
        LoginCommand::Http(args) => domain("http", args, settings, as_json).await,
        LoginCommand::Github { token, github } => {
            let registry = settings.anonymous()?;
            let token = match token {
                Some(token) if !token.is_empty() => token.clone(),
                _ => ask_a_browser(&registry, github).await?,
            };
            let body = json!({ "github_token": token });
            log_in("github-at", &body, settings, as_json).await
        }
        LoginCommand::GithubOidc => {
            let audience = settings.issuer().unwrap_or_default();
            let token = workflow_token(audience).await?;
            let body = json!({ "oidc_token": token });
            log_in("github-oidc", &body, settings, as_json).await
        }
        LoginCommand::None => log_in("none", &json!({}), settings, as_json).await,
    }
}

pub(crate) fn log_out(settings: &Settings) -> Result<(), Failure> {
    let was_there = Session::forget(settings)?;
    output::note(if was_there {
        "Logged out: what the login gave is forgotten here; it ends by itself within five minutes."
    } else {
        "Nobody was logged in."
    });
    Ok(())
}

async fn domain(
    method: &str,
    args: &DomainArgs,
    settings: &Settings,
    as_json: bool,
) -> Result<(), Failure> {
    let text = output::read_input(&args.key)?;
    let key = DomainKey::parse(&text).ok_or_else(|| {
        Failure::usage(format!("{} has no key that can sign", args.key.display()))
            .hint("make one: openssl genpkey -algorithm ed25519 -out key.pem")
    })?;
    if args.record {
        return output::line(&key.record());
    }
    let registry = settings.anonymous().map(|_| settings.issuer())?;
    let registry = registry.filter(|_| !args.unbound);
    // To the microsecond: no two logins are one proof, which is good once.
    let timestamp = format_date(now_micros());
    let message = registry.map_or_else(
        || timestamp.clone(),
        |registry| format!("{timestamp}\n{registry}\n{}", args.domain),
    );
    let signature = key
        .sign(&message)
        .ok_or_else(|| Failure::unavailable("the key does not sign"))?;
    let mut body = json!({
        "domain": args.domain,
        "timestamp": timestamp,
        "signed_timestamp": signature,
    });
    if let (Some(registry), Some(members)) = (registry, body.as_object_mut()) {
        members.insert("registry".to_owned(), registry.into());
    }
    log_in(method, &body, settings, as_json)
        .await
        .map_err(|failure| {
            let record = key.record();
            match method {
                "dns" => failure.hint(format!("{} needs the TXT record: {record}", args.domain)),
                _ => failure.hint(format!(
                    "https://{}/.well-known/mcp-registry-auth must be: {record}",
                    args.domain
                )),
            }
        })
}

async fn log_in(
    method: &str,
    body: &Value,
    settings: &Settings,
    as_json: bool,
) -> Result<(), Failure> {
    let path = format!("/v0/auth/{method}");
    let granted: Granted = settings
        .anonymous()?
        .call(Method::POST, &path, Some(body))
        .await?;
    let session = Session {
        registry: settings.issuer().unwrap_or_default().to_owned(),
        method: method.to_owned(),
        token: granted.registry_token,
        expires_at: granted.expires_at,
    };
    session.keep(settings)?;
    if as_json {
        let Session {
            registry,
            method,
            expires_at,
            ..
        } = &session;
        let shown = json!({ "registry": registry, "method": method, "expires_at": expires_at });
        return output::json(&shown);
    }
    let left = session.expires_at.saturating_sub(now_seconds());
    output::line(&output::printable(&format!(
        "Logged in at {} for {left} s.",
        session.registry
    )))
}

/// The OAuth device flow (RFC 8628) with the registry's app at GitHub.
async fn ask_a_browser(registry: &Authority, github: &str) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Health {
        github_client_id: Option<String>,
    }
    #[derive(Deserialize)]
    #[expect(clippy::struct_field_names, reason = "the names that go over the wire")]
    struct Device {
        device_code: String,
        user_code: String,
        verification_uri: String,
        expires_in: u64,
        interval: Option<u64>,
    }
    let health: Health = registry
        .call(Method::GET, "/v0/health", None::<&()>)
        .await?;
    let client_id = health.github_client_id.ok_or_else(|| {
        Failure::no("this registry has no app at GitHub")
            .hint("give --token, or log in by a domain")
    })?;
    let ask = async |path: &str, form: &[(&str, &str)]| {
        let url = format!("{github}/login/{path}");
        let request = elsewhere(Method::POST, &url)?
            .header("content-type", "application/x-www-form-urlencoded");
        answer(request.body(form_of(form))).await
    };
    let form = [("client_id", &*client_id), ("scope", "read:org read:user")];
    let device: Device = serde_json::from_value(ask("device/code", &form).await?)
        .map_err(|_| Failure::unavailable("GitHub begins no login"))?;
    output::note(&format!(
        "Open {} and enter the code {}",
        device.verification_uri, device.user_code
    ));
    let form = [
        ("client_id", &*client_id),
        ("device_code", &device.device_code),
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
    ];
    let ends = now_seconds() + device.expires_in;
    let mut interval = Duration::from_secs(device.interval.unwrap_or(5));
    while now_seconds() < ends {
        sleep(interval).await;
        let granted = ask("oauth/access_token", &form).await?;
        let text = |member| granted.get(member).and_then(Value::as_str);
        match (text("access_token"), text("error")) {
            (Some(token), _) => return Ok(token.to_owned()),
            (None, Some("authorization_pending")) => {}
            (None, Some("slow_down")) => interval += SLOW_DOWN,
            (None, error) => {
                let error = error.unwrap_or("no token");
                return Err(Failure::no(format!("GitHub does not log you in: {error}")));
            }
        }
    }
    Err(Failure::no("nobody has entered the code in time"))
}

/// What GitHub Actions says of this run, for this registry.
async fn workflow_token(audience: &str) -> Result<String, Failure> {
    let given = |name| {
        env::var(name).map_err(|_| {
            Failure::usage(format!("{name} is not set"))
                .hint("run this in GitHub Actions, with the permission id-token: write")
        })
    };
    let url = given("ACTIONS_ID_TOKEN_REQUEST_URL")?;
    let token = given("ACTIONS_ID_TOKEN_REQUEST_TOKEN")?;
    let request = elsewhere(Method::GET, &url)?
        .query(&[("audience", audience)])
        .bearer_auth(token);
    let answer = answer(request).await?;
    let token = answer.get("value").and_then(Value::as_str);
    token
        .map(str::to_owned)
        .ok_or_else(|| Failure::unavailable("GitHub Actions gives no token"))
}

/// A form is written as a query is.
fn form_of(members: &[(&str, &str)]) -> String {
    Url::parse_with_params("https://form", members)
        .ok()
        .and_then(|url| url.query().map(str::to_owned))
        .unwrap_or_default()
}

/// A request of another host than the registry.
fn elsewhere(method: Method, url: &str) -> Result<RequestBuilder, Failure> {
    let url = Url::parse(url).map_err(|error| Failure::usage(format!("{url}: {error}")))?;
    let is_here = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    let client = Client::builder()
        .redirect(redirect::Policy::none())
        .https_only(!is_here)
        .timeout(TIME_LIMIT)
        .user_agent(concat!("connectctl/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Failure::unavailable(network_reason(&error)))?;
    Ok(client
        .request(method, url)
        .header("accept", "application/json"))
}

/// JSON, whatever the status.
async fn answer(request: RequestBuilder) -> Result<Value, Failure> {
    let unavailable = |error: reqwest::Error| {
        let host = error
            .url()
            .and_then(|url| url.host_str().map(str::to_owned));
        let host = host.unwrap_or_else(|| "GitHub".to_owned());
        Failure::unavailable(if error.is_decode() {
            format!("{host} answers with something else than JSON")
        } else {
            format!("{host} can't be reached: {}", network_reason(&error))
        })
    };
    let answer = request.send().await.map_err(unavailable)?;
    answer.json().await.map_err(unavailable)
}
