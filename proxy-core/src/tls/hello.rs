//! The ClientHello before a session exists (RFC 8446, section 4.1.2): which server is asked for, and what is offered.
//!
//! rustls parses the same bytes again with all the rigour that they need; this only looks for the few things that must
//! be known beforehand, and gives up at anything that is out of shape.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// The beginning of a ClientHello.
    Partial,
    /// No TLS at all: most likely plain HTTP.
    Plain,
    /// TLS, but not a ClientHello that can be understood; rustls finds the words for it.
    Strange,
    /// A ClientHello.
    Hello(Hello),
}

/// What is offered, in the client's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The name in the server_name extension, lower case, without a final dot; empty if there is none.
    pub(crate) server_name: Vec<u8>,
    /// Cipher suites.
    pub(crate) ciphers: Vec<u16>,
    /// Groups for the key exchange.
    pub(crate) groups: Vec<u16>,
    /// Signature schemes.
    pub(crate) schemes: Vec<u16>,
    /// The protocols that may be chosen from (ALPN), as they came: each behind its length.
    pub(crate) protocols: Vec<u8>,
}

/// What a ServerHello of ours says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) random: [u8; 32],
    /// In TLS 1.2 the session's identifier; afterwards what the client made up.
    pub(crate) session_id: Box<[u8]>,
}

impl Greeting {
    /// Looks whether these records, ours, begin with a ServerHello. After a HelloRetryRequest, which looks like one, there is
    /// another.
    pub(crate) fn peek(records: &[u8]) -> Option<Self> {
        let &[HANDSHAKE, _, _, _, _, SERVER_HELLO, _, _, _, _, _, ref rest @ ..] = records else {
            return None;
        };
        let mut rest = Reader(rest);
        let random = rest.take(32)?.try_into().ok()?;
        Some(Self { random, session_id: rest.short_vector()?.into() })
    }
}

/// The record type of handshake messages.
const HANDSHAKE: u8 = 22;
/// The handshake type of a ClientHello.
const CLIENT_HELLO: u8 = 1;
/// That of a ServerHello.
const SERVER_HELLO: u8 = 2;
/// The longest ClientHello that is looked into, in bytes: browsers send 2 KiB.
pub(crate) const HELLO_BYTES_MAX: usize = 16 * 1024;
const RECORD_HEADER_BYTES: usize = 5;

/// Looks at all that came so far.
pub(crate) fn peek(bytes: &[u8]) -> Opening {
    match bytes.first() {
        None => return Opening::Partial,
        Some(&HANDSHAKE) => {}
        // As nginx: the high bit is the length of an SSLv2 hello, which no one answers.
        Some(byte) if byte & 0x80 != 0 => return Opening::Strange,
        Some(_) => return Opening::Plain,
    }
    let Some(message) = handshake_bytes(bytes) else { return Opening::Strange };
    let [kind, a, b, c, body @ ..] = &*message else { return Opening::Partial };
    let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
    if *kind != CLIENT_HELLO || len > HELLO_BYTES_MAX {
        return Opening::Strange;
    }
    match body.get(..len) {
        None => Opening::Partial,
        Some(body) => Reader(body).hello().map_or(Opening::Strange, Opening::Hello),
    }
}

/// The payloads of the handshake records at the beginning, in one piece. None where something else comes first.
fn handshake_bytes(mut bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut whole: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    // Each round takes a header's bytes at least.
    while let Some((&[kind, major, _, high, low], rest)) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>() {
        if kind != HANDSHAKE {
            break;
        }
        let len = usize::from(u16::from_be_bytes([high, low]));
        if major != 3 || len == 0 || len > HELLO_BYTES_MAX {
            return None;
        }
        let payload = rest.get(..len.min(rest.len())).unwrap_or_default();
        if whole.is_empty() {
            whole = Cow::Borrowed(payload);
        } else {
            whole.to_mut().extend_from_slice(payload);
        }
        bytes = rest.get(len..).unwrap_or_default();
    }
    Some(whole)
}

/// A cursor over a structure of vectors with lengths in front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    }

    fn short_vector(&mut self) -> Option<&'a [u8]> {
        let len = self.take(1)?.first().copied()?;
        self.take(usize::from(len))
    }

    fn vector(&mut self) -> Option<&'a [u8]> {
        let len = self.number()?;
        self.take(usize::from(len))
    }

    fn numbers(bytes: &[u8]) -> Vec<u16> {
        bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
    }

    fn hello(mut self) -> Option<Hello> {
        let mut hello = Hello::default();
        self.take(2 + 32)?;
        self.short_vector()?;
        hello.ciphers = Self::numbers(self.vector()?);
        self.short_vector()?;
        if self.0.is_empty() {
            return Some(hello);
        }
        let mut extensions = Self(self.vector()?);
        while !extensions.0.is_empty() {
            let kind = extensions.number()?;
            let mut data = Self(extensions.vector()?);
            match kind {
                0 => hello.server_name = data.server_name()?,
                10 => hello.groups = Self::numbers(data.vector()?),
                13 => hello.schemes = Self::numbers(data.vector()?),
                16 => hello.protocols = data.vector()?.to_vec(),
                _ => {}
            }
        }
        Some(hello)
    }

    /// RFC 6066, section 3: the one entry of type host_name.
    fn server_name(&mut self) -> Option<Vec<u8>> {
        let mut list = Self(self.vector()?);
        while !list.0.is_empty() {
            let kind = list.take(1)?;
            let name = list.vector()?;
            if kind == [0] {
                return Some(name.strip_suffix(b".").unwrap_or(name).to_ascii_lowercase());
            }
        }
        Some(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    fn body() -> Vec<u8> {
        let name = [&[0][..], &vector(b"A.Example.")].concat();
        let mut extensions = Vec::new();
        for (kind, data) in [
            (0u16, vector(&name)),
            (10, vector(&[0x11, 0xec, 0, 29])),
            (13, vector(&[4, 3])),
            (16, vector(b"\x02h2\x08http/1.1")),
            (0x0a0a, Vec::new()),
        ] {
            extensions.extend_from_slice(&kind.to_be_bytes());
            extensions.extend_from_slice(&vector(&data));
        }
        let mut body = alloc::vec![3, 3];
        body.extend_from_slice(&[7; 32]);
        body.push(0);
        body.extend_from_slice(&vector(&[0x13, 1, 0x13, 2]));
        body.extend_from_slice(&[1, 0]);
        body.extend_from_slice(&vector(&extensions));
        body
    }

    fn message() -> Vec<u8> {
        let body = body();
        [&[CLIENT_HELLO, 0][..], &vector(&body)].concat()
    }

    fn record(payload: &[u8]) -> Vec<u8> {
        [&[HANDSHAKE, 3, 1][..], &vector(payload)].concat()
    }

    #[test]
    fn a_hello_is_found_however_it_is_cut() {
        let expected = Hello {
            server_name: b"a.example".to_vec(),
            ciphers: alloc::vec![0x1301, 0x1302],
            groups: alloc::vec![0x11ec, 29],
            schemes: alloc::vec![0x0403],
            protocols: b"\x02h2\x08http/1.1".to_vec(),
        };
        let message = message();
        for cut in 1..message.len() {
            let (first, second) = message.split_at(cut);
            let bytes = [record(first), record(second)].concat();
            for end in 0..bytes.len() {
                assert_eq!(peek(&bytes[..end]), Opening::Partial, "{cut} {end}");
            }
            assert_eq!(peek(&bytes), Opening::Hello(expected.clone()), "{cut}");
        }
    }

    #[test]
    fn what_is_no_hello() {
        let table: [(&[u8], Opening); 5] = [
            (b"GET / HTTP/1.1\r\n", Opening::Plain),
            (&[0x80, 0x2e, 1], Opening::Strange),
            (&[22, 2, 0, 0, 1, 1], Opening::Strange),
            (&[22, 3, 1, 0, 4, 2, 0, 0, 0], Opening::Strange),
            (&[22, 3, 1, 0, 5, 1, 0, 0, 1, 9], Opening::Strange),
        ];
        for (bytes, expected) in table {
            assert_eq!(peek(bytes), expected, "{bytes:?}");
        }
        // Every byte of a good one spoilt: never a panic.
        let good = record(&message());
        for place in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[place] = value;
                let _ = peek(&bad);
            }
        }
    }
}
