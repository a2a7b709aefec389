//! Bodies and tunnels as they move: events as they come, uploads as they go, both ways at once, large and slow ones.

use std::io::{Read as _, Write as _};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::harness::upstream::Then;
use crate::harness::{Client, Ringgate, Upstream};

fn conf(upstream: &Upstream, more: &str) -> String {
    format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log @DIR@/access.log; \
         client_body_temp_path @DIR@/body; proxy_temp_path @DIR@/proxy; server {{ \
         listen 127.0.0.1:@PORT0@; {more} location / {{ proxy_pass http://127.0.0.1:{}; }} }} }}\n",
        upstream.port
    )
}

/// Each event is with the client before the upstream sends the next one.
#[test]
fn events_arrive_as_they_are_sent() {
    let (next, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let upstream = Upstream::start(move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
        for number in 0..5 {
            let event = format!("data: {number}\n\n");
            let _ = stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
            let _ = gate.lock().unwrap().recv();
        }
        let _ = stream.write_all(b"0\r\n\r\n");
        Then::Keep
    });
    let proxy = Ringgate::start(&conf(&upstream, ""));
    let mut client = Client::connect(proxy.port(0));
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    client.until(b"\r\n\r\n");
    for number in 0..5 {
        client.until(format!("data: {number}\n\n\r\n").as_bytes());
        next.send(()).unwrap();
    }
    client.until(b"0\r\n\r\n");
}

/// A mebibyte each way, also where nothing fits in memory and where nothing is gathered first.
#[test]
fn large_bodies_come_whole() {
    let upstream = Upstream::start(|request, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
        let _ = stream.write_all(&request.body);
        Then::Keep
    });
    let body: Vec<u8> = (0..1_048_576_u32).map(|n| (n % 251) as u8).collect();
    for more in [
        "client_max_body_size 0;",
        "client_max_body_size 0; proxy_request_buffering off; proxy_buffering off;",
        "client_max_body_size 0; client_body_buffer_size 8k; proxy_buffers 4 4k; proxy_busy_buffers_size 8k;",
        "client_max_body_size 0; proxy_max_temp_file_size 0;",
    ] {
        let proxy = Ringgate::start(&conf(&upstream, more));
        let mut client = Client::connect(proxy.port(0));
        for round in 0..2 {
            client
                .send(format!("POST /{round} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
            client.send(&body);
            assert!(client.reply("POST").body == body, "{more} {round}");
        }
        client.send("POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        for part in body.chunks(100_000) {
            client.send(format!("{:x}\r\n", part.len()));
            client.send(part);
            client.send("\r\n");
        }
        client.send("0\r\n\r\n");
        assert!(client.reply("POST").body == body, "{more} chunked");
    }
}

/// The upstream is let go while the client has not read anything yet.
#[test]
fn a_slow_reader_holds_no_upstream() {
    let (done, told) = channel::<()>();
    let done = Mutex::new(done);
    let size = 24 * 1024 * 1024;
    let upstream = Upstream::start(move |_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
        stream.write_all(&vec![b'x'; size]).unwrap();
        done.lock().unwrap().send(()).unwrap();
        Then::Keep
    });
    let proxy = Ringgate::start(&conf(&upstream, ""));
    let mut client = Client::connect(proxy.port(0));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    told.recv().unwrap();
    assert_eq!(client.reply("GET").body.len(), size);
}

/// An upload is with the upstream before its end is sent, and its answer before that, too.
#[test]
fn both_directions_move_at_once() {
    let upstream = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            let mut read_to = |stream: &mut std::net::TcpStream, end: &[u8]| {
                let mut byte = [0];
                while !seen.ends_with(end) {
                    assert!(stream.read(&mut byte).unwrap() > 0);
                    seen.push(byte[0]);
                }
            };
            read_to(&mut stream, b"\r\n\r\n");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n").unwrap();
            for word in [&b"one"[..], b"two"] {
                read_to(&mut stream, word);
                stream.write_all(word).unwrap();
            }
        });
        port
    };
    let proxy = Ringgate::start(&format!(
        "events {{}} http {{ access_log off; server {{ listen 127.0.0.1:@PORT0@; proxy_request_buffering off; \
         proxy_buffering off; location / {{ proxy_pass http://127.0.0.1:{upstream}; }} }} }}"
    ));
    let mut client = Client::connect(proxy.port(0));
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
    client.until(b"\r\n\r\n");
    for word in ["one", "two"] {
        client.send(word);
        client.until(word.as_bytes());
    }
}

/// An echo behind a handshake.
pub(crate) fn echo() -> Upstream {
    Upstream::start(|request, stream| {
        if request.field("Upgrade").is_none() {
            let _ = stream.write_all(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
            return Then::Keep;
        }
        let reply = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nearly";
        let _ = stream.write_all(reply.as_bytes());
        let mut buffer = [0; 4096];
        while let Ok(count) = stream.read(&mut buffer) {
            if count == 0 || stream.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = stream.write_all(b"bye");
        Then::Close
    })
}

pub(crate) const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn a_tunnel_stands_with_and_without_the_upgrade_lines() {
    let upstream = echo();
    let lines = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";";
    for more in ["", lines] {
        let proxy = Ringgate::start(&conf(&upstream, more));
        let mut client = Client::connect(proxy.port(0));
        client.send(format!("{HANDSHAKE}soon"));
        let reply = client.reply("GET");
        assert_eq!((reply.status, reply.field("Upgrade")), (101, Some("websocket")));
        assert_eq!(reply.field("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(client.exactly(9), b"earlysoon");
        for text in ["a", "bb", "ccc"] {
            client.send(text);
            assert_eq!(client.exactly(text.len()), text.as_bytes());
        }
        client.finish();
        assert_eq!(client.rest(), b"bye", "the other half stays open");
        proxy.wait_for("access.log", "\"GET /ws HTTP/1.1\" 101 ", 1);
    }
    let proxy = Ringgate::start(&conf(&upstream, lines));
    let mut client = Client::connect(proxy.port(0));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.reply("GET").status, 426, "an ordinary request gets an ordinary reply");
}

/// `keepalive` and literal addresses: connections are used again, as often as is allowed.
#[test]
fn upstream_connections_are_used_again() {
    for (group, expected) in
        [("", vec![0, 0, 0, 0]), ("keepalive 1; keepalive_requests 2;", vec![0, 0, 1, 1])]
    {
        let upstream = Upstream::saying("ok");
        let port = upstream.port;
        let proxy = Ringgate::start(&format!(
            "events {{}} http {{ access_log off; upstream u {{ server 127.0.0.1:{port}; {group} }} \
             server {{ listen 127.0.0.1:@PORT0@; location / {{ proxy_pass http://u; }} \
             location /literal/ {{ proxy_pass http://127.0.0.1:{port}; }} }} }}"
        ));
        for _ in 0..4 {
            assert_eq!(Client::fetch(proxy.port(0), "/").text(), "ok");
        }
        let used: Vec<usize> = upstream.received().iter().map(|request| request.connection).collect();
        assert_eq!(used, expected, "{group}");
        let before = upstream.received().len();
        for _ in 0..2 {
            assert_eq!(Client::fetch(proxy.port(0), "/literal/").text(), "ok");
        }
        let used: Vec<usize> =
            upstream.received()[before..].iter().map(|request| request.connection).collect();
        assert_eq!(used[0], used[1], "a literal address has a pool, too");
    }
}

/// A pooled connection that the upstream has closed costs no request.
#[test]
fn a_dead_pooled_connection_costs_nothing() {
    let upstream = Upstream::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        Then::Close
    });
    let proxy = Ringgate::start(&conf(&upstream, ""));
    for _ in 0..20 {
        assert_eq!(Client::fetch(proxy.port(0), "/").text(), "ok");
    }
}
