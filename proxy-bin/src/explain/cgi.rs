//! What a program behind FastCGI, SCGI or uwsgi is asked, as text, and a scripted answer for it.

use proxy_core::fastcgi::kind::{BEGIN_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT};
use proxy_core::fastcgi::{HEADER_BYTES, VERSION};

/// A request that is no HTTP.
pub(super) struct CgiRequest {
    /// Its protocol, then a line for each parameter, then the body.
    pub(super) text: Vec<u8>,
    /// Whether it came in records, and wants its answer so.
    in_records: bool,
}

impl CgiRequest {
    /// Understands the bytes of a request. Nothing if they are HTTP's.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let fastcgi = || records(bytes).map(|text| Self { text, in_records: true });
        let others = || scgi(bytes).or_else(|| uwsgi(bytes)).map(|text| Self { text, in_records: false });
        fastcgi().or_else(others)
    }

    /// An answer with nothing but this status.
    pub(super) fn reply(&self, status: u16) -> Vec<u8> {
        if !self.in_records {
            // Both may answer as HTTP does.
            return format!("HTTP/1.1 {status} Scripted\r\nContent-Length: 0\r\n\r\n").into_bytes();
        }
        let head = format!("Status: {status} Scripted\r\nContent-Length: 0\r\n\r\n");
        let mut out = Vec::new();
        record(STDOUT, head.as_bytes(), &mut out);
        record(STDOUT, b"", &mut out);
        record(END_REQUEST, &[0; 8], &mut out);
        out
    }
}

fn record(kind: u8, content: &[u8], out: &mut Vec<u8>) {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    out.extend_from_slice(&[VERSION, kind, 0, 1, high, low, 0, 0]);
    out.extend_from_slice(content);
}

/// The records of one request.
fn records(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.get(..2) != Some(&[VERSION, BEGIN_REQUEST]) {
        return None;
    }
    let (mut params, mut body) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    while let Some(&[_, kind, _, _, high, low, padding, _]) = rest.first_chunk::<HEADER_BYTES>() {
        let end = HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]));
        let content = rest.get(HEADER_BYTES..end)?;
        match kind {
            PARAMS => params.extend_from_slice(content),
            STDIN => body.extend_from_slice(content),
            _ => {}
        }
        rest = rest.get(end + usize::from(padding)..)?;
    }
    let mut pairs = Vec::new();
    let mut rest = params.as_slice();
    while !rest.is_empty() {
        let (name, value) = (length(&mut rest)?, length(&mut rest)?);
        let (pair, after) = rest.split_at_checked(name.checked_add(value)?)?;
        pairs.push(pair.split_at_checked(name)?);
        rest = after;
    }
    Some(text("FastCGI", &pairs, &body))
}

/// A length in FastCGI's parameters: one byte, or four.
fn length(rest: &mut &[u8]) -> Option<usize> {
    let (first, after) = rest.split_first()?;
    if first & 0x80 == 0 {
        *rest = after;
        return Some(usize::from(*first));
    }
    let (four, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    usize::try_from(u32::from_be_bytes(*four) & 0x7fff_ffff).ok()
}

/// `length:NAME NUL value NUL …,` and the body.
fn scgi(bytes: &[u8]) -> Option<Vec<u8>> {
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let len: usize = std::str::from_utf8(bytes.get(..colon)?).ok()?.parse().ok()?;
    let (pairs, body) = bytes.get(colon + 1..)?.split_at_checked(len)?;
    let words: Vec<&[u8]> = pairs.strip_suffix(b"\0")?.split(|byte| *byte == 0).collect();
    let pairs: Vec<_> = words.as_chunks::<2>().0.iter().map(|[name, value]| (*name, *value)).collect();
    Some(text("SCGI", &pairs, body.strip_prefix(b",")?))
}

/// A head of four bytes with the parameters' length, little end first, then each word behind its own.
fn uwsgi(bytes: &[u8]) -> Option<Vec<u8>> {
    let ([_, low, high, _], rest) = bytes.split_first_chunk::<4>()?;
    let (mut params, body) = rest.split_at_checked(usize::from(u16::from_le_bytes([*low, *high])))?;
    let mut words = Vec::new();
    while let Some((len, after)) = params.split_first_chunk::<2>() {
        let (word, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        words.push(word);
        params = after;
    }
    let pairs: Vec<_> = words.as_chunks::<2>().0.iter().map(|[name, value]| (*name, *value)).collect();
    params.is_empty().then(|| text("uwsgi", &pairs, body))
}

fn text(protocol: &str, pairs: &[(&[u8], &[u8])], body: &[u8]) -> Vec<u8> {
    let mut out = format!("{protocol}\r\n").into_bytes();
    for (name, value) in pairs {
        out.extend_from_slice(&[name, &b": "[..], value, b"\r\n"].concat());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_is_understood_and_http_is_left_alone() {
        let parsed =
            |bytes: &[u8]| CgiRequest::parse(bytes).map(|request| String::from_utf8(request.text).unwrap());
        let mut fastcgi = Vec::new();
        record(BEGIN_REQUEST, &[0, 1, 0, 0, 0, 0, 0, 0], &mut fastcgi);
        record(PARAMS, b"\x01\x02Axy", &mut fastcgi);
        record(PARAMS, b"", &mut fastcgi);
        record(STDIN, b"body", &mut fastcgi);
        assert_eq!(parsed(&fastcgi).as_deref(), Some("FastCGI\r\nA: xy\r\n\r\nbody"));
        assert_eq!(parsed(b"5:A\0xy\0,body").as_deref(), Some("SCGI\r\nA: xy\r\n\r\nbody"));
        assert_eq!(parsed(b"\0\x07\0\0\x01\0A\x02\0xybody").as_deref(), Some("uwsgi\r\nA: xy\r\n\r\nbody"));
        assert_eq!(parsed(b"GET / HTTP/1.1\r\nHost: a:1\r\n\r\n"), None);
    }
}
