//! `limit_req` and `limit_conn` across worker threads, reloads and clients that leave: what no single configuration
//! beside nginx shows.
//!
//! A [`Desk`] is a worker whose client asks once and whose upstream never answers: a request that passes is one for
//! which a connection to the upstream is wanted.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use proxy_core::command::{Address, Command, Completion, ConnId, ListenerId, Peer};
use proxy_core::config::Config;
use proxy_core::shared::Shared;
use proxy_core::time::{Instant, Now};
use proxy_core::worker::{Pools, Worker};

fn config(zones: &str, location: &str) -> Arc<Config> {
    let text = format!(
        "events {{}} http {{ access_log off; {zones}
         server {{ listen 127.0.0.1:8080; location / {{ {location} proxy_pass http://10.0.0.1; }} }} }}"
    );
    super::content::compiled(text.as_bytes())
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passed,
    Refused,
    Waits,
    Gone,
}

struct Desk {
    worker: Worker,
    pools: Pools,
}

fn at(ms: u64) -> Now {
    Now { instant: Instant::from_micros(ms * 1000), unix_ms: 1_795_219_200_000 + ms, utc_offset_s: 0 }
}

impl Desk {
    fn new(config: &Arc<Config>, shared: &Arc<Shared>) -> Self {
        let pools = Pools::standard();
        Self { worker: Worker::new(Arc::clone(config), Arc::clone(shared), pools.clone(), 7, at(0)), pools }
    }

    fn ask(&mut self, ms: u64) -> (ConnId, Fate) {
        let address = |text: &str| Address::Ip(text.parse().unwrap());
        let peer = Peer { client: address("127.0.0.1:4000"), local: address("127.0.0.1:8080") };
        let client = self.worker.handle_accept(ListenerId(0), peer, at(ms));
        assert_eq!(self.fate(ms), Fate::Waits);
        (client, self.hear(client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", ms))
    }

    /// The client says this; nothing at all means that it leaves.
    fn hear(&mut self, client: ConnId, bytes: &[u8], ms: u64) -> Fate {
        let mut buf = self.pools.small.take();
        assert!(buf.try_extend(bytes));
        self.worker.handle_completion(Completion::Recv { conn: client, result: Ok(buf) }, at(ms));
        self.fate(ms)
    }

    fn sleep(&mut self, ms: u64) -> Fate {
        self.worker.handle_timeout(at(ms));
        self.fate(ms)
    }

    fn fate(&mut self, ms: u64) -> Fate {
        let mut fate = Fate::Waits;
        while let Some(command) = self.worker.poll_command() {
            match command {
                Command::Connect { .. } => fate = Fate::Passed,
                Command::Send { conn, chain } => {
                    assert!(chain.to_vec().starts_with(b"HTTP/1.1 503"));
                    fate = Fate::Refused;
                    let result = Ok(chain.len());
                    self.worker.handle_completion(Completion::Send { conn, chain, result }, at(ms));
                }
                Command::Close { .. } => fate = Fate::Gone,
                Command::Recv { .. } => {}
                other @ (Command::Shutdown { .. }
                | Command::OpenFile { .. }
                | Command::ReadFile { .. }
                | Command::WriteFile { .. }
                | Command::ListDirectory { .. }
                | Command::RenameFile { .. }
                | Command::RemoveFile { .. }
                | Command::FreeSpace { .. }
                | Command::CloseFile { .. }
                | Command::Verify { .. }
                | Command::Resolve { .. }) => panic!("nobody wants {other:?} here"),
            }
        }
        while self.worker.poll_report().is_some() {}
        fate
    }
}

#[test]
fn ten_requests_a_second_are_ten_for_the_process() {
    const THREADS: usize = 4;
    const MS: u64 = 3000;
    for (bytes, burst) in [("32k", 0), ("1m", 7)] {
        let zones = format!("limit_req_zone $remote_addr zone=z:{bytes} rate=10r/s;");
        let burst_text = if burst > 0 { format!(" burst={burst} nodelay") } else { String::new() };
        let config = config(&zones, &format!("limit_req zone=z{burst_text};"));
        let shared = Arc::new(Shared::new());
        let (passed, clock) = (AtomicU64::new(0), AtomicU64::new(1000));
        // Each worker takes the next millisecond and asks: far more often in all than may pass.
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let mut desk = Desk::new(&config, &shared);
                    loop {
                        let ms = clock.fetch_add(1, Ordering::Relaxed);
                        if ms > 1000 + MS {
                            return;
                        }
                        let (client, fate) = desk.ask(ms);
                        match fate {
                            Fate::Passed => _ = passed.fetch_add(1, Ordering::Relaxed),
                            Fate::Refused => {}
                            Fate::Waits | Fate::Gone => panic!("{fate:?}"),
                        }
                        // It leaves, so that a thousand of them do not fill the worker.
                        desk.hear(client, b"", ms);
                    }
                });
            }
        });
        // One at once, the burst, and one for each tenth of a second. Turns that come out of order lose a little of
        // their time and never gain any.
        let most = 1 + burst + MS / 100;
        let passed = passed.into_inner();
        assert!(passed <= most && passed * 10 >= most * 9, "{passed} of {most} passed");
    }
}

#[test]
fn a_zone_keeps_its_state_across_a_reload_if_it_is_the_same() {
    let limits = |zone: &str, rate: &str| {
        config(&format!("limit_req_zone $remote_addr zone={zone} rate={rate};"), "limit_req zone=z;")
    };
    let mut desk = Desk::new(&limits("z:32k", "1r/m"), &Arc::new(Shared::new()));
    assert_eq!(desk.ask(1000).1, Fate::Passed);
    desk.worker.handle_reload(limits("z:32k", "2r/m"), at(1001));
    assert_eq!(desk.ask(1002).1, Fate::Refused);
    desk.worker.handle_reload(limits("z:64k", "2r/m"), at(1003));
    assert_eq!(desk.ask(1004).1, Fate::Passed, "another size is another zone");
}

#[test]
fn a_delayed_request_goes_on_in_its_time_and_not_without_its_client() {
    let config = config("limit_req_zone $remote_addr zone=z:32k rate=2r/s;", "limit_req zone=z burst=3;");
    let mut desk = Desk::new(&config, &Arc::new(Shared::new()));
    assert_eq!(desk.ask(1000).1, Fate::Passed);
    assert_eq!(desk.ask(1000).1, Fate::Waits);
    let (leaves, fate) = desk.ask(1000);
    assert_eq!(fate, Fate::Waits);
    assert_eq!(desk.sleep(1490), Fate::Waits);
    assert_eq!(desk.sleep(1510), Fate::Passed);
    assert_eq!(desk.hear(leaves, b"", 1520), Fate::Gone);
    assert_eq!(desk.sleep(2100), Fate::Waits, "nobody is left");
    // It counted all the same: until 2500 there are two in the bucket.
    assert_eq!(desk.ask(2101).1, Fate::Waits);
    assert_eq!(desk.sleep(2490), Fate::Waits);
    assert_eq!(desk.sleep(2510), Fate::Passed);
}

#[test]
fn connections_are_counted_over_all_workers_and_let_go_however_they_end() {
    let config =
        config("limit_conn_zone $remote_addr zone=c:32k;", "limit_conn c 2; proxy_read_timeout 10s;");
    let shared = Arc::new(Shared::new());
    let mut desks = [Desk::new(&config, &shared), Desk::new(&config, &shared)];
    let (first, fate) = desks[0].ask(1000);
    assert_eq!((fate, desks[1].ask(1000).1), (Fate::Passed, Fate::Passed));
    assert_eq!((desks[0].ask(1001).1, desks[1].ask(1001).1), (Fate::Refused, Fate::Refused));
    // One client leaves; later another one's upstream is silent for too long.
    assert_eq!(desks[0].hear(first, b"", 1002), Fate::Gone);
    assert_eq!(desks[1].ask(1003).1, Fate::Passed);
    assert_eq!(desks[0].ask(1004).1, Fate::Refused);
    // A whole worker is lost.
    let [mut last, lost] = desks;
    drop(lost);
    assert_eq!(
        (last.ask(1005).1, last.ask(1005).1, last.ask(1005).1),
        (Fate::Passed, Fate::Passed, Fate::Refused)
    );
}
