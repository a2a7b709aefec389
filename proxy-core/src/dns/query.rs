//! One question on its way.

use alloc::vec::Vec;

use super::{Failure, Question};
use crate::slab::Key;
use crate::time::{Instant, Millis};

/// How long one name server is waited for before another one is asked, or the same one again; nginx's
/// `resend_timeout`, and its `tcp_timeout`.
pub(super) const RESEND_TIMEOUT: Millis = Millis::from_secs(5);
/// How many tries of a question stay open for a late answer.
pub(super) const WIRES_MAX: usize = 3;
/// The longest message of a stream, with its length in front, in bytes (RFC 1035, 4.2.2).
const STREAM_BYTES_MAX: usize = 2 + u16::MAX as usize;

/// A question that was asked and not answered yet.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) question: Question,
    /// The lookups that wait for it.
    pub(super) waiters: Vec<Key>,
    /// The tries, the oldest first.
    pub(super) wires: Vec<Key>,
    /// The name server of the last try.
    pub(super) server: usize,
    /// An answer did not fit a datagram.
    pub(super) tcp: bool,
    /// How many name servers failed in this round.
    pub(super) misses: usize,
    /// What the first of them said, of those that said something.
    pub(super) failure: Option<Failure>,
    /// When the next one is asked.
    pub(super) resend_at: Instant,
}

/// One try: a socket connected to a name server.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) query: Key,
    pub(super) server: usize,
    /// The id of its message.
    pub(super) id: u16,
    pub(super) tcp: bool,
    pub(super) opened: bool,
    /// The beginning of a stream's message.
    inbox: Vec<u8>,
}

/// What a stream has brought.
pub(super) enum Gathered {
    /// A whole message.
    Message(Vec<u8>),
    /// Not all of it yet.
    Partial,
}

impl Wire {
    pub(super) const fn new(query: Key, server: usize, id: u16, tcp: bool) -> Self {
        Self { query, server, id, tcp, opened: false, inbox: Vec::new() }
    }

    /// The bytes to send for `message`.
    pub(super) fn frame(&self, message: Vec<u8>) -> Vec<u8> {
        if !self.tcp {
            return message;
        }
        let len = u16::try_from(message.len()).unwrap_or(u16::MAX);
        [&len.to_be_bytes(), &*message].concat()
    }

    /// Takes what came. What follows the one message that was asked for is of no interest.
    pub(super) fn gather(&mut self, bytes: &[u8]) -> Gathered {
        if !self.tcp {
            return Gathered::Message(bytes.to_vec());
        }
        let room = STREAM_BYTES_MAX.saturating_sub(self.inbox.len());
        self.inbox.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let Some((len, rest)) = self.inbox.split_first_chunk::<2>() else { return Gathered::Partial };
        match rest.get(..usize::from(u16::from_be_bytes(*len))) {
            Some(message) => Gathered::Message(message.to_vec()),
            None => Gathered::Partial,
        }
    }
}
