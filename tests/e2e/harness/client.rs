//! A client that sends exactly the bytes it is told to, and reads replies as HTTP/1 frames them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::DEADLINE;

/// One connection to a proxy.
#[derive(Debug)]
pub struct Client {
    /// The socket, for what the methods do not do.
    pub stream: TcpStream,
    unread: Vec<u8>,
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
        Self { stream, unread: Vec::new() }
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
        loop {
            let line = String::from_utf8(self.until(b"\r\n")).unwrap();
            let size = usize::from_str_radix(line.trim_end().split(';').next().unwrap(), 16).unwrap();
            if size == 0 {
                while self.until(b"\r\n") != b"\r\n" {}
                return body;
            }
            body.extend(self.exactly(size));
            assert_eq!(self.until(b"\r\n"), b"\r\n");
        }
    }

    /// Reads up to and with `end`.
    pub fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return self.unread.drain(..at + end.len()).collect();
            }
            let unread = String::from_utf8_lossy(&self.unread).into_owned();
            assert!(self.more() > 0, "closed before {:?}: {unread:?}", String::from_utf8_lossy(end));
        }
    }

    /// Reads so many bytes.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.more() > 0, "closed after {} of {count} bytes", self.unread.len());
        }
        self.unread.drain(..count).collect()
    }

    /// Reads up to the end of the connection; a reset is an end, too.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() > 0 {}
        std::mem::take(&mut self.unread)
    }

    fn more(&mut self) -> usize {
        let mut buffer = [0; 16 * 1024];
        let count = match self.stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("{error}"),
        };
        self.unread.extend_from_slice(&buffer[..count]);
        count
    }
}
