//! A server behind the proxy that answers as a test tells it, and records what it received.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::client::field;
use super::{DEADLINE, eventually};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// The head's bytes up to and with the empty line.
    pub head: String,
    /// The body without framing.
    pub body: Vec<u8>,
}

impl Received {
    /// The request line.
    pub fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    /// The value of the first field of that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

/// Whether a connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Another request may come.
    Keep,
    /// The upstream closes.
    Close,
}

/// A running upstream. Its threads end with the test process.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Upstream {
    /// Answers every request through `answer`, which may write whatever and whenever it wants.
    pub fn start(answer: impl Fn(&Received, &mut TcpStream) -> Then + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", answer)
    }

    /// As [`Self::start`], at this address.
    pub fn start_at(
        address: &str,
        answer: impl Fn(&Received, &mut TcpStream) -> Then + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (answer, record) = (Arc::new(answer), Arc::clone(&received));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                let (answer, record) = (Arc::clone(&answer), Arc::clone(&record));
                thread::spawn(move || serve(connection, stream, &record, &*answer));
            }
        });
        Self { port, received }
    }

    /// Answers every request with 200 and this text.
    pub fn saying(text: &str) -> Self {
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        Self::replying(reply)
    }

    /// As [`Self::saying`], at this address.
    pub fn saying_at(address: &str, text: &str) -> Self {
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        Self::start_at(address, move |_, stream| {
            let _ = stream.write_all(reply.as_bytes());
            Then::Keep
        })
    }

    /// Answers every request with these bytes.
    pub fn replying(reply: impl Into<Vec<u8>>) -> Self {
        let reply = reply.into();
        Self::start(move |_, stream| {
            let _ = stream.write_all(&reply);
            Then::Keep
        })
    }

    /// All requests so far, in the order of their ends.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The request at this place, once it has come.
    pub fn request(&self, at: usize) -> Received {
        eventually("a request at the upstream", || self.received.lock().unwrap().get(at).cloned())
    }
}

fn serve(
    connection: usize,
    mut stream: TcpStream,
    record: &Mutex<Vec<Received>>,
    answer: &dyn Fn(&Received, &mut TcpStream) -> Then,
) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(DEADLINE * 3));
    let Ok(copy) = stream.try_clone() else { return };
    let mut reader = BufReader::new(copy);
    while let Some(received) = read(connection, &mut reader, &mut stream) {
        record.lock().unwrap().push(received.clone());
        if answer(&received, &mut stream) == Then::Close {
            return;
        }
    }
}

fn read(connection: usize, reader: &mut BufReader<TcpStream>, stream: &mut TcpStream) -> Option<Received> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    if field(&head, "Expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let mut body = Vec::new();
    if field(&head, "Transfer-Encoding").is_some() {
        chunks(reader, &mut body)?;
    } else if let Some(length) = field(&head, "Content-Length") {
        body.resize(length.parse().ok()?, 0);
        reader.read_exact(&mut body).ok()?;
    }
    Some(Received { connection, head, body })
}

fn chunks(reader: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
        let from = body.len();
        // The data and the line end behind it.
        body.resize(from + size + 2, 0);
        reader.read_exact(body.get_mut(from..)?).ok()?;
        body.truncate(from + size);
        if size == 0 {
            return Some(());
        }
    }
}
