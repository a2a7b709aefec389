//! `proxy_pass` whose URL holds variables: which name is looked up, which address is asked, what it is asked for, and
//! what is said when it cannot be. The request names its own upstream in `X-To`.
//!
//! A world in memory carries out what the worker wants and notes it: `?name` a question, `>address` a connection,
//! `=target host port` a request on one, `<status` a reply to the client, `!` a line of the error log, `-` the end of a
//! connection to an upstream.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::HashMap;
use std::mem::take;
use std::net::IpAddr;
use std::sync::Arc;

use proxy_core::command::{
    Address, Command, Completion, ConnId, IoError, ListenerId, Peer, Report, ResolveError, ResolveId,
};
use proxy_core::shared::Shared;
use proxy_core::time::{Instant, Now};
use proxy_core::worker::{Pools, Worker};

const CONF: &[u8] = b"events {}
http {
    access_log off;
    upstream Group { server 10.9.0.1:81; }
    server {
        listen 127.0.0.1:8080;
        proxy_set_header X-Port $proxy_port;
        location / { proxy_pass $http_x_to; }
        location /fixed { proxy_pass http://10.8.0.1; }
        location /error { error_page 502 /fixed; proxy_pass $http_x_to; }
    }
}";

#[test]
fn who_is_asked_for_what() {
    let long = format!("http://unix:/{}:", "x".repeat(107));
    let table: &[(&str, &str, &str)] = &[
        ("/a?b", "http://one.test", "?one.test >10.1.0.1:80 =/a?b one.test 80 <200"),
        ("/a%20b", "HTTP://One.Test:80", "?one.test >10.1.0.1:80 =/a%20b One.Test 80 <200"),
        ("/a?b", "http://one.test:81/x/y?z", "?one.test >10.1.0.1:81 =/x/y?z one.test:81 81 <200"),
        ("/a?b", "http://one.test?z", "?one.test >10.1.0.1:80 =/?z one.test 80 <200"),
        ("/a", "http://10.1.2.3:8000", ">10.1.2.3:8000 =/a 10.1.2.3:8000 8000 <200"),
        ("/a", "http://[fe80::1]/", ">[fe80::1]:80 =/ [fe80::1] 80 <200"),
        ("/a", "http://unix:/run/s:/x", ">unix:/run/s =/x localhost <200"),
        ("/a", "http://unix:/run/s", ">unix:/run/s =/a localhost <200"),
        // A group of the configuration, by its bare name only; another location's literal address.
        ("/a", "http://group/x", ">10.9.0.1:81 =/x group 80 <200"),
        ("/a", "http://group:81", "?group !group could not be resolved (3: Host not found) <502"),
        ("/a", "http://10.8.0.1:80", ">10.8.0.1:80 =/a 10.8.0.1 80 <200"),
        // The next address, if the first does not answer.
        (
            "/a",
            "http://half.test",
            "?half.test >10.6.6.6:80 !connect() failed (111: Connection refused) while connecting to upstream \
             >10.1.0.2:80 =/a half.test 80 <200",
        ),
        (
            "/a",
            "http://nobody.test",
            "?nobody.test !nobody.test could not be resolved (3: Host not found) <502",
        ),
        ("/a", "http://empty.test", "?empty.test !empty.test could not be resolved (3: Host not found) <502"),
        // The error page is another location: what was computed is forgotten.
        (
            "/error",
            "http://nobody.test",
            "?nobody.test !nobody.test could not be resolved (3: Host not found) \
             >10.8.0.1:80 =/fixed 10.8.0.1 80 <502",
        ),
        ("/a", "https://one.test", "?one.test >10.1.0.1:443 =TLS"),
        ("/a", "https://10.0.0.3:8443/x", ">10.0.0.3:8443 =TLS"),
        ("/a", "ftp://one.test", "!invalid URL prefix in \"ftp://one.test\" <500"),
        ("/a", "one.test", "!invalid URL prefix in \"one.test\" <500"),
        ("/a", "", "!invalid URL prefix in \"\" <500"),
        ("/a", "http://", "!invalid URL prefix in \"http://\" <500"),
        ("/a", "http:///x", "!no host in upstream \"/x\" <500"),
        ("/a", "http://:80/x", "!no host in upstream \":80/x\" <500"),
        ("/a", "http://a:0", "!invalid port in upstream \"a:0\" <500"),
        ("/a", "http://a b/", "!invalid host in upstream \"a b/\" <500"),
        ("/a", &long, "!too long path in the unix domain socket in upstream"),
    ];
    for (target, to, expected) in table {
        let mut world = World::new();
        let client = world.client();
        world.ask(client, target, to);
        let notes = world.run();
        assert!(notes.starts_with(expected), "{target} {to}: {notes}");
        assert!(notes == *expected || *to == long, "{target} {to}: {notes}");
    }
}

#[test]
fn connections_and_answers_are_used_again_while_they_are_good() {
    let mut world = World::new();
    let client = world.client();
    let turn = |world: &mut World, name: &str| {
        world.ask(client, "/", &format!("http://{name}"));
        world.run()
    };
    assert_eq!(turn(&mut world, "one.test"), "?one.test >10.1.0.1:80 =/ one.test 80 <200");
    assert_eq!(
        turn(&mut world, "ONE.test:80"),
        "=/ ONE.test 80 <200",
        "the same server, the same connection"
    );
    world.sleep(9);
    assert_eq!(turn(&mut world, "one.test"), "=/ one.test 80 <200");
    world.sleep(2);
    assert_eq!(turn(&mut world, "one.test"), "?one.test =/ one.test 80 <200", "asked again, the same answer");
    world.names.insert("one.test", vec!["10.1.0.9"]);
    world.sleep(11);
    assert_eq!(turn(&mut world, "one.test"), "?one.test - >10.1.0.9:80 =/ one.test 80 <200", "it has moved");
    // Two addresses take turns, each with its own connection.
    assert_eq!(turn(&mut world, "two.test"), "?two.test >10.2.0.1:80 =/ two.test 80 <200");
    assert_eq!(turn(&mut world, "two.test"), ">10.2.0.2:80 =/ two.test 80 <200");
    assert_eq!(turn(&mut world, "two.test"), "=/ two.test 80 <200");
}

#[test]
fn a_reply_that_ends_after_its_group_was_replaced_leaves_no_connection_behind() {
    let mut world = World::new();
    let (early, late) = (world.client(), world.client());
    world.holds_replies = true;
    world.ask(early, "/", "http://one.test");
    assert_eq!(world.run(), "?one.test >10.1.0.1:80 =/ one.test 80");
    world.names.insert("one.test", vec!["10.1.0.9"]);
    world.sleep(11);
    world.ask(late, "/", "http://one.test");
    assert_eq!(world.run(), "?one.test >10.1.0.9:80 =/ one.test 80");
    world.holds_replies = false;
    assert_eq!(world.run(), "- <200 <200");
}

#[test]
fn those_who_want_the_same_name_wait_for_one_answer() {
    let mut world = World::new();
    world.holds_answers = true;
    let clients: Vec<_> = (0..3).map(|_| world.client()).collect();
    for client in &clients {
        world.ask(*client, "/", "http://one.test");
    }
    assert_eq!(world.run(), "?one.test");
    // One of them leaves; the others are served.
    world.leave(*clients.first().unwrap());
    assert_eq!(world.run(), "");
    world.holds_answers = false;
    assert_eq!(
        world.run(),
        ">10.1.0.1:80 >10.1.0.1:80 =/ one.test 80 =/ one.test 80 <200 <200",
        "no further question"
    );
}

#[test]
fn a_name_is_not_waited_for_longer_than_its_time() {
    let mut world = World::new();
    world.holds_answers = true;
    let client = world.client();
    world.ask(client, "/", "http://one.test");
    assert_eq!(world.run(), "?one.test");
    world.sleep(29);
    assert_eq!(world.run(), "");
    world.sleep(2);
    assert_eq!(world.run(), "!one.test could not be resolved (110: Operation timed out) <502");
    // The question is still open, and its late answer serves whoever waits then.
    world.ask(client, "/", "http://one.test");
    assert_eq!(world.run(), "");
    world.holds_answers = false;
    assert_eq!(world.run(), ">10.1.0.1:80 =/ one.test 80 <200");
}

/// The world around a worker.
struct World {
    worker: Worker,
    pools: Pools,
    now: Now,
    names: HashMap<&'static str, Vec<&'static str>>,
    /// What each connection has to read, and the reads that wait for it.
    inbox: HashMap<ConnId, Vec<u8>>,
    reading: Vec<ConnId>,
    upstreams: Vec<ConnId>,
    answers: Vec<(ResolveId, Arc<str>)>,
    holds_answers: bool,
    replies: Vec<ConnId>,
    holds_replies: bool,
    notes: Vec<String>,
}

impl World {
    fn new() -> Self {
        let now =
            Now { instant: Instant::from_micros(1_000_000), unix_ms: 1_795_219_200_000, utc_offset_s: 0 };
        let pools = Pools::standard();
        let config = super::content::compiled(CONF);
        Self {
            worker: Worker::new(config, Arc::new(Shared::new()), pools.clone(), 7, now),
            pools,
            now,
            names: HashMap::from([
                ("one.test", vec!["10.1.0.1"]),
                ("two.test", vec!["10.2.0.1", "10.2.0.2"]),
                ("half.test", vec!["10.6.6.6", "10.1.0.2"]),
                ("empty.test", vec![]),
            ]),
            inbox: HashMap::new(),
            reading: Vec::new(),
            upstreams: Vec::new(),
            answers: Vec::new(),
            holds_answers: false,
            replies: Vec::new(),
            holds_replies: false,
            notes: Vec::new(),
        }
    }

    fn client(&mut self) -> ConnId {
        let address = |text: &str| Address::Ip(text.parse().unwrap());
        let peer = Peer { client: address("127.0.0.1:4000"), local: address("127.0.0.1:8080") };
        self.worker.handle_accept(ListenerId(0), peer, self.now)
    }

    fn ask(&mut self, client: ConnId, target: &str, to: &str) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: site\r\nX-To: {to}\r\n\r\n");
        self.inbox.insert(client, request.into_bytes());
    }

    fn leave(&mut self, client: ConnId) {
        self.inbox.insert(client, Vec::new());
    }

    fn sleep(&mut self, seconds: u64) {
        self.now.instant = Instant::from_micros(self.now.instant.as_micros() + seconds * 1_000_000);
        self.worker.handle_timeout(self.now);
    }

    /// Goes on until nothing moves. Returns what happened.
    fn run(&mut self) -> String {
        loop {
            while let Some(report) = self.worker.poll_report() {
                if let Report::Error { message, .. } = report {
                    let text = String::from_utf8(message).unwrap();
                    let (_, text) = text.split(", client:").next().unwrap().split_once(' ').unwrap();
                    self.notes.push(format!("!{text}"));
                }
            }
            if let Some(command) = self.worker.poll_command() {
                self.carry_out(command);
            } else if !self.deliver() {
                return take(&mut self.notes).join(" ");
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        let completion = match command {
            Command::Recv { conn, .. } => return self.reading.push(conn),
            Command::Connect { conn, address, .. } => {
                self.notes.push(format!(">{address}"));
                self.upstreams.push(conn);
                let refused = address.to_string().starts_with("10.6.6.6");
                if refused {
                    self.upstreams.pop();
                }
                let result = if refused { Err(IoError::REFUSED) } else { Ok(Address::Unix("".into())) };
                Completion::Connect { conn, result }
            }
            Command::Send { conn, chain } => {
                let (text, taken) = (String::from_utf8_lossy(&chain.to_vec()).into_owned(), chain.len());
                self.sent(conn, &text);
                Completion::Send { conn, chain, result: Ok(taken) }
            }
            Command::Verify { .. } => unreachable!("no password is asked for"),
            Command::Resolve { id, name } => {
                self.notes.push(format!("?{name}"));
                return self.answers.push((id, name));
            }
            Command::Close { conn, .. } => {
                self.reading.retain(|reader| *reader != conn);
                if self.upstreams.contains(&conn) {
                    self.notes.push("-".to_owned());
                }
                return;
            }
            other @ (Command::Shutdown { .. }
            | Command::OpenFile { .. }
            | Command::ReadFile { .. }
            | Command::WriteFile { .. }
            | Command::ListDirectory { .. }
            | Command::RenameFile { .. }
            | Command::RemoveFile { .. }
            | Command::FreeSpace { .. }
            | Command::CloseFile { .. }) => panic!("nobody does {other:?} here"),
        };
        self.worker.handle_completion(completion, self.now);
    }

    fn sent(&mut self, conn: ConnId, text: &str) {
        if text.starts_with('\x16') {
            return self.notes.push("=TLS".to_owned());
        }
        let line = text.lines().next().unwrap();
        let word = line.split(' ').nth(1).unwrap();
        if !self.upstreams.contains(&conn) {
            return self.notes.push(format!("<{word}"));
        }
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            value.map(|value| format!(" {value}")).unwrap_or_default()
        };
        self.notes.push(format!("={word}{}{}", field("Host: "), field("X-Port: ")));
        self.replies.push(conn);
    }

    /// Hands in what somebody waits for. Returns whether there was something.
    fn deliver(&mut self) -> bool {
        if !self.holds_answers && !self.answers.is_empty() {
            let (id, name) = self.answers.remove(0);
            let found = self.names.get(&*name).map(|ips| ips.iter().map(|ip| ip.parse::<IpAddr>().unwrap()));
            let reason = "3: Host not found".to_owned();
            let result = found.map(Iterator::collect).ok_or(ResolveError { reason });
            self.worker.handle_completion(Completion::Resolve { id, result }, self.now);
            return true;
        }
        if !self.holds_replies {
            for conn in take(&mut self.replies) {
                self.inbox.insert(conn, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec());
            }
        }
        let ready = self.reading.iter().position(|conn| self.inbox.contains_key(conn));
        let Some(place) = ready else { return false };
        let conn = self.reading.remove(place);
        let mut buf = self.pools.large.take();
        assert!(buf.try_extend(&self.inbox.remove(&conn).unwrap()));
        self.worker.handle_completion(Completion::Recv { conn, result: Ok(buf) }, self.now);
        true
    }
}
