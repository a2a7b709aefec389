//! The scripted upstream as a program behind FastCGI, SCGI or uwsgi: the first byte of a connection tells which.
//!
//! What it got is shown with its parameters in alphabetical order. Its reply is written as the bytes of standard output;
//! with FastCGI a line of its own begins something else:
//! ```text
//! @stderr      what follows goes to standard error
//! @stdout      to standard output again; each such line begins another record
//! @raw         what follows goes out as it is, without a record around it
//! @cut         nothing follows, not even the end of the request
//! ```

use std::io::{Read, Write};
use std::net::TcpStream;

use super::bytes::from_lines;

/// The protocol that a connection's first byte belongs to; none for HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    FastCgi,
    Scgi,
    Uwsgi,
}

impl Protocol {
    pub(super) fn of(first: u8) -> Option<Self> {
        match first {
            1 => Some(Self::FastCgi),
            b'0'..=b'9' => Some(Self::Scgi),
            0 | 5 => Some(Self::Uwsgi),
            _ => None,
        }
    }
}

/// Reads one request: its parameters as text, and its body.
pub(super) fn read(stream: &mut TcpStream, protocol: Protocol) -> Option<(String, Vec<u8>)> {
    match protocol {
        Protocol::FastCgi => read_fastcgi(stream),
        Protocol::Scgi => {
            let mut digits = Vec::new();
            loop {
                match exactly(stream, 1)?[0] {
                    b':' => break,
                    digit => digits.push(digit),
                }
            }
            let block = exactly(stream, String::from_utf8(digits).unwrap().parse().unwrap())?;
            assert_eq!(exactly(stream, 1)?, b",");
            let mut parts = block.split(|byte| *byte == 0);
            let mut params = Vec::new();
            while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
                params.push((text(name), text(value)));
            }
            assert_eq!(params[0].0, "CONTENT_LENGTH");
            finish(stream, "SCGI", params)
        }
        Protocol::Uwsgi => {
            let head = exactly(stream, 4)?;
            let block = exactly(stream, usize::from(u16::from_le_bytes([head[1], head[2]])))?;
            let mut rest = &*block;
            let mut params = Vec::new();
            let next = |rest: &mut &[u8]| {
                let len = usize::from(u16::from_le_bytes([rest[0], rest[1]]));
                let part = text(&rest[2..2 + len]);
                *rest = &rest[2 + len..];
                part
            };
            while !rest.is_empty() {
                let name = next(&mut rest);
                params.push((name, next(&mut rest)));
            }
            finish(stream, &format!("uwsgi {} {}", head[0], head[3]), params)
        }
    }
}

/// The body is as long as CONTENT_LENGTH says.
fn finish(stream: &mut TcpStream, title: &str, params: Vec<(String, String)>) -> Option<(String, Vec<u8>)> {
    let length = params.iter().find(|(name, _)| name == "CONTENT_LENGTH");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let body = exactly(stream, length)?;
    Some((show(title, params), body))
}

fn read_fastcgi(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut params, mut body) = (Vec::new(), Vec::new());
    let mut title = String::new();
    let mut params_end = false;
    loop {
        let header = exactly(stream, 8)?;
        assert_eq!((header[0], header[2], header[3]), (1, 0, 1), "{header:?}");
        let content = exactly(stream, usize::from(u16::from_be_bytes([header[4], header[5]])))?;
        exactly(stream, usize::from(header[6]))?;
        match header[1] {
            1 => title = format!("FastCGI role {} flags {}", content[1], content[2]),
            4 if content.is_empty() => params_end = true,
            4 => params.extend_from_slice(&content),
            5 if content.is_empty() => break,
            5 => body.extend_from_slice(&content),
            other => panic!("record {other}"),
        }
    }
    assert!(params_end);
    let mut rest = &*params;
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let mut lengths = [0; 2];
        for length in &mut lengths {
            if rest[0] < 128 {
                *length = usize::from(rest[0]);
                rest = &rest[1..];
            } else {
                *length = u32::from_be_bytes([rest[0] & 127, rest[1], rest[2], rest[3]]) as usize;
                rest = &rest[4..];
            }
        }
        let (name, tail) = rest.split_at(lengths[0]);
        let (value, tail) = tail.split_at(lengths[1]);
        pairs.push((text(name), text(value)));
        rest = tail;
    }
    Some((show(&title, pairs), body))
}

fn show(title: &str, mut params: Vec<(String, String)>) -> String {
    params.sort();
    let lines: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}\r\n")).collect();
    format!("{title}\r\n{}\r\n", lines.concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn exactly(stream: &mut TcpStream, count: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// Writes a reply. Nothing if the connection is to end at once.
pub(super) fn answer(stream: &mut TcpStream, protocol: Protocol, lines: &str) -> Option<()> {
    if protocol != Protocol::FastCgi {
        stream.write_all(&from_lines(lines)).ok()?;
        return None;
    }
    let mut out = Vec::new();
    let mut kind = Some(6);
    let mut part = String::new();
    let mut put = |kind: Option<u8>, part: &mut String| {
        let bytes = from_lines(&core::mem::take(part));
        match kind {
            None => out.extend_from_slice(&bytes),
            // Records are as large as they may be, and padded with something.
            Some(kind) => bytes.chunks(65_535).for_each(|content| record(&mut out, kind, content)),
        }
    };
    let mut whole = true;
    for line in lines.lines() {
        let next = match line {
            "@stdout" => Some(6),
            "@stderr" => Some(7),
            "@raw" => None,
            "@cut" => {
                whole = false;
                break;
            }
            _ => {
                part.push_str(line);
                part.push('\n');
                continue;
            }
        };
        put(kind, &mut part);
        kind = next;
    }
    put(kind, &mut part);
    if whole {
        record(&mut out, 6, b"");
        record(&mut out, 3, &[0; 8]);
    }
    stream.write_all(&out).ok()?;
    whole.then_some(())
}

fn record(out: &mut Vec<u8>, kind: u8, content: &[u8]) {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let padding = u8::try_from((8 - content.len() % 8) % 8).unwrap();
    out.extend_from_slice(&[1, kind, 0, 1, length[0], length[1], padding, 0]);
    out.extend_from_slice(content);
    out.extend((0..padding).map(|_| b'#'));
}
