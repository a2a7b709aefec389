//! One group's servers and their state on this worker.

use alloc::boxed::Box;
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::pool::Pool;
use super::round_robin;
use crate::command::{Address, ConnId};
use crate::config::{Upstream, UpstreamServer};
use crate::time::{Instant, Millis};

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    /// What stands in logs where no server could be chosen.
    pub(crate) name: Box<str>,
    pub(crate) servers: Vec<Server>,
    /// Connections that wait to be used again.
    pub(crate) pool: Pool,
    /// How long a connection may be used.
    pub(crate) limits: KeepLimits,
    /// Nobody asks this group any more: what comes back from an exchange is closed.
    retired: bool,
}

/// When a connection is not kept any longer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepLimits {
    /// `keepalive_requests`
    pub(crate) requests: u64,
    /// `keepalive_time`
    pub(crate) time: Millis,
    /// `keepalive_timeout`
    pub(crate) timeout: Millis,
}

/// One server's state.
#[derive(Debug)]
pub(crate) struct Server {
    /// What the configuration says of it.
    pub(crate) config: UpstreamServer,
    /// The moving weight of the smooth round robin.
    pub(crate) current_weight: i64,
    /// The weight that failures lower and successes raise again.
    pub(crate) effective_weight: i64,
    /// Failures since `checked`.
    pub(crate) fails: u32,
    /// When the last failure was.
    pub(crate) accessed: Option<Instant>,
    /// When it was last tried after failures.
    pub(crate) checked: Option<Instant>,
    /// Connections to it at the moment, idle ones excluded.
    pub(crate) connections: u32,
}

/// How an attempt ended for the server's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It answered.
    Success,
    /// It did not, or not well.
    Failure,
    /// Nothing can be said: the client left, the request was refused by us.
    Neutral,
}

/// The servers of a group that this request has asked already: one bit each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tried {
    words: SmallVec<[u64; 2]>,
}

impl Tried {
    /// Whether server `n` was asked.
    pub(crate) fn contains(&self, n: usize) -> bool {
        self.words.get(n / 64).is_some_and(|word| word & (1 << (n % 64)) != 0)
    }

    /// Server `n` is being asked.
    pub(crate) fn insert(&mut self, n: usize) {
        if self.words.len() <= n / 64 {
            self.words.resize(n / 64 + 1, 0);
        }
        if let Some(word) = self.words.get_mut(n / 64) {
            *word |= 1 << (n % 64);
        }
    }

    /// Server `n` may be asked again.
    pub(crate) fn remove(&mut self, n: usize) {
        if let Some(word) = self.words.get_mut(n / 64) {
            *word &= !(1 << (n % 64));
        }
    }
}

impl Group {
    pub(crate) fn new(config: &Upstream) -> Self {
        let servers = config.servers.iter().map(Server::new).collect::<Vec<_>>();
        let pool = Pool::new(config.keepalive, servers.len());
        Self { name: config.name.clone(), servers, pool, limits: KeepLimits::of(config), retired: false }
    }

    /// Nobody will ask this group any more. Returns the connections to close.
    pub(crate) fn retire(&mut self) -> Vec<ConnId> {
        self.retired = true;
        self.pool.drain()
    }

    /// Whether a connection that has served so much and for so long may wait for more.
    pub(crate) fn may_keep(&self, requests: u64, opened: Instant, now: Instant) -> bool {
        !self.retired && requests < self.limits.requests && now <= opened + self.limits.time
    }

    /// Chooses the next server and counts a connection to it; none when all are down, out or tried.
    pub(crate) fn choose(&mut self, tried: &mut Tried, now: Instant) -> Option<usize> {
        let chosen = if let [only] = &*self.servers {
            (!only.config.down && !tried.contains(0) && !only.is_full()).then_some(0)
        } else {
            round_robin::choose(&mut self.servers, tried, now, false)
                .or_else(|| round_robin::choose(&mut self.servers, tried, now, true))
        }?;
        tried.insert(chosen);
        if let Some(server) = self.servers.get_mut(chosen) {
            server.connections += 1;
        }
        Some(chosen)
    }

    /// Settles the account of a [`choose`](Self::choose). Returns whether the server is out from now on.
    pub(crate) fn settle(&mut self, index: usize, outcome: Outcome, now: Instant) -> bool {
        let single = self.servers.len() == 1;
        let Some(server) = self.servers.get_mut(index) else { return false };
        server.connections = server.connections.saturating_sub(1);
        match outcome {
            Outcome::Failure if !single => {
                server.fail(now);
                return server.is_out(now);
            }
            Outcome::Success if server.accessed < server.checked => server.fails = 0,
            Outcome::Failure | Outcome::Success | Outcome::Neutral => {}
        }
        false
    }

    /// How many servers could be asked at all: the bound on one request's tries.
    pub(crate) fn usable(&self) -> usize {
        self.servers.iter().filter(|server| !server.config.down).count()
    }

    /// Gives every server another chance, as nginx does when all of them are out.
    pub(crate) fn forgive(&mut self) {
        for server in &mut self.servers {
            server.fails = 0;
        }
    }

    /// Whether its servers are just these, in whatever order.
    pub(crate) fn has_addresses(&self, addresses: &[Address]) -> bool {
        self.servers.len() == addresses.len()
            && self.servers.iter().all(|server| addresses.contains(&server.config.address))
    }

    /// The address of a server.
    pub(crate) fn address(&self, index: usize) -> Option<&Address> {
        self.servers.get(index).map(|server| &server.config.address)
    }
}

impl KeepLimits {
    pub(crate) const fn of(config: &Upstream) -> Self {
        Self {
            requests: config.keepalive_requests,
            time: config.keepalive_time,
            timeout: config.keepalive_timeout,
        }
    }
}

impl Server {
    fn new(config: &UpstreamServer) -> Self {
        Self {
            config: config.clone(),
            current_weight: 0,
            effective_weight: i64::from(config.weight),
            fails: 0,
            accessed: None,
            checked: None,
            connections: 0,
        }
    }

    /// `max_conns` is reached.
    pub(crate) const fn is_full(&self) -> bool {
        self.config.max_conns > 0 && self.connections >= self.config.max_conns
    }

    /// `max_fails` failures within `fail_timeout` put it out for `fail_timeout`.
    pub(crate) fn is_out(&self, now: Instant) -> bool {
        self.config.max_fails > 0
            && self.fails >= self.config.max_fails
            && self.checked.is_some_and(|at| now <= at + self.config.fail_timeout)
    }

    fn fail(&mut self, now: Instant) {
        self.fails += 1;
        self.accessed = Some(now);
        self.checked = Some(now);
        if self.config.max_fails > 0 {
            self.effective_weight -= i64::from(self.config.weight) / i64::from(self.config.max_fails);
        }
        self.effective_weight = self.effective_weight.max(0);
    }
}
