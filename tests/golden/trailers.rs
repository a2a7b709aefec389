//! Fields behind a request's body: over HTTP/2 they reach an upstream that speaks HTTP/2, by the rules of the head's
//! fields; over HTTP/1.1 they go nowhere, as in nginx.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, in its helpers too")]

use super::h2::{field, frame};
use super::h2_out::{SETTINGS, World};

const CONF: &str = r#"
events {}
http {
    access_log off; http2 on;
    server {
        listen 127.0.0.1:8080; server_name a.test;
        location / { proxy_pass http://10.0.0.1; proxy_http_version 2; proxy_set_header X-Set "ours"; }
        location /stream { proxy_pass http://10.0.0.1; proxy_http_version 2; proxy_request_buffering off; }
        location /bare { proxy_pass http://10.0.0.1; proxy_http_version 2; proxy_pass_request_headers off; }
        location /own { proxy_pass http://10.0.0.1; proxy_http_version 2; proxy_set_body "mine"; }
        location /one { proxy_pass http://10.0.0.1; }
        location /one/stream { proxy_pass http://10.0.0.1; proxy_request_buffering off; }
        location /grpc { grpc_pass 10.0.0.1:50; }
    }
}"#;

/// The fields that a client sends behind its body; what may not stand there among them.
const SENT: &[(&str, &str)] = &[
    ("x-sum", "abc"),
    ("x-set", "theirs"),
    ("content-length", "3"),
    ("host", "evil"),
    ("authorization", "x"),
    ("x_odd", "1"),
    ("x-forwarded-for", "1.2.3.4"),
    ("x-last", ""),
];

/// A request in HTTP/1.1, with these fields behind its body.
fn chunked(path: &str, trailers: &[(&str, &str)]) -> Vec<u8> {
    let lines: String = trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "POST {path} HTTP/1.1\r\nHost: a.test\r\nConnection: x-mine\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\n{lines}\r\n"
    )
    .into_bytes()
}

/// The same over HTTP/2.
fn stream(path: &str, trailers: &[(&str, &str)]) -> Vec<u8> {
    let block = |fields: &[(&str, &str)]| -> Vec<u8> {
        fields.iter().flat_map(|(name, value)| field(name, value)).collect()
    };
    let head = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "a.test")];
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        SETTINGS,
        &frame(1, 4, 1, &block(&head)),
        &frame(0, 0, 1, b"abc"),
        &frame(1, 5, 1, &block(trailers)),
    ]
    .concat()
}

/// What the upstream got behind the body, or whether its stream ended without: `.`; for HTTP/1.1 everything behind the
/// head.
fn passed_on(request: &[u8]) -> String {
    let mut world = World::with(CONF);
    let client = world.connect();
    world.deliver(false, client, request);
    let end = world.upstreams.last_mut().unwrap();
    let heard = std::mem::take(&mut end.heard);
    let Some(mut rest) = heard.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") else {
        let text = String::from_utf8(heard).unwrap();
        return text.split_once("\r\n\r\n").unwrap().1.to_owned();
    };
    let mut out = String::new();
    while let [a, b, c, kind, flags, _, _, _, _, tail @ ..] = rest {
        let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let (payload, tail) = tail.split_at(len);
        rest = tail;
        out.push_str(if *kind == 0 { std::str::from_utf8(payload).unwrap() } else { "" });
        if *kind == 1 {
            out.clear();
            end.decoder
                .decode(payload, &mut |line| {
                    out += &format!("{}={};", line.name.escape_ascii(), line.value.escape_ascii());
                })
                .unwrap();
        }
        out.push_str(if matches!(kind, 0 | 1) && flags & 1 == 1 { "." } else { "" });
    }
    out
}

#[test]
fn they_reach_an_upstream_that_speaks_http2() {
    for request in [chunked, stream] {
        assert_eq!(passed_on(&request("/", SENT)), "x-sum=abc;x-last=;.");
        assert_eq!(passed_on(&request("/stream", SENT)), "x-sum=abc;x-set=theirs;x-last=;.");
        assert_eq!(passed_on(&request("/grpc", &[("x-sum", "1")])), "x-sum=1;.");
        // Nothing is left of them.
        let head_only = passed_on(&request("/", &[("host", "x")]));
        assert!(head_only.ends_with("abc."), "{head_only}");
        for path in ["/bare", "/own"] {
            let without = passed_on(&request(path, SENT));
            assert!(!without.contains("x-sum") && without.ends_with('.'), "{path}: {without}");
        }
    }
    // `Connection` names what is meant for us.
    let named = passed_on(&chunked("/stream", &[("x-mine", "1"), ("x-more", "2")]));
    assert_eq!(named, "x-more=2;.");
}

#[test]
fn they_end_with_an_upstream_that_speaks_http1() {
    for request in [chunked, stream] {
        assert_eq!(passed_on(&request("/one", SENT)), "abc");
        assert_eq!(
            passed_on(&request("/one/stream", &[("x", "1")])).replace("3\r\nabc\r\n0\r\n\r\n", "abc"),
            "abc"
        );
    }
}
