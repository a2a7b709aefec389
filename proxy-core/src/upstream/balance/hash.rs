//! `hash key` and `ip_hash`: the key says which place of the weights laid end to end; where that server cannot be asked
//! the key is hashed again, twenty times at the most, and then it is anybody's turn.
//!
//! The numbers are nginx's, which took them from Cache::Memcached: a site may change over without losing its cache.

use super::{Tier, round_robin};
use crate::time::Instant;
use crate::upstream::Pick;
use crate::upstream::server::Server;

/// How many times a key is hashed before the round robin decides.
const TRIES_MAX: u32 = 20;

/// The next hash of a key: from the hash before (none at first) and the times that it was hashed.
pub(crate) type Next = fn(before: Option<u32>, times: u32, key: &[u8]) -> u32;

/// Chooses the server of the request's key.
pub(crate) fn choose(
    next: Next,
    tier: &mut Tier,
    servers: &mut [Server],
    pick: &mut Pick,
    now: Instant,
) -> Option<usize> {
    while pick.hash_tries <= TRIES_MAX && tier.order.len() > 1 && !pick.key.is_empty() {
        let hash = next(pick.hash, pick.hash_times, &pick.key);
        pick.hash = Some(hash);
        pick.hash_times += 1;
        if let Some(place) = tier.at_weight(u64::from(hash))
            && !pick.tried.contains(place)
            && servers.get(place).is_some_and(|server| server.fit && !server.is_full())
        {
            return Some(place);
        }
        pick.hash_tries += 1;
    }
    round_robin::choose(tier, servers, &pick.tried, now)
}

/// `hash key`: the sum of crc32 of the count of hashes so far (none at first) and the key, 15 bits of each.
pub(crate) fn by_key(before: Option<u32>, times: u32, key: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    if times > 0 {
        let mut digits = smallvec::SmallVec::<[u8; 16]>::new();
        let mut rest = times;
        while rest > 0 {
            digits.push(b'0' + (rest % 10) as u8);
            rest /= 10;
        }
        digits.reverse();
        crc.update(&digits);
    }
    crc.update(key);
    before.unwrap_or(0).wrapping_add((crc.finalize() >> 16) & 0x7fff)
}

/// `ip_hash`: the key is the first three bytes of an IPv4 address, or all of an IPv6 address.
pub(crate) fn by_address(before: Option<u32>, _times: u32, key: &[u8]) -> u32 {
    key.iter().fold(before.unwrap_or(89), |hash, byte| (hash * 113 + u32::from(*byte)) % 6271)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Balance;
    use crate::exchange::context::Random;
    use crate::upstream::fixture::{at, with};

    #[test]
    fn a_key_keeps_its_server_and_goes_elsewhere_only_while_that_is_out() {
        let mut group = with(Balance::IpHash, &[1, 2, 1], |_, _| {});
        let mut random = Random::new(1);
        let mut ask = |key: &[u8]| {
            let mut pick = Pick { key: key.into(), ..Pick::default() };
            let first = group.choose(&mut pick, &mut random, at(1));
            let second = group.choose(&mut pick, &mut random, at(1));
            for place in first.iter().chain(&second) {
                group.settle(*place, crate::upstream::Outcome::Success, at(1));
            }
            (first, second)
        };
        let mut seen = [0; 3];
        for a in 0..=255_u8 {
            let (first, second) = ask(&[10, 0, a]);
            assert_eq!(ask(&[10, 0, a]).0, first);
            assert_ne!(first, second);
            seen[first.expect("a server")] += 1;
        }
        assert!(seen[1] > 96 && seen[1] < 160 && seen[0] > 32 && seen[2] > 32, "{seen:?}");
    }
}
