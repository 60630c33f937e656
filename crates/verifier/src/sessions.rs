//! Which sessions belong to whom, and which have ended.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mcp_connect_descriptor::Descriptor;
use sha2::{Digest, Sha256};

use crate::lease::{Lease, SessionRefusal};

/// How long an ended session is remembered, so that its id keeps being answered with 404.
const REMEMBER_ENDED: Duration = Duration::from_hours(1);
const BETWEEN_SWEEPS: Duration = Duration::from_secs(30);
/// A full table makes room for a sixteenth of itself, so that this isn't done for every session.
const ROOM_SHARE: usize = 16;

/// A session id as it is kept and logged: a hash, since the id itself is a credential and may be
/// of any length.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(crate) struct SessionKey([u8; 16]);

impl SessionKey {
    pub(crate) fn new(session_id: &[u8]) -> Self {
        let mut key = [0; 16];
        for (byte, digest) in key.iter_mut().zip(Sha256::digest(session_id)) {
            *byte = digest;
        }
        Self(key)
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The sessions that the layer has seen begin, or found the server to know.
pub(crate) struct Sessions {
    table: Mutex<Table>,
    capacity: usize,
    tolerance: Duration,
}

#[derive(Default)]
struct Table {
    leases: HashMap<SessionKey, Arc<Lease>>,
    swept_at: Duration,
}

impl Sessions {
    pub(crate) fn new(capacity: usize, tolerance: Duration) -> Self {
        Self {
            table: Mutex::default(),
            capacity,
            tolerance,
        }
    }

    /// The lease of one request that belongs to no known session.
    pub(crate) fn lease(&self, descriptor: &Arc<Descriptor>) -> Arc<Lease> {
        Arc::new(Lease::new(None, descriptor, self.tolerance))
    }

    /// Whether the session began with a descriptor, ended or not.
    pub(crate) fn contains(&self, key: &SessionKey) -> bool {
        self.lock().leases.contains_key(key)
    }

    /// Renews the lease of a session, where it is known.
    pub(crate) fn renew(
        &self,
        key: &SessionKey,
        descriptor: &Arc<Descriptor>,
        now: Duration,
    ) -> Result<Option<Arc<Lease>>, SessionRefusal> {
        let lease = self.lock().leases.get(key).cloned();
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
        descriptor: &Arc<Descriptor>,
        now: Duration,
    ) -> Result<Arc<Lease>, SessionRefusal> {
        let mut table = self.lock();
        table.make_room(self.capacity, now);
        let lease = match table.leases.entry(key) {
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
        self.lock().leases.remove(key);
    }

    /// No code under the lock can leave the table half changed.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// A lease that has ended stays, so that the session's id keeps being refused, until an hour
    /// has passed or there is no room for it.
    fn make_room(&mut self, capacity: usize, now: Duration) {
        let full = self.leases.len() >= capacity;
        if !full && now.saturating_sub(self.swept_at) < BETWEEN_SWEEPS {
            return;
        }
        self.swept_at = now;
        self.leases.retain(|_, lease| {
            if lease.remaining(now).is_none() {
                lease.report_end();
            }
            lease.ends_at() + REMEMBER_ENDED > now
        });
        if self.leases.len() < capacity {
            return;
        }
        let mut by_end: Vec<_> = self
            .leases
            .iter()
            .map(|(key, lease)| (lease.ends_at(), *key))
            .collect();
        let evicted = (self.leases.len() - capacity) + capacity.div_ceil(ROOM_SHARE);
        by_end.sort_unstable_by_key(|(ends_at, _)| *ends_at);
        for (_, key) in by_end.into_iter().take(evicted) {
            self.leases.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use mcp_connect_descriptor::ServerIdentity;

    use super::*;

    const TOLERANCE: u64 = 35;

    fn descriptor(client: &str, expires_at: u64) -> Arc<Descriptor> {
        Arc::new(Descriptor {
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
        })
    }

    fn key(number: usize) -> SessionKey {
        SessionKey::new(&number.to_be_bytes())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn sessions(capacity: usize) -> Sessions {
        Sessions::new(capacity, seconds(TOLERANCE))
    }

    #[test]
    fn a_lease_ends_when_leeway_and_grace_have_passed() {
        let lease = sessions(1).lease(&descriptor("a", 1000));
        assert_eq!(lease.remaining(seconds(1000)), Some(seconds(35)));
        assert_eq!(lease.remaining(seconds(1034)), Some(seconds(1)));
        assert_eq!(lease.remaining(seconds(1035)), None);
        assert_eq!(lease.remaining(seconds(2000)), None);
    }

    #[test]
    fn the_newest_descriptor_counts_in_whatever_order_they_come() {
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

    #[test]
    fn an_ended_session_stays_ended_for_an_hour() {
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
        let _ = sessions.bind(key(2), &fresh, seconds(1035 + 3600 + 30));
        assert!(!sessions.contains(&key(0)));
    }

    #[test]
    fn another_caller_is_refused_even_when_the_session_has_ended() {
        let sessions = sessions(10);
        sessions
            .bind(key(0), &descriptor("a", 1000), seconds(950))
            .unwrap();
        for now in [960, 2000] {
            let renewed = sessions.renew(&key(0), &descriptor("b", 2010), seconds(now));
            assert_eq!(renewed.map(drop), Err(SessionRefusal::AnotherCaller));
        }
    }

    #[test]
    fn forgets_those_nearest_to_their_end_when_it_is_full() {
        let sessions = sessions(32);
        for number in 0..1000 {
            let expires_at = 1000 + number as u64;
            sessions
                .bind(key(number), &descriptor("a", expires_at), seconds(950))
                .unwrap();
            assert!(sessions.lock().leases.len() <= 32);
        }
        assert!(!sessions.contains(&key(0)));
        assert!(sessions.contains(&key(999)) && sessions.contains(&key(999 - 29)));
    }

    #[test]
    fn keys_show_nothing_of_the_session_id() {
        let shown = SessionKey::new(b"secret-session").to_string();
        assert_eq!(shown.len(), 32);
        assert!(shown.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
