//! A peer that speaks HTTP/1.1: one exchange after the other, by the strict [`Reader`].

use super::speech::{Fields, Heard, value};
use crate::wire::{Event, Reader};

/// One end of a connection.
pub(crate) struct Http1 {
    serves: bool,
    reader: Reader,
    /// Messages that were heard so far; the one that is being heard has this number.
    heard: u32,
    has_head: bool,
    pub(crate) out: Vec<u8>,
    /// Where the body of the last message begins in `out`.
    body_at: usize,
}

impl Http1 {
    /// A client's or a server's end.
    pub(crate) fn new(serves: bool) -> Self {
        Self { serves, reader: Reader::new(), heard: 0, has_head: false, out: Vec::new(), body_at: 0 }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Heard> {
        self.reader.feed(bytes);
        let mut heard = Vec::new();
        while let Some(event) = self.reader.next().unwrap_or_else(|why| panic!("HTTP/1.1: {why}")) {
            match event {
                Event::Data(data) => heard.push(Heard::Data(self.heard, data)),
                Event::End(_) if self.has_head => heard.push(self.end()),
                Event::End(_) => {}
                Event::Head(head) => {
                    let mut fields = head.fields.clone();
                    let framing = if self.serves {
                        let (method, target, _) = head.request_line().expect("a request line");
                        fields.push((":method".into(), method.into()));
                        fields.push((":path".into(), target.into()));
                        head.request_framing()
                    } else {
                        fields.push((":status".into(), head.status().expect("a status line").to_string()));
                        head.response_framing(false)
                    };
                    self.reader.body(framing.unwrap_or_else(|why| panic!("HTTP/1.1: {why} in {head:?}")));
                    self.has_head = self.serves || head.status() >= Ok(200);
                    if self.has_head {
                        heard.push(Heard::Head(self.heard, fields));
                    }
                }
            }
        }
        heard
    }

    fn end(&mut self) -> Heard {
        self.has_head = false;
        self.heard += 1;
        Heard::End(self.heard - 1)
    }

    pub(crate) fn ended(&mut self) -> Vec<Heard> {
        let whole = self.has_head && self.reader.may_end() && !self.serves;
        if whole { vec![self.end()] } else { Vec::new() }
    }

    pub(crate) fn say(&mut self, fields: &Fields, body: &[u8]) {
        let mut head = match value(fields, ":status") {
            Some(status) => format!("HTTP/1.1 {status} Said\r\n"),
            None => {
                let [method, path] = [":method", ":path"].map(|name| value(fields, name).expect("a request"));
                format!("{method} {path} HTTP/1.1\r\nHost: sim.example\r\n")
            }
        };
        for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(':')) {
            head += &format!("{name}: {value}\r\n");
        }
        let is_get = value(fields, ":method") == Some("GET");
        let chunked = body.len() % 2 == 1;
        head += &match chunked {
            true => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
            false if is_get && body.is_empty() => "\r\n".to_owned(),
            false => format!("Content-Length: {}\r\n\r\n", body.len()),
        };
        self.out.extend(head.bytes());
        self.body_at = self.out.len();
        if chunked {
            for piece in body.chunks(5000) {
                self.out.extend(format!("{:x}\r\n", piece.len()).bytes());
                self.out.extend(piece);
                self.out.extend(b"\r\n");
            }
            self.out.extend(b"0\r\n\r\n");
        } else {
            self.out.extend(body);
        }
    }

    pub(crate) fn cut(&mut self, bytes: usize) {
        // Never the end itself.
        let last = self.out.len().saturating_sub(1).max(self.body_at);
        self.out.truncate((self.body_at + bytes).min(last));
    }
}
