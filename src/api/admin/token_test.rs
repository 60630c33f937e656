//! Says why an access token would be refused, to administrators. The token goes nowhere else: it is
//! neither logged nor stored.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{
    api::{
        App,
        call::{Call, Moderator},
        problem::Problem,
        provider_keys::{self, Examined, Unproven},
        respond,
    },
    authority::{AccessToken, ProviderFacts, TokenProvider, identify},
    platform::{http::Response, now_millis},
    store::{Row, TokenFacts},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestBody {
    token: String,
}

/// What connect makes of the token now, and everything that is wrong with it.
#[derive(Default, Serialize)]
struct Verdict {
    accepted: bool,
    problems: Vec<String>,
    /// Who would connect with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<String>,
    /// The identity provider that it is of; else all that have its issuer.
    identity_providers: Vec<Row>,
    #[serde(flatten)]
    keys: Option<Examined>,
}

pub(crate) async fn test(call: &Call, _: &Moderator) -> Result<Response, Problem> {
    let body: TestBody = call.json()?;
    let verdict = match AccessToken::parse(body.token.trim_ascii()) {
        Ok(token) => judge(&call.app, &token).await?,
        Err(fault) => Verdict {
            problems: vec![fault.to_string()],
            ..Verdict::default()
        },
    };
    respond(StatusCode::OK, &verdict)
}

async fn judge(app: &App, token: &AccessToken) -> Result<Verdict, Problem> {
    let facts = app.store.token_facts(token).await?;
    let mut verdict = Verdict::default();
    if let Err(unreadable) = token.check_payload() {
        verdict.problems.push(unreadable.to_string());
    } else {
        match facts.provider.one() {
            Ok(provider) => prove(app, token, provider, &mut verdict).await,
            Err(fault) => {
                let issuers = match facts.provider {
                    TokenProvider::Unknown => among_issuers(app, token.issuer()).await?,
                    _ => String::new(),
                };
                verdict.problems.push(format!("{fault}{issuers}"));
                verdict
                    .problems
                    .extend(token.key().err().map(|fault| fault.to_string()));
            }
        }
    }
    if facts.is_tenant_suspended {
        verdict.problems.push("the tenant is suspended".to_owned());
    }
    verdict.accepted = verdict.problems.is_empty();
    verdict.identity_providers = shown(facts);
    Ok(verdict)
}

/// A foreign issuer beside those that are registered: often the two differ by a final slash.
async fn among_issuers(app: &App, issuer: &str) -> Result<String, Problem> {
    let known = app.store.issuers_like(issuer).await?;
    let same = |text: &str| {
        text.trim_end_matches('/')
            .eq_ignore_ascii_case(issuer.trim_end_matches('/'))
    };
    let hint = if known.iter().any(|known| same(known)) {
        "; the two must be equal to the letter, with or without a final slash"
    } else {
        ""
    };
    let known = if known.is_empty() {
        "none is registered".to_owned()
    } else {
        format!("registered are {known:?}")
    };
    Ok(format!(": it is {issuer:?}; {known}{hint}"))
}

/// Checks everything that can be checked, with keys that are fetched now.
async fn prove(app: &App, token: &AccessToken, provider: &ProviderFacts, verdict: &mut Verdict) {
    let problems = &mut verdict.problems;
    let faults = token.faults(&provider.expected(), now_millis() / 1000);
    problems.extend(faults.iter().map(ToString::to_string));
    match provider_keys::examine(app, &provider.source).await {
        Ok(examined) => verdict.keys = Some(examined),
        Err(problem) => problems.push(format!("the provider's keys can't be fetched: {problem}")),
    }
    let signed = match provider_keys::check_signature(app, &provider.source, token).await {
        Ok(signed) => signed,
        Err(Unproven::Refused(fault)) => {
            let problem = fault.to_string();
            // A fault of the header has been told already.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
            return;
        }
        Err(error) => return problems.push(error.to_string()),
    };
    match identify(signed, provider) {
        Ok(caller) => {
            if caller.is_suspended {
                problems.push("the client is suspended".to_owned());
            }
            verdict.client_id = caller.client_id;
            verdict.tenant_id = caller.tenant_id;
        }
        Err(fault) => problems.push(fault.to_string()),
    }
}

/// The provider that decides, or else those that the token may have been meant for.
fn shown(facts: TokenFacts) -> Vec<Row> {
    let Ok(provider) = facts.provider.one() else {
        return facts.of_issuer;
    };
    let mut of_issuer = facts.of_issuer;
    of_issuer.retain(|row| row.text("audience") == provider.audience);
    of_issuer
}
