//! HTTP/1.1 and HTTP/2 in every combination of client and upstream: many streams, both windows, splits everywhere, and
//! upstreams that refuse, leave, reset and cut.
//!
//! A seed draws a run ([`plan`]); [`peers`] play it over the same simulated network as the other simulation, by a
//! language without a version ([`speech`]) over [`http1`] and [`http2`], which are strict; what both sides saw is
//! compared here. `DUET_SEED=7 cargo test -p ringgate-tests --test sim duet` replays one, `DUET_SEEDS=5000` runs many.
//!
//! What is never excused: another exchange's bytes, a byte of a body that is wrong, a cut reply that looks whole, a
//! request that was surely not processed and is not sent again, one that is no GET and was processed twice, a hang, a
//! leak.

mod http1;
mod http2;
mod peers;
mod plan;
mod speech;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use proxy_core::buf::Pool;
use proxy_core::command::{Address, Command, Level, ListenerId, Peer, Report};
use proxy_core::config::{Balance, Config, Content, ProxyHttpVersion};
use proxy_core::shared::Shared;
use proxy_core::time::Millis;
use proxy_core::worker::{Pools, Worker};

use crate::clock::{Clock, Event};
use crate::config::{Site, server_address};
use crate::net::{ConnectOutcome, Net};
use crate::rng::Rng;
use peers::{Attempt, Client, Server};
use plan::{Exchange, Plan};
use speech::value;

/// How many seeds an ordinary test run takes.
const SEEDS: u64 = 60;
const TURNS_MAX: usize = 2_000_000;
const RUN_US_MAX: u64 = 600_000_000;
/// Twenty streams over a socket of 64 bytes take their time; whoever waits for nothing at all waits longer.
const PATIENCE: Millis = Millis::from_secs(120);
/// How much one `Send` may carry, in bytes, and how many blocks may be out for each exchange.
const SEND_BYTES_MAX: usize = 1024 * 1024;
const BLOCKS_PER_EXCHANGE: usize = 64;

#[test]
fn every_pair_of_versions() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    if let Some(seed) = number("DUET_SEED") {
        return run(seed);
    }
    let failed: Vec<String> = (0..number("DUET_SEEDS").unwrap_or(SEEDS))
        .filter_map(|seed| {
            let result = catch_unwind(AssertUnwindSafe(|| run(seed)));
            result.err().map(|payload| {
                let text = payload.downcast_ref::<String>().map_or("", String::as_str);
                format!("seed {seed}: {text}")
            })
        })
        .collect();
    assert!(failed.is_empty(), "replay with DUET_SEED=n; {} failed:\n{}", failed.len(), failed.join("\n"));
}

/// Who is at the far end of a link.
enum Agent {
    Client(Client),
    Server(Server),
}

struct World<'a> {
    plan: &'a Plan,
    worker: Worker,
    pools: Pools,
    clock: Clock,
    net: Net,
    rng: Rng,
    agents: Vec<Agent>,
    attempts: Vec<Attempt>,
    /// Connections that servers have cut: what was on its way there is anybody's guess.
    cuts: usize,
    shutdown: bool,
    drained: bool,
}

fn run(seed: u64) {
    let plan = Plan::new(seed);
    let mut rng = Rng::new(!seed);
    let pools = Pools { small: Pool::new(4096, 16), large: Pool::new(32_768, 16) };
    let clock = Clock::default();
    let config = Arc::new(config(&plan));
    let worker = Worker::new(config, Arc::new(Shared::new()), pools.clone(), seed, clock.now());
    let net = Net::new(pools.clone(), plan.weather, SEND_BYTES_MAX, rng.fork());
    let world = World {
        plan: &plan,
        worker,
        pools,
        clock,
        net,
        rng,
        agents: Vec::new(),
        attempts: Vec::new(),
        cuts: 0,
        shutdown: false,
        drained: false,
    };
    world.run();
}

/// The site: all bodies fit into memory, so that no file is needed.
fn config(plan: &Plan) -> Config {
    let site = Site {
        weights: vec![1; plan.servers],
        balance: Balance::RoundRobin,
        fail_timeout: Millis(300),
        keepalive: plan.keepalive,
        keepalive_requests: 1000,
        client_requests_max: 1000,
        max_fails: 0,
        buffering: plan.buffering,
        memory_bytes_max: 262_144,
        file_bytes_max: 0,
        request_buffering: plan.request_buffering,
        body_buffer_bytes: 262_144,
        ignore_client_abort: false,
        early_hints: false,
        checks: None,
        limits: false,
        http10: false,
        next_on_503: false,
        max_conns: 0,
        gone: None,
        slow_start: Millis(0),
        generation: 1,
    };
    let mut config = site.build();
    for server in &mut config.servers {
        server.http2 = true;
    }
    for location in &mut config.locations {
        let core = Arc::make_mut(&mut location.core);
        core.http2_chunk_bytes = plan.chunk_bytes;
        core.client_body.timeout = PATIENCE;
        core.send_timeout = PATIENCE;
        if let Content::Proxy(proxy) = &mut location.content {
            let proxy = Arc::make_mut(proxy);
            (proxy.send_timeout, proxy.read_timeout) = (PATIENCE, PATIENCE);
            if plan.server_h2 {
                proxy.http_version = ProxyHttpVersion::Http2;
            }
        }
    }
    config
}

impl World<'_> {
    fn run(mut self) {
        for number in 0..self.plan.clients.len() {
            let after_us = self.rng.range(0, 50_000);
            self.clock.plan(after_us, Event::Arrive(number));
        }
        if let Some(at_us) = self.plan.shutdown_us {
            self.clock.plan(at_us, Event::Shutdown);
        }
        self.turn_until_rest();
        if !self.shutdown {
            let left = self.agents.iter().any(|agent| matches!(agent, Agent::Client(client) if !client.done));
            assert!(!left, "hang: nothing more happens, but clients wait");
            self.clock.plan(0, Event::Shutdown);
            self.turn_until_rest();
        }
        assert!(self.drained, "hang: no Drained after the shutdown");
        assert_eq!(self.net.core_open(), 0, "leak: connections are open at the end");
        let clients = self.agents.iter().filter_map(|agent| match agent {
            Agent::Client(client) => Some(client),
            Agent::Server(_) => None,
        });
        for (id, seen) in clients.flat_map(|client| &client.seen) {
            self.check(&self.plan.exchanges[*id], seen);
        }
        let Self { net, worker, pools, .. } = self;
        drop((net, worker));
        assert_eq!((pools.small.live(), pools.large.live()), (0, 0), "leak: blocks are out at the end");
    }

    fn turn_until_rest(&mut self) {
        for _ in 0..TURNS_MAX {
            let deadline_us = self.worker.poll_timeout().map(Clock::at_us);
            let next_us = self.clock.next_at_us();
            let timer_first = match (deadline_us, next_us) {
                (None, None) => return,
                (Some(deadline), Some(next)) => deadline < next,
                (deadline, None) => deadline.is_some(),
                (None, Some(_)) => false,
            };
            if timer_first {
                self.clock.jump(self.worker.poll_timeout().expect("a deadline"));
                self.worker.handle_timeout(self.clock.now());
            } else {
                let event = self.clock.pop().expect("an event");
                self.handle(event);
            }
            assert!(self.clock.now_us() < RUN_US_MAX, "hang: still at work after {RUN_US_MAX} us");
            self.obey();
            let blocks = self.pools.small.live() + self.pools.large.live();
            let most = BLOCKS_PER_EXCHANGE * self.plan.exchanges.len().max(4);
            assert!(blocks <= most, "bound: {blocks} blocks are out");
        }
        panic!("hang: {TURNS_MAX} turns");
    }

    fn handle(&mut self, event: Event) {
        let completion = match event {
            Event::Arrive(_) if self.shutdown => None,
            Event::Arrive(number) => {
                let ip = [192, 0, 2, u8::try_from(number + 1).expect("few clients")];
                let local = Address::Ip(([10, 0, 0, 1], 80).into());
                let peer = Peer { client: Address::Ip((ip, 50_000).into()), local };
                let conn = self.worker.handle_accept(ListenerId(0), peer, self.clock.now());
                let link = self.net.open(conn, None);
                self.agents.push(Agent::Client(Client::new(number, self.plan)));
                self.clock.plan(0, Event::Wake(link));
                None
            }
            Event::Shutdown => {
                self.shutdown = true;
                self.worker.handle_shutdown(self.clock.now());
                None
            }
            Event::Delivered(link, side) => {
                self.net.delivered(link, side, &mut self.clock);
                None
            }
            Event::Wake(link) => {
                let mut end = self.net.peer(link, &mut self.clock);
                match &mut self.agents[link] {
                    Agent::Client(client) => client.step(&mut end, self.plan, &mut self.rng),
                    Agent::Server(server) => {
                        server.step(&mut end, self.plan, &mut self.attempts, &mut self.cuts, &mut self.rng);
                    }
                }
                None
            }
            Event::Connected(conn) => self.net.connected(conn).map(|(completion, link)| {
                if let Some(link) = link {
                    self.clock.plan(0, Event::Wake(link));
                }
                completion
            }),
            Event::RecvReady(conn) => self.net.recv_ready(conn, &mut self.clock),
            Event::SendReady(conn) => self.net.send_ready(conn, &mut self.clock),
            Event::Stray(index) => self.net.take_stray(index),
            Event::File(_) | Event::Resolved(_) | Event::Verified(..) | Event::Reload(_) => {
                panic!("nobody asked for {event:?}")
            }
        };
        if let Some(completion) = completion {
            self.worker.handle_completion(completion, self.clock.now());
        }
    }

    fn obey(&mut self) {
        loop {
            while let Some(command) = self.worker.poll_command() {
                let (net, clock) = (&mut self.net, &mut self.clock);
                match command {
                    Command::Connect { conn, address, .. } => {
                        let known = (0..self.plan.servers).any(|n| server_address(n) == address);
                        assert!(known, "rule: a connection to {address}");
                        net.connect(conn, ConnectOutcome::Accepted, clock);
                        self.agents.push(Agent::Server(Server::new(self.plan)));
                    }
                    Command::Recv { conn, room } => net.recv(conn, room, clock),
                    Command::Send { conn, chain } => net.send(conn, chain, clock),
                    Command::Shutdown { conn } => net.shutdown(conn, clock),
                    Command::Close { conn, how } => {
                        net.close(conn, how, clock);
                    }
                    other => panic!("rule: nobody needs {other:?}"),
                }
            }
            match self.worker.poll_report() {
                None => return,
                Some(Report::Access { lines, .. } | Report::AccessPath { lines, .. }) => {
                    self.worker.recycle(lines);
                }
                Some(Report::Error { level, message, .. }) => {
                    if std::env::var_os("DUET_SEED").is_some() {
                        eprintln!("{} {}", self.clock.now_us(), message.escape_ascii());
                    }
                    assert!(level > Level::Alert, "an alert: {}", message.escape_ascii());
                }
                Some(Report::Save { .. }) => panic!("rule: nobody has a state to save"),
                Some(Report::Drained) => self.drained = true,
            }
        }
    }

    /// What both sides saw of an exchange.
    fn check(&self, x: &Exchange, seen: &peers::Seen) {
        let id = x.id;
        let attempts: Vec<&Attempt> = self.attempts.iter().filter(|attempt| attempt.exchange == id).collect();
        for attempt in &attempts {
            let method = if x.post { "POST" } else { "GET" };
            let said = [":method", ":path"].map(|name| value(&attempt.fields, name).expect("a request"));
            assert_eq!(said, [method, "/a?b"], "exchange {id}: the request line");
            let whole =
                if attempt.complete { attempt.body == x.body } else { x.body.starts_with(&attempt.body) };
            assert!(whole, "exchange {id}: the request's body, {} of {}", attempt.body.len(), x.body.len());
        }
        let processed = attempts.iter().filter(|attempt| !attempt.unprocessed).count();
        assert!(!x.post || processed <= 1, "exchange {id}: a POST was processed {processed} times");
        assert!(seen.complete || seen.cancelled || seen.broken, "exchange {id}: no end");
        let spoilt = attempts.iter().any(|attempt| attempt.spoilt);
        let unbuffered = !self.plan.request_buffering && !x.body.is_empty();
        let refused = attempts.iter().any(|attempt| attempt.unprocessed);
        // What had to be streamed cannot be sent again.
        let excused = spoilt
            || self.cuts > 0
            || seen.cancelled
            || self.plan.shutdown_us.is_some()
            || (refused && unbuffered);
        if std::env::var_os("DUET_SEED").is_some() {
            let tries =
                attempts.iter().map(|a| (a.body.len(), a.complete, a.spoilt, a.unprocessed, a.cancelled));
            eprintln!(
                "{id} {:?} early {} {:?} {:?}",
                x.fault,
                x.early,
                x.cancel_us,
                tries.collect::<Vec<_>>()
            );
        }
        let reply = seen.head.as_ref().and_then(|head| value(head, "x-reply"));
        if let Some(reply) = reply {
            assert_eq!(reply, id.to_string(), "exchange {id}: another one's reply");
            assert!(x.reply.starts_with(&seen.body), "exchange {id}: the reply's body");
            let whole = seen.body.len() == x.reply.len();
            assert!(
                !seen.complete || whole,
                "exchange {id}: {} of {} look whole",
                seen.body.len(),
                x.reply.len()
            );
            assert!(
                seen.complete || excused,
                "exchange {id}: cut at {} of {}",
                seen.body.len(),
                x.reply.len()
            );
        } else {
            let status = seen.head.as_ref().and_then(|head| value(head, ":status"));
            assert!(excused, "exchange {id}: the proxy's own {status:?}, broken {}", seen.broken);
        }
    }
}
