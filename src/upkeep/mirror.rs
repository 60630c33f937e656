//! Following an upstream registry of the same API: page by page, as much as a run may do, and going
//! on with the next run where this one ended.

use std::{collections::HashSet, fmt, time::Duration};

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_catalog::{Endpoint, EndpointRules, Entry, VersionStatus, format_date, misread};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::UpkeepError;
use crate::{
    authority::{Astray, Crawl, most_gone},
    platform::{
        Settings, iso_date, log, now_millis,
        outbound::{self, Answer, Outbound, OutboundError},
        read_date,
    },
    store::{
        Connectable, ImportOutcome, ImportResult, Mirror, Named, Source, Store, StoreError,
        database_bytes,
    },
};

/// Who the audit trail says it was.
const ACTOR: &str = "mirror";

/// Of one run: 20 questions to the upstream and some 500 to D1, of a thousand each.
const MAX_PAGES: usize = 20;
/// Each is one more question to D1, and one to KV.
const MAX_COPIES: usize = 150;
/// The next run is five minutes away.
pub(crate) const LONGEST_RUN_MILLIS: u64 = 120_000;
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// A page is asked for again with fewer entries where it is longer.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;
const PAGE_SIZES: [usize; 3] = [100, 10, 1];
const MAX_CURSOR_CHARS: usize = 2048;
/// An upstream that wants not to be asked for longer is asked all the same.
const LONGEST_WAIT_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// Why a version is out of use until its upstream says something that can be read.
const UNCLEAR: &str = "its upstream gives it a status that this authority does not know";
/// More are not deleted at the end of one sweep.
const MAX_GONE: usize = 1000;

/// What a run did.
#[derive(Default)]
pub(crate) struct Followed {
    pub(crate) pages: usize,
    pub(crate) imported: usize,
    pub(crate) updated: usize,
    pub(crate) refused: usize,
    /// Whether there is nothing left to ask for now.
    pub(crate) is_done: bool,
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pages: {} new, {} changed, {} set aside",
            self.pages, self.imported, self.updated, self.refused
        )
    }
}

/// A page of the upstream's list.
struct Page {
    servers: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
    /// By the upstream's clock.
    sent_at: u64,
}

/// A page as it is sent. `null` stands for an empty list, as Go writes one that was never filled.
#[derive(Deserialize)]
struct RawPage {
    // Whatever has no such member is no list.
    #[serde(deserialize_with = "Option::deserialize")]
    servers: Option<Vec<Box<RawValue>>>,
    #[serde(default)]
    metadata: Value,
}

/// Why a run ends before its time.
enum Stop {
    /// Somebody else follows at this moment.
    NotItsTurn,
    /// The crawl leads nowhere.
    BeginAgain(&'static str),
    Problem(String),
    /// The upstream is not to be asked before then.
    Wait(String, u64),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        if error.is_not_its_turn() {
            Self::NotItsTurn
        } else {
            Self::Problem(error.to_string())
        }
    }
}

/// Hears of what changed upstream, and in turn with that goes on with the sweep of everything, if one
/// is under way, or due, or wanted. For so many milliseconds, unless it is done before. `None`: there
/// is no upstream.
pub(crate) async fn follow(
    settings: &Settings,
    store: &Store,
    wants_sweep: bool,
    longest_millis: u64,
) -> Result<Option<Followed>, UpkeepError> {
    let upstream = settings
        .upstream()
        .map_err(|fault| UpkeepError::Setting(fault.setting, fault.problem))?;
    let Some(upstream) = upstream else {
        return Ok(None);
    };
    let rules = settings.endpoint_rules();
    let list = Endpoint::parse(&format!("{upstream}/v0.1/servers"), rules)
        .map_err(|error| UpkeepError::Setting("UPSTREAM_REGISTRY", error.to_string()))?;
    let connectable = Connectable::when(settings.require_verified().unwrap_or(false));
    let mirror = store.mirror(upstream).await?;
    if let Some(until) = mirror.waits_until.filter(|until| *until > now_millis()) {
        let until = iso_date(until);
        return Err(UpkeepError::Upstream(format!(
            "the upstream asked not to be asked before {until}"
        )));
    }
    let mut run = Run {
        store,
        upstream,
        list,
        rules,
        connectable,
        mirror,
        copies: 0,
        left_copies: false,
        followed: Followed::default(),
    };
    let limit = settings
        .database()
        .map_err(|fault| UpkeepError::Setting(fault.setting, fault.problem))?;
    let went = if database_bytes().is_some_and(|bytes| limit.is_reached(bytes)) {
        let problem = "the database has no room left but the reserve of administrators";
        Err(Stop::Problem(problem.to_owned()))
    } else {
        run.go(wants_sweep, now_millis() + longest_millis).await
    };
    if run.left_copies {
        store.leave_copies_behind().await;
    }
    let (problem, waits_until) = match went {
        Ok(()) => (None, None),
        Err(Stop::NotItsTurn) => return Ok(Some(run.followed)),
        Err(Stop::BeginAgain(problem)) => {
            (Some(format!("{problem}; the crawl begins again")), None)
        }
        Err(Stop::Problem(problem)) => (Some(problem), None),
        Err(Stop::Wait(problem, until)) => (Some(problem), Some(until)),
    };
    store
        .note_mirror_problem(problem.as_deref(), waits_until)
        .await?;
    match problem {
        None => Ok(Some(run.followed)),
        Some(problem) => Err(UpkeepError::Upstream(problem)),
    }
}

struct Run<'a> {
    store: &'a Store,
    upstream: &'a str,
    list: Endpoint,
    rules: EndpointRules,
    connectable: Connectable,
    mirror: Mirror,
    copies: usize,
    /// Whether some were left to the cron.
    left_copies: bool,
    followed: Followed,
}

impl Run<'_> {
    async fn go(&mut self, wants_sweep: bool, deadline: u64) -> Result<(), Stop> {
        if wants_sweep {
            self.mirror.following.want_sweep();
        }
        let (mut over, mut last, mut problem) = (Vec::new(), None, None);
        while let Some(crawl) = self.mirror.following.due(&over, last, now_millis()) {
            if self.followed.pages >= MAX_PAGES || now_millis() > deadline {
                return problem.map_or(Ok(()), Err);
            }
            last = Some(crawl);
            let before = self.mirror.following.clone();
            match self.step(crawl).await {
                Ok(false) => {}
                Ok(true) => over.push(crawl),
                Err(Stop::NotItsTurn) => return Err(problem.unwrap_or(Stop::NotItsTurn)),
                Err(wait @ Stop::Wait(..)) => return Err(wait),
                // The other crawl has its turn all the same.
                Err(stop) => {
                    over.push(crawl);
                    self.mirror.following = before;
                    if matches!(stop, Stop::BeginAgain(_)) {
                        self.begin_again(crawl).await?;
                    }
                    problem.get_or_insert(stop);
                }
            }
        }
        self.followed.is_done = problem.is_none();
        problem.map_or(Ok(()), Err)
    }

    async fn begin_again(&mut self, crawl: Crawl) -> Result<(), Stop> {
        self.mirror.following.begin_again(crawl);
        self.store.keep_following(&self.mirror).await?;
        self.mirror.turn = self.mirror.turn.next();
        Ok(())
    }

    /// One page; whether it was the last of its crawl.
    async fn step(&mut self, crawl: Crawl) -> Result<bool, Stop> {
        let page = self.ask(crawl).await?;
        self.followed.pages += 1;
        let Read {
            entries,
            mut results,
            deleted,
            unclear,
        } = read(&page.servers, self.rules);
        let taken = self.take_in(&entries).await?;
        self.renew_copies(ImportResult::changed_names(&taken)).await;
        results.extend(taken);
        // What can't be taken in can still be out of use.
        let refused: HashSet<Named> = results
            .iter()
            .filter_map(ImportResult::refusal_of)
            .collect();
        let deleted: Vec<&Named> = deleted.intersection(&refused).collect();
        self.withdraw(&deleted, "its upstream deleted it").await?;
        let unclear: Vec<&Named> = unclear.intersection(&refused).collect();
        for name in self.withdraw(&unclear, UNCLEAR).await? {
            log::error(
                "mirror_status_unreadable",
                &[("server_id", &name), ("problem", UNCLEAR)],
            );
        }

        let is_complete = self
            .mirror
            .following
            .heard(
                crawl,
                page.sent_at,
                page.servers.len() as u64,
                page.next_cursor,
            )
            .map_err(|Astray| Stop::BeginAgain("the upstream's cursor leads in a circle"))?;
        let swept_at = self.mirror.following.sweep.completed_at;
        if let (Crawl::Sweep, true, Some(began_at)) = (crawl, is_complete, swept_at) {
            results.extend(self.withdraw_gone(began_at, &results).await?);
        }
        self.store.keep_page(&self.mirror, crawl, &results).await?;
        self.mirror.turn = self.mirror.turn.next();
        for result in &results {
            match result.outcome {
                ImportOutcome::Imported => self.followed.imported += 1,
                ImportOutcome::Updated => self.followed.updated += 1,
                ImportOutcome::Refused => self.followed.refused += 1,
                ImportOutcome::Unchanged => {}
            }
        }
        Ok(is_complete)
    }

    async fn ask(&self, crawl: Crawl) -> Result<Page, Stop> {
        let (since, cursor) = self.mirror.following.question(crawl);
        for size in PAGE_SIZES {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("limit", &size.to_string());
            query.append_pair("include_deleted", "true");
            if let Some(since) = since {
                query.append_pair("updated_since", &format_date(since * 1000));
            }
            if let Some(cursor) = cursor {
                query.append_pair("cursor", cursor);
            }
            let url = self.list.with_query(&query.finish());
            match read_page(&url, size, cursor.is_some()).await {
                Err(OutboundError::TooLarge(_)) => {}
                Err(error) => return Err(Stop::Problem(format!("the upstream: {error}"))),
                Ok(page) => return page,
            }
        }
        Err(Stop::Problem(format!(
            "an entry of the upstream is longer than {MAX_PAGE_BYTES} bytes"
        )))
    }

    /// What D1 refuses together is taken in by halves, so that one entry holds no other back.
    async fn take_in(&mut self, entries: &[Entry]) -> Result<Vec<ImportResult>, Stop> {
        let mut results = Vec::with_capacity(entries.len());
        let mut parts = vec![entries];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let entries: Vec<&Entry> = part.iter().collect();
            let source = Source::Upstream {
                from: self.upstream,
                turn: self.mirror.turn,
                connectable: self.connectable,
            };
            match self.store.import(&entries, ACTOR, source).await {
                Ok(imported) => {
                    self.mirror.turn = self.mirror.turn.next();
                    results.extend(imported);
                }
                Err(error) if error.is_not_its_turn() => return Err(Stop::NotItsTurn),
                Err(error @ (StoreError::Conflict(_) | StoreError::TooLarge)) => {
                    if let [entry] = part {
                        results.push(ImportResult::refused(entry, &error.to_string()));
                    } else {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(results)
    }

    /// Ends the use of versions that their upstream no longer has. The servers of which one was in use.
    async fn withdraw(&mut self, versions: &[&Named], reason: &str) -> Result<Vec<String>, Stop> {
        if versions.is_empty() {
            return Ok(Vec::new());
        }
        let turn = self.mirror.turn;
        let names = self
            .store
            .withdraw(versions, ACTOR, reason, turn, self.connectable)
            .await?;
        self.mirror.turn = turn.next();
        self.renew_copies(names.clone()).await;
        Ok(names)
    }

    /// At the end of a sweep; what there is to say, where that is too much to be true.
    async fn withdraw_gone(
        &mut self,
        began_at: u64,
        last: &[ImportResult],
    ) -> Result<Option<ImportResult>, Stop> {
        let (gone, met) = self.store.gone_upstream(began_at, last, MAX_GONE).await?;
        if gone.len() <= MAX_GONE && gone.len() as u64 <= most_gone(met) {
            let gone: Vec<&Named> = gone.iter().collect();
            self.withdraw(&gone, "its upstream does not list it any more")
                .await?;
            return Ok(None);
        }
        Ok(Some(ImportResult {
            name: Some("*".into()),
            version: Some("*".into()),
            outcome: ImportOutcome::Refused,
            reason: Some(
                "so many versions are no longer listed upstream that none of them was taken for deleted"
                    .into(),
            ),
        }))
    }

    /// As many as a run may; the others are left to the cron, and said to be behind: at once, and at the end.
    async fn renew_copies(&mut self, mut names: Vec<String>) {
        let wanted = names.len();
        names.truncate(MAX_COPIES.saturating_sub(self.copies));
        self.copies += names.len();
        // What is left, the cron renews.
        let _ = self.store.renew_copies(&names).await;
        if names.len() < wanted && !self.left_copies {
            self.left_copies = true;
            self.store.leave_copies_behind().await;
        }
    }
}

async fn read_page(
    url: &Endpoint,
    size: usize,
    has_cursor: bool,
) -> Result<Result<Page, Stop>, OutboundError> {
    let begun = now_millis();
    let request = Outbound {
        url,
        headers: &[
            ("accept", "application/json"),
            ("user-agent", "mcp-connect-authority"),
        ],
        body: None,
        time_limit: TIME_LIMIT,
        max_bytes: MAX_PAGE_BYTES,
    };
    let answer = outbound::fetch(&request).await?;
    // Later than our own clock has it, it would let changes be missed.
    let sent_at = answer.header("date").map_or(begun, read_date).min(begun);
    Ok(judge(&answer, sent_at, size, has_cursor))
}

fn judge(answer: &Answer, sent_at: u64, size: usize, has_cursor: bool) -> Result<Page, Stop> {
    match answer.status.as_u16() {
        200 => {}
        400 | 404 | 410 | 422 if has_cursor => {
            return Err(Stop::BeginAgain("the upstream refused its own cursor"));
        }
        status => return Err(refused(answer, status)),
    }
    // One entry that is no UTF-8 is that entry's fault alone.
    let text = String::from_utf8_lossy(&answer.body);
    let text = text.trim_start_matches('\u{feff}');
    let page: RawPage = serde_json::from_str(text)
        .map_err(|error| Stop::Problem(misread(text.as_bytes(), &error, "the upstream's list")))?;
    let servers = page.servers.unwrap_or_default();
    // Its cursor stands after all of them, so a part can't be taken in alone.
    if servers.len() > size {
        return Err(Stop::Problem(
            "the upstream's page has more entries than were asked for".into(),
        ));
    }
    Ok(Page {
        servers,
        next_cursor: next_cursor(&page.metadata)?,
        sent_at,
    })
}

/// Reads where the list goes on. Metadata of another shape than an object says nothing of that.
fn next_cursor(metadata: &Value) -> Result<Option<String>, Stop> {
    let cursor = metadata
        .get("nextCursor")
        .or_else(|| metadata.get("next_cursor"));
    match cursor {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(cursor)) if cursor.len() > MAX_CURSOR_CHARS => {
            Err(Stop::Problem("the upstream's cursor is too long".into()))
        }
        Some(Value::String(cursor)) => Ok(Some(cursor.clone()).filter(|cursor| !cursor.is_empty())),
        Some(Value::Number(cursor)) => Ok(Some(cursor.to_string())),
        Some(_) => Err(Stop::Problem("the upstream's cursor is not text".into())),
    }
}

/// An answer that is no page, and when to ask again if it says so.
fn refused(answer: &Answer, status: u16) -> Stop {
    let problem = format!("the upstream answers {status}");
    let until = answer
        .header("retry-after")
        .and_then(|value| wait_until(value, now_millis(), read_date));
    match until {
        None => Stop::Problem(problem),
        Some(until) => Stop::Wait(
            format!("{problem} and asks to wait until {}", iso_date(until)),
            until,
        ),
    }
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3), seconds or a date, in milliseconds since the Unix epoch; at
/// most a day from now, for an upstream that never wants to be asked again is a mistake.
fn wait_until(value: &str, now: u64, read_date: impl Fn(&str) -> u64) -> Option<u64> {
    let value = value.trim();
    let is_seconds = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let until = if is_seconds {
        let seconds: u64 = value.parse().unwrap_or(u64::MAX);
        now.saturating_add(seconds.saturating_mul(1000))
    } else {
        read_date(value)
    };
    (until > now).then(|| until.min(now + LONGEST_WAIT_MILLIS))
}

/// What is in a page.
struct Read {
    entries: Vec<Entry>,
    /// What can't be an entry, or is contradicted.
    results: Vec<ImportResult>,
    /// What any of it says deleted of.
    deleted: HashSet<Named>,
    /// What any of it says something of that can't be read.
    unclear: HashSet<Named>,
}

fn read(servers: &[Box<RawValue>], rules: EndpointRules) -> Read {
    let mut entries = Vec::with_capacity(servers.len());
    let mut results = Vec::with_capacity(servers.len());
    let (mut deleted, mut unclear) = (HashSet::new(), HashSet::new());
    for json in servers {
        match Entry::parse(json, rules) {
            Ok(entry) => {
                if entry.status == VersionStatus::Deleted {
                    deleted.insert(Named::of(&entry));
                }
                entries.push(entry);
            }
            Err(error) => {
                let refused = set_aside(json, error.to_string());
                match Entry::status_of(json) {
                    Ok(VersionStatus::Deleted) => deleted.extend(refused.refusal_of()),
                    Ok(_) => {}
                    Err(_) => unclear.extend(refused.refusal_of()),
                }
                results.push(refused);
            }
        }
    }
    // Of entries that contradict each other, the one that ends use counts.
    entries.retain(|entry| {
        let named = Named::of(entry);
        let contradicted = [
            (&deleted, "version: the same page says deleted of it"),
            (
                &unclear,
                "version: the same page says a status of it that can't be read",
            ),
        ];
        let reason = contradicted
            .into_iter()
            .find_map(|(named_so, reason)| named_so.contains(&named).then_some(reason));
        match reason {
            Some(reason) if entry.status != VersionStatus::Deleted => {
                results.push(ImportResult::refused(entry, reason));
                false
            }
            _ => true,
        }
    });
    Read {
        entries,
        results,
        deleted,
        unclear,
    }
}

/// What can't be read has a name to be listed under.
fn set_aside(json: &RawValue, reason: String) -> ImportResult {
    let mut refused = ImportResult::unreadable(json, reason);
    if refused.name.is_none() || refused.version.is_none() {
        let digest = Base64UrlUnpadded::encode_string(&Sha256::digest(json.get()));
        refused.version = Some(format!("#{digest}"));
    }
    refused
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn an_upstream_says_when_to_ask_again_in_seconds_or_by_a_date() {
        let by_date = |_: &str| NOW + 90_000;
        for (value, expected) in [
            ("120", Some(NOW + 120_000)),
            (" 1 ", Some(NOW + 1000)),
            ("0", None),
            ("Fri, 15 Jan 2027 08:01:30 GMT", Some(NOW + 90_000)),
            ("99999999999999999999", Some(NOW + LONGEST_WAIT_MILLIS)),
            ("18446744073709551615", Some(NOW + LONGEST_WAIT_MILLIS)),
            ("31536000", Some(NOW + LONGEST_WAIT_MILLIS)),
        ] {
            assert_eq!(wait_until(value, NOW, by_date), expected, "{value}");
        }
        // No date at all, and one that is past.
        assert_eq!(wait_until("soon", NOW, |_| 0), None);
        assert_eq!(wait_until("yesterday", NOW, |_| NOW - 1), None);
    }

    #[test]
    fn a_list_goes_on_where_its_cursor_says_and_ends_without_one() {
        for (metadata, expected) in [
            (json!({"nextCursor": "a:1"}), Some("a:1")),
            (json!({"next_cursor": "a:1"}), Some("a:1")),
            (json!({"nextCursor": 17}), Some("17")),
            (json!({"nextCursor": ""}), None),
            (json!({"nextCursor": null}), None),
            (json!({}), None),
            (json!(null), None),
            (json!([]), None),
            (json!("none"), None),
        ] {
            let cursor = next_cursor(&metadata).ok().flatten();
            assert_eq!(cursor.as_deref(), expected, "{metadata}");
        }
        for odd in [json!(true), json!({}), json!(["a"])] {
            assert!(next_cursor(&json!({ "nextCursor": odd })).is_err(), "{odd}");
        }
    }
}
