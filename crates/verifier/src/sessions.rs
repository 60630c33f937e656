//! Which sessions belong to whom, and which have ended.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, task::JoinSet, time::sleep};

use crate::{
    clock,
    lease::{Lease, SessionRefusal},
    session_key::SessionKey,
    verified::Signed,
};

/// How long an ended session is remembered, so that its id keeps being answered with 404.
const REMEMBER_ENDED: Duration = Duration::from_hours(1);
const BETWEEN_SWEEPS: Duration = Duration::from_secs(30);
/// A full table makes room for a sixteenth of itself, so that this isn't done for every session.
const ROOM_SHARE: usize = 16;

/// The sessions that the layer has seen begin, or found the server to know.
pub(crate) struct Sessions {
    table: Arc<Table>,
    capacity: usize,
    tolerance: Duration,
    /// Aborted when it is dropped.
    _sweeper: JoinSet<()>,
}

#[derive(Default)]
struct Table(Mutex<HashMap<SessionKey, Arc<Lease>>>);

impl Sessions {
    /// Reports and forgets sessions in the background, for as long as it is there.
    pub(crate) fn start(runtime: &Handle, capacity: usize, tolerance: Duration) -> Self {
        let table = Arc::<Table>::default();
        let mut sweeper = JoinSet::new();
        let swept = Arc::clone(&table);
        sweeper.spawn_on(
            async move {
                loop {
                    sleep(BETWEEN_SWEEPS).await;
                    sweep(&mut swept.lock(), clock::now());
                }
            },
            runtime,
        );
        Self {
            table,
            capacity,
            tolerance,
            _sweeper: sweeper,
        }
    }

    /// The lease of one request that belongs to no known session.
    pub(crate) fn lease(&self, descriptor: &Arc<Signed>) -> Arc<Lease> {
        Arc::new(Lease::new(None, descriptor, self.tolerance))
    }

    /// Whether the session began with a descriptor, ended or not.
    pub(crate) fn contains(&self, key: &SessionKey) -> bool {
        self.table.lock().contains_key(key)
    }

    /// Renews the lease of a session, where it is known.
    pub(crate) fn renew(
        &self,
        key: &SessionKey,
        descriptor: &Arc<Signed>,
        now: Duration,
    ) -> Result<Option<Arc<Lease>>, SessionRefusal> {
        let lease = self.table.lock().get(key).cloned();
        if let Some(lease) = &lease {
            lease.renew(descriptor, now)?;
        }
        Ok(lease)
    }

    /// Binds a session to the caller of a descriptor. Another request may have been first: then it
    /// is as if the session had been known.
    pub(crate) fn bind(
        &self,
        key: SessionKey,
        descriptor: &Arc<Signed>,
        now: Duration,
    ) -> Result<Arc<Lease>, SessionRefusal> {
        let mut table = self.table.lock();
        if table.len() >= self.capacity {
            make_room(&mut table, self.capacity, now);
        }
        let lease = match table.entry(key) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => {
                let lease = Lease::new(Some(key), descriptor, self.tolerance);
                return Ok(Arc::clone(entry.insert(Arc::new(lease))));
            }
        };
        drop(table);
        lease.renew(descriptor, now)?;
        Ok(lease)
    }

    /// Forgets a session that the server has ended itself.
    pub(crate) fn remove(&self, key: &SessionKey) {
        self.table.lock().remove(key);
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl Table {
    /// No code under the lock can leave the table half changed.
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Arc<Lease>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reports the leases that have ended. They stay, so that the session's id keeps being refused,
/// until an hour has passed or there is no room for them.
fn sweep(leases: &mut HashMap<SessionKey, Arc<Lease>>, now: Duration) {
    leases.retain(|_, lease| {
        if lease.remaining(now).is_none() {
            lease.report_end();
        }
        lease.ends_at() + REMEMBER_ENDED > now
    });
}

fn make_room(leases: &mut HashMap<SessionKey, Arc<Lease>>, capacity: usize, now: Duration) {
    sweep(leases, now);
    if leases.len() < capacity {
        return;
    }
    let mut by_end: Vec<_> = leases
        .iter()
        .map(|(key, lease)| (lease.ends_at(), *key))
        .collect();
    let evicted = (leases.len() - capacity) + capacity.div_ceil(ROOM_SHARE);
    by_end.sort_unstable_by_key(|(ends_at, _)| *ends_at);
    for (_, key) in by_end.into_iter().take(evicted) {
        leases.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use mcp_connect_descriptor::{Descriptor, ServerIdentity};

    use super::*;

    const TOLERANCE: u64 = 35;

    fn descriptor(client: &str, expires_at: u64) -> Arc<Signed> {
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
            jti: "jti".into(),
            client_id: Some(client.into()),
            tenant_id: None,
            confirmation: None,
        };
        Arc::new(Signed {
            descriptor,
            key_id: "kid".into(),
        })
    }

    fn key(number: usize) -> SessionKey {
        SessionKey::new(&number.to_be_bytes())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn sessions(capacity: usize) -> Sessions {
        Sessions::start(&Handle::current(), capacity, seconds(TOLERANCE))
    }

    #[tokio::test]
    async fn a_lease_ends_when_leeway_and_grace_have_passed() {
        let lease = sessions(1).lease(&descriptor("a", 1000));
        assert_eq!(lease.remaining(seconds(1000)), Some(seconds(35)));
        assert_eq!(lease.remaining(seconds(1034)), Some(seconds(1)));
        assert_eq!(lease.remaining(seconds(1035)), None);
        assert_eq!(lease.remaining(seconds(2000)), None);
    }

    #[tokio::test]
    async fn the_newest_descriptor_counts_in_whatever_order_they_come() {
        let sessions = sessions(1);
        let lease = sessions
            .bind(key(0), &descriptor("a", 1000), seconds(950))
            .unwrap();
        for expires_at in [1060, 1030] {
            sessions
                .renew(&key(0), &descriptor("a", expires_at), seconds(990))
                .unwrap()
                .unwrap();
        }
        assert_eq!(lease.remaining(seconds(1060)), Some(seconds(35)));
    }

    #[tokio::test]
    async fn an_ended_session_stays_ended_for_an_hour() {
        let sessions = sessions(10);
        let fresh = descriptor("a", 5000);
        sessions
            .bind(key(0), &descriptor("a", 1000), seconds(950))
            .unwrap();
        for now in [1035, 1035 + 3599] {
            sessions.bind(key(1), &fresh, seconds(now)).unwrap();
            let renewed = sessions.renew(&key(0), &fresh, seconds(now)).map(drop);
            assert_eq!(renewed, Err(SessionRefusal::Ended));
            let bound = sessions.bind(key(0), &fresh, seconds(now)).map(drop);
            assert_eq!(bound, Err(SessionRefusal::Ended));
        }
        sweep(&mut sessions.table.lock(), seconds(1035 + 3599));
        assert!(sessions.contains(&key(0)));
        sweep(&mut sessions.table.lock(), seconds(1035 + 3600));
        assert!(!sessions.contains(&key(0)));
    }

    #[tokio::test]
    async fn another_caller_is_refused_even_when_the_session_has_ended() {
        let sessions = sessions(10);
        sessions
            .bind(key(0), &descriptor("a", 1000), seconds(950))
            .unwrap();
        for now in [960, 2000] {
            let renewed = sessions.renew(&key(0), &descriptor("b", 2010), seconds(now));
            assert_eq!(renewed.map(drop), Err(SessionRefusal::AnotherCaller));
        }
    }

    #[tokio::test]
    async fn forgets_those_nearest_to_their_end_when_it_is_full() {
        let sessions = sessions(32);
        for number in 0..1000 {
            let expires_at = 1000 + number as u64;
            sessions
                .bind(key(number), &descriptor("a", expires_at), seconds(950))
                .unwrap();
            assert!(sessions.table.lock().len() <= 32);
        }
        assert!(!sessions.contains(&key(0)));
        assert!(sessions.contains(&key(999)) && sessions.contains(&key(999 - 29)));
    }
}
