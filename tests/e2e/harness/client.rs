//! A client that sends exactly the bytes it is told to, and reads replies as HTTP/1 frames them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::DEADLINE;

/// One connection to a proxy.
#[derive(Debug)]
pub struct Client {
    /// The socket, for what the methods do not do.
    pub stream: TcpStream,
    unread: Vec<u8>,
    may_be_silent: bool,
    is_silent: bool,
    /// The lines behind the last body that came in chunks.
    pub trailers: Vec<u8>,
}

/// A reply, its body without framing.
#[derive(Debug)]
pub struct Reply {
    /// The number in the status line.
    pub status: u16,
    /// The head's bytes up to and with the empty line.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of the first field of that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// The value of the first field of that name in a head.
pub fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

impl Client {
    /// Connects to a port of this machine.
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new(), may_be_silent: false, is_silent: false, trailers: Vec::new() }
    }

    /// Takes silence for so long as an end and not as a failure.
    pub fn bear_silence(mut self, span: Duration) -> Self {
        self.stream.set_read_timeout(Some(span)).unwrap();
        self.may_be_silent = true;
        self
    }

    /// Whether the other end was silent where more was expected.
    pub fn met_silence(&self) -> bool {
        self.is_silent
    }

    /// One GET on a connection of its own.
    pub fn fetch(port: u16, target: &str) -> Reply {
        let mut client = Self::connect(port);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        client.reply("GET")
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes to a proxy that may close before it has read them.
    ///
    /// # Errors
    /// It did.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads one reply to a request of that method; interim (1xx) ones but 101 are stepped over.
    pub fn reply(&mut self, method: &str) -> Reply {
        loop {
            let head = String::from_utf8(self.until(b"\r\n\r\n")).unwrap();
            let status: u16 =
                head.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{head}"));
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let body = if method == "HEAD" { Vec::new() } else { self.body(status, &head) };
            return Reply { status, head, body };
        }
    }

    fn body(&mut self, status: u16, head: &str) -> Vec<u8> {
        if matches!(status, 101 | 204 | 304) {
            return Vec::new();
        }
        if field(head, "Transfer-Encoding").is_some() {
            return self.chunks();
        }
        match field(head, "Content-Length") {
            Some(length) => self.exactly(length.parse().unwrap()),
            None => self.rest(),
        }
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        self.try_chunks(&mut body).expect("a whole chunked body");
        body
    }

    /// Reads a chunked body to its end; nothing if the connection ends before.
    pub fn try_chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let line = String::from_utf8(self.try_until(b"\r\n")?).unwrap();
            let size = usize::from_str_radix(line.trim_end().split(';').next()?, 16).unwrap();
            if size == 0 {
                self.trailers.clear();
                loop {
                    let line = self.try_until(b"\r\n")?;
                    if line == b"\r\n" {
                        return Some(());
                    }
                    self.trailers.extend(line);
                }
            }
            self.try_exactly(size, body)?;
            assert_eq!(self.try_until(b"\r\n")?, b"\r\n");
        }
    }

    /// Reads up to and with `end`.
    pub fn until(&mut self, end: &[u8]) -> Vec<u8> {
        self.try_until(end).unwrap_or_else(|| {
            let unread = String::from_utf8_lossy(&self.unread);
            panic!("closed before {:?}: {unread:?}", String::from_utf8_lossy(end))
        })
    }

    /// Reads up to and with `end`; nothing if the connection ends before.
    pub fn try_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        let mut seen = 0;
        loop {
            let found = self.unread[seen..].windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                return Some(self.unread.drain(..seen + at + end.len()).collect());
            }
            seen = (self.unread.len() + 1).saturating_sub(end.len());
            if self.more() == 0 {
                return None;
            }
        }
    }

    /// Reads so many bytes.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.try_exactly(count, &mut bytes)
            .unwrap_or_else(|| panic!("closed after {} of {count} bytes", bytes.len()));
        bytes
    }

    /// Appends so many bytes; what there is and nothing if the connection ends before.
    pub fn try_exactly(&mut self, count: usize, bytes: &mut Vec<u8>) -> Option<()> {
        while self.unread.len() < count {
            if self.more() == 0 {
                bytes.append(&mut self.unread);
                return None;
            }
        }
        bytes.extend(self.unread.drain(..count));
        Some(())
    }

    /// Reads up to the end of the connection; a reset is an end, too.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() > 0 {}
        std::mem::take(&mut self.unread)
    }

    fn more(&mut self) -> usize {
        let mut buffer = [0; 64 * 1024];
        let count = match self.stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            // A process that was stopped and goes on.
            Err(error) if error.kind() == ErrorKind::Interrupted => return self.more(),
            Err(error) if error.kind() == ErrorKind::WouldBlock && self.may_be_silent => {
                self.is_silent = true;
                0
            }
            Err(error) => panic!("{error}: {:?}", String::from_utf8_lossy(&self.unread)),
        };
        self.unread.extend_from_slice(&buffer[..count]);
        count
    }
}
