//! The load client: N connections on one thread and one epoll set, one request in flight on each, as a browser sends it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ringgate_benches::browser_request;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use socket2::{Domain, Protocol, Socket, Type};

use crate::Result;
use crate::reply::ReplyReader;
use crate::shapes::{Security, Shape, Traffic};
use crate::tls::{Config, Secure};

/// A run without any event for this long has failed.
const STALL: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// Source addresses 127.0.0.2 and up, so that ports never run out.
const SOURCES: u64 = 32;

/// When a run stops asking; replies still under way are awaited.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// After so many requests.
    Requests(u64),
    /// After so long.
    Elapsed(Duration),
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    /// Replies that came whole, with status 200.
    pub(crate) requests: u64,
    /// From the request's write to the last byte, of each request, sorted.
    latencies: Vec<Duration>,
}

impl Done {
    /// The latency below which `share` (0 to 1) of the requests were answered, microseconds.
    pub(crate) fn latency_us(&self, share: f64) -> f64 {
        let rank = (self.latencies.len() as f64 * share) as usize;
        let latency = self.latencies.get(rank).or(self.latencies.last());
        latency.map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    }
}

struct Conn {
    stream: TcpStream,
    secure: Option<Box<Secure>>,
    reader: ReplyReader,
    asked_at: Instant,
}

/// A set of connections to one proxy.
pub(crate) struct Client {
    address: SocketAddr,
    request: Vec<u8>,
    churn: bool,
    tls: Option<Config>,
    poll: OwnedFd,
    conns: Vec<Conn>,
    buffer: Vec<u8>,
    opened: u64,
}

impl Client {
    /// Opens `connections` connections to `address` for the requests of `shape`.
    pub(crate) fn open(address: SocketAddr, shape: &Shape, connections: usize) -> Result<Self> {
        let churn = shape.traffic == Traffic::Churn;
        let connection = if churn { "Connection: close\r\n" } else { "Connection: keep-alive\r\n" };
        let mut client = Self {
            address,
            request: browser_request("GET", shape.target, connection),
            churn,
            tls: match shape.security {
                Security::Plain => None,
                Security::Full => Some(Config::new(false)?),
                Security::Resumed => Some(Config::new(true)?),
            },
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            conns: Vec::with_capacity(connections),
            buffer: vec![0; 256 * 1024],
            opened: 0,
        };
        for token in 0..connections {
            let conn = client.connect(token)?;
            client.conns.push(conn);
        }
        Ok(client)
    }

    fn connect(&mut self, token: usize) -> Result<Conn> {
        let mut stream = connect_from(self.address, self.opened)?;
        let secure = match &self.tls {
            Some(config) => Some(Box::new(config.shake_hands(&mut stream)?)),
            None => None,
        };
        stream.set_nonblocking(true)?;
        self.opened += 1;
        epoll::add(&self.poll, &stream, epoll::EventData::new_u64(token as u64), epoll::EventFlags::IN)?;
        Ok(Conn { stream, secure, reader: ReplyReader::new(), asked_at: Instant::now() })
    }

    /// Keeps every connection busy until `until`, then waits for the replies that are due.
    pub(crate) fn run(&mut self, until: Until) -> Result<Done> {
        let start = Instant::now();
        let wanted = |asked: u64| match until {
            Until::Requests(limit) => asked < limit,
            Until::Elapsed(limit) => start.elapsed() < limit,
        };
        let mut done = Done::default();
        let mut asked = 0;
        for conn in &mut self.conns {
            if wanted(asked) {
                conn.ask(&self.request)?;
                asked += 1;
            }
        }
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        while done.requests < asked {
            epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&STALL))?;
            if events.is_empty() {
                return Err(format!("no reply for 10 s, {} are due", asked - done.requests).into());
            }
            for event in events.drain(..) {
                let token = event.data.u64() as usize;
                let Some(latency) = self.advance(token)? else { continue };
                done.latencies.push(latency);
                done.requests += 1;
                if wanted(asked) {
                    self.ask_again(token)?;
                    asked += 1;
                } else if self.churn {
                    self.replace(token)?;
                }
            }
        }
        done.latencies.sort_unstable();
        Ok(done)
    }

    /// Reads once; the latency, when that was the end of a reply.
    fn advance(&mut self, token: usize) -> Result<Option<Duration>> {
        let Some(conn) = self.conns.get_mut(token) else { return Ok(None) };
        let mut complete = false;
        // Of what TLS has decrypted nothing may be left: no event would tell of it.
        loop {
            let got = match conn.read(&mut self.buffer) {
                Ok(0) => return Err("the proxy closed a connection before its reply was complete".into()),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            complete |= conn.reader.feed(self.buffer.get(..got).unwrap_or_default())?;
            if complete || conn.secure.is_none() {
                break;
            }
        }
        Ok(complete.then(|| conn.asked_at.elapsed()))
    }

    fn ask_again(&mut self, token: usize) -> Result<()> {
        // With churn the connection's set-up belongs to the latency.
        let asked_at = Instant::now();
        if self.churn {
            self.replace(token)?;
        }
        if let Some(conn) = self.conns.get_mut(token) {
            conn.ask(&self.request)?;
            conn.asked_at = asked_at;
        }
        Ok(())
    }

    fn replace(&mut self, token: usize) -> Result<()> {
        let conn = self.connect(token)?;
        if let Some(old) = self.conns.get_mut(token) {
            *old = conn;
        }
        Ok(())
    }
}

impl Conn {
    /// Sends the request. It fits the socket's buffer, since nothing else is in it.
    fn ask(&mut self, request: &[u8]) -> Result<()> {
        self.asked_at = Instant::now();
        match &mut self.secure {
            Some(secure) => secure.write_all(request, &mut self.stream),
            None => Ok(self.stream.write_all(request)?),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.secure {
            Some(secure) => secure.read(buffer, &mut self.stream),
            None => self.stream.read(buffer),
        }
    }
}

/// Connects from the `number`th source address.
pub(crate) fn connect_from(address: SocketAddr, number: u64) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    let source = Ipv4Addr::new(127, 0, 0, 2 + (number % SOURCES) as u8);
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.set_tcp_nodelay(true)?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}
