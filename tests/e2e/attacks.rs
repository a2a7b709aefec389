//! What must be refused, through the whole binary: nothing of it reaches the upstream, the client is told and the
//! connection closed, the log says why in one line, and the worker goes on.

use std::io::Write as _;

use crate::harness::upstream::Then;
use crate::harness::{Client, Ringgate, Upstream};

const CONF: &str = "events {} error_log @DIR@/error.log info; http { access_log off; \
                    server { listen 127.0.0.1:@PORT0@; location / { proxy_pass http://@UP@; } } }\n";

/// What is sent, and the status that refuses it.
const REQUESTS: &[(&str, u16)] = &[
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 2\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", 501),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naX0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\na\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX(y): z\r\n\r\n", 400),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("GET / HTTP/1\r\nHost: a\r\n\r\n", 400),
    ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /\r\n\r\n", 400),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
    ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: magic\r\n\r\nx", 417),
    ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n", 400),
];

#[test]
fn refused_requests_reach_nobody() {
    let upstream = Upstream::saying("ok");
    let proxy = Ringgate::start(&CONF.replace("@UP@", &format!("127.0.0.1:{}", upstream.port)));
    let mut wrong = String::new();
    for (request, status) in REQUESTS {
        let before = proxy.read("error.log").matches("[info]").count();
        let mut client = Client::connect(proxy.port(0));
        // What is smuggled behind must not be answered either.
        let smuggled = format!("{request}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let _ = client.try_send(smuggled.as_bytes());
        let answer = String::from_utf8_lossy(&client.rest()).into_owned();
        proxy.wait_for("error.log", "[info]", before + 1);
        let lines = proxy.read("error.log").matches("[info]").count() - before;
        let (replies, closes) =
            (answer.matches("HTTP/1.1 ").count(), answer.contains("Connection: close\r\n"));
        let refused = answer.starts_with(&format!("HTTP/1.1 {status} "));
        if !refused || replies != 1 || !closes || lines != 1 {
            let line = answer.lines().next().unwrap_or_default().to_owned();
            wrong.push_str(&format!(
                "{request:?}: {line:?}, not {status}; {replies} replies, closes: {closes}, {lines} lines\n"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert_eq!(upstream.received().iter().map(|got| got.head.clone()).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(Client::fetch(proxy.port(0), "/").text(), "ok", "the worker goes on");
    assert!(!proxy.read("error.log").contains("[alert]"));
}

/// What an upstream says that no client may see.
const REPLIES: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nX: y\r\n folded\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nX: y\0z\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "ICY 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "just text\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
];

#[test]
fn replies_that_cannot_be_trusted_are_not_passed_on() {
    let upstream = Upstream::start(|request, stream| {
        let index: Option<usize> = request.line().split(['/', ' ']).nth(2).and_then(|n| n.parse().ok());
        let reply = index.map_or("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", |index| REPLIES[index]);
        let _ = stream.write_all(reply.as_bytes());
        if index.is_none() { Then::Keep } else { Then::Close }
    });
    let proxy = Ringgate::start(&CONF.replace("@UP@", &format!("127.0.0.1:{}", upstream.port)));
    let mut wrong = String::new();
    for (index, reply) in REPLIES.iter().enumerate() {
        let status = Client::fetch(proxy.port(0), &format!("/{index}")).status;
        if status != 502 {
            wrong.push_str(&format!("{reply:?}: {status}\n"));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert_eq!(Client::fetch(proxy.port(0), "/").text(), "ok", "the worker goes on");
}

/// Bytes behind a reply's end poison nobody: they are not the next client's reply.
#[test]
fn extra_bytes_of_a_reply_reach_nobody() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for head in ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 204 No Content\r\n\r\n"] {
        let upstream = Upstream::replying(format!("{head}{evil}"));
        let proxy = Ringgate::start(&CONF.replace("@UP@", &format!("127.0.0.1:{}", upstream.port)));
        for _ in 0..5 {
            assert_ne!(Client::fetch(proxy.port(0), "/").text(), "evil");
        }
        let connections: Vec<usize> = upstream.received().iter().map(|request| request.connection).collect();
        assert_eq!(connections, [0, 1, 2, 3, 4], "none is used again");
    }
}
