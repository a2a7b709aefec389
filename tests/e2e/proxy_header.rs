//! `proxy_protocol`: what a connection to an upstream begins with.

use std::io::Write as _;

use crate::harness::upstream::Then;
use crate::harness::{Client, Ringgate, Upstream};

/// Another ringgate reads the headers: in plain, over TLS, in both versions, and of a check.
#[test]
fn an_upstream_learns_the_client_s_address_and_no_connection_serves_two() {
    const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/tls/out");
    let back = Ringgate::start(&format!(
        "worker_processes 1; events {{}} error_log @DIR@/error.log info; http {{ \
         log_format who '$request_uri $proxy_protocol_addr $proxy_protocol_port $connection_requests'; \
         access_log @DIR@/access.log who; \
         ssl_certificate {FILES}/server.crt; ssl_certificate_key {FILES}/server.key; \
         server {{ listen 127.0.0.1:@PORT0@ proxy_protocol; listen 127.0.0.1:@PORT1@ ssl proxy_protocol; \
         location / {{ return 200 '$proxy_protocol_addr $proxy_protocol_port $connection_requests'; }} }} }}"
    ));
    let (plain, tls) = (back.port(0), back.port(1));
    let proxy = Ringgate::start(&format!(
        "worker_processes 1; events {{}} error_log @DIR@/error.log info; http {{ access_log off; proxy_protocol on; \
         upstream plain {{ server 127.0.0.1:{plain}; keepalive 8; }} \
         upstream tls {{ server 127.0.0.1:{tls}; keepalive 8; }} \
         server {{ listen 127.0.0.1:@PORT0@; \
         location /one {{ proxy_pass http://plain; }} \
         location /two {{ proxy_pass http://plain; proxy_protocol v2; }} \
         location /tls {{ proxy_pass https://tls; }} \
         location /tls/two {{ proxy_pass https://tls; proxy_protocol v2; health_check uri=/check interval=50ms; }} \
         }} }}"
    ));
    for path in ["/one", "/two", "/tls", "/tls/two", "/one", "/tls"] {
        let mut client = Client::connect(proxy.port(0));
        let port = client.stream.local_addr().unwrap().port();
        for _ in 0..2 {
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(client.reply("GET").text(), format!("127.0.0.1 {port} 1"), "{path}");
        }
    }
    back.wait_for("access.log", "/check - - 1", 1);
    assert!(!back.read("error.log").contains("broken header"), "{}", back.read("error.log"));
    // Bytes on the wire, and none without the directive.
    let upstream = Upstream::start(|request, stream| {
        let line = request.line().to_owned();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{line}", line.len());
        Then::Keep
    });
    let proxy = Ringgate::start(&format!(
        "events {{}} error_log @DIR@/error.log; http {{ access_log off; proxy_protocol on; server {{ \
         listen 127.0.0.1:@PORT0@; location / {{ proxy_pass http://127.0.0.1:{0}; }} \
         location /off {{ proxy_protocol off; proxy_pass http://127.0.0.1:{0}; }} }} }}",
        upstream.port
    ));
    let mut client = Client::connect(proxy.port(0));
    let own = client.stream.local_addr().unwrap().port();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {}", proxy.port(0));
    assert_eq!(client.reply("GET").text(), expected);
    client.send("GET /off HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.reply("GET").text(), "GET /off HTTP/1.1");
}
