//! What the tests of the real binary stand on.
//!
//! [`proxy`] starts ringgate, and nginx where it is installed, on the same text; [`upstream`] is a server that answers
//! as a test tells it and records what it received; [`client`] speaks raw bytes; [`dns`] is a name server.

pub mod client;
pub mod dns;
pub mod proxy;
pub mod upstream;

use std::net::TcpListener;
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub use client::Client;
pub use proxy::{Nginx, Ringgate};
pub use upstream::Upstream;

/// Nothing takes this long unless it is broken.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Asks until there is an answer.
///
/// # Panics
/// If there is none before [`DEADLINE`].
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not in {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A port that was free a moment ago, and that no other call has given.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().unwrap();
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if !given.contains(&port) {
            given.push(port);
            return port;
        }
    }
}

/// The harness itself, against nginx: all else relies on it.
#[test]
fn the_harness_drives_nginx() {
    let upstream = Upstream::saying("hi");
    let conf = format!(
        "events {{}} http {{ access_log @DIR@/access.log; server {{ listen 127.0.0.1:@PORT0@; \
         location / {{ proxy_pass http://127.0.0.1:{}; }} }} }}",
        upstream.port
    );
    let Some(nginx) = Nginx::start(&conf) else { return };
    let reply = Client::fetch(nginx.port(0), "/x?y");
    assert_eq!((reply.status, reply.text(), reply.field("content-length")), (200, "hi", Some("2")));
    let mut client = Client::connect(nginx.port(0));
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(client.reply("POST").text(), "hi");
    client.finish();
    assert_eq!(client.rest(), b"");
    let posted = upstream.request(1);
    assert_eq!((posted.line(), &*posted.body, posted.connection), ("POST / HTTP/1.0", &b"abc"[..], 1));
    assert_eq!(upstream.received()[0].field("Host"), Some(&*format!("127.0.0.1:{}", upstream.port)));
    nginx.wait_for("access.log", "GET /x?y HTTP/1.1", 1);
}
