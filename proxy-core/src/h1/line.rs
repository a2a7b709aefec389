//! The request line (RFC 9112, section 3), read as strictly as nginx reads it, and more strictly where two readings
//! are possible.

use httparse::Request;

use super::request::span;
use crate::error::ClientError;
use crate::http::{Method, Span, Version};

/// As many bytes of empty lines as may come before a request line; RFC 9112, section 2.2, asks for at least one line.
const EMPTY_LINE_BYTES_MAX: usize = 64;

/// A whole request line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// All of it, without its line end.
    pub(super) whole: Span,
    pub(super) method: Method,
    pub(super) method_text: Span,
    pub(super) target: Span,
    pub(super) version: Version,
}

/// The line that httparse has read, held against the rules that httparse does not know.
pub(super) fn of_parsed(bytes: &[u8], request: &Request<'_, '_>) -> Result<Line, ClientError> {
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(ClientError::InvalidRequestLine);
    };
    let (method, target) = (span(bytes, method.as_bytes()), span(bytes, target.as_bytes()));
    if method.start as usize > EMPTY_LINE_BYTES_MAX {
        return Err(ClientError::InvalidRequestLine);
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let end = target.start + target.len + " HTTP/1.1".len() as u32;
    checked(bytes, Span { start: method.start, len: end - method.start }, method, target, version)
}

/// Reads the line that `bytes` begins with, and where it ends; nothing if it is not whole yet. The empty lines before
/// it count for the whole head's bound, and not for its own.
pub(super) fn parse(
    bytes: &[u8],
    line_bytes_max: usize,
    total_bytes_max: usize,
) -> Result<Option<(Line, usize)>, ClientError> {
    let Some(start) = skip_empty_lines(bytes)? else { return Ok(None) };
    let line_bytes_max = line_bytes_max.min(total_bytes_max.saturating_sub(start));
    let rest = bytes.get(start..).unwrap_or_default();
    let reach = rest.get(..line_bytes_max).unwrap_or(rest);
    match parse_reach(bytes, reach)? {
        Some((line, len)) => Ok(Some((line, start + len))),
        None if rest.len() >= line_bytes_max => Err(ClientError::UriTooLong),
        None => Ok(None),
    }
}

/// Reads the line that `reach`, a slice of `bytes`, begins with, and how long it is with its line end.
fn parse_reach(bytes: &[u8], reach: &[u8]) -> Result<Option<(Line, usize)>, ClientError> {
    let Some((method, rest)) = split(reach, |byte| !is_method_byte(byte)) else { return Ok(None) };
    let (true, [b' ', rest @ ..]) = (!method.is_empty(), rest) else {
        return Err(ClientError::InvalidMethod);
    };
    let Some((target, rest)) = split(rest, |byte| byte <= b' ' || matches!(byte, 0x7f | b'#')) else {
        return Ok(None);
    };
    let rest = match rest {
        [b' ', ..] | [b'\r' | b'\n', ..] if target.is_empty() => return Err(ClientError::InvalidRequestLine),
        [b' ', rest @ ..] => rest,
        [b'\n', ..] | [b'\r', b'\n', ..] => return Err(ClientError::Http09),
        [b'\r'] => return Ok(None),
        _ => return Err(ClientError::InvalidUri),
    };
    let Some((version, after)) = parse_version(rest)? else { return Ok(None) };
    let (method_text, target_text) = (span(bytes, method), span(bytes, target));
    let text = reach.get(..reach.len() - after.len()).unwrap_or_default();
    let end = match after {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        [] | [b'\r'] => return Ok(None),
        _ => return Err(ClientError::InvalidRequestLine),
    };
    let line = checked(bytes, span(bytes, text), method_text, target_text, version)?;
    Ok(Some((line, text.len() + end)))
}

/// `HTTP/1.` and one digit, or the beginning of that. A minor version above 1 is read as 1, as nginx does and RFC
/// 9110, section 2.5, asks for.
fn parse_version(text: &[u8]) -> Result<Option<(Version, &[u8])>, ClientError> {
    const NAME: &[u8] = b"HTTP/";
    let common = NAME.iter().zip(text).take_while(|(a, b)| a == b).count();
    if common < NAME.len() {
        return if common == text.len() { Ok(None) } else { Err(ClientError::InvalidRequestLine) };
    }
    match text.get(NAME.len()..).unwrap_or_default() {
        [] | [b'1'] | [b'1', b'.'] => Ok(None),
        [b'1', b'.', b'0', after @ ..] => Ok(Some((Version::Http10, after))),
        [b'1', b'.', b'1'..=b'9', after @ ..] => Ok(Some((Version::Http11, after))),
        [b'1', b'0'..=b'9', ..] | [b'2'..=b'9', ..] => Err(ClientError::InvalidVersion),
        _ => Err(ClientError::InvalidRequestLine),
    }
}

/// The rules for whole lines: which methods we take and which forms of a target (RFC 9112, section 3.2).
fn checked(
    bytes: &[u8],
    whole: Span,
    method_text: Span,
    target: Span,
    version: Version,
) -> Result<Line, ClientError> {
    let name = method_text.of(bytes);
    let method = Method::from_bytes(name);
    if method == Method::Other && !name.iter().copied().all(is_method_byte) {
        return Err(ClientError::InvalidMethod);
    }
    let text = target.of(bytes);
    if memchr::memchr(b'#', text).is_some() {
        return Err(ClientError::InvalidUri);
    }
    match (method, text) {
        (Method::Connect | Method::Trace, _) => Err(ClientError::MethodNotAllowed),
        (_, [b'/', ..]) | (Method::Options, b"*") => Ok(Line { whole, method, method_text, target, version }),
        (_, text) if has_http_scheme(text) => Ok(Line { whole, method, method_text, target, version }),
        _ => Err(ClientError::InvalidRequestLine),
    }
}

fn has_http_scheme(target: &[u8]) -> bool {
    [&b"http://"[..], b"https://"]
        .iter()
        .any(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

/// Where the request line starts; nothing if there are only empty lines so far.
fn skip_empty_lines(bytes: &[u8]) -> Result<Option<usize>, ClientError> {
    let mut at = 0;
    while at <= EMPTY_LINE_BYTES_MAX {
        match bytes.get(at..).unwrap_or_default() {
            [b'\n', ..] => at += 1,
            [b'\r', b'\n', ..] => at += 2,
            [] | [b'\r'] => return Ok(None),
            _ => return Ok(Some(at)),
        }
    }
    Err(ClientError::InvalidRequestLine)
}

fn split(bytes: &[u8], stop: impl Fn(u8) -> bool) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| stop(*byte))?;
    bytes.split_at_checked(at)
}

const fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-')
}
