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
        Self { points: points.into(), names }
    }

    /// The first point at or behind a hash; behind the last one the count of all, which means the first.
    pub(crate) fn find(&self, hash: u32) -> u32 {
        u32::try_from(self.points.partition_point(|(at, _)| *at < hash)).unwrap_or(0)
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
