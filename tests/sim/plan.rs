//! What a seed stands for: the site, the weather, the clients, and for every exchange what both ends will say.
//!
//! Everything is drawn before the run begins, so an exchange's request and reply depend on the seed alone and the model
//! can say afterwards, from the same plan, what each side must have seen.

use proxy_core::config::{Balance, LeastTime, Measure, RandomTwo};
use proxy_core::time::Millis;

use crate::config::{Checks, Site};
use crate::net::Weather;
use crate::rng::Rng;
use crate::sickness::{self, Sickness};
use crate::twist::{self, Reload};

/// A whole run.
pub(crate) struct Plan {
    pub(crate) site: Site,
    pub(crate) weather: Weather,
    pub(crate) mood: Mood,
    /// How each server is.
    pub(crate) sickness: Vec<Sickness>,
    pub(crate) clients: Vec<Client>,
    pub(crate) exchanges: Vec<Exchange>,
    /// When the process is told to drain while clients are still at work.
    pub(crate) shutdown_us: Option<u64>,
    /// New configurations, in order.
    pub(crate) reloads: Vec<Reload>,
    /// The workers' block sizes: small and large.
    pub(crate) block_bytes: (usize, usize),
}

/// Which troubles a run has. A run without any is held to exact results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mood {
    /// Clients abort, stall and half-close.
    pub(crate) bad_clients: bool,
    /// Upstreams close, reset, hang and talk nonsense.
    pub(crate) bad_upstreams: bool,
    /// Connections to upstreams are refused or never answered, out of a hundred.
    pub(crate) connect_fail_percent: u64,
    /// Upstreams close pooled connections just when they are used again.
    pub(crate) stale_pool: bool,
    /// Servers are ill as such; one of them is well.
    pub(crate) sick_servers: bool,
    /// Files cannot be opened and disks are full, out of a hundred.
    pub(crate) file_fail_percent: u64,
}

/// One connection of a client.
pub(crate) struct Client {
    pub(crate) start_us: u64,
    /// The exchanges on this connection, in order.
    pub(crate) exchanges: Vec<usize>,
    pub(crate) pipelined: bool,
    pub(crate) misdeed: Option<Misdeed>,
    /// How much it reads at once, and how long it waits between two reads.
    pub(crate) read_bytes_max: usize,
    pub(crate) read_pause_us: u64,
    /// Waits for the server to close instead of closing when it has all replies.
    pub(crate) lingers: bool,
}

/// What a client does on its last exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misdeed {
    AbortInRequest,
    AbortWaiting,
    EndlessHead,
    StopInBody,
    HalfClose,
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    None,
    Length,
    Chunked,
    /// Replies only.
    UntilClose,
}

/// One request and the reply that belongs to it.
pub(crate) struct Exchange {
    pub(crate) id: usize,
    pub(crate) method: &'static str,
    pub(crate) http10: bool,
    pub(crate) absolute_form: bool,
    pub(crate) target: String,
    pub(crate) coding: Coding,
    pub(crate) body: Vec<u8>,
    pub(crate) expect: bool,
    /// The client asks for the connection's end.
    pub(crate) close: bool,
    /// A handshake; the bytes are what the client says in the tunnel, the first of them with the head.
    pub(crate) upgrade: Option<Tunnel>,
    /// The first reply only names the place of the real one (X-Accel-Redirect).
    pub(crate) accel: bool,
    pub(crate) reply: Reply,
}

/// What the client says behind a 101.
pub(crate) struct Tunnel {
    pub(crate) bytes: Vec<u8>,
    pub(crate) early: usize,
}

/// What an upstream says.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// It is HTTP/1.0's.
    pub(crate) http10: bool,
    pub(crate) coding: Coding,
    pub(crate) body: Vec<u8>,
    pub(crate) trailer: bool,
    pub(crate) interims: Vec<u16>,
    pub(crate) delay_us: u64,
    /// The head goes out before the request's body has come.
    pub(crate) early: bool,
    pub(crate) then: Then,
    pub(crate) fault: Option<Fault>,
    /// How many tries the fault spoils.
    pub(crate) faulty_tries: usize,
}

/// What an upstream does behind its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    /// Says `Connection: close` and closes.
    Close,
    /// Closes after a while without a word.
    CloseIdle(u64),
    /// Closes when the next request comes.
    CloseOnReuse,
}

/// What goes wrong in an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    CloseBeforeHead,
    ResetBeforeHead,
    /// After so many bytes of the head.
    ResetInHead(usize),
    /// A whole reply that says 503.
    Refuses,
    CloseInBody,
    ResetInBody,
    Garbage,
    HangBeforeHead,
    HangInBody,
}

/// How servers are chosen.
pub(crate) const METHODS: [Balance; 10] = [
    Balance::RoundRobin,
    Balance::RoundRobin,
    Balance::LeastConn,
    Balance::LeastTime(BY_HEADER),
    Balance::LeastTime(LeastTime { measure: Measure::LastByte, inflight: true }),
    Balance::IpHash,
    Balance::Hash,
    Balance::HashConsistent,
    Balance::Random(None),
    Balance::Random(Some(RandomTwo::LeastTime(BY_HEADER))),
];
const BY_HEADER: LeastTime = LeastTime { measure: Measure::Header, inflight: false };

const BODY_BYTES_MAX: usize = 300 * 1024;
/// A few replies are far larger than all the memory that they may take.
const HUGE_BYTES_MAX: usize = 2 * 1024 * 1024;

impl Plan {
    /// The run of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mood = mood(&mut rng);
        // Not drawn, so that the seeds of before stay what they were.
        let checks = Checks { tcp: seed.is_multiple_of(7), kept: seed.is_multiple_of(2) };
        let site =
            Site { limits: seed % 4 == 3, checks: (seed % 3 == 1).then_some(checks), ..site(&mut rng, mood) };
        let weather = Weather {
            delay_us_max: rng.pick(&[20, 1000, 20_000]),
            cut_percent: rng.pick(&[0, 20, 90]),
            socket_bytes: rng.pick(&[2048, 65_536, 262_144]),
        };
        let sickness = if mood.sick_servers {
            sickness::servers(&mut rng, site.weights.len())
        } else {
            vec![Sickness::Well; site.weights.len()]
        };
        let mut plan = Self {
            site,
            weather,
            mood,
            sickness,
            clients: Vec::new(),
            exchanges: Vec::new(),
            shutdown_us: rng.percent(15).then(|| rng.range(0, 2_000_000)),
            reloads: Vec::new(),
            block_bytes: (rng.pick(&[4096, 8192]), rng.pick(&[16_384, 32_768])),
        };
        for _ in 0..rng.range(1, 6) {
            plan.add_client(&mut rng);
        }
        twist::twist(&mut plan, seed);
        plan
    }

    fn add_client(&mut self, rng: &mut Rng) {
        let slow = rng.percent(15);
        let misdeed = (self.mood.bad_clients && rng.percent(60)).then(|| {
            rng.pick(&[
                Misdeed::AbortInRequest,
                Misdeed::AbortWaiting,
                Misdeed::EndlessHead,
                Misdeed::StopInBody,
                Misdeed::HalfClose,
            ])
        });
        let first = self.exchanges.len();
        let count = rng.size(1, 6);
        for nth in 0..count {
            let last = nth + 1 == count;
            let exchange = exchange(rng, first + nth, self.mood, last);
            self.exchanges.push(exchange);
        }
        let pipelined = rng.percent(25);
        if pipelined {
            // Whoever pipelines neither waits for a 100 nor changes the protocol.
            for exchange in &mut self.exchanges[first..] {
                exchange.expect = false;
                exchange.upgrade = None;
                if exchange.reply.status == 101 {
                    exchange.reply.status = 204;
                }
            }
        }
        self.clients.push(Client {
            start_us: rng.range(0, 500_000),
            exchanges: (first..first + count).collect(),
            pipelined,
            misdeed,
            read_bytes_max: if slow { rng.size(1024, 8192) } else { usize::MAX },
            read_pause_us: if slow { rng.range(1000, 100_000) } else { 0 },
            lingers: rng.percent(30),
        });
    }
}

fn mood(rng: &mut Rng) -> Mood {
    // A third of the runs is calm: exact results are only due where nothing went wrong.
    if rng.percent(33) {
        return Mood::default();
    }
    if rng.percent(35) {
        return Mood { sick_servers: true, stale_pool: rng.percent(30), ..Mood::default() };
    }
    Mood {
        sick_servers: false,
        bad_clients: rng.percent(50),
        bad_upstreams: rng.percent(50),
        connect_fail_percent: rng.pick(&[0, 0, 10, 40]),
        stale_pool: rng.percent(50),
        file_fail_percent: rng.pick(&[0, 0, 0, 20]),
    }
}

fn site(rng: &mut Rng, mood: Mood) -> Site {
    let servers = if mood.sick_servers { rng.size(2, 5) } else { rng.size(1, 3) };
    Site {
        weights: (0..servers).map(|_| rng.pick(&[1, 1, 2, 5])).collect(),
        balance: rng.pick(&METHODS),
        fail_timeout: rng.pick(&[Millis(10_000), Millis(300)]),
        keepalive: rng.pick(&[0, 1, 32]),
        keepalive_requests: rng.pick(&[1000, 1000, 2]),
        client_requests_max: rng.pick(&[1000, 1000, 1000, 3]),
        max_fails: if mood.bad_upstreams || mood.sick_servers { rng.pick(&[0, 1, 3]) } else { 1 },
        buffering: rng.percent(60),
        memory_bytes_max: rng.pick(&[8192, 32_768, 262_144]),
        file_bytes_max: rng.pick(&[0, 65_536, 1 << 30]),
        request_buffering: rng.percent(60),
        body_buffer_bytes: rng.pick(&[1024, 16_384, 131_072]),
        ignore_client_abort: rng.percent(15),
        early_hints: rng.percent(30),
        checks: None,
        limits: false,
        http10: false,
        next_on_503: false,
        max_conns: 0,
        gone: None,
        slow_start: Millis(0),
        generation: 1,
    }
}

fn exchange(rng: &mut Rng, id: usize, mood: Mood, last: bool) -> Exchange {
    let method = rng.pick(&["GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS"]);
    let http10 = last && rng.percent(10);
    let carries = method == "POST" || method == "PUT" || rng.percent(5);
    let coding = match (carries, http10) {
        (false, _) => Coding::None,
        (true, true) => Coding::Length,
        (true, false) => rng.pick(&[Coding::Length, Coding::Chunked]),
    };
    let body = if carries { body(rng, BODY_BYTES_MAX) } else { Vec::new() };
    let upgrade =
        (last && method == "GET" && !http10 && coding == Coding::None && rng.percent(30)).then(|| {
            let bytes = body_of(rng, 40_000);
            Tunnel { early: rng.size(0, bytes.len().min(600)), bytes }
        });
    let upgrades = upgrade.is_some() && rng.percent(75);
    let mut reply = reply(rng, mood);
    if upgrades {
        reply =
            Reply { status: 101, coding: Coding::None, body: Vec::new(), early: false, fault: None, ..reply };
    }
    // What comes behind a refused handshake is read as requests, so nothing may come early then.
    let upgrade = upgrade.map(|tunnel| Tunnel { early: if upgrades { tunnel.early } else { 0 }, ..tunnel });
    Exchange {
        id,
        method,
        http10,
        absolute_form: !http10 && rng.percent(10),
        target: format!("/x/{id}?q={}&b=%20{}", rng.range(0, 999), rng.pick(&["", "a//b", "%2F.."])),
        coding,
        expect: coding != Coding::None && !http10 && rng.percent(20),
        body,
        close: last && rng.percent(30),
        upgrade,
        accel: false,
        reply,
    }
}

fn reply(rng: &mut Rng, mood: Mood) -> Reply {
    let status = rng.pick(&[200, 200, 200, 200, 201, 204, 302, 304, 404, 500]);
    let bodiless = status == 204 || status == 304;
    let coding = if bodiless {
        Coding::None
    } else {
        rng.pick(&[Coding::Length, Coding::Length, Coding::Chunked, Coding::UntilClose])
    };
    let then = match (coding, rng.range(0, 9)) {
        (Coding::UntilClose, _) | (_, 0 | 1) => Then::Close,
        (_, 2) if mood.stale_pool => Then::CloseIdle(rng.range(0, 1_000_000)),
        (_, 3..=6) if mood.stale_pool => Then::CloseOnReuse,
        _ => Then::Keep,
    };
    let fault = (mood.bad_upstreams && rng.percent(35)).then(|| {
        rng.pick(&[
            Fault::CloseBeforeHead,
            Fault::ResetBeforeHead,
            Fault::CloseInBody,
            Fault::ResetInBody,
            Fault::Garbage,
            Fault::HangBeforeHead,
            Fault::HangInBody,
        ])
    });
    Reply {
        status,
        http10: false,
        coding,
        body: match (bodiless, rng.percent(4)) {
            (true, _) => Vec::new(),
            (false, huge) => body(rng, if huge { HUGE_BYTES_MAX } else { BODY_BYTES_MAX }),
        },
        trailer: coding == Coding::Chunked && rng.percent(20),
        interims: (0..rng.pick(&[0, 0, 0, 1, 3])).map(|_| rng.pick(&[100, 103])).collect(),
        delay_us: rng.pick(&[0, 0, 1000, 300_000]),
        early: rng.percent(15),
        then,
        fault,
        faulty_tries: rng.pick(&[1, 99]),
    }
}

fn body(rng: &mut Rng, max: usize) -> Vec<u8> {
    let len = rng.spread(max);
    rng.noise(len)
}

fn body_of(rng: &mut Rng, max: usize) -> Vec<u8> {
    let len = rng.size(1, max);
    rng.noise(len)
}

impl Plan {
    /// Whether a reload takes this server away.
    pub(crate) fn goes(&self, server: usize) -> bool {
        self.reloads.iter().any(|reload| reload.site.gone == Some(server))
    }
}

impl Exchange {
    /// The request's head as the client sends it.
    pub(crate) fn head(&self) -> String {
        let target = if self.absolute_form {
            format!("http://{}{}", crate::config::HOST, self.target)
        } else {
            self.target.clone()
        };
        let version = if self.http10 { "HTTP/1.0" } else { "HTTP/1.1" };
        // The target's authority wins over Host, so an absolute form comes with a Host that lies.
        let host = if self.absolute_form { "other.example" } else { crate::config::HOST };
        let mut head = format!("{} {target} {version}\r\nHost: {host}\r\nX-Id: {}\r\n", self.method, self.id);
        let mut hops = Vec::new();
        match self.coding {
            Coding::Length => head += &format!("Content-Length: {}\r\n", self.body.len()),
            Coding::Chunked => head += "Transfer-Encoding: chunked\r\n",
            Coding::None | Coding::UntilClose => {}
        }
        if self.expect {
            head += "Expect: 100-continue\r\n";
        }
        if self.close {
            hops.push("close");
        }
        if self.upgrade.is_some() {
            head += "Upgrade: sim\r\n";
            hops.push("Upgrade");
        }
        if self.id.is_multiple_of(4) {
            head += "X-Hop: one\r\nKeep-Alive: timeout=9\r\n";
            hops.push("X-Hop");
        }
        if !hops.is_empty() {
            head += &format!("Connection: {}\r\n", hops.join(", "));
        }
        head + "X-Long: " + &"v".repeat(self.id * 37 % 700) + "\r\n\r\n"
    }

    /// Whether the request may be sent twice.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.method != "POST"
    }
}

/// `body` in `coding`, in pieces as they may be written; `rng` decides on the cuts.
pub(crate) fn encode(body: &[u8], coding: Coding, trailer: bool, rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let len = (1 + rng.spread(rest.len())).min(rest.len()).max(rest.len() / 50);
        let (piece, tail) = rest.split_at(len);
        rest = tail;
        pieces.push(match coding {
            Coding::Chunked => {
                let extension = if rng.percent(10) { ";a=\"b\"" } else { "" };
                [format!("{len:x}{extension}\r\n").as_bytes(), piece, b"\r\n"].concat()
            }
            Coding::None | Coding::Length | Coding::UntilClose => piece.to_vec(),
        });
    }
    if coding == Coding::Chunked {
        let trailer = if trailer { "X-Trailer: t\r\n" } else { "" };
        pieces.push(format!("0\r\n{trailer}\r\n").into_bytes());
    }
    pieces
}
