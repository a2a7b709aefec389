//! The chunked transfer coding (RFC 9112, section 7.1), decoded without copying a byte of data.
//!
//! ```text
//!   Size ──digits──▶ Size ──';'──▶ Extension ──CR──▶ SizeEnd
//!     └──────────────────CR─────────────────────────▶ SizeEnd
//!   SizeEnd ──LF, size > 0──▶ Data ──all of it──▶ DataCr ──CR──▶ DataLf ──LF──▶ Size
//!   SizeEnd ──LF, size = 0──▶ Trailers ──empty line──▶ Done
//! ```
//!
//! Line ends are CRLF and nothing else, digits are hex digits and nothing else: lenience here is what request
//! smuggling is made of. Extensions are counted and dropped.

use alloc::vec::Vec;

use crate::buf::Chunk;
use crate::error::{ClientError, UpstreamError};
use crate::http::{BodyEvent, HeaderId, may_trail};

/// One chunk's size line, in bytes, extensions included.
pub const SIZE_LINE_BYTES_MAX: usize = 1024;
/// All extensions of one body, in bytes: without it, each byte of data could cost a kilobyte.
pub const EXTENSION_BYTES_MAX: usize = 16 * 1024;
/// All trailer lines, in bytes.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// The number of trailer lines.
pub const TRAILER_FIELDS_MAX: usize = 64;

/// What is wrong with a chunked body. Its connection cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// No hex digits, or something behind them that is neither an extension nor a line end.
    Size,
    /// A size that no body can have.
    TooLarge,
    /// Anything but CRLF where a line ends.
    LineEnd,
    /// Extensions that are too long or contain control bytes.
    Extension,
    /// Trailers that are no header lines, or too many of them.
    Trailer,
}

impl From<ChunkError> for ClientError {
    fn from(_: ChunkError) -> Self {
        Self::InvalidChunk
    }
}

impl From<ChunkError> for UpstreamError {
    fn from(_: ChunkError) -> Self {
        Self::InvalidFraming
    }
}

/// The decoder of one body.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    extension_bytes: usize,
}

#[derive(Debug)]
enum State {
    /// Inside the size; `line_bytes` of its line are read.
    Size {
        size: u64,
        line_bytes: usize,
    },
    Extension {
        size: u64,
        line_bytes: usize,
    },
    /// CR was read.
    SizeEnd {
        size: u64,
    },
    /// So many bytes of the chunk are missing; at least one.
    Data(u64),
    DataCr,
    DataLf,
    /// The trailer lines so far.
    Trailers(Vec<u8>),
    Done,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkedDecoder {
    /// For a body of which nothing was read.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Size { size: 0, line_bytes: 0 }, extension_bytes: 0 }
    }

    /// Whether the whole body was read.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Takes the next event off the front of `input`. Nothing means that it needs more bytes, or, once
    /// [`BodyEvent::End`] was given, that what is in `input` belongs to something else.
    ///
    /// # Errors
    /// The connection is to be closed: there is no telling where the next message begins.
    pub fn decode(&mut self, input: &mut Chunk) -> Result<Option<BodyEvent>, ChunkError> {
        while let Some(byte) = input.first().copied() {
            match &mut self.state {
                State::Done => break,
                State::Data(left) => {
                    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    *left -= len as u64;
                    if *left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Some(BodyEvent::Data(input.split_to(len))));
                }
                State::Trailers(lines) => {
                    let taken = take_trailer_bytes(lines, input)?;
                    input.advance(taken);
                    if let Some(trailers) = finished(lines)? {
                        self.state = State::Done;
                        return Ok(Some(BodyEvent::End(trailers)));
                    }
                }
                State::Size { .. }
                | State::Extension { .. }
                | State::SizeEnd { .. }
                | State::DataCr
                | State::DataLf => {
                    self.step(byte)?;
                    input.advance(1);
                }
            }
        }
        Ok(None)
    }

    /// One byte of what is neither data nor trailers.
    fn step(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match (&self.state, byte) {
            (State::Size { size, line_bytes: 1.. }, b'\r') => State::SizeEnd { size: *size },
            (State::Size { size, line_bytes: line_bytes @ 1.. }, b';') => {
                State::Extension { size: *size, line_bytes: line_bytes + 1 }
            }
            (State::Size { size, line_bytes }, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(ChunkError::Size)?;
                let size = size.checked_mul(16).ok_or(ChunkError::TooLarge)? + u64::from(digit);
                let fits = i64::try_from(size).is_ok() && *line_bytes < SIZE_LINE_BYTES_MAX;
                if !fits {
                    return Err(ChunkError::TooLarge);
                }
                State::Size { size, line_bytes: line_bytes + 1 }
            }
            (State::Extension { size, .. }, b'\r') => State::SizeEnd { size: *size },
            (State::Extension { size, line_bytes }, _) => {
                let is_control = byte < b' ' && byte != b'\t' || byte == 0x7f;
                self.extension_bytes += 1;
                if is_control
                    || *line_bytes >= SIZE_LINE_BYTES_MAX
                    || self.extension_bytes > EXTENSION_BYTES_MAX
                {
                    return Err(ChunkError::Extension);
                }
                State::Extension { size: *size, line_bytes: line_bytes + 1 }
            }
            (State::SizeEnd { size: 0 }, b'\n') => State::Trailers(Vec::new()),
            (State::SizeEnd { size }, b'\n') => State::Data(*size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, line_bytes: 0 },
            (State::SizeEnd { .. } | State::DataCr | State::DataLf, _) => return Err(ChunkError::LineEnd),
            (State::Data(_) | State::Trailers(_) | State::Done, _) => return Ok(()),
        };
        Ok(())
    }
}

/// Moves one line, or as much of it as is there, from `input` to `lines`, and says how much that was.
fn take_trailer_bytes(lines: &mut Vec<u8>, input: &[u8]) -> Result<usize, ChunkError> {
    let end = memchr::memchr(b'\n', input).map_or(input.len(), |lf| lf + 1);
    let line = input.get(..end).unwrap_or_default();
    if lines.len() + line.len() > TRAILER_BYTES_MAX {
        return Err(ChunkError::Trailer);
    }
    lines.extend_from_slice(line);
    if let [.., before, b'\n'] = lines.as_slice()
        && *before != b'\r'
    {
        return Err(ChunkError::LineEnd);
    }
    if lines.as_slice() == b"\n" { Err(ChunkError::LineEnd) } else { Ok(end) }
}

/// The trailers, once their empty line is there: checked, and without those that could change what was decided when
/// the head was read.
fn finished(lines: &[u8]) -> Result<Option<Chunk>, ChunkError> {
    if lines == b"\r\n" {
        return Ok(Some(Chunk::empty()));
    }
    if !lines.ends_with(b"\r\n\r\n") {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; TRAILER_FIELDS_MAX];
    let (len, fields) = match httparse::parse_headers(lines, &mut headers) {
        Ok(httparse::Status::Complete(complete)) => complete,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(ChunkError::Trailer),
    };
    debug_assert_eq!(len, lines.len());
    let mut kept = Vec::with_capacity(lines.len());
    for field in fields.iter().filter(|field| may_trail(HeaderId::from_token(field.name.as_bytes()))) {
        for part in [field.name.as_bytes(), b": ", field.value, b"\r\n"] {
            kept.extend_from_slice(part);
        }
    }
    Ok(Some(if kept.is_empty() { Chunk::empty() } else { Chunk::from_vec(kept) }))
}
