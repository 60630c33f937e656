use std::path::Path;

use serde_json::json;

use crate::{
    api::{Admin, NewProvider, Provider, SkippedKey},
    cli::{ProviderChange, ProviderRulesArgs, ProvidersCommand},
    config::Settings,
    failure::Failure,
    output,
    presets::Preset,
};

const MAX_TOKEN_BYTES: usize = 8 * 1024;

pub(crate) async fn run(
    command: ProvidersCommand,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let admin = Admin::new(settings.operator()?);
    match command {
        ProvidersCommand::Add {
            change,
            jwks_uri,
            rules,
        } => add(&admin, &change, jwks_uri.as_deref(), rules, json).await,
        ProvidersCommand::Test { token } => test(&admin, &token, json).await,
        ProvidersCommand::List { tenant } => {
            let providers = admin.providers(&tenant).await?;
            if json {
                return output::json(&json!({ "identity_providers": providers }));
            }
            output::print_table(&list(&providers))
        }
        ProvidersCommand::Remove(change) => {
            let answer = admin
                .remove_provider(
                    &change.tenant,
                    &change.issuer,
                    &change.audience,
                    &change.reason,
                )
                .await?;
            if !answer.changed {
                // An authority of an earlier version does not refuse it.
                let problem = "the tenant has no such identity provider, so nothing was removed";
                return Err(Failure::no(problem)
                    .code("provider_not_found")
                    .hint(format!(
                        "`connectctl providers list --tenant {}` lists those that it has",
                        change.tenant
                    )));
            }
            if json {
                return output::json(&answer);
            }
            output::note("Removed: no token of it is taken any more.");
            Ok(())
        }
    }
}

async fn add(
    admin: &Admin,
    change: &ProviderChange,
    jwks_uri: Option<&str>,
    rules: ProviderRulesArgs,
    json: bool,
) -> Result<(), Failure> {
    let doubt = rules.preset.and_then(|preset| preset.doubt(&change.issuer));
    if let Some(doubt) = doubt {
        output::warn(doubt);
    }
    let rules = with_preset(rules);
    let provider = NewProvider {
        issuer: &change.issuer,
        audience: &change.audience,
        jwks_uri,
        client_claims: &rules.client_claims,
        audience_claim: rules.audience_claim.as_deref(),
        required_claims: rules.required_claims.into_iter().collect(),
        token_type: rules.token_type.as_deref(),
        reason: &change.reason,
    };
    let added = admin.add_provider(&change.tenant, &provider).await?;
    warn_of(&added.skipped_keys);
    if json {
        return output::json(&added);
    }
    output::print_table(&list(&[added.provider]))
}

/// What a preset sets stands before what was asked for, which wins.
fn with_preset(mut rules: ProviderRulesArgs) -> ProviderRulesArgs {
    let Some(preset) = rules.preset.map(Preset::rules) else {
        return rules;
    };
    if rules.client_claims.is_empty() {
        let claims = preset.client_claims.iter();
        rules.client_claims = claims.map(ToString::to_string).collect();
    }
    let own = |text: &str| Some(text.to_owned());
    rules.audience_claim = rules.audience_claim.or(preset.audience_claim.and_then(own));
    rules.token_type = rules.token_type.or(preset.token_type.and_then(own));
    let preset = preset.required_claims.iter();
    let mut required: Vec<_> = preset
        .map(|(claim, value)| ((*claim).to_owned(), own(value)))
        .collect();
    required.append(&mut rules.required_claims);
    rules.required_claims = required;
    rules
}

fn warn_of(skipped: &[SkippedKey]) {
    for SkippedKey {
        index,
        kid,
        problem,
    } in skipped
    {
        let kid = kid
            .as_deref()
            .map_or_else(String::new, |kid| format!(" ({kid})"));
        output::warn(&format!(
            "keys[{index}]{kid} of the provider is skipped: {problem}"
        ));
    }
}

async fn test(admin: &Admin, token: &str, json: bool) -> Result<(), Failure> {
    let read;
    let token = if token == "-" {
        read = output::read_input(Path::new(token))?;
        &read
    } else {
        output::warn(
            "every user of this machine can see a token on the command line; pipe it to `connectctl providers test`",
        );
        token
    };
    let token = without_scheme(token.trim());
    if !(1..=MAX_TOKEN_BYTES).contains(&token.len()) {
        return Err(Failure::usage(format!(
            "an access token has 1 to {MAX_TOKEN_BYTES} bytes; this has {}",
            token.len()
        )));
    }
    let verdict = admin.test_token(token).await?;
    if json {
        output::json(&verdict)?;
    } else {
        output::print_table(&list(&verdict.identity_providers))?;
        warn_of(&verdict.skipped_keys);
    }
    if !verdict.accepted {
        let problems = verdict.problems.join("; ");
        return Err(Failure::no(format!(
            "the token would be refused: {problems}"
        )));
    }
    output::note(&format!(
        "The token is accepted: it is of the client {} of the tenant {}.",
        verdict.client_id.as_deref().unwrap_or_default(),
        verdict.tenant_id.as_deref().unwrap_or_default()
    ));
    Ok(())
}

/// A token as it stands in a header, without the scheme, whose case does not matter
/// (RFC 9110, section 11.1).
fn without_scheme(token: &str) -> &str {
    match token.split_once(char::is_whitespace) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
        _ => token,
    }
}

fn list(providers: &[Provider]) -> comfy_table::Table {
    let mut table = output::table(&[
        "tenant",
        "issuer",
        "audience",
        "keys",
        "client is",
        "tokens must have",
        "created",
    ]);
    for provider in providers {
        table.add_row([
            output::cell(&provider.tenant_id),
            output::cell(&provider.issuer),
            output::cell(&audience(provider)),
            output::cell(provider.jwks_uri.as_deref().unwrap_or("by discovery")),
            output::cell(&provider.client_claims.join(", ")),
            output::cell(&required(provider)),
            output::cell(&provider.created_at),
        ]);
    }
    table
}

fn audience(provider: &Provider) -> String {
    match &provider.audience_claim {
        None => provider.audience.clone(),
        Some(claim) => format!("{claim} {}", provider.audience),
    }
}

fn required(provider: &Provider) -> String {
    let token_type = provider.token_type.iter();
    let token_type = token_type.map(|typ| format!("typ {typ}"));
    let claims = provider.required_claims.iter();
    let claims = claims.map(|(claim, value)| match value {
        None => claim.clone(),
        Some(value) => format!("{claim}={value}"),
    });
    token_type.chain(claims).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_may_come_with_its_scheme() {
        for text in ["a.b.c", "Bearer a.b.c", "bearer  a.b.c", "BEARER\ta.b.c"] {
            assert_eq!(without_scheme(text), "a.b.c", "{text}");
        }
        assert_eq!(without_scheme("Basic a"), "Basic a");
    }

    fn rules(preset: Option<Preset>) -> ProviderRulesArgs {
        ProviderRulesArgs {
            preset,
            client_claims: Vec::new(),
            audience_claim: None,
            required_claims: Vec::new(),
            token_type: None,
        }
    }

    #[test]
    fn what_is_given_wins_over_the_preset() {
        let set = with_preset(rules(Some(Preset::Cognito)));
        assert_eq!(set.client_claims, ["client_id"]);
        assert_eq!(set.audience_claim.as_deref(), Some("client_id"));
        let given = with_preset(ProviderRulesArgs {
            client_claims: vec!["sub".to_owned()],
            audience_claim: Some("scope".to_owned()),
            required_claims: vec![
                ("token_use".to_owned(), None),
                ("version".to_owned(), Some("2".to_owned())),
            ],
            ..rules(Some(Preset::Cognito))
        });
        assert_eq!(given.client_claims, ["sub"]);
        assert_eq!(given.audience_claim.as_deref(), Some("scope"));
        let required: std::collections::BTreeMap<_, _> =
            given.required_claims.into_iter().collect();
        let expected = [
            ("token_use".to_owned(), None),
            ("version".to_owned(), Some("2".to_owned())),
        ];
        assert_eq!(required, expected.into());
        let none = with_preset(rules(None));
        assert!(none.client_claims.is_empty() && none.required_claims.is_empty());
    }
}
