//! Which sessions belong to whom, and which have ended.

use std::{
    cmp::Reverse,
    collections::{HashMap, hash_map::Entry},
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    select,
    task::{JoinSet, yield_now},
    time::sleep,
};

use crate::{
    clock,
    lease::{EndReason, Lease, SessionRefusal, Subject, Terms},
    session_key::SessionKey,
    verified::Signed,
};

/// How long an ended session is remembered, so that its id keeps being answered with 404.
const REMEMBER_ENDED: Duration = Duration::from_hours(24);
const BETWEEN_SWEEPS: Duration = Duration::from_secs(10);
/// A full table makes room for a sixteenth of itself, so that this isn't done for every session.
const ROOM_SHARE: usize = 16;
/// So many that looking through one holds up nobody.
const SHARDS: usize = 64;

/// The sessions that the layer has seen begin.
pub(crate) struct Sessions {
    table: Arc<Table>,
    /// Aborted when it is dropped.
    _keeper: JoinSet<()>,
}

type Leases = HashMap<SessionKey, Arc<Lease>>;

struct Table {
    terms: Arc<Terms>,
    shards: Vec<Mutex<Leases>>,
    len: AtomicUsize,
    capacity: usize,
    making_room: Mutex<()>,
}

impl Sessions {
    /// Reports, ends and forgets sessions in the background, for as long as it is there.
    pub(crate) fn start(runtime: &Handle, capacity: usize, terms: Terms) -> Self {
        let table = Arc::new(Table::new(capacity, terms));
        let mut keeper = JoinSet::new();
        keeper.spawn_on(Arc::clone(&table).keep(), runtime);
        Self {
            table,
            _keeper: keeper,
        }
    }

    /// The lease of one request that belongs to no known session.
    pub(crate) fn lease(&self, descriptor: &Arc<Signed>) -> Arc<Lease> {
        Arc::new(Lease::new(&self.table.terms, Subject::Request, descriptor))
    }

    /// Whether the session began with a descriptor, ended or not.
    pub(crate) fn contains(&self, key: &SessionKey) -> bool {
        self.table.get(key).is_some()
    }

    /// Renews the lease of a session, where it is known.
    pub(crate) fn renew(
        &self,
        key: &SessionKey,
        descriptor: &Arc<Signed>,
        now: Duration,
    ) -> Result<Option<Arc<Lease>>, SessionRefusal> {
        let lease = self.table.get(key);
        if let Some(lease) = &lease {
            lease.renew(descriptor, now)?;
        }
        Ok(lease)
    }

    /// Remembers that a request of this session, if it is one, was refused.
    pub(crate) fn note_setback(&self, key: &SessionKey, reason: EndReason) {
        if let Some(lease) = self.table.get(key) {
            lease.note_setback(reason);
        }
    }

    /// Binds a session to the caller of a descriptor. Another request may have been first: then it
    /// is as if the session had been known.
    pub(crate) fn bind(
        &self,
        key: SessionKey,
        descriptor: &Arc<Signed>,
        enforced: bool,
        now: Duration,
    ) -> Result<Arc<Lease>, SessionRefusal> {
        self.table.bind(key, descriptor, enforced, now)
    }

    /// Forgets a session that its client has ended.
    pub(crate) fn remove(&self, key: &SessionKey) {
        self.table.remove(key, EndReason::Deleted);
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("capacity", &self.table.capacity)
            .field("terms", &self.table.terms)
            .finish_non_exhaustive()
    }
}

impl Table {
    fn new(capacity: usize, terms: Terms) -> Self {
        Self {
            terms: Arc::new(terms),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            len: AtomicUsize::new(0),
            capacity,
            making_room: Mutex::default(),
        }
    }

    fn shard(&self, key: &SessionKey) -> Option<MutexGuard<'_, Leases>> {
        self.shards.get(key.spread(SHARDS)).map(lock)
    }

    fn get(&self, key: &SessionKey) -> Option<Arc<Lease>> {
        self.shard(key)?.get(key).cloned()
    }

    fn bind(
        &self,
        key: SessionKey,
        descriptor: &Arc<Signed>,
        enforced: bool,
        now: Duration,
    ) -> Result<Arc<Lease>, SessionRefusal> {
        self.make_room(now);
        let mut shard = self.shard(&key).ok_or(SessionRefusal::Ended)?;
        let (lease, is_new) = match shard.entry(key) {
            Entry::Occupied(entry) => (Arc::clone(entry.get()), false),
            Entry::Vacant(entry) => {
                let subject = Subject::Session { enforced };
                let lease = Lease::new(&self.terms, subject, descriptor);
                self.len.fetch_add(1, Ordering::Relaxed);
                (Arc::clone(entry.insert(Arc::new(lease))), true)
            }
        };
        drop(shard);
        if is_new {
            // What was revoked since the descriptor was checked would be missed otherwise.
            lease.look_for_revocation(now);
        }
        lease.renew(descriptor, now)?;
        Ok(lease)
    }

    fn remove(&self, key: &SessionKey, reason: EndReason) {
        let lease = self.shard(key).and_then(|mut shard| shard.remove(key));
        if let Some(lease) = lease {
            self.len.fetch_sub(1, Ordering::Relaxed);
            lease.report(reason);
        }
    }

    async fn keep(self: Arc<Self>) {
        let mut revocations = self.terms.revocations.clone();
        let mut look_again = false;
        loop {
            let revoked = select! {
                Ok(()) = revocations.changed() => true,
                () = sleep(BETWEEN_SWEEPS) => false,
            };
            for shard in &self.shards {
                self.sweep(shard, revoked || look_again, clock::now());
                yield_now().await;
            }
            // A session that was renewed while the others were looked at may have been missed.
            look_again = revoked;
        }
    }

    /// Reports the leases that have ended. They stay, so that the session's id keeps being refused,
    /// until a day has passed or there is no room for them.
    fn sweep(&self, shard: &Mutex<Leases>, look_for_revocations: bool, now: Duration) {
        let mut leases = lock(shard);
        let before = leases.len();
        leases.retain(|_, lease| {
            if look_for_revocations {
                lease.look_for_revocation(now);
            }
            let ends_at = lease.ends_at();
            if ends_at <= now {
                lease.report_end();
            }
            ends_at + REMEMBER_ENDED > now
        });
        self.len.fetch_sub(before - leases.len(), Ordering::Relaxed);
    }

    /// Forgets sessions until there is room for one more, and for some to come.
    fn make_room(&self, now: Duration) {
        let is_full = || self.len.load(Ordering::Relaxed) >= self.capacity;
        if !is_full() {
            return;
        }
        let _one_at_a_time = lock(&self.making_room);
        if !is_full() {
            return; // somebody else has
        }
        let hasher = RandomState::new();
        let mut held = Vec::with_capacity(self.len.load(Ordering::Relaxed));
        for shard in &self.shards {
            self.sweep(shard, false, now);
            let leases = lock(shard);
            held.extend(
                leases
                    .iter()
                    .map(|(key, lease)| Held::new(*key, lease, &hasher)),
            );
        }
        let kept = (self.capacity - 1).min(self.capacity - self.capacity / ROOM_SHARE);
        let excess = held.len().saturating_sub(kept);
        for key in most_dispensable(held, excess) {
            self.remove(&key, EndReason::Forgotten);
        }
    }
}

/// No code under the locks can leave what they guard half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Held {
    key: SessionKey,
    ends_at: Duration,
    /// Hashes, so that many can be sorted soon.
    tenant: u64,
    client: u64,
}

impl Held {
    fn new(key: SessionKey, lease: &Lease, hasher: &impl BuildHasher) -> Self {
        let newest = lease.newest();
        Self {
            key,
            ends_at: lease.ends_at(),
            tenant: hasher.hash_one(&newest.tenant_id),
            client: hasher.hash_one(&newest.client_id),
        }
    }
}

/// Which sessions to forget so that everybody keeps the same share: those of the tenant that has the
/// most, and within it those of the client that has the most; of one client those nearest to their
/// end. So nobody can push out others by beginning sessions.
fn most_dispensable(held: Vec<Held>, count: usize) -> impl Iterator<Item = SessionKey> {
    let mut held: Vec<_> = held.into_iter().map(|it| (0, it)).collect();
    // The how-manieth session of its client it is, the longest to live first, …
    held.sort_unstable_by_key(|(_, it)| (it.tenant, it.client, Reverse(it.ends_at)));
    number_each(&mut held, |it| (it.tenant, it.client));
    // … and, in that order, of its tenant.
    held.sort_unstable_by_key(|(of_client, it)| (it.tenant, *of_client, Reverse(it.ends_at)));
    number_each(&mut held, |it| (it.tenant, 0));
    held.sort_unstable_by_key(|(of_tenant, it)| (Reverse(*of_tenant), it.ends_at));
    held.into_iter().take(count).map(|(_, it)| it.key)
}

/// Numbers, from 0, what stands together of one owner.
fn number_each(held: &mut [(usize, Held)], owner: impl Fn(&Held) -> (u64, u64)) {
    for group in held.chunk_by_mut(|(_, one), (_, other)| owner(one) == owner(other)) {
        for (number, (numbered, _)) in group.iter_mut().enumerate() {
            *numbered = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use mcp_connect_descriptor::{Descriptor, ServerIdentity};
    use tokio::sync::watch;

    use super::*;

    const TOLERANCE: u64 = 35;
    const DAY: u64 = 86_400;

    /// Revocations by `jti`, as a feed would tell of them.
    #[derive(Clone, Default)]
    struct Revoked {
        jtis: Arc<Mutex<HashSet<String>>>,
        changes: watch::Sender<u64>,
    }

    impl Revoked {
        fn terms(&self) -> Terms {
            let jtis = Arc::clone(&self.jtis);
            Terms {
                tolerance: seconds(TOLERANCE),
                call_grace: Duration::ZERO,
                is_revoked: Box::new(move |signed, _| lock(&jtis).contains(&signed.jti)),
                revocations: self.changes.subscribe(),
            }
        }

        fn name(&self, jti: &str) {
            lock(&self.jtis).insert(jti.into());
            self.changes.send_modify(|generation| *generation += 1);
        }
    }

    fn descriptor_of(
        tenant: Option<&str>,
        client: &str,
        jti: &str,
        expires_at: u64,
    ) -> Arc<Signed> {
        let descriptor = Descriptor {
            issuer: "https://authority.example".into(),
            endpoint: "https://mcp.example/mcp".into(),
            server: ServerIdentity {
                id: "com.example/weather".into(),
                version: "1.0.0".into(),
                verified: true,
                jwks_uri: None,
                tls_pin_sha256: None,
            },
            issued_at: expires_at - 60,
            not_before: expires_at - 60,
            expires_at,
            jti: jti.into(),
            client_id: Some(client.into()),
            tenant_id: tenant.map(Into::into),
            confirmation: None,
        };
        Arc::new(Signed {
            descriptor,
            key_id: "kid".into(),
        })
    }

    fn descriptor(client: &str, expires_at: u64) -> Arc<Signed> {
        descriptor_of(None, client, "jti", expires_at)
    }

    fn key(number: usize) -> SessionKey {
        SessionKey::new(&number.to_be_bytes())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn table(capacity: usize) -> Table {
        Table::new(capacity, Revoked::default().terms())
    }

    impl Table {
        fn bound(&self, number: usize, descriptor: &Arc<Signed>, now: u64) -> Arc<Lease> {
            let bound = self.bind(key(number), descriptor, true, seconds(now));
            bound.unwrap()
        }

        fn renewed(
            &self,
            number: usize,
            descriptor: &Arc<Signed>,
            now: u64,
        ) -> Result<(), SessionRefusal> {
            let lease = self.get(&key(number)).unwrap();
            lease.renew(descriptor, seconds(now))
        }

        fn sweep_all(&self, look_for_revocations: bool, now: u64) {
            for shard in &self.shards {
                self.sweep(shard, look_for_revocations, seconds(now));
            }
        }

        fn contains(&self, number: usize) -> bool {
            self.get(&key(number)).is_some()
        }

        fn count(&self) -> usize {
            let counted = self.shards.iter().map(|shard| lock(shard).len()).sum();
            assert_eq!(self.len.load(Ordering::Relaxed), counted);
            counted
        }
    }

    #[test]
    fn a_lease_ends_when_leeway_and_grace_have_passed() {
        let lease = table(1).bound(0, &descriptor("a", 1000), 950);
        assert!(!lease.has_ended(Duration::from_millis(1_034_999)));
        assert!(lease.has_ended(seconds(1035)));
        assert!(lease.has_ended(seconds(2000)));
    }

    #[test]
    fn the_newest_descriptor_counts_in_whatever_order_they_come() {
        let table = table(1);
        let lease = table.bound(0, &descriptor("a", 1000), 950);
        for expires_at in [1060, 1030] {
            table.renewed(0, &descriptor("a", expires_at), 990).unwrap();
        }
        assert_eq!(lease.ends_at(), seconds(1060 + TOLERANCE));
    }

    #[test]
    fn an_ended_session_stays_ended_for_a_day() {
        let table = table(10);
        let fresh = descriptor("a", 200_000);
        table.bound(0, &descriptor("a", 1000), 950);
        for now in [1035, 1035 + DAY - 1] {
            assert_eq!(table.renewed(0, &fresh, now), Err(SessionRefusal::Ended));
            let bound = table.bind(key(0), &fresh, true, seconds(now)).map(drop);
            assert_eq!(bound, Err(SessionRefusal::Ended));
        }
        table.sweep_all(false, 1035 + DAY - 1);
        assert!(table.contains(0));
        table.sweep_all(false, 1035 + DAY);
        assert!(!table.contains(0));
        assert_eq!(table.count(), 0);
    }

    #[test]
    fn another_caller_is_refused_even_when_the_session_has_ended() {
        let table = table(10);
        table.bound(0, &descriptor("a", 1000), 950);
        for now in [960, 2000] {
            let renewed = table.renewed(0, &descriptor("b", 2010), now);
            assert_eq!(renewed, Err(SessionRefusal::AnotherCaller));
        }
    }

    #[test]
    fn ends_for_the_reason_that_was_seen_last() {
        let table = table(10);
        let lease = table.bound(0, &descriptor("a", 1000), 950);
        assert_eq!(lease.end_reason(), EndReason::RefreshTimeout);
        table.renewed(0, &descriptor("b", 1060), 951).unwrap_err();
        assert_eq!(lease.end_reason(), EndReason::PolicyDenied);
        lease.note_setback(EndReason::AuthFailed);
        assert_eq!(lease.end_reason(), EndReason::AuthFailed);
        table.renewed(0, &descriptor("a", 1000), 952).unwrap();
        table.renewed(0, &descriptor("a", 990), 952).unwrap();
        assert_eq!(lease.end_reason(), EndReason::AuthFailed, "no newer one");
        table.renewed(0, &descriptor("a", 1010), 952).unwrap();
        assert_eq!(lease.end_reason(), EndReason::RefreshTimeout);
    }

    #[test]
    fn a_revoked_session_ends_at_once_and_for_good() {
        let revoked = Revoked::default();
        let table = Table::new(10, revoked.terms());
        let lease = table.bound(0, &descriptor_of(None, "a", "named", 1000), 950);
        let other = table.bound(1, &descriptor_of(None, "a", "other", 1000), 950);
        revoked.name("named");
        table.sweep_all(false, 951);
        assert!(!lease.has_ended(seconds(951)), "nobody has looked");
        table.sweep_all(true, 952);
        assert!(lease.has_ended(seconds(952)) && !other.has_ended(seconds(952)));
        assert_eq!(lease.end_reason(), EndReason::Revoked);

        lock(&revoked.jtis).clear();
        table.sweep_all(true, 953);
        let fresh = descriptor("a", 1060);
        assert_eq!(table.renewed(0, &fresh, 953), Err(SessionRefusal::Ended));
        assert_eq!(lease.end_reason(), EndReason::Revoked);
    }

    #[test]
    fn a_clock_that_is_set_back_brings_no_revoked_session_back() {
        let revoked = Revoked::default();
        let table = Table::new(10, revoked.terms());
        let lease = table.bound(0, &descriptor_of(None, "a", "named", 1000), 950);
        revoked.name("named");
        table.sweep_all(true, 952);
        lock(&revoked.jtis).clear();
        assert!(lease.has_ended(seconds(900)));
        let fresh = descriptor("a", 960);
        assert_eq!(table.renewed(0, &fresh, 900), Err(SessionRefusal::Ended));
    }

    #[test]
    fn a_session_whose_descriptor_was_just_revoked_does_not_begin() {
        let revoked = Revoked::default();
        let table = Table::new(10, revoked.terms());
        revoked.name("named");
        let named = descriptor_of(None, "a", "named", 1000);
        let bound = table.bind(key(0), &named, true, seconds(950)).map(drop);
        assert_eq!(bound, Err(SessionRefusal::Ended));
    }

    #[test]
    fn a_session_that_was_renewed_is_not_ended_by_its_older_descriptor() {
        let revoked = Revoked::default();
        let table = Table::new(10, revoked.terms());
        let lease = table.bound(0, &descriptor_of(None, "a", "old", 1000), 950);
        table
            .renewed(0, &descriptor_of(None, "a", "new", 1060), 960)
            .unwrap();
        revoked.name("old");
        table.sweep_all(true, 970);
        assert!(!lease.has_ended(seconds(970)));
    }

    #[tokio::test(start_paused = true)]
    async fn revocations_end_sessions_and_those_who_wait_for_them() {
        let revoked = Revoked::default();
        let sessions = Sessions::start(&Handle::current(), 10, revoked.terms());
        let expires_at = clock::now().as_secs() + 10_000;
        let named = descriptor_of(None, "a", "named", expires_at);
        let session = sessions.bind(key(0), &named, true, clock::now()).unwrap();
        let alone = sessions.lease(&named);
        let other = sessions.lease(&descriptor_of(None, "a", "other", expires_at));
        let mut waits = JoinSet::new();
        waits.spawn(Arc::clone(&session).end(Duration::ZERO));
        waits.spawn(Arc::clone(&alone).end(Duration::ZERO));
        yield_now().await;
        revoked.name("named");
        waits.join_next().await.unwrap().unwrap();
        waits.join_next().await.unwrap().unwrap();
        assert!(session.has_ended(clock::now()) && alone.has_ended(clock::now()));
        assert!(!other.has_ended(clock::now()));

        // One that nobody waits for, too.
        let silent = descriptor_of(None, "a", "silent", expires_at);
        let silent = sessions.bind(key(1), &silent, true, clock::now()).unwrap();
        revoked.name("silent");
        for _ in 0..=SHARDS {
            yield_now().await;
        }
        assert!(silent.has_ended(clock::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_a_revocation_overtakes_does_not_keep_a_stream_open() {
        let revoked = Revoked::default();
        let table = Table::new(10, revoked.terms());
        let now = clock::now().as_secs();
        let old = descriptor_of(None, "a", "old", now + 10_000);
        let stream = tokio::spawn(table.bound(0, &old, now).end(Duration::ZERO));
        yield_now().await;
        revoked.name("new");
        yield_now().await;
        // It was checked before the revocation.
        let new = descriptor_of(None, "a", "new", now + 10_060);
        table.renewed(0, &new, now).unwrap();
        let ended = tokio::time::timeout(seconds(5), stream).await;
        assert!(ended.is_ok(), "still open");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_a_revocation_overtakes_does_not_save_the_session() {
        let revoked = Revoked::default();
        let sessions = Sessions::start(&Handle::current(), 10, revoked.terms());
        let expires_at = clock::now().as_secs() + 10_000;
        let old = descriptor_of(None, "a", "old", expires_at);
        let session = sessions.bind(key(0), &old, true, clock::now()).unwrap();
        yield_now().await;
        revoked.name("new");
        for _ in 0..=SHARDS {
            yield_now().await;
        }
        let new = descriptor_of(None, "a", "new", expires_at + 60);
        sessions.renew(&key(0), &new, clock::now()).unwrap();
        sleep(BETWEEN_SWEEPS + seconds(1)).await;
        assert!(session.has_ended(clock::now()));
    }

    #[test]
    fn forgets_those_nearest_to_their_end_when_it_is_full() {
        let table = table(32);
        for number in 0..1000 {
            table.bound(number, &descriptor("a", 1000 + number as u64), 950);
            assert!(table.count() <= 32);
        }
        assert!(!table.contains(0));
        assert!(table.contains(999) && table.contains(999 - 29));
    }

    #[test]
    fn whoever_begins_many_sessions_pushes_out_only_their_own() {
        let table = table(64);
        // Older, so nearer to their end, than all of the greedy client's.
        for number in 0..8 {
            let tenant = if number % 2 == 0 { Some("x") } else { None };
            let client = format!("modest-{number}");
            table.bound(number, &descriptor_of(tenant, &client, "jti", 990), 950);
        }
        for number in 8..5000 {
            let client = if number % 2 == 0 {
                "greedy"
            } else {
                "greedier"
            };
            table.bound(number, &descriptor_of(Some("y"), client, "jti", 1000), 950);
            assert!(table.count() <= 64);
        }
        assert!((0..8).all(|number| table.contains(number)));
    }

    #[test]
    fn shares_are_of_tenants_first_and_of_their_clients_then() {
        let mut held = Vec::new();
        for (tenant, client, count) in [(1, 10, 60), (1, 11, 10), (2, 20, 20)] {
            for number in 0..count {
                let key = SessionKey::new(format!("{client}-{number}").as_bytes());
                let ends_at = seconds(1000 + number);
                held.push(Held {
                    key,
                    ends_at,
                    tenant,
                    client,
                });
            }
        }
        let evicted = |count| {
            let client_of: HashMap<_, _> = held.iter().map(|it| (it.key, it.client)).collect();
            let mut by_client = BTreeMap::<_, usize>::new();
            let copy = held.iter().map(|it| Held { ..*it }).collect();
            for key in most_dispensable(copy, count) {
                *by_client.entry(client_of[&key]).or_default() += 1;
            }
            by_client.into_iter().collect::<Vec<_>>()
        };
        // 20 and 20 are left, of which the first tenant's clients have 10 each; then 15 and 15.
        assert_eq!(evicted(50), [(10, 50)]);
        assert_eq!(evicted(60), [(10, 52), (11, 3), (20, 5)]);
    }

    /// What 100,000 live sessions cost: see docs/verifier.md for the command.
    #[tokio::test]
    #[ignore = "it measures"]
    async fn measure_100_000_sessions() {
        const COUNT: usize = 100_000;
        fn resident_kib() -> u64 {
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
                .unwrap_or(0)
        }
        fn timed<T>(what: &str, each_of: usize, run: impl FnOnce() -> T) -> T {
            let began = tokio::time::Instant::now();
            let value = run();
            let took = began.elapsed();
            println!(
                "{what}: {took:?}, {} ns each",
                took.as_nanos() / each_of as u128
            );
            value
        }
        let revoked = Revoked::default();
        let table = Table::new(COUNT, revoked.terms());
        let now = clock::now().as_secs();
        let of = |number: usize, expires_at| {
            let client = format!("client-{}", number % 1000);
            descriptor_of(
                Some("acme"),
                &client,
                &format!("q3VYb2h1S2FmT0l5d-{number}"),
                expires_at,
            )
        };
        let keys: Vec<_> = (0..COUNT).map(key).collect();
        let before = resident_kib();
        for number in 0..COUNT {
            table.bound(number, &of(number, now + 60), now);
        }
        let grown = resident_kib().saturating_sub(before);
        println!(
            "memory: {} bytes each, with descriptor",
            grown * 1024 / COUNT as u64
        );
        let newer: Vec<_> = (0..COUNT).map(|number| of(number, now + 90)).collect();
        timed("touch with a newer descriptor", COUNT, || {
            for (key, newer) in keys.iter().zip(&newer) {
                table.get(key).unwrap().renew(newer, seconds(now)).unwrap();
            }
        });
        timed("touch with the same descriptor", COUNT, || {
            for (key, newer) in keys.iter().zip(&newer) {
                table.get(key).unwrap().renew(newer, seconds(now)).unwrap();
            }
        });
        timed("sweep", COUNT, || table.sweep_all(false, now));
        timed("sweep after a revocation", COUNT, || {
            table.sweep_all(true, now)
        });
        let longest = table.shards.iter().map(|shard| {
            let began = tokio::time::Instant::now();
            table.sweep(shard, true, seconds(now));
            began.elapsed()
        });
        println!("longest hold of a lock in a sweep: {:?}", longest.max());
        let evicting = of(0, now + 90);
        timed(
            "room for a sixteenth in a full table",
            COUNT / ROOM_SHARE,
            || table.bound(COUNT, &evicting, now),
        );

        let leases: Vec<_> = newer
            .iter()
            .map(|newer| Arc::new(Lease::new(&table.terms, Subject::Request, newer)))
            .collect();
        let before = resident_kib();
        let mut waits = JoinSet::new();
        timed("begin to wait for the end, as a task", COUNT, || {
            for lease in &leases {
                waits.spawn(Arc::clone(lease).end(Duration::ZERO));
            }
        });
        for _ in 0..10 {
            yield_now().await;
        }
        let grown = resident_kib().saturating_sub(before);
        println!(
            "memory of an open stream: {} bytes each, as a task",
            grown * 1024 / COUNT as u64
        );
        revoked.name(&newer[0].jti);
        let began = tokio::time::Instant::now();
        waits.join_next().await.unwrap().unwrap();
        println!(
            "a revocation ends its stream among all: {:?}",
            began.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(waits.len(), COUNT - 1);
    }
}
