//! What is tried after a failure: every condition of `proxy_next_upstream` with every fault, through nginx and ringgate.
//!
//! Compared are the statuses, `$upstream_*` of every try and the error log's lines, which name peer, phase and cause.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::harness::proxy::Proxy;
use crate::harness::upstream::{Received, Then};
use crate::harness::{Client, Nginx, Ringgate, Upstream, free_port};

/// How a server may fail; a number is a status that it answers.
const FAULTS: [&str; 12] =
    ["close", "half-head", "half-body", "hang", "500", "502", "503", "504", "403", "404", "429", "200"];

const CONDITIONS: [&str; 14] = [
    "error",
    "timeout",
    "invalid_header",
    "http_500",
    "http_502",
    "http_503",
    "http_504",
    "http_403",
    "http_404",
    "http_429",
    "off",
    "error timeout",
    "error http_503 non_idempotent",
    "error timeout http_404 http_500",
];

/// Fails as the request's last path segment says.
fn fail(received: &Received, stream: &mut TcpStream) -> Then {
    let fault = received.line().split(' ').nth(1).and_then(|target| target.rsplit('/').next()).unwrap();
    let reply = match fault {
        "close" => return Then::Close,
        "hang" => {
            // Longer than anybody waits; the thread ends with the test.
            thread::sleep(Duration::from_secs(5));
            return Then::Close;
        }
        "half-head" => "HTTP/1.1 200 OK\r\nContent-".to_owned(),
        "half-body" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nabc".to_owned(),
        status => format!("HTTP/1.1 {status} X\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{status}"),
    };
    let _ = stream.write_all(reply.as_bytes());
    Then::Close
}

/// Asks and returns the status.
fn ask(proxy: &Proxy, method: &str, target: &str) -> u16 {
    let mut client = Client::connect(proxy.port(0));
    let body = if method == "POST" { "Content-Length: 1\r\n\r\nx" } else { "\r\n" };
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{body}"));
    let head = String::from_utf8(client.until(b"\r\n\r\n")).unwrap();
    // Until the end, however the body ends: it is in the log then.
    client.rest();
    head[9..12].parse().unwrap()
}

/// A try each at the server that fails and at the one that does not, in this order: the weights see to that.
fn conf(bad: u16, good: u16, dead: u16) -> String {
    let locations: String = CONDITIONS
        .iter()
        .enumerate()
        .map(|(n, conditions)| {
            format!("location /{n}/ {{ proxy_pass http://two; proxy_next_upstream {conditions}; }} ")
        })
        .collect();
    format!(
        "worker_processes 1; events {{}} error_log @DIR@/error.log; http {{ \
         log_format tries '$request|$upstream_addr|$upstream_status|$upstream_response_length|$upstream_bytes_received|$status'; \
         access_log @DIR@/access.log tries; proxy_read_timeout 100ms; proxy_http_version 1.1; \
         upstream two {{ server 127.0.0.1:{bad} max_fails=0 weight=9999; server 127.0.0.1:{good} max_fails=0; }} \
         upstream three {{ server 127.0.0.1:{bad} max_fails=0 weight=9999; server 127.0.0.1:{dead} max_fails=0 weight=9; \
         server 127.0.0.1:{good} max_fails=0; }} \
         upstream dead {{ server 127.0.0.1:{dead}; server 127.0.0.1:{dead} backup; }} \
         server {{ listen 127.0.0.1:@PORT0@; proxy_next_upstream error timeout http_503; {locations} \
         location /one/ {{ proxy_pass http://three; proxy_next_upstream_tries 1; }} \
         location /tries/ {{ proxy_pass http://three; proxy_next_upstream_tries 2; }} \
         location /late/ {{ proxy_pass http://three; proxy_next_upstream_timeout 50ms; }} \
         location /dead/ {{ proxy_pass http://dead; }} \
         }} }}"
    )
}

fn run(proxy: &Proxy, ports: [(u16, &str); 3]) -> (Vec<(String, u16)>, String, Vec<String>) {
    let mut asked = Vec::new();
    let mut ask = |method: &str, target: String| asked.push((target.clone(), ask(proxy, method, &target)));
    for n in 0..CONDITIONS.len() {
        for fault in FAULTS {
            // Waiting is long: only where it makes a difference.
            if fault != "hang" || matches!(n, 0 | 1 | 11) {
                ask("GET", format!("/{n}/get/{fault}"));
            }
            if matches!(fault, "close" | "503" | "500") {
                ask("POST", format!("/{n}/post/{fault}"));
            }
        }
    }
    for method in ["LOCK", "PATCH", "PUT", "DELETE", "OPTIONS", "HEAD"] {
        for (n, fault) in [(11, "close"), (5, "503"), (12, "503")] {
            ask(method, format!("/{n}/{method}/{fault}"));
        }
    }
    for location in ["one", "tries", "late", "dead", "dead"] {
        for fault in ["close", "503", "hang"] {
            ask("GET", format!("/{location}/{fault}"));
        }
    }
    proxy.wait_for("access.log", "\n", asked.len());
    let named = |text: String| {
        ports.iter().fold(text, |text, (port, name)| text.replace(&format!(":{port}"), &format!(":{name}")))
    };
    // Without date, process and connection.
    let errors = named(proxy.read("error.log"));
    let errors = errors.lines().filter_map(|line| {
        let (front, text) = line.split_once(": *")?;
        let level = front.split(' ').nth(2)?;
        Some(format!("{level} {}", text.split_once(' ')?.1))
    });
    let mut errors: Vec<String> = errors.filter(|line| line.contains("upstream")).collect();
    errors.sort_unstable();
    (asked, named(proxy.read("access.log")), errors)
}

#[test]
fn every_condition_meets_every_fault_as_in_nginx() {
    let (bad, good, dead) = (Upstream::start(fail), Upstream::saying("good"), free_port());
    let good_port = good.port;
    let conf = conf(bad.port, good_port, dead);
    let ports = [(bad.port, "BAD"), (good_port, "GOOD"), (dead, "DEAD")];
    let Some(nginx) = Nginx::start(&conf) else { return };
    let expected = run(&nginx, ports);
    let actual = run(&Ringgate::start(&conf), ports);
    let wrong = |name: &str, lines: Vec<(String, String)>| {
        let lines = lines.into_iter().filter(|(a, b)| a != b).take(10);
        lines.map(|(a, b)| format!("{name}\n  nginx    {a}\n  ringgate {b}\n")).collect::<String>()
    };
    let zip = |a: &str, b: &str| -> Vec<(String, String)> {
        a.lines().zip(b.lines()).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
    };
    let said = wrong("access", zip(&expected.1, &actual.1))
        + &wrong("error", zip(&expected.2.join("\n"), &actual.2.join("\n")));
    assert!(expected == actual, "{said}{} and {} error lines", expected.2.len(), actual.2.len());
}
