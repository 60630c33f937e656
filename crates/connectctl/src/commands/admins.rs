use serde::Serialize;
use serde_json::json;

use crate::{
    api::{Admin, Administrator, AdministratorKey, NewKey, Rotation, WithKey},
    cli::{AdminKeysCommand, AdminsCommand},
    config::Settings,
    failure::Failure,
    output,
    paging::pages,
};

pub(crate) async fn run(
    command: AdminsCommand,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let admin = Admin::new(settings.operator()?);
    match command {
        AdminsCommand::Create {
            name,
            role,
            key,
            why,
        } => {
            let role = role.as_str();
            let key = NewKey::new(&key, &why);
            let created = admin.create_administrator(&name, role, key).await?;
            with_key(&created, |admin| list(&[admin]), json)
        }
        AdminsCommand::List => {
            let all = pages(true, async |cursor| admin.administrators(cursor).await).await?;
            if json {
                return output::json(&json!({ "administrators": all.items }));
            }
            output::print_table(&list(&all.items.iter().collect::<Vec<_>>()))
        }
        AdminsCommand::Suspend(change) => {
            let (name, reason) = (&change.name, &change.reason);
            let answer = admin.change_administrator(name, "suspend", reason).await?;
            output::change(&answer, |admin| list(&[admin]), json)
        }
        AdminsCommand::Resume(change) => {
            let (name, reason) = (&change.name, &change.reason);
            let answer = admin.change_administrator(name, "resume", reason).await?;
            output::change(&answer, |admin| list(&[admin]), json)
        }
        AdminsCommand::Role { role, change } => {
            let (name, reason) = (&change.name, &change.reason);
            let answer = admin.set_role(name, role.as_str(), reason).await?;
            output::change(&answer, |admin| list(&[admin]), json)
        }
        AdminsCommand::Access {
            change, identity, ..
        } => {
            let (name, reason) = (&change.name, &change.reason);
            let answer = admin
                .set_access_identity(name, identity.as_deref(), reason)
                .await?;
            output::change(&answer, |admin| list(&[admin]), json)
        }
        AdminsCommand::Keys { command } => keys(&admin, command, json).await,
    }
}

pub(crate) async fn whoami(settings: &Settings, json: bool) -> Result<(), Failure> {
    let me = Admin::new(settings.operator()?).whoami().await?;
    if json {
        return output::json(&me);
    }
    output::print_table(&output::record([
        ("name", output::cell(&me.name)),
        ("role", output::cell(&me.role)),
    ]))
}

async fn keys(admin: &Admin, command: AdminKeysCommand, json: bool) -> Result<(), Failure> {
    match command {
        AdminKeysCommand::Create { name, key, why } => {
            let key = NewKey::new(&key, &why);
            let created = admin.create_administrator_key(&name, key).await?;
            with_key(&created, |key| key_list(&[key]), json)
        }
        AdminKeysCommand::Rotate { change, rotation } => {
            let body = Rotation::new(&rotation, &change.reason);
            let created = admin.rotate_administrator_keys(&change.name, &body).await?;
            with_key(&created, |key| key_list(&[key]), json)?;
            rotation.tell_end();
            Ok(())
        }
        AdminKeysCommand::List { name } => {
            let keys = admin.administrator_keys(&name).await?;
            if json {
                return output::json(&json!({ "keys": keys }));
            }
            output::print_table(&key_list(&keys.iter().collect::<Vec<_>>()))
        }
        AdminKeysCommand::Revoke { key_id, change } => {
            let (name, reason) = (&change.name, &change.reason);
            let answer = admin
                .revoke_administrator_key(name, &key_id, reason)
                .await?;
            output::change(&answer, |key| key_list(&[key]), json)
        }
    }
}

fn with_key<T: Serialize>(
    created: &WithKey<T>,
    table: impl Fn(&T) -> comfy_table::Table,
    json: bool,
) -> Result<(), Failure> {
    if json {
        return output::json(created);
    }
    output::print_table(&table(&created.subject))?;
    output::note("The administrator's key, shown this once: keep it now.");
    output::line(&output::printable(&created.key))
}

fn list(administrators: &[&Administrator]) -> comfy_table::Table {
    let mut table = output::table(&["name", "role", "status", "access identity", "created"]);
    for administrator in administrators {
        table.add_row([
            output::cell(&administrator.name),
            output::cell(&administrator.role),
            output::status(&administrator.status),
            output::maybe(administrator.access_identity.as_deref()),
            output::cell(&administrator.created_at),
        ]);
    }
    table
}

fn key_list(keys: &[&AdministratorKey]) -> comfy_table::Table {
    let mut table = output::table(&["key", "status", "label", "created", "expires", "revoked"]);
    for key in keys {
        table.add_row([
            output::cell(&key.key_id),
            output::status(&key.status),
            output::maybe(key.label.as_deref()),
            output::cell(&key.created_at),
            output::maybe(key.expires_at.as_deref()),
            output::maybe(key.revoked_at.as_deref()),
        ]);
    }
    table
}
