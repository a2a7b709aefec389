//! The upstream: an HTTP/1.1 server on one thread that answers at once with a reply whose size the target names.
//!
//! `/sized/N` and `/bulk/N` are answered with `Content-Length: N`, `/chunked/N` in ten chunks; whatever stands before
//! the number (`/logged/N`) does not matter. Request bodies with a Content-Length are read and dropped. Small replies are
//! rendered once and sent with one write, so that the upstream costs as little of the shared core as it can.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use ringgate_benches::UPSTREAM_HEAD;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fd::OwnedFd;

use crate::Result;

/// The most of a body that is rendered in advance, and the size of the read buffer.
const BLOCK: usize = 256 * 1024;
/// A request head beyond this is refused by closing.
const HEAD_MAX: usize = 16 * 1024;
const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;

/// A running upstream; dropping it stops its thread.
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Starts it on a free loopback port, on the calling thread's core.
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("upstream".into()).spawn(move || {
            if let Err(error) = serve(&listener, &stopped) {
                println!("upstream: {error}");
            }
        })?;
        Ok(Self { address, stop, thread: Some(thread) })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // An eventfd refuses a write only when its count is full, and then the thread has been told.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A reply: what is rendered, and how much of the body is still to be made up after it.
struct Reply {
    rendered: Vec<u8>,
    filler: u64,
}

type Replies = HashMap<String, Rc<Reply>>;

struct Conn {
    stream: TcpStream,
    /// The start of a head that arrived in pieces.
    head: Vec<u8>,
    /// What is left of a request body.
    body: u64,
    /// The reply that is due after the body, or under way.
    reply: Option<Rc<Reply>>,
    sent: u64,
}

fn serve(listener: &TcpListener, stop: &OwnedFd) -> Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    epoll::add(&poll, stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
    let mut server =
        Server { conns: HashMap::new(), replies: HashMap::new(), buffer: vec![b'x'; BLOCK], next: 0 };
    let mut events = Vec::with_capacity(256);
    loop {
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            match event.data.u64() {
                STOP => return Ok(()),
                LISTENER => server.accept(listener, &poll)?,
                token => server.handle(token),
            }
        }
    }
}

struct Server {
    conns: HashMap<u64, Conn>,
    replies: Replies,
    buffer: Vec<u8>,
    next: u64,
}

impl Server {
    fn accept(&mut self, listener: &TcpListener, poll: &OwnedFd) -> Result<()> {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let flags = epoll::EventFlags::IN
                | epoll::EventFlags::OUT
                | epoll::EventFlags::RDHUP
                | epoll::EventFlags::ET;
            epoll::add(poll, &stream, epoll::EventData::new_u64(self.next), flags)?;
            let conn = Conn { stream, head: Vec::new(), body: 0, reply: None, sent: 0 };
            self.conns.insert(self.next, conn);
            self.next += 1;
        }
        Ok(())
    }

    fn handle(&mut self, token: u64) {
        let Self { conns, replies, buffer, .. } = self;
        let Some(conn) = conns.get_mut(&token) else { return };
        // A connection that fails is closed; the client will tell what it missed.
        if !matches!(conn.advance(replies, buffer), Ok(true)) {
            conns.remove(&token);
        }
    }
}

impl Conn {
    /// Writes and reads until neither is possible; `false` when the peer is done.
    fn advance(&mut self, replies: &mut Replies, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            if self.body == 0 && !self.flush(buffer)? {
                return Ok(true);
            }
            let got = match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            let dropped = got.min(usize::try_from(self.body).unwrap_or(usize::MAX));
            self.body -= dropped as u64;
            let head = buffer.get(dropped..got).unwrap_or_default();
            if !head.is_empty() {
                self.take_head(head, replies)?;
            }
            // A short read emptied the socket, and the event of the next bytes will come. Only a close can hide behind
            // it: such a connection stays until the upstream stops, which is soon enough.
            if got < buffer.len() && self.body == 0 {
                self.flush(buffer)?;
                return Ok(true);
            }
        }
    }

    fn take_head(&mut self, data: &[u8], replies: &mut Replies) -> io::Result<()> {
        let joined = (!self.head.is_empty()).then(|| [self.head.as_slice(), data].concat());
        let bytes = joined.as_deref().unwrap_or(data);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(bytes).map_err(io::Error::other)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if bytes.len() > HEAD_MAX => {
                return Err(io::Error::other("head too large"));
            }
            httparse::Status::Partial => {
                self.head = bytes.to_vec();
                return Ok(());
            }
        };
        let target = request.path.unwrap_or_default();
        let reply = match replies.get(target) {
            Some(reply) => Rc::clone(reply),
            None => {
                let reply = Rc::new(Reply::for_target(target).ok_or(io::ErrorKind::InvalidInput)?);
                replies.insert(target.to_owned(), Rc::clone(&reply));
                reply
            }
        };
        let body = content_length(request.headers).unwrap_or(0);
        // More than the body would be a pipelined request, which no proxy here sends.
        self.body = body.checked_sub((bytes.len() - length) as u64).ok_or(io::ErrorKind::InvalidInput)?;
        (self.reply, self.sent) = (Some(reply), 0);
        self.head = Vec::new();
        Ok(())
    }

    /// Sends what is due; `false` when the socket is full.
    fn flush(&mut self, filler: &[u8]) -> io::Result<bool> {
        let Some(reply) = self.reply.clone() else { return Ok(true) };
        let rendered = reply.rendered.len() as u64;
        let total = rendered + reply.filler;
        while self.sent < total {
            let rest = usize::try_from(total - self.sent).unwrap_or(usize::MAX);
            let piece = match usize::try_from(self.sent).ok().and_then(|start| reply.rendered.get(start..)) {
                Some(piece) if !piece.is_empty() => piece,
                _ => filler.get(..rest.min(filler.len())).unwrap_or_default(),
            };
            match self.stream.write(piece) {
                Ok(wrote) => self.sent += wrote as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.reply = None;
        Ok(true)
    }
}

/// The value of Content-Length, if there is one.
pub(crate) fn content_length(headers: &[httparse::Header<'_>]) -> Option<u64> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    std::str::from_utf8(header.value).ok()?.trim().parse().ok()
}

impl Reply {
    fn for_target(target: &str) -> Option<Self> {
        let (kind, size) = target.rsplit_once('/')?;
        let size: u64 = size.parse().ok()?;
        if kind.ends_with("/chunked") {
            return Some(Self::chunked(usize::try_from(size).ok()?));
        }
        let mut rendered = format!("{UPSTREAM_HEAD}Content-Length: {size}\r\n\r\n").into_bytes();
        let now = size.min(BLOCK as u64);
        rendered.resize(rendered.len() + usize::try_from(now).ok()?, b'x');
        Some(Self { rendered, filler: size - now })
    }

    fn chunked(size: usize) -> Self {
        let mut rendered = format!("{UPSTREAM_HEAD}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for _ in 0..10 {
            rendered.extend_from_slice(format!("{:x}\r\n", size / 10).as_bytes());
            rendered.resize(rendered.len() + size / 10, b'x');
            rendered.extend_from_slice(b"\r\n");
        }
        rendered.extend_from_slice(b"0\r\n\r\n");
        Self { rendered, filler: 0 }
    }
}
