//! The head of a CGI reply (RFC 3875, section 6): header fields without a status line.
//!
//! The status is `Status`'s, or 302 where there is a `Location`, or 200. A `Location` without a scheme is passed on as
//! it is: nginx does not go there itself, whatever the RFC says. Transfer codings mean nothing here and are left out.

use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use super::Fault;
use crate::buf::Chunk;
use crate::error::UpstreamError;
use crate::h1::{Parsed, span};
use crate::http::{Field, HeaderId, ResponseHead, Span, Status, Version};

/// What bounds such a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgiLimits {
    /// The whole head, in bytes (`fastcgi_buffer_size`).
    pub total_bytes_max: usize,
    /// The number of header lines.
    pub fields_max: usize,
}

/// As many fields as are parsed without an allocation.
const STACK_FIELDS: usize = 64;

/// Parses the CGI head that `bytes` begins with. The head takes `fields`, emptied, only when it is whole.
///
/// # Errors
/// [`UpstreamError::InvalidHeader`] for what is no header line, [`UpstreamError::HeaderTooBig`] for what exceeds
/// `limits`, [`Fault::Status`] for a status that is no number.
pub fn parse_cgi_head(
    bytes: &Chunk,
    fields: &mut Vec<Field>,
    limits: &CgiLimits,
) -> Result<Parsed<ResponseHead>, UpstreamError> {
    let reach = bytes.get(..limits.total_bytes_max).unwrap_or(bytes);
    let mut headers = [httparse::EMPTY_HEADER; STACK_FIELDS];
    let mut more;
    let mut result = httparse::parse_headers(reach, &mut headers);
    if matches!(result, Err(httparse::Error::TooManyHeaders)) && limits.fields_max > STACK_FIELDS {
        more = vec![httparse::EMPTY_HEADER; limits.fields_max];
        result = httparse::parse_headers(reach, &mut more);
    }
    match result {
        Ok(httparse::Status::Complete((len, headers))) => {
            fields.clear();
            fields.extend(headers.iter().map(|header| field(reach, header)));
            finish(bytes, fields, len)
        }
        Ok(httparse::Status::Partial) if bytes.len() < limits.total_bytes_max => Ok(Parsed::Partial),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            Err(UpstreamError::HeaderTooBig)
        }
        Err(_) => Err(UpstreamError::InvalidHeader),
    }
}

fn field(bytes: &[u8], header: &httparse::Header<'_>) -> Field {
    let name = header.name.as_bytes();
    Field { id: HeaderId::from_token(name), name: span(bytes, name), value: span(bytes, header.value) }
}

fn finish(bytes: &Chunk, fields: &mut Vec<Field>, len: usize) -> Result<Parsed<ResponseHead>, UpstreamError> {
    let has = |fields: &[Field], id| fields.iter().any(|field| field.id == id);
    if has(fields, HeaderId::TransferEncoding) && has(fields, HeaderId::ContentLength) {
        return Err(UpstreamError::InvalidFraming);
    }
    fields.retain(|field| field.id != HeaderId::TransferEncoding);
    let said = fields.iter().find(|field| field.name.of(bytes).eq_ignore_ascii_case(b"status"));
    let (status, reason) = match said {
        Some(field) => status_line(bytes, field.value)?,
        None if has(fields, HeaderId::Location) => (Status::FOUND, Span::default()),
        None => (Status::OK, Span::default()),
    };
    Ok(Parsed::Complete {
        head: ResponseHead {
            bytes: bytes.slice(0..len),
            status: Some(status),
            reason,
            version: Version::Http11,
            fields: mem::take(fields),
        },
        len,
    })
}

/// `404 Not Found`, or the number alone.
fn status_line(bytes: &[u8], value: Span) -> Result<(Status, Span), UpstreamError> {
    let text = value.of(bytes);
    let digits = text.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let digits = digits.ok_or(UpstreamError::Cgi(Fault::Status))?;
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    if code < 200 {
        // There is nothing that an interim status could be said of.
        return Err(UpstreamError::Cgi(Fault::Status));
    }
    let rest = text.get(3..).unwrap_or_default();
    Ok((Status(code), span(bytes, rest.strip_prefix(b" ").unwrap_or(rest))))
}
