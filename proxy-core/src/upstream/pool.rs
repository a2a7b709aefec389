//! Connections that wait to be used again: last in, first out, so that the warm ones stay warm and the rest time out.

use alloc::vec::Vec;

use crate::command::ConnId;
use crate::time::Instant;

/// A group's idle connections on this worker.
#[derive(Debug)]
pub(crate) struct Pool {
    keep_max: usize,
    idle: Vec<Vec<Idle>>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Idle {
    conn: ConnId,
    since: Instant,
}

impl Pool {
    /// A pool that keeps at most `keep_max` connections to `servers` servers in all.
    pub(crate) fn new(keep_max: usize, servers: usize) -> Self {
        let mut idle = Vec::new();
        idle.resize_with(servers, Vec::new);
        Self { keep_max, idle, len: 0 }
    }

    /// The connection to `server` that was used last.
    pub(crate) fn take(&mut self, server: usize) -> Option<ConnId> {
        let idle = self.idle.get_mut(server)?.pop()?;
        self.len -= 1;
        Some(idle.conn)
    }

    /// Keeps a connection. Returns the one that must be closed for it: the oldest, or itself where none are kept.
    pub(crate) fn put(&mut self, server: usize, conn: ConnId, now: Instant) -> Option<ConnId> {
        if self.keep_max == 0 {
            return Some(conn);
        }
        let evicted = if self.len >= self.keep_max { self.take_oldest() } else { None };
        let Some(idle) = self.idle.get_mut(server) else { return Some(conn) };
        idle.push(Idle { conn, since: now });
        self.len += 1;
        evicted
    }

    fn take_oldest(&mut self) -> Option<ConnId> {
        let oldest = self.idle.iter_mut().filter(|idle| !idle.is_empty());
        let idle = oldest.min_by_key(|idle| idle.first().map(|first| first.since))?;
        self.len -= 1;
        Some(idle.remove(0).conn)
    }

    /// Forgets a connection that ended while it waited.
    pub(crate) fn remove(&mut self, server: usize, conn: ConnId) {
        let Some(idle) = self.idle.get_mut(server) else { return };
        if let Some(place) = idle.iter().position(|idle| idle.conn == conn) {
            idle.remove(place);
            self.len -= 1;
        }
    }

    /// Takes all connections out, to be closed.
    pub(crate) fn drain(&mut self) -> Vec<ConnId> {
        self.len = 0;
        self.idle.iter_mut().flat_map(core::mem::take).map(|idle| idle.conn).collect()
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Key;

    #[test]
    fn the_warmest_is_used_and_the_oldest_is_closed() {
        let conn = |index| ConnId(Key { index, generation: 0 });
        let at = Instant::from_micros;
        let mut pool = Pool::new(3, 2);
        assert_eq!(
            [pool.put(0, conn(1), at(1)), pool.put(1, conn(2), at(2)), pool.put(0, conn(3), at(3))],
            [None; 3]
        );
        assert_eq!(pool.put(1, conn(4), at(4)), Some(conn(1)));
        assert_eq!((pool.take(1), pool.take(1), pool.take(1)), (Some(conn(4)), Some(conn(2)), None));
        pool.remove(0, conn(3));
        assert_eq!((pool.take(0), pool.len()), (None, 0));
        assert_eq!(Pool::new(0, 1).put(0, conn(9), at(0)), Some(conn(9)));
    }
}
