//! HTTP/2 as an upstream meets it: what clients ask for, what it says, frame by frame, and what both get for it.
//!
//! Frames are written as in [`h2`](super::h2), a request as `H1:GET/path.`; frames of a second connection stand behind
//! a bar.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, in its helpers too")]

use std::fmt::Write as _;
use std::sync::Arc;

use proxy_core::command::{Address, Command, Completion, ConnId, IoError, ListenerId, Peer, Report};
use proxy_core::h2::decode::Decoder;
use proxy_core::shared::Shared;
use proxy_core::time::{Instant, Now};
use proxy_core::worker::{Pools, Worker};

use super::h2::{field, frame, setting, window};

const CONF: &str = r#"
events {}
http {
    access_log off; proxy_http_version 2; proxy_pass_trailers on;
    upstream two { server 10.0.0.2; server 10.0.0.3; keepalive 4; keepalive_requests 3; keepalive_timeout 9s; }
    server {
        listen 127.0.0.1:8080; server_name a.test; client_body_buffer_size 1m; client_max_body_size 1m;
        location / { proxy_pass http://10.0.0.1; }
        location /two { proxy_pass http://two; }
        location /slow { proxy_pass http://10.0.0.1; proxy_buffering off; }
    }
}"#;

/// One end of a connection.
pub(super) struct End {
    conn: ConnId,
    reads: bool,
    pub(super) heard: Vec<u8>,
    closed: bool,
    pub(super) decoder: Decoder,
}

/// A worker, its clients and its upstreams; what it sends is taken at once, unless it goes to a client that is stalled.
pub(super) struct World {
    worker: Worker,
    pools: Pools,
    now: Now,
    clients: Vec<End>,
    pub(super) upstreams: Vec<End>,
    refuses: bool,
    stalled: bool,
    errors: String,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(CONF)
    }

    /// A worker with this configuration.
    pub(super) fn with(conf: &str) -> Self {
        let now =
            Now { instant: Instant::from_micros(1_000_000), unix_ms: 1_700_000_000_000, utc_offset_s: 0 };
        let pools = Pools::standard();
        let config = super::content::compiled(conf.as_bytes());
        let worker = Worker::new(config, Arc::new(Shared::new()), pools.clone(), 1, now);
        let (clients, upstreams) = (Vec::new(), Vec::new());
        Self { worker, pools, now, clients, upstreams, refuses: false, stalled: false, errors: String::new() }
    }

    /// A client of its own asks for something. Returns its number.
    fn ask(&mut self, request: &str) -> usize {
        let client = self.connect();
        let (line, rest) = request.split_once('\n').unwrap_or((request, ""));
        let length =
            if rest.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", rest.len()) };
        self.deliver(
            false,
            client,
            format!("{line} HTTP/1.1\r\nHost: a.test\r\n{length}\r\n{rest}").as_bytes(),
        );
        client
    }

    /// A client connects. Returns its number.
    pub(super) fn connect(&mut self) -> usize {
        let address = |text: &str| Address::Ip(text.parse().unwrap());
        let peer = Peer { client: address("192.0.2.1:5000"), local: address("127.0.0.1:8080") };
        let conn = self.worker.handle_accept(ListenerId(0), peer, self.now);
        self.clients.push(End::new(conn));
        self.obey();
        self.clients.len() - 1
    }

    /// An upstream says something.
    pub(super) fn say(&mut self, upstream: usize, bytes: &[u8]) {
        self.deliver(true, upstream, bytes);
    }

    pub(super) fn deliver(&mut self, upstream: bool, place: usize, bytes: &[u8]) {
        for piece in bytes.chunks(4000) {
            let ends = if upstream { &mut self.upstreams } else { &mut self.clients };
            if ends[place].closed || !std::mem::take(&mut ends[place].reads) {
                return;
            }
            let conn = ends[place].conn;
            let mut buf = self.pools.large.take();
            assert!(buf.try_extend(piece));
            self.complete(Completion::Recv { conn, result: Ok(buf) });
            self.obey();
        }
    }

    fn end(&mut self, upstream: bool, place: usize) {
        let conn = if upstream { self.upstreams[place].conn } else { self.clients[place].conn };
        let result = if upstream { Ok(self.pools.large.take()) } else { Err(IoError::RESET) };
        self.complete(Completion::Recv { conn, result });
        self.obey();
    }

    fn pass(&mut self, ms: u64) {
        self.now.instant = Instant::from_micros(self.now.instant.as_micros() + ms * 1000);
        self.worker.handle_timeout(self.now);
        self.obey();
    }

    fn complete(&mut self, completion: Completion) {
        self.worker.handle_completion(completion, self.now);
    }

    fn obey(&mut self) {
        loop {
            match (self.worker.poll_command(), self.worker.poll_report()) {
                (Some(command), report) => {
                    self.note(report);
                    self.carry_out(command);
                }
                (None, Some(report)) => self.note(Some(report)),
                (None, None) => return,
            }
        }
    }

    fn note(&mut self, report: Option<Report>) {
        if let Some(Report::Error { message, .. }) = report {
            let text = String::from_utf8(message).unwrap();
            self.errors += text.split(", client").next().unwrap().split_once(' ').unwrap().1;
            self.errors.push('\n');
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "no files and no names here")]
    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Connect { conn, address, .. } => {
                self.upstreams.push(End::new(conn));
                let result = if self.refuses { Err(IoError::REFUSED) } else { Ok(address) };
                self.complete(Completion::Connect { conn, result });
            }
            Command::Recv { conn, .. } => self.at(conn).unwrap().1.reads = true,
            Command::Send { conn, chain } => {
                let stalled = self.stalled;
                let (is_client, end) = self.at(conn).unwrap();
                end.heard.extend(chain.to_vec());
                if !(stalled && is_client) {
                    let len = chain.len();
                    self.complete(Completion::Send { conn, chain, result: Ok(len) });
                }
            }
            Command::Close { conn, .. } => self.at(conn).unwrap().1.closed = true,
            Command::Shutdown { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn at(&mut self, conn: ConnId) -> Option<(bool, &mut End)> {
        let client = self.clients.iter_mut().find(|end| end.conn == conn && !end.closed);
        match client {
            Some(end) => Some((true, end)),
            None => self.upstreams.iter_mut().rfind(|end| end.conn == conn).map(|end| (false, end)),
        }
    }

    /// What the upstreams have heard since the last look.
    fn heard(&mut self) -> String {
        let all: Vec<String> = self.upstreams.iter_mut().map(End::words).collect();
        all.join("| ").trim().to_owned()
    }

    /// What a client has got: the status, the body, and `x` for the end of its connection.
    fn got(&mut self, client: usize) -> String {
        let end = &mut self.clients[client];
        let text = String::from_utf8_lossy(&std::mem::take(&mut end.heard)).into_owned();
        let status = text.get(9..12).unwrap_or_default().to_owned();
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let body = if body.starts_with('<') || body.len() > 100 { "" } else { body };
        format!("{status} {body}{}", if end.closed { "x" } else { "" }).trim().to_owned()
    }
}

impl End {
    fn new(conn: ConnId) -> Self {
        Self { conn, reads: false, heard: Vec::new(), closed: false, decoder: Decoder::default() }
    }

    fn words(&mut self) -> String {
        let mut out = String::new();
        let bytes = std::mem::take(&mut self.heard);
        let mut rest = bytes.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap_or(&bytes);
        while let [a, b, c, kind, flags, w, x, y, z, tail @ ..] = rest {
            let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            let (payload, tail) = tail.split_at(len);
            rest = tail;
            let id = u32::from_be_bytes([*w, *x, *y, *z]);
            let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            let end = if flags & 1 != 0 { "." } else { "" };
            let _ = match kind {
                0 => write!(out, "D{id}:{len}{end} "),
                1 => {
                    let mut text = String::new();
                    self.decoder
                        .decode(payload, &mut |line| {
                            if matches!(line.name, b":method" | b":path") {
                                text += std::str::from_utf8(line.value).unwrap();
                            }
                        })
                        .unwrap();
                    write!(out, "H{id}:{text}{end} ")
                }
                3 => write!(out, "R{id}={} ", word(0)),
                4 => write!(out, "{}", if *flags == 1 { "A " } else { "S " }),
                6 => write!(out, "P "),
                7 => write!(out, "G{}={} ", word(0), word(4)),
                8 => write!(out, "W{id}+{} ", word(0)),
                other => panic!("a frame of kind {other}"),
            };
        }
        if self.closed {
            out.push_str("x ");
        }
        out
    }
}

pub(super) const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

fn head(stream: u32, end: bool, fields: &[(&str, &str)]) -> Vec<u8> {
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    frame(1, 4 | u8::from(end), stream, &block)
}

fn ok(stream: u32, body: &str) -> Vec<u8> {
    [head(stream, false, &[(":status", "200")]), frame(0, 1, stream, body.as_bytes())].concat()
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(3, 0, stream, &code.to_be_bytes())
}

fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(7, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

#[test]
fn a_reply_is_the_same_at_every_split() {
    let fields = [(":status", "200"), ("content-length", "5"), ("x-a", "b")];
    let said = [
        SETTINGS,
        &head(1, false, &[(":status", "103"), ("link", "</a>")]),
        &head(1, false, &fields),
        &frame(0, 8, 1, b"\x02hel__"),
        &frame(0, 0, 1, b"lo"),
        &head(1, true, &[("x-t", "1")]),
    ]
    .concat();
    for cut in 0..=said.len() {
        let mut world = World::new();
        let client = world.ask("GET /a");
        assert_eq!(world.heard(), "S W0+16711681 H1:GET/a.");
        if cut > 0 {
            world.say(0, &said[..cut]);
        }
        if cut < said.len() {
            world.say(0, &said[cut..]);
        }
        assert_eq!(world.heard(), "A", "cut at {cut}");
        let got = String::from_utf8(std::mem::take(&mut world.clients[client].heard)).unwrap();
        assert!(got.starts_with("HTTP/1.1 103 ") && got.contains("x-a: b\r\n"), "{got}");
        assert!(got.contains("hello"), "cut at {cut}: {got}");
        assert_eq!(world.errors, "");
    }
}

/// A case's name, what the upstream says to one request, what it hears for it, what the client gets, what is logged.
type Case = (&'static str, Vec<u8>, &'static str, &'static str, &'static str);

/// Streams that fail: the connection goes on.
fn stream_errors() -> Vec<Case> {
    let status = (":status", "200");
    let invalid = "upstream sent invalid header while reading response header from upstream\n";
    let unexpected = "upstream sent unexpected http2 frame\n";
    vec![
        ("refused", reset(1, 7), "A H3:GET/a.", "", "upstream rejected request with error 7\n"),
        ("reset", reset(1, 2), "A", "502", "upstream rejected request with error 2\n"),
        ("no status", head(1, true, &[("a", "b")]), "A R1=1", "502", invalid),
        ("two", head(1, true, &[status, status]), "A R1=1", "502", invalid),
        ("101", head(1, true, &[(":status", "101")]), "A R1=1", "502", invalid),
        ("upper case", head(1, true, &[status, ("A", "b")]), "A R1=1", "502", invalid),
        ("connection", head(1, true, &[status, ("connection", "close")]), "A R1=1", "502", invalid),
        ("DATA first", frame(0, 1, 1, b"a"), "A R1=1", "502", unexpected),
        ("an interim end", head(1, true, &[(":status", "103")]), "A R1=1", "502", unexpected),
        ("a window of 0", window(1, 0), "A R1=1", "502", unexpected),
        (
            "two lengths",
            head(1, true, &[status, ("content-length", "1"), ("content-length", "1")]),
            "A",
            "502",
            "upstream sent invalid framing while reading response header from upstream\n",
        ),
        (
            "too short",
            [head(1, false, &[status, ("content-length", "4")]), frame(0, 1, 1, b"abc")].concat(),
            "A",
            "200 abcx",
            "upstream prematurely closed stream\n",
        ),
        (
            "too long",
            [head(1, false, &[status, ("content-length", "2")]), frame(0, 1, 1, b"abc")].concat(),
            "A",
            "200 x",
            "upstream sent response body larger than indicated content length\n",
        ),
        (
            "cut",
            [head(1, false, &[status, ("content-length", "4")]), frame(0, 0, 1, b"abc"), reset(1, 8)]
                .concat(),
            "A",
            "200 abcx",
            "upstream rejected request with error 8\n",
        ),
        (
            "whole, and then the rest is not wanted",
            [ok(1, "yes"), reset(1, 0)].concat(),
            "A",
            "200 3\r\nyes\r\n0",
            "",
        ),
    ]
}

/// Errors of the connection.
fn connection_errors() -> Vec<Case> {
    let unexpected = "upstream sent unexpected http2 frame\n";
    let length = "upstream sent http2 frame with invalid length\n";
    vec![
        ("a stream that nobody opened", ok(3, "a"), "A G0=1 x", "502", unexpected),
        ("an even one", ok(2, "a"), "A G0=1 x", "502", unexpected),
        ("a push", frame(5, 4, 1, &[0; 4]), "A G0=1 x", "502", unexpected),
        ("too large a frame", frame(0, 0, 1, &vec![0; 16_385]), "A G0=6 x", "502", length),
        (
            "no HPACK",
            frame(1, 5, 1, &[0xff; 6]),
            "A G0=9 x",
            "502",
            "upstream sent invalid http2 header block\n",
        ),
        (
            "too large a window",
            window(0, 0x7fff_ffff),
            "A G0=3 x",
            "502",
            "upstream violated stream flow control\n",
        ),
        (
            "GOAWAY before it",
            goaway(0, 0),
            "A x | S W0+16711681 H1:GET/a.",
            "",
            "upstream sent goaway with error 0\n",
        ),
        ("GOAWAY behind it", [goaway(1, 0), ok(1, "yes")].concat(), "A x", "200 3\r\nyes\r\n0", ""),
        (
            "a flood of empty frames",
            [head(1, false, &[(":status", "200")]), frame(0, 0, 1, b"").repeat(201)].concat(),
            "A G0=11 x",
            "200 x",
            "upstream sent too many http2 frames\n",
        ),
        (
            "a flood of unknown frames",
            frame(99, 0, 0, b"").repeat(1001),
            "A G0=11 x",
            "502",
            "upstream sent too many http2 frames\n",
        ),
    ]
}

#[test]
fn what_an_upstream_says_and_what_comes_of_it() {
    let mut wrong = Vec::new();
    for (name, said, heard, got, logged) in [stream_errors(), connection_errors()].into_iter().flatten() {
        let mut world = World::new();
        let client = world.ask("GET /a");
        let _ = world.heard();
        world.say(0, &[SETTINGS, &said].concat());
        let result = (world.heard(), world.got(client), world.errors.clone());
        if result != (heard.into(), got.into(), logged.into()) {
            wrong.push(format!("{name}: {result:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_no_http2_is_a_bad_gateway() {
    for said in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &frame(6, 0, 0, &[0; 8]), b""] {
        let mut world = World::new();
        let client = world.ask("GET /a");
        if said.is_empty() {
            world.end(true, 0)
        } else {
            world.say(0, said)
        }
        assert_eq!(world.got(client), "502", "{}", said.escape_ascii());
        assert!(world.heard().ends_with('x'));
    }
    let mut world = World::new();
    world.refuses = true;
    let client = world.ask("GET /a");
    assert_eq!(world.got(client), "502");
    assert_eq!(world.errors, "connect() failed (111: Connection refused) while connecting to upstream\n");
}

#[test]
fn a_connection_is_shared_up_to_what_the_upstream_takes() {
    let mut world = World::new();
    let clients: Vec<usize> = ["GET /a", "GET /b", "GET /c"].map(|line| world.ask(line)).into();
    assert_eq!(world.heard(), "S W0+16711681 H1:GET/a. H3:GET/b. H5:GET/c.");
    world.say(0, &setting(3, 3));
    let fourth = world.ask("GET /d");
    assert_eq!(world.heard(), "A | S W0+16711681 H1:GET/d.");
    world.say(0, &[ok(5, "five"), ok(1, "one"), ok(3, "three")].concat());
    world.say(1, &[SETTINGS, &ok(1, "four")].concat());
    for (client, text) in
        clients.into_iter().chain([fourth]).zip(["3\r\none", "5\r\nthree", "4\r\nfive", "4\r\nfour"])
    {
        assert_eq!(world.got(client), format!("200 {text}\r\n0"));
    }
    // Both are kept, and one of them is used.
    world.ask("GET /e");
    let heard = world.heard();
    assert!(heard.contains("H7:GET/e.") != heard.contains("H3:GET/e."), "{heard}");
}

#[test]
fn the_groups_limits_hold() {
    let mut world = World::new();
    for _ in 0..3 {
        world.ask("GET /two/a");
    }
    // Round robin over two servers, hence two connections; the third request is the first one's second.
    assert_eq!(world.heard(), "S W0+16711681 H1:GET/two/a. H3:GET/two/a. | S W0+16711681 H1:GET/two/a.");
    world.say(0, &[SETTINGS, &ok(1, ""), &ok(3, "")].concat());
    world.say(1, &[SETTINGS, &ok(1, "")].concat());
    assert_eq!(world.heard(), "A | A");
    world.ask("GET /two/b");
    world.ask("GET /two/b");
    assert_eq!(world.heard(), "H5:GET/two/b. | H3:GET/two/b.");
    world.say(0, &ok(5, ""));
    assert!(world.upstreams[0].closed || world.upstreams[1].closed, "keepalive_requests ends it");
    world.say(1, &ok(3, ""));
    world.pass(9_100);
    assert!(world.upstreams.iter().all(|end| end.closed), "keepalive_timeout ends it");
}

#[test]
fn a_request_that_was_surely_not_processed_is_sent_again_with_its_body() {
    let mut world = World::new();
    let client = world.ask("POST /a\nbody");
    assert_eq!(world.heard(), "S W0+16711681 H1:POST/a D1:4.");
    world.say(0, &[SETTINGS, &reset(1, 7)].concat());
    assert_eq!(world.heard(), "A H3:POST/a D3:4.");
    world.say(0, &reset(3, 2));
    assert_eq!(world.got(client), "502", "it may have been processed, and POST is not idempotent");
}

#[test]
fn bodies_go_as_the_windows_allow() {
    let mut world = World::new();
    let body = "b".repeat(100_000);
    let client = world.ask(&format!("PUT /a\n{body}"));
    assert_eq!(world.heard(), "S W0+16711681 H1:PUT/a D1:16384 D1:16384 D1:16384 D1:16383");
    world.say(0, &[SETTINGS, &window(1, 100_000)].concat());
    assert_eq!(world.heard(), "A", "the connection has a window, too");
    world.say(0, &window(0, 30_000));
    assert_eq!(world.heard(), "D1:16384 D1:13616");
    world.say(0, &window(0, 30_000));
    assert_eq!(world.heard(), "D1:4465.");
    world.say(0, &ok(1, "yes"));
    assert_eq!(world.got(client), "200 3\r\nyes\r\n0");
}

#[test]
fn who_does_not_take_a_reply_holds_up_its_own_stream_only() {
    let mut world = World::new();
    world.stalled = true;
    let slow = world.ask("GET /slow");
    world.say(0, &[SETTINGS, &head(1, false, &[(":status", "200")])].concat());
    for _ in 0..8 {
        world.say(0, &frame(0, 0, 1, &[b'x'; 16_384]));
    }
    let heard = world.heard();
    assert!(!heard.contains("W1+"), "nobody takes it, so nothing more is asked for: {heard}");
    world.stalled = false;
    let other = world.ask("GET /a");
    assert!(world.heard().contains("H3:GET/a."));
    world.say(0, &ok(3, "yes"));
    assert_eq!(world.got(other), "200 3\r\nyes\r\n0");
    world.say(0, &frame(0, 0, 1, b"one more"));
    assert_eq!(world.heard(), "R1=3", "it was told how much it may send");
    world.end(false, slow);
    assert_eq!(world.heard(), "");
}

#[test]
fn a_client_that_leaves_ends_its_stream() {
    let mut world = World::new();
    let client = world.ask("GET /a");
    world.say(0, SETTINGS);
    let _ = world.heard();
    world.end(false, client);
    assert_eq!(world.heard(), "R1=8");
    world.say(0, &ok(1, "late"));
    assert_eq!(world.heard(), "", "it had not known");
    let other = world.ask("GET /b");
    assert_eq!(world.heard(), "H3:GET/b.");
    world.say(0, &ok(3, "yes"));
    assert_eq!(world.got(other), "200 3\r\nyes\r\n0");
}

#[test]
fn an_upgrade_goes_by_http1() {
    let mut world = World::new();
    let lines = "GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    world.ask("GET /first");
    let first = world.clients.len();
    let address = |text: &str| Address::Ip(text.parse().unwrap());
    let peer = Peer { client: address("192.0.2.1:5000"), local: address("127.0.0.1:8080") };
    let conn = world.worker.handle_accept(ListenerId(0), peer, world.now);
    world.clients.push(End::new(conn));
    world.obey();
    world.deliver(false, first, lines.as_bytes());
    let asked = String::from_utf8(std::mem::take(&mut world.upstreams[1].heard)).unwrap();
    assert!(asked.starts_with("GET /a HTTP/1.1\r\n") && asked.contains("Connection: upgrade\r\n"), "{asked}");
}
