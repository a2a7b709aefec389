//! Engines that break one rule each: the proof that the simulator notices.

use std::collections::VecDeque;
use std::sync::Arc;

use proxy_core::buf::{Buf, Chain, Chunk};
use proxy_core::command::{CloseHow, Command, Completion, ConnId, ListenerId, Peer, Report, Room};
use proxy_core::config::Config;
use proxy_core::slab::Slab;
use proxy_core::time::{Instant, Millis, Now};
use proxy_core::worker::Pools;

use crate::attempt;
use crate::engine::Engine;
use crate::plan::{Exchange, Plan};

/// What a fake does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sin {
    /// Nothing: it closes each client at once.
    None,
    SecondRecv,
    EmptySend,
    UseAfterClose,
    NeverAnswers,
    NeverDrains,
    CommandAfterDrained,
    DeadlineNeverMet,
    FloodsCommands,
    LeaksBlocks,
    ForgetsConnections,
    ShutdownInSend,
    /// Answers everything itself with a 200.
    MakesRepliesUp,
    /// Answers twice.
    Stutters,
    /// Answers with what no strict reader takes.
    TalksNonsense,
}

struct Fake {
    sin: Sin,
    pools: Pools,
    conns: Slab<()>,
    commands: VecDeque<Command>,
    reports: VecDeque<Report>,
    hoard: Vec<Buf>,
    started: Instant,
}

impl Fake {
    fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        let chain = Chain::from(Chunk::from_vec(bytes.to_vec()));
        self.commands.push_back(Command::Send { conn, chain });
    }

    fn close(&mut self, conn: ConnId) {
        self.conns.remove(conn.0);
        self.commands.push_back(Command::Close { conn, how: CloseHow::Graceful });
    }
}

impl Engine for Fake {
    fn handle_accept(&mut self, _: ListenerId, _: Peer, _: Now) -> ConnId {
        let conn = ConnId(self.conns.insert(()));
        let recv = Command::Recv { conn, room: Room::Small };
        match self.sin {
            Sin::SecondRecv => {
                self.commands.push_back(recv);
                self.commands.push_back(Command::Recv { conn, room: Room::Large });
            }
            Sin::EmptySend => self.commands.push_back(Command::Send { conn, chain: Chain::new() }),
            Sin::UseAfterClose => {
                self.close(conn);
                self.commands.push_back(recv);
            }
            Sin::ShutdownInSend => {
                self.send(conn, b"x");
                self.commands.push_back(Command::Shutdown { conn });
            }
            Sin::FloodsCommands => {
                for n in 0..1000 {
                    let id =
                        proxy_core::command::ResolveId(proxy_core::slab::Key { index: n, generation: 0 });
                    self.commands.push_back(Command::Resolve { id, name: "x".into() });
                }
            }
            Sin::LeaksBlocks => {
                self.hoard.push(self.pools.large.take());
                self.close(conn);
            }
            Sin::MakesRepliesUp | Sin::Stutters | Sin::TalksNonsense => self.commands.push_back(recv),
            Sin::NeverAnswers => {}
            Sin::None
            | Sin::NeverDrains
            | Sin::CommandAfterDrained
            | Sin::DeadlineNeverMet
            | Sin::ForgetsConnections => self.close(conn),
        }
        if self.sin == Sin::ForgetsConnections {
            self.commands.clear();
        }
        conn
    }

    fn handle_completion(&mut self, completion: Completion, _: Now) {
        match completion {
            Completion::Recv { conn, .. } if self.sin == Sin::TalksNonsense => {
                self.send(conn, b"HTTP/1.1 200 OK\n\n")
            }
            Completion::Recv { conn, .. } if self.sin == Sin::Stutters => {
                self.send(conn, &b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".repeat(2));
            }
            Completion::Recv { conn, .. } => {
                self.send(conn, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
            Completion::Send { conn, .. } => self.close(conn),
            _ => {}
        }
    }

    fn handle_timeout(&mut self, _: Now) {}

    fn handle_reload(&mut self, _: Arc<Config>, _: Now) {}

    fn handle_shutdown(&mut self, _: Now) {
        for key in self.conns.keys() {
            if self.sin != Sin::ForgetsConnections {
                self.close(ConnId(key));
            }
        }
        if self.sin != Sin::NeverDrains {
            self.reports.push_back(Report::Drained);
        }
    }

    fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    fn poll_report(&mut self) -> Option<Report> {
        let report = self.reports.pop_front();
        if report.is_some() && self.sin == Sin::CommandAfterDrained {
            let id = proxy_core::command::ResolveId(proxy_core::slab::Key { index: 0, generation: 0 });
            self.commands.push_back(Command::Resolve { id, name: "x".into() });
        }
        report
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.sin {
            Sin::DeadlineNeverMet => Some(self.started + Millis(1)),
            _ => None,
        }
    }

    fn recycle(&mut self, _: Vec<u8>) {}
}

/// Why the first of some seeds failed with a fake of this sin.
fn verdict(sin: Sin) -> String {
    let make = move |_: Arc<Config>, pools: Pools, _: u64, now: Now| -> Box<dyn Engine> {
        let (conns, commands, reports) = (Slab::default(), VecDeque::new(), VecDeque::new());
        Box::new(Fake { sin, pools, conns, commands, reports, hoard: Vec::new(), started: now.instant })
    };
    // Without a shutdown on the way every client is served; with one, some of them are not yet gone by then, and a
    // missing reply is excused, so that what comes behind it shows.
    let suits = |seed: &u64| {
        let plan = Plan::new(*seed);
        let first_us = plan.clients.iter().map(|client| client.start_us).min();
        match sin {
            Sin::ForgetsConnections | Sin::LeaksBlocks => plan.shutdown_us > first_us,
            _ => plan.shutdown_us.is_none(),
        }
    };
    attempt((0..).find(suits).expect("some seed"), &make, None).err().unwrap_or_default()
}

#[test]
fn every_sin_is_noticed() {
    let table = [
        (Sin::None, "no reply"),
        (Sin::SecondRecv, "a second Recv"),
        (Sin::EmptySend, "an empty Send"),
        (Sin::UseAfterClose, "Recv on the closed key"),
        (Sin::NeverAnswers, "hang: nothing more happens"),
        (Sin::NeverDrains, "no Drained"),
        (Sin::DeadlineNeverMet, "is never met"),
        (Sin::FloodsCommands, "commands after one input"),
        (Sin::LeaksBlocks, "holds blocks"),
        (Sin::ForgetsConnections, "Drained with open connections"),
        (Sin::ShutdownInSend, "Shutdown with a Send in flight"),
        (Sin::Stutters, "a reply that nobody asked for"),
        (Sin::CommandAfterDrained, "after Drained"),
        (Sin::MakesRepliesUp, "the proxy's own 200"),
        (Sin::TalksNonsense, "a line without CRLF"),
    ];
    let wrong: Vec<String> = table
        .into_iter()
        .map(|(sin, expected)| (sin, expected, verdict(sin)))
        .filter(|(_, expected, verdict)| !verdict.contains(expected))
        .map(|(sin, expected, verdict)| format!("{sin:?}: expected {expected:?}, was {verdict:?}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn a_seed_is_a_whole_run() {
    for seed in [1, 2, 3] {
        let (one, two) = (verdict_of_plan(seed), verdict_of_plan(seed));
        assert_eq!(one, two);
    }
}

/// Everything that the clients of this seed will say.
fn verdict_of_plan(seed: u64) -> Vec<String> {
    Plan::new(seed).exchanges.iter().map(Exchange::head).collect()
}
