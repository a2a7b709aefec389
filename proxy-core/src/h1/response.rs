//! A response's head (RFC 9112, sections 4 and 5), parsed in place.
//!
//! Stricter than nginx, which passes on raw whatever does not begin with `HTTP/`: nothing but `HTTP/1.0` or
//! `HTTP/1.1` with a status from 100 to 599 is a reply.

use alloc::vec;
use alloc::vec::Vec;
use core::mem::{self, MaybeUninit};

use httparse::{Header, Status};

use super::request::{Parsed, span};
use crate::buf::Chunk;
use crate::error::UpstreamError;
use crate::http::{self, Field, HeaderId, ResponseHead, Span, Version};

/// As many fields as are parsed without an allocation.
const STACK_FIELDS: usize = 64;

/// `HTTP/1.1 200`, and then a blank or the end of the line.
const CODE_END: usize = 12;

/// What bounds a response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseLimits {
    /// The whole head, in bytes (`proxy_buffer_size`).
    pub total_bytes_max: usize,
    /// The number of header lines.
    pub fields_max: usize,
}

/// Parses the response head that `bytes` begins with. The head takes `fields`, emptied, only when it is whole.
///
/// # Errors
/// [`UpstreamError::InvalidHeader`] for what is not HTTP/1, [`UpstreamError::HeaderTooBig`] for what exceeds `limits`;
/// both as soon as no continuation could be valid or fit.
pub fn parse_response(
    bytes: &Chunk,
    fields: &mut Vec<Field>,
    limits: &ResponseLimits,
) -> Result<Parsed<ResponseHead>, UpstreamError> {
    let reach = bytes.get(..limits.total_bytes_max).unwrap_or(bytes);
    // httparse steps over empty lines before a status line; a reply that begins with them is none.
    if reach.first().is_some_and(|first| *first != b'H') {
        return Err(UpstreamError::InvalidHeader);
    }
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; STACK_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let result = config.parse_response_with_uninit_headers(&mut response, reach, &mut headers);
    if result == Err(httparse::Error::TooManyHeaders) && limits.fields_max > STACK_FIELDS {
        let mut headers = vec![MaybeUninit::uninit(); limits.fields_max];
        let mut response = httparse::Response::new(&mut []);
        let result = config.parse_response_with_uninit_headers(&mut response, reach, &mut headers);
        return finish(bytes, fields, limits, &response, result);
    }
    finish(bytes, fields, limits, &response, result)
}

fn finish(
    bytes: &Chunk,
    fields: &mut Vec<Field>,
    limits: &ResponseLimits,
    response: &httparse::Response<'_, '_>,
    result: httparse::Result<usize>,
) -> Result<Parsed<ResponseHead>, UpstreamError> {
    match result {
        Ok(Status::Complete(len)) if response.headers.len() <= limits.fields_max => {
            Ok(Parsed::Complete { head: head(bytes, fields, response, len)?, len })
        }
        Ok(Status::Partial) if bytes.len() < limits.total_bytes_max => Ok(Parsed::Partial),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Err(UpstreamError::HeaderTooBig),
        Err(_) => Err(UpstreamError::InvalidHeader),
    }
}

fn head(
    bytes: &Chunk,
    fields: &mut Vec<Field>,
    response: &httparse::Response<'_, '_>,
    len: usize,
) -> Result<ResponseHead, UpstreamError> {
    let code = response.code.unwrap_or_default();
    if !(100..=599).contains(&code) {
        return Err(UpstreamError::InvalidHeader);
    }
    fields.clear();
    let text = bytes.as_slice();
    fields.extend(response.headers.iter().map(|header| {
        let name = header.name.as_bytes();
        Field { id: HeaderId::from_token(name), name: span(text, name), value: span(text, header.value) }
    }));
    Ok(ResponseHead {
        bytes: bytes.slice(0..len),
        status: Some(http::Status(code)),
        reason: reason(text),
        version: if response.version == Some(0) { Version::Http10 } else { Version::Http11 },
        fields: mem::take(fields),
    })
}

/// The reason phrase, which httparse gives only if it is ASCII.
fn reason(bytes: &[u8]) -> Span {
    let behind = bytes.get(CODE_END..).unwrap_or_default();
    let line = memchr::memchr(b'\n', behind).and_then(|end| behind.get(..end)).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    span(bytes, line.strip_prefix(b" ").unwrap_or(line))
}
