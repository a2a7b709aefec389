//! Connections that wait to be used again: last in, first out, so that the warm ones stay warm and the rest time out.
//!
//! A connection is only given to who wants it made as it was: a plain one, or with this identity of TLS.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::ConnId;
use crate::tls::client::Identity;

/// A group's idle connections on this worker.
#[derive(Debug)]
pub(crate) struct Pool {
    keep_max: usize,
    idle: Vec<Vec<Idle>>,
    /// All that were put in, the oldest first; those that were taken out since are stepped over.
    order: VecDeque<(u64, usize)>,
    /// Numbers the connections as they come.
    next: u64,
    len: usize,
}

#[derive(Debug)]
struct Idle {
    conn: ConnId,
    number: u64,
    identity: Option<Arc<Identity>>,
}

/// How many entries of the order may be out of date, besides as many as there are connections.
const SLACK: usize = 64;

impl Pool {
    /// A pool that keeps at most `keep_max` connections in all.
    pub(crate) const fn new(keep_max: usize) -> Self {
        Self { keep_max, idle: Vec::new(), order: VecDeque::new(), next: 0, len: 0 }
    }

    /// There are so many servers.
    pub(crate) fn grow(&mut self, servers: usize) {
        if self.idle.len() < servers {
            self.idle.resize_with(servers, Vec::new);
        }
    }

    /// Keeps at most so many from now on. Returns those that are too many.
    pub(crate) fn resize(&mut self, keep_max: usize) -> Vec<ConnId> {
        self.keep_max = keep_max;
        let surplus = self.len.saturating_sub(keep_max);
        (0..surplus).filter_map(|_| self.take_oldest()).collect()
    }

    /// The connection to `server` that was used last, of those with this identity.
    pub(crate) fn take(&mut self, server: usize, identity: Option<&Arc<Identity>>) -> Option<ConnId> {
        let waiting = self.idle.get_mut(server)?;
        let place = waiting.iter().rposition(|idle| idle.identity.as_ref() == identity)?;
        self.len -= 1;
        Some(waiting.remove(place).conn)
    }

    /// Keeps a connection. Returns the one that must be closed for it: the oldest, or itself where none are kept.
    pub(crate) fn put(
        &mut self,
        server: usize,
        conn: ConnId,
        identity: Option<Arc<Identity>>,
    ) -> Option<ConnId> {
        if self.keep_max == 0 {
            return Some(conn);
        }
        let evicted = if self.len >= self.keep_max { self.take_oldest() } else { None };
        let Some(idle) = self.idle.get_mut(server) else { return Some(conn) };
        self.next += 1;
        idle.push(Idle { conn, number: self.next, identity });
        self.order.push_back((self.next, server));
        self.len += 1;
        self.tidy();
        evicted
    }

    fn take_oldest(&mut self) -> Option<ConnId> {
        while let Some((number, server)) = self.order.pop_front() {
            let Some(idle) = self.idle.get_mut(server) else { continue };
            // The oldest of all is the oldest of its server.
            if idle.first().is_some_and(|first| first.number == number) {
                self.len -= 1;
                return Some(idle.remove(0).conn);
            }
        }
        None
    }

    /// Forgets a connection that ended while it waited.
    pub(crate) fn remove(&mut self, server: usize, conn: ConnId) {
        let Some(idle) = self.idle.get_mut(server) else { return };
        if let Some(place) = idle.iter().position(|idle| idle.conn == conn) {
            idle.remove(place);
            self.len -= 1;
        }
    }

    /// Takes all connections to a server out, to be closed.
    pub(crate) fn drain_server(&mut self, server: usize) -> Vec<ConnId> {
        let idle = self.idle.get_mut(server).map(core::mem::take).unwrap_or_default();
        self.len -= idle.len();
        idle.into_iter().map(|idle| idle.conn).collect()
    }

    /// Takes all connections out, to be closed.
    pub(crate) fn drain(&mut self) -> Vec<ConnId> {
        self.len = 0;
        self.order.clear();
        self.idle.iter_mut().flat_map(core::mem::take).map(|idle| idle.conn).collect()
    }

    /// Drops entries of the order whose connections were taken, once they are many.
    fn tidy(&mut self) {
        if self.order.len() <= 2 * self.len + SLACK {
            return;
        }
        let idle = &self.idle;
        self.order.retain(|(number, server)| {
            let waits = idle.get(*server);
            waits.is_some_and(|idle| idle.binary_search_by_key(number, |idle| idle.number).is_ok())
        });
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
        let mut pool = Pool::new(3);
        pool.grow(2);
        assert_eq!(
            [pool.put(0, conn(1), None), pool.put(1, conn(2), None), pool.put(0, conn(3), None)],
            [None; 3]
        );
        assert_eq!(pool.put(1, conn(4), None), Some(conn(1)));
        assert_eq!(
            (pool.take(1, None), pool.take(1, None), pool.take(1, None)),
            (Some(conn(4)), Some(conn(2)), None)
        );
        pool.remove(0, conn(3));
        assert_eq!((pool.take(0, None), pool.len()), (None, 0));
        assert_eq!(Pool::new(0).put(0, conn(9), None), Some(conn(9)));
    }

    #[test]
    fn the_order_stays_short_and_right_when_connections_come_and_go() {
        let conn = |index| ConnId(Key { index, generation: 0 });
        let mut pool = Pool::new(4);
        pool.grow(3);
        pool.put(0, conn(1), None);
        for n in 0..10_000 {
            pool.put(1 + n as usize % 2, conn(2 + n), None);
            assert_eq!(pool.take(1 + n as usize % 2, None), Some(conn(2 + n)));
        }
        assert!(pool.order.len() <= 2 + SLACK, "{}", pool.order.len());
        pool.put(2, conn(90_000), None);
        assert_eq!(pool.resize(1), [conn(1)]);
        assert_eq!(pool.drain_server(2), [conn(90_000)]);
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn nobody_gets_a_connection_that_was_made_for_another_identity() {
        let conn = |index| ConnId(Key { index, generation: 0 });
        let identity = |name: &[u8]| Some(Arc::new(Identity::of_tests(name)));
        let mut pool = Pool::new(8);
        pool.grow(1);
        let [a, b] = [identity(b"a"), identity(b"b")];
        for (index, identity) in [(1, &a), (2, &b), (3, &None), (4, &a)] {
            assert_eq!(pool.put(0, conn(index), identity.clone()), None);
        }
        assert_eq!(pool.take(0, identity(b"c").as_ref()), None);
        assert_eq!([pool.take(0, None), pool.take(0, None)], [Some(conn(3)), None]);
        assert_eq!(pool.take(0, identity(b"b").as_ref()), Some(conn(2)));
        assert_eq!([(); 3].map(|()| pool.take(0, a.as_ref())), [Some(conn(4)), Some(conn(1)), None]);
        assert_eq!(pool.len(), 0);
    }
}
