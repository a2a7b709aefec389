//! Just enough HTTP/1.1 to stand behind a proxy: one blocking connection, requests one after another.
//!
//! Only our own proxy speaks to this, but everything is bounded as if strangers did.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A head may be this large, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// A head may have this many fields.
const FIELDS_MAX: usize = 100;

/// A request's head, and where its body ends.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, without its question mark; empty if there is none.
    pub query: String,
    /// The fields in their order.
    pub fields: Vec<(String, String)>,
    body: Body,
}

#[derive(Clone, Copy, Debug)]
enum Body {
    Length(u64),
    Chunked,
}

impl Request {
    /// The value of the first field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The number behind `name=` in the query, at most `max`.
    #[must_use]
    pub fn number(&self, name: &str, default: u64, max: u64) -> u64 {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok());
        value.unwrap_or(default).min(max)
    }
}

/// A connection and what it has read but not used.
#[derive(Debug)]
pub struct Connection {
    /// The socket with its read buffer.
    pub stream: BufReader<TcpStream>,
}

impl Connection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self { stream: BufReader::with_capacity(16 * 1024, stream) }
    }

    /// The next request's head; nothing at the end of the connection.
    ///
    /// # Errors
    /// What the socket says, and `InvalidData` for bytes that are no request.
    pub fn next_request(&mut self) -> io::Result<Option<Request>> {
        let mut head = Vec::new();
        loop {
            let from = head.len();
            let room = (HEAD_BYTES_MAX - from) as u64;
            let count = (&mut self.stream).take(room).read_until(b'\n', &mut head)?;
            if count == 0 {
                return if head.is_empty() {
                    Ok(None)
                } else {
                    Err(invalid("a head that ends or is too large"))
                };
            }
            let line = head.get(from..).unwrap_or_default();
            if line == b"\r\n" || line == b"\n" {
                return parse(&head).map(Some);
            }
        }
    }

    /// Reads the body to its end and counts it.
    ///
    /// # Errors
    /// As [`Self::next_request`].
    pub fn drain(&mut self, request: &Request) -> io::Result<u64> {
        match request.body {
            Body::Length(length) => {
                let count = io::copy(&mut (&mut self.stream).take(length), &mut io::sink())?;
                if count == length { Ok(count) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
            }
            Body::Chunked => self.drain_chunks(),
        }
    }

    fn drain_chunks(&mut self) -> io::Result<u64> {
        let mut sum = 0_u64;
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).map_err(|_| invalid("a chunk size"))?;
            let count = io::copy(&mut (&mut self.stream).take(size), &mut io::sink())?;
            sum = sum.saturating_add(count);
            if size == 0 {
                // The trailer section ends with an empty line.
                while !self.line()?.is_empty() {}
                return Ok(sum);
            }
            if count != size || !self.line()?.is_empty() {
                return Err(invalid("a chunk's end"));
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if (&mut self.stream).take(4096).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Answers with a whole body.
    ///
    /// # Errors
    /// What the socket says.
    pub fn reply(&mut self, request: &Request, status: &str, kind: &str, body: &[u8]) -> io::Result<()> {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\r\n"
        );
        let mut whole = head.into_bytes();
        if request.method != "HEAD" {
            whole.extend_from_slice(body);
        }
        self.write(&whole)
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// What the socket says.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }
}

/// A request line and fields. Nothing is repaired: what our proxy writes is plain.
fn parse(head: &[u8]) -> io::Result<Request> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines().take_while(|line| !line.is_empty());
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid("a request line"));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("a field"))?;
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
    if fields.len() > FIELDS_MAX {
        return Err(invalid("a head with so many fields"));
    }
    let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
    let mut request = Request { method, path, query, fields, body: Body::Length(0) };
    if request.field("Transfer-Encoding").is_some() {
        request.body = Body::Chunked;
    } else if let Some(length) = request.field("Content-Length") {
        request.body = Body::Length(length.parse().map_err(|_| invalid("a length"))?);
    }
    Ok(request)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not HTTP/1.1"))
}
