//! A driver without a system below it: it obeys, holds the worker to the rules of `command.rs`, and completes what is
//! in flight only as somebody else decides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proxy_core::buf::{Buf, Chain, Pool};
use proxy_core::command::{
    Address, Command, Completion, ConnId, FileId, IoError, Level, ListenerId, OpenMode, Peer, Report,
    ResolveId, Room,
};
use proxy_core::config::Config;
use proxy_core::shared::Shared;
use proxy_core::time::{Instant, Now};
use proxy_core::worker::{Pools, Worker};

use super::super::h1_request::Requests;
use super::super::message::{Event, Reader};
use super::audience::FirstReply;
use super::h2_client::Http2Client;
use super::h2_server::Http2Server;

/// Commands that one input may cause for each living connection, and at least.
const COMMANDS_PER_CONN: usize = 8;
const COMMANDS_PER_INPUT: usize = 16;
/// Bytes that one `Send` may carry.
const SEND_BYTES_MAX: usize = 256 * 1024;
/// How many completions that came too late are kept for delivery.
const STRAYS_MAX: usize = 32;
/// Blocks that a connection may hold: small reads fill them badly.
const BLOCKS_PER_CONN: usize = 256;
/// Small, so that a few bytes fill them.
const SMALL_BLOCK_BYTES: usize = 1024;
const LARGE_BLOCK_BYTES: usize = 4096;

/// What goes out on a connection, as its other end reads it.
enum Audience {
    Client(FirstReply),
    Http2(Box<Http2Client>),
    Upstream(Reader<Requests>),
    Http2Upstream(Box<Http2Server>),
    NameServer,
}

impl Audience {
    /// Asserts that an upstream never reads a malformed request, and a client no malformed first reply.
    fn hear(&mut self, bytes: &[u8]) {
        match self {
            Self::Client(reply) => reply.hear(bytes),
            Self::NameServer => {}
            Self::Http2(client) => client.hear(bytes),
            Self::Http2Upstream(server) => {
                // An upgrade is asked for in HTTP/1.1 all the same.
                if let Some(other) = server.hear(bytes) {
                    *self = Self::Upstream(Reader::new(Requests::forwarded()));
                    self.hear(&other);
                }
            }
            Self::Upstream(reader) => {
                reader.feed(bytes);
                if let Some(Event::Error(error)) = reader.events.last() {
                    panic!("a request to an upstream is malformed: {error}, after {:?}", reader.events);
                }
            }
        }
    }
}

impl Audience {
    /// The other end says something: whoever begins with HTTP/2's preface is held to HTTP/2.
    fn say(&mut self, bytes: &[u8]) {
        match self {
            Self::Client(reply) => {
                if let Some(said) = reply.preface(bytes) {
                    let mut client = Box::<Http2Client>::default();
                    client.say(&said);
                    *self = Self::Http2(client);
                }
            }
            Self::Http2(client) => client.say(bytes),
            Self::Http2Upstream(server) => server.say(bytes),
            Self::Upstream(_) | Self::NameServer => {}
        }
    }
}

impl Socket {
    /// Whether a client is at the other end.
    pub(crate) const fn is_client(&self) -> bool {
        matches!(self.audience, Audience::Client(_) | Audience::Http2(_))
    }
}

/// A connection as a driver sees it.
pub(crate) struct Socket {
    pub(crate) connecting: bool,
    pub(crate) recv: Option<Room>,
    pub(crate) send: Option<Chain>,
    failed: bool,
    ended: bool,
    shut: bool,
    pub(crate) datagram: bool,
    audience: Audience,
}

/// What is in flight on a file.
#[derive(Debug)]
pub(crate) enum FileOp {
    Open { temporary: bool },
    Read { len: usize },
    Write { chain: Chain },
    List,
    Rename,
    Free,
}

/// A worker and all that it has asked for.
pub(crate) struct Rig {
    worker: Worker,
    pools: Pools,
    pub(crate) now: Now,
    listeners: usize,
    pub(crate) sockets: BTreeMap<ConnId, Socket>,
    pub(crate) files: BTreeMap<FileId, (bool, Option<FileOp>)>,
    pub(crate) resolving: BTreeSet<ResolveId>,
    name_servers: BTreeSet<Address>,
    /// Whether upstreams are spoken to in HTTP/2.
    expects_http2: bool,
    pub(crate) strays: Vec<Completion>,
    pub(crate) shutdown: bool,
    drained: bool,
    /// Whether a file operation failed: only then may there be alerts.
    trouble: bool,
    /// `FUZZ_TRACE=1`: say what happens.
    trace: bool,
}

impl Rig {
    pub(crate) fn new(config: Arc<Config>, seed: u64) -> Self {
        let pools = Pools { small: Pool::new(SMALL_BLOCK_BYTES, 8), large: Pool::new(LARGE_BLOCK_BYTES, 8) };
        let now =
            Now { instant: Instant::from_micros(1_000_000), unix_ms: 1_700_000_000_000, utc_offset_s: 3600 };
        let listeners = config.listeners.len();
        let worker = Worker::new(config, Arc::new(Shared::new()), pools.clone(), seed, now);
        let mut rig = Self {
            worker,
            pools,
            now,
            listeners,
            sockets: BTreeMap::new(),
            files: BTreeMap::new(),
            resolving: BTreeSet::new(),
            name_servers: BTreeSet::new(),
            expects_http2: false,
            strays: Vec::new(),
            shutdown: false,
            drained: false,
            trouble: false,
            trace: std::env::var_os("FUZZ_TRACE").is_some(),
        };
        rig.drain();
        rig
    }

    /// From now on upstreams are spoken to in HTTP/2.
    pub(crate) const fn expect_http2(&mut self) {
        self.expects_http2 = true;
    }

    /// Says what happens, if somebody wants to know.
    pub(crate) fn say(&self, what: &dyn std::fmt::Debug) {
        if self.trace {
            eprintln!("{:>9} {what:?}", self.now.instant.as_micros() / 1000);
        }
    }

    /// A client arrives at listener `choice`.
    pub(crate) fn accept(&mut self, choice: u8) {
        if self.shutdown || self.listeners == 0 {
            return;
        }
        let listener = ListenerId(u32::try_from(usize::from(choice) % self.listeners).unwrap());
        let client = if choice & 0x80 == 0 {
            Address::Ip(([192, 0, 2, choice], 50_000).into())
        } else {
            Address::Unix(Arc::from(""))
        };
        let peer = Peer { client, local: Address::Ip(([10, 0, 0, 1], 80).into()) };
        let id = self.worker.handle_accept(listener, peer, self.now);
        self.open(id, Audience::Client(FirstReply::default()), false);
        self.drain();
    }

    fn open(&mut self, id: ConnId, audience: Audience, datagram: bool) {
        let socket = Socket {
            connecting: !matches!(audience, Audience::Client(_)),
            recv: None,
            send: None,
            failed: false,
            ended: false,
            shut: false,
            datagram,
            audience,
        };
        assert!(self.sockets.insert(id, socket).is_none(), "rule: connection key {id:?} is in use");
    }

    fn complete(&mut self, completion: Completion) {
        self.say(&("<-", &completion));
        self.worker.handle_completion(completion, self.now);
        self.drain();
    }

    pub(crate) fn connected(&mut self, id: ConnId, error: Option<IoError>) {
        let socket = self.sockets.get_mut(&id).unwrap();
        socket.connecting = false;
        socket.failed = error.is_some();
        let local = Address::Ip(([10, 0, 0, 1], 40_000).into());
        self.complete(Completion::Connect { conn: id, result: error.map_or(Ok(local), Err) });
    }

    /// Bytes (none are the end) or an error for the `Recv` in flight.
    pub(crate) fn received(&mut self, id: ConnId, result: Result<&[u8], IoError>) {
        let socket = self.sockets.get_mut(&id).unwrap();
        let room = socket.recv.take().unwrap();
        socket.ended = result.is_ok_and(<[u8]>::is_empty) && !socket.datagram || result.is_err();
        if let Ok(bytes) = result {
            socket.audience.say(bytes);
        }
        let result = result.map(|bytes| self.filled(room, bytes));
        self.complete(Completion::Recv { conn: id, result });
    }

    fn filled(&self, room: Room, bytes: &[u8]) -> Buf {
        let mut buf = match room {
            Room::Small => self.pools.small.take(),
            Room::Large => self.pools.large.take(),
        };
        let fits = bytes.len().min(buf.spare());
        assert!(buf.try_extend(&bytes[..fits]));
        buf
    }

    /// So much (at least a byte) of the `Send` in flight is taken, or it fails.
    pub(crate) fn sent(&mut self, id: ConnId, result: Result<usize, IoError>) {
        let socket = self.sockets.get_mut(&id).unwrap();
        let chain = socket.send.take().unwrap();
        let at_least = if socket.datagram { chain.len() } else { 1 };
        let result = result.map(|bytes| bytes.clamp(at_least, chain.len()));
        if let Ok(taken) = result {
            socket.audience.hear(&chain.to_vec()[..taken]);
        }
        self.complete(Completion::Send { conn: id, chain, result });
    }

    /// The operation in flight on a file is done: `answer` makes its result.
    pub(crate) fn file_done(&mut self, id: FileId, answer: impl FnOnce(FileOp, &Pool) -> Completion) {
        let operation = self.files.get_mut(&id).unwrap().1.take().unwrap();
        let completion = answer(operation, &self.pools.large);
        match &completion {
            Completion::OpenFile { result, .. } => {
                self.files.get_mut(&id).unwrap().0 = result.is_ok();
                self.trouble |= result.is_err();
            }
            Completion::WriteFile { result, .. } | Completion::RenameFile { result, .. } => {
                self.trouble |= result.is_err();
            }
            Completion::FreeSpace { .. } => {}
            Completion::ReadFile { .. } | Completion::ListDirectory { .. } => self.trouble = true,
            other @ (Completion::Connect { .. }
            | Completion::Recv { .. }
            | Completion::Send { .. }
            | Completion::Verify { .. }
            | Completion::Resolve { .. }) => panic!("{other:?} is no answer to a file operation"),
        }
        self.complete(completion);
    }

    pub(crate) fn resolved(&mut self, completion: Completion) {
        if let Completion::Resolve { id, .. } = &completion {
            assert!(self.resolving.remove(id));
        }
        self.complete(completion);
    }

    /// A completion whose connection was closed meanwhile.
    pub(crate) fn late(&mut self, choice: usize) {
        if !self.strays.is_empty() {
            let stray = self.strays.swap_remove(choice % self.strays.len());
            self.complete(stray);
        }
    }

    pub(crate) fn pass(&mut self, us: u64) {
        self.now.instant = Instant::from_micros(self.now.instant.as_micros() + us);
        self.now.unix_ms += us / 1000;
    }

    /// The clock jumps to the next deadline, if there is one.
    pub(crate) fn timeout(&mut self) -> bool {
        let Some(deadline) = self.worker.poll_timeout() else { return false };
        self.pass(deadline.as_micros().saturating_sub(self.now.instant.as_micros()));
        self.worker.handle_timeout(self.now);
        self.drain();
        true
    }

    pub(crate) fn reload(&mut self, config: Arc<Config>) {
        self.listeners = config.listeners.len();
        self.worker.handle_reload(config, self.now);
        self.drain();
    }

    pub(crate) fn shut_down(&mut self) {
        self.shutdown = true;
        self.worker.handle_shutdown(self.now);
        self.drain();
    }

    /// Takes every output. Reports come last: nothing may be wanted behind `Drained`.
    fn drain(&mut self) {
        let budget = COMMANDS_PER_INPUT + COMMANDS_PER_CONN * self.sockets.len();
        let mut commands = 0;
        while let Some(command) = self.worker.poll_command() {
            commands += 1;
            assert!(!self.drained, "rule: {command:?} after Drained");
            assert!(commands <= budget, "bound: more than {budget} commands after one input");
            self.obey(command);
        }
        while let Some(report) = self.worker.poll_report() {
            self.note(report);
        }
        assert!(self.worker.poll_command().is_none(), "rule: a command behind the reports");
        let blocks = self.pools.small.live() + self.pools.large.live();
        let most = BLOCKS_PER_CONN * (1 + self.sockets.len()) + STRAYS_MAX;
        assert!(blocks <= most, "bound: {blocks} blocks are out, at most {most}");
    }

    fn socket(&mut self, id: ConnId, doing: &str) -> &mut Socket {
        let socket = self.sockets.get_mut(&id);
        let socket = socket.unwrap_or_else(|| panic!("rule: {doing} on the closed key {id:?}"));
        assert!(!socket.connecting && !socket.failed, "rule: {doing} on {id:?}, which is not connected");
        socket
    }

    fn obey(&mut self, command: Command) {
        self.say(&("->", &command));
        match command {
            Command::Connect { conn, address, options } => self.connect(conn, &address, options.datagram),
            Command::Recv { conn, room } => {
                let socket = self.socket(conn, "Recv");
                assert!(!socket.ended, "rule: a Recv behind the end on {conn:?}");
                assert!(socket.recv.replace(room).is_none(), "rule: a second Recv in flight on {conn:?}");
            }
            Command::Send { conn, chain } => {
                let socket = self.socket(conn, "Send");
                assert!(!chain.is_empty(), "rule: an empty Send on {conn:?}");
                assert!(chain.len() <= SEND_BYTES_MAX, "bound: a Send of {} bytes", chain.len());
                assert!(!socket.shut, "rule: a Send behind Shutdown on {conn:?}");
                assert!(socket.send.replace(chain).is_none(), "rule: a second Send in flight on {conn:?}");
            }
            Command::Shutdown { conn } => {
                let socket = self.socket(conn, "Shutdown");
                assert!(socket.send.is_none(), "rule: Shutdown with a Send in flight on {conn:?}");
                assert!(!core::mem::replace(&mut socket.shut, true), "rule: a second Shutdown on {conn:?}");
            }
            Command::Close { conn, .. } => self.close(conn),
            Command::OpenFile { file, path, mode } => {
                self.open_file(file, &path, FileOp::Open { temporary: mode != OpenMode::Read });
            }
            Command::ReadFile { file, len, .. } => {
                assert!(len > 0, "rule: an empty ReadFile on {file:?}");
                self.begin(file, FileOp::Read { len });
            }
            Command::WriteFile { file, chain, .. } => {
                assert!(!chain.is_empty(), "rule: an empty WriteFile on {file:?}");
                self.begin(file, FileOp::Write { chain });
            }
            Command::ListDirectory { file, path } => self.open_file(file, &path, FileOp::List),
            Command::FreeSpace { file, path } => self.open_file(file, &path, FileOp::Free),
            Command::RenameFile { file, .. } => self.begin(file, FileOp::Rename),
            Command::RemoveFile { path } => {
                assert!(path.starts_with(b"/"), "rule: a path that is not absolute")
            }
            Command::CloseFile { file } => {
                let (_, operation) = self.files.remove(&file).expect("rule: CloseFile on a closed key");
                let late = operation.map(|operation| match operation {
                    FileOp::Open { .. } => Completion::OpenFile { file, result: Err(IoError::CANCELED) },
                    FileOp::Read { .. } => Completion::ReadFile { file, result: Err(IoError::CANCELED) },
                    FileOp::Write { chain } => Completion::WriteFile { file, chain, result: Ok(()) },
                    FileOp::List => Completion::ListDirectory { file, result: Err(IoError::CANCELED) },
                    FileOp::Rename => Completion::RenameFile { file, result: Ok(()) },
                    FileOp::Free => Completion::FreeSpace { file, result: Ok(0) },
                });
                late.into_iter().for_each(|late| self.keep(late));
            }
            Command::Verify { id, password, stored } => {
                // Comparing holds nobody up here: a fuzzer's time is its own.
                let matches = Some(proxy_core::access::password::matches(&password, &stored));
                self.keep(Completion::Verify { id, matches });
            }
            Command::Resolve { id, .. } => {
                assert!(self.resolving.insert(id), "rule: resolve key {id:?} is in use");
            }
        }
    }

    fn open_file(&mut self, file: FileId, path: &[u8], operation: FileOp) {
        assert!(path.starts_with(b"/"), "rule: {:?} is not absolute", path.escape_ascii().to_string());
        let key = self.files.insert(file, (false, Some(operation)));
        assert!(key.is_none(), "rule: file key {file:?} is in use");
    }

    fn connect(&mut self, conn: ConnId, address: &Address, datagram: bool) {
        if datagram {
            self.name_servers.insert(address.clone());
        }
        // A name server is asked by TCP only after it was asked by a datagram.
        let audience = if self.name_servers.contains(address) {
            Audience::NameServer
        } else if self.expects_http2 {
            Audience::Http2Upstream(Box::default())
        } else {
            Audience::Upstream(Reader::new(Requests::forwarded()))
        };
        self.open(conn, audience, datagram);
    }

    fn begin(&mut self, id: FileId, operation: FileOp) {
        let file = self.files.get_mut(&id);
        let (is_open, pending) = file.unwrap_or_else(|| panic!("rule: {operation:?} on a closed key"));
        assert!(*is_open, "rule: {operation:?} on {id:?}, which is not open");
        assert!(pending.is_none(), "rule: a second operation in flight on {id:?}");
        *pending = Some(operation);
    }

    /// What was in flight may come back late.
    fn close(&mut self, conn: ConnId) {
        let socket = self.sockets.remove(&conn);
        let socket = socket.unwrap_or_else(|| panic!("rule: Close on the closed key {conn:?}"));
        if socket.connecting {
            self.keep(Completion::Connect { conn, result: Err(IoError::CANCELED) });
        }
        if let Some(room) = socket.recv {
            let result = Ok(self.filled(room, b"late"));
            self.keep(Completion::Recv { conn, result });
        }
        if let Some(chain) = socket.send {
            let result = Ok(chain.len());
            self.keep(Completion::Send { conn, chain, result });
        }
    }

    fn keep(&mut self, stray: Completion) {
        if self.strays.len() < STRAYS_MAX {
            self.strays.push(stray);
        }
    }

    fn note(&mut self, report: Report) {
        self.say(&report);
        match report {
            Report::Access { lines, .. } | Report::AccessPath { lines, .. } => {
                assert!(lines.ends_with(b"\n"), "rule: no whole lines in an access report");
                self.worker.recycle(lines);
            }
            Report::Error { level, message, .. } => {
                // Alerts are for our own bugs and for a machine in trouble.
                let full = message.ends_with(b"worker_connections are not enough");
                let ours = level <= Level::Alert && !self.trouble && !full;
                assert!(!ours, "an alert: {}", message.escape_ascii());
            }
            Report::Save { .. } => panic!("rule: nobody has a state to save"),
            Report::Drained => {
                assert!(self.shutdown, "rule: Drained without a shutdown");
                assert!(!core::mem::replace(&mut self.drained, true), "rule: Drained twice");
                assert!(self.sockets.is_empty(), "rule: Drained with open connections");
            }
        }
    }

    /// Asserts that nothing is left.
    pub(crate) fn check_end(self) {
        assert!(self.drained, "hang: no Drained after the shutdown");
        assert!(self.sockets.is_empty() && self.files.is_empty(), "leak: connections or files are open");
        let Self { worker, pools, strays, .. } = self;
        drop(strays);
        let live = || (pools.small.live(), pools.large.live());
        assert_eq!(live(), (0, 0), "leak: the drained worker holds blocks (small, large)");
        drop(worker);
        assert_eq!(live(), (0, 0), "leak: blocks are out when the worker is gone");
    }
}
