//! HTTP/2 as a client meets it: what is said, frame by frame, and what comes back (RFC 9113). The floods are here, each
//! just below its bound and just above it.
//!
//! What comes back is written one word a frame: `S` SETTINGS, `A` its ACK, `W0+9` a WINDOW_UPDATE, `H1:200` a head and
//! `H1:200.` one that ends the stream, `D1:5` DATA, `T1.` trailers, `R1=8` RST_STREAM, `P` a PING's answer, `G5=0`
//! GOAWAY with the last stream and the code, `x` the connection's end. The greeting is left out.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, in its helpers too")]

use std::fmt::Write as _;
use std::sync::Arc;

use proxy_core::buf::Chain;
use proxy_core::command::{Address, Command, Completion, ConnId, ListenerId, Peer, Report};
use proxy_core::config::Config;
use proxy_core::h2::decode::Decoder;
use proxy_core::shared::Shared;
use proxy_core::time::{Instant, Now};
use proxy_core::worker::{Pools, Worker};

const CONF: &str = r#"
events {}
http {
    access_log off; http2 on; http2_max_concurrent_streams 4; http2_body_preread_size 100; http2_chunk_size 1k;
    server {
        listen 127.0.0.1:8080; server_name a.test; keepalive_requests 100000; keepalive_timeout 7s; client_max_body_size 1k;
        large_client_header_buffers 4 1k;
        location / { return 200 "hello"; }
        location /big { return 200 "@BIG@"; }
        location /empty { return 204; }
        location /drop { return 444; }
        location /up { proxy_pass http://10.0.0.1; proxy_request_buffering off; proxy_pass_trailers on; }
        location /two { keepalive_requests 2; return 200 "hello"; }
    }
}"#;

const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn config() -> Arc<Config> {
    super::content::compiled(CONF.replace("@BIG@", &"x".repeat(3000)).as_bytes())
}

/// A worker with one client; what it sends is taken at once, unless the client is stalled.
struct World {
    worker: Worker,
    pools: Pools,
    now: Now,
    client: ConnId,
    reads: bool,
    heard: Vec<u8>,
    stalled: Option<Option<Chain>>,
    closed: bool,
    upstream: Option<ConnId>,
    /// All connections to upstreams so far.
    upstreams: Vec<ConnId>,
    /// How often something was sent to the client.
    sends: usize,
    upstream_heard: Vec<u8>,
    decoder: Decoder,
}

impl World {
    fn new() -> Self {
        let now =
            Now { instant: Instant::from_micros(1_000_000), unix_ms: 1_700_000_000_000, utc_offset_s: 0 };
        let pools = Pools::standard();
        let mut worker = Worker::new(config(), Arc::new(Shared::new()), pools.clone(), 1, now);
        let address = |text: &str| Address::Ip(text.parse().unwrap());
        let peer = Peer { client: address("192.0.2.1:5000"), local: address("127.0.0.1:8080") };
        let client = worker.handle_accept(ListenerId(0), peer, now);
        let mut world = Self {
            worker,
            pools,
            now,
            client,
            reads: false,
            heard: Vec::new(),
            stalled: None,
            closed: false,
            upstream: None,
            upstreams: Vec::new(),
            sends: 0,
            upstream_heard: Vec::new(),
            decoder: Decoder::default(),
        };
        world.obey();
        world
    }

    /// One that was greeted and has greeted.
    fn greeted() -> Self {
        let mut world = Self::new();
        world.say(GREETING);
        assert_eq!(world.heard(), "S W0+983041 A ");
        world
    }

    fn complete(&mut self, completion: Completion) {
        self.worker.handle_completion(completion, self.now);
    }

    fn say(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(4000) {
            if !std::mem::take(&mut self.reads) {
                return;
            }
            let mut buf = self.pools.small.take();
            assert!(buf.try_extend(piece));
            self.complete(Completion::Recv { conn: self.client, result: Ok(buf) });
            self.obey();
        }
    }

    fn upstream_says(&mut self, bytes: &[u8]) {
        let mut buf = self.pools.large.take();
        assert!(buf.try_extend(bytes));
        let conn = self.upstream.unwrap();
        self.complete(Completion::Recv { conn, result: Ok(buf) });
        self.obey();
    }

    fn pass(&mut self, ms: u64) {
        self.now.instant = Instant::from_micros(self.now.instant.as_micros() + ms * 1000);
        self.worker.handle_timeout(self.now);
        self.obey();
    }

    fn obey(&mut self) {
        loop {
            let Some(command) = self.worker.poll_command() else {
                match self.worker.poll_report() {
                    None => return,
                    Some(Report::Access { lines, .. }) => self.worker.recycle(lines),
                    Some(
                        Report::AccessPath { .. }
                        | Report::Error { .. }
                        | Report::Save { .. }
                        | Report::Drained,
                    ) => {}
                }
                continue;
            };
            self.carry_out(command);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "no files and no names here")]
    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Connect { conn, address, .. } => {
                self.upstream = Some(conn);
                self.upstreams.push(conn);
                self.complete(Completion::Connect { conn, result: Ok(address) });
            }
            Command::Recv { conn, .. } => self.reads |= conn == self.client,
            Command::Send { conn, chain } => {
                if conn == self.client {
                    self.sends += 1;
                    self.heard.extend(chain.to_vec());
                    if let Some(stalled) = &mut self.stalled {
                        *stalled = Some(chain);
                        return;
                    }
                } else {
                    self.upstream_heard.extend(chain.to_vec());
                }
                let len = chain.len();
                self.complete(Completion::Send { conn, chain, result: Ok(len) });
            }
            Command::Close { conn, .. } => self.closed |= conn == self.client,
            Command::Shutdown { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    /// What came since the last look.
    fn heard(&mut self) -> String {
        let mut out = String::new();
        let bytes = std::mem::take(&mut self.heard);
        let mut rest = bytes.as_slice();
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
                    let mut status = None;
                    let mut add = |line: proxy_core::h2::table::Line<'_>| {
                        if line.name == b":status" {
                            status = Some(String::from_utf8(line.value.to_vec()).unwrap());
                        }
                    };
                    self.decoder.decode(payload, &mut add).unwrap();
                    match status {
                        Some(status) => write!(out, "H{id}:{status}{end} "),
                        None => write!(out, "T{id}{end} "),
                    }
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
            out.push('x');
        }
        out
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// A literal field that enters no table.
pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
    let string = |text: &str| {
        let len = u8::try_from(text.len()).unwrap();
        [if len < 127 { vec![len] } else { vec![127, len - 127] }, text.as_bytes().to_vec()].concat()
    };
    [vec![0], string(name), string(value)].concat()
}

fn block(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a.test")];
    pseudo.iter().chain(more).flat_map(|(name, value)| field(name, value)).collect()
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(1, 5, stream, &block("GET", path, &[]))
}

fn post(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    frame(1, 4, stream, &block("POST", path, more))
}

/// A case's name, what the client says, and what it hears.
type Case = (&'static str, Vec<u8>, &'static str);

pub(super) fn window(stream: u32, bytes: u32) -> Vec<u8> {
    frame(8, 0, stream, &bytes.to_be_bytes())
}

pub(super) fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(4, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn requests(path: &str, ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| get(*id, path)).collect()
}

/// A request whose block goes on for so many empty CONTINUATION frames and one that ends it.
fn cut(block: &[u8], parts: usize) -> Vec<u8> {
    let mut out = frame(1, 1, 1, &block[..1]);
    (0..parts).for_each(|_| out.extend(frame(9, 0, 1, b"")));
    out.extend(frame(9, 4, 1, &block[1..]));
    out
}

/// So many requests, each given up at once.
fn given_up(times: u32) -> Vec<u8> {
    (0..times).flat_map(|n| [get(2 * n + 1, "/up"), frame(3, 0, 2 * n + 1, &[0; 4])].concat()).collect()
}

/// Requests and what is no request.
fn plain() -> Vec<Case> {
    vec![
        ("a request", get(1, "/"), "H1:200 D1:5. "),
        ("no body", get(1, "/empty"), "H1:204. "),
        ("HEAD", frame(1, 5, 1, &block("HEAD", "/", &[])), "H1:200. "),
        (
            "four at once are served in turn",
            requests("/big", &[1, 3]),
            "H1:200 D1:1024 H3:200 D3:1024 D1:1024 D3:1024 D1:952. D3:952. ",
        ),
        ("444", get(1, "/drop"), "R1=1 "),
        (
            "padding, priority",
            frame(1, 0x2d, 1, &[&[2, 0, 0, 0, 0, 9][..], &block("GET", "/", &[]), b"__"].concat()),
            "H1:200 D1:5. ",
        ),
        ("CONTINUATION", cut(&block("GET", "/", &[]), 3), "H1:200 D1:5. "),
        ("a ping", frame(6, 0, 0, b"12345678"), "P "),
        (
            "PRIORITY_UPDATE and unknown frames",
            [frame(0x10, 0, 0, b"\0\0\0\x01u=1"), frame(99, 3, 7, b"?")].concat(),
            "",
        ),
        ("a body that nobody wants", [post(1, "/", &[]), frame(0, 1, 1, b"abc")].concat(), "H1:200 D1:5. "),
        (
            "trailers end a request",
            [post(1, "/", &[]), frame(1, 5, 1, &field("x-t", "1"))].concat(),
            "H1:200 D1:5. ",
        ),
    ]
}

/// Heads that are refused: the connection goes on.
fn refused_heads() -> Vec<Case> {
    let long = &*"y".repeat(250);
    vec![
        ("upper case", frame(1, 5, 1, &block("GET", "/", &[("X-A", "1")])), "H1:400 D1:159. "),
        ("connection", frame(1, 5, 1, &block("GET", "/", &[("connection", "close")])), "H1:400 D1:159. "),
        ("two hosts", frame(1, 5, 1, &block("GET", "/", &[("host", "b.test")])), "H1:400 D1:159. "),
        ("CONNECT", frame(1, 5, 1, &field(":method", "CONNECT")), "H1:405 D1:159. "),
        (
            "a field that is too long",
            frame(1, 5, 1, &block("GET", "/", &[("x", long); 20])),
            "H1:400 D1:235. ",
        ),
        (
            "a length without a body",
            frame(1, 5, 1, &block("POST", "/up", &[("content-length", "5")])),
            "H1:400 D1:159. ",
        ),
        ("too large a body", post(1, "/", &[("content-length", "5000")]), "H1:413 D1:185. R1=0 "),
    ]
}

/// Errors of a stream.
fn stream_errors() -> Vec<Case> {
    vec![
        (
            "more than was announced",
            [post(1, "/up", &[("content-length", "2")]), frame(0, 0, 1, b"abc")].concat(),
            "R1=1 ",
        ),
        (
            "less than was announced",
            [post(1, "/up", &[("content-length", "4")]), frame(0, 1, 1, b"abc")].concat(),
            "R1=1 ",
        ),
        ("DATA behind the end", [get(1, "/up"), frame(0, 0, 1, b"abc")].concat(), "R1=5 "),
        ("beyond the stream's window", [post(1, "/up", &[]), frame(0, 0, 1, &[0; 101])].concat(), "R1=3 "),
        ("a window of 0", [get(1, "/up"), window(1, 0)].concat(), "R1=1 "),
        ("too large a window", [get(1, "/up"), window(1, 0x7fff_ffff)].concat(), "R1=3 "),
        ("too many streams", requests("/up", &[1, 3, 5, 7, 9]), "R9=7 "),
    ]
}

/// Errors of the connection.
fn connection_errors() -> Vec<Case> {
    vec![
        ("an even stream", get(2, "/"), "G0=1 "),
        ("a stream again", [get(3, "/"), get(1, "/")].concat(), "G3=5 "),
        ("DATA on an idle stream", frame(0, 0, 1, b"a"), "G0=1 "),
        ("a reset of an idle stream", frame(3, 0, 1, &[0; 4]), "G0=1 "),
        ("a window of 0", window(0, 0), "G0=1 "),
        ("too large a window", window(0, 0x7fff_ffff), "G0=3 "),
        ("too large a frame", frame(0, 0, 1, &vec![0; 16_385]), "G0=6 "),
        ("a PUSH_PROMISE", frame(5, 4, 1, &[0; 4]), "G0=1 "),
        ("SETTINGS of a wrong size", frame(4, 0, 0, &[0; 5]), "G0=6 "),
        ("SETTINGS of a wrong value", setting(2, 2), "G0=1 "),
        ("a window that SETTINGS cannot have", setting(4, 0x8000_0000), "G0=3 "),
        ("no HPACK", frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff"), "G1=9 "),
        (
            "something between HEADERS and CONTINUATION",
            [frame(1, 1, 1, b"\x82"), frame(6, 0, 0, &[0; 8])].concat(),
            "G0=1 ",
        ),
        ("CONTINUATION alone", frame(9, 4, 1, b"\x82"), "G0=1 "),
    ]
}

/// The client's windows.
fn windows() -> Vec<Case> {
    vec![
        ("a small window", [setting(4, 3), get(1, "/")].concat(), "A H1:200 D1:3 "),
        ("a window that grows", [setting(4, 3), get(1, "/"), window(1, 9)].concat(), "A H1:200 D1:5. "),
        (
            "SETTINGS that make it grow",
            [setting(4, 3), get(1, "/"), setting(4, 4)].concat(),
            "A A H1:200 D1:4 ",
        ),
    ]
}

/// Each just below its bound and just above it.
fn floods() -> Vec<Case> {
    vec![
        ("resets within bounds", given_up(300), ""),
        ("a rapid reset", given_up(301), "G601=11 "),
        ("CONTINUATION within bounds", cut(&block("GET", "/", &[]), 15), "H1:200 D1:5. "),
        ("a CONTINUATION flood", cut(&block("GET", "/", &[]), 16), "G0=11 "),
        (
            "a block that does not end",
            [frame(1, 1, 1, &[0; 16_000]), frame(9, 0, 1, &[0; 16_000])].concat(),
            "G0=11 ",
        ),
        ("an empty DATA flood", [post(1, "/up", &[]), frame(0, 0, 1, b"").repeat(201)].concat(), "G1=11 "),
        ("a WINDOW_UPDATE flood", window(0, 1).repeat(1001), "G0=11 "),
        ("a PRIORITY flood", frame(2, 0, 1, &[0; 5]).repeat(1001), "G0=11 "),
        ("an unknown flood", frame(77, 0, 1, &[0; 5]).repeat(1001), "G0=11 "),
    ]
}

#[test]
fn frames_and_their_answers() {
    let mut wrong = Vec::new();
    let cases = [plain(), refused_heads(), stream_errors(), connection_errors(), windows(), floods()];
    for (name, said, expected) in cases.into_iter().flatten() {
        let mut world = World::greeted();
        world.say(&said);
        let heard = world.heard();
        let heard = heard.trim_end_matches('x');
        if heard != expected {
            wrong.push(format!("{name}: {heard:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn answers_that_flood_us_are_bounded() {
    for (one, times, answers) in [(frame(6, 0, 0, &[0; 8]), 1001, "P"), (frame(4, 0, 0, b""), 50, "A")] {
        let mut world = World::greeted();
        world.say(&one.repeat(times));
        let heard = world.heard();
        assert_eq!(heard.matches(answers).count(), times - 1, "{heard}");
        assert!(heard.contains("G0=11"), "{heard}");
    }
}

/// A client that takes nothing: what waits for it stays small, and its requests come to an end.
#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let mut world = World::greeted();
    world.stalled = Some(None);
    for id in [1, 3, 5, 7] {
        world.say(&get(id, "/big"));
    }
    world.say(&frame(6, 0, 0, &[0; 8]).repeat(900));
    assert!(world.heard.len() < 200 * 1024, "{}", world.heard.len());
    world.pass(59_000);
    assert!(!world.closed);
    world.pass(2_000);
    assert!(world.closed, "send_timeout ends it");
}

#[test]
fn a_zero_window_is_given_up_too() {
    let mut world = World::greeted();
    world.say(&[frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]), get(1, "/")].concat());
    assert_eq!(world.heard(), "A H1:200 ");
    world.pass(59_000);
    world.say(&frame(6, 0, 0, &[0; 8]));
    assert_eq!(world.heard(), "P ");
    world.pass(2_000);
    assert_eq!(world.heard(), "R1=1 ", "a ping is no progress of the stream");
}

#[test]
fn bodies_go_to_the_upstream_as_it_takes_them() {
    let mut world = World::greeted();
    world.say(&post(1, "/up", &[("cookie", "a=1"), ("cookie", "b=2")]));
    let asked = String::from_utf8(std::mem::take(&mut world.upstream_heard)).unwrap();
    assert!(asked.starts_with("POST /up HTTP/1.1\r\nHost: 10.0.0.1\r\n"), "{asked}");
    assert!(
        asked.contains("Transfer-Encoding: chunked\r\n") && asked.contains("cookie: a=1; b=2\r\n"),
        "{asked}"
    );
    // The exchange asks for the body: the window that was 100 bytes grows.
    assert_eq!(world.heard(), "W1+262044 ");
    world.say(&frame(0, 0, 1, b"abc"));
    world.say(&frame(0, 1, 1, b"defg"));
    assert_eq!(
        world.upstream_heard.escape_ascii().to_string(),
        "3\\r\\nabc\\r\\n4\\r\\ndefg\\r\\n0\\r\\n\\r\\n"
    );
    world.upstream_says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_eq!(world.heard(), "H1:103 H1:200 D1:3 ");
    world.upstream_says(b"0\r\nX-T: 1\r\n\r\n");
    assert_eq!(world.heard(), "T1. ");
}

/// RFC 8441: a WebSocket over a stream, to an upstream that speaks HTTP/1.1.
#[test]
fn all_replies_of_a_turn_leave_with_one_send() {
    let mut world = World::greeted();
    world.say(&requests("/up", &[1, 3, 5]));
    world.sends = 0;
    for conn in world.upstreams.clone() {
        let mut buf = world.pools.large.take();
        assert!(buf.try_extend(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        // As the driver does it: nothing is asked of the worker before all of them are handed in.
        world.complete(Completion::Recv { conn, result: Ok(buf) });
    }
    world.obey();
    assert_eq!(world.heard(), "H1:200 D1:2. H3:200 D3:2. H5:200 D5:2. ");
    assert_eq!(world.sends, 1);
}

#[test]
fn a_websocket_over_a_stream() {
    let mut world = World::greeted();
    let connect = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/up"),
        (":authority", "a.test"),
        ("sec-websocket-version", "13"),
    ];
    let block: Vec<u8> = connect.iter().flat_map(|(name, value)| field(name, value)).collect();
    world.say(&frame(1, 4, 1, &block));
    let asked = String::from_utf8(std::mem::take(&mut world.upstream_heard)).unwrap();
    assert!(asked.starts_with("GET /up HTTP/1.1\r\n"), "{asked}");
    for line in [
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\n",
        "sec-websocket-key: ",
        "sec-websocket-version: 13\r\n",
    ] {
        assert!(asked.contains(line), "{asked}");
    }
    let _ = world.heard();
    world.upstream_says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nearly");
    assert_eq!(world.heard(), "H1:200 D1:5 ");
    world.say(&frame(0, 0, 1, b"ping"));
    assert_eq!(world.upstream_heard, b"ping");
    world.upstream_says(b"pong!!");
    assert!(world.heard().contains("D1:6 "));
    world.upstream_says(b"");
    assert!(world.heard().contains("D1:0. "));
}

#[test]
fn who_leaves_says_so() {
    let mut world = World::greeted();
    world.say(&[get(1, "/two"), get(3, "/two"), get(5, "/two")].concat());
    let heard = world.heard();
    assert!(heard.contains("G5=0") && heard.contains("D5:5."), "{heard}");
    let mut idle = World::greeted();
    idle.pass(7_100);
    assert_eq!(idle.heard(), "G0=0 ");
    let mut leaving = World::greeted();
    leaving.say(&get(1, "/up"));
    leaving.worker.handle_shutdown(leaving.now);
    leaving.obey();
    assert_eq!(leaving.heard(), "G1=0 ");
    leaving.say(&get(3, "/"));
    assert_eq!(leaving.heard(), "", "GOAWAY has said that it will not be looked at");
    leaving.upstream_says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(leaving.heard().trim_end_matches('x'), "H1:200 D1:2. ");
}

#[test]
fn the_preface_is_waited_for() {
    for cut in 1..GREETING.len() {
        let mut world = World::new();
        world.say(&GREETING[..cut]);
        let early = world.heard();
        world.say(&GREETING[cut..]);
        assert_eq!(early + &world.heard(), "S W0+983041 A ", "cut at {cut}");
    }
    let mut silent = World::new();
    silent.say(&GREETING[..24]);
    silent.pass(61_000);
    assert!(silent.heard().starts_with("S W0+983041 G0=1 "));
}
