//! The PROXY protocol's header as we write it towards upstreams (versions 1 and 2 of HAProxy's document).

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::command::Address;
use crate::config::SendProxyProtocol;

/// What a header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The header for a client that is connected to `local`. Where both are not of one family of IP, or there is no client,
/// it says so.
pub(crate) fn write(version: SendProxyProtocol, ends: Option<(&Address, &Address)>) -> Vec<u8> {
    let ends = match ends {
        Some((Address::Ip(client), Address::Ip(local))) if client.is_ipv4() == local.is_ipv4() => {
            Some((*client, *local))
        }
        Some(_) | None => None,
    };
    match version {
        SendProxyProtocol::V1 => first(ends),
        SendProxyProtocol::V2 => second(ends),
    }
}

fn first(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((client, local)) = ends else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (ip, own) = (client.ip(), local.ip());
    alloc::format!("PROXY {family} {ip} {own} {} {}\r\n", client.port(), local.port()).into_bytes()
}

fn second(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    let Some((client, local)) = ends else {
        // LOCAL: nobody is spoken for.
        out.extend_from_slice(&[0x20, 0, 0, 0]);
        return out;
    };
    let mut body = Vec::new();
    for end in [client, local] {
        match end {
            SocketAddr::V4(end) => body.extend_from_slice(&end.ip().octets()),
            SocketAddr::V6(end) => body.extend_from_slice(&end.ip().octets()),
        }
    }
    body.extend_from_slice(&client.port().to_be_bytes());
    body.extend_from_slice(&local.port().to_be_bytes());
    let family = if client.is_ipv4() { 0x11 } else { 0x21 };
    out.extend_from_slice(&[0x21, family]);
    out.extend_from_slice(&u16::try_from(body.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::proxy_protocol::{Parsed, parse};

    #[test]
    fn what_is_written_is_what_is_read() {
        let ip = |text: &str| Address::Ip(text.parse().unwrap_or_else(|error| panic!("{error}")));
        let unix = Address::Unix("/s".into());
        for version in [SendProxyProtocol::V1, SendProxyProtocol::V2] {
            for (client, local) in [("192.0.2.1:4660", "10.0.0.1:80"), ("[2001:db8::1]:1", "[::1]:2")] {
                let (client, local) = (ip(client), ip(local));
                let header = write(version, Some((&client, &local)));
                let Parsed::Complete { header: Some(found), len } = parse(&header) else {
                    panic!("{}", header.escape_ascii())
                };
                assert_eq!(len, header.len());
                let shown = |ip: &[u8], port| (alloc::string::String::from_utf8_lossy(ip).into_owned(), port);
                let of = |address: &Address| match address {
                    Address::Ip(address) => (alloc::format!("{}", address.ip()), address.port()),
                    Address::Unix(_) => panic!("no IP"),
                };
                assert_eq!(shown(&found.source, found.source_port), of(&client));
                assert_eq!(shown(&found.server, found.server_port), of(&local));
            }
            let (four, six) = (ip("192.0.2.1:1"), ip("[::1]:2"));
            for ends in [None, Some((&four, &six)), Some((&unix, &unix))] {
                let header = write(version, ends);
                assert_eq!(parse(&header), Parsed::Complete { header: None, len: header.len() });
            }
        }
    }
}
