//! How an upstream registry is followed: what it is asked for next, and what is known after each of
//! its pages. Two crawls go side by side, page by page in turn: one of what changed of late, in each
//! run, and a sweep of everything, now and then.

use serde::Deserialize;

/// An upstream dates a change before it commits it, and caches stand before it: so much earlier than
/// it was heard of last is asked for again.
const OVERLAP_MILLIS: u64 = 15 * 60 * 1000;

/// What changes leave no trace in an upstream's list, such as a row that was taken out of it, is found
/// by a sweep.
const SWEPT_EVERY_MILLIS: u64 = 7 * 24 * 60 * 60 * 1000;

/// How many of the versions that a sweep met not may be taken for gone, of so many that it met: an
/// upstream that suddenly lists much less is broken.
pub(crate) const fn most_gone(met: u64) -> u64 {
    10 + met / 20
}

/// More pages than any registry has: it leads in a circle.
const MAX_PAGES: u64 = 50_000;

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Crawl {
    /// What changed since it was heard of last.
    Changes,
    /// Everything.
    Sweep,
}

impl Crawl {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Sweep => "sweep",
        }
    }
}

/// How far one crawl is. Dates are milliseconds since the Unix epoch, by the upstream's clock.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Progress {
    /// `None`: none is under way.
    pub(crate) began_at: Option<u64>,
    pub(crate) cursor: Option<String>,
    /// An earlier one, which a crawl that leads in a circle comes back to.
    pub(crate) checkpoint: Option<String>,
    /// Of the crawl under way, or of the last one.
    pub(crate) pages: u64,
    pub(crate) entries: u64,
    /// When the last complete one had begun.
    pub(crate) completed_at: Option<u64>,
}

/// What is known of an upstream.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Following {
    /// Everything that changed before was heard of.
    pub(crate) heard_until: Option<u64>,
    pub(crate) changes: Progress,
    pub(crate) sweep: Progress,
}

/// A cursor that leads in a circle.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Astray;

impl Following {
    /// What to go on with, in a run in which these crawls are over: not the last one, where there is
    /// another, so that neither waits for the other's end.
    pub(crate) fn due(&self, over: &[Crawl], last: Option<Crawl>, now: u64) -> Option<Crawl> {
        let sweep = &self.sweep;
        let is_swept = sweep
            .completed_at
            .is_some_and(|at| now.saturating_sub(at) < SWEPT_EVERY_MILLIS);
        let is_due = |crawl: &Crawl| {
            !over.contains(crawl)
                && match crawl {
                    Crawl::Changes => self.heard_until.is_some(),
                    Crawl::Sweep => sweep.began_at.is_some() || !is_swept,
                }
        };
        let in_turn = match last {
            Some(Crawl::Changes) => [Crawl::Sweep, Crawl::Changes],
            Some(Crawl::Sweep) | None => [Crawl::Changes, Crawl::Sweep],
        };
        in_turn.into_iter().find(is_due)
    }

    /// What a crawl asks for: what changed since, and from where on.
    pub(crate) fn question(&self, crawl: Crawl) -> (Option<u64>, Option<&str>) {
        match crawl {
            Crawl::Changes => (
                self.heard_until.map(|at| at.saturating_sub(OVERLAP_MILLIS)),
                self.changes.cursor.as_deref(),
            ),
            Crawl::Sweep => (None, self.sweep.cursor.as_deref()),
        }
    }

    /// After a page of so many entries, sent at that time, with the cursor of the next one. Whether
    /// the crawl is complete.
    pub(crate) fn heard(
        &mut self,
        crawl: Crawl,
        sent_at: u64,
        entries: u64,
        next: Option<String>,
    ) -> Result<bool, Astray> {
        let progress = self.progress(crawl);
        if progress.began_at.is_none() {
            *progress = Progress {
                completed_at: progress.completed_at,
                ..Progress::default()
            };
        }
        if next.is_some() && next == progress.checkpoint || progress.pages >= MAX_PAGES {
            return Err(Astray);
        }
        let began_at = *progress.began_at.get_or_insert(sent_at);
        progress.pages += 1;
        progress.entries += entries;
        // Ever farther apart (Brent), so that a circle of any length comes by one.
        if progress.pages.is_power_of_two() {
            progress.checkpoint.clone_from(&next);
        }
        let is_complete = next.is_none();
        progress.cursor = next;
        if is_complete {
            progress.began_at = None;
            progress.completed_at = Some(began_at);
        }
        // A sweep listens from where it began: what changes behind it is among the changes.
        let listens = match crawl {
            Crawl::Changes => is_complete,
            Crawl::Sweep => self.heard_until.is_none(),
        };
        if listens {
            self.heard_until = self.heard_until.max(Some(began_at));
        }
        Ok(is_complete)
    }

    /// Where a cursor is not taken any more.
    pub(crate) fn begin_again(&mut self, crawl: Crawl) {
        let progress = self.progress(crawl);
        progress.began_at = None;
        progress.cursor = None;
    }

    /// Sees to a sweep, if none is under way.
    pub(crate) fn want_sweep(&mut self) {
        self.sweep.completed_at = None;
    }

    pub(crate) fn progress(&mut self, crawl: Crawl) -> &mut Progress {
        match crawl {
            Crawl::Changes => &mut self.changes,
            Crawl::Sweep => &mut self.sweep,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    const MINUTE: u64 = 60 * 1000;
    const PAGE: usize = 3;

    /// What a registry has of each name: what it says, and when it says that this changed.
    type Rows = BTreeMap<u8, (u32, u64)>;

    /// A registry as the official one is: pages by name, changes dated before they are committed.
    #[derive(Default)]
    struct Upstream {
        now: u64,
        rows: Rows,
        /// By when they are committed.
        pending: Vec<(u64, u8, u32, u64)>,
        content: u32,
    }

    impl Upstream {
        fn pass(&mut self, millis: u64) {
            self.now += millis;
            let now = self.now;
            for (at, name, content, dated) in std::mem::take(&mut self.pending) {
                if at <= now {
                    self.rows.insert(name, (content, dated));
                } else {
                    self.pending.push((at, name, content, dated));
                }
            }
        }

        fn page(
            &self,
            since: Option<u64>,
            cursor: Option<&str>,
        ) -> (Vec<(u8, u32)>, Option<String>) {
            let after: i16 = cursor.map_or(-1, |cursor| cursor.parse().unwrap());
            let page: Vec<(u8, u32)> = self
                .rows
                .iter()
                .filter(|(name, (_, dated))| {
                    i16::from(**name) > after && since.is_none_or(|since| *dated > since)
                })
                .map(|(name, (content, _))| (*name, *content))
                .take(PAGE)
                .collect();
            // A full last page has a cursor, too.
            let next = page.get(PAGE - 1).map(|(name, _)| name.to_string());
            (page, next)
        }
    }

    #[derive(Clone, Debug)]
    enum Event {
        /// A change of a name, and how long its commit takes.
        Change(u8, u64),
        Pass(u64),
        /// As many pages as a run has.
        Run(usize),
        CursorsLost,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0..12u8, 0..OVERLAP_MILLIS).prop_map(|(name, takes)| Event::Change(name, takes)),
            2 => (0..60 * MINUTE).prop_map(Event::Pass),
            3 => (0..6usize).prop_map(Event::Run),
            1 => Just(Event::CursorsLost),
        ]
    }

    fn run(
        upstream: &Upstream,
        following: &mut Following,
        mirror: &mut BTreeMap<u8, u32>,
        pages: usize,
    ) -> bool {
        let (mut over, mut last) = (Vec::new(), None);
        for _ in 0..pages {
            let Some(crawl) = following.due(&over, last, upstream.now) else {
                return true;
            };
            last = Some(crawl);
            let (since, cursor) = following.question(crawl);
            let (page, next) = upstream.page(since, cursor);
            mirror.extend(page.iter().copied());
            let complete = following
                .heard(crawl, upstream.now, page.len() as u64, next)
                .unwrap();
            if complete {
                over.push(crawl);
            }
        }
        false
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn whatever_changes_while_it_is_crawled_a_mirror_misses_none(events in vec(event(), 0..60)) {
            let mut upstream = Upstream { now: 1_000_000_000, ..Upstream::default() };
            let (mut following, mut mirror) = (Following::default(), BTreeMap::new());
            for event in events {
                match event {
                    Event::Change(name, takes) => {
                        upstream.content += 1;
                        let (now, content) = (upstream.now, upstream.content);
                        upstream.pending.push((now + takes, name, content, now));
                        upstream.pass(0);
                    }
                    Event::Pass(millis) => upstream.pass(millis),
                    Event::Run(pages) => {
                        run(&upstream, &mut following, &mut mirror, pages);
                    }
                    Event::CursorsLost => {
                        following.begin_again(Crawl::Changes);
                        following.begin_again(Crawl::Sweep);
                    }
                }
            }
            upstream.pass(OVERLAP_MILLIS);
            // A crawl that was under way, and one after it.
            for _ in 0..2 {
                prop_assert!(run(&upstream, &mut following, &mut mirror, 40));
            }
            let rows: BTreeMap<u8, u32> =
                upstream.rows.iter().map(|(name, (content, _))| (*name, *content)).collect();
            prop_assert_eq!(mirror, rows);
        }
    }

    #[test]
    fn changes_and_the_sweep_take_turns_each_in_its_time() {
        use Crawl::{Changes, Sweep};
        let mut following = Following::default();
        assert_eq!(following.due(&[], None, 0), Some(Sweep));
        assert_eq!(following.question(Sweep), (None, None));
        let now = 100 * OVERLAP_MILLIS;
        assert_eq!(
            following.heard(Sweep, now, 100, Some("a".into())),
            Ok(false)
        );
        // Under way, what changed since it began is heard of, too.
        assert_eq!(following.due(&[], Some(Sweep), now), Some(Changes));
        assert_eq!(
            following.question(Changes),
            (Some(now - OVERLAP_MILLIS), None)
        );
        assert_eq!(following.heard(Changes, now + 7, 0, None), Ok(true));
        assert_eq!(following.heard_until, Some(now + 7));
        assert_eq!(following.due(&[Changes], Some(Changes), now), Some(Sweep));
        assert_eq!(following.question(Sweep), (None, Some("a")));
        assert_eq!(following.heard(Sweep, now + 9, 1, None), Ok(true));
        assert_eq!((following.sweep.pages, following.sweep.entries), (2, 101));
        assert_eq!(following.heard_until, Some(now + 7));
        let next_week = now + SWEPT_EVERY_MILLIS;
        assert_eq!(following.due(&[Changes], None, next_week - 1), None);
        assert_eq!(following.due(&[Changes], None, next_week), Some(Sweep));
        following.want_sweep();
        assert_eq!(following.due(&[Changes], None, now), Some(Sweep));
        // Neither waits for the other's end, however long that takes; nor for what failed.
        assert_eq!(following.due(&[], None, now), Some(Changes));
        assert_eq!(following.due(&[], Some(Changes), now), Some(Sweep));
        assert_eq!(following.due(&[], Some(Sweep), now), Some(Changes));
        assert_eq!(following.due(&[Sweep], Some(Changes), now), Some(Changes));
        assert_eq!(following.due(&[Changes, Sweep], None, now), None);
    }

    /// The page at which it is seen, of an upstream with the nth cursor.
    fn seen_at(
        following: &mut Following,
        crawl: Crawl,
        cursor: impl Fn(u64) -> u64,
    ) -> Option<u64> {
        (0..=MAX_PAGES).find(|page| {
            let next = cursor(*page).to_string();
            following.heard(crawl, 1, 1, Some(next)) == Err(Astray)
        })
    }

    proptest! {
        #[test]
        fn a_circle_of_any_length_is_seen(way in 0..50u64, length in 1..50u64) {
            let cursor = |page| if page < way { page } else { way + (page - way) % length };
            let seen = seen_at(&mut Following::default(), Crawl::Sweep, cursor);
            prop_assert!(seen.is_some_and(|page| page <= 3 * (way + length)), "{seen:?}");
        }
    }

    #[test]
    fn what_led_nowhere_begins_again_with_nothing_held_against_it() {
        let mut following = Following::default();
        assert_eq!(seen_at(&mut following, Crawl::Sweep, |_| 7), Some(1));
        following.begin_again(Crawl::Sweep);
        assert_eq!(following.question(Crawl::Sweep), (None, None));
        // The same cursor first, and a registry without an end.
        let endless = seen_at(&mut following, Crawl::Sweep, |page| 7 + page);
        assert_eq!(endless, Some(MAX_PAGES));
        following.begin_again(Crawl::Sweep);
        assert_eq!(following.heard(Crawl::Sweep, 1, 1, None), Ok(true));
        assert_eq!((following.sweep.pages, following.sweep.entries), (1, 1));
    }
}
