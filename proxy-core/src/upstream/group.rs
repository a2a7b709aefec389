//! One group on this worker: its servers as they are now, this worker's turn among them, its idle connections.
//!
//! ```text
//! choose ─► has the shared version moved, or has a server's time come? ─ yes ─► look_again ─► who is fit
//!               │ no                                                                             │
//!               └─► sticky? ─► method (balance/) ─► backup tier ─► enter ◄───────────────────────┘
//! ```

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::balance::sticky::{self, Sid};
use super::balance::{self, Tier};
use super::pool::Pool;
use super::server::{Server, Unfit};
use super::trunks::Trunks;
use super::{Pick, Tried};
use crate::command::{Address, ConnId};
use crate::config::{Balance, LeastTime, Measure, NextUpstream, Policy, Upstream};
use crate::exchange::context::Random;
use crate::shared::sessions::Sessions;
use crate::shared::upstream::server::WARM;
use crate::shared::upstream::tally::Ended;
use crate::shared::upstream::{GroupState, Member, Members};
use crate::time::{Instant, Millis};

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    /// What stands in logs where no server could be chosen.
    pub(crate) name: Box<str>,
    /// What all workers know of it.
    pub(crate) shared: Arc<GroupState>,
    /// The servers; those that left keep their places while anything refers to them.
    servers: Vec<Server>,
    primary: Tier,
    backup: Tier,
    balance: Balance,
    /// The servers by what `sticky` calls them.
    sids: BTreeMap<Sid, usize>,
    /// What else it does with its requests.
    pub(crate) policy: Arc<Policy>,
    /// A choice goes by something that the request says.
    pub(crate) asks_the_request: bool,
    /// Replies are measured or judged.
    pub(crate) watches_replies: bool,
    /// Somebody asks what its servers have answered (`api`).
    pub(crate) is_counted: bool,
    /// What `sticky learn` has learnt.
    pub(crate) sessions: Option<Arc<Sessions>>,
    /// Clients that wait for a server with room.
    pub(crate) waiting: VecDeque<ConnId>,
    /// The version that all of this was made from.
    seen: u64,
    /// The list of members that the servers were made from.
    members: Arc<Members>,
    /// When a server comes back by itself, whatever the version says.
    look_at: Option<Instant>,
    /// Servers that are not down: the bound on one request's tries.
    usable: usize,
    /// Connections that wait to be used again.
    pub(crate) pool: Pool,
    /// Its HTTP/2 connections.
    pub(crate) trunks: Trunks,
    /// How long a connection may be used.
    pub(crate) limits: KeepLimits,
    /// Idle connections of servers that left, to be closed.
    stale: Vec<ConnId>,
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

impl Group {
    /// A group of a configuration, whose state the workers share.
    pub(crate) fn new(config: &Upstream, shared: Arc<GroupState>) -> Self {
        let mut group = Self {
            name: config.name.clone(),
            shared,
            servers: Vec::new(),
            primary: Tier::default(),
            backup: Tier::default(),
            balance: config.balance,
            sids: BTreeMap::new(),
            policy: Arc::clone(&config.policy),
            asks_the_request: false,
            watches_replies: false,
            is_counted: false,
            sessions: None,
            waiting: VecDeque::new(),
            seen: 0,
            members: Arc::default(),
            look_at: None,
            usable: 0,
            pool: Pool::new(config.keepalive),
            trunks: Trunks::new(config.keepalive),
            limits: KeepLimits::of(config),
            stale: Vec::new(),
            retired: false,
        };
        group.reconfigure(config);
        group
    }

    /// A group that only this worker knows.
    pub(crate) fn private(config: &Upstream) -> Self {
        Self::new(config, Arc::new(GroupState::new(config, 0)))
    }

    /// A new configuration has this group, too. Servers and connections stay.
    pub(crate) fn reconfigure(&mut self, config: &Upstream) {
        self.limits = KeepLimits::of(config);
        self.stale.extend(self.pool.resize(config.keepalive));
        self.stale.extend(self.trunks.resize(config.keepalive));
        self.balance = config.balance;
        self.policy = Arc::clone(&config.policy);
        let policy = &self.policy;
        self.asks_the_request =
            self.balance.needs_key() || policy.sticky.is_some() || policy.retry_budget.is_some();
        self.watches_replies = self.balance.measures().is_some() || policy.outliers.is_some();
        self.seen = 0;
    }

    /// How it chooses.
    pub(crate) const fn balance(&self) -> Balance {
        self.balance
    }

    /// Nobody will ask this group any more. Returns the connections to close.
    pub(crate) fn retire(&mut self) -> Vec<ConnId> {
        self.retired = true;
        let mut all = self.pool.drain();
        all.append(&mut self.trunks.drain());
        all
    }

    /// Connections that nobody may use any more, to be closed.
    pub(crate) fn take_stale(&mut self) -> Vec<ConnId> {
        core::mem::take(&mut self.stale)
    }

    /// As [`take_stale`](Self::take_stale), of servers that have left since, too.
    pub(crate) fn find_stale(&mut self, now: Instant) -> Vec<ConnId> {
        self.refresh(now);
        self.take_stale()
    }

    /// Whether a connection to a server that has served so much and for so long may wait for more.
    pub(crate) fn may_keep(&self, place: usize, requests: u64, opened: Instant, now: Instant) -> bool {
        !self.retired
            && requests < self.limits.requests
            && now <= opened + self.limits.time
            && self.servers.get(place).is_some_and(|server| !server.gone)
    }

    /// Chooses the next server and counts a connection to it; none when all are down, out, full or tried.
    pub(crate) fn choose(&mut self, pick: &mut Pick, random: &mut Random, now: Instant) -> Option<usize> {
        self.refresh(now);
        // A choice may be lost to another worker that takes a server's last connection.
        let mut lost = SmallVec::<[usize; CHOICES_MAX]>::new();
        let chosen = loop {
            let Some(place) = self.choose_once(pick, random, now) else { break None };
            pick.tried.insert(place);
            if self.enter(place, now) {
                break Some(place);
            }
            lost.push(place);
            if lost.len() == CHOICES_MAX {
                break None;
            }
        };
        // It was not asked: a request that waits may ask it later.
        lost.into_iter().for_each(|place| pick.tried.remove(place));
        chosen
    }

    fn choose_once(&mut self, pick: &mut Pick, random: &mut Random, now: Instant) -> Option<usize> {
        if let [only] = self.primary.order.as_slice()
            && self.backup.order.is_empty()
        {
            // nginx asks a server that is alone even when it has failed.
            let server = self.servers.get(*only)?;
            let off = server.config.down || server.is_full() || pick.tried.contains(*only);
            return (!off && (server.fit || server.unfit(now) != Some(Unfit::Off))).then_some(*only);
        }
        if !pick.sid.is_empty()
            && let Some(own) = self.own_server(pick, now)
        {
            return Some(own);
        }
        let Self { primary, backup, servers, members, .. } = self;
        balance::choose(self.balance, primary, servers, members, pick, random, now)
            .or_else(|| balance::choose(self.balance, backup, servers, members, pick, random, now))
    }

    /// Whether a server that was not asked lacks nothing but room.
    pub(crate) fn may_get_room(&self, tried: &Tried, now: Instant) -> bool {
        self.untried(tried).any(|server| server.unfit(now) == Some(Unfit::Full))
    }

    /// Whether a server that may be asked now was not asked.
    pub(crate) fn has_untried(&self, tried: &Tried, now: Instant) -> bool {
        self.untried(tried).any(|server| server.unfit(now).is_none())
    }

    /// The servers that were not asked.
    fn untried(&self, tried: &Tried) -> impl Iterator<Item = &Server> {
        let places =
            self.primary.order.iter().chain(&self.backup.order).filter(|place| !tried.contains(**place));
        places.filter_map(|place| self.servers.get(*place))
    }

    /// The server that the request belongs to, if it may be asked: one that drains may.
    fn own_server(&self, pick: &Pick, now: Instant) -> Option<usize> {
        let place = *self.sids.get(pick.sid.as_slice())?;
        let server = self.servers.get(place)?;
        (!pick.tried.contains(place) && server.unfit_for_its_own(now).is_none()).then_some(place)
    }

    /// What `sticky` calls a server.
    pub(crate) fn sid(&self, place: usize) -> Option<Sid> {
        self.servers.get(place).map(|server| sticky::sid(&server.config))
    }

    fn enter(&mut self, place: usize, now: Instant) -> bool {
        let Some(server) = self.servers.get_mut(place) else { return false };
        let Some(before) = server.state.enter(server.config.max_conns) else { return false };
        server.seats += 1;
        if self.balance.measures().is_some() {
            server.state.note_asked(&server.config, now);
        }
        let last = server.config.max_conns > 0 && before + 1 == server.config.max_conns;
        if server.state.probe(&server.config, now) || last {
            self.shared.touch();
        }
        true
    }

    /// Settles the account of a [`choose`](Self::choose). Returns whether the server is out from now on.
    pub(crate) fn settle(&mut self, place: usize, outcome: Outcome, now: Instant) -> bool {
        let single = self.is_single();
        if outcome == Outcome::Failure && !single {
            // Its weight is lowered: the next turns are not plain ones.
            self.primary.interrupt(&mut self.servers);
            self.backup.interrupt(&mut self.servers);
        }
        let Some(server) = self.servers.get_mut(place) else { return false };
        server.seats = server.seats.saturating_sub(1);
        let was_full = server.config.max_conns > 0 && server.state.leave() == server.config.max_conns;
        if server.config.max_conns == 0 {
            server.state.leave();
        }
        let mut changed = was_full;
        let mut out = false;
        match outcome {
            Outcome::Failure if !single => {
                let fails = server.state.fail(now);
                server.lower();
                out = server.config.max_fails > 0 && fails >= server.config.max_fails;
                if out {
                    server.state.note_outage();
                }
                changed |= out;
            }
            Outcome::Success => changed |= server.state.succeed(&server.config, now),
            Outcome::Failure | Outcome::Neutral => {}
        }
        let tier = if server.config.backup { &mut self.backup } else { &mut self.primary };
        balance::note_load(self.balance, tier, server, now);
        if changed {
            self.shared.touch();
        }
        out
    }

    /// Counts a try that has ended.
    pub(crate) fn count(&self, place: usize, ended: Ended) {
        if let Some(server) = self.servers.get(place) {
            server.state.count(ended);
        }
    }

    /// Whether there is nobody else to ask.
    fn is_single(&self) -> bool {
        self.primary.order.len() == 1 && self.backup.order.is_empty()
    }

    /// How many tries a request has: one for each server that is not down, at most `proxy_next_upstream_tries`.
    pub(crate) fn tries_max(&mut self, next: &NextUpstream, now: Instant) -> u32 {
        self.refresh(now);
        let usable = u32::try_from(self.usable).unwrap_or(u32::MAX);
        if next.tries_max > 0 { usable.min(next.tries_max) } else { usable }
    }

    /// Whether its servers are just these, in whatever order.
    pub(crate) fn has_addresses(&self, addresses: &[Address]) -> bool {
        let members = self.shared.members();
        members.servers.len() == addresses.len()
            && members.servers.iter().all(|server| addresses.contains(&server.config.address))
    }

    /// A server.
    pub(super) fn server(&self, place: usize) -> Option<&Server> {
        self.servers.get(place)
    }

    /// One of its servers has something less to do: the first client that waits may have another look.
    pub(crate) fn first_waiting(&self) -> Option<ConnId> {
        self.waiting.front().copied()
    }

    /// Whether times to the head are what counts.
    pub(crate) const fn measures_headers(&self) -> bool {
        matches!(self.balance.measures(), Some(LeastTime { measure: Measure::Header, .. }))
    }

    /// A request begins. Returns whether its time counts before it is known (`inflight`).
    pub(crate) fn begin_inflight(&self, place: usize, began: Instant) -> bool {
        let counts = self.balance.measures().is_some_and(|by| by.inflight);
        if counts && let Some(server) = self.servers.get(place) {
            server.state.begin_inflight(began);
        }
        counts
    }

    /// The time of such a request is known.
    pub(crate) fn end_inflight(&self, place: usize, began: Instant) {
        if let Some(server) = self.servers.get(place) {
            server.state.end_inflight(began);
        }
    }

    /// The address of a server.
    pub(crate) fn address(&self, place: usize) -> Option<&Address> {
        self.servers.get(place).map(|server| &server.config.address)
    }

    /// Looks again at what is shared, if anything has changed since.
    fn refresh(&mut self, now: Instant) {
        let version = self.shared.version();
        if version != self.seen || self.look_at.is_some_and(|at| now > at) {
            self.look_again(version, now);
        }
    }

    #[cold]
    fn look_again(&mut self, version: u64, now: Instant) {
        self.primary.interrupt(&mut self.servers);
        self.backup.interrupt(&mut self.servers);
        let members = self.shared.members();
        if members.generation != self.members.generation || self.seen == 0 {
            self.take_members(members);
        }
        self.seen = version;
        self.look_at = None;
        for tier in [&mut self.primary, &mut self.backup] {
            tier.warming = false;
            for place in &tier.order {
                let Some(server) = self.servers.get_mut(*place) else { continue };
                let unfit = server.unfit(now);
                server.fit = unfit.is_none();
                if let Some(Unfit::Until(until)) = unfit {
                    self.look_at = Some(self.look_at.map_or(until, |at| at.min(until)));
                }
                if server.state.warmth(server.config.slow_start, now) < WARM {
                    tier.warming = true;
                    let until = now + server.config.slow_start;
                    self.look_at = Some(self.look_at.map_or(until, |at| at.min(until)));
                }
            }
        }
    }

    /// The list of members is another one: servers that stay keep their places, those that left are let go.
    fn take_members(&mut self, members: Arc<Members>) {
        let slow = members.servers.iter().any(|member| !member.config.slow_start.is_zero());
        let scale = if slow { SLOW_STEPS } else { 1 };
        self.servers.iter_mut().for_each(|server| server.gone = true);
        let known = self.known_places();
        let place_of = |id: u64| {
            let at = known.binary_search_by_key(&id, |(id, _)| *id).ok()?;
            known.get(at).map(|(_, place)| *place)
        };
        for member in &members.servers {
            let old = place_of(member.state.id()).and_then(|place| self.servers.get_mut(place));
            if let Some(server) = old {
                server.update(member, scale);
            }
        }
        for (place, server) in self.servers.iter_mut().enumerate().filter(|(_, server)| server.gone) {
            server.fit = false;
            self.stale.extend(self.pool.drain_server(place));
            self.stale.extend(self.trunks.drain_server(place));
        }
        self.primary = Tier::default();
        self.backup = Tier::default();
        let mut free = 0;
        for member in &members.servers {
            let place = place_of(member.state.id()).unwrap_or_else(|| self.put(member, scale, &mut free));
            let tier = if member.config.backup { &mut self.backup } else { &mut self.primary };
            tier.order.push(place);
        }
        self.pool.grow(self.servers.len());
        self.trunks.grow(self.servers.len());
        self.usable = members.servers.iter().filter(|member| !member.config.down).count();
        for tier in [&mut self.primary, &mut self.backup] {
            tier.prepare(self.balance, &mut self.servers, &members);
        }
        self.sids.clear();
        if self.policy.sticky.is_some() {
            let places = self.primary.order.iter().chain(&self.backup.order);
            let named =
                places.filter_map(|place| Some((sticky::sid(&self.servers.get(*place)?.config), *place)));
            self.sids = named.collect();
        }
        self.members = members;
    }

    /// The ids of the servers with their places, in the ids' order.
    fn known_places(&self) -> Vec<(u64, usize)> {
        let ids = self.servers.iter().enumerate().map(|(place, server)| (server.state.id(), place));
        let mut known = ids.collect::<Vec<_>>();
        known.sort_unstable();
        known
    }

    /// Puts a new server where nothing refers to the old one any more, or behind the last.
    fn put(&mut self, member: &Member, scale: i64, free: &mut usize) -> usize {
        let server = Server::new(member, scale);
        while let Some(old) = self.servers.get_mut(*free) {
            *free += 1;
            if old.gone && old.seats == 0 {
                *old = server;
                return *free - 1;
            }
        }
        self.servers.push(server);
        self.servers.len() - 1
    }
}

/// A slow start has at least so many steps.
const SLOW_STEPS: i64 = 100;

/// How many times a choice that was lost to another worker is made again.
const CHOICES_MAX: usize = 8;

impl KeepLimits {
    pub(crate) const fn of(config: &Upstream) -> Self {
        Self {
            requests: config.keepalive_requests,
            time: config.keepalive_time,
            timeout: config.keepalive_timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{at, beside, config, order, with};
    use super::*;
    use crate::config::{Sticky, StickyKind, UpstreamServer};
    use crate::shared::upstream::Health;

    fn ask(group: &mut Group, pick: &mut Pick) -> Option<usize> {
        group.choose(pick, &mut Random::new(1), at(1))
    }

    #[test]
    fn max_conns_counts_for_all_workers() {
        let mut here = with(Balance::RoundRobin, &[1, 1], |n, server| server.max_conns = [2, 1][n]);
        let mut there = beside(&here);
        let mut asked = [None; 4];
        for (n, asked) in asked.iter_mut().enumerate() {
            let worker = if n % 2 == 0 { &mut here } else { &mut there };
            *asked = ask(worker, &mut Pick::default());
        }
        assert_eq!(asked.iter().flatten().count(), 3, "{asked:?}");
        assert_eq!(asked[3], None);
        here.settle(1, Outcome::Success, at(1));
        assert_eq!(
            [ask(&mut there, &mut Pick::default()), ask(&mut here, &mut Pick::default())],
            [Some(1), None]
        );
    }

    #[test]
    fn who_drains_keeps_its_sessions_and_who_is_down_does_not() {
        let sticky = Sticky { lookup: [].into(), kind: StickyKind::Route };
        let policy = Arc::new(Policy { sticky: Some(sticky), ..Policy::default() });
        let servers = config(&[1, 1, 1], |n, server| {
            server.route = ["a", "b", "c"][n].into();
            server.drain = n == 1;
            server.down = n == 2;
        });
        let mut group = Group::private(&Upstream { policy, ..servers });
        let of = |sid: &str| Pick { sid: sid.as_bytes().into(), ..Pick::default() };
        for (sid, expected) in [("b", 1), ("a", 0), ("c", 0), ("nobody", 0), ("", 0)] {
            assert_eq!(ask(&mut group, &mut of(sid)), Some(expected), "{sid}");
        }
        let mut twice = of("b");
        assert_eq!([ask(&mut group, &mut twice), ask(&mut group, &mut twice)], [Some(1), Some(0)]);
    }

    #[test]
    fn a_server_that_comes_back_gets_its_share_little_by_little() {
        let slow = |_, server: &mut UpstreamServer| server.slow_start = Millis::from_secs(100);
        let mut group = with(Balance::RoundRobin, &[1, 1], slow);
        let share =
            |group: &mut Group, s| order(group, 200, at(s), |_| Outcome::Success).matches('b').count();
        assert_eq!(share(&mut group, 1), 100, "nobody starts slowly with the process");
        let b = Arc::clone(&group.shared.members().servers[1].state);
        group.shared.set_health(&b, Health::Unhealthy, at(1));
        assert_eq!(share(&mut group, 2), 0);
        group.shared.set_health(&b, Health::Healthy, at(10));
        let shares = [11, 30, 60, 109, 120].map(|s| share(&mut group, s));
        assert!(shares.is_sorted() && shares[0] < 5 && (30..40).contains(&shares[1]), "{shares:?}");
        assert_eq!(shares[4], 100);
    }

    #[test]
    fn places_are_used_again_only_when_nobody_refers_to_them() {
        let mut group = with(Balance::RoundRobin, &[1, 1], |_, _| {});
        let shared = Arc::clone(&group.shared);
        assert_eq!(ask(&mut group, &mut Pick::default()), Some(0));
        shared.remove(0, at(1));
        let new = |n: u8| UpstreamServer::new(Address::Ip(([10, 0, 0, n], 80).into()));
        shared.add(new(1), crate::shared::upstream::Source::Control, at(1));
        assert_eq!(order(&mut group, 2, at(1), |_| Outcome::Success).replace('c', "b").as_str(), "bb");
        assert!(!group.may_keep(0, 1, at(1), at(1)), "its server is gone");
        group.settle(0, Outcome::Failure, at(1));
        shared.add(new(2), crate::shared::upstream::Source::Control, at(1));
        assert!(order(&mut group, 3, at(1), |_| Outcome::Success).contains('a'));
        assert_eq!(group.address(0), Some(&new(2).address));
    }
}
