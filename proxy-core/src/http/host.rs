//! The host that a request asks for (RFC 9110, section 7.2; RFC 3986, section 3.2.2).
//!
//! As strict as nginx since 1.29.4, and stricter where a list, a userinfo or a path could be read into it.

use core::net::Ipv6Addr;
use core::str;

use super::Span;
use crate::buf::Chunk;

/// A valid host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The name in lower case, without a port and without a trailing dot; an IPv6 address keeps its brackets. Shares the
    /// head's memory where it was sent in lower case.
    pub name: Chunk,
    /// The port, if one was sent.
    pub port: Option<u16>,
    /// Name and port as they were sent: this is what goes to an upstream as `Host`.
    pub text: Span,
}

impl Host {
    /// Reads the host at `text` of `head`; nothing if it cannot be one.
    #[must_use]
    pub fn parse(head: &Chunk, text: Span) -> Option<Self> {
        let bytes = text.of(head);
        let (name, port) = split_port(bytes)?;
        let valid = if name.starts_with(b"[") { is_ipv6_literal(name) } else { is_reg_name(name) };
        let name = name.strip_suffix(b".").unwrap_or(name);
        if !valid || name.is_empty() {
            return None;
        }
        let start = text.start as usize;
        let name = if name.iter().any(u8::is_ascii_uppercase) {
            Chunk::from_vec(name.to_ascii_lowercase())
        } else {
            head.slice(start..start + name.len())
        };
        Some(Self { name, port, text })
    }
}

/// Name and port. RFC 3986 lets a port be empty; 0 is none that anybody can be asked at.
fn split_port(bytes: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let name_len = match bytes {
        [b'[', ..] => memchr::memchr(b']', bytes)? + 1,
        _ => memchr::memchr(b':', bytes).unwrap_or(bytes.len()),
    };
    let (name, rest) = bytes.split_at_checked(name_len)?;
    match rest {
        [] | [b':'] => Some((name, None)),
        [b':', digits @ ..] => {
            let port = digits.iter().try_fold(0u16, |port, digit| {
                let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
                port.checked_mul(10)?.checked_add(u16::from(digit))
            })?;
            (port > 0).then_some((name, Some(port)))
        }
        _ => None,
    }
}

/// `[` an IPv6 address `]`. Zones and addresses of the future (`v1.…`) are refused: no two parties agree on them.
fn is_ipv6_literal(name: &[u8]) -> bool {
    let inner = name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]"));
    inner.and_then(|inner| str::from_utf8(inner).ok()).is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
}

/// `reg-name` of RFC 3986 without the comma, which would make it a list, and without two dots in a row, as in nginx.
fn is_reg_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (b'.', [b'.', ..]) => return false,
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
            (b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~', _) => tail,
            (b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=', _) => tail,
            _ => return false,
        };
    }
    true
}
