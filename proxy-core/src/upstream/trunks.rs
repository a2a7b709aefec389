//! A group's HTTP/2 connections on this worker: those with room for one more stream, and those that carry none.
//!
//! A request gets the connection that was listed last, so that a few are busy and the others come to their timeout.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::pool::Pool;
use crate::command::ConnId;
use crate::tls::client::Identity;

/// One that has room, and under what it was made, where that was with TLS.
type Room = (ConnId, Option<Arc<Identity>>);

/// A group's HTTP/2 connections.
#[derive(Debug)]
pub(crate) struct Trunks {
    /// Those with room, by server.
    room: Vec<Vec<Room>>,
    /// Those without a stream, which `keepalive` bounds.
    idle: Pool,
}

impl Trunks {
    /// Keeps at most so many that carry nothing.
    pub(crate) const fn new(keep_max: usize) -> Self {
        Self { room: Vec::new(), idle: Pool::new(keep_max) }
    }

    /// There are so many servers.
    pub(crate) fn grow(&mut self, servers: usize) {
        if self.room.len() < servers {
            self.room.resize_with(servers, Vec::new);
        }
        self.idle.grow(servers);
    }

    /// Keeps at most so many idle ones from now on. Returns those that are too many.
    pub(crate) fn resize(&mut self, keep_max: usize) -> Vec<ConnId> {
        self.idle.resize(keep_max)
    }

    /// One with room that was made under the same.
    pub(crate) fn find(&self, server: usize, identity: Option<&Arc<Identity>>) -> Option<ConnId> {
        let mut room = self.room.get(server)?.iter().rev();
        room.find(|(_, made)| made.as_ref() == identity).map(|(trunk, _)| *trunk)
    }

    /// It has room.
    pub(crate) fn list(&mut self, server: usize, trunk: ConnId, identity: Option<Arc<Identity>>) {
        if let Some(room) = self.room.get_mut(server) {
            debug_assert!(room.iter().all(|(other, _)| *other != trunk));
            room.push((trunk, identity));
        }
    }

    /// It has no room any more.
    pub(crate) fn unlist(&mut self, server: usize, trunk: ConnId) {
        if let Some(room) = self.room.get_mut(server)
            && let Some(place) = room.iter().rposition(|(other, _)| *other == trunk)
        {
            room.remove(place);
        }
    }

    /// It carries nothing. Returns the one to close for it.
    pub(crate) fn rest(&mut self, server: usize, trunk: ConnId) -> Option<ConnId> {
        self.idle.put(server, trunk, None)
    }

    /// It carries something again.
    pub(crate) fn work(&mut self, server: usize, trunk: ConnId) {
        self.idle.remove(server, trunk);
    }

    /// Takes all to a server out.
    pub(crate) fn drain_server(&mut self, server: usize) -> Vec<ConnId> {
        // Who carries nothing has room, and is among these.
        self.idle.drain_server(server);
        let room = self.room.get_mut(server).map(core::mem::take).unwrap_or_default();
        room.into_iter().map(|(trunk, _)| trunk).collect()
    }

    /// Takes all out.
    pub(crate) fn drain(&mut self) -> Vec<ConnId> {
        self.idle.drain();
        self.room.iter_mut().flat_map(core::mem::take).map(|(trunk, _)| trunk).collect()
    }
}
