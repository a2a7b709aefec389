//! The PROXY protocol, versions 1 and 2: what a load balancer says about the connection before the client's own bytes.
//!
//! Reference: HAProxy's proxy-protocol.txt, and nginx's ngx_proxy_protocol.c for what it takes and what it says.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::net::{Ipv4Addr, Ipv6Addr};

/// What the header said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyHeader {
    /// `$proxy_protocol_addr`, as it was written or in the usual text.
    pub source: Box<[u8]>,
    /// `$proxy_protocol_port`
    pub source_port: u16,
    /// `$proxy_protocol_server_addr`
    pub server: Box<[u8]>,
    /// `$proxy_protocol_server_port`
    pub server_port: u16,
    /// The type-length-value triples of version 2.
    tlvs: Box<[u8]>,
}

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// Not all of a header.
    Partial,
    /// A header of this many bytes. One that says nothing about addresses is skipped.
    Complete { header: Option<Box<ProxyHeader>>, len: usize },
    /// No header; the words for the log.
    Invalid(String),
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD_BYTES: usize = 16;
/// The longest header of version 1 (section 2.1), in bytes.
const V1_BYTES_MAX: usize = 107;
/// The longest header of version 2, in bytes: nginx's bound.
pub(crate) const HEADER_BYTES_MAX: usize = 4096;

/// Looks for a header.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let common = bytes.len().min(SIGNATURE.len());
    if bytes.get(..common) == SIGNATURE.get(..common) {
        return parse_v2(bytes);
    }
    let line = match memchr::memchr(b'\n', bytes) {
        Some(end) => bytes.get(..=end).unwrap_or_default(),
        None => bytes,
    };
    let common = line.len().min(V1_MAGIC.len());
    let begins_well = line.get(..common) == V1_MAGIC.get(..common);
    if begins_well && line.last() != Some(&b'\n') && line.len() < V1_BYTES_MAX {
        return Parsed::Partial;
    }
    let found = line.strip_suffix(b"\r\n").and_then(|line| line.strip_prefix(V1_MAGIC)).and_then(parse_v1);
    match found {
        Some(header) if line.len() <= V1_BYTES_MAX => Parsed::Complete { header, len: line.len() },
        Some(_) | None => {
            let end = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
            let shown = crate::content::files::shown(bytes.get(..end).unwrap_or_default());
            Parsed::Invalid(format!("broken header: \"{shown}\""))
        }
    }
}

const V1_MAGIC: &[u8] = b"PROXY ";

/// `TCP4 source server source-port server-port`; nothing behind `UNKNOWN` matters.
fn parse_v1(rest: &[u8]) -> Option<Option<Box<ProxyHeader>>> {
    if rest.starts_with(b"UNKNOWN") {
        return Some(None);
    }
    let rest = rest.strip_prefix(b"TCP4 ").or_else(|| rest.strip_prefix(b"TCP6 "))?;
    let mut words = rest.split(|byte| *byte == b' ');
    let address = |word: &[u8]| {
        let good = |byte: &u8| matches!(byte, b'.' | b':') || byte.is_ascii_hexdigit();
        (!word.is_empty() && word.iter().all(good)).then(|| word.into())
    };
    let port = |word: &[u8]| {
        let digits = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
        core::str::from_utf8(word).ok().filter(|_| digits)?.parse().ok()
    };
    let (source, server) = (address(words.next()?)?, address(words.next()?)?);
    let (source_port, server_port) = (port(words.next()?)?, port(words.next()?)?);
    let header = ProxyHeader { source, source_port, server, server_port, tlvs: Box::default() };
    words.next().is_none().then(|| Some(Box::new(header)))
}

fn parse_v2(bytes: &[u8]) -> Parsed {
    let Some((head, rest)) = bytes.split_at_checked(V2_HEAD_BYTES) else { return Parsed::Partial };
    let [.., command, family, high, low] = *head else { return Parsed::Partial };
    if command >> 4 != 2 {
        return Parsed::Invalid(format!("unknown PROXY protocol version: {}", command >> 4));
    }
    let len = usize::from(u16::from_be_bytes([high, low]));
    if V2_HEAD_BYTES + len > HEADER_BYTES_MAX {
        return Parsed::Invalid("header is too large".into());
    }
    let Some(body) = rest.get(..len) else { return Parsed::Partial };
    let len = V2_HEAD_BYTES + len;
    // Only PROXY over a stream says whom it is for.
    if command & 0xf != 1 || family & 0xf != 1 {
        return Parsed::Complete { header: None, len };
    }
    let header = match family >> 4 {
        1 => addresses_v4(body),
        2 => addresses_v6(body),
        _ => return Parsed::Complete { header: None, len },
    };
    match header {
        Some(header) => Parsed::Complete { header: Some(Box::new(header)), len },
        None => Parsed::Invalid("PROXY protocol header is too short for its addresses".into()),
    }
}

fn addresses_v4(body: &[u8]) -> Option<ProxyHeader> {
    let (source, rest) = body.split_first_chunk::<4>()?;
    let (server, rest) = rest.split_first_chunk::<4>()?;
    let text = |octets: [u8; 4]| format!("{}", Ipv4Addr::from(octets)).into_bytes().into();
    ports(text(*source), text(*server), rest)
}

fn addresses_v6(body: &[u8]) -> Option<ProxyHeader> {
    let (source, rest) = body.split_first_chunk::<16>()?;
    let (server, rest) = rest.split_first_chunk::<16>()?;
    let text = |octets: [u8; 16]| format!("{}", Ipv6Addr::from(octets)).into_bytes().into();
    ports(text(*source), text(*server), rest)
}

fn ports(source: Box<[u8]>, server: Box<[u8]>, rest: &[u8]) -> Option<ProxyHeader> {
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let (server_port, tlvs) = rest.split_first_chunk::<2>()?;
    Some(ProxyHeader {
        source,
        source_port: u16::from_be_bytes(*source_port),
        server,
        server_port: u16::from_be_bytes(*server_port),
        tlvs: tlvs.into(),
    })
}

/// Which value `$proxy_protocol_tlv_NAME` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tlv {
    /// A value of this type.
    Plain(u8),
    /// A value of this type inside of that about TLS.
    Ssl(u8),
    /// Whether the client's certificate was found good, as a number.
    SslVerify,
}

/// The type of the value that holds others about TLS.
const TLV_SSL: u8 = 0x20;

impl Tlv {
    /// What a name asks for: nginx's names, or `0x` and a hexadecimal number.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let named = |names: &[(&str, u8)], name: &str| {
            names.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
        };
        if name == "ssl_verify" {
            return Some(Self::SslVerify);
        }
        if let Some(name) = name.strip_prefix("ssl_") {
            let known =
                [("version", 0x21), ("cn", 0x22), ("cipher", 0x23), ("sig_alg", 0x24), ("key_alg", 0x25)];
            return named(&known, name).map(Self::Ssl);
        }
        if let Some(digits) = name.strip_prefix("0x") {
            return u8::from_str_radix(digits, 16).ok().map(Self::Plain);
        }
        let known = [("alpn", 1), ("authority", 2), ("unique_id", 5), ("ssl", TLV_SSL), ("netns", 0x30)];
        named(&known, name).map(Self::Plain)
    }
}

impl ProxyHeader {
    /// Writes a value; `false` if the header has none of this kind.
    pub(crate) fn write_tlv(&self, tlv: Tlv, out: &mut alloc::vec::Vec<u8>) -> bool {
        let ssl = || find(&self.tlvs, TLV_SSL).and_then(|value| value.split_at_checked(5));
        let value = match tlv {
            Tlv::Plain(kind) => find(&self.tlvs, kind),
            Tlv::Ssl(kind) => ssl().and_then(|(_, inner)| find(inner, kind)),
            Tlv::SslVerify => {
                let Some(([_, verify @ ..], _)) = ssl() else { return false };
                let verify = verify.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
                crate::h1::encode::decimal(out, verify);
                return true;
            }
        };
        out.extend_from_slice(value.unwrap_or_default());
        value.is_some()
    }
}

/// The first value of a type.
fn find(tlvs: &[u8], kind: u8) -> Option<&[u8]> {
    let mut rest = tlvs;
    // Bounded by the bytes: each turn takes three at least.
    while let [found, high, low, tail @ ..] = rest {
        let (value, next) = tail.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        if *found == kind {
            return Some(value);
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn header(
        source: &str,
        source_port: u16,
        server: &str,
        server_port: u16,
        tlvs: &[u8],
    ) -> Option<Box<ProxyHeader>> {
        Some(Box::new(ProxyHeader {
            source: source.as_bytes().into(),
            source_port,
            server: server.as_bytes().into(),
            server_port,
            tlvs: tlvs.into(),
        }))
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &len, body].concat()
    }

    const V4: &[u8] = &[192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80];

    #[test]
    fn headers_whole_and_at_every_split_point() {
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 15], &[1], &[0, 1, 0, 2]].concat();
        let tlvs = [2, 0, 1, b'x'];
        for (bytes, expected) in [
            (
                b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(),
                header("192.0.2.1", 4660, "10.0.0.1", 80, b""),
            ),
            (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n".to_vec(), header("2001:db8::1", 1, "::1", 2, b"")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN whatever there is\r\n".to_vec(), None),
            (v2(0x21, 0x11, V4), header("192.0.2.1", 4660, "10.0.0.1", 80, b"")),
            (v2(0x21, 0x11, &[V4, &tlvs].concat()), header("192.0.2.1", 4660, "10.0.0.1", 80, &tlvs)),
            (v2(0x21, 0x21, &v6), header("2001:db8::1", 1, "::1", 2, b"")),
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x11, V4), None),
            (v2(0x21, 0x12, V4), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            let shown = bytes.escape_ascii();
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end]), Parsed::Partial, "{shown} up to {end}");
            }
            let whole = Parsed::Complete { header: expected, len: bytes.len() };
            assert_eq!(parse(&[&bytes[..], b"GET / HTTP/1.1\r\n"].concat()), whole, "{shown}");
        }
    }

    #[test]
    fn what_is_no_header() {
        let long = [b"PROXY UNKNOWN ", &[b'x'; 100][..]].concat();
        for (bytes, words) in [
            (&b"GET / HTTP/1.1\r\n"[..], "broken header: \"GET / HTTP/1.1\""),
            (b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n", "broken header: \"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\""),
            (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n", "broken header: \"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\""),
            (
                b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
                "broken header: \"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\"",
            ),
            (b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", "broken header: \"PROXY TCP4 1.1.1.1 1.1.1.1 1\""),
            (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n", "broken header: \"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\""),
            (b"PROXY TCP4 1.1.1.x 1.1.1.1 1 1\r\n", "broken header: \"PROXY TCP4 1.1.1.x 1.1.1.1 1 1\""),
            (b"PROXY  TCP4\r\n", "broken header: \"PROXY  TCP4\""),
            (b"\x16\x03\x01", "broken header: \"\\u{16}\\u{3}\\u{1}\""),
            (&long, &format!("broken header: \"{}\"", long.escape_ascii())),
            (&v2(0x31, 0x11, V4), "unknown PROXY protocol version: 3"),
            (&v2(0x21, 0x11, &V4[..11]), "PROXY protocol header is too short for its addresses"),
            (&v2(0x21, 0x11, &[0; 4096]), "header is too large"),
        ] {
            assert_eq!(parse(bytes), Parsed::Invalid(words.into()), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn values_behind_the_addresses() {
        let ssl = [&[0x20, 0, 12, 1, 0, 0, 1, 0][..], &[0x21, 0, 4], b"TLSv"].concat();
        let tlvs = [&[1, 0, 2, b'h', b'2'][..], &ssl, &[0xea, 0, 0], &[5, 0, 9, b'x']].concat();
        let header = header("", 0, "", 0, &tlvs).unwrap();
        for (name, expected) in [
            ("alpn", Some(&b"h2"[..])),
            ("0x01", Some(b"h2")),
            ("authority", None),
            ("0xea", Some(b"")),
            ("unique_id", None),
            ("ssl", Some(&ssl[3..])),
            ("ssl_version", Some(b"TLSv")),
            ("ssl_cn", None),
            ("ssl_verify", Some(b"256")),
        ] {
            let mut out = Vec::new();
            let found = header.write_tlv(Tlv::by_name(name).unwrap(), &mut out);
            assert_eq!(found.then_some(&out[..]), expected, "{name}");
        }
        for name in ["", "x", "0x", "0x100", "ssl_", "ssl_alpn"] {
            assert_eq!(Tlv::by_name(name), None, "{name}");
        }
    }
}
