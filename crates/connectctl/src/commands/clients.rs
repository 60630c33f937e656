use crate::{
    api::{Admin, Changed, Client, ClientAction},
    cli::{ClientChange, ClientsCommand},
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
        ClientsCommand::Create { id, tenant, name } => {
            let created = admin
                .create_client(&id, tenant.as_deref(), name.as_deref())
                .await?;
            if json {
                return output::json(&created);
            }
            output::print_table(&list(&[created.client]))?;
            output::note("The API key, shown this once: keep it now.");
            output::line(&output::printable(&created.api_key))
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
                output::json(&serde_json::json!({ "clients": clients }))
            } else {
                output::print_table(&list(&clients))
            }
        }
    }
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
    if json {
        return output::json(&answer);
    }
    let Changed { subject, changed } = answer;
    output::print_table(&list(&[subject]))?;
    if !changed {
        output::note("It was so already: nothing changed.");
    }
    Ok(())
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
