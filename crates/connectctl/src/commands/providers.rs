use serde_json::json;

use crate::{
    api::{Admin, NewProvider, Provider},
    cli::ProvidersCommand,
    config::Settings,
    failure::Failure,
    output,
};

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
            client_claims,
        } => {
            let provider = NewProvider {
                issuer: &change.issuer,
                audience: &change.audience,
                jwks_uri: jwks_uri.as_deref(),
                client_claims: &client_claims,
                reason: &change.reason,
            };
            let added = admin.add_provider(&change.tenant, &provider).await?;
            if json {
                return output::json(&added);
            }
            output::print_table(&list(&[added]))
        }
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
            if json {
                return output::json(&answer);
            }
            output::note(if answer.changed {
                "Removed: no token of it is taken any more."
            } else {
                "The tenant has no such identity provider: nothing changed."
            });
            Ok(())
        }
    }
}

fn list(providers: &[Provider]) -> comfy_table::Table {
    let mut table = output::table(&["issuer", "audience", "keys", "client is", "created"]);
    for provider in providers {
        table.add_row([
            output::cell(&provider.issuer),
            output::cell(&provider.audience),
            output::cell(provider.jwks_uri.as_deref().unwrap_or("by discovery")),
            output::cell(&provider.client_claims.join(", ")),
            output::cell(&provider.created_at),
        ]);
    }
    table
}
