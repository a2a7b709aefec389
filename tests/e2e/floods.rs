//! What costs a client little and a server much, thrown at the real binary: each kind meets its bound, is told so with
//! ENHANCE_YOUR_CALM, leaves one line in the log, and harms nobody else. Slow openings are bounded in time and memory.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::proxy::Proxy;
use crate::harness::{Client, DEADLINE, Ringgate};

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/tls");
const ENHANCE_YOUR_CALM: u32 = 11;

/// `/wait` is answered by nobody.
fn site(silent: &TcpListener) -> String {
    let large = "x".repeat(4000);
    format!(
        r#"events {{}} error_log @DIR@/error.log info; http {{
            access_log off; client_header_timeout 2s;
            server {{
                listen 127.0.0.1:@PORT0@; listen 127.0.0.1:@PORT1@ ssl; http2 on;
                ssl_certificate {FILES}/rsa.crt; ssl_certificate_key {FILES}/rsa.key;
                location / {{ return 200 "{large}"; }}
                location /wait {{ proxy_pass http://127.0.0.1:{}; proxy_request_buffering off; client_max_body_size 0; }}
            }}
        }}"#,
        silent.local_addr().unwrap().port()
    )
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// A request's block, without Huffman code and tables.
fn block(method: &str, path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a.test")]
    {
        out.push(0);
        for text in [name, value] {
            out.push(u8::try_from(text.len()).unwrap());
            out.extend(text.bytes());
        }
    }
    out
}

fn greeting(settings: &[u8]) -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &*frame(4, 0, 0, settings)].concat()
}

/// So many times what this makes of the number.
fn times(count: u32, make: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(make).collect()
}

/// Each kind by its name; the bound is in `h2/flood.rs`.
fn floods() -> Vec<(&'static str, Vec<u8>)> {
    let id = |n: u32| 2 * n + 1;
    let post = || frame(1, 4, 1, &block("POST", "/wait"));
    let get = |n: u32| frame(1, 5, id(n), &block("GET", "/wait"));
    vec![
        (
            "rapid reset (CVE-2023-44487)",
            times(400, |n| [get(n), frame(3, 0, id(n), &[0, 0, 0, 8])].concat()),
        ),
        (
            "resets that we are made to send (CVE-2025-8671)",
            times(400, |n| [get(n), frame(8, 0, id(n), &[0; 4])].concat()),
        ),
        (
            "resets of requests that were answered",
            times(1100, |n| {
                [frame(1, 5, id(n), &block("GET", "/none")), frame(3, 0, id(n), &[0, 0, 0, 8])].concat()
            }),
        ),
        (
            "CONTINUATION (CVE-2024-27316)",
            [frame(1, 1, 1, &block("GET", "/")), times(30, |_| frame(9, 0, 1, b"\x00\x01a\x01b"))].concat(),
        ),
        ("SETTINGS (CVE-2019-9515)", times(60, |_| frame(4, 0, 0, &[]))),
        ("PING (CVE-2019-9512)", times(1100, |_| frame(6, 0, 0, b"12345678"))),
        ("PRIORITY (CVE-2019-9513)", times(1100, |_| frame(2, 0, 1, &[0, 0, 0, 0, 9]))),
        ("empty DATA (CVE-2019-9518)", [post(), times(250, |_| frame(0, 0, 1, b""))].concat()),
        ("WINDOW_UPDATE", times(1100, |_| frame(8, 0, 0, &[0, 0, 0, 1]))),
        ("too many streams", times(500, get)),
    ]
}

/// Says all of it and returns the code of the GOAWAY that ends the connection.
fn flood(name: &str, port: u16, bytes: &[u8]) -> Option<u32> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let bytes = [greeting(&[]), bytes.to_vec()].concat();
    let writing = std::thread::spawn(move || {
        // In pieces, so that windows and answers have their turn. The other side may leave meanwhile.
        let _ = bytes.chunks(1200).try_for_each(|piece| writer.write_all(piece));
    });
    let mut heard = Vec::new();
    let mut buf = [0; 16_384];
    loop {
        match stream.read(&mut buf) {
            Ok(0) => break,
            Ok(len) => heard.extend_from_slice(&buf[..len]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{name}: no end: {error}"),
        }
    }
    writing.join().unwrap();
    let mut rest = &*heard;
    while let [a, b, c, kind, _, _, _, _, _, tail @ ..] = rest {
        let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        if *kind == 7 {
            return tail.get(4..8).map(|code| u32::from_be_bytes(code.try_into().unwrap()));
        }
        rest = tail.get(len..).unwrap_or_default();
    }
    None
}

#[test]
fn each_flood_meets_its_bound() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let ringgate = Ringgate::start(&site(&silent));
    for (number, (name, bytes)) in floods().into_iter().enumerate() {
        assert_eq!(flood(name, ringgate.port(0), &bytes), Some(ENHANCE_YOUR_CALM), "{name}");
        ringgate.wait_for("error.log", "http2 flood detected", number + 1);
        let log = ringgate.read("error.log");
        assert_eq!(log.matches("http2 flood detected").count(), number + 1, "{name}: {log}");
        // Nobody else has noticed.
        assert_eq!(Client::fetch(ringgate.port(0), "/").status, 200, "{name}");
    }
}

/// The next frame's kind and payload.
fn next_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    stream.read_exact(&mut payload).unwrap();
    (head[3], payload)
}

/// CVE-2019-9511: a window that only ever has room for one byte.
#[test]
fn a_reply_is_not_drawn_byte_by_byte() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let ringgate = Ringgate::start(&site(&silent));
    let mut stream = TcpStream::connect(("127.0.0.1", ringgate.port(0))).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let window_of_one = greeting(&[0, 4, 0, 0, 0, 1]);
    stream.write_all(&[window_of_one, frame(1, 5, 1, &block("GET", "/"))].concat()).unwrap();
    let mut slivers = 0;
    let code = loop {
        match next_frame(&mut stream) {
            (0, data) => {
                assert_eq!(data.len(), 1);
                slivers += 1;
                stream.write_all(&frame(8, 0, 1, &[0, 0, 0, 1])).unwrap();
            }
            (7, payload) => break u32::from_be_bytes(payload[4..8].try_into().unwrap()),
            _ => {}
        }
    };
    assert_eq!((code, slivers), (ENHANCE_YOUR_CALM, 200));
    ringgate.wait_for("error.log", "http2 flood detected", 1);
}

/// The memory that the process has in use, in KiB.
fn resident_kib(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What begins and does not go on: a ClientHello, heads of both versions, a block of fields.
fn openings() -> [(&'static str, usize, Vec<u8>); 4] {
    // A ClientHello of 16 KiB in one record, all but its end.
    let hello = [&[22, 3, 1, 0x3f, 0x00, 1, 0, 0x3e, 0xfc, 3, 3][..], &[7; 15_000]].concat();
    let head = format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Slow: {}", "y".repeat(7000)).into_bytes();
    let block = [greeting(&[]), frame(1, 1, 1, &[0; 14_000])].concat();
    let partial = [greeting(&[]), frame(1, 5, 1, &block_of(15_000))[..15_000].to_vec()].concat();
    [("ClientHello", 1, hello), ("head", 0, head), ("block", 0, block), ("frame", 0, partial)]
}

fn block_of(bytes: usize) -> Vec<u8> {
    vec![0x40; bytes]
}

/// How many of each are open at once, and how much memory each may hold, in KiB: its bytes and as much again.
const SLOW: usize = 200;
const KIB_EACH: u64 = 40;

#[test]
fn slow_openings_are_bounded_in_time_and_memory() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let ringgate = Ringgate::start(&site(&silent));
    assert_eq!(Client::fetch(ringgate.port(0), "/").status, 200);
    for (name, port, bytes) in openings() {
        let before = resident_kib(&ringgate);
        let began = Instant::now();
        let mut slow: Vec<TcpStream> = (0..SLOW)
            .map(|_| {
                let mut stream = TcpStream::connect(("127.0.0.1", ringgate.port(port))).unwrap();
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.write_all(&bytes).unwrap();
                stream
            })
            .collect();
        // While they wait, others are served.
        assert_eq!(Client::fetch(ringgate.port(0), "/").status, 200, "{name}");
        let grown = resident_kib(&ringgate).saturating_sub(before);
        assert!(grown < SLOW as u64 * KIB_EACH, "{name}: {grown} KiB for {SLOW} connections");
        for stream in &mut slow {
            let mut rest = Vec::new();
            match stream.read_to_end(&mut rest) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                Err(error) => panic!("{name}: not closed in time: {error}"),
            }
        }
        assert!(began.elapsed() >= Duration::from_millis(1500), "{name}: closed before its time");
    }
}
