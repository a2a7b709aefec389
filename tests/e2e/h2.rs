//! HTTP/2 with other people's clients: curl against ringgate and nginx in turn, nghttp and h2load against ringgate.
//!
//! nginx 1.22 speaks it on ports of its own only, hence two texts for one site.

use std::process::Command;

use crate::harness::upstream::Then;
use crate::harness::{Nginx, Ringgate, Upstream, eventually, proxy::Proxy};

const SITE: &str = r#"
    log_format h2 '$status $request_length $body_bytes_sent "$request" $http2 $server_protocol $connection_requests $http_cookie';
    access_log @DIR@/access.log h2;
    client_body_temp_path @DIR@/body; proxy_temp_path @DIR@/proxy;
    proxy_http_version 1.1; proxy_set_header Connection "";
    server {
        @LISTEN@
        client_body_buffer_size 1k; client_max_body_size 1m; keepalive_requests 1000000;
        location / { proxy_pass http://127.0.0.1:@UPSTREAM@; }
        location /stream { proxy_pass http://127.0.0.1:@UPSTREAM@; proxy_request_buffering off; proxy_buffering off; }
        location /text { return 200 "text\n"; }
        location /teapot { return 418 "short and stout\n"; }
        location /moved { return 301 http://elsewhere.test/; }
        location /none { return 204; }
        location /closed { return 444; }
        location /own { error_page 404 =200 /text; return 404; }
    }
"#;

fn site(upstream: &Upstream, listen: &str) -> String {
    let site = SITE.replace("@LISTEN@", listen).replace("@UPSTREAM@", &upstream.port.to_string());
    format!("events {{}} error_log @DIR@/error.log info; http {{ {site} }}\n")
}

fn upstream() -> Upstream {
    Upstream::start(|request, stream| {
        use std::io::Write as _;
        let line = request.line();
        let text = if line.contains("/large") {
            "x".repeat(300_000)
        } else {
            format!("{line} {}", request.body.len())
        };
        let _ = if line.contains("/chunked") {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n",
                text.len()
            )
        } else {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Up: yes\r\n\r\n{text}", text.len())
        };
        Then::Keep
    })
}

/// What curl makes of it: status, version, and the body; nothing where curl cannot speak HTTP/2.
fn curl(port: u16, path: &str, more: &[&str]) -> Option<String> {
    let url = format!("http://127.0.0.1:{port}{path}");
    let always =
        ["-s", "--max-time", "20", "--http2-prior-knowledge", "-w", "\n%{http_code} %{http_version}"];
    let output = Command::new("curl").args(always).args(more).arg(&url).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).replace(&format!(":{port}"), ":PORT");
    (output.status.code() != Some(2)).then(|| format!("{} {said}", output.status.code().unwrap_or(-1)))
}

fn lines(proxy: &Proxy, count: usize) -> Vec<String> {
    eventually("the log is written", || {
        let text = proxy.read("access.log");
        (text.lines().count() >= count).then(|| text.lines().map(str::to_owned).collect())
    })
}

#[test]
fn curl_sees_and_the_log_says_what_nginx_has_it_see_and_says() {
    let upstream = upstream();
    let ringgate = Ringgate::start(&site(&upstream, "listen 127.0.0.1:@PORT0@; http2 on;"));
    let Some(nginx) = Nginx::start(&site(&upstream, "listen 127.0.0.1:@PORT0@ http2;")) else { return };
    let body = ringgate.file("sent");
    std::fs::write(&body, "y".repeat(100_000)).unwrap();
    let data = format!("@{}", body.display());
    let table: &[(&str, &[&str])] = &[
        ("/a?b", &[]),
        ("/a", &["-H", "Cookie: a=1", "-H", "Cookie: b=2"]),
        ("/large", &[]),
        ("/chunked", &[]),
        ("/stream/chunked", &[]),
        ("/a", &["--data-binary", &data]),
        ("/stream", &["--data-binary", &data]),
        ("/a", &["-I"]),
        ("/a", &["-X", "PUT", "--data-binary", "small"]),
        ("/text", &[]),
        ("/text", &["-I"]),
        ("/teapot", &[]),
        ("/none", &[]),
        ("/own", &[]),
        ("/closed", &[]),
        ("/a%20b?c=%2f", &["-H", "X-Long: 0123456789012345678901234567890123456789"]),
    ];
    for (path, more) in table {
        let Some(ours) = curl(ringgate.port(0), path, more) else { return };
        let theirs = curl(nginx.port(0), path, more).unwrap();
        if !more.contains(&"-I") {
            assert_eq!(ours, theirs, "{path} {more:?}");
        }
    }
    let count = table.len();
    assert_eq!(lines(&ringgate, count), lines(&nginx, count));
    let log = ringgate.read("error.log");
    assert!(!log.contains("[alert]") && !log.contains("[crit]"), "{log}");
}

/// On a plain port both versions are spoken.
#[test]
fn http1_is_spoken_beside_it() {
    let upstream = upstream();
    let proxy = Ringgate::start(&site(&upstream, "listen 127.0.0.1:@PORT0@; http2 on;"));
    let url = format!("http://127.0.0.1:{}/text", proxy.port(0));
    let Ok(output) =
        Command::new("curl").args(["-s", "--max-time", "20", "-w", "%{http_version}", &url]).output()
    else {
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "text\n1.1");
}

#[test]
fn load_generators_see_no_errors() {
    let upstream = upstream();
    let proxy = Ringgate::start(&site(&upstream, "listen 127.0.0.1:@PORT0@; http2 on;"));
    for (path, requests, streams) in
        [("/text", "2000", "16"), ("/large", "100", "4"), ("/stream/chunked", "400", "32")]
    {
        let url = format!("http://127.0.0.1:{}{path}", proxy.port(0));
        let Ok(output) =
            Command::new("h2load").args(["-n", requests, "-c", "4", "-m", streams, &url]).output()
        else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let expected = format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout");
        assert!(said.contains(&expected), "{path}: {said}");
    }
    let url = format!("http://127.0.0.1:{}/large", proxy.port(0));
    // Small windows on the client's side.
    let Ok(output) = Command::new("nghttp").args(["-ns", "-w", "10", "-W", "12", &url, &url]).output() else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("200"), "{said}");
}
