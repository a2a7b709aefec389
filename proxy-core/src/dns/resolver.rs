//! The machine: lookups in, wires to name servers out, answers back.
//!
//! Inputs are [`Resolver::lookup`] and the `handle_` functions; after each of them take all [`Action`]s and ask for the
//! next deadline. Whoever drives it opens a socket for each wire, sends and receives on it, and closes it when told.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::cache::Cache;
use super::lookup::{Lookup, Outcome, Survey};
use super::message::{decode, encode};
use super::query::{Gathered, Query, RESEND_TIMEOUT, WIRES_MAX, Wire};
use super::{Answer, Failure, Kind, Question, Resolved, Secret, Subject};
use crate::command::{IoError, ResolveId};
use crate::config;
use crate::slab::{Key, Slab};
use crate::time::{Instant, Millis};

/// How many questions may be on their way at the same time.
pub const QUERIES_MAX: usize = 1024;
/// How many lookups may wait at the same time.
pub const LOOKUPS_MAX: usize = 2048;
/// How long the second family of addresses is waited for when the first is there.
const PATIENCE: Millis = Millis::from_secs(2);

/// A try to ask a name server: a socket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WireId(pub Key);

/// What the machine wants done.
#[derive(Debug)]
pub enum Action {
    /// Connect a socket to a name server.
    Open {
        /// The wire.
        wire: WireId,
        /// Where to.
        address: SocketAddr,
        /// UDP, or TCP.
        datagram: bool,
    },
    /// Send on an open wire, and receive from then on until it is closed.
    Send {
        /// The wire.
        wire: WireId,
        /// A datagram, or the stream's bytes.
        bytes: Vec<u8>,
    },
    /// Close a wire.
    Close {
        /// The wire.
        wire: WireId,
    },
    /// A lookup has ended.
    Answer {
        /// Which one.
        id: ResolveId,
        /// What was found.
        result: Result<Resolved, Failure>,
    },
    /// A name server cannot be reached: a line for the error log.
    Log {
        /// The line.
        message: String,
    },
}

/// A resolver's state.
pub struct Resolver {
    settings: Arc<config::Resolver>,
    secret: Secret,
    /// The name server that the next question begins with.
    next_server: usize,
    cache: Cache,
    lookups: Slab<Lookup>,
    queries: Slab<Query>,
    asked: BTreeMap<Question, Key>,
    wires: Slab<Wire>,
    actions: VecDeque<Action>,
}

impl Resolver {
    /// A resolver that knows nothing yet.
    #[must_use]
    pub fn new(settings: Arc<config::Resolver>, secret: Secret) -> Self {
        Self {
            settings,
            secret,
            next_server: 0,
            cache: Cache::default(),
            lookups: Slab::default(),
            queries: Slab::default(),
            asked: BTreeMap::new(),
            wires: Slab::default(),
            actions: VecDeque::new(),
        }
    }

    /// What the configuration says.
    #[must_use]
    pub const fn settings(&self) -> &Arc<config::Resolver> {
        &self.settings
    }

    /// Looks something up. The result, where it is known at once; otherwise it comes as an [`Action::Answer`], after
    /// `timeout` at the latest.
    pub fn lookup(
        &mut self,
        id: ResolveId,
        subject: Subject,
        timeout: Millis,
        now: Instant,
    ) -> Option<Result<Resolved, Failure>> {
        let patient_until = Some(now + PATIENCE);
        let lookup = Lookup { id, subject, until: now + timeout, patient_until, parts: BTreeMap::new() };
        if self.lookups.len() >= LOOKUPS_MAX || self.settings.servers.is_empty() {
            return Some(Err(Failure::SERVER));
        }
        let key = self.lookups.insert(lookup);
        self.advance(key, now)
    }

    /// Works a lookup out again and asks what is not known. Removes it if it is done.
    fn advance(&mut self, key: Key, now: Instant) -> Option<Result<Resolved, Failure>> {
        loop {
            let lookup = self.lookups.get(key)?;
            let families = families(&self.settings);
            let late = now >= lookup.until;
            let ask = |question: &Question| {
                let known = lookup.parts.get(question).cloned();
                let known = known.or_else(|| self.cache.find(question, now).cloned().map(Ok));
                known.or(late.then_some(Err(Failure::TIMED_OUT)))
            };
            let mut survey = Survey::new(&ask, families, lookup.patient_until.is_none());
            let result = survey.work_out(&lookup.subject, now);
            let open = core::mem::take(&mut survey.open);
            if result.is_some() {
                self.lookups.remove(key);
                return result;
            }
            debug_assert!(!open.is_empty() && !late);
            if open.into_iter().all(|question| self.ask(key, question, now)) {
                return None;
            }
        }
    }

    /// A lookup needs an answer. False where the question cannot be asked, which is its answer then.
    fn ask(&mut self, lookup: Key, question: Question, now: Instant) -> bool {
        if let Some(query) = self.asked.get(&question).and_then(|key| self.queries.get_mut(*key)) {
            if !query.waiters.contains(&lookup) {
                query.waiters.push(lookup);
            }
            return true;
        }
        if self.queries.len() >= QUERIES_MAX {
            if let Some(lookup) = self.lookups.get_mut(lookup) {
                lookup.parts.insert(question, Err(Failure::SERVER));
            }
            return false;
        }
        let server = self.next_server;
        self.next_server = (server + 1) % self.settings.servers.len().max(1);
        let key = self.queries.insert(Query {
            question: question.clone(),
            waiters: alloc::vec![lookup],
            wires: Vec::new(),
            server,
            tcp: false,
            misses: 0,
            failure: None,
            resend_at: now + RESEND_TIMEOUT,
        });
        self.asked.insert(question, key);
        self.open_wire(key, now);
        true
    }

    /// Asks the query's name server.
    fn open_wire(&mut self, key: Key, now: Instant) {
        let Some(query) = self.queries.get_mut(key) else { return };
        let Some(address) = self.settings.servers.get(query.server).copied() else { return };
        let wire = self.wires.insert(Wire::new(key, query.server, self.secret.id(), query.tcp));
        query.wires.push(wire);
        query.resend_at = now + RESEND_TIMEOUT;
        let oldest = (query.wires.len() > WIRES_MAX).then(|| query.wires.first().copied()).flatten();
        self.actions.push_back(Action::Open { wire: WireId(wire), address, datagram: !query.tcp });
        if let Some(oldest) = oldest {
            self.close_wire(oldest);
        }
    }

    fn close_wire(&mut self, key: Key) {
        let Some(wire) = self.wires.remove(key) else { return };
        if let Some(query) = self.queries.get_mut(wire.query) {
            query.wires.retain(|other| *other != key);
        }
        self.actions.push_back(Action::Close { wire: WireId(key) });
    }

    /// A wire's socket is connected.
    pub fn handle_opened(&mut self, wire: WireId) {
        let Some(open) = self.wires.get_mut(wire.0) else { return };
        let Some(query) = self.queries.get(open.query) else { return };
        open.opened = true;
        let bytes = open.frame(encode(&query.question, open.id));
        self.actions.push_back(Action::Send { wire, bytes });
    }

    /// A wire cannot be opened, has ended or does not work any more.
    pub fn handle_failed(&mut self, wire: WireId, doing: &str, error: Option<IoError>, now: Instant) {
        let Some(failed) = self.wires.get(wire.0) else { return };
        let (query, server) = (failed.query, failed.server);
        if let (Some(error), Some(address)) = (error, self.settings.servers.get(server)) {
            let message = format!("{doing} failed ({error}) while resolving, resolver: {address}");
            self.actions.push_back(Action::Log { message });
        }
        self.close_wire(wire.0);
        self.ask_next(query, None, now);
    }

    /// A datagram came, or bytes of a stream.
    pub fn handle_received(&mut self, wire: WireId, bytes: &[u8], now: Instant) {
        let Some(open) = self.wires.get_mut(wire.0) else { return };
        let Gathered::Message(message) = open.gather(bytes) else { return };
        let (key, id, tcp) = (open.query, open.id, open.tcp);
        let Some(query) = self.queries.get_mut(key) else { return };
        match decode(&message, id, &query.question) {
            // Whoever sent it, it is not the answer; that may still come.
            None if !tcp => {}
            None => self.handle_failed(wire, "", None, now),
            Some(Answer::Truncated) if !tcp => {
                query.tcp = true;
                query.server = self.wires.get(wire.0).map_or(query.server, |wire| wire.server);
                self.close_wire(wire.0);
                self.open_wire(key, now);
            }
            Some(Answer::Truncated) => self.refused(wire, key, Failure::SERVER, now),
            Some(Answer::Failed(failure)) => self.refused(wire, key, failure, now),
            Some(answer) => {
                let known = self.cache.keep(&query.question, answer, self.settings.valid, now);
                self.finish(key, &Ok(known), now);
            }
        }
    }

    /// A name server does not help.
    fn refused(&mut self, wire: WireId, query: Key, failure: Failure, now: Instant) {
        self.close_wire(wire.0);
        self.ask_next(query, Some(failure), now);
    }

    /// Asks the next name server. Where all have failed, that is the outcome; where none has said anything, they are
    /// asked again in a while.
    fn ask_next(&mut self, key: Key, failure: Option<Failure>, now: Instant) {
        let servers = self.settings.servers.len();
        let Some(query) = self.queries.get_mut(key) else { return };
        query.failure = query.failure.or(failure);
        query.misses += 1;
        if query.misses < servers {
            query.server = (query.server + 1) % servers;
            return self.open_wire(key, now);
        }
        query.misses = 0;
        if let Some(failure) = query.failure.filter(|_| query.wires.is_empty()) {
            self.finish(key, &Err(failure), now);
        }
    }

    /// A question has its outcome.
    fn finish(&mut self, key: Key, outcome: &Outcome, now: Instant) {
        let Some(query) = self.queries.remove(key) else { return };
        self.asked.remove(&query.question);
        query.wires.iter().for_each(|wire| self.close_wire(*wire));
        for waiter in query.waiters {
            if let Some(lookup) = self.lookups.get_mut(waiter) {
                lookup.parts.insert(query.question.clone(), outcome.clone());
                self.advance_and_tell(waiter, now);
            }
        }
    }

    fn advance_and_tell(&mut self, key: Key, now: Instant) {
        let Some(id) = self.lookups.get(key).map(|lookup| lookup.id) else { return };
        if let Some(result) = self.advance(key, now) {
            self.actions.push_back(Action::Answer { id, result });
        }
    }

    /// The deadline that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        for key in self.lookups.keys() {
            let Some(lookup) = self.lookups.get_mut(key) else { continue };
            let late = now >= lookup.until;
            let hasty = lookup.patient_until.take_if(|at| now >= *at).is_some();
            if late || hasty {
                self.advance_and_tell(key, now);
            }
        }
        let servers = self.settings.servers.len().max(1);
        for key in self.queries.keys() {
            let Some(query) = self.queries.get_mut(key) else { continue };
            if !query.waiters.iter().any(|waiter| self.lookups.get(*waiter).is_some()) {
                self.finish(key, &Err(Failure::TIMED_OUT), now);
            } else if now >= query.resend_at {
                query.server = (query.server + 1) % servers;
                query.misses = 0;
                self.open_wire(key, now);
            }
        }
    }

    /// The next deadline.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lookups = self.lookups.iter().map(|(_, lookup)| lookup.patient_until.unwrap_or(lookup.until));
        let lookups = lookups.min();
        let queries = self.queries.iter().map(|(_, query)| query.resend_at).min();
        lookups.into_iter().chain(queries).min()
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Gives everything up that is on its way; nobody is told.
    pub fn stop(&mut self) {
        self.lookups = Slab::default();
        for key in self.queries.keys() {
            self.queries.remove(key);
        }
        self.asked.clear();
        for key in self.wires.keys() {
            self.close_wire(key);
        }
    }

    /// Whether nothing is on its way.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.lookups.is_empty() && self.queries.is_empty() && self.wires.is_empty()
    }
}

impl core::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Resolver")
            .field("settings", &self.settings)
            .field("answers", &self.cache.len())
            .field("queries", &self.queries.len())
            .finish_non_exhaustive()
    }
}

/// IPv4 first, as nginx has it where the name servers say nothing else.
const fn families(settings: &config::Resolver) -> &'static [Kind] {
    match (settings.ipv4, settings.ipv6) {
        (true, true) => &[Kind::A, Kind::Aaaa],
        (true, false) => &[Kind::A],
        (false, true) => &[Kind::Aaaa],
        (false, false) => &[],
    }
}
