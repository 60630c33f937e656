use std::slice;

use serde_json::json;

use crate::{
    api::{Admin, Client, ClientAction, ClientKey, CreatedKey, NewKey, Rotation},
    cli::{ClientChange, ClientKeysCommand, ClientsCommand},
    config::Settings,
    failure::Failure,
    output,
    paging::pages,
};

pub(crate) async fn run(
    command: ClientsCommand,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let admin = Admin::new(settings.operator()?);
    match command {
        ClientsCommand::Create {
            id,
            tenant,
            name,
            no_key,
            key,
            why,
        } => {
            let key = NewKey::new(&key, &why);
            let created = admin
                .create_client(&id, tenant.as_deref(), name.as_deref(), key, !no_key)
                .await?;
            if json {
                return output::json(&created);
            }
            output::print_table(&list(&[created.client]))?;
            if let Some(key) = &created.api_key {
                output::print_table(&output::record([
                    ("key", output::maybe(key_id(key))),
                    ("label", output::maybe(created.label.as_deref())),
                    (
                        "expires",
                        output::cell(created.expires_at.as_deref().unwrap_or("never")),
                    ),
                ]))?;
            }
            created.api_key.map_or(Ok(()), |key| show_key(&key))
        }
        ClientsCommand::Suspend(change) => {
            changed(&admin, ClientAction::Suspend, &change, json).await
        }
        ClientsCommand::Resume(change) => {
            changed(&admin, ClientAction::Resume, &change, json).await
        }
        ClientsCommand::List => {
            let clients = pages(true, async |cursor| admin.clients(cursor).await)
                .await?
                .items;
            if json {
                output::json(&json!({ "clients": clients }))
            } else {
                output::print_table(&list(&clients))
            }
        }
        ClientsCommand::Keys { command } => keys(&admin, command, json).await,
    }
}

async fn keys(admin: &Admin, command: ClientKeysCommand, json: bool) -> Result<(), Failure> {
    match command {
        ClientKeysCommand::Create { id, key, why } => {
            let key = NewKey::new(&key, &why);
            let created = admin.create_client_key(&id, key).await?;
            new_key_made(created, json)
        }
        ClientKeysCommand::Rotate { change, rotation } => {
            let body = Rotation::new(&rotation, &change.reason);
            let created = admin.rotate_client_keys(&change.id, &body).await?;
            new_key_made(created, json)?;
            rotation.tell_end();
            Ok(())
        }
        ClientKeysCommand::List { id } => {
            let keys = admin.client_keys(&id).await?;
            if json {
                return output::json(&json!({ "keys": keys }));
            }
            output::print_table(&key_list(&keys))
        }
        ClientKeysCommand::Revoke { change, key_id } => {
            let answer = admin
                .revoke_client_key(&change.id, &key_id, &change.reason)
                .await?;
            output::change(&answer, |subject| key_list(slice::from_ref(subject)), json)
        }
    }
}

fn new_key_made(created: CreatedKey, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&created);
    }
    output::print_table(&key_list(&[created.key]))?;
    show_key(&created.api_key)
}

/// The id of an API key, `mcpk_ID_SECRET`, as lists show it.
fn key_id(api_key: &str) -> Option<&str> {
    api_key.strip_prefix("mcpk_")?.get(..16)
}

fn show_key(key: &str) -> Result<(), Failure> {
    output::note("The API key, shown this once: keep it now.");
    output::line(&output::printable(key))
}

async fn changed(
    admin: &Admin,
    action: ClientAction,
    change: &ClientChange,
    json: bool,
) -> Result<(), Failure> {
    let answer = admin
        .change_client(&change.id, action, &change.reason)
        .await?;
    output::change(&answer, |subject| list(slice::from_ref(subject)), json)
}

fn list(clients: &[Client]) -> comfy_table::Table {
    let mut table = output::table(&["client", "tenant", "name", "status", "created"]);
    for client in clients {
        table.add_row([
            output::cell(&client.id),
            output::maybe(client.tenant_id.as_deref()),
            output::maybe(client.name.as_deref()),
            output::status(&client.status),
            output::cell(&client.created_at),
        ]);
    }
    table
}

fn key_list(keys: &[ClientKey]) -> comfy_table::Table {
    let mut table = output::table(&["key", "status", "label", "created", "expires", "last used"]);
    for key in keys {
        table.add_row([
            output::cell(&key.key_id),
            output::status(&key.status),
            output::maybe(key.label.as_deref()),
            output::cell(&key.created_at),
            output::maybe(key.expires_at.as_deref()),
            output::maybe(key.last_used_at.as_deref()),
        ]);
    }
    table
}
