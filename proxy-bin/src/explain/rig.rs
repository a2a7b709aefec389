//! A worker without sockets: the request is put in front of it, and what it asks for is answered from a script.
//!
//! Files are the machine's own, read only; names and upstreams are played: a name that is looked up at run time has
//! [`STAND_IN`] as its address, and every upstream takes the connection and answers each request with one status and
//! no body. Nobody waits: where nothing else is to be done, the clock jumps to the worker's next deadline.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use proxy_core::buf::Buf;
use proxy_core::command::{
    Address, Command, Completion, ConnId, ConnectOptions, FileId, FileInfo, IoError, Report,
};
use proxy_core::config::{Config, LogId};
use proxy_core::shared::Shared;
use proxy_core::time::{Instant, Millis, Now};
use proxy_core::trace::Step;
use proxy_core::worker::{Pools, Worker};

use super::ask::Request;
use super::cgi::CgiRequest;
use super::client::Client;
use super::{dns, files};

/// What every name stands for that is looked up at run time: an address of nobody's (RFC 5737).
pub const STAND_IN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Our own end of a connection to an upstream.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000);
/// How many things may happen before we give up.
const TURNS_MAX: usize = 100_000;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// The worker decided something.
    Step(Step),
    /// A file was looked for.
    File {
        /// Where.
        path: Arc<[u8]>,
        /// What was there.
        found: Result<FileInfo, IoError>,
    },
    /// A directory was listed.
    Listing {
        /// Which one.
        path: Arc<[u8]>,
    },
    /// A name was looked up.
    Name(String),
    /// A connection to an upstream was asked for.
    Connect {
        /// Where to.
        address: Address,
        /// With which options.
        options: ConnectOptions,
    },
    /// An upstream has its request.
    Request {
        /// Which one.
        address: Address,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// The request was held back.
    Waited(Millis),
    /// A line for an access log.
    Access {
        /// Which log; none for one whose name was computed.
        log: Option<LogId>,
        /// Where a computed name leads.
        path: Vec<u8>,
        /// The line.
        line: Vec<u8>,
    },
}

/// Everything that happened, and what the client got.
#[derive(Debug)]
pub struct Account {
    /// In order.
    pub events: Vec<Event>,
    /// The reply's bytes.
    pub reply: Vec<u8>,
    /// Whether TLS was not agreed on, and why.
    pub refused: Option<String>,
}

struct Peer {
    address: Address,
    datagram: bool,
    /// What it got since its last answer.
    heard: Vec<u8>,
    receives: bool,
}

struct Rig {
    worker: Worker,
    pools: Pools,
    now: Now,
    conn: ConnId,
    client: Client,
    client_receives: bool,
    answer: u16,
    /// The directories of caches.
    caches: Vec<Arc<[u8]>>,
    upstreams: HashMap<ConnId, Peer>,
    files: HashMap<FileId, files::Opened>,
    ready: VecDeque<Completion>,
    events: Vec<Event>,
    ended: bool,
}

/// Plays one request.
pub fn play(config: Arc<Config>, request: Request, answer: u16, now: Now) -> Account {
    let pools = Pools::standard();
    let shared = Arc::new(Shared::new().with_pid(std::process::id()));
    let caches = config.caches.iter().map(|zone| Arc::clone(&zone.path)).collect();
    let mut worker = Worker::new(config, shared, pools.clone(), now.unix_ms, now);
    worker.start_trace();
    let client = Client::new(&request);
    let conn = worker.handle_accept(request.listener, request.peer, now);
    let mut rig = Rig {
        worker,
        pools,
        now,
        conn,
        client,
        client_receives: false,
        answer,
        caches,
        upstreams: HashMap::new(),
        files: HashMap::new(),
        ready: VecDeque::new(),
        events: Vec::new(),
        ended: false,
    };
    for _ in 0..TURNS_MAX {
        rig.note();
        if !rig.turn() {
            break;
        }
    }
    rig.note();
    let (reply, refused) = rig.client.finish();
    Account { events: rig.events, reply, refused }
}

impl Rig {
    /// One thing. Returns whether there may be another one.
    fn turn(&mut self) -> bool {
        if let Some(command) = self.worker.poll_command() {
            self.carry_out(command);
        } else if let Some(completion) = self.ready.pop_front() {
            self.worker.handle_completion(completion, self.now);
        } else if self.ended {
            return false;
        } else if let Some(bytes) = self.client_bytes() {
            self.client_receives = false;
            self.deliver(self.conn, &bytes);
        } else if let Some(id) = self.hearing_upstream() {
            self.answer(id);
        } else if let Some(deadline) = self.worker.poll_timeout() {
            return self.wait_until(deadline);
        } else {
            return false;
        }
        true
    }

    /// Takes down what was decided and reported.
    fn note(&mut self) {
        for step in self.worker.take_trace() {
            self.ended |= matches!(step, Step::Ended { .. });
            self.events.push(Event::Step(step));
        }
        while let Some(report) = self.worker.poll_report() {
            match report {
                Report::Access { log, lines } => {
                    self.events.push(Event::Access { log: Some(log), path: Vec::new(), line: lines });
                }
                Report::AccessPath { path, lines } => {
                    self.events.push(Event::Access { log: None, path: path.into(), line: lines });
                }
                // The trace tells all errors, whatever level the logs want; nothing is saved here.
                Report::Error { .. } | Report::Save { .. } | Report::Drained => {}
            }
        }
    }

    /// A deadline that is not the request's own would come first only after all that is waited for here.
    fn wait_until(&mut self, deadline: Instant) -> bool {
        let span = deadline.millis_since(self.now.instant);
        let micros = deadline.as_micros().saturating_sub(self.now.instant.as_micros());
        if self.client.got_reply() && self.client_receives {
            // The client has what it came for.
            return false;
        }
        if span > 0 {
            self.events.push(Event::Waited(Millis(span)));
        }
        self.now.instant = deadline;
        self.now.unix_ms += micros.div_ceil(1000);
        self.worker.handle_timeout(self.now);
        true
    }

    fn client_bytes(&mut self) -> Option<Vec<u8>> {
        if self.client_receives { self.client.bytes_to_send() } else { None }
    }

    /// An upstream that waits for nothing but to answer.
    fn hearing_upstream(&self) -> Option<ConnId> {
        let hears = |(_, peer): &(&ConnId, &Peer)| peer.receives && !peer.heard.is_empty();
        self.upstreams.iter().filter(hears).map(|(id, _)| *id).min()
    }

    fn answer(&mut self, id: ConnId) {
        let Some(peer) = self.upstreams.get_mut(&id) else { return };
        let bytes = std::mem::take(&mut peer.heard);
        peer.receives = false;
        if peer.datagram {
            let (name, answer) = dns::answer(&bytes, STAND_IN);
            self.events.push(Event::Name(name));
            return self.deliver(id, &answer);
        }
        if let Some((text, stream)) = super::h2::request(&bytes) {
            self.events.push(Event::Request { address: peer.address.clone(), bytes: text });
            return self.deliver(id, &super::h2::reply(stream, self.answer));
        }
        if let Some(request) = CgiRequest::parse(&bytes) {
            let reply = request.reply(self.answer);
            self.events.push(Event::Request { address: peer.address.clone(), bytes: request.text });
            return self.deliver(id, &reply);
        }
        self.events.push(Event::Request { address: peer.address.clone(), bytes });
        let reply = format!("HTTP/1.1 {} Scripted\r\nContent-Length: 0\r\n\r\n", self.answer);
        self.deliver(id, reply.as_bytes());
    }

    /// Bytes arrive, in as many pieces as they need.
    fn deliver(&mut self, conn: ConnId, bytes: &[u8]) {
        let mut buf: Buf = self.pools.large.take();
        let (now, later) = bytes.split_at_checked(buf.spare()).unwrap_or((bytes, b""));
        let fits = buf.try_extend(now);
        debug_assert!(fits, "it was cut to what there is room for");
        if conn == self.conn {
            self.client.put_back(later);
        }
        self.ready.push_back(Completion::Recv { conn, result: Ok(buf) });
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Connect { conn, address, options } => self.connect(conn, address, options),
            Command::Recv { conn, .. } => self.recv(conn),
            Command::Send { conn, chain } => {
                let bytes = chain.to_vec();
                if conn == self.conn {
                    self.client.take(&bytes);
                } else if let Some(peer) = self.upstreams.get_mut(&conn) {
                    peer.heard.extend_from_slice(&bytes);
                }
                self.ready.push_back(Completion::Send { conn, chain, result: Ok(bytes.len()) });
            }
            Command::Shutdown { .. } => {}
            Command::Close { conn, .. } => {
                self.ended |= conn == self.conn;
                self.upstreams.remove(&conn);
            }
            Command::OpenFile { file, path, mode } => {
                let (opened, found) = files::open(&path, &mode);
                self.files.extend(opened.map(|opened| (file, opened)));
                if files::is_asked_for(&mode) {
                    self.events.push(Event::File { path, found });
                }
                self.ready.push_back(Completion::OpenFile { file, result: found });
            }
            Command::ReadFile { file, offset, len } => self.read(file, offset, len),
            Command::WriteFile { file, offset, chain } => {
                if let Some(opened) = self.files.get_mut(&file) {
                    opened.write(offset, &chain.to_vec());
                }
                self.ready.push_back(Completion::WriteFile { file, chain, result: Ok(()) });
            }
            Command::ListDirectory { file, path } => {
                // What lies in caches is looked through for all requests, and not for this one.
                let cached = self.caches.iter().any(|cache| path.starts_with(cache));
                let result = if cached { Err(IoError::NOT_FOUND) } else { files::list(&path) };
                if !cached {
                    self.events.push(Event::Listing { path });
                }
                self.ready.push_back(Completion::ListDirectory { file, result });
            }
            Command::CloseFile { file } => _ = self.files.remove(&file),
            // Nothing on the disk is changed here.
            Command::RenameFile { file, .. } => {
                self.ready.push_back(Completion::RenameFile { file, result: Ok(()) });
            }
            Command::RemoveFile { .. } => {}
            Command::FreeSpace { file, .. } => {
                self.ready.push_back(Completion::FreeSpace { file, result: Err(IoError::NOT_FOUND) });
            }
            Command::Verify { id, password, stored } => {
                let matches = proxy_core::access::password::matches(&password, &stored);
                self.ready.push_back(Completion::Verify { id, matches: Some(matches) });
            }
            Command::Resolve { id, name } => {
                self.events.push(Event::Name(name.to_string()));
                self.ready.push_back(Completion::Resolve { id, result: Ok(vec![STAND_IN.into()]) });
            }
        }
    }

    fn connect(&mut self, conn: ConnId, address: Address, options: ConnectOptions) {
        let datagram = options.datagram;
        let peer = Peer { address: address.clone(), datagram, heard: Vec::new(), receives: false };
        if !datagram {
            self.events.push(Event::Connect { address, options });
        }
        self.upstreams.insert(conn, peer);
        self.ready.push_back(Completion::Connect { conn, result: Ok(Address::Ip(LOCAL)) });
    }

    fn read(&mut self, file: FileId, offset: u64, len: usize) {
        let mut buf = self.pools.large.take();
        let read = self.files.get(&file).map(|opened| opened.read(offset, len, &mut buf));
        let result = read.unwrap_or(Err(IoError::NOT_FOUND)).map(|()| buf);
        self.ready.push_back(Completion::ReadFile { file, result });
    }

    fn recv(&mut self, conn: ConnId) {
        if conn == self.conn {
            self.client_receives = true;
        } else if let Some(peer) = self.upstreams.get_mut(&conn) {
            peer.receives = true;
        }
    }
}
