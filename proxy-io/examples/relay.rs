//! What the driver alone costs: an engine without a protocol that pairs every client connection with one upstream
//! connection and passes bytes to and fro, so that a request is two reads and two writes, as in a proxy.
//!
//! `relay LISTEN UPSTREAM`, for example `relay 127.0.0.1:8080 127.0.0.1:8081`. It runs on one worker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::OnceLock;

use proxy_core::command::{
    Address, CloseHow, Command, Completion, ConnId, ConnectOptions, Level, ListenerId, Peer, Report, Room,
};
use proxy_core::config::{Config, ErrorLogFile, Listener, LogSink};
use proxy_core::shared::Shared;
use proxy_core::slab::Slab;
use proxy_core::time::{Instant, Now};
use proxy_core::worker::Pools;
use proxy_io::{Crew, Engine, Logs, bind};

static UPSTREAM: OnceLock<Address> = OnceLock::new();

#[derive(Default)]
struct Relay {
    /// The other end of each connection.
    conns: Slab<Option<ConnId>>,
    commands: VecDeque<Command>,
}

impl Engine for Relay {
    fn start(_: Arc<Config>, _: Arc<Shared>, _: Pools, _: u64, _: Now) -> Self {
        Self::default()
    }

    fn handle_accept(&mut self, _: ListenerId, _: Peer, _: Now) -> ConnId {
        let client = ConnId(self.conns.insert(None));
        let conn = ConnId(self.conns.insert(Some(client)));
        if let (Some(slot), Some(address)) = (self.conns.get_mut(client.0), UPSTREAM.get().cloned()) {
            *slot = Some(conn);
            let options = ConnectOptions::default();
            self.commands.push_back(Command::Connect { conn, address, options });
        }
        client
    }

    fn handle_completion(&mut self, completion: Completion, _: Now) {
        match completion {
            Completion::Connect { conn, result: Ok(_) } => {
                self.commands.push_back(Command::Recv { conn, room: Room::Large });
                if let Some(client) = self.peer(conn) {
                    self.commands.push_back(Command::Recv { conn: client, room: Room::Small });
                }
            }
            Completion::Recv { conn, result: Ok(buf) } if !buf.is_empty() => {
                if let Some(peer) = self.peer(conn) {
                    self.commands.push_back(Command::Send { conn: peer, chain: buf.freeze().into() });
                }
            }
            Completion::Send { conn, mut chain, result: Ok(n) } => {
                chain.advance(n);
                if !chain.is_empty() {
                    self.commands.push_back(Command::Send { conn, chain });
                } else if let Some(peer) = self.peer(conn) {
                    self.commands.push_back(Command::Recv { conn: peer, room: Room::Large });
                }
            }
            Completion::Connect { conn, .. }
            | Completion::Recv { conn, .. }
            | Completion::Send { conn, .. } => {
                self.close(conn);
            }
            Completion::OpenFile { .. }
            | Completion::ReadFile { .. }
            | Completion::WriteFile { .. }
            | Completion::Verify { .. }
            | Completion::ListDirectory { .. }
            | Completion::RenameFile { .. }
            | Completion::FreeSpace { .. }
            | Completion::Resolve { .. } => {}
        }
    }

    fn handle_timeout(&mut self, _: Now) {}

    fn handle_reload(&mut self, _: Arc<Config>, _: Now) {}

    fn handle_shutdown(&mut self, _: Now) {}

    fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    fn poll_report(&mut self) -> Option<Report> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn recycle(&mut self, _: Vec<u8>) {}
}

impl Relay {
    fn peer(&self, conn: ConnId) -> Option<ConnId> {
        self.conns.get(conn.0).copied().flatten()
    }

    fn close(&mut self, conn: ConnId) {
        if let Some(peer) = self.conns.remove(conn.0) {
            self.commands.push_back(Command::Close { conn, how: CloseHow::Graceful });
            if let Some(peer) = peer {
                self.close(peer);
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (args.next(), args.next()) else {
        return Err("usage: relay LISTEN UPSTREAM".into());
    };
    let upstream = Address::Ip(upstream.parse()?);
    UPSTREAM.get_or_init(|| upstream);
    let mut config = Config::default();
    config.listeners.push(Listener { address: Address::Ip(listen.parse()?), ..Listener::default() });
    config.error_logs.push(ErrorLogFile { sink: LogSink::Stderr, level: Level::Notice });
    let bound = bind(&config, 1, None)?;
    let logs = Arc::new(Logs::open(&config)?);
    let crew = Crew::<Relay>::start(Arc::new(config), Arc::default(), bound, Arc::clone(&logs))?;
    logs.write_error(0, Level::Notice, &format!("using {}", crew.driver()));
    // Until it is killed.
    let _ = crew.wait(None);
    Ok(())
}
