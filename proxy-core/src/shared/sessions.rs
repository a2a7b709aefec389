//! `sticky learn`: which server a session belongs to, for all workers.
//!
//! A table lives as long as a configuration names its zone. Sessions are kept under digests of their names, so clients
//! choose nothing about where they land; each shard has a lock that is held for one look-up or one change.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;
use smallvec::SmallVec;
use spin::Mutex;

use crate::time::{Instant, Millis};

/// What `sticky` calls a server.
type Sid = SmallVec<[u8; 32]>;

/// A digest of a session's name.
pub type SessionKey = [u8; 16];

/// How many parts a table has.
const SHARDS: usize = 16;

/// All tables, by the names of their zones.
#[derive(Debug, Default)]
pub struct SessionZones {
    zones: Mutex<BTreeMap<Arc<str>, Arc<Sessions>>>,
}

impl SessionZones {
    /// The table of a zone, made if it is new; an older one goes on with its sessions.
    pub fn adopt(&self, zone: &str, sessions_max: usize, timeout: Millis) -> Arc<Sessions> {
        let mut zones = self.zones.lock();
        if let Some(found) = zones.get(zone)
            && (found.sessions_max, found.timeout) == (sessions_max, timeout)
        {
            return Arc::clone(found);
        }
        let new = Arc::new(Sessions::new(sessions_max, timeout));
        if let Some(old) = zones.insert(zone.into(), Arc::clone(&new)) {
            new.take_over(&old);
        }
        new
    }

    /// Forgets the tables that are not in use any more.
    pub fn retain(&self, in_use: impl Fn(&str) -> bool) {
        self.zones.lock().retain(|zone, _| in_use(zone));
    }
}

/// One table.
#[derive(Debug)]
pub struct Sessions {
    sessions_max: usize,
    timeout: Millis,
    shards: Vec<Mutex<Shard>>,
}

#[derive(Debug, Default)]
struct Shard {
    sessions: HashMap<SessionKey, Session>,
    /// The sessions by their last use.
    by_use: BTreeMap<(Instant, SessionKey), ()>,
}

#[derive(Debug)]
struct Session {
    sid: Sid,
    used: Instant,
}

impl Sessions {
    fn new(sessions_max: usize, timeout: Millis) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { sessions_max, timeout, shards }
    }

    fn take_over(&self, old: &Self) {
        for shard in &old.shards {
            for (key, session) in &shard.lock().sessions {
                self.learn(key, &session.sid, true, session.used);
            }
        }
    }

    /// The server that a session belongs to.
    pub(crate) fn find(&self, key: &SessionKey, now: Instant) -> Option<Sid> {
        let mut shard = self.shard(key)?.lock();
        shard.expire(self.timeout, now);
        shard.sessions.get(key).map(|session| session.sid.clone())
    }

    /// A session was served by this server; where it is a new one, only with `create`. The session that was not used for
    /// the longest time makes room.
    pub(crate) fn learn(&self, key: &SessionKey, sid: &[u8], create: bool, now: Instant) {
        let Some(shard) = self.shard(key) else { return };
        let mut shard = shard.lock();
        shard.expire(self.timeout, now);
        if !create && !shard.sessions.contains_key(key) {
            return;
        }
        if let Some(old) = shard.sessions.insert(*key, Session { sid: sid.into(), used: now }) {
            shard.by_use.remove(&(old.used, *key));
        }
        shard.by_use.insert((now, *key), ());
        if shard.sessions.len() > self.sessions_max.div_ceil(SHARDS) {
            shard.drop_oldest();
        }
    }

    fn shard(&self, key: &SessionKey) -> Option<&Mutex<Shard>> {
        self.shards.get(usize::from(*key.first()?) % SHARDS)
    }
}

impl Shard {
    /// Forgets what was not used for long: a few at a time, more than can come in.
    fn expire(&mut self, timeout: Millis, now: Instant) {
        for _ in 0..EXPIRE_MAX {
            match self.by_use.first_key_value() {
                Some(((used, _), ())) if now > *used + timeout => self.drop_oldest(),
                Some(_) | None => return,
            }
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(((_, key), ())) = self.by_use.pop_first() {
            self.sessions.remove(&key);
        }
    }
}

/// How many sessions are forgotten in one go.
const EXPIRE_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::fixture::at;

    #[test]
    fn sessions_are_learnt_used_and_forgotten() {
        let zones = SessionZones::default();
        let table = zones.adopt("z", 1600, Millis::from_secs(10));
        let key = |n: u8| [0, n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        table.learn(&key(1), b"a", false, at(1));
        assert!(table.find(&key(1), at(1)).is_none(), "nobody said that it is one");
        table.learn(&key(1), b"a", true, at(1));
        table.learn(&key(1), b"b", false, at(5));
        let again = zones.adopt("z", 1600, Millis::from_secs(10));
        assert_eq!(again.find(&key(1), at(15)).as_deref(), Some(b"b".as_slice()));
        assert!(again.find(&key(1), at(16)).is_none());
        // The table is full: the oldest goes.
        (0..=100).for_each(|n| table.learn(&key(n), b"a", true, at(20)));
        assert!(table.find(&key(0), at(20)).is_none() && table.find(&key(100), at(20)).is_some());
        let larger = zones.adopt("z", 3200, Millis::from_secs(10));
        assert!(larger.find(&key(50), at(21)).is_some());
    }
}
