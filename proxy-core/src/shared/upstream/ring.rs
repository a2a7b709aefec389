//! ketama's circle of points, as nginx lays it out for `hash … consistent`.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// How many points a server has for each unit of its weight.
const POINTS: u32 = 160;

/// The points of a group's servers. Servers of one name have theirs in common.
#[derive(Debug, Default)]
pub struct Ring {
    /// Where each point is, and whose it is.
    points: Box<[(u32, u32)]>,
    /// The circle in arcs of the same length, about as many as points: which point is the first in each, and the count of
    /// all points. So a look-up costs the same however many points there are.
    arcs: Box<[u32]>,
    /// How many bits of a hash are its place in its arc.
    arc_bits: u32,
    names: BTreeMap<Box<str>, u32>,
}

impl Ring {
    /// The ring of servers of these names, as their `server` lines have them, and weights.
    pub fn new<'a>(servers: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let mut names: BTreeMap<Box<str>, u32> = BTreeMap::new();
        let mut points: Vec<(u32, u32)> = Vec::new();
        for (name, weight) in servers {
            let next = u32::try_from(names.len()).unwrap_or(u32::MAX);
            let index = *names.entry(name.into()).or_insert(next);
            let base = base(name);
            let mut before = 0_u32;
            for _ in 0..weight.saturating_mul(POINTS).min(POINTS_MAX) {
                let mut crc = base.clone();
                crc.update(&before.to_le_bytes());
                before = crc.finalize();
                points.push((before, index));
            }
        }
        points.sort_by_key(|(at, _)| *at);
        points.dedup_by_key(|(at, _)| *at);
        let arc_bits = u32::BITS - points.len().next_power_of_two().ilog2().min(ARCS_BITS_MAX);
        let mut arcs = Vec::new();
        for (number, (at, _)) in (0_u32..).zip(&points) {
            arcs.resize(arcs.len().max(arc(*at, arc_bits) + 1), number);
        }
        arcs.resize(arc(u32::MAX, arc_bits) + 2, u32::try_from(points.len()).unwrap_or(0));
        Self { points: points.into(), arcs: arcs.into(), arc_bits, names }
    }

    /// The first point at or behind a hash; behind the last one the count of all, which means the first.
    pub(crate) fn find(&self, hash: u32) -> u32 {
        let arc = arc(hash, self.arc_bits);
        let Some([first, next]) = self.arcs.get(arc..arc + 2) else { return 0 };
        let within = self.points.get(*first as usize..*next as usize).unwrap_or_default();
        first + u32::try_from(within.partition_point(|(at, _)| *at < hash)).unwrap_or(0)
    }

    /// Whose the point of this number is, counted round and round.
    pub(crate) fn name_at(&self, point: u32) -> Option<usize> {
        let count = self.points.len();
        let (_, name) = self.points.get((point as usize).checked_rem(count)?)?;
        Some(*name as usize)
    }

    /// The number of a name.
    pub(crate) fn name_of(&self, name: &str) -> Option<usize> {
        self.names.get(name).map(|name| *name as usize)
    }

    /// How many names there are.
    pub(crate) fn names(&self) -> usize {
        self.names.len()
    }
}

/// No server has more points, whatever its weight: a ring must fit in memory.
const POINTS_MAX: u32 = 1 << 20;

/// There are no more arcs than two to the power of this.
const ARCS_BITS_MAX: u32 = 20;

/// The arc that a hash lies in.
fn arc(hash: u32, arc_bits: u32) -> usize {
    hash.checked_shr(arc_bits).unwrap_or(0) as usize
}

/// The crc32 of host, zero byte and port, still open: a port is what digits follow the last colon, and a Unix socket has
/// none.
fn base(name: &str) -> crc32fast::Hasher {
    let unix = name.get(..5).filter(|prefix| prefix.eq_ignore_ascii_case("unix:"));
    let (host, port) = match (unix, name.rsplit_once(':')) {
        (Some(_), _) => (name.get(5..).unwrap_or_default(), ""),
        (None, Some((host, port))) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        (None, _) => (name, ""),
    };
    let mut crc = crc32fast::Hasher::new();
    crc.update(host.as_bytes());
    crc.update(b"\0");
    crc.update(port.as_bytes());
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_by_arcs_finds_what_a_search_of_all_points_finds() {
        for servers in [0_u32, 1, 2, 7, 300] {
            let names: Vec<_> = (0..servers).map(|n| alloc::format!("10.0.0.{n}:80")).collect();
            let ring = Ring::new(names.iter().zip(1..).map(|(name, weight)| (&**name, 1 + weight % 3)));
            let edges = ring.points.iter().flat_map(|(at, _)| [at.wrapping_sub(1), *at, at.wrapping_add(1)]);
            for hash in edges.chain([0, 1, u32::MAX, u32::MAX - 1]) {
                let expected = ring.points.partition_point(|(at, _)| *at < hash);
                assert_eq!(ring.find(hash) as usize, expected, "{servers} servers, {hash}");
            }
        }
    }
}
