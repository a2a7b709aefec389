//! TLS towards upstreams that are somebody else's: nginx, openssl's own server, and one that says nothing.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::harness::client::Reply;
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Then;
use crate::harness::{Client, Nginx, Ringgate, Upstream, eventually, free_port};

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/tls/out");

/// What puts TLS in front of `upstream`.
fn front(upstream: &Upstream) -> String {
    format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log off; client_body_temp_path @DIR@/body; \
         proxy_temp_path @DIR@/proxy; client_max_body_size 0; ssl_protocols TLSv1.2 TLSv1.3; \
         ssl_certificate {FILES}/server.crt; ssl_certificate_key {FILES}/server.key; server {{ \
         listen 127.0.0.1:@PORT0@ ssl; location = /who {{ \
         return 200 '$ssl_server_name $connection_requests $ssl_session_reused $ssl_protocol'; }} \
         location / {{ proxy_pass http://127.0.0.1:{}; proxy_http_version 1.1; \
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; }} }} }}\n",
        upstream.port
    )
}

/// ringgate that asks `upstream` over TLS.
fn ringgate(upstream: u16, server: &str) -> Proxy {
    Ringgate::start(&format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log @DIR@/access.log; \
         client_body_temp_path @DIR@/body; proxy_temp_path @DIR@/proxy; client_max_body_size 0; \
         proxy_ssl_trusted_certificate {FILES}/ca.crt; proxy_ssl_name up.example; proxy_ssl_server_name on; \
         upstream up {{ server 127.0.0.1:{upstream}; keepalive 8; }} \
         server {{ listen 127.0.0.1:@PORT0@; proxy_ssl_verify on; {server} }} }}\n"
    ))
}

fn echo() -> Upstream {
    Upstream::start(|request, stream| {
        if request.field("upgrade").is_some() {
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nhello";
            let _ = stream.write_all(head.as_bytes());
            let mut copy = stream.try_clone().unwrap();
            let _ = std::io::copy(&mut copy, stream);
            return Then::Close;
        }
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
        let _ = stream.write_all(&request.body);
        Then::Keep
    })
}

/// How bodies are passed on.
const MODES: [&str; 3] =
    ["", "proxy_buffering off; proxy_request_buffering off;", "proxy_max_temp_file_size 0;"];

#[test]
fn bodies_and_tunnels_go_through_as_they_are() {
    let upstream = echo();
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    for version in ["TLSv1.2", "TLSv1.3"] {
        let fronts = [Some(Ringgate::start(&front(&upstream))), Nginx::start(&front(&upstream))];
        for (front, more) in fronts.iter().flatten().flat_map(|front| MODES.map(|more| (front, more))) {
            let server =
                format!("proxy_ssl_protocols {version}; {more} location / {{ proxy_pass https://up; }}");
            let proxy = ringgate(front.port(0), &server);
            let mut client = Client::connect(proxy.port(0));
            for _ in 0..2 {
                client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
                client.send(&body);
                assert!(client.reply("POST").body == body, "{version} {more}");
            }
            client.send("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n");
            client.until(b"\r\n\r\nhello");
            client.send(&body[..100_000]);
            assert!(client.exactly(100_000) == body[..100_000]);
            client.send("bye");
            if front.is_nginx() {
                // It ends a tunnel when either end does.
                continue;
            }
            client.finish();
            assert_eq!(client.rest(), b"bye", "what came before the end comes back before the end");
        }
    }
}

#[test]
fn connections_and_sessions_are_for_those_who_want_the_same() {
    let upstream = echo();
    for version in ["TLSv1.2", "TLSv1.3"] {
        let Some(nginx) = Nginx::start(&front(&upstream)) else { return };
        let proxy = ringgate(
            nginx.port(0),
            &format!(
                "proxy_ssl_protocols {version}; location = /who {{ proxy_pass https://up; }} \
                 location /name/ {{ proxy_pass https://up/who; proxy_ssl_verify off; proxy_ssl_name $arg_name; }} \
                 location /close/ {{ proxy_pass https://up/who; proxy_set_header Connection close; }} \
                 location /anew/ {{ proxy_pass https://up/who; proxy_set_header Connection close; \
                 proxy_ssl_session_reuse off; }}"
            ),
        );
        let who = |path: &str| Client::fetch(proxy.port(0), path).text().to_owned();
        assert_eq!(who("/who"), format!("up.example 1 . {version}"));
        assert_eq!(who("/who"), format!("up.example 2 . {version}"));
        assert_eq!(who("/name/?name=b.example"), format!("b.example 1 . {version}"));
        assert_eq!(who("/name/?name=c.example"), format!("c.example 1 . {version}"));
        assert_eq!(who("/name/?name=b.example"), format!("b.example 2 . {version}"));
        assert_eq!(who("/close/"), format!("up.example 3 . {version}"));
        assert_eq!(who("/close/"), format!("up.example 1 r {version}"), "a session is resumed");
        assert_eq!(who("/anew/"), format!("up.example 1 . {version}"));
        assert_eq!(who("/anew/"), format!("up.example 1 . {version}"));
    }
}

/// openssl's server, which answers with a page about the connection.
struct Openssl {
    child: Child,
    port: u16,
}

impl Openssl {
    fn start(options: &[&str]) -> Option<Self> {
        let port = free_port();
        let (certificate, key) = (format!("{FILES}/server.crt"), format!("{FILES}/server.key"));
        let mut command = Command::new("openssl");
        command.args(["s_server", "-www", "-accept", &port.to_string(), "-cert", &certificate, "-key", &key]);
        command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().inspect_err(|_| eprintln!("openssl is not installed: skipped")).ok()?;
        let server = Self { child, port };
        eventually("openssl", || TcpStream::connect(("127.0.0.1", port)).ok());
        Some(server)
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn openssl_answers_and_resumes() {
    for options in [
        &["-tls1_2"][..],
        &["-tls1_2", "-no_ticket"],
        &["-tls1_3"],
        &["-tls1_3", "-no_ticket"],
        &["-tls1_3", "-groups", "P-256"],
    ] {
        let Some(server) = Openssl::start(options) else { return };
        let proxy = ringgate(server.port, "location / { proxy_pass https://up; }");
        let pages: Vec<_> = (0..3).map(|_| Client::fetch(proxy.port(0), "/")).collect();
        assert_eq!(pages[0].status, 200, "{options:?}");
        let resumed = |page: &Reply| page.text().contains("\nReused, ");
        assert!(!resumed(&pages[0]) && pages[0].text().contains("\nNew, "), "{options:?}");
        assert!(resumed(&pages[1]) && resumed(&pages[2]), "{options:?}");
    }
}

#[test]
fn a_client_certificate_is_shown_to_who_asks_and_its_lack_is_told() {
    let Some(server) =
        Openssl::start(&["-Verify", "1", "-verify_return_error", "-CAfile", &format!("{FILES}/ca.crt")])
    else {
        return;
    };
    let proxy = ringgate(
        server.port,
        &format!(
            "location / {{ proxy_pass https://up; proxy_ssl_certificate {FILES}/purpose.crt; \
             proxy_ssl_certificate_key {FILES}/server.key; }} location /none {{ proxy_pass https://up; }}"
        ),
    );
    assert_eq!(Client::fetch(proxy.port(0), "/none").status, 502);
    proxy.wait_for("error.log", "upstream: \"https://127.0.0.1:", 1);
    let page = Client::fetch(proxy.port(0), "/");
    assert!(page.status == 200 && page.text().contains("TLS Web Client Authentication"), "{}", page.text());
}

#[test]
fn a_handshake_that_does_not_go_on_is_given_up_and_the_next_server_asked() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let upstream = echo();
    let server = Ringgate::start(&front(&upstream));
    let good = server.port(0);
    let proxy = Ringgate::start(&format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log off; proxy_connect_timeout 1s; \
         upstream two {{ server 127.0.0.1:{port}; server 127.0.0.1:{good} backup; }} \
         log_format times '$upstream_connect_time $upstream_status'; \
         server {{ listen 127.0.0.1:@PORT0@; access_log @DIR@/times.log times; \
         location / {{ proxy_pass https://127.0.0.1:{port}; }} location /next {{ proxy_pass https://two; }} }} }}\n"
    ));
    assert_eq!(Client::fetch(proxy.port(0), "/").status, 504);
    let words = "upstream timed out (110: Connection timed out) while SSL handshaking to upstream";
    proxy.wait_for("error.log", words, 1);
    proxy.wait_for("times.log", "- 504\n", 1);
    // A request that must not be sent twice was not sent: the handshake is no part of it.
    let mut client = Client::connect(proxy.port(0));
    client.send("POST /next HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.reply("POST").body, b"hi");
    let line = eventually("the log", || proxy.read("times.log").lines().nth(1).map(str::to_owned));
    assert!(line.starts_with("-, ") && line.ends_with(" 504, 200"), "{line}");
}

#[test]
fn servers_are_checked_over_tls_where_they_are_asked_over_tls() {
    let upstream = echo();
    let good = Ringgate::start(&front(&upstream));
    let plain = Upstream::saying("plain");
    let proxy = Ringgate::start(&format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log off; proxy_next_upstream off; \
         proxy_ssl_trusted_certificate {FILES}/ca.crt; proxy_ssl_verify on; proxy_ssl_name up.example; \
         upstream two {{ zone two 64k; server 127.0.0.1:{}; server 127.0.0.1:{}; }} \
         server {{ listen 127.0.0.1:@PORT0@; location / {{ proxy_pass https://two; \
         health_check uri=/who interval=50ms keepalive_time=1h; }} }} }}\n",
        good.port(0),
        plain.port
    ));
    let status = || (0..10).all(|_| Client::fetch(proxy.port(0), "/who").status == 200);
    eventually("only the good server", || status().then_some(()));
    let refused = |port: u16| {
        let log = proxy.read("error.log");
        log.lines().any(|line| line.contains("peer is unhealthy") && line.contains(&format!(":{port}")))
    };
    assert!(refused(plain.port) && !refused(good.port(0)));
}
