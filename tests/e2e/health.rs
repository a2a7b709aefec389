//! Active health checks: who is asked what, who gets no requests then, and what the error log says.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::harness::proxy::Proxy;
use crate::harness::upstream::Then;
use crate::harness::{Client, Ringgate, Upstream, eventually};

/// A server whose checks are answered with a status that may change; whatever else it is asked it says its name.
fn server(name: &'static str, status: u16) -> (Upstream, Arc<AtomicU16>) {
    let health = Arc::new(AtomicU16::new(status));
    let own = Arc::clone(&health);
    let upstream = Upstream::start(move |received, stream| {
        if received.line().contains("/health") {
            let status = own.load(Ordering::Relaxed);
            let reply = format!("HTTP/1.1 {status} X\r\nX-State: {status}\r\nContent-Length: 4\r\n\r\nfine");
            let _ = stream.write_all(reply.as_bytes());
        } else {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{name}");
        }
        Then::Keep
    });
    (upstream, health)
}

/// Two workers and a group of these servers; `location` is what stands beside `proxy_pass`, `http` beside the servers.
fn conf(servers: &[&Upstream], location: &str, http: &str) -> String {
    let servers = servers.iter().map(|server| format!("server 127.0.0.1:{}; ", server.port));
    format!(
        "worker_processes 2; events {{}} error_log @DIR@/error.log info; http {{ access_log off; {http} \
         upstream group {{ zone group 64k; {} }} server {{ listen 127.0.0.1:@PORT0@; \
         location / {{ proxy_pass http://group; proxy_connect_timeout 2s; {location} }} }} }}",
        servers.collect::<String>()
    )
}

/// Whom twenty requests on as many connections are answered by, each named once.
fn answering(proxy: &Proxy) -> String {
    let mut names: Vec<_> = (0..20)
        .map(|_| {
            let reply = Client::fetch(proxy.port(0), "/");
            if reply.status == 200 { reply.text().to_owned() } else { reply.status.to_string() }
        })
        .collect();
    names.sort();
    names.dedup();
    names.concat()
}

#[test]
fn who_fails_gets_nothing_until_it_passes_and_the_log_says_so() {
    let ((a, _), (b, health)) = (server("a", 200), server("b", 200));
    let check = "health_check uri=/health?q interval=50ms fails=2 passes=2; proxy_set_header X-Check yes; \
                 proxy_set_header X-None $http_x;";
    let proxy = Ringgate::start(&conf(&[&a, &b], check, ""));
    let asked = b.request(0);
    let expected = "GET /health?q HTTP/1.1\r\nX-Check: yes\r\nHost: group\r\nConnection: close\r\n\r\n";
    assert_eq!(asked.head, expected);
    assert_eq!(answering(&proxy), "ab");
    health.store(500, Ordering::Relaxed);
    let of = format!("health check \"\" of peer 127.0.0.1:{} in upstream \"group\"", b.port);
    proxy.wait_for("error.log", &format!("peer is unhealthy while checking status code, {of}"), 1);
    assert_eq!(answering(&proxy), "a");
    // A reload keeps what is known; the check goes on under one worker.
    proxy.signal("HUP");
    proxy.wait_for("error.log", "reconfiguring", 1);
    assert_eq!(answering(&proxy), "a");
    health.store(204, Ordering::Relaxed);
    proxy.wait_for("error.log", &format!("peer is healthy while checking status code, {of}"), 1);
    assert_eq!(answering(&proxy), "ab");
    let log = proxy.read("error.log");
    assert!(!log.contains("connect() failed") && log.matches("peer is").count() == 2, "{log}");
}

#[test]
fn a_match_block_judges_head_and_body_on_a_kept_connection() {
    let (a, _) = server("a", 200);
    let (b, health) = server("b", 200);
    let (c, _) = server("c", 299);
    let http = "match other { status 200 204; } match good { status ! 500-599; header X-State = 200; header ! X-Bad; header Content-Length ~ ^4; \
           body ~ ^fine$; body !~ bad; require $upstream_http_x_state $upstream_status; }";
    let check = "health_check uri=/health interval=30ms match=good mandatory keepalive_time=1h;";
    let proxy = Ringgate::start(&conf(&[&a, &b, &c], check, http));
    proxy.wait_for("error.log", "peer is healthy while checking require", 2);
    let of_c = format!(
        "peer is unhealthy while checking header, health check \"good\" of peer 127.0.0.1:{}",
        c.port
    );
    proxy.wait_for("error.log", &of_c, 1);
    assert_eq!(answering(&proxy), "ab");
    eventually("several checks on one connection", || {
        let checks = a.received().into_iter().filter(|received| received.line().contains("/health"));
        let first: Vec<_> = checks.take(4).map(|received| received.connection).collect();
        (first.len() == 4 && first.iter().all(|connection| *connection == first[0])).then_some(())
    });
    health.store(503, Ordering::Relaxed);
    let of_b = format!(
        "peer is unhealthy while checking status code, health check \"good\" of peer 127.0.0.1:{}",
        b.port
    );
    proxy.wait_for("error.log", &of_b, 1);
    assert_eq!(answering(&proxy), "a");
}

#[test]
fn a_port_that_is_closed_is_no_healthy_server() {
    let ((a, _), (b, _)) = (server("a", 200), server("b", 200));
    let (closed, open) = (crate::harness::free_port(), Upstream::saying("open").port);
    let check = format!(
        "health_check type=tcp port={open} interval=1h; health_check type=tcp interval=1h port={closed};"
    );
    let proxy = Ringgate::start(&conf(&[&a, &b], &check, ""));
    let of = |server: &Upstream| {
        format!(
            "while connecting to upstream, health check \"\" of peer 127.0.0.1:{} in upstream \"group\", port {closed}",
            server.port
        )
    };
    for server in [&a, &b] {
        proxy.wait_for("error.log", &format!("peer is unhealthy {}", of(server)), 1);
        let refused = format!("connect() failed (111: Connection refused) {}", of(server));
        proxy.wait_for("error.log", &refused, 1);
    }
    assert_eq!(answering(&proxy), "502");
    proxy.wait_for("error.log", "no live upstreams", 1);
}

#[test]
fn over_tls_a_wrong_name_is_no_healthy_server() {
    const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/tls/out");
    let front = Ringgate::start(&format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log @DIR@/access.log; \
         ssl_certificate {FILES}/server.crt; ssl_certificate_key {FILES}/server.key; \
         server {{ listen 127.0.0.1:@PORT0@ ssl; location / {{ return 200 a; }} }} }}"
    ));
    for (name, words) in [
        ("up.example", "peer is healthy while checking status code, health check \"\""),
        ("other.example", "peer is unhealthy while SSL handshaking to upstream, health check \"\""),
    ] {
        let proxy = Ringgate::start(&format!(
            "worker_processes 2; events {{}} error_log @DIR@/error.log info; http {{ access_log off; \
             upstream group {{ server 127.0.0.1:{}; }} server {{ listen 127.0.0.1:@PORT0@; location / {{ \
             proxy_pass https://group; proxy_ssl_trusted_certificate {FILES}/ca.crt; proxy_ssl_verify on; \
             proxy_ssl_name {name}; proxy_ssl_server_name on; \
             health_check mandatory uri=/checked interval=30ms keepalive_time=1h; }} }} }}",
            front.port(0)
        ));
        proxy.wait_for("error.log", words, 1);
        let expected = if name == "up.example" { "a" } else { "502" };
        assert_eq!(answering(&proxy), expected);
        if expected == "a" {
            front.wait_for("access.log", "GET /checked HTTP/1.1", 4);
        } else {
            proxy.wait_for("error.log", "upstream SSL certificate does not match while SSL handshaking", 1);
        }
    }
}
