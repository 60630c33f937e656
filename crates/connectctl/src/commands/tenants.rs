use serde_json::json;

use crate::{
    api::{Admin, Tenant},
    cli::{TenantChange, TenantsCommand},
    config::Settings,
    failure::Failure,
    output,
    paging::pages,
};

pub(crate) async fn run(
    command: TenantsCommand,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let admin = Admin::new(settings.operator()?);
    match command {
        TenantsCommand::Create { id, name, why } => {
            let reason = why.reason.as_deref();
            let created = admin.create_tenant(&id, name.as_deref(), reason).await?;
            show(&created, json)
        }
        TenantsCommand::Show { id } => show(&admin.tenant(&id).await?, json),
        TenantsCommand::List => {
            let all = pages(true, async |cursor| admin.tenants(cursor).await).await?;
            if json {
                return output::json(&json!({ "tenants": all.items }));
            }
            output::print_table(&list(&all.items.iter().collect::<Vec<_>>()))
        }
        TenantsCommand::Suspend(change) => changed(&admin, "suspend", &change, json).await,
        TenantsCommand::Resume(change) => changed(&admin, "resume", &change, json).await,
    }
}

async fn changed(
    admin: &Admin,
    verb: &str,
    change: &TenantChange,
    json: bool,
) -> Result<(), Failure> {
    let answer = admin
        .change_tenant(&change.id, verb, &change.reason)
        .await?;
    output::change(&answer, |tenant| list(&[tenant]), json)
}

fn show(tenant: &Tenant, json: bool) -> Result<(), Failure> {
    if json {
        output::json(tenant)
    } else {
        output::print_table(&list(&[tenant]))
    }
}

fn list(tenants: &[&Tenant]) -> comfy_table::Table {
    let mut table = output::table(&["tenant", "name", "status", "policy", "created"]);
    for tenant in tenants {
        let version = match tenant.policy_version {
            0 => None,
            version => Some(format!("version {version}")),
        };
        table.add_row([
            output::cell(&tenant.id),
            output::maybe(tenant.name.as_deref()),
            output::status(&tenant.status),
            output::maybe(version.as_deref()),
            output::cell(&tenant.created_at),
        ]);
    }
    table
}
