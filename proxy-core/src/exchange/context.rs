//! What every machine of a worker may use: the outgoing queues, the timers, the memory, the table of connections.
//!
//! It holds no logic. Whoever is being driven is taken out of the table first, so that it and the context can be
//! borrowed side by side.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::sync::atomic::{AtomicU64, Ordering};

use super::vars::Env;
use super::{Exchange, Facts};
use crate::access::users::{UserFiles, Verified};
use crate::buf::{Chunk, Pool};
use crate::cache::keeper::Keeper;
use crate::cache::writer::Writers;
use crate::command::{CloseHow, Command, ConnId, FileId, IoError, Level, OpenMode, Report, ResolveId};
use crate::config::{AccessLog, Config, LimitZone, LogId, LogSink, ResolverId, UpstreamId, ZoneId};
use crate::conn::name_server::{self, Alarm, NameServerConn, ResolverSeat, SharedResolver};
use crate::conn::{ClientConn, UpstreamConn};
use crate::dns::{Failure, Resolved, Secret};
use crate::filter::gzip::Deflaters;
use crate::h2::trunk::Trunk;
use crate::http::Field;
use crate::http::date::DateCache;
use crate::log::{Destination, LogBuffers};
use crate::shared::cache::CacheIndex;
use crate::shared::{Shared, Zone};
use crate::slab::Slab;
use crate::time::{Instant, Now};
use crate::timer::Wheel;
use crate::tls::ocsp::Staples;
use crate::tls::ocsp::fetch::Fetch;
use crate::trace::{Step, Tracing};
use crate::upstream::Group;
use crate::upstream::health::Checks;
use crate::upstream::health::probe::Probe;
use crate::upstream::names::Names;
use crate::upstream::watch::Watches;

/// The memory that a worker's buffers come from. The driver reads into the same pools.
#[derive(Clone)]
pub struct Pools {
    /// For heads: [`Room::Small`](crate::command::Room).
    pub small: Pool,
    /// For bodies: [`Room::Large`](crate::command::Room).
    pub large: Pool,
}

impl Pools {
    /// The sizes that were measured to be best: heads in 4 KiB, bodies in 32 KiB, some of each kept.
    #[must_use]
    pub fn standard() -> Self {
        Self { small: Pool::new(4 * 1024, 256), large: Pool::new(32 * 1024, 64) }
    }
}

/// A worker's services and queues.
pub(crate) struct Context {
    pub(crate) now: Now,
    pub(crate) commands: VecDeque<Command>,
    pub(crate) reports: VecDeque<Report>,
    pub(crate) timers: Wheel,
    pub(crate) pools: Pools,
    pub(crate) conns: Slab<Conn>,
    pub(crate) files: Slab<FileOwner>,
    /// The clients whose passwords are being compared.
    pub(crate) verifying: Slab<ConnId>,
    pub(crate) user_files: UserFiles,
    pub(crate) verified: Verified,
    /// Groups that are not in a configuration, and the names that are asked for.
    pub(crate) names: Names,
    /// The names of upstream groups.
    pub(crate) watches: Watches,
    /// Replies on their way into their files.
    pub(crate) writers: Writers,
    /// What is done for caches in the background.
    pub(crate) keeper: Keeper,
    /// The active checks.
    pub(crate) checks: Checks,
    /// The certificates whose responders are asked.
    pub(crate) staples: Staples,
    /// Lookups that have ended, for whoever asked.
    pub(crate) resolved: VecDeque<(ResolveId, Result<Resolved, Failure>)>,
    /// Makes what nobody may guess.
    pub(crate) secret: Secret,
    pub(crate) shared: Arc<Shared>,
    /// The configuration for whatever begins now.
    pub(crate) generation: Rc<Generation>,
    /// For text under construction; empty between uses.
    pub(crate) scratch: Vec<u8>,
    pub(crate) random: Random,
    pub(crate) logs: LogBuffers,
    /// Exchanges that ended, kept for their allocations.
    #[expect(clippy::vec_box, reason = "the boxes themselves are what is kept")]
    pub(crate) spare: Vec<Box<Exchange>>,
    /// Clients that may go on because of what another one did: driven before the turn ends.
    pub(crate) wakes: VecDeque<ConnId>,
    /// The links of exchanges to whose stream to an upstream something happened: driven before the turn ends.
    pub(crate) stirred: VecDeque<ConnId>,
    /// Clients' HTTP/2 connections on which something happened: driven when all inputs of a turn are in.
    pub(crate) dirty_clients: VecDeque<ConnId>,
    /// HTTP/2 connections to upstreams that have something to send: settled when all inputs of a turn are in.
    pub(crate) dirty_trunks: VecDeque<ConnId>,
    /// Clients that are connected.
    pub(crate) clients: usize,
    /// Entries of the table that are no connections: streams, on either side.
    pub(crate) streams: usize,
    pub(crate) draining: bool,
    drained: bool,
    /// The last connection is gone; said once all log lines are out.
    drained_due: bool,
    /// Counters of this turn.
    pub(crate) tally: Tally,
    pub(crate) dates: DateCache,
    pub(crate) deflaters: Deflaters,
    /// The vector that the next head's fields go into.
    pub(crate) fields: Vec<Field>,
    spare_fields: Vec<Vec<Field>>,
    /// For a single value under construction; empty between uses.
    pub(crate) value: Vec<u8>,
    /// Where decisions are noted; none unless somebody asked for them.
    pub(crate) trace: Tracing,
}

/// What a turn adds to the process's counters, once for all of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) handled: u64,
    pub(crate) requests: u64,
    pub(crate) active: i64,
    pub(crate) reading: i64,
    pub(crate) writing: i64,
    pub(crate) waiting: i64,
}

/// A configuration in use by this worker, with the state that belongs to its upstream groups.
pub(crate) struct Generation {
    pub(crate) config: Arc<Config>,
    pub(crate) groups: Vec<Rc<RefCell<Group>>>,
    /// The state of the configuration's limit zones, in its order.
    zones: Vec<Zone>,
    resolvers: Vec<SharedResolver>,
    /// The state of the configuration's caches, in its order.
    pub(crate) caches: Vec<Arc<CacheIndex>>,
    /// The last number that a resolver was given.
    serial: u32,
    /// A location is the control API.
    pub(crate) has_api: bool,
}

impl Generation {
    /// A configuration whose groups and resolvers take over the state of `previous` where they are the same.
    pub(crate) fn new(
        config: Arc<Config>,
        previous: Option<&Self>,
        shared: &Shared,
        secret: &mut Secret,
        now: Instant,
    ) -> Self {
        let has_api = config.has_api();
        let groups = config.upstreams.iter().map(|upstream| {
            let state = shared.upstreams.adopt(upstream, config.generation, now);
            let same = previous.and_then(|old| {
                let place =
                    old.config.upstreams.iter().position(|other| other.state_key == upstream.state_key)?;
                let group = old.groups.get(place).cloned()?;
                group.borrow_mut().reconfigure(upstream);
                Some(group)
            });
            let group = same.unwrap_or_else(|| Rc::new(RefCell::new(Group::new(upstream, state))));
            group.borrow_mut().is_counted = has_api;
            group.borrow_mut().sessions = upstream
                .policy
                .learns()
                .map(|learn| shared.sessions.adopt(&learn.zone, learn.sessions_max, learn.timeout));
            group
        });
        let groups = groups.collect();
        shared.upstreams.retain(&config.upstreams);
        let learns = |zone: &str| config.upstreams.iter().any(|upstream| upstream.policy.learns_in(zone));
        shared.sessions.retain(learns);
        let zones = config.limit_zones.iter().map(|zone| shared.zones.open(zone)).collect();
        let (resolvers, serial) = resolvers(&config, previous, secret);
        let caches = config.caches.iter().map(|zone| shared.caches.open(zone)).collect();
        Self { config, groups, zones, resolvers, caches, serial, has_api }
    }

    /// The limit zones with their states.
    pub(crate) fn limits(&self) -> impl Iterator<Item = (&LimitZone, &Zone)> {
        self.config.limit_zones.iter().zip(&self.zones)
    }

    /// The state of a limit zone.
    pub(crate) fn zone(&self, id: ZoneId) -> Option<&Zone> {
        self.zones.get(id.0 as usize)
    }

    pub(crate) fn resolver(&self, id: ResolverId) -> Option<&SharedResolver> {
        self.resolvers.get(id.0 as usize)
    }

    pub(crate) fn group(&self, id: UpstreamId) -> Option<&Rc<RefCell<Group>>> {
        self.groups.get(id.0 as usize)
    }
}

fn resolvers(
    config: &Config,
    previous: Option<&Generation>,
    secret: &mut Secret,
) -> (Vec<SharedResolver>, u32) {
    let old = previous.map_or(&[][..], |old| &old.resolvers);
    let mut serial = previous.map_or(0, |old| old.serial);
    let seats = config.resolvers.iter().map(|settings| {
        if let Some(same) = old.iter().find(|seat| seat.is(settings)) {
            return Rc::clone(same);
        }
        serial += 1;
        ResolverSeat::new(serial, Arc::clone(settings), Secret::new(secret.draw(), u64::from(serial)))
    });
    (seats.collect(), serial)
}

/// Who a connection's key belongs to.
pub(crate) enum Conn {
    /// A client.
    Client(Box<ClientConn>),
    /// A client that is being driven at this moment.
    Driven,
    /// A stream of a client's HTTP/2 connection.
    Stream {
        /// The connection.
        client: ConnId,
        /// The stream's number on it.
        id: u32,
    },
    /// An upstream's connection that works for an exchange of this client.
    Working { client: ConnId },
    /// The link of a subrequest, which leads nowhere: it has deadlines, and belongs to the request of this link.
    Sub { root: ConnId },
    /// An upstream's connection that waits in its pool.
    Idle(Box<UpstreamConn>),
    /// An upstream's HTTP/2 connection, with the streams of many exchanges.
    Trunk(Box<Trunk>),
    /// An active check's connection to a server.
    Probe(Box<Probe>),
    /// A question to a certificate's responder.
    Fetch(Box<Fetch>),
    /// A resolver's connection.
    NameServer(Box<NameServerConn>),
    /// A resolver's timer: a key without a connection.
    Alarm(Box<Alarm>),
}

/// Who a file belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileOwner {
    pub(crate) client: ConnId,
    pub(crate) role: FileRole,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileRole {
    /// The temporary file of a request body.
    RequestBody,
    /// The temporary file of a reply.
    Reply,
    /// A file that is served.
    Content,
    /// A password file.
    Users,
    /// A reply that was kept.
    Cache,
    /// A reply that is being kept.
    CacheWriter,
    /// What is looked through in the background.
    CacheKeeper,
}

impl Context {
    pub(crate) fn new(
        generation: Rc<Generation>,
        shared: Arc<Shared>,
        pools: Pools,
        mut secret: Secret,
        now: Now,
    ) -> Self {
        let random = Random::new(secret.draw());
        Self {
            now,
            commands: VecDeque::new(),
            reports: VecDeque::new(),
            timers: Wheel::new(now.instant),
            pools,
            conns: Slab::default(),
            files: Slab::default(),
            verifying: Slab::default(),
            user_files: UserFiles::default(),
            verified: Verified::new(secret.draw()),
            names: Names::default(),
            watches: Watches::default(),
            writers: Writers::default(),
            keeper: Keeper::default(),
            checks: Checks::new(shared.next_worker()),
            staples: Staples::default(),
            resolved: VecDeque::new(),
            secret,
            shared,
            generation,
            scratch: Vec::with_capacity(4096),
            random,
            logs: LogBuffers::default(),
            spare: Vec::new(),
            wakes: VecDeque::new(),
            stirred: VecDeque::new(),
            dirty_clients: VecDeque::new(),
            dirty_trunks: VecDeque::new(),
            clients: 0,
            streams: 0,
            draining: false,
            drained: false,
            drained_due: false,
            tally: Tally::default(),
            dates: DateCache::default(),
            deflaters: Deflaters::default(),
            fields: Vec::new(),
            spare_fields: Vec::new(),
            value: Vec::new(),
            trace: None,
        }
    }

    /// Notes a decision, if anybody wants to know.
    pub(crate) fn note(&self, step: impl FnOnce() -> Step) {
        if let Some(trace) = &self.trace {
            trace.push(step());
        }
    }

    /// What a template may look at besides its exchange.
    pub(crate) fn env<'a>(&'a self, generation: &'a Generation) -> Env<'a> {
        Env { config: &generation.config, shared: &self.shared, now: self.now, trace: self.trace.as_deref() }
    }

    /// Writes a line to an access log, if its condition holds.
    pub(crate) fn log_access(&mut self, log: &AccessLog, facts: &Facts, generation: &Generation) {
        let env = Env { config: &generation.config, shared: &self.shared, now: self.now, trace: None };
        if let Some(condition) = &log.condition {
            let mut value = core::mem::take(&mut self.value);
            value.clear();
            condition.write(facts, &env, &mut value);
            let holds = !value.is_empty() && value != b"0";
            self.value = value;
            if !holds {
                return;
            }
        }
        let present = &self.generation;
        let file = |id| match core::ptr::eq(generation, &raw const **present) {
            true => Destination::File(id),
            false => present_log(id, &generation.config, &present.config),
        };
        self.logs.write(log, file, facts, &env);
    }

    /// The place that an error log of `generation` has in the present configuration; 0, the main one, stands in for a
    /// log that is gone.
    pub(crate) fn present_error_log(&self, log: u32, generation: &Generation) -> u32 {
        if core::ptr::eq(generation, &raw const *self.generation) {
            return log;
        }
        let Some(old) = generation.config.error_logs.get(log as usize) else { return 0 };
        let logs = &self.generation.config.error_logs;
        let same = logs.iter().position(|new| new == old);
        let place = same.or_else(|| logs.iter().position(|new| new.sink == old.sink));
        place.and_then(|place| u32::try_from(place).ok()).unwrap_or(0)
    }

    /// Publishes what the last turn counted.
    pub(crate) fn publish_tally(&mut self) {
        let tally = core::mem::take(&mut self.tally);
        let counters = &self.shared.counters;
        let add = |counter: &AtomicU64, change: i64| {
            if change != 0 {
                counter.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
            }
        };
        for (counter, change) in [
            (&counters.accepted, tally.accepted.cast_signed()),
            (&counters.handled, tally.handled.cast_signed()),
            (&counters.requests, tally.requests.cast_signed()),
            (&counters.active, tally.active),
            (&counters.reading, tally.reading),
            (&counters.writing, tally.writing),
            (&counters.waiting, tally.waiting),
        ] {
            add(counter, change);
        }
    }

    /// Says so when the last connection of a worker that drains is gone.
    pub(crate) fn report_drained(&mut self) {
        if self.draining && !self.drained && self.clients == 0 {
            self.drained = true;
            name_server::stop_all(self);
            self.publish_tally();
            self.drained_due = true;
        }
    }

    /// The next report: error lines, access lines, and behind all of them the end.
    pub(crate) fn next_report(&mut self) -> Option<Report> {
        let line = self.reports.pop_front().or_else(|| self.logs.next_report());
        line.or_else(|| core::mem::take(&mut self.drained_due).then_some(Report::Drained))
    }

    /// The link of the client's request that this one is, or that a subrequest was made for.
    pub(crate) fn root_of(&self, link: ConnId) -> ConnId {
        if let Some(Conn::Sub { root }) = self.conns.get(link.0) { *root } else { link }
    }

    /// `worker_connections` is reached: closes a client that waits for its next request, if there is one.
    pub(crate) fn shed_idle_client(&mut self) -> bool {
        let now = self.now.instant;
        let idle = self.conns.iter().find_map(|(key, conn)| match conn {
            Conn::Client(client) if client.is_idle(now) && client.has_served() => Some(key),
            Conn::Client(_)
            | Conn::Driven
            | Conn::Stream { .. }
            | Conn::Working { .. }
            | Conn::Sub { .. }
            | Conn::Idle(_)
            | Conn::Trunk(_)
            | Conn::Probe(_)
            | Conn::Fetch(_)
            | Conn::NameServer(_)
            | Conn::Alarm(_) => None,
        });
        let Some(key) = idle else { return false };
        if let Some(Conn::Client(mut client)) = self.conns.remove(key) {
            client.close(CloseHow::Graceful, self);
            self.tally.active -= 1;
            self.clients -= 1;
        }
        true
    }

    /// nginx's words for a worker that is full.
    pub(crate) fn log_worker_connections(&mut self) {
        let most = self.generation.config.process.worker_connections;
        let message = alloc::format!("{most} worker_connections are not enough").into_bytes();
        self.reports.push_back(Report::Error { log: 0, level: Level::Alert, message });
    }

    /// Makes `fields` ready for the next head: a vector that an earlier one left, if there is one.
    pub(crate) fn ready_fields(&mut self) {
        if self.fields.capacity() == 0
            && let Some(spare) = self.spare_fields.pop()
        {
            self.fields = spare;
        }
    }

    /// Takes a head's vector back.
    pub(crate) fn recycle_fields(&mut self, mut fields: Vec<Field>) {
        if fields.capacity() > 0 && self.spare_fields.len() < SPARE_EXCHANGES_MAX {
            fields.clear();
            self.spare_fields.push(fields);
        }
    }

    /// Keeps an exchange that ended for its allocations.
    pub(crate) fn spare_exchange(&mut self, mut exchange: Box<Exchange>) {
        if self.spare.len() < SPARE_EXCHANGES_MAX {
            exchange.scrub();
            self.spare.push(exchange);
        }
    }

    /// A key for a file of a client's.
    pub(crate) fn file_key(&mut self, client: ConnId, role: FileRole) -> FileId {
        FileId(self.files.insert(FileOwner { client, role }))
    }

    /// Asks for a file to be opened.
    pub(crate) fn open_file(
        &mut self,
        client: ConnId,
        role: FileRole,
        path: Arc<[u8]>,
        mode: OpenMode,
    ) -> FileId {
        let file = self.file_key(client, role);
        self.commands.push_back(Command::OpenFile { file, path, mode });
        file
    }

    /// Closes a file.
    pub(crate) fn close_file(&mut self, file: FileId) {
        if self.files.remove(file.0).is_some() {
            self.commands.push_back(Command::CloseFile { file });
        }
    }

    /// The bytes in `scratch` as a chunk, in a pool's block if they fit; `scratch` is empty afterwards.
    pub(crate) fn take_scratch(&mut self) -> Chunk {
        let mut buf = if self.scratch.len() <= self.pools.small.block_bytes() {
            self.pools.small.take()
        } else {
            self.pools.large.take()
        };
        if buf.try_extend(&self.scratch) {
            self.scratch.clear();
            return buf.freeze();
        }
        Chunk::from_vec(core::mem::take(&mut self.scratch))
    }
}

/// The splitmix64 generator: fast, seeded, and good enough for identifiers and jitter; never for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// The error of an operation on a file that has failed before.
pub(crate) const FILE_LOST: IoError = IoError { errno: 5 };

/// How many ended exchanges are kept for their allocations.
const SPARE_EXCHANGES_MAX: usize = 64;

/// Where the lines of log `id` of an old configuration go now: to the same file's log, or to the file by its name.
fn present_log<'a>(id: LogId, old: &'a Config, new: &Config) -> Destination<'a> {
    let Some(log) = old.logs.get(id.0 as usize) else { return Destination::File(id) };
    let place = new.logs.iter().position(|other| other.sink == log.sink);
    match (place.and_then(|place| u32::try_from(place).ok()), &log.sink) {
        (Some(place), _) => Destination::File(LogId(place)),
        (None, LogSink::File(path)) => Destination::Path(path.as_bytes()),
        (None, LogSink::Stderr) => Destination::Path(b"/dev/stderr"),
        // The server that the old configuration named is not known any more.
        (None, LogSink::Syslog(_)) => Destination::Path(b"/dev/null"),
    }
}
