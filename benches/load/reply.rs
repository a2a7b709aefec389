//! Where a reply ends: just enough HTTP/1.1 for a load client that trusts the proxies it measures.

use std::fmt;

use crate::upstream::content_length;

/// A reply that cannot be counted as one.
#[derive(Debug)]
pub(crate) enum BadReply {
    /// The head does not parse, or nothing says how long the body is.
    Malformed,
    /// Any status but 200.
    Status(u16),
    /// Bytes after the end, though nothing more was asked for.
    Excess,
}

impl fmt::Display for BadReply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(out, "a reply without a readable head or length"),
            Self::Status(status) => write!(out, "a reply with status {status}"),
            Self::Excess => write!(out, "bytes after the end of a reply"),
        }
    }
}

impl std::error::Error for BadReply {}

/// The place in one reply.
#[derive(Debug)]
pub(crate) enum ReplyReader {
    /// Before the end of the head; holds what came so far.
    Head(Vec<u8>),
    /// In a body of known length; holds what is left of it.
    Sized(u64),
    /// In a chunked body.
    Chunked(Chunked),
}

/// The place in a chunked body; trailers are lines to skip.
#[derive(Debug)]
pub(crate) enum Chunked {
    /// In the size line; holds the value so far and whether the digits are over.
    Size(u64, bool),
    /// In data and the CRLF after it.
    Data(u64),
    /// After the last chunk; holds the length of the current line.
    Trailer(usize),
}

impl ReplyReader {
    /// At the start of a reply.
    pub(crate) const fn new() -> Self {
        Self::Head(Vec::new())
    }

    /// Takes what arrived; `true` when the reply is complete, and the reader is then at the start of the next.
    pub(crate) fn feed(&mut self, data: &[u8]) -> Result<bool, BadReply> {
        let joined;
        let mut data = data;
        if let Self::Head(head) = self {
            if !head.is_empty() {
                joined = [head.as_slice(), data].concat();
                data = &joined;
            }
            let Some((length, body)) = parse_head(data)? else {
                *self = Self::Head(data.to_vec());
                return Ok(false);
            };
            *self = body;
            data = data.get(length..).unwrap_or_default();
        }
        let done = match self {
            Self::Sized(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(BadReply::Excess)?;
                *left == 0
            }
            Self::Chunked(chunked) => chunked.feed(data)?,
            Self::Head(_) => false,
        };
        if done {
            *self = Self::new();
        }
        Ok(done)
    }
}

/// The length of a head and the reader for what follows it.
fn parse_head(data: &[u8]) -> Result<Option<(usize, ReplyReader)>, BadReply> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(data).map_err(|_| BadReply::Malformed)? else {
        return Ok(None);
    };
    if response.code != Some(200) {
        return Err(BadReply::Status(response.code.unwrap_or(0)));
    }
    if let Some(body) = content_length(response.headers) {
        return Ok(Some((length, ReplyReader::Sized(body))));
    }
    if !response.headers.iter().any(|header| header.name.eq_ignore_ascii_case("transfer-encoding")) {
        return Err(BadReply::Malformed);
    }
    Ok(Some((length, ReplyReader::Chunked(Chunked::Size(0, false)))))
}

impl Chunked {
    fn feed(&mut self, mut data: &[u8]) -> Result<bool, BadReply> {
        while let Some((&byte, rest)) = data.split_first() {
            match self {
                Self::Data(left) => {
                    let step = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                    data = data.get(step..).unwrap_or_default();
                    *left -= step as u64;
                    if *left == 0 {
                        *self = Self::Size(0, false);
                    }
                    continue;
                }
                Self::Size(size, _) if byte == b'\n' => {
                    *self = if *size == 0 { Self::Trailer(0) } else { Self::Data(*size + 2) };
                }
                Self::Size(size, over) => match char::from(byte).to_digit(16) {
                    Some(digit) if !*over => *size = *size * 16 + u64::from(digit),
                    _ => *over = true,
                },
                Self::Trailer(0) if byte == b'\n' => {
                    return if rest.is_empty() { Ok(true) } else { Err(BadReply::Excess) };
                }
                Self::Trailer(length) => match byte {
                    b'\n' => *length = 0,
                    b'\r' => {}
                    _ => *length += 1,
                },
            }
            data = rest;
        }
        Ok(false)
    }
}
