//! Names that are looked up at run time: the worker between two name servers that are slow, lossy, cut, failing or lying,
//! while the truth about a name changes and answers grow old.
//!
//! Until [`QUIET_US`] the name servers do what their seed says; then they are honest and the truth stays. Whatever they
//! did: every client has one whole reply, in time; nobody is ever connected to whom only a forged answer names; once it
//! is quiet and old answers are over, every client is served, and by one of the true addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use proxy_core::buf::Chain;
use proxy_core::command::{
    Address, Command, Completion, ConnId, IoError, ListenerId, Peer, Report, ResolveError,
};
use proxy_core::shared::Shared;
use proxy_core::time::{Instant, Now};
use proxy_core::worker::{Pools, Worker};
use ringgate::conf::compile;
use ringgate::conf::include::Memory;
use ringgate::conf::lower::{Environment, Resolve};

use crate::rng::Rng;

const SEEDS: u64 = 200;
/// When the name servers become honest.
const QUIET_US: u64 = 60_000_000;
/// When clients may expect to be served: the longest time of an answer, a lookup's patience and its retry are over.
const SETTLED_US: u64 = QUIET_US + 25_000_000;
const END_US: u64 = SETTLED_US + 20_000_000;
const CLIENTS: u64 = 40;
/// A client is answered within this: `resolver_timeout`, and what the timer and a slow network add.
const PATIENCE_US: u64 = 5_500_000;
const FORGED: Ipv4Addr = Ipv4Addr::new(10, 66, 66, 66);
const TTL_S_MAX: u64 = 9;
const STEPS_MAX: usize = 200_000;

const SITE: &[u8] = b"events {} error_log logs/error.log info; http { access_log off; resolver_timeout 5s;
    resolver 10.0.0.1 10.0.0.2 ipv6=off;
    upstream app { server app.test resolve; }
    upstream svc { server app.test service=http resolve; }
    server { listen 80; location / { proxy_pass http://app; } location /svc { proxy_pass http://svc; }
    location /var { proxy_pass http://$arg_n; } location /late { proxy_pass http://late.test; } } }";
const PATHS: [&str; 4] = ["/", "/svc", "/var?n=app.test", "/late"];

struct Nobody;

impl Resolve for Nobody {
    fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, String> {
        Err("nobody".into())
    }
}

/// What happens when.
enum Event {
    Arrive(usize),
    Truth,
    Complete(ConnId, Completion),
    System(Completion),
    /// A name server's words arrive.
    Say(ConnId, Vec<u8>),
    Shutdown,
}

enum End {
    Client(usize),
    Upstream(Ipv4Addr),
    NameServer { number: usize, datagram: bool },
}

struct Socket {
    end: End,
    heard: Vec<u8>,
    receiving: bool,
    /// What came before anybody wanted it.
    waiting: Vec<Vec<u8>>,
}

/// How a name server behaves for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Honest,
    Silent,
    Lossy,
    Slow,
    Cut,
    Lying,
    Failing(u8),
    Refusing,
}

struct World {
    worker: Worker,
    pools: Pools,
    rng: Rng,
    now_us: u64,
    sequence: u64,
    events: BTreeMap<(u64, u64), Event>,
    sockets: BTreeMap<ConnId, Socket>,
    moods: Vec<[Mood; 2]>,
    truth: Vec<Ipv4Addr>,
    /// All that was ever true.
    ever: BTreeSet<Ipv4Addr>,
    /// When each client came and what it has heard; none once that was judged.
    clients: Vec<(u64, usize)>,
    answered: usize,
    drained: bool,
}

#[test]
fn names() {
    if let Ok(seed) = std::env::var("SIM_SEED") {
        return World::new(seed.parse().expect("a number")).run();
    }
    let count = std::env::var("SIM_SEEDS").map_or(SEEDS, |text| text.parse().expect("a number"));
    for seed in 0..count {
        let run = std::panic::catch_unwind(|| World::new(seed).run());
        assert!(run.is_ok(), "SIM_SEED={seed} cargo test -p ringgate-tests --test sim names");
    }
}

fn compiled() -> Arc<proxy_core::config::Config> {
    let env = Environment {
        prefix: Path::new("/p"),
        error_log: Path::new("logs/error.log"),
        access_log: Path::new("logs/access.log"),
        pid: Path::new("logs/nginx.pid"),
        client_body_temp: Path::new("client_body_temp"),
        proxy_temp: Path::new("proxy_temp"),
        root: true,
        unresolved_is_fatal: false,
        hostname: "host.test",
        generation: 1,
        name_servers: &[],
        resolve: &Nobody,
    };
    let files = vec![("/c/n.conf".into(), SITE.to_vec())];
    let compiled = compile(&Memory { files }, Path::new("/c/n.conf"), None, &env);
    let said: Vec<_> = compiled.diagnostics.iter().map(|d| d.headline(&compiled.sources)).collect();
    assert!(compiled.is_good(), "{said:?}");
    Arc::new(compiled.lowered.config)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let pools = Pools::standard();
        let config = compiled();
        let worker = Worker::new(config, Arc::new(Shared::new()), pools.clone(), rng.next(), now(0));
        let all = [
            Mood::Honest,
            Mood::Honest,
            Mood::Silent,
            Mood::Lossy,
            Mood::Slow,
            Mood::Cut,
            Mood::Lying,
            Mood::Failing(2),
            Mood::Failing(5),
            Mood::Refusing,
        ];
        let moods = (0..12).map(|_| [rng.pick(&all), rng.pick(&all)]).collect();
        let mut world = Self {
            worker,
            pools,
            rng,
            now_us: 0,
            sequence: 0,
            events: BTreeMap::new(),
            sockets: BTreeMap::new(),
            moods,
            truth: Vec::new(),
            ever: BTreeSet::new(),
            clients: Vec::new(),
            answered: 0,
            drained: false,
        };
        world.change_truth();
        for _ in 0..6 {
            let at = world.rng.range(1, QUIET_US);
            world.plan_at(at, Event::Truth);
        }
        for n in 0..CLIENTS {
            let late = n >= CLIENTS / 2;
            let at = if late {
                world.rng.range(SETTLED_US, END_US - 6_000_000)
            } else {
                world.rng.range(0, QUIET_US)
            };
            world.plan_at(at, Event::Arrive(usize::try_from(n).expect("few")));
        }
        world.plan_at(END_US, Event::Shutdown);
        world
    }

    fn plan_at(&mut self, at_us: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((at_us.max(self.now_us), self.sequence), event);
    }

    fn plan(&mut self, delay_us: u64, event: Event) {
        self.plan_at(self.now_us + delay_us, event);
    }

    fn run(mut self) {
        self.drain();
        for _ in 0..STEPS_MAX {
            let deadline = self.worker.poll_timeout().map(|at| at.as_micros().saturating_sub(START_US));
            let next = self.events.keys().next().map(|(at, _)| *at);
            match (deadline, next) {
                (None, None) => return self.check_end(),
                (Some(deadline), next) if next.is_none_or(|next| deadline <= next) => {
                    assert!(!self.drained, "rule: a deadline after Drained");
                    self.now_us = self.now_us.max(deadline);
                    self.worker.handle_timeout(now(self.now_us));
                }
                (_, _) => {
                    let ((at, _), event) = self.events.pop_first().expect("there is one");
                    self.now_us = at;
                    self.happen(event);
                }
            }
            self.drain();
        }
        panic!("hang: {STEPS_MAX} steps");
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(number) => {
                let ip = Address::Ip(([192, 0, 2, 1], 50_000).into());
                let peer = Peer { client: ip.clone(), local: ip };
                let conn = self.worker.handle_accept(ListenerId(0), peer, now(self.now_us));
                self.open(conn, End::Client(self.clients.len()));
                self.clients.push((self.now_us, number));
                self.drain();
                let path = PATHS[number % PATHS.len()];
                let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                self.hand(conn, request.into_bytes());
            }
            Event::Truth => self.change_truth(),
            Event::Complete(conn, completion) => {
                if self.sockets.contains_key(&conn) {
                    self.worker.handle_completion(completion, now(self.now_us));
                }
            }
            Event::Say(conn, bytes) => self.hand(conn, bytes),
            Event::System(completion) => self.worker.handle_completion(completion, now(self.now_us)),
            Event::Shutdown => self.worker.handle_shutdown(now(self.now_us)),
        }
    }

    fn change_truth(&mut self) {
        let count = self.rng.range(1, 3);
        self.truth = (0..count).map(|_| Ipv4Addr::new(10, 1, 0, self.rng.range(1, 9) as u8)).collect();
        self.truth.sort_unstable();
        self.truth.dedup();
        self.ever.extend(self.truth.iter().copied());
    }

    fn open(&mut self, conn: ConnId, end: End) {
        let socket = Socket { end, heard: Vec::new(), receiving: false, waiting: Vec::new() };
        assert!(self.sockets.insert(conn, socket).is_none(), "rule: {conn:?} is in use");
    }

    fn drain(&mut self) {
        while let Some(command) = self.worker.poll_command() {
            assert!(!self.drained, "rule: {command:?} after Drained");
            self.obey(command);
        }
        while let Some(report) = self.worker.poll_report() {
            match report {
                Report::Save { .. } => panic!("rule: nobody has a state to save"),
                Report::Drained => self.drained = true,
                Report::Error { level, message, .. } => {
                    assert!(level > proxy_core::command::Level::Alert, "{}", message.escape_ascii());
                }
                Report::Access { .. } | Report::AccessPath { .. } => {}
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Connect { conn, address, options } => self.connect(conn, &address, options.datagram),
            Command::Recv { conn, .. } => {
                let socket = self.sockets.get_mut(&conn).expect("rule: a Recv on a closed key");
                assert!(!std::mem::replace(&mut socket.receiving, true), "rule: two Recv on {conn:?}");
                self.deliver(conn);
            }
            Command::Send { conn, chain } => self.sent(conn, chain),
            Command::Shutdown { .. } => {}
            Command::Close { conn, .. } => {
                let socket = self.sockets.remove(&conn).expect("rule: a second Close");
                if let End::Client(client) = socket.end {
                    self.judge(client, &socket.heard);
                }
            }
            Command::Resolve { id, name } => {
                assert_eq!(&*name, "late.test", "only what was not found at load is the system's");
                let result = if self.now_us < QUIET_US && self.rng.percent(90) {
                    Err(ResolveError { reason: "Temporary failure in name resolution".into() })
                } else {
                    self.ever.insert(Ipv4Addr::new(10, 2, 0, 1));
                    Ok(vec![[10, 2, 0, 1].into()])
                };
                let delay = self.rng.range(0, 3_000_000);
                self.plan(delay, Event::System(Completion::Resolve { id, result }));
            }
            other => panic!("nobody needs {other:?} here"),
        }
    }

    fn connect(&mut self, conn: ConnId, address: &Address, datagram: bool) {
        let Address::Ip(to) = address else { panic!("a connection to {address}") };
        let IpAddr::V4(ip) = to.ip() else { panic!("ipv6=off, and a connection to {address}") };
        let is_name_server = to.port() == 53;
        let end = if is_name_server {
            End::NameServer { number: usize::from(ip.octets()[3]) - 1, datagram }
        } else {
            assert_ne!(ip, FORGED, "poisoned");
            assert!(self.ever.contains(&ip), "{ip} was never true");
            assert!(!datagram && (to.port() == 80 || to.port() == 8000), "{address}");
            End::Upstream(ip)
        };
        self.open(conn, end);
        let local = Address::Ip(([10, 0, 0, 9], 40_000).into());
        let delay = self.rng.range(0, 20_000);
        self.plan(delay, Event::Complete(conn, Completion::Connect { conn, result: Ok(local) }));
    }

    /// Bytes for the worker on this connection.
    fn hand(&mut self, conn: ConnId, bytes: Vec<u8>) {
        if let Some(socket) = self.sockets.get_mut(&conn) {
            socket.waiting.push(bytes);
            self.deliver(conn);
        }
    }

    fn deliver(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.get_mut(&conn) else { return };
        if !socket.receiving || socket.waiting.is_empty() {
            return;
        }
        socket.receiving = false;
        let bytes = socket.waiting.remove(0);
        let mut buf = self.pools.small.take();
        assert!(buf.try_extend(&bytes));
        let completion = Completion::Recv { conn, result: Ok(buf) };
        let delay = self.rng.range(0, 2_000);
        self.plan(delay, Event::Complete(conn, completion));
    }

    fn sent(&mut self, conn: ConnId, chain: Chain) {
        let bytes = chain.to_vec();
        let socket = self.sockets.get_mut(&conn).expect("rule: a Send on a closed key");
        socket.heard.extend_from_slice(&bytes);
        let heard = socket.heard.clone();
        let (end_number, result) = match socket.end {
            End::Client(_) => (None, Ok(bytes.len())),
            End::Upstream(ip) => {
                if heard.ends_with(b"\r\n\r\n") {
                    let text = ip.to_string();
                    let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
                    socket.heard.clear();
                    self.plan(
                        0,
                        Event::Complete(conn, Completion::Send { conn, chain, result: Ok(bytes.len()) }),
                    );
                    return self.hand(conn, reply.into_bytes());
                }
                (None, Ok(bytes.len()))
            }
            End::NameServer { number, datagram } => (Some((number, datagram)), Ok(bytes.len())),
        };
        self.plan(0, Event::Complete(conn, Completion::Send { conn, chain, result }));
        if let Some((number, datagram)) = end_number {
            let message = if datagram { bytes } else { bytes[2..].to_vec() };
            self.answer(conn, number, datagram, &message);
        }
    }

    fn mood(&self, number: usize) -> Mood {
        if self.now_us >= QUIET_US {
            return Mood::Honest;
        }
        let slot = usize::try_from(self.now_us * self.moods.len() as u64 / QUIET_US).expect("few");
        self.moods[slot][number]
    }

    fn answer(&mut self, conn: ConnId, number: usize, datagram: bool, message: &[u8]) {
        let ttl = self.rng.range(0, TTL_S_MAX);
        let mut reply = reply(message, &self.truth, ttl as u8);
        let mut delay = self.rng.range(0, 50_000);
        match self.mood(number) {
            Mood::Honest => {}
            Mood::Silent => return,
            Mood::Lossy if self.rng.percent(50) => return,
            Mood::Lossy => {}
            Mood::Slow => delay = self.rng.range(0, 8_000_000),
            Mood::Cut if datagram => {
                reply.truncate(message.len());
                reply[6..8].fill(0);
                reply[2] |= 2;
            }
            Mood::Cut => {}
            Mood::Lying => {
                for (at, by) in [(0, 1), (1, 0x40), (13, 1), (2, 0x80)] {
                    let mut lie = forged(message);
                    lie[at] ^= by;
                    self.say(conn, datagram, lie, 0);
                }
                self.say(conn, datagram, Vec::new(), 0);
            }
            Mood::Failing(code) => {
                reply = message.to_vec();
                (reply[2], reply[3]) = (0x81, 0x80 | code);
            }
            Mood::Refusing => {
                let completion = Completion::Recv { conn, result: Err(IoError::REFUSED) };
                return self.plan(0, Event::Complete(conn, completion));
            }
        }
        self.say(conn, datagram, reply, delay);
    }

    /// What is said on a stream has its length in front; what is late comes when it comes.
    fn say(&mut self, conn: ConnId, datagram: bool, mut message: Vec<u8>, delay_us: u64) {
        if !datagram {
            if message.is_empty() {
                return;
            }
            let len = u16::try_from(message.len()).expect("short").to_be_bytes();
            message.splice(0..0, len);
        }
        self.plan(delay_us, Event::Say(conn, message));
    }

    fn judge(&mut self, client: usize, heard: &[u8]) {
        let (came_us, number) = self.clients[client];
        let text = String::from_utf8_lossy(heard);
        let path = PATHS[number % PATHS.len()];
        assert!(self.now_us - came_us <= PATIENCE_US, "{path} took {} us", self.now_us - came_us);
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: no reply, but {text:?}"));
        let ok = head.starts_with("HTTP/1.1 200 ");
        assert!(ok || head.starts_with("HTTP/1.1 502 "), "{path}: {head}");
        self.answered += 1;
        if came_us < SETTLED_US {
            return;
        }
        assert!(ok, "{path} at {came_us}: {head}");
        let ip: Ipv4Addr = body.parse().expect("an address");
        let true_now =
            if path == "/late" { ip == Ipv4Addr::new(10, 2, 0, 1) } else { self.truth.contains(&ip) };
        assert!(true_now, "{path}: {ip} is not in {:?}", self.truth);
    }

    fn check_end(self) {
        assert!(self.drained && self.sockets.is_empty(), "leak: sockets are open in the end");
        assert_eq!(self.answered as u64, CLIENTS, "clients without a reply");
    }
}

const START_US: u64 = 7_000_000;

fn now(us: u64) -> Now {
    Now {
        instant: Instant::from_micros(START_US + us),
        unix_ms: 1_800_000_000_000 + us / 1000,
        utc_offset_s: 0,
    }
}

fn records(message: &[u8], list: &[(u8, Vec<u8>)], ttl_s: u8) -> Vec<u8> {
    let mut out = message.to_vec();
    (out[2], out[3], out[7]) = (0x81, 0x80, u8::try_from(list.len()).expect("few"));
    for (kind, data) in list {
        out.extend_from_slice(&[0xc0, 12, 0, *kind, 0, 1, 0, 0, 0, ttl_s, 0, data.len() as u8]);
        out.extend_from_slice(data);
    }
    out
}

/// The truth about `app.test`: its addresses, or itself as the one server of its service.
fn reply(message: &[u8], truth: &[Ipv4Addr], ttl_s: u8) -> Vec<u8> {
    if message[message.len() - 3] == 33 {
        return records(message, &[(33, [&[0, 1, 0, 1, 31, 64][..], b"\x03app\x04test\0"].concat())], ttl_s);
    }
    let list: Vec<_> = truth.iter().map(|ip| (1, ip.octets().to_vec())).collect();
    records(message, &list, ttl_s)
}

fn forged(message: &[u8]) -> Vec<u8> {
    records(message, &[(1, FORGED.octets().to_vec())], 200)
}

#[test]
fn the_site_has_three_names() {
    assert_eq!(compiled().upstreams.iter().map(|upstream| upstream.names.len()).sum::<usize>(), 3);
}
