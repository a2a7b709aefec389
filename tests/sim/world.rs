//! The run itself: one worker, its peers, and the loop of a driver that turns faster than any clock.
//!
//! After every input all outputs are drained, and after every turn the bounds are checked: memory, commands, time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use proxy_core::access::password;
use proxy_core::buf::Pool;
use proxy_core::command::{Address, Command, Completion, IoError, ListenerId, Peer, Report, ResolveId};
use proxy_core::config::Config;
use proxy_core::time::Now;
use proxy_core::worker::Pools;

use crate::checked::Checked;
use crate::client::Client;
use crate::clock::{Clock, Event};
use crate::config::{CHECK_INTERVAL, TIMEOUT, check_address, server_address};
use crate::engine::Engine;
use crate::files::Files;
use crate::net::{ConnectOutcome, Net};
use crate::plan::Plan;
use crate::rng::Rng;
use crate::sickness::Trouble;
use crate::upstream::{Attempt, Upstream};

/// How many turns a run may take.
const TURNS_MAX: usize = 3_000_000;
/// After this much simulated time nothing may be left to do.
const RUN_US_MAX: u64 = 900_000_000;
/// Bytes that one `Send` may carry beside what the site lets a body take in memory.
const SEND_SLACK_BYTES: usize = 256 * 1024;
/// Bytes of bodies that one exchange may hold beside that: what links and read-ahead take.
const BODY_SLACK_BYTES: usize = 320 * 1024;
/// Blocks that one client connection and its upstream may hold beside what the site lets bodies take.
const BLOCKS_PER_CLIENT: usize = 24;
/// Commands that one input may cause for each living connection, and at least.
const COMMANDS_PER_CONN: usize = 8;
const COMMANDS_PER_INPUT: usize = 16;
/// How often a driver has one completion more to hand in before it asks what to do.
const TOGETHER_PERCENT: u64 = 30;
/// How often in a row a deadline may be due at the same moment.
const TIMEOUTS_IN_A_ROW_MAX: usize = 1000;

/// Lines about what happened, kept where a panic cannot take them along.
pub(crate) type Trace = Option<Rc<RefCell<Vec<String>>>>;

/// How long it takes at the most until a check has found out that nobody answers: it was just answered, waits for its
/// connection and then for its reply.
const CHECK_KNOWS_US: u64 = (CHECK_INTERVAL.0 + 2 * TIMEOUT.0 + 1000) * 1000;

/// Who is at the far end of a link.
enum Agent {
    Client(Client),
    Upstream(Upstream),
    /// A server that an active check asks.
    Checked(Checked),
    /// A connection attempt that has no peer yet, or never gets one.
    Nobody,
}

/// What a run leaves behind for the model.
pub(crate) struct Outcome {
    pub(crate) clients: Vec<Client>,
    pub(crate) attempts: Vec<Attempt>,
    /// Connections that did not come about: to whom, from when, until when.
    pub(crate) refused: Vec<(usize, u64, u64)>,
    pub(crate) access: Vec<String>,
    pub(crate) files_failed: bool,
    /// Blocks, small and large, that the drained worker still held.
    pub(crate) kept_blocks: (usize, usize),
}

/// A run in progress.
pub(crate) struct World<'a> {
    plan: &'a Plan,
    engine: Box<dyn Engine>,
    pools: Pools,
    clock: Clock,
    net: Net,
    files: Files,
    rng: Rng,
    agents: Vec<Agent>,
    attempts: Vec<Attempt>,
    refused: Vec<(usize, u64, u64)>,
    access: Vec<String>,
    resolving: BTreeMap<ResolveId, ()>,
    drained: bool,
    shutdown: bool,
    /// The server that the configuration in force does not have.
    gone: Option<usize>,
    timeouts_in_a_row: usize,
    trace: Trace,
}

/// Makes the engine of a run.
pub(crate) type MakeEngine = dyn Fn(Arc<Config>, Pools, u64, Now) -> Box<dyn Engine>;

impl<'a> World<'a> {
    pub(crate) fn new(plan: &'a Plan, seed: u64, make: &MakeEngine, trace: Trace) -> Self {
        let mut rng = Rng::new(!seed);
        let (small, large) = plan.block_bytes;
        let pools = Pools { small: Pool::new(small, 16), large: Pool::new(large, 16) };
        let clock = Clock::default();
        let config = Arc::new(plan.site.build());
        let send_bytes_max = SEND_SLACK_BYTES + plan.site.memory_bytes_max + plan.site.body_buffer_bytes;
        Self {
            plan,
            engine: make(config, pools.clone(), seed, clock.now()),
            net: Net::new(pools.clone(), plan.weather, send_bytes_max, rng.fork()),
            files: Files::new(pools.clone(), plan.mood.file_fail_percent, rng.fork()),
            pools,
            clock,
            rng,
            agents: Vec::new(),
            attempts: Vec::new(),
            refused: Vec::new(),
            access: Vec::new(),
            resolving: BTreeMap::new(),
            drained: false,
            shutdown: false,
            gone: None,
            timeouts_in_a_row: 0,
            trace,
        }
    }

    /// Runs to the end: all clients done, the worker drained, nothing leaked.
    pub(crate) fn run(mut self) -> Outcome {
        for (n, client) in self.plan.clients.iter().enumerate() {
            self.clock.plan(client.start_us, Event::Arrive(n));
        }
        for (n, reload) in self.plan.reloads.iter().enumerate() {
            self.clock.plan(reload.at_us, Event::Reload(n));
        }
        if let Some(at_us) = self.plan.shutdown_us {
            self.clock.plan(at_us, Event::Shutdown);
        }
        self.turn_until(Self::is_over);
        if !self.shutdown {
            self.check_clients();
            self.clock.plan(0, Event::Shutdown);
            self.turn_until(|_| false);
        }
        self.check_end()
    }

    /// Turns until nothing is left to wait for, or `is_over` says so.
    fn turn_until(&mut self, is_over: impl Fn(&Self) -> bool) {
        for _ in 0..TURNS_MAX {
            if is_over(self) || !self.turn() {
                return;
            }
            self.check_bounds();
        }
        panic!("hang: {TURNS_MAX} turns; clients left: {}", self.clients_left());
    }

    /// Where servers are checked the worker never comes to rest: it is over when the clients are done.
    fn is_over(&self) -> bool {
        let done = |agent: &&Agent| matches!(agent, Agent::Client(client) if client.done);
        self.plan.site.checks.is_some()
            && !self.shutdown
            && self.agents.iter().filter(done).count() == self.plan.clients.len()
    }

    /// One input and all its outputs; `false` when nothing is left to wait for.
    fn turn(&mut self) -> bool {
        let deadline = self.engine.poll_timeout();
        let deadline_us = deadline.map(Clock::at_us);
        let next_us = self.clock.next_at_us();
        let timer_first = match (deadline_us, next_us) {
            (None, None) => return false,
            (Some(deadline), Some(next)) if deadline == next => self.rng.percent(50),
            (Some(deadline), Some(next)) => deadline < next,
            (deadline, None) => deadline.is_some(),
            (None, Some(_)) => false,
        };
        let mut budget = COMMANDS_PER_INPUT + COMMANDS_PER_CONN * self.net.core_open();
        if timer_first {
            self.clock.jump(deadline.expect("a deadline came first"));
            self.timeouts_in_a_row += 1;
            let again = self.timeouts_in_a_row;
            assert!(again < TIMEOUTS_IN_A_ROW_MAX, "hang: the deadline {deadline:?} is never met");
            self.say(|| "timeout".to_owned());
            self.engine.handle_timeout(self.clock.now());
        } else {
            let event = self.clock.pop().expect("an event came first");
            self.timeouts_in_a_row = 0;
            self.handle(event);
            while self.rng.percent(TOGETHER_PERCENT)
                && let Some(event) = self.clock.pop_completion(self.engine.poll_timeout())
            {
                budget += COMMANDS_PER_INPUT;
                self.handle(event);
            }
        }
        assert!(
            self.clock.now_us() < RUN_US_MAX,
            "hang: clients left after {RUN_US_MAX} us: {}",
            self.clients_left()
        );
        self.drain(budget);
        true
    }

    fn say(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let now_us = self.clock.now_us();
            let seconds = format!("{:>4}.{:06}", now_us / 1_000_000, now_us % 1_000_000);
            trace.borrow_mut().push(format!("{seconds} {}", line()));
        }
    }

    fn complete(&mut self, completion: Completion) {
        self.say(|| format!("  <- {}", brief_completion(&completion)));
        self.engine.handle_completion(completion, self.clock.now());
    }

    fn handle(&mut self, event: Event) {
        let completion = match event {
            Event::Arrive(client) => return self.arrive(client),
            Event::Reload(n) => return self.reload(n),
            Event::Shutdown => {
                self.say(|| "shutdown".to_owned());
                self.shutdown = true;
                return self.engine.handle_shutdown(self.clock.now());
            }
            Event::Delivered(link, side) => return self.net.delivered(link, side, &mut self.clock),
            Event::Wake(link) => return self.wake(link),
            Event::Connected(conn) => self.net.connected(conn).map(|(completion, link)| {
                if let Some(link) = link {
                    self.clock.plan(0, Event::Wake(link));
                }
                completion
            }),
            Event::RecvReady(conn) => self.net.recv_ready(conn, &mut self.clock),
            Event::SendReady(conn) => self.net.send_ready(conn, &mut self.clock),
            Event::Stray(index) => self.net.take_stray(index),
            Event::File(file) => self.files.complete(file),
            Event::Verified(id, matches) => Some(Completion::Verify { id, matches: Some(matches) }),
            Event::Resolved(id) => self.resolving.remove(&id).map(|()| {
                let reason = "nobody resolves names here".to_owned();
                Completion::Resolve { id, result: Err(proxy_core::command::ResolveError { reason }) }
            }),
        };
        if let Some(completion) = completion {
            self.complete(completion);
        }
    }

    fn reload(&mut self, number: usize) {
        if self.shutdown {
            return;
        }
        let site = &self.plan.reloads[number].site;
        self.say(|| format!("reload {number}"));
        self.gone = site.gone;
        self.engine.handle_reload(Arc::new(site.build()), self.clock.now());
    }

    fn arrive(&mut self, number: usize) {
        if self.shutdown {
            return;
        }
        let ip = [192, 0, 2, u8::try_from(number + 1).expect("few clients")];
        let peer =
            Peer { client: Address::Ip((ip, 50_000).into()), local: Address::Ip(([10, 0, 0, 1], 80).into()) };
        let conn = self.engine.handle_accept(ListenerId(0), peer, self.clock.now());
        let link = self.net.open(conn, None);
        self.say(|| format!("client {number} connects as {}", conn.0));
        self.agents.push(Agent::Client(Client::new(number, self.plan, &mut self.rng)));
        assert_eq!(self.agents.len(), link + 1);
        self.clock.plan(0, Event::Wake(link));
    }

    fn wake(&mut self, link: usize) {
        let mut end = self.net.peer(link, &mut self.clock);
        match &mut self.agents[link] {
            Agent::Client(client) => client.step(&mut end, self.plan),
            Agent::Upstream(upstream) => {
                upstream.step(&mut end, self.plan, &mut self.attempts, &mut self.rng);
            }
            Agent::Checked(checked) => checked.step(&mut end, self.plan),
            Agent::Nobody => {}
        }
    }

    /// Takes every output. Reports come last: nothing may be wanted behind `Drained`.
    fn drain(&mut self, budget: usize) {
        self.obey_all(budget);
        while let Some(report) = self.engine.poll_report() {
            self.note(report);
        }
        self.obey_all(0);
    }

    fn obey_all(&mut self, budget: usize) {
        let mut commands = 0;
        while let Some(command) = self.engine.poll_command() {
            commands += 1;
            assert!(!self.drained, "rule: {} after Drained", brief_command(&command));
            assert!(commands <= budget, "bound: more than {budget} commands after one input");
            self.say(|| format!("  -> {}", brief_command(&command)));
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        let (net, files, clock) = (&mut self.net, &mut self.files, &mut self.clock);
        match command {
            Command::Connect { conn, address, .. } => {
                let servers = 0..self.plan.site.weights.len();
                let own = |n: &usize| server_address(*n) == address;
                let check = |n: &usize| self.plan.site.checks.is_some() && check_address(*n) == address;
                let checked = servers.clone().find(check);
                let server = servers.clone().find(own).or(checked);
                let server =
                    server.unwrap_or_else(|| panic!("rule: a connection to {address}, which nobody named"));
                assert_ne!(self.gone, Some(server), "rule: a connection to a server that is gone");
                if checked.is_none() && self.plan.site.checks.is_some() {
                    let gone = self.plan.sickness[server].is_gone_since(CHECK_KNOWS_US, clock.now_us());
                    let hidden = self.plan.site.checks.is_some_and(|checks| checks.tcp);
                    assert!(!gone || hidden, "rule: a request to {address}, which a check has found dead");
                }
                let dead = self.plan.sickness[server].now(clock.now_us()) == Some(Trouble::Dead);
                let outcome = connect_outcome(self.plan, dead, &mut self.rng);
                let link = net.connect(conn, outcome, clock);
                let accepted = outcome == ConnectOutcome::Accepted;
                if !accepted && checked.is_none() {
                    let span_us = if outcome == ConnectOutcome::Silent { TIMEOUT.0 * 1000 } else { 0 };
                    self.refused.push((server, clock.now_us(), clock.now_us() + span_us));
                }
                self.agents.push(if accepted && checked.is_some() {
                    Agent::Checked(Checked::new(server))
                } else if accepted {
                    Agent::Upstream(Upstream::new(server))
                } else {
                    Agent::Nobody
                });
                assert_eq!(self.agents.len(), link + 1);
            }
            Command::Recv { conn, room } => net.recv(conn, room, clock),
            Command::Send { conn, chain } => net.send(conn, chain, clock),
            Command::Shutdown { conn } => net.shutdown(conn, clock),
            Command::Close { conn, how } => {
                net.close(conn, how, clock);
            }
            Command::OpenFile { file, path, mode } => files.open(file, &path, &mode, clock),
            Command::ReadFile { file, offset, len } => files.read(file, offset, len, clock),
            Command::WriteFile { file, offset, chain } => files.write(file, offset, chain, clock),
            Command::ListDirectory { file, .. } => files.list(file, clock),
            Command::RenameFile { file, to, .. } => files.rename(file, &to, clock),
            Command::RemoveFile { path } => files.remove(&path),
            Command::FreeSpace { file, .. } => files.free_space(file, clock),
            Command::CloseFile { file } => files.close(file),
            Command::Verify { id, password, stored } => {
                clock.plan(1000, Event::Verified(id, password::matches(&password, &stored)));
            }
            Command::Resolve { id, .. } => {
                self.resolving.insert(id, ());
                clock.plan(1000, Event::Resolved(id));
            }
        }
    }

    fn note(&mut self, report: Report) {
        assert!(!self.drained, "rule: a report after Drained: {report:?}");
        match report {
            Report::Access { lines, .. } | Report::AccessPath { lines, .. } => {
                let text = String::from_utf8_lossy(&lines).into_owned();
                assert!(text.ends_with('\n'), "rule: no whole lines in an access report: {text:?}");
                self.say(|| format!("  log {}", text.trim_end()));
                self.access.extend(text.lines().map(str::to_owned));
                self.engine.recycle(lines);
            }
            Report::Error { level, message, .. } => {
                self.say(|| format!("  log [{}] {}", level.name(), message.escape_ascii()));
                // Alerts are for our own bugs and for a machine in trouble.
                let ours = level <= proxy_core::command::Level::Alert;
                assert!(!ours || self.files.failed, "an alert: {}", message.escape_ascii());
            }
            Report::Save { .. } => panic!("rule: nobody has a state to save"),
            Report::Drained => {
                assert!(self.shutdown, "rule: Drained without a shutdown");
                assert!(!self.drained, "rule: Drained twice");
                assert_eq!(self.net.core_open(), 0, "rule: Drained with open connections");
                self.say(|| "drained".to_owned());
                self.drained = true;
            }
        }
    }

    fn check_bounds(&self) {
        let bodies = self.plan.site.memory_bytes_max + self.plan.site.body_buffer_bytes;
        let (small, large) = self.plan.block_bytes;
        let clients = self.plan.clients.len();
        // Short reads fill blocks badly: half full is good enough.
        let blocks_max = clients * (BLOCKS_PER_CLIENT + 2 * (bodies + BODY_SLACK_BYTES) / small.min(large));
        let blocks = self.pools.small.live() + self.pools.large.live();
        assert!(blocks <= blocks_max, "bound: {blocks} blocks are out, at most {blocks_max}");
    }

    fn clients_left(&self) -> String {
        let left = self.agents.iter().filter_map(|agent| match agent {
            Agent::Client(client) if !client.done => {
                Some(format!("{} ({} replies)", client.number, client.replies()))
            }
            Agent::Client(_) | Agent::Upstream(_) | Agent::Checked(_) | Agent::Nobody => None,
        });
        left.collect::<Vec<_>>().join(", ")
    }

    fn check_clients(&self) {
        let left = self.clients_left();
        assert!(left.is_empty(), "hang: nothing more happens, but these clients wait: {left}");
    }

    fn check_end(self) -> Outcome {
        self.check_clients();
        assert!(self.drained, "hang: no Drained after the shutdown");
        assert_eq!(self.net.core_open(), 0, "leak: connections are open at the end");
        assert_eq!(self.files.core_open(), 0, "leak: files are open at the end");
        let files_failed = self.files.failed;
        let Self { net, files, engine, pools, agents, .. } = self;
        drop((net, files));
        let live = || (pools.small.live(), pools.large.live());
        let kept_blocks = live();
        drop(engine);
        assert_eq!(live(), (0, 0), "leak: blocks (small, large) are out when the worker is gone");
        let clients = agents.into_iter().filter_map(|agent| match agent {
            Agent::Client(client) => Some(client),
            Agent::Upstream(_) | Agent::Checked(_) | Agent::Nobody => None,
        });
        Outcome {
            clients: clients.collect(),
            attempts: self.attempts,
            refused: self.refused,
            access: self.access,
            files_failed,
            kept_blocks,
        }
    }
}

fn connect_outcome(plan: &Plan, dead: bool, rng: &mut Rng) -> ConnectOutcome {
    match (dead || rng.percent(plan.mood.connect_fail_percent), rng.percent(80)) {
        (false, _) => ConnectOutcome::Accepted,
        (true, true) => ConnectOutcome::Refused,
        (true, false) => ConnectOutcome::Silent,
    }
}

fn brief_command(command: &Command) -> String {
    match command {
        Command::Connect { conn, address, .. } => format!("Connect {} {address}", conn.0),
        Command::Recv { conn, room } => format!("Recv {} {room:?}", conn.0),
        Command::Send { conn, chain } => {
            format!("Send {} {} bytes {}", conn.0, chain.len(), start(&chain.to_vec()))
        }
        Command::Shutdown { conn } => format!("Shutdown {}", conn.0),
        Command::Close { conn, how } => format!("Close {} {how:?}", conn.0),
        Command::WriteFile { file, offset, chain } => {
            format!("WriteFile {} {} bytes at {offset}", file.0, chain.len())
        }
        other => format!("{other:?}"),
    }
}

fn brief_completion(completion: &Completion) -> String {
    let result = |result: Result<String, IoError>| result.unwrap_or_else(|error| error.to_string());
    match completion {
        Completion::Connect { conn, result: r } => {
            format!("Connect {} {}", conn.0, result(r.clone().map(|_| "ok".to_owned())))
        }
        Completion::Recv { conn, result: r } => {
            let bytes = r.as_ref().map(|buf| format!("{} bytes {}", buf.len(), start(buf.as_slice())));
            format!("Recv {} {}", conn.0, result(bytes.map_err(|error| *error)))
        }
        Completion::Send { conn, chain, result: r } => {
            format!("Send {} {}", conn.0, result(r.map(|n| format!("{n} of {}", chain.len()))))
        }
        other => format!("{other:?}"),
    }
}

/// The first bytes, readable.
fn start(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes[..bytes.len().min(60)].escape_ascii())
}
