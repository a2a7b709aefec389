//! The server with the least of something for its weight: what `least_conn` and `least_time` have in common.
//!
//! Among few servers, and for a request's second try, this is nginx's walk over all of them; equals take turns by the
//! smooth round robin. Among many it is a tournament: a tree whose nodes name the better of two servers, so that a change
//! of one server's load replays its own path only. Loads also change on other workers: every choice looks at a few servers
//! again, one after the other, and at the winner itself before it is taken. Equals there take turns by how much they were
//! given for their weight.

use alloc::vec::Vec;

use super::{Tier, round_robin};
use crate::time::Instant;
use crate::upstream::Tried;
use crate::upstream::server::Server;

/// Up to so many servers are walked over.
const WALK_MAX: usize = 16;

/// How many servers each choice looks at again.
const LOOKS: usize = 4;

/// How many winners may turn out to be busier than was known.
const REMATCHES_MAX: usize = 16;

/// The servers of a tier by their load.
#[derive(Debug, Default)]
pub(crate) struct Tournament {
    players: Vec<Player>,
    /// A binary heap's shape: node 1 is the root, the players' leaves follow behind the inner nodes.
    winners: Vec<u32>,
    /// Whom the next choice looks at.
    next: usize,
    valid: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Player {
    /// None where it may not be chosen.
    load: Option<u64>,
    weight: u64,
    /// How often it was chosen since the tree was made.
    served: u64,
}

/// Chooses the server with the least `load` for its weight.
pub(crate) fn choose(
    tier: &mut Tier,
    servers: &mut [Server],
    tried: &Tried,
    now: Instant,
    load: impl Fn(&Server) -> u64,
) -> Option<usize> {
    if tier.order.len() <= WALK_MAX || !tried.is_empty() || tier.warming {
        return walk(tier, servers, tried, now, load);
    }
    let load_of = |rank: usize| {
        let server = tier.order.get(rank).and_then(|place| servers.get(*place))?;
        let may = server.fit && !server.is_full();
        Some((may.then(|| load(server)), server.weight().unsigned_abs()))
    };
    let rank = tier.least.choose(tier.order.len(), load_of)?;
    tier.order.get(rank).copied()
}

/// nginx's loops.
fn walk(
    tier: &Tier,
    servers: &mut [Server],
    tried: &Tried,
    now: Instant,
    load: impl Fn(&Server) -> u64,
) -> Option<usize> {
    let usable = |place: usize, server: &Server| server.fit && !server.is_full() && !tried.contains(place);
    let mut best: Option<(u64, u64, usize)> = None;
    let mut many = false;
    for place in &tier.order {
        let Some(server) = servers.get(*place).filter(|server| usable(*place, server)) else { continue };
        let (has, weight) = (load(server), server.weight().unsigned_abs());
        match best {
            Some((least, of, _)) if !is_less((has, weight), (least, of)) => {
                many |= !is_less((least, of), (has, weight));
            }
            Some(_) | None => (best, many) = (Some((has, weight, *place)), false),
        }
    }
    let (least, of, place) = best?;
    if !many {
        return Some(place);
    }
    let equal = |server: &Server| {
        let other = (load(server), server.weight().unsigned_abs());
        !is_less(other, (least, of)) && !is_less((least, of), other)
    };
    round_robin::choose_among(&tier.order, servers, now, |place, server| {
        usable(place, server) && equal(server)
    })
}

/// Compares loads for weights.
fn is_less(one: (u64, u64), other: (u64, u64)) -> bool {
    // Products of 64 bits by 64 cannot overflow: to check them would cost more than to compare.
    u128::from(one.0).wrapping_mul(u128::from(other.1)) < u128::from(other.0).wrapping_mul(u128::from(one.1))
}

impl Tournament {
    /// What was known of the servers does not hold any more.
    pub(crate) const fn interrupt(&mut self) {
        self.valid = false;
    }

    /// The rank of the least loaded server, which gets one more.
    fn choose(
        &mut self,
        count: usize,
        load_of: impl Fn(usize) -> Option<(Option<u64>, u64)>,
    ) -> Option<usize> {
        if !self.valid || self.players.len() != count {
            self.set_up(count, &load_of);
        }
        for _ in 0..LOOKS {
            self.next = (self.next + 1) % count.max(1);
            self.look(self.next, &load_of);
        }
        for _ in 0..REMATCHES_MAX {
            let rank = *self.winners.get(1)? as usize;
            if !self.look(rank, &load_of) {
                let player = self.players.get_mut(rank)?;
                player.load = Some(player.load?.saturating_add(1));
                player.served += 1;
                self.replay(rank);
                return Some(rank);
            }
        }
        let rank = *self.winners.get(1)? as usize;
        self.players.get(rank)?.load.map(|_| rank)
    }

    /// Looks at a server again. Returns whether its load is another one than was known.
    fn look(&mut self, rank: usize, load_of: impl Fn(usize) -> Option<(Option<u64>, u64)>) -> bool {
        let (Some((load, weight)), Some(player)) = (load_of(rank), self.players.get_mut(rank)) else {
            return false;
        };
        if (player.load, player.weight) == (load, weight) {
            return false;
        }
        (player.load, player.weight) = (load, weight);
        self.replay(rank);
        true
    }

    /// A server's load is another one now.
    pub(crate) fn note(&mut self, server: &Server, load: u64) {
        if self.valid {
            let may = server.fit && !server.is_full();
            self.look(server.rank, |_| Some((may.then_some(load), server.weight().unsigned_abs())));
        }
    }

    fn set_up(&mut self, count: usize, load_of: impl Fn(usize) -> Option<(Option<u64>, u64)>) {
        let player = |rank| {
            let (load, weight) = load_of(rank).unwrap_or((None, 1));
            Player { load, weight, served: 0 }
        };
        self.players = (0..count).map(player).collect();
        let leaves = count.next_power_of_two();
        self.winners = alloc::vec![u32::MAX; 2 * leaves];
        for rank in 0..count {
            if let Some(leaf) = self.winners.get_mut(leaves + rank) {
                *leaf = u32::try_from(rank).unwrap_or(u32::MAX);
            }
        }
        for node in (1..leaves).rev() {
            self.play(node);
        }
        self.valid = true;
    }

    /// Plays the matches of one server again, from its leaf towards the root: up to the first that is won as before, and
    /// not by this server.
    fn replay(&mut self, rank: usize) {
        let mut node = (self.winners.len() / 2 + rank) / 2;
        while node > 0 {
            let before = self.winners.get(node).copied();
            let winner = self.play(node);
            if Some(winner) == before && winner as usize != rank {
                return;
            }
            node /= 2;
        }
    }

    fn play(&mut self, node: usize) -> u32 {
        let side = |n: usize| self.winners.get(n).copied().unwrap_or(u32::MAX);
        let (one, other) = (side(2 * node), side(2 * node + 1));
        let winner = if self.beats(other, one) { other } else { one };
        if let Some(slot) = self.winners.get_mut(node) {
            *slot = winner;
        }
        winner
    }

    fn beats(&self, one: u32, other: u32) -> bool {
        let Some(one) = self.players.get(one as usize) else { return false };
        let Some(other) = self.players.get(other as usize) else { return true };
        match (one.load, other.load) {
            (Some(a), Some(b)) => {
                let less = is_less((a, one.weight), (b, other.weight));
                let equal = !less && !is_less((b, other.weight), (a, one.weight));
                less || (equal && is_less((one.served, one.weight), (other.served, other.weight)))
            }
            (Some(_), None) => true,
            (None, Some(_) | None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_finds_what_a_walk_finds() {
        let mut random = crate::exchange::context::Random::new(3);
        for count in [1_usize, 2, 17, 100] {
            let mut loads: Vec<u64> = (0..count).map(|_| random.next() % 50).collect();
            let mut tree = Tournament::default();
            for _ in 0..500 {
                let rank = tree.choose(count, |rank| Some((Some(loads[rank]), 1))).expect("somebody");
                assert_eq!(loads[rank], *loads.iter().min().expect("somebody"));
                loads[rank] += 1;
                // One of ours ends.
                let ends = random.next() as usize % count;
                loads[ends] = loads[ends].saturating_sub(1 + random.next() % 3);
                tree.look(ends, |rank| Some((Some(loads[rank]), 1)));
            }
        }
    }

    #[test]
    fn equals_take_turns_by_their_weights_and_the_unfit_are_left_out() {
        let mut tree = Tournament::default();
        let mut served = [0; 4];
        for _ in 0..600 {
            let load = |rank: usize| Some(((rank != 3).then_some(0), [1, 2, 3, 9][rank]));
            let rank = tree.choose(4, load).expect("somebody");
            served[rank] += 1;
            tree.look(rank, load);
        }
        assert_eq!(served, [100, 200, 300, 0]);
        assert_eq!(tree.choose(4, |_| Some((None, 1))), None);
    }
}
