use crate::{
    api::{Admin, Moderated, ModerationFilter},
    cli::{self, ModerationCommand},
    config::Settings,
    failure::Failure,
    output,
    paging::pages,
};

const EXPORT_PAGE: u32 = 100;

pub(crate) async fn run(
    command: &ModerationCommand,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let admin = Admin::new(settings.operator()?);
    match command {
        ModerationCommand::List { filter, limit, all } => {
            let filter = filter_of(filter);
            let list = pages(*all, async |cursor| {
                admin.moderated(filter, cursor, *limit).await
            })
            .await?;
            output::page("moderated", &list, table, json)
        }
        ModerationCommand::Export { filter } => export(&admin, filter_of(filter)).await,
    }
}

/// Page by page, so that it may be long.
async fn export(admin: &Admin, filter: ModerationFilter<'_>) -> Result<(), Failure> {
    let mut cursor = None;
    loop {
        let page = admin
            .moderated(filter, cursor.as_deref(), EXPORT_PAGE)
            .await?;
        for moderated in &page.items {
            output::json_line(moderated)?;
        }
        cursor = page.next_cursor.filter(|_| !page.items.is_empty());
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn filter_of(filter: &cli::ModerationFilter) -> ModerationFilter<'_> {
    ModerationFilter {
        state: filter.state.map(cli::HeldState::as_str),
        namespace: filter.namespace.as_deref(),
    }
}

fn table(list: &[Moderated]) -> comfy_table::Table {
    let mut table = output::table(&["server", "state", "since", "until", "by", "reason"]);
    for moderated in list {
        table.add_row([
            output::cell(&moderated.server_ref),
            output::status(&moderated.state),
            output::maybe(moderated.since.as_deref()),
            output::maybe(moderated.until.as_deref()),
            output::maybe(moderated.actor.as_deref()),
            output::maybe(moderated.reason.as_deref()),
        ]);
    }
    table
}
