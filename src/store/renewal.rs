//! Keeps the copies in KV up with their servers, although KV takes one write of a key in a second, shows a write
//! elsewhere up to a minute later, and may fail, as D1 may right after a change.
//!
//! While D1 answers, `lately` tells which copies are current. While it doesn't, KV alone has to tell. So each change
//! leaves, before it is acknowledged, a key of its own beside the copy: the number of the change, or, where D1 could
//! not tell that, a doubt. A key of its own is never refused for having been written a moment ago, no location has
//! kept that it isn't there, and it stays if the isolate ends. A copy that is older than such a number, or of which
//! there is a doubt, is nobody's answer.

use std::time::Duration;

use futures_util::{StreamExt, future::join, stream};
use serde::{Deserialize, Serialize};

use super::{ServerCopy, Store, StoreError, lately, number};
use crate::platform::{log, now_millis, sleep};

/// How many copies are renewed at a time, by one call that rebuilds them, and by one run of the cron.
const AT_ONCE: usize = 6;
const REBUILT_AT_ONCE: u32 = 50;
const FOLLOWED_AT_ONCE: usize = 150;
/// KV refuses a write of a key that was written within the last second.
const REFUSED_FOR: Duration = Duration::from_millis(1_100);
/// The pauses before a renewal that failed is tried again; a Worker may go on for 30 s after its answer.
const PAUSES: [Duration; 4] = [
    REFUSED_FOR,
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// How long a change waits for KV to take anything that tells of it, in milliseconds.
const PATIENCE_MILLIS: u64 = 2_000;
/// The most bytes of server.json that are held until KV takes them.
const MAX_HELD_BYTES: u64 = 100_000;
/// How long changes and doubts are remembered, in seconds: longer than D1 is out.
const REMEMBERED_SECONDS: u64 = 7 * 24 * 60 * 60;
/// More than any change has: numbers are exact in JavaScript up to here.
const MAX_SEQ: u64 = 1 << 53;

/// Is there once every server had its copy.
const MARK: &str = "servers-copied";
/// Without the mark: the number up to which the cron has followed the changes. It is a key of its own, since the cron may
/// read an old mark, or none, right after a rebuild wrote one.
const FOLLOWED: &str = "servers-followed";
// No name of a server begins with a colon.
const DOUBTS: &str = "server::doubt:";
const CHANGES: &str = "server::changed:";

/// What is left to do of a renewal.
#[derive(Default)]
pub(crate) struct Unrenewed {
    /// The copy, if only KV refused it, and it is no burden to hold.
    copy: Option<ServerCopy>,
    /// Whether something in KV keeps others from taking the old copy for what holds.
    is_told: bool,
}

/// What holds of all copies.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Serialize)]
struct Mark {
    /// Whether a server without a copy does not exist.
    all: bool,
    /// Copies with a smaller number may be older than their servers.
    behind: u64,
    /// Changes up to this number have reached the copies.
    until: u64,
}

impl Store {
    pub(crate) async fn edge_copy(&self, name: &str) -> Result<Option<ServerCopy>, StoreError> {
        self.kv_get(&key(name)).await
    }

    /// After each change of a server, before it is acknowledged. If the copy could not be renewed, nobody takes it
    /// for what holds, and `renew_later` tries again.
    pub(crate) async fn renew_copy(&self, name: &str) -> Result<(), Unrenewed> {
        lately::doubt(name);
        match self.load_server(name).await {
            Ok(copy) => self.put_renewed(name, copy).await,
            Err(error) => {
                is_done(Err(error));
                let is_told = self.put_in_doubt(name).await;
                Err(Unrenewed {
                    copy: None,
                    is_told,
                })
            }
        }
    }

    /// As `renew_copy`, where somebody waits for the change: as long as KV takes nothing that tells of it, tries again
    /// for a moment, since other isolates could take the old copy for what holds once D1 is out.
    pub(crate) async fn renew_copy_patiently(&self, name: &str) -> Result<(), Unrenewed> {
        let until = now_millis() + PATIENCE_MILLIS;
        loop {
            let renewed = self.renew_copy(name).await;
            if renewed.as_ref().err().is_none_or(|left| left.is_told) {
                return renewed;
            }
            if now_millis() >= until {
                let problem = "KV took nothing that tells of a change";
                log::error(
                    "edge_copy_failed",
                    &[("server", name), ("problem", problem)],
                );
                return renewed;
            }
            sleep(REFUSED_FOR).await;
        }
    }

    async fn put_renewed(&self, name: &str, copy: Option<ServerCopy>) -> Result<(), Unrenewed> {
        let seq = copy.as_ref().map_or_else(lately::seq, |copy| copy.seq);
        let change = change_key(name, seq);
        let noted = self.kv_put(&change, &true, Some(REMEMBERED_SECONDS));
        let (noted, put) = join(noted, self.put_copy(name, copy.as_ref())).await;
        let (is_noted, is_put) = (is_done(noted), is_done(put));
        if is_noted && is_put {
            return Ok(());
        }
        Err(Unrenewed {
            copy: copy.filter(|copy| copy.bytes() <= MAX_HELD_BYTES),
            is_told: is_noted || is_put,
        })
    }

    /// Renews several copies, and gives what is left.
    pub(crate) async fn renew_copies(&self, names: &[String]) -> Vec<(String, Unrenewed)> {
        for name in names {
            lately::doubt(name);
        }
        stream::iter(names)
            .map(async |name| Some((name.clone(), self.renew_copy(name).await.err()?)))
            .buffer_unordered(AT_ONCE)
            .filter_map(async |left| left)
            .collect()
            .await
    }

    /// … and tries again what is left.
    pub(crate) async fn renew_copies_to_the_end(&self, names: &[String]) {
        let left = self.renew_copies(names).await;
        stream::iter(left)
            .for_each_concurrent(None, async |(name, left)| {
                self.renew_later(&name, left).await
            })
            .await;
    }

    /// Tries again to renew a copy, for a while. What is still to be done after that is left to the cron.
    pub(crate) async fn renew_later(&self, name: &str, mut left: Unrenewed) {
        for pause in PAUSES {
            if !lately::begin_renewal(name, now_millis()) {
                return;
            }
            sleep(pause).await;
            let doubts = self.kv_keys(&doubts(name)).await.unwrap_or_default();
            lately::end_renewal(name);
            let held = left.copy.take();
            let copy = match held.filter(|copy| !lately::is_outdated(name, copy.seq)) {
                Some(copy) => Ok(Some(copy)),
                None => self.load_server(name).await,
            };
            left = match copy {
                Ok(copy) => match self.put_renewed(name, copy).await {
                    Ok(()) => return self.forget(&doubts).await,
                    Err(left) => left,
                },
                // That nobody believes the one that is there was said before; now it can go.
                Err(error) => {
                    is_done(Err(error));
                    is_done(self.kv_delete(&key(name)).await);
                    Unrenewed::default()
                }
            };
        }
    }

    /// Keeps a copy that was loaded for a reader, unless this isolate kept the same a moment ago: a location may go
    /// on reading an older one for a minute.
    pub(crate) async fn keep_copy(&self, name: &str, copy: &ServerCopy) {
        if !lately::wants_copy(name, copy.seq, now_millis()) {
            return;
        }
        let is_kept = is_done(self.put_copy(name, Some(copy)).await);
        if !is_kept && lately::begin_renewal(name, now_millis()) {
            sleep(REFUSED_FOR).await;
            lately::end_renewal(name);
            if !lately::is_outdated(name, copy.seq) {
                is_done(self.put_copy(name, Some(copy)).await);
            }
        }
        // It may have been written over a newer one.
        if lately::is_outdated(name, copy.seq) {
            self.renew_later(name, Unrenewed::default()).await;
        }
    }

    /// Whether a copy, or that there is none, may be shown while D1 can't say what holds.
    pub(crate) async fn is_last_known(&self, name: &str, copy: Option<&ServerCopy>) -> bool {
        let seq = copy.map_or(0, |copy| copy.seq);
        if lately::is_outdated(name, seq) {
            return false;
        }
        let (doubts, changes) = (doubts(name), changes(name));
        let keys = join(self.kv_keys(&doubts), self.kv_keys(&changes));
        let ((Ok(doubts), Ok(changes)), mark) = join(keys, self.mark()).await else {
            return false;
        };
        // The newest change comes first.
        let last = changes.first().map_or(0, |key| seq_of(key));
        let behind = mark.map_or(0, |mark| mark.behind);
        match copy {
            Some(_) => doubts.is_empty() && seq >= last.max(behind),
            None => doubts.is_empty() && changes.is_empty() && mark.is_some_and(|mark| mark.all),
        }
    }

    /// Renews the copies of the next servers after this name, and gives the last of them. `None`: there
    /// are no more, and every server has its copy.
    pub(crate) async fn rebuild_copies(
        &self,
        after: &str,
    ) -> Result<(usize, Option<String>), StoreError> {
        let sql = "SELECT name FROM servers WHERE name > ?1 ORDER BY name LIMIT ?2";
        let rows = self
            .rows(sql, vec![after.into(), REBUILT_AT_ONCE.into()])
            .await?;
        let mut names: Vec<String> = rows.iter().filter_map(|row| row.owned("name")).collect();
        if names.is_empty() {
            let until = self.mark().await.map_or(0, |mark| mark.until);
            let mark = Mark {
                all: true,
                behind: 0,
                until,
            };
            self.put_patiently(MARK, &mark).await?;
        }
        // Here it is told: who repairs wants to know.
        let renewed: Vec<Result<(), StoreError>> = stream::iter(&names)
            .map(|name| self.copy(name))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let count = renewed.len();
        renewed.into_iter().collect::<Result<(), _>>()?;
        Ok((count, names.pop()))
    }

    /// After changes that are too many to renew each copy: until the cron has, copies from before are in doubt, and
    /// some servers have none.
    pub(crate) async fn leave_copies_behind(&self) {
        let asked = self.ask_lately(now_millis()).await;
        let head = asked.unwrap_or_else(|_| lately::seq());
        let mark = self.mark().await.unwrap_or_default();
        let mark = Mark {
            all: false,
            behind: head,
            ..mark
        };
        is_done(self.put_patiently(MARK, &mark).await);
    }

    /// Does what changes, or bulks of them, could not do themselves: renews the copies that are in doubt or behind,
    /// in the order of the changes, and then says again that all servers have copies, if that was said before. Without
    /// the mark it renews the copies that there are, and says nothing of others. How many it renewed.
    pub(crate) async fn repair_copies(&self) -> Result<usize, StoreError> {
        let mut doubts = self.kv_keys(DOUBTS).await?;
        doubts.truncate(FOLLOWED_AT_ONCE);
        let mut renewed = 0;
        for key in doubts {
            let name = key
                .strip_prefix(DOUBTS)
                .and_then(|key| key.split(':').next());
            self.copy(name.unwrap_or_default()).await?;
            self.forget(&[key]).await;
            renewed += 1;
        }
        let mark = self.mark().await;
        let after = match &mark {
            Some(mark) => mark.until,
            None => self.kv_get(FOLLOWED).await?.unwrap_or(0),
        };
        let (changed, until, head) = self.changed_since(after).await?;
        for (name, seq) in changed {
            let copy = self.edge_copy(&name).await?;
            // Nobody misses a copy that is not there, unless it was said that all are.
            if copy.map_or(mark.is_some(), |copy| copy.seq < seq) {
                self.copy(&name).await?;
                renewed += 1;
            }
        }
        let Some(mark) = mark else {
            if until != after {
                self.kv_put(FOLLOWED, &until, None).await?;
            }
            return Ok(renewed);
        };
        let is_level = until == head;
        let repaired = Mark {
            all: mark.all || is_level,
            behind: if is_level { 0 } else { mark.behind },
            until,
        };
        if repaired != mark {
            self.kv_put(MARK, &repaired, None).await?;
        }
        Ok(renewed)
    }

    /// The next servers that changed after this number, with that of their last change; the number up to which
    /// that is all; and that of the last change.
    async fn changed_since(
        &self,
        after: u64,
    ) -> Result<(Vec<(String, u64)>, u64, u64), StoreError> {
        let sql =
            "SELECT 0 AS seq, NULL AS name, coalesce(max(seq), 0) AS head FROM changes UNION ALL
           SELECT * FROM (SELECT c.seq, s.name, 0
             FROM (SELECT seq, server_id FROM changes WHERE seq > ?1 ORDER BY seq LIMIT 1000) c
             CROSS JOIN servers s ON s.id = c.server_id ORDER BY c.seq)";
        let rows = self.rows(sql, vec![number(after)]).await?;
        let head = rows.first().and_then(|row| row.number("head")).unwrap_or(0);
        let mut changed: Vec<(String, u64)> = Vec::new();
        // After a restore from an earlier state there is less.
        let mut until = after.min(head);
        for row in rows.iter().skip(1) {
            let (name, seq) = (row.text("name"), row.number("seq").unwrap_or(0));
            if let Some((_, last)) = changed.iter_mut().find(|(known, _)| known == name) {
                *last = seq;
            } else if changed.len() < FOLLOWED_AT_ONCE {
                changed.push((name.to_owned(), seq));
            } else {
                break;
            }
            until = seq;
        }
        Ok((changed, until, head))
    }

    /// Renews a copy as D1 has it now.
    async fn copy(&self, name: &str) -> Result<(), StoreError> {
        // Others may renew the same copy, each in its second.
        let mut pauses = [1_100, 1_500, 2_300].map(Duration::from_millis).into_iter();
        loop {
            let copy = self.load_server(name).await?;
            let put = self.put_copy(name, copy.as_ref()).await;
            match pauses.next().filter(|_| put.is_err()) {
                Some(pause) => sleep(pause).await,
                None => return put,
            }
        }
    }

    async fn put_copy(&self, name: &str, copy: Option<&ServerCopy>) -> Result<(), StoreError> {
        match copy {
            Some(copy) => self.kv_put(&key(name), copy, None).await,
            None => self.kv_delete(&key(name)).await,
        }
    }

    /// D1 can't say what a change came to. Whether KV took anything that says so.
    async fn put_in_doubt(&self, name: &str) -> bool {
        let doubt = format!("{}{}", doubts(name), now_millis());
        let doubted = self.kv_put(&doubt, &true, Some(REMEMBERED_SECONDS));
        let (doubted, deleted) = join(doubted, self.kv_delete(&key(name))).await;
        let is_told = is_done(doubted) || deleted.is_ok();
        if let Some(mark) = self.mark().await.filter(|mark| mark.all) {
            let mark = Mark { all: false, ..mark };
            is_done(self.put_patiently(MARK, &mark).await);
        }
        is_told
    }

    async fn forget(&self, keys: &[String]) {
        for key in keys {
            is_done(self.kv_delete(key).await);
        }
    }

    async fn mark(&self) -> Option<Mark> {
        if let Some(mark) = self.kv_get(MARK).await.unwrap_or_default() {
            return Some(mark);
        }
        // What stood there before there was more to say.
        let all: Option<bool> = self.kv_get(MARK).await.unwrap_or_default();
        all.map(|all| Mark {
            all,
            ..Mark::default()
        })
    }

    async fn put_patiently(&self, key: &str, value: &impl Serialize) -> Result<(), StoreError> {
        if self.kv_put(key, value, None).await.is_ok() {
            return Ok(());
        }
        sleep(REFUSED_FOR).await;
        self.kv_put(key, value, None).await
    }
}

/// Tells the log why something was not done, unless KV only wants to be asked later.
fn is_done(done: Result<(), StoreError>) -> bool {
    let Err(error) = done else {
        return true;
    };
    let problem = error.to_string();
    if !problem.contains("429") {
        log::error_once("", "edge_copy_failed", &[("problem", &problem)]);
    }
    false
}

fn key(name: &str) -> String {
    format!("server:{name}")
}

fn doubts(name: &str) -> String {
    format!("{DOUBTS}{name}:")
}

fn changes(name: &str) -> String {
    format!("{CHANGES}{name}:")
}

/// KV lists keys in the order of their bytes: the newest change is to be the first.
fn change_key(name: &str, seq: u64) -> String {
    format!("{}{:014x}", changes(name), MAX_SEQ.saturating_sub(seq))
}

/// A key that can't be read tells of a change that no copy has.
fn seq_of(key: &str) -> u64 {
    let digits = key.rsplit(':').next().unwrap_or_default();
    MAX_SEQ.saturating_sub(u64::from_str_radix(digits, 16).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_change_comes_first_and_no_other_server_among_them() {
        let mut keys: Vec<String> = [1, 9, 10, 255, 256, 4_000_000_000, MAX_SEQ - 1]
            .map(|seq| change_key("com.example/a", seq))
            .into();
        let numbers: Vec<u64> = keys.iter().rev().map(|key| seq_of(key)).collect();
        keys.sort_unstable();
        assert_eq!(
            keys.iter().map(|key| seq_of(key)).collect::<Vec<_>>(),
            numbers
        );
        assert!(!change_key("com.example/ab", 1).starts_with(&changes("com.example/a")));
        assert_eq!(seq_of("server::changed:com.example/a:what"), MAX_SEQ);
    }
}
