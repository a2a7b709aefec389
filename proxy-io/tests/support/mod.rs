//! An engine that does what a client's line tells it, and a fleet of it on sockets of the system's choice.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proxy_core::buf::{Chain, Chunk};
use proxy_core::command::{
    Address, CloseHow, Command, Completion, ConnId, ConnectOptions, DirectoryEntry, FileId, FileInfo,
    FileKind, IoError, Level, ListenerId, OpenMode, Peer, Report, ResolveId, Room, VerifyId,
};
use proxy_core::config::{Config, ErrorLogFile, Listener, LogFile, LogId, LogSink, WorkerCount};
use proxy_core::shared::Shared;
use proxy_core::slab::Slab;
use proxy_core::time::{Instant, Millis, Now};
use proxy_core::worker::Pools;
use proxy_io::{Bound, Choice, Crew, Engine, Logs, bind};

/// All drivers, for tests that run on each.
pub const CHOICES: [Choice; 3] = [Choice::Best, Choice::Monoio, Choice::Epoll];

/// The slice size of `burst` and how long a test waits for anything before it fails.
pub const SLICE: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection: a client's, or one that a client's line asked for.
#[derive(Default)]
struct Conn {
    /// Where what is read goes, if not back.
    peer: Option<ConnId>,
    client: bool,
    /// Sending, or not connected yet.
    busy: bool,
    out: Chain,
    /// A receive is in flight.
    reading: bool,
    echo: bool,
    ended: bool,
}

/// See the module's documentation.
pub struct Console {
    config: Arc<Config>,
    conns: Slab<Conn>,
    clients: usize,
    draining: bool,
    commands: VecDeque<Command>,
    reports: VecDeque<Report>,
    alarm: Option<(Instant, ConnId)>,
    /// The file in use: whose, and what was read or is to be written.
    file: Option<(FileId, ConnId, bool)>,
    asked: Option<ConnId>,
    next_file: u32,
}

impl Engine for Console {
    fn start(config: Arc<Config>, _: Arc<Shared>, _: Pools, _: u64, _: Now) -> Self {
        Self {
            config,
            conns: Slab::default(),
            clients: 0,
            draining: false,
            commands: VecDeque::new(),
            reports: VecDeque::new(),
            alarm: None,
            file: None,
            asked: None,
            next_file: 0,
        }
    }

    fn handle_accept(&mut self, listener: ListenerId, peer: Peer, _: Now) -> ConnId {
        let echo = &*self.config.hostname == "echo";
        let conn = ConnId(self.conns.insert(Conn { client: true, echo, ..Conn::default() }));
        self.clients += 1;
        let hostname = Arc::clone(&self.config.hostname);
        if let Some(upstream) = hostname.strip_prefix("relay ") {
            self.connect(conn, upstream);
        }
        if &*self.config.hostname == "greet" {
            self.say(conn, &format!("{} {} {}\n", listener.0, peer.client, peer.local));
        }
        self.read(conn, Room::Small);
        conn
    }

    fn handle_completion(&mut self, completion: Completion, now: Now) {
        match completion {
            Completion::Recv { conn, result } => match result {
                Ok(buf) if !buf.is_empty() => self.received(conn, buf.freeze(), now),
                Ok(_) => self.end(conn),
                Err(_) => self.close(conn, CloseHow::Graceful),
            },
            Completion::Send { conn, mut chain, result } => {
                let Some(state) = self.conns.get_mut(conn.0) else { return };
                state.busy = false;
                match result {
                    Ok(n) => {
                        chain.advance(n);
                        state.out.prepend(chain);
                        self.pump(conn);
                    }
                    Err(_) => self.close(conn, CloseHow::Graceful),
                }
            }
            Completion::Connect { conn, result } => self.connected(conn, result.map_err(|error| error.errno)),
            Completion::OpenFile { file, result } => self.opened(file, result),
            Completion::ReadFile { result, .. } => {
                let text = result.map_or_else(
                    |error| format!("error {}", error.errno),
                    |buf| String::from_utf8_lossy(buf.as_slice()).into_owned(),
                );
                self.file_done(&format!("{text}\n"));
            }
            Completion::WriteFile { file, result, .. } => match result {
                Ok(()) => {
                    let offset = 3 * SLICE as u64 - 5;
                    self.commands.push_back(Command::ReadFile { file, offset, len: 100 });
                }
                Err(error) => self.file_done(&format!("error {}\n", error.errno)),
            },
            Completion::Verify { matches, .. } => {
                let Some(conn) = self.asked.take() else { return };
                self.say(conn, &format!("{matches:?}\n"));
            }
            Completion::ListDirectory { result, .. } => self.listed(result),
            Completion::RenameFile { result, .. } => {
                let text =
                    result.map_or_else(|error| format!("error {}", error.errno), |()| "renamed".to_owned());
                self.file_done(&format!("{text}\n"));
            }
            Completion::FreeSpace { result, .. } => {
                let text =
                    result.map_or_else(|error| format!("error {}", error.errno), |_| "free".to_owned());
                self.file_done(&format!("{text}\n"));
            }
            Completion::Resolve { result, .. } => {
                let Some(conn) = self.asked.take() else { return };
                let text = result.map_or_else(|error| error.reason, |found| format!("{found:?}"));
                self.say(conn, &format!("{text}\n"));
            }
        }
    }

    fn handle_timeout(&mut self, _: Now) {
        if let Some((_, conn)) = self.alarm.take() {
            self.say(conn, "rang\n");
        }
    }

    fn handle_reload(&mut self, config: Arc<Config>, _: Now) {
        self.config = config;
    }

    fn handle_shutdown(&mut self, _: Now) {
        self.draining = true;
        self.report_drained();
    }

    fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.alarm.map(|(at, _)| at)
    }

    fn recycle(&mut self, _: Vec<u8>) {}
}

impl Console {
    fn received(&mut self, conn: ConnId, data: Chunk, now: Now) {
        let Some(state) = self.conns.get_mut(conn.0) else { return };
        state.reading = false;
        if let Some(peer) = state.peer {
            self.push(peer, data.into());
        } else if state.echo {
            self.push(conn, data.into());
        } else {
            let text = String::from_utf8_lossy(&data).into_owned();
            for line in text.lines() {
                self.obey(conn, line, now);
            }
            self.read(conn, Room::Small);
        }
    }

    /// At most one receive is in flight, as the contract says.
    fn read(&mut self, conn: ConnId, room: Room) {
        if let Some(state) = self.conns.get_mut(conn.0)
            && !state.reading
        {
            state.reading = true;
            self.commands.push_back(Command::Recv { conn, room });
        }
    }

    fn new_file(&mut self, conn: ConnId) -> FileId {
        self.next_file += 1;
        let file = FileId(proxy_core::slab::Key { index: 0, generation: self.next_file });
        self.file = Some((file, conn, false));
        file
    }

    fn obey(&mut self, conn: ConnId, line: &str, now: Now) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "verify" => {
                self.asked = Some(conn);
                let (password, stored) = rest.split_once(' ').unwrap();
                let (password, stored) = (password.as_bytes().into(), stored.as_bytes().into());
                self.commands.push_back(Command::Verify { id: VerifyId(conn.0), password, stored });
            }
            "resolve" => {
                self.asked = Some(conn);
                let id = ResolveId(conn.0);
                self.commands.push_back(Command::Resolve { id, name: rest.into() });
            }
            "open" => self.open(conn, rest, OpenMode::Read),
            "list" => {
                let file = self.new_file(conn);
                self.commands.push_back(Command::ListDirectory { file, path: rest.as_bytes().into() });
            }
            "free" => {
                let file = self.new_file(conn);
                self.commands.push_back(Command::FreeSpace { file, path: rest.as_bytes().into() });
            }
            "rename" => {
                let file = self.new_file(conn);
                let (from, to) = rest.split_once(' ').unwrap();
                let (from, to) = (from.as_bytes().into(), to.as_bytes().into());
                self.commands.push_back(Command::RenameFile { file, from, to, finish: None });
            }
            "remove" => {
                self.commands.push_back(Command::RemoveFile { path: rest.as_bytes().into() });
                self.say(conn, "removing\n");
            }
            "temp" => self.open(conn, rest, OpenMode::Temp),
            "connect" => self.connect(conn, rest),
            "burst" => {
                let mut chain = Chain::new();
                (0..rest.parse::<usize>().unwrap())
                    .for_each(|_| chain.push(Chunk::from_vec(vec![b'b'; SLICE])));
                self.push(conn, chain);
            }
            "alarm" => self.alarm = Some((now.instant + Millis(rest.parse().unwrap()), conn)),
            "log" => {
                self.reports.push_back(Report::Access { log: LogId(0), lines: format!("{rest}\n").into() })
            }
            "warn" => {
                self.reports.push_back(Report::Error { log: 0, level: Level::Warn, message: rest.into() })
            }
            "panic" => panic!("as the client wished"),
            "reset" => self.close(conn, CloseHow::Reset),
            "close" => self.close(conn, CloseHow::Graceful),
            _ => self.say(conn, &format!("what is {line}?\n")),
        }
    }

    fn open(&mut self, conn: ConnId, path: &str, mode: OpenMode) {
        self.next_file += 1;
        let file = FileId(proxy_core::slab::Key { index: 0, generation: self.next_file });
        self.file = Some((file, conn, mode == OpenMode::Temp));
        self.commands.push_back(Command::OpenFile { file, path: path.as_bytes().into(), mode });
    }

    fn opened(&mut self, file: FileId, result: Result<FileInfo, IoError>) {
        let Some((_, conn, write)) = self.file else { return };
        match result {
            Err(error) => self.file_done(&format!("error {}\n", error.errno)),
            Ok(_) if write => {
                let mut chain = Chain::new();
                (0..3).for_each(|_| chain.push(Chunk::from_vec(vec![b'w'; SLICE])));
                self.commands.push_back(Command::WriteFile { file, offset: 0, chain });
            }
            Ok(info) => {
                self.say(conn, &format!("{:?} {}\n", info.kind, info.size));
                if info.kind == FileKind::Other {
                    self.file_done("");
                } else {
                    self.commands.push_back(Command::ReadFile { file, offset: 0, len: 5 });
                }
            }
        }
    }

    fn listed(&mut self, result: Result<Vec<DirectoryEntry>, IoError>) {
        let mut text = String::new();
        match result {
            Ok(mut found) => {
                found.sort_by(|a, b| a.name.cmp(&b.name));
                for entry in found {
                    text += &format!("{} {:?} {};", entry.name.escape_ascii(), entry.kind, entry.size);
                }
            }
            Err(error) => text = format!("error {}", error.errno),
        }
        self.file_done(&format!("{text}\n"));
    }

    fn file_done(&mut self, text: &str) {
        if let Some((file, conn, _)) = self.file.take() {
            self.commands.push_back(Command::CloseFile { file });
            self.say(conn, text);
        }
    }

    fn connect(&mut self, client: ConnId, to: &str) {
        let address = match to.strip_prefix("unix:") {
            Some(path) => Address::Unix(path.into()),
            None => Address::Ip(to.parse().unwrap()),
        };
        let conn = ConnId(self.conns.insert(Conn { peer: Some(client), busy: true, ..Conn::default() }));
        self.conns.get_mut(client.0).unwrap().peer = Some(conn);
        let options = ConnectOptions { keepalive: true, ..ConnectOptions::default() };
        self.commands.push_back(Command::Connect { conn, address, options });
    }

    fn connected(&mut self, conn: ConnId, result: Result<Address, i32>) {
        let Some(client) = self.conns.get(conn.0).and_then(|state| state.peer) else { return };
        match result {
            Ok(_) => {
                self.conns.get_mut(conn.0).unwrap().busy = false;
                self.read(conn, Room::Large);
                self.pump(conn);
            }
            Err(errno) => {
                self.conns.remove(conn.0);
                if let Some(state) = self.conns.get_mut(client.0) {
                    state.peer = None;
                }
                self.say(client, &format!("error {errno}\n"));
            }
        }
    }

    fn say(&mut self, conn: ConnId, text: &str) {
        self.push(conn, Chunk::from_vec(text.as_bytes().to_vec()).into());
    }

    fn push(&mut self, conn: ConnId, mut chain: Chain) {
        if let Some(state) = self.conns.get_mut(conn.0) {
            state.out.append(&mut chain);
            self.pump(conn);
        }
    }

    /// Sends what is to be sent; when nothing is, the source may be read again.
    fn pump(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get_mut(conn.0) else { return };
        if state.busy {
            return;
        }
        if !state.out.is_empty() {
            state.busy = true;
            let chain = std::mem::take(&mut state.out);
            self.commands.push_back(Command::Send { conn, chain });
            return;
        }
        let source = if state.echo { Some(conn) } else { state.peer };
        if let Some(source) = source
            && self.conns.get(source.0).is_some_and(|state| !state.ended)
        {
            self.read(source, Room::Large);
        }
    }

    /// The end of a stream: the other side's, once it has everything; both at an end is the end.
    fn end(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get_mut(conn.0) else { return };
        let Some(peer) = state.peer else { return self.close(conn, CloseHow::Graceful) };
        state.ended = true;
        if self.conns.get(peer.0).is_none_or(|peer| peer.ended) {
            self.close(conn, CloseHow::Graceful);
        } else {
            self.commands.push_back(Command::Shutdown { conn: peer });
        }
    }

    fn close(&mut self, conn: ConnId, how: CloseHow) {
        let Some(state) = self.conns.remove(conn.0) else { return };
        self.commands.push_back(Command::Close { conn, how });
        self.clients -= usize::from(state.client);
        if let Some(peer) = state.peer {
            self.close(peer, how);
        }
        self.report_drained();
    }

    fn report_drained(&mut self) {
        if self.draining && self.clients == 0 {
            self.reports.push_back(Report::Drained);
        }
    }
}

/// A fleet of consoles and where it listens.
pub struct Rig {
    pub crew: Crew<Console>,
    pub address: SocketAddr,
    pub dir: PathBuf,
}

impl Rig {
    pub fn new(choice: Choice, hostname: &str, workers: usize) -> Self {
        let dir = scratch();
        let config = config(hostname, &dir, any_port(), workers);
        let bound = bind(&config, workers, None).unwrap();
        let address = ip(&bound);
        let logs = Arc::new(Logs::open(&config).unwrap());
        let crew = Crew::start_on(choice, Arc::new(config), Arc::default(), bound, logs).unwrap();
        Self { crew, address, dir }
    }

    pub fn client(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    pub fn error_log(&self) -> String {
        std::fs::read_to_string(self.dir.join("error.log")).unwrap()
    }

    /// Drains, and fails when that takes too long.
    pub fn finish(self) {
        self.crew.shutdown();
        assert!(self.crew.wait(Some(PATIENCE)), "it does not drain");
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

pub fn any_port() -> Address {
    Address::Ip(SocketAddr::from(([127, 0, 0, 1], 0)))
}

pub fn ip(bound: &Bound) -> SocketAddr {
    match &bound.local_addresses()[0] {
        Address::Ip(ip) => *ip,
        Address::Unix(path) => panic!("not an IP address: {path}"),
    }
}

pub fn config(hostname: &str, dir: &Path, address: Address, workers: usize) -> Config {
    let mut config = Config { hostname: hostname.into(), ..Config::default() };
    config.process.workers = WorkerCount::Fixed(u32::try_from(workers).unwrap());
    config.listeners.push(listener(address));
    let file = |name: &str| LogSink::File(dir.join(name).to_str().unwrap().into());
    config.error_logs.push(ErrorLogFile { sink: file("error.log"), level: Level::Info });
    config.logs.push(LogFile { sink: file("access.log"), buffer_bytes: 0, flush: None, gzip_level: None });
    config
}

pub fn listener(address: Address) -> Listener {
    Listener { address, keepalive: true, ..Listener::default() }
}

/// Waits for what another thread does in its own time.
pub fn eventually(mut happened: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !happened() {
        assert!(start.elapsed() < PATIENCE, "it does not happen");
        std::thread::yield_now();
    }
}

/// A directory of this test's own.
pub fn scratch() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("ringgate-io-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// A client that speaks lines and loses patience.
pub struct Client {
    pub reader: BufReader<TcpStream>,
}

impl Client {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n").as_bytes());
        self.line()
    }

    pub fn exactly(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }
}
