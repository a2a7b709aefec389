//! What can still be told of a head that was refused: it is answered and logged by the server that it asked for, as in
//! nginx, which has read everything before the mistake.

use super::request::span;
use crate::buf::Chunk;
use crate::error::ClientError;
use crate::http::{Field, HeaderId, Method, RequestHead, Span, Version};

/// What to log as the request line (`$request`) of a head that was refused: the first line, as far as it came.
#[must_use]
pub fn refused_line(bytes: &[u8]) -> Span {
    let text = bytes.trim_ascii_start();
    let end = memchr::memchr2(b'\r', b'\n', text).unwrap_or(text.len());
    span(bytes, text.get(..end).unwrap_or_default())
}

/// As much of a refused head as stands before its mistake: always the first line; the line's parts and at most
/// `fields_max` fields where it was not the line that was wrong. Nothing of it may be forwarded.
#[must_use]
pub fn refused_head(bytes: &Chunk, error: ClientError, fields_max: usize) -> RequestHead {
    let line = refused_line(bytes);
    let mut head = RequestHead { bytes: bytes.clone(), line, ..RequestHead::default() };
    if error.is_about_the_line() {
        return head;
    }
    let text = line.of(bytes);
    let mut words = text.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(_), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return head;
    };
    head.method = Some(Method::from_bytes(method));
    head.method_text = span(bytes, method);
    head.target = span(bytes, target);
    head.version = if text.ends_with(b"/1.0") { Version::Http10 } else { Version::Http11 };
    let behind = bytes.get((line.start + line.len) as usize..).unwrap_or_default();
    let lines = behind.split(|byte| *byte == b'\n').skip(1);
    let fields = lines.map_while(|line| field(bytes, line.strip_suffix(b"\r")?));
    head.fields.extend(fields.take(fields_max));
    head
}

/// A whole and well-formed header line.
fn field(bytes: &[u8], line: &[u8]) -> Option<Field> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?.trim_ascii());
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_value = |byte: &u8| *byte >= b' ' && *byte != 0x7f || *byte == b'\t';
    let well_formed = !name.is_empty() && name.iter().all(is_name) && value.iter().all(is_value);
    well_formed.then(|| Field {
        id: HeaderId::from_token(name),
        name: span(bytes, name),
        value: span(bytes, value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_mistake_is_told() {
        let cases: &[(&[u8], ClientError, &str, usize)] = &[
            (
                b"GET /a HTTP/1.1\r\nHost: h\r\nA: 1\r\nB ad: 2\r\nC: 3\r\n\r\n",
                ClientError::InvalidHeader,
                "/a",
                2,
            ),
            (b"\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n", ClientError::InvalidHost, "/a", 1),
            (b"GET /a HTTP/1.1\r\nHost: h\r\nA: lo", ClientError::HeaderTooLarge, "/a", 1),
            (b"GET /a HTTP/3.1\r\nHost: h\r\n\r\n", ClientError::InvalidVersion, "", 0),
            (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", ClientError::InvalidHeader, "", 0),
            (b"", ClientError::InvalidHeader, "", 0),
        ];
        for (bytes, error, target, fields) in cases {
            let head = refused_head(&Chunk::from_static(bytes), *error, 100);
            assert_eq!(head.target.of(bytes), target.as_bytes());
            assert_eq!(head.fields.len(), *fields, "{}", bytes.escape_ascii());
        }
    }
}
