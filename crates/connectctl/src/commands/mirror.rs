use crate::{
    api::{Admin, Followed, Mirror, RejectedEntry},
    cli::MirrorCommand,
    config::Settings,
    failure::Failure,
    output,
    paging::pages,
};

/// Each does as much as the authority's cron at once.
const MAX_RUNS: usize = 1000;

pub(crate) async fn run(
    command: &MirrorCommand,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let admin = Admin::new(settings.operator()?);
    match command {
        MirrorCommand::Status => show(&admin.mirror().await?, json),
        MirrorCommand::Sync { sweep, why } => {
            sync(&admin, *sweep, why.reason.as_deref(), json).await
        }
        &MirrorCommand::Rejected { limit, all } => {
            let list = pages(all, async |cursor| admin.rejected(cursor, limit).await).await?;
            output::page("poison", &list, table, json)
        }
    }
}

async fn sync(admin: &Admin, sweep: bool, reason: Option<&str>, json: bool) -> Result<(), Failure> {
    let mut sum = admin.sync_mirror(sweep, reason).await?;
    for _ in 1..MAX_RUNS {
        if sum.done {
            break;
        }
        output::note(&format!("{} …", line(&sum)));
        let next = admin.sync_mirror(false, None).await?;
        if next.pages == 0 && !next.done {
            return Err(Failure::unavailable(
                "somebody else follows the upstream at this moment, or it does not go on",
            )
            .hint("connectctl mirror status"));
        }
        sum.pages += next.pages;
        sum.imported += next.imported;
        sum.updated += next.updated;
        sum.refused += next.refused;
        sum.done = next.done;
    }
    if json {
        return output::json(&sum);
    }
    output::line(&line(&sum))
}

fn line(followed: &Followed) -> String {
    format!(
        "{} pages: {} new, {} changed, {} rejected",
        followed.pages, followed.imported, followed.updated, followed.refused
    )
}

fn show(mirror: &Mirror, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(mirror);
    }
    let upstream = if mirror.following {
        mirror.upstream.as_str()
    } else {
        "none; set UPSTREAM_REGISTRY"
    };
    output::print_table(&output::record([
        ("upstream", output::cell(upstream)),
        ("heard until", output::maybe(mirror.heard_until.as_deref())),
        ("last run", output::maybe(mirror.ran_at.as_deref())),
        ("problem", output::maybe(mirror.problem.as_deref())),
        ("servers", output::cell(&mirror.servers.to_string())),
        ("rejected", output::cell(&mirror.rejected.to_string())),
    ]))?;
    let mut crawls = output::table(&["crawl", "under way since", "pages", "entries", "completed"]);
    for crawl in &mirror.crawls {
        crawls.add_row([
            output::cell(&crawl.kind),
            output::maybe(crawl.began_at.as_deref()),
            output::cell(&crawl.pages.to_string()),
            output::cell(&crawl.entries.to_string()),
            output::maybe(crawl.completed_at.as_deref()),
        ]);
    }
    output::print_table(&crawls)
}

fn table(rejected: &[RejectedEntry]) -> comfy_table::Table {
    let mut table = output::table(&["entry", "reason", "since", "seen"]);
    for entry in rejected {
        table.add_row([
            output::cell(&entry.subject),
            output::cell(&entry.reason),
            output::cell(&entry.since),
            output::cell(&entry.seen_at),
        ]);
    }
    table
}
