//! Addresses to values: any number of overlapping ranges, compiled at load into ranges that do not overlap.
//!
//! A look-up is one binary search, however the ranges came about: `allow` and `deny` in order of appearance, `geo` by
//! longest prefix, a list of proxies. Whoever builds a table inserts the weaker ranges first.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address; unlike Rust, nginx lets the numbers of IPv4 begin with zeros.
#[must_use]
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let mut octets = text.split('.').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u8>().ok().filter(|_| digits)
    });
    let address = Ipv4Addr::new(octets.next()??, octets.next()??, octets.next()??, octets.next()??);
    octets.next().is_none().then_some(IpAddr::V4(address))
}

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cidr {
    /// IPv4; at most 32 bits.
    V4(Ipv4Addr, u8),
    /// IPv6; at most 128 bits.
    V6(Ipv6Addr, u8),
}

impl Cidr {
    /// The network of this address alone.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address, 32),
            IpAddr::V6(address) => Self::V6(address, 128),
        }
    }

    /// How many leading bits count.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        match self {
            Self::V4(_, prefix) | Self::V6(_, prefix) => prefix,
        }
    }

    /// The network with the bits that do not count cleared.
    #[must_use]
    pub fn masked(self) -> Self {
        match self {
            Self::V4(address, prefix) => Self::V4(Ipv4Addr::from_bits(first_v4(address, prefix)), prefix),
            Self::V6(address, prefix) => Self::V6(Ipv6Addr::from_bits(first_v6(address, prefix)), prefix),
        }
    }
}

/// The bits of an IPv4 address that do not count.
fn host_bits_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)
}

fn host_bits_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)
}

fn first_v4(address: Ipv4Addr, prefix: u8) -> u32 {
    address.to_bits() & !host_bits_v4(prefix)
}

fn first_v6(address: Ipv6Addr, prefix: u8) -> u128 {
    address.to_bits() & !host_bits_v6(prefix)
}

/// What an IPv4 or IPv6 address stands for, if anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressTable<T> {
    v4: Ranges<u32, T>,
    v6: Ranges<u128, T>,
}

impl<T: Copy + PartialEq> AddressTable<T> {
    /// The value of an address.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<T> {
        match address {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        }
    }

    /// Whether no IPv4 address has a value.
    #[must_use]
    pub fn has_no_v4(&self) -> bool {
        self.v4.starts.is_empty()
    }
}

/// A table under construction: what is inserted later counts where ranges overlap.
#[derive(Debug)]
pub struct AddressTableBuilder<T> {
    v4: BTreeMap<u32, Option<T>>,
    v6: BTreeMap<u128, Option<T>>,
}

impl<T> Default for AddressTableBuilder<T> {
    fn default() -> Self {
        Self { v4: BTreeMap::new(), v6: BTreeMap::new() }
    }
}

impl<T: Copy + PartialEq> AddressTableBuilder<T> {
    /// Gives a network a value, or takes it away.
    pub fn insert(&mut self, network: Cidr, value: Option<T>) {
        match network {
            Cidr::V4(address, prefix) => {
                let first = first_v4(address, prefix);
                insert(&mut self.v4, first, first | host_bits_v4(prefix), value);
            }
            Cidr::V6(address, prefix) => {
                let first = first_v6(address, prefix);
                insert(&mut self.v6, first, first | host_bits_v6(prefix), value);
            }
        }
    }

    /// Gives all IPv4 addresses from `first` to `last` a value, or takes it away.
    pub fn insert_range(&mut self, first: Ipv4Addr, last: Ipv4Addr, value: Option<T>) {
        insert(&mut self.v4, first.to_bits(), last.to_bits(), value);
    }

    /// Compiles the table.
    #[must_use]
    pub fn build(self) -> AddressTable<T> {
        AddressTable { v4: Ranges::new(self.v4), v6: Ranges::new(self.v6) }
    }
}

/// The keys are where another value begins.
fn insert<A: Bits, T: Copy>(map: &mut BTreeMap<A, Option<T>>, first: A, last: A, value: Option<T>) {
    if first > last {
        return;
    }
    if let Some(after) = last.next() {
        let before = map.range(..=after).next_back().and_then(|(_, value)| *value);
        map.insert(after, before);
    }
    let covered: Vec<A> = map.range(first..=last).map(|(start, _)| *start).collect();
    for start in covered {
        map.remove(&start);
    }
    map.insert(first, value);
}

/// Each start holds until the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ranges<A, T> {
    starts: Box<[A]>,
    values: Box<[Option<T>]>,
}

impl<A: Bits, T: Copy + PartialEq> Ranges<A, T> {
    fn new(map: BTreeMap<A, Option<T>>) -> Self {
        let (mut starts, mut values): (Vec<A>, Vec<Option<T>>) = (Vec::new(), Vec::new());
        for (start, value) in map {
            if values.last().copied().unwrap_or(None) != value {
                starts.push(start);
                values.push(value);
            }
        }
        Self { starts: starts.into(), values: values.into() }
    }

    fn find(&self, address: A) -> Option<T> {
        let at = self.starts.partition_point(|start| *start <= address).checked_sub(1)?;
        self.values.get(at).copied().flatten()
    }
}

/// An address as a number.
trait Bits: Copy + Ord {
    fn next(self) -> Option<Self>;
}

impl Bits for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Bits for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        let (address, prefix) = text.split_once('/').unwrap();
        let prefix = prefix.parse().unwrap();
        match address.parse().unwrap() {
            IpAddr::V4(address) => Cidr::V4(address, prefix),
            IpAddr::V6(address) => Cidr::V6(address, prefix),
        }
    }

    #[test]
    fn what_came_later_counts_and_the_edges_are_exact() {
        let mut builder = AddressTableBuilder::default();
        for (network, value) in [
            ("0.0.0.0/0", Some(0)),
            ("10.0.0.0/8", Some(1)),
            ("10.1.2.3/16", Some(2)),
            ("10.1.2.3/32", Some(3)),
            ("10.1.128.0/17", None),
            ("255.255.255.255/32", Some(4)),
            ("2001:db8::/32", Some(5)),
            ("2001:db8::1/128", Some(6)),
            ("ffff::/16", Some(7)),
        ] {
            builder.insert(cidr(network), value);
        }
        builder.insert_range([9, 255, 255, 255].into(), [10, 0, 0, 0].into(), Some(8));
        let table = builder.build();
        for (address, value) in [
            ("0.0.0.0", Some(0)),
            ("9.255.255.254", Some(0)),
            ("9.255.255.255", Some(8)),
            ("10.0.0.0", Some(8)),
            ("10.0.0.1", Some(1)),
            ("10.0.255.255", Some(1)),
            ("10.1.0.0", Some(2)),
            ("10.1.2.3", Some(3)),
            ("10.1.2.4", Some(2)),
            ("10.1.127.255", Some(2)),
            ("10.1.128.0", None),
            ("10.1.255.255", None),
            ("10.2.0.0", Some(1)),
            ("11.0.0.0", Some(0)),
            ("255.255.255.254", Some(0)),
            ("255.255.255.255", Some(4)),
            ("2001:db7:ffff::", None),
            ("2001:db8::", Some(5)),
            ("2001:db8::1", Some(6)),
            ("2001:db8::2", Some(5)),
            ("2001:db9::", None),
            ("::ffff:10.1.2.3", None),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some(7)),
        ] {
            assert_eq!(table.find(address.parse().unwrap()), value, "{address}");
        }
    }

    /// Against the plain search that the table replaces, over every address of a small world.
    #[test]
    fn agrees_with_a_search_from_the_last_to_the_first() {
        let mut seed = 1_u32;
        let mut random = |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % below
        };
        for _ in 0..200 {
            let mut builder = AddressTableBuilder::default();
            let mut list = Vec::new();
            for _ in 0..random(12) {
                let (a, b) = (random(64), random(64));
                let value = (random(4) > 0).then(|| random(3));
                builder.insert_range(a.min(b).into(), a.max(b).into(), value);
                list.push((a.min(b), a.max(b), value));
            }
            let table = builder.build();
            for address in 0..70_u32 {
                let plain = list.iter().rev().find(|(first, last, _)| (*first..=*last).contains(&address));
                let found = table.find(IpAddr::V4(address.into()));
                assert_eq!(found, plain.and_then(|(_, _, value)| *value), "{address} in {list:?}");
            }
        }
    }
}
