//! Golden lines, as nginx wrote them.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Destination, LogBuffers, error_line};
use crate::command::{Address, Report};
use crate::config::{AccessLog, Escape, LogFormat, LogId, LogTarget};
use crate::exchange::vars::fixture::{Fixture, PROXY};
use crate::http::Status;

const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
                        \"$http_referer\" \"$http_user_agent\"";

fn log(fixture: &Fixture, target: LogTarget, escape: Escape, format: &str) -> AccessLog {
    let template = fixture.template(format);
    AccessLog { target, format: Arc::new(LogFormat { name: "f".into(), escape, template }), condition: None }
}

fn line(fixture: &Fixture, escape: Escape, format: &str) -> String {
    let mut logs = LogBuffers::default();
    let log = log(fixture, LogTarget::File(LogId(0)), escape, format);
    logs.write(&log, Destination::File, &fixture.facts, &fixture.env());
    match logs.next_report() {
        Some(Report::Access { lines, .. }) => String::from_utf8(lines).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_combined_format() {
    for (request, status, bytes, expected) in [
        (
            "GET /r HTTP/1.0\r\n\r\n",
            200,
            3,
            r#"192.0.2.7 - - [21/Nov/2026:05:45:00 +0100] "GET /r HTTP/1.0" 200 3 "-" "-""#,
        ),
        (
            "GET /r?a=\" HTTP/1.1\r\nHost: h\r\nAuthorization: Basic Ym9iOnB3\r\nReferer:\r\nUser-Agent: q\"\\ü\r\n\r\n",
            502,
            157,
            r#"192.0.2.7 - bob [21/Nov/2026:05:45:00 +0100] "GET /r?a=\x22 HTTP/1.1" 502 157 "" "q\x22\x5C\xC3\xBC""#,
        ),
        (
            "\u{16}\u{3}\u{1}\r\n",
            400,
            0,
            r#"192.0.2.7 - - [21/Nov/2026:05:45:00 +0100] "\x16\x03\x01" 400 0 "-" "-""#,
        ),
        ("", 0, 0, r#"192.0.2.7 - - [21/Nov/2026:05:45:00 +0100] "-" 000 0 "-" "-""#),
    ] {
        let mut fixture = Fixture::new(request);
        fixture.facts.reply.status = Status(status);
        fixture.facts.reply.body_bytes_sent = bytes;
        assert_eq!(line(&fixture, Escape::Default, COMBINED), format!("{expected}\n"));
    }
}

#[test]
fn each_way_to_escape() {
    let all: String = (1u8..=0x7f).map(char::from).chain(['ü']).collect();
    let mut fixture = Fixture::new("GET / HTTP/1.0\r\nX-N: plain\r\n\r\n");
    fixture.facts.uri = crate::buf::Chunk::from_vec(all.clone().into_bytes());
    let printable: String = (b' '..=b'~').map(char::from).collect();
    let hex = |byte: u8| format!("\\x{byte:02X}");
    let control: String = (1..b' ').map(hex).collect();
    let default = printable.replace('\\', "\\x5C").replace('"', "\\x22");
    let json = printable.replace('\\', "\\\\").replace('"', "\\\"");
    let control_json: String = (1..b' ')
        .map(|byte| match byte {
            8 => "\\b".into(),
            9 => "\\t".into(),
            10 => "\\n".into(),
            12 => "\\f".into(),
            13 => "\\r".into(),
            _ => format!("\\u{byte:04X}"),
        })
        .collect();
    for (escape, expected) in [
        (Escape::Default, format!("\"@\" plain - {control}{default}\\x7F\\xC3\\xBC\n")),
        (Escape::Json, format!("\"@\" plain  {control_json}{json}\u{7f}ü\n")),
        (Escape::None, format!("\"@\" plain  {all}\n")),
    ] {
        let text = line(&fixture, escape, "\"@\" $http_x_n $args $uri");
        assert_eq!(text, expected, "{escape:?}");
    }
}

#[test]
fn lines_of_a_turn_are_one_report_for_each_log_and_their_memory_comes_back() {
    let fixture = Fixture::new("GET /a HTTP/1.1\r\nHost: h.x\r\n\r\n");
    let to = |target| log(&fixture, target, Escape::Default, "$uri");
    let targets = [
        LogTarget::File(LogId(1)),
        LogTarget::Path(fixture.template("/log/$host.log")),
        LogTarget::File(LogId(0)),
        LogTarget::File(LogId(1)),
        LogTarget::Path(fixture.template("/log/$http_host.log")),
    ];
    let mut logs = LogBuffers::default();
    for turn in 0..3 {
        for target in &targets {
            logs.write(&to(target.clone()), Destination::File, &fixture.facts, &fixture.env());
        }
        let mut seen: Vec<(String, Box<[u8]>)> = Vec::new();
        while let Some(report) = logs.next_report() {
            let (name, lines) = match report {
                Report::Access { log, lines } => (format!("{}", log.0), lines),
                Report::AccessPath { path, lines } => (String::from_utf8(path.into_vec()).unwrap(), lines),
                Report::Error { .. } | Report::Save { .. } | Report::Drained => panic!("{report:?}"),
            };
            assert!(turn == 0 || lines.capacity() >= 64, "the memory of the last turn is used again");
            seen.push((name, lines.as_slice().into()));
            let mut written = lines;
            written.reserve(64);
            logs.recycle(written);
        }
        seen.sort();
        let names = seen.iter().map(|(name, lines)| format!("{name} {}", lines.escape_ascii()));
        assert_eq!(names.collect::<Vec<_>>(), ["/log/h.x.log /a\\n/a\\n", "0 /a\\n", "1 /a\\n/a\\n"]);
    }
}

#[test]
fn error_lines_tell_what_is_known() {
    let ip = || Ok(Address::Ip(([127, 0, 0, 1], 3000).into()));
    let unix = || Ok(Address::Unix("/run/a.sock".into()));
    let server = "client: 192.0.2.7, server: first.example";
    for (request, tried, message, expected) in [
        (
            "GET /dead/a%20b?x=1 HTTP/1.1\r\nHost: Dead.example:81\r\nReferer: http://r\"/\r\n\r\n",
            Some(ip()),
            "connect() failed (111: Connection refused) while connecting to upstream",
            "request: \"GET /dead/a%20b?x=1 HTTP/1.1\", upstream: \"http://127.0.0.1:3000/dead/a%20b?x=1\", host: \
             \"Dead.example:81\", referrer: \"http://r\"/\"",
        ),
        (
            "GET /un?q HTTP/1.1\r\nHost: h\r\n\r\n",
            Some(unix()),
            "m",
            "request: \"GET /un?q HTTP/1.1\", upstream: \"http://unix:/run/a.sock:/un?q\", host: \"h\"",
        ),
        (
            "GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
            Some(Err("dead")),
            "no live upstreams while connecting to upstream",
            "request: \"GET /a HTTP/1.1\", upstream: \"http://dead/a\", host: \"h\"",
        ),
        (
            "GET / HTTP/1.1\r\nHost:\r\nReferer:\r\n\r\n",
            None,
            "m",
            "request: \"GET / HTTP/1.1\", host: \"\", referrer: \"\"",
        ),
        ("GE\u{1}T\u{1b}[2J\r\n", None, "client sent invalid method", "request: \"GE\\x01T\\x1B[2J\""),
        ("", None, "client timed out (110: Connection timed out)", ""),
    ] {
        let mut fixture = Fixture::new(request);
        fixture.facts.location = PROXY;
        if let Some(address) = tried {
            fixture.add_try(address, 502, [None; 3]);
        }
        let mut out = Vec::new();
        error_line::write(&mut out, message, &fixture.facts, &fixture.env());
        let expected = format!("*42 {message}, {server}, {expected}");
        assert_eq!(String::from_utf8(out).unwrap(), expected.trim_end_matches(", "), "{request}");
    }
}

#[test]
fn error_lines_end_at_nginxs_bound() {
    let request = format!("GET /{} HTTP/1.0\r\n\r\n", "x".repeat(4000));
    let fixture = Fixture::new(&request);
    let mut out = b"before".to_vec();
    error_line::write(&mut out, "m", &fixture.facts, &fixture.env());
    assert_eq!(out.len(), b"before".len() + error_line::LINE_BYTES_MAX);
}
