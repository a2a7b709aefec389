//! Other people's clients, each where it is installed, and our own `demo` and `proxy` commands as the README has them.

use std::process::{Child, Command, Stdio};

use crate::harness::{Client, Ringgate, Upstream, eventually, free_port};

/// Runs a program to its end; nothing where it is not installed.
fn run(program: &str, args: &[&str]) -> Option<String> {
    let Ok(output) = Command::new(program).args(args).output() else {
        eprintln!("{program} is not installed: skipped");
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{program}: {said}");
    Some(said)
}

fn start(upstream: &Upstream) -> crate::harness::proxy::Proxy {
    Ringgate::start(&format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log @DIR@/access.log; server {{ \
         listen 127.0.0.1:@PORT0@; location / {{ proxy_pass http://127.0.0.1:{}; }} }} }}\n",
        upstream.port
    ))
}

#[test]
fn curl() {
    let upstream = Upstream::start(|request, stream| {
        use std::io::Write as _;
        let text = format!("{} {}", request.line(), request.body.len());
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        crate::harness::upstream::Then::Keep
    });
    let proxy = start(&upstream);
    let url = format!("http://127.0.0.1:{}/a?b", proxy.port(0));
    let Some(said) = run("curl", &["-sS", "--max-time", "20", &url, &url]) else { return };
    assert_eq!(said, "GET /a?b HTTP/1.1 0GET /a?b HTTP/1.1 0");
    let body = "x".repeat(200_000);
    let file = proxy.file("body");
    std::fs::write(&file, &body).unwrap();
    let data = format!("@{}", file.display());
    // curl waits for a 100 with a body of this size.
    let expect = ["-sS", "--max-time", "20", "-H", "Expect: 100-continue", "--data-binary", &data, &url];
    assert_eq!(run("curl", &expect).unwrap(), "POST /a?b HTTP/1.1 200000");
    let chunked =
        ["-sS", "--max-time", "20", "-H", "Transfer-Encoding: chunked", "--data-binary", &data, &url];
    assert_eq!(run("curl", &chunked).unwrap(), "POST /a?b HTTP/1.1 200000");
    assert_eq!(run("curl", &["-sS0", "--max-time", "20", &url]).unwrap(), "GET /a?b HTTP/1.1 0");
    let head = run("curl", &["-sSI", "--max-time", "20", &url]).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
}

#[test]
fn ab_and_wrk_see_no_errors() {
    let upstream = Upstream::saying("0123456789");
    let proxy = start(&upstream);
    let url = format!("http://127.0.0.1:{}/", proxy.port(0));
    for keep in ["-k", "-q"] {
        let Some(said) = run("ab", &["-q", keep, "-n", "1000", "-c", "16", &url]) else { break };
        assert!(said.contains("Complete requests:      1000"), "{said}");
        assert!(said.contains("Failed requests:        0"), "{said}");
        assert!(!said.contains("Non-2xx"), "{said}");
    }
    let Some(said) = run("wrk", &["-t1", "-c16", "-d1s", &url]) else { return };
    assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    let log = proxy.read("error.log");
    assert!(!log.contains("[error]") && !log.contains("[alert]") && !log.contains("[crit]"), "{log}");
}

/// A child that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn running(args: &[&str], port: u16) -> Running {
    let child = Ringgate::command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let running = Running(child);
    eventually("it serves", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    running
}

#[test]
fn the_proxy_command_proxies() {
    let upstream = Upstream::saying("behind");
    let port = free_port();
    let (listen, to) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", upstream.port));
    let _running = running(&["proxy", "--listen", &listen, "--to", &to], port);
    assert_eq!(Client::fetch(port, "/x?y").text(), "behind");
    let got = upstream.request(0);
    assert_eq!(got.line(), "GET /x?y HTTP/1.1");
    assert_eq!(got.field("Host"), Some("localhost"));
    for name in ["X-Real-IP", "X-Forwarded-For"] {
        assert_eq!(got.field(name), Some("127.0.0.1"), "{name}");
    }
    assert_eq!(got.field("X-Forwarded-Proto"), Some("http"));
    let printed =
        Ringgate::command(&["proxy", "--listen", &listen, "--to", &to, "--print-config"]).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("proxy_pass"), "{printed}");
}

#[test]
fn the_demo_shows_everything() {
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let _running = running(&["demo", "--listen", &listen], port);
    let page = Client::fetch(port, "/");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("<html"), "{}", page.text());
    let mut client = Client::connect(port);
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = String::from_utf8(client.until(b"\r\n\r\n")).unwrap();
    assert!(head.contains("text/event-stream"), "{head}");
    client.until(b"data:");
    let mut client = Client::connect(port);
    client.send(crate::streams::HANDSHAKE);
    let reply = client.reply("GET");
    assert_eq!(
        (reply.status, reply.field("Sec-WebSocket-Accept")),
        (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
    );
    // A masked text frame, and the echo without the mask.
    client.send(b"\x81\x82\x01\x02\x03\x04\x69\x6b");
    let frame = eventually("the echo", || {
        let head = client.exactly(2);
        let text = client.exactly(usize::from(head[1] & 0x7f));
        (text == b"hi").then_some(head[0])
    });
    assert_eq!(frame, 0x81);
}
