//! Who is behind our own proxies? The last address of a list like X-Forwarded-For that they do not vouch for.
//!
//! Reference: nginx's `ngx_http_get_forwarded_addr`, which realip and `geo` share.

use core::net::{IpAddr, SocketAddr};

use super::table::{AddressTable, parse_ip};
use crate::command::Address;

/// Proxies that are believed.
#[derive(Clone, Debug)]
pub struct Proxies {
    /// Their networks.
    pub addresses: AddressTable<()>,
    /// Whoever comes through a Unix socket.
    pub unix: bool,
}

impl Proxies {
    /// Whether this one is believed. A mapped address counts as the IPv4 address that it is.
    #[must_use]
    pub fn include(&self, address: &Address) -> bool {
        match address {
            Address::Ip(address) => self.addresses.find(address.ip().to_canonical()).is_some(),
            Address::Unix(_) => self.unix,
        }
    }

    /// The client that these fields, the last one last, say is behind `peer`; nothing if they are not believed or name
    /// none. With `recursive` each address that is a proxy of ours is believed in its turn.
    pub(crate) fn client_of<'a>(
        &self,
        peer: &Address,
        fields: impl DoubleEndedIterator<Item = &'a [u8]>,
        recursive: bool,
    ) -> Option<SocketAddr> {
        let mut found = None;
        for field in fields.rev() {
            let (address, whole) = self.look_into(found, peer, field, recursive);
            found = address.or(found);
            if !recursive || !whole {
                break;
            }
        }
        found
    }

    /// The client by one field, and whether all of the field was believed.
    fn look_into(
        &self,
        nearer: Option<SocketAddr>,
        peer: &Address,
        field: &[u8],
        recursive: bool,
    ) -> (Option<SocketAddr>, bool) {
        let mut present = nearer.map_or_else(|| peer.clone(), Address::Ip);
        let (mut found, mut rest) = (None, field);
        // Bounded by the field's length: each turn takes a word off it.
        loop {
            if !self.include(&present) {
                return (found, false);
            }
            let (before, word) = last_word(rest);
            let Some(address) = parse(word) else { return (found, false) };
            found = Some(address);
            present = Address::Ip(address);
            let Some(before) = before.filter(|_| recursive) else { return (found, true) };
            rest = before;
        }
    }
}

/// The last word and what stands before it, if anything does. Commas and blanks are between words.
fn last_word(list: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let between = |byte: &u8| matches!(byte, b' ' | b',');
    let end = list.iter().rposition(|byte| !between(byte)).map_or(list.len().min(1), |last| last + 1);
    let list = list.get(..end).unwrap_or_default();
    match list.iter().rposition(between) {
        Some(at) if at > 0 => (list.get(..at), list.get(at + 1..).unwrap_or_default()),
        Some(_) | None => (None, list),
    }
}

/// `address`, `address:port` or `[address]:port`; port 0 where none was written.
fn parse(word: &[u8]) -> Option<SocketAddr> {
    let text = core::str::from_utf8(word).ok()?;
    if let Some(address) = parse_ip(text) {
        return Some(SocketAddr::new(address, 0));
    }
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:")?,
        None => text.split_once(':')?,
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|port| digits && *port > 0)?;
    Some(SocketAddr::new(parse_ip(address)?, port))
}

/// `$remote_addr` of an address.
pub(crate) fn text_of(address: IpAddr) -> alloc::boxed::Box<[u8]> {
    alloc::format!("{}", address.to_canonical()).into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::super::table::{AddressTableBuilder, Cidr};
    use super::*;

    #[test]
    fn the_client_behind_the_proxies() {
        let mut builder = AddressTableBuilder::default();
        for (network, prefix) in [([10, 0, 0, 0], 8), ([127, 0, 0, 1], 32)] {
            builder.insert(Cidr::V4(network.into(), prefix), Some(()));
        }
        let proxies = Proxies { addresses: builder.build(), unix: false };
        let local = Address::Ip("127.0.0.1:5".parse().unwrap());
        let mapped = Address::Ip("[::ffff:10.1.1.1]:5".parse().unwrap());
        let stranger = Address::Ip("192.0.2.1:5".parse().unwrap());
        let unix = Address::Unix("".into());
        for (peer, fields, recursive, expected) in [
            (&local, &["192.0.2.7"][..], false, Some("192.0.2.7:0")),
            (&mapped, &["192.0.2.7"], false, Some("192.0.2.7:0")),
            (&stranger, &["192.0.2.7"], false, None),
            (&unix, &["192.0.2.7"], false, None),
            (&local, &["192.0.2.7, 192.0.2.8"], false, Some("192.0.2.8:0")),
            (&local, &["192.0.2.7, 10.0.0.1"], false, Some("10.0.0.1:0")),
            (&local, &["192.0.2.7, 10.0.0.1"], true, Some("192.0.2.7:0")),
            (&local, &["192.0.2.6, 192.0.2.7,10.0.0.1 ,10.0.0.2"], true, Some("192.0.2.7:0")),
            (&local, &["10.0.0.3, 10.0.0.1"], true, Some("10.0.0.3:0")),
            (&local, &["junk, 10.0.0.1"], true, Some("10.0.0.1:0")),
            (&local, &["192.0.2.7, junk"], true, None),
            (&local, &["192.0.2.7, junk"], false, None),
            (&local, &["192.0.2.7", "10.0.0.1"], false, Some("10.0.0.1:0")),
            (&local, &["192.0.2.7", "10.0.0.1"], true, Some("192.0.2.7:0")),
            (&local, &["192.0.2.6", "192.0.2.7", "10.0.0.1"], true, Some("192.0.2.7:0")),
            (&local, &["192.0.2.7:81"], false, Some("192.0.2.7:81")),
            (&local, &["[2001:db8::1]:81"], false, Some("[2001:db8::1]:81")),
            (&local, &["2001:db8::1"], false, Some("[2001:db8::1]:0")),
            (&local, &["[2001:db8::1]"], false, None),
            (&local, &["192.0.2.7:0"], false, None),
            (&local, &["192.0.2.7:65536"], false, None),
            (&local, &["192.0.2.7, ,, "], false, Some("192.0.2.7:0")),
            (&local, &[","], true, None),
            (&local, &[""], true, None),
            (&local, &[], true, None),
        ] {
            let found = proxies.client_of(peer, fields.iter().map(|field| field.as_bytes()), recursive);
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(found, expected, "{fields:?} {recursive}");
        }
    }
}
