//! An upstream that records every byte and answers as the present case says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::bytes::from_lines;
use super::case::Section;
use super::programs::{self, Protocol};
use crate::harness::client::field;

/// The upstream of a case file. Its threads end with the test process.
#[derive(Debug)]
pub(super) struct Scripted {
    pub(super) ports: [u16; 2],
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Cases so far: what arrives on behalf of an earlier one is not recorded.
    case: usize,
    replies: Vec<Section>,
    requests: Vec<Recorded>,
}

/// What arrived on one connection for one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorded {
    pub(super) head: String,
    /// Without framing.
    pub(super) body: Vec<u8>,
}

impl Scripted {
    pub(super) fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let ports = [(); 2].map(|()| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let state = Arc::clone(&state);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let state = Arc::clone(&state);
                    thread::spawn(move || serve(stream, &state));
                }
            });
            port
        });
        Self { ports, state }
    }

    /// Begins a case.
    pub(super) fn begin(&self, replies: &[Section]) {
        let mut state = self.state.lock().unwrap();
        let default =
            Section { lines: "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi\\\n".into(), ..Section::default() };
        let replies = if replies.is_empty() { vec![default] } else { replies.to_vec() };
        *state = State { case: state.case + 1, replies, requests: Vec::new() };
    }

    /// What arrived in this case.
    pub(super) fn requests(&self) -> Vec<Recorded> {
        self.state.lock().unwrap().requests.clone()
    }
}

/// A connection, read as far as its owner wants.
struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    /// Bytes up to and with `end`; none if the connection ended before.
    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Some(self.unread.drain(..at + end.len()).collect());
            }
            self.more()?;
        }
    }

    fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            self.more()?;
        }
        Some(self.unread.drain(..count).collect())
    }

    fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 64 * 1024];
        let count = self.stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        self.unread.extend_from_slice(&buffer[..count]);
        Some(())
    }

    fn body(&mut self, head: &str) -> Option<Vec<u8>> {
        if field(head, "Transfer-Encoding").is_none() {
            let length = field(head, "Content-Length").map_or(0, |length| length.parse().unwrap());
            return self.exactly(length);
        }
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.until(b"\r\n")?).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            if size == 0 {
                while self.until(b"\r\n")? != b"\r\n" {}
                return Some(body);
            }
            body.extend(self.exactly(size)?);
            self.exactly(2)?;
        }
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
    let mut first = [0];
    stream.peek(&mut first).ok().filter(|count| *count > 0)?;
    if let Some(protocol) = Protocol::of(first[0]) {
        return serve_program(stream, protocol, state);
    }
    let mut wire = Wire { stream, unread: Vec::new() };
    loop {
        let head = String::from_utf8_lossy(&wire.until(b"\r\n\r\n")?).into_owned();
        let (case, number, reply) = {
            let mut state = state.lock().unwrap();
            state.requests.push(Recorded { head: head.clone(), body: Vec::new() });
            let number = state.requests.len() - 1;
            let last = state.replies.len() - 1;
            (state.case, number, state.replies[number.min(last)].clone())
        };
        if reply.has("early") {
            answer(&mut wire.stream, &reply)?;
        }
        let body = wire.body(&head)?;
        {
            let mut state = state.lock().unwrap();
            if state.case == case {
                state.requests[number].body = body;
            }
        }
        if reply.has("silent") {
            while wire.more().is_some() {}
            return None;
        }
        if !reply.has("early") {
            answer(&mut wire.stream, &reply)?;
        }
    }
}

fn serve_program(mut stream: TcpStream, protocol: Protocol, state: &Mutex<State>) -> Option<()> {
    let mut again = false;
    loop {
        let (head, body) = programs::read(&mut stream, protocol)?;
        let reply = {
            let mut state = state.lock().unwrap();
            let title = if again { "[kept] " } else { "" };
            state.requests.push(Recorded { head: format!("{title}{head}"), body });
            let last = state.replies.len() - 1;
            state.replies[(state.requests.len() - 1).min(last)].clone()
        };
        again = true;
        if reply.has("silent") {
            while stream.read(&mut [0; 1024]).ok()? > 0 {}
            return None;
        }
        programs::answer(&mut stream, protocol, &reply.lines)?;
        if !head.starts_with("FastCGI role 1 flags 1") {
            return None;
        }
    }
}

/// Writes the reply. Nothing if the connection is to end.
fn answer(stream: &mut TcpStream, reply: &Section) -> Option<()> {
    stream.write_all(&from_lines(&reply.lines)).ok()?;
    match reply.value("then") {
        Some("close") => None,
        Some("reset") => {
            let socket = socket2::SockRef::from(&*stream);
            socket.set_linger(Some(Duration::ZERO)).ok()?;
            None
        }
        Some(other) => panic!("then={other}"),
        None => Some(()),
    }
}
