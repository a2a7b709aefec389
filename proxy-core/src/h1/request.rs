//! A request's head (RFC 9112, sections 2, 3 and 5), parsed in place.
//!
//! The usual head takes one pass of httparse and one look at each field. Whatever httparse refuses, and whatever is
//! larger than a limit, goes the slow way, which finds out whose rule was broken first: the request line is read by
//! [`line`](super::line), byte for byte as nginx would, and the fields again by httparse, but only as far as the first
//! limit. So an error is the same however the bytes arrive.

use alloc::vec;
use alloc::vec::Vec;
use core::mem::{self, MaybeUninit};

use httparse::{Header, Status};

use super::line::{self, Line};
use crate::buf::Chunk;
use crate::error::ClientError;
use crate::http::{Field, HeaderId, RequestHead, Span};

/// As many fields as are parsed without an allocation; heads with more of them go the slow way.
const STACK_FIELDS: usize = 64;

/// What bounds a request's head. Lines count with their line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The request line, in bytes: the size of one `large_client_header_buffers`.
    pub line_bytes_max: usize,
    /// One header line, in bytes: likewise.
    pub field_bytes_max: usize,
    /// The whole head, in bytes.
    pub total_bytes_max: usize,
    /// The number of header lines (`max_headers`).
    pub fields_max: usize,
    /// `ignore_invalid_headers`: names with anything but letters, digits and hyphens are dropped.
    pub ignore_invalid_headers: bool,
    /// `underscores_in_headers`: an underscore is as good as a hyphen.
    pub underscores: bool,
}

impl HeadLimits {
    /// Whether both take the same names.
    #[must_use]
    pub const fn takes_as(&self, other: &Self) -> bool {
        self.ignore_invalid_headers == other.ignore_invalid_headers && self.underscores == other.underscores
    }
}

/// What came of a look at the bytes that are here so far.
#[derive(Debug)]
pub enum Parsed<T> {
    /// Nothing wrong so far, but the head is not whole.
    Partial,
    /// The head is whole.
    Complete {
        /// The head.
        head: T,
        /// How many bytes it took: empty lines before it and the blank line behind it included.
        len: usize,
    },
}

/// Parses the request head that `bytes` begins with. The head takes `fields`, emptied, only when it is whole: a caller
/// that hands the same vector in again allocates nothing.
///
/// # Errors
/// Whatever RFC 9112 or nginx calls malformed, and whatever exceeds `limits`. Partial input errs as soon as no
/// continuation could be valid or fit, so that a caller never needs to hold more than the limits say.
pub fn parse_request(
    bytes: &Chunk,
    fields: &mut Vec<Field>,
    limits: &HeadLimits,
) -> Result<Parsed<RequestHead>, ClientError> {
    let room = limits.line_bytes_max.min(limits.field_bytes_max).min(limits.total_bytes_max);
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; STACK_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Status::Complete(len)) if len <= room && request.headers.len() <= limits.fields_max => {
            let line = line::of_parsed(bytes, &request)?;
            Ok(Parsed::Complete { head: head(bytes, fields, limits, line, request.headers, len), len })
        }
        Ok(Status::Partial) if bytes.len() < room => Ok(Parsed::Partial),
        Ok(_) | Err(_) => parse_slowly(bytes, fields, limits),
    }
}

#[cold]
#[inline(never)]
fn parse_slowly(
    bytes: &Chunk,
    fields: &mut Vec<Field>,
    limits: &HeadLimits,
) -> Result<Parsed<RequestHead>, ClientError> {
    let Some((line, line_end)) = line::parse(bytes, limits.line_bytes_max, limits.total_bytes_max)? else {
        return Ok(Parsed::Partial);
    };
    let behind = bytes.get(line_end..).unwrap_or_default();
    let reach =
        within_limits(behind, limits.field_bytes_max, limits.total_bytes_max.saturating_sub(line_end));
    let lines = memchr::memchr_iter(b'\n', reach.bytes).count();
    let mut headers = vec![httparse::EMPTY_HEADER; lines.min(limits.fields_max)];
    match httparse::parse_headers(reach.bytes, &mut headers) {
        Ok(Status::Complete((len, parsed))) => {
            let len = line_end + len;
            Ok(Parsed::Complete { head: head(bytes, fields, limits, line, parsed, len), len })
        }
        Ok(Status::Partial) if reach.exhausted => Err(ClientError::HeaderTooLarge),
        Ok(Status::Partial) => Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => Err(ClientError::TooManyHeaders),
        Err(_) => Err(ClientError::InvalidHeader),
    }
}

/// As much of some header lines as the limits let us see.
struct Reach<'a> {
    bytes: &'a [u8],
    /// Whether a limit, and not the end of the input, is what stops us.
    exhausted: bool,
}

fn within_limits(bytes: &[u8], line_max: usize, total_max: usize) -> Reach<'_> {
    let mut start = 0;
    let bound =
        |end: usize| Reach { bytes: bytes.get(..end).unwrap_or(bytes), exhausted: end <= bytes.len() };
    for end in memchr::memchr_iter(b'\n', bytes).map(|lf| lf + 1) {
        if end - start > line_max || end > total_max {
            return bound((start + line_max).min(total_max));
        }
        if matches!(bytes.get(start..end), Some(b"\n" | b"\r\n")) {
            return Reach { bytes: bytes.get(..end).unwrap_or(bytes), exhausted: false };
        }
        start = end;
    }
    bound((start + line_max).min(total_max))
}

fn head(
    bytes: &Chunk,
    fields: &mut Vec<Field>,
    limits: &HeadLimits,
    line: Line,
    headers: &[Header<'_>],
    len: usize,
) -> RequestHead {
    fields.clear();
    fields.reserve(headers.len());
    let text = bytes.as_slice();
    for header in headers {
        let name = header.name.as_bytes();
        let id = HeaderId::from_token(name);
        if id == HeaderId::Other && limits.ignore_invalid_headers && !is_plain(name, limits.underscores) {
            continue;
        }
        fields.push(Field { id, name: span(text, name), value: span(text, header.value) });
    }
    RequestHead {
        bytes: bytes.slice(0..len),
        method: Some(line.method),
        method_text: line.method_text,
        line: line.whole,
        target: line.target,
        version: line.version,
        fields: mem::take(fields),
    }
}

/// Whether nginx calls the name valid. That it is a token is known.
pub(crate) fn is_plain(name: &[u8], underscores: bool) -> bool {
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-' || (*byte == b'_' && underscores))
}

/// Where `part`, a slice of `whole`, lies in it.
pub(crate) fn span(whole: &[u8], part: &[u8]) -> Span {
    let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
    debug_assert!(start + part.len() <= whole.len());
    Span { start: start as u32, len: part.len() as u32 }
}
