//! `hash key consistent`: ketama. Each server has 160 points on a circle for each unit of its weight, and a key belongs to
//! the first point at or behind its hash: when a server goes only its keys move. The points are nginx's, which took them
//! from Cache::Memcached::Fast.

use alloc::vec::Vec;

use super::{Tier, round_robin};
use crate::shared::upstream::Ring;
use crate::time::Instant;
use crate::upstream::Pick;
use crate::upstream::server::Server;

/// How many points are passed by before the round robin decides.
const TRIES_MAX: u32 = 20;

/// Chooses the server of the request's key.
pub(crate) fn choose(
    ring: &Ring,
    tier: &mut Tier,
    servers: &mut [Server],
    pick: &mut Pick,
    now: Instant,
) -> Option<usize> {
    while pick.hash_tries <= TRIES_MAX && tier.order.len() > 1 && !pick.key.is_empty() {
        let at = pick.hash.unwrap_or_else(|| ring.find(crc32fast::hash(&pick.key)));
        pick.hash = Some(at);
        // A name with several addresses has its points once: its servers take turns.
        let namesakes = ring.name_at(at).and_then(|name| tier.namesakes.get(name));
        let namesakes = namesakes.map_or::<&[usize], _>(&[], Vec::as_slice);
        let usable =
            |place: usize, server: &Server| server.fit && !server.is_full() && !pick.tried.contains(place);
        let chosen = round_robin::choose_among(namesakes, servers, now, usable);
        if chosen.is_some() {
            return chosen;
        }
        pick.hash = Some(at.wrapping_add(1));
        pick.hash_tries += 1;
    }
    round_robin::choose(tier, servers, &pick.tried, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Balance;
    use crate::exchange::context::Random;
    use crate::upstream::fixture::{at, with};
    use crate::upstream::{Group, Outcome};

    fn owners(group: &mut Group) -> Vec<usize> {
        let mut random = Random::new(1);
        let mut owner = |key: u32| {
            let mut pick = Pick { key: key.to_be_bytes().as_slice().into(), ..Pick::default() };
            let place = group.choose(&mut pick, &mut random, at(1)).expect("a server");
            group.settle(place, Outcome::Success, at(1));
            place
        };
        (0..2000).map(&mut owner).collect()
    }

    #[test]
    fn only_the_keys_of_a_server_that_goes_move() {
        let mut group = with(Balance::HashConsistent, &[1, 1, 2, 1], |_, _| {});
        let before = owners(&mut group);
        assert!((0..4).all(|n| before.iter().filter(|owner| **owner == n).count() > 200));
        group.shared.clone().change(1, at(1), |server| server.down = true);
        let after = owners(&mut group);
        assert!(before.iter().zip(&after).all(|(before, after)| before == after || *before == 1));
    }
}
