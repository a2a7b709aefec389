//! The process: start, pid file, signals, reload, logs, end.

use std::fs;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use std::io::Write as _;

use crate::harness::proxy::{Directory, is_root};
use crate::harness::upstream::Then;
use crate::harness::{Client, Ringgate, Upstream, eventually, free_port};

/// A server on `@PORT0@` that says `text`.
fn saying(text: &str) -> String {
    format!(
        "events {{}} error_log @DIR@/error.log notice; http {{ access_log @DIR@/access.log; \
         server {{ listen 127.0.0.1:@PORT0@; location / {{ return 200 {text}; }} }} }}\n"
    )
}

/// A proxy on `@PORT0@` in front of `port`.
fn proxying(port: u16) -> String {
    format!(
        "events {{}} error_log @DIR@/error.log notice; http {{ access_log @DIR@/access.log; \
         server {{ listen 127.0.0.1:@PORT0@; location / {{ proxy_pass http://127.0.0.1:{port}; }} }} }}\n"
    )
}

/// An upstream that answers only when it is let, and a word for each request that arrived.
fn held() -> (Upstream, Receiver<()>, Sender<()>) {
    let (arrived, arrivals) = channel();
    let (release, gate) = channel::<()>();
    let (arrived, gate) = (Mutex::new(arrived), Mutex::new(gate));
    let upstream = Upstream::start(move |_, stream| {
        arrived.lock().unwrap().send(()).unwrap();
        let _ = gate.lock().unwrap().recv();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld");
        Then::Keep
    });
    (upstream, arrivals, release)
}

#[test]
fn the_pid_file_is_there_while_it_serves() {
    let mut proxy = Ringgate::start(&saying("one"));
    assert_eq!(proxy.pid_file(), Some(proxy.pid()));
    assert!(proxy.file("error.log").exists(), "it exists from the start");
    assert_eq!(Client::fetch(proxy.port(0), "/").text(), "one");
    proxy.signal("TERM");
    assert!(proxy.wait().success());
    assert_eq!(proxy.pid_file(), None);
    assert!(proxy.read("error.log").contains("signal 15 (SIGTERM) received, exiting"));
}

#[test]
fn the_command_line_controls_it() {
    let mut proxy = Ringgate::start(&saying("one"));
    let test = proxy.control(&["-t"]);
    let said = String::from_utf8(test.stderr).unwrap();
    assert!(test.status.success(), "{said}");
    let path = proxy.file("nginx.conf").display().to_string();
    let expected = format!(
        "nginx: the configuration file {path} syntax is ok\nnginx: configuration file {path} test is successful\n"
    );
    assert_eq!(said, expected);
    let dump = proxy.control(&["-T", "-q"]);
    let expected = format!("# configuration file {path}:\n{}\n", proxy.read("nginx.conf"));
    assert_eq!(String::from_utf8(dump.stdout).unwrap(), expected);

    // The address of a machine that this one is not (RFC 5737).
    proxy.rewrite("events {} http { server { listen 192.0.2.1:80; } }");
    let test = proxy.control(&["-t", "-q"]);
    let said = String::from_utf8(test.stderr).unwrap();
    let line = "nginx: [emerg] bind() to 192.0.2.1:80 failed (99: Cannot assign requested address)\n";
    assert!(!test.status.success() && said.starts_with(line), "{said}");

    proxy.rewrite(&saying("two"));
    assert!(proxy.control(&["-s", "reload"]).status.success());
    eventually("the new text", || (Client::fetch(proxy.port(0), "/").text() == "two").then_some(()));
    assert!(proxy.control(&["-s", "quit"]).status.success());
    assert!(proxy.wait().success());
    let gone = proxy.control(&["-s", "stop"]);
    let pid = proxy.file("nginx.pid").display().to_string();
    let expected = format!("nginx: [error] open() \"{pid}\" failed (2: No such file or directory)\n");
    assert_eq!((gone.status.code(), String::from_utf8(gone.stderr).unwrap()), (Some(1), expected));
}

#[test]
fn a_bad_start_says_why_and_leaves_no_pid_file() {
    let dir = Directory::new();
    let conf = dir.path().join("nginx.conf");
    fs::write(&conf, "events {}\nhttp { lsten 80; }\n").unwrap();
    let log = dir.path().join("error.log");
    let (conf, log) = (conf.to_str().unwrap(), log.to_str().unwrap());
    let globals = format!("daemon off; pid {}/nginx.pid;", dir.path().display());
    let run = Ringgate::command(&["-c", conf, "-e", log, "-g", &globals]).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{said}");
    let line = format!("[emerg] unknown directive \"lsten\" in {conf}:2");
    assert_eq!(said.lines().next(), Some(&*format!("nginx: {line}")));
    let logged = fs::read_to_string(log).unwrap();
    let tail = logged.lines().next().and_then(|line| line.split_once("[emerg] ")).unwrap().1;
    assert!(tail.ends_with(line.strip_prefix("[emerg] ").unwrap()), "{logged}");
    assert!(!dir.path().join("nginx.pid").exists());
}

#[test]
fn a_reload_keeps_connections_and_what_is_in_flight() {
    let (upstream, arrivals, release) = held();
    let proxy = Ringgate::start(&proxying(upstream.port));
    let mut waiting = Client::connect(proxy.port(0));
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    arrivals.recv().unwrap();
    proxy.rewrite(&saying("new"));
    proxy.signal("HUP");
    // A request before that would be held, too.
    proxy.wait_for("error.log", "is in force", 1);
    assert_eq!(Client::fetch(proxy.port(0), "/").text(), "new");
    release.send(()).unwrap();
    assert_eq!(waiting.reply("GET").text(), "held");
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(waiting.reply("GET").text(), "new", "the connection lives and follows the new configuration");
    assert_eq!(proxy.pid_file(), Some(proxy.pid()));
}

/// What began before a reload is logged where it would have been: in a log that has another place now, or none.
#[test]
fn a_reload_mixes_up_no_logs() {
    let conf = |logs: &str, port: u16| {
        let servers: String = logs
            .split_whitespace()
            .enumerate()
            .map(|(place, log)| {
                format!(
                    "server {{ listen 127.0.0.1:@PORT{place}@; access_log @DIR@/{log}.log; \
                     location / {{ proxy_pass http://127.0.0.1:{port}; }} }} "
                )
            })
            .collect();
        format!("events {{}} error_log @DIR@/error.log notice; http {{ {servers} }}\n")
    };
    let (upstream, arrivals, release) = held();
    let proxy = Ringgate::start(&conf("first second", upstream.port));
    let mut clients = [0, 1].map(|place| Client::connect(proxy.port(place)));
    for (place, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /{place} HTTP/1.1\r\nHost: a\r\n\r\n"));
        arrivals.recv().unwrap();
    }
    proxy.rewrite(&conf("other third second", upstream.port));
    proxy.signal("HUP");
    proxy.wait_for("error.log", "is in force", 1);
    for (client, file) in clients.iter_mut().zip(["first.log", "second.log"]) {
        release.send(()).unwrap();
        assert_eq!(client.reply("GET").text(), "held");
        proxy.wait_for(file, "GET /", 1);
    }
    assert_eq!(proxy.read("other.log") + &proxy.read("third.log"), "");
}

#[test]
fn a_bad_reload_changes_nothing() {
    let proxy = Ringgate::start(&saying("one"));
    proxy.rewrite("events {}\nhttp { server { listen 127.0.0.1:@PORT0@; nonsense; } }\n");
    proxy.signal("HUP");
    proxy.wait_for("error.log", "[emerg]", 1);
    proxy.wait_for("error.log", "unknown directive \"nonsense\"", 1);
    assert_eq!(Client::fetch(proxy.port(0), "/").text(), "one");
    // A port that somebody else has: nothing of the rest may take effect either.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    proxy.rewrite(&saying("two").replace("location", &format!("listen 127.0.0.1:{port}; location")));
    proxy.signal("HUP");
    proxy.wait_for("error.log", "98: Address already in use", 1);
    assert_eq!(Client::fetch(proxy.port(0), "/").text(), "one");
}

#[test]
fn reloads_in_a_loop_lose_no_request() {
    let upstream = Upstream::saying("x");
    let proxy = Ringgate::start(&proxying(upstream.port));
    let port = proxy.port(0);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut kept = Client::connect(port);
                let mut count = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let reply = if number % 2 == 0 {
                        Client::fetch(port, "/")
                    } else {
                        kept.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                        kept.reply("GET")
                    };
                    assert_eq!((reply.status, reply.text()), (200, "x"));
                    count += 1;
                }
                count
            })
        })
        .collect();
    for round in 1..=20 {
        proxy.signal("HUP");
        proxy.wait_for("error.log", "is in force", round);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for client in clients {
        assert!(client.join().unwrap() > 0);
    }
}

#[test]
fn listeners_come_and_go_with_reloads() {
    let proxy = Ringgate::start(&saying("one"));
    proxy.rewrite(&saying("two").replace("@PORT0@", "@PORT1@"));
    proxy.signal("HUP");
    eventually("the new port", || std::net::TcpStream::connect(("127.0.0.1", proxy.port(1))).ok());
    assert_eq!(Client::fetch(proxy.port(1), "/").text(), "two");
    eventually("the old port closes", || std::net::TcpStream::connect(("127.0.0.1", proxy.port(0))).err());
}

#[test]
fn logs_are_reopened() {
    let proxy = Ringgate::start(&saying("one"));
    Client::fetch(proxy.port(0), "/before");
    proxy.wait_for("access.log", "/before", 1);
    fs::rename(proxy.file("access.log"), proxy.file("access.log.1")).unwrap();
    proxy.signal("USR1");
    eventually("a new file", || proxy.file("access.log").exists().then_some(()));
    Client::fetch(proxy.port(0), "/after");
    proxy.wait_for("access.log", "/after", 1);
    assert!(!proxy.read("access.log.1").contains("/after"));
}

#[test]
fn quit_finishes_what_is_in_flight() {
    let (upstream, arrivals, release) = held();
    let mut proxy = Ringgate::start(&proxying(upstream.port));
    let ask = |client: &mut Client| {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        arrivals.recv().unwrap();
    };
    let mut idle = Client::connect(proxy.port(0));
    ask(&mut idle);
    release.send(()).unwrap();
    assert_eq!(idle.reply("GET").text(), "held");
    let mut fresh = Client::connect(proxy.port(0));
    let mut waiting = Client::connect(proxy.port(0));
    ask(&mut waiting);
    proxy.signal("QUIT");
    assert_eq!(idle.rest(), b"", "an idle connection is closed at once");
    ask(&mut fresh);
    release.send(()).unwrap();
    eventually("no more connections", || std::net::TcpStream::connect(("127.0.0.1", proxy.port(0))).err());
    assert!(proxy.is_running());
    release.send(()).unwrap();
    let reply = waiting.reply("GET");
    assert_eq!((reply.text(), reply.field("Connection")), ("held", Some("close")));
    assert_eq!(fresh.reply("GET").text(), "held", "a connection that had asked for nothing yet is served");
    assert!(proxy.wait().success());
    assert!(proxy.read("access.log").contains("\"GET / HTTP/1.1\" 200 4"));
}

#[test]
fn worker_shutdown_timeout_bounds_quit() {
    let (upstream, arrivals, _release) = held();
    let mut proxy = Ringgate::start_with(&proxying(upstream.port), "worker_shutdown_timeout 100ms;");
    let mut waiting = Client::connect(proxy.port(0));
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    arrivals.recv().unwrap();
    proxy.signal("QUIT");
    assert!(proxy.wait().success());
    assert_eq!(proxy.pid_file(), None);
}

/// A daemon that ends with its test, whatever the test finds.
struct Daemon(String);

impl Daemon {
    fn signal(&self, name: &str) -> bool {
        let sent = std::process::Command::new("kill").args([name, self.0.trim()]).output();
        sent.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.signal("-TERM");
    }
}

#[test]
fn a_daemon_serves_before_its_starter_exits() {
    let dir = Directory::new();
    let port = free_port();
    let text = saying("daemon").replace("@DIR@", &dir.path().display().to_string());
    let conf = dir.path().join("nginx.conf");
    fs::write(&conf, text.replace("@PORT0@", &port.to_string())).unwrap();
    let pid_path = dir.path().join("nginx.pid");
    let user = if is_root() { "user root; " } else { "" };
    let globals = format!("{user}pid {};", pid_path.display());
    let args = ["-c", conf.to_str().unwrap(), "-g", &globals];
    let started = Ringgate::command(&args).output().unwrap();
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let daemon = Daemon(fs::read_to_string(&pid_path).unwrap());
    assert_eq!(Client::fetch(port, "/").text(), "daemon");
    assert!(daemon.signal("-QUIT"));
    eventually("the daemon ends", || (!pid_path.exists()).then_some(()));
}

#[test]
fn a_tunnel_survives_reloads() {
    let upstream = crate::streams::echo();
    let proxy = Ringgate::start(&proxying(upstream.port));
    let mut client = Client::connect(proxy.port(0));
    client.send(crate::streams::HANDSHAKE);
    assert_eq!(client.reply("GET").status, 101);
    assert_eq!(client.exactly(5), b"early");
    for round in 1..=3 {
        proxy.rewrite(&saying("new"));
        proxy.signal("HUP");
        proxy.wait_for("error.log", "is in force", round);
        client.send("still");
        assert_eq!(client.exactly(5), b"still");
    }
    assert_eq!(Client::fetch(proxy.port(0), "/").text(), "new");
}

#[test]
fn it_listens_on_every_kind_of_address() {
    let proxy = Ringgate::start(
        "events {} worker_processes 2; error_log @DIR@/error.log notice; http { access_log off; \
         server { listen 127.0.0.2:@PORT0@; location / { return 200 \"v4 $server_addr\"; } } \
         server { listen [::1]:@PORT0@; location / { return 200 \"v6 $server_addr\"; } } \
         server { listen unix:@DIR@/socket; location / { return 200 \"unix $remote_addr\"; } } }",
    );
    let port = proxy.port(0);
    let ask = |stream: &mut dyn ReadWrite| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    // Each worker has its own sockets: ask often enough to meet both.
    for _ in 0..8 {
        assert_eq!(ask(&mut std::net::TcpStream::connect(("127.0.0.2", port)).unwrap()), "v4 127.0.0.2");
        if let Ok(mut stream) = std::net::TcpStream::connect(("::1", port)) {
            assert_eq!(ask(&mut stream), "v6 ::1");
        }
        let mut stream = std::os::unix::net::UnixStream::connect(proxy.file("socket")).unwrap();
        assert_eq!(ask(&mut stream), "unix unix:");
    }
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

/// Both of a socket's directions.
trait ReadWrite: std::io::Read + std::io::Write {}

impl<T: std::io::Read + std::io::Write> ReadWrite for T {}

#[test]
fn two_workers_share_the_work() {
    let upstream = Upstream::saying("x");
    let proxy = Ringgate::start(&format!("worker_processes 2; {}", proxying(upstream.port)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let port = proxy.port(0);
            thread::spawn(move || (0..20).all(|_| Client::fetch(port, "/").text() == "x"))
        })
        .collect();
    assert!(clients.into_iter().all(|client| client.join().unwrap()));
    proxy.wait_for("access.log", "\"GET / HTTP/1.1\" 200 1 ", 160);
    proxy.signal("HUP");
    proxy.wait_for("error.log", "is in force", 1);
    assert_eq!(Client::fetch(proxy.port(0), "/").text(), "x");
}

#[test]
fn it_runs_without_io_uring() {
    let upstream = Upstream::saying("x");
    let mut proxy = Ringgate::start_with_driver(&proxying(upstream.port), "epoll");
    proxy.wait_for("error.log", "driver epoll", 1);
    for _ in 0..10 {
        assert_eq!(Client::fetch(proxy.port(0), "/").text(), "x");
    }
    let mut kept = Client::connect(proxy.port(0));
    kept.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    kept.send(vec![b'x'; 100_000]);
    assert_eq!(kept.reply("POST").text(), "x");
    proxy.signal("HUP");
    proxy.wait_for("error.log", "is in force", 1);
    proxy.signal("QUIT");
    assert!(proxy.wait().success());
}
