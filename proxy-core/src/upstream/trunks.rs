//! A group's HTTP/2 connections on this worker: those with room for one more stream, and those that carry none.
//!
//! A request gets the connection that was listed last, so that a few are busy and the others come to their timeout.

use alloc::vec::Vec;

use super::pool::Pool;
use crate::command::ConnId;

/// A group's HTTP/2 connections.
#[derive(Debug)]
pub(crate) struct Trunks {
    /// Those with room, by server.
    room: Vec<Vec<ConnId>>,
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

    /// One with room.
    pub(crate) fn find(&self, server: usize) -> Option<ConnId> {
        self.room.get(server)?.last().copied()
    }

    /// It has room.
    pub(crate) fn list(&mut self, server: usize, trunk: ConnId) {
        if let Some(room) = self.room.get_mut(server) {
            debug_assert!(!room.contains(&trunk));
            room.push(trunk);
        }
    }

    /// It has no room any more.
    pub(crate) fn unlist(&mut self, server: usize, trunk: ConnId) {
        if let Some(room) = self.room.get_mut(server)
            && let Some(place) = room.iter().rposition(|other| *other == trunk)
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
        self.room.get_mut(server).map(core::mem::take).unwrap_or_default()
    }

    /// Takes all out.
    pub(crate) fn drain(&mut self) -> Vec<ConnId> {
        self.idle.drain();
        self.room.iter_mut().flat_map(core::mem::take).collect()
    }
}
