//! nginx's smooth weighted round robin.
//!
//! Each turn every usable server gains its effective weight, the richest one is chosen and pays the sum of all. With
//! weights 5, 1, 1 the order is a a b a c a a. A failure lowers the effective weight; each turn heals it by one.
//!
//! Done literally that is a walk over all servers for each request. But servers of the same weight gain the same, so
//! among them the richest stays the richest until it pays: [`Turn`] keeps a queue for each weight that occurs and looks
//! at the heads only. What a server has is `key + weight · turns`, so a turn changes nothing but a counter. The order is
//! the same as nginx's to the last request. Whatever is not plain (a second try, a lowered weight, a slow start) is done
//! literally, on the same numbers.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::Tier;
use crate::time::Instant;
use crate::upstream::Tried;
use crate::upstream::server::Server;

/// After so many turns the numbers are written back, so that they cannot grow without end.
const TURNS_MAX: i64 = 1 << 16;

/// Whose turn it is, while all servers have their whole weight.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    queues: Vec<Queue>,
    /// The weights of all together.
    total: i64,
    turns: i64,
    /// Whether the queues hold.
    valid: bool,
}

/// The fit servers of one weight, the richest first.
#[derive(Debug)]
struct Queue {
    weight: i64,
    servers: VecDeque<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// What it had when the turns began to count.
    key: i64,
    /// Its place in the configuration's order, which decides between equals.
    rank: usize,
    /// Its place in the group's list.
    place: usize,
}

impl Entry {
    const fn order(&self) -> (Reverse<i64>, usize) {
        (Reverse(self.key), self.rank)
    }
}

/// Chooses the next server.
pub(crate) fn choose(tier: &mut Tier, servers: &mut [Server], tried: &Tried, now: Instant) -> Option<usize> {
    if tier.turn.valid && tried.is_empty() {
        if tier.turn.turns >= TURNS_MAX {
            tier.turn.write_back(servers);
            tier.turn.set_up(&tier.order, servers);
        }
        return tier.turn.next();
    }
    tier.turn.write_back(servers);
    let chosen = walk(tier, servers, tried, now);
    let plain = |server: &Server| !server.fit || server.effective_weight == server.weight();
    if !tier.warming && tier.order.iter().filter_map(|place| servers.get(*place)).all(plain) {
        tier.turn.set_up(&tier.order, servers);
    }
    chosen
}

/// nginx's own loop.
fn walk(tier: &Tier, servers: &mut [Server], tried: &Tried, now: Instant) -> Option<usize> {
    choose_among(&tier.order, servers, now, |place, server| server.fit && !tried.contains(place))
}

/// One turn among those servers that `usable` lets pass.
pub(crate) fn choose_among(
    order: &[usize],
    servers: &mut [Server],
    now: Instant,
    usable: impl Fn(usize, &Server) -> bool,
) -> Option<usize> {
    let mut best: Option<(usize, i64)> = None;
    let mut total = 0;
    for place in order {
        let Some(server) = servers.get_mut(*place) else { continue };
        if !usable(*place, server) {
            continue;
        }
        let weight = server.present_weight(now);
        server.current_weight += weight;
        total += weight;
        if server.effective_weight < server.weight() {
            server.effective_weight = (server.effective_weight + server.scale).min(server.weight());
        }
        if best.is_none_or(|(_, most)| server.current_weight > most) {
            best = Some((*place, server.current_weight));
        }
    }
    let (place, _) = best?;
    servers.get_mut(place)?.current_weight -= total;
    Some(place)
}

impl Server {
    /// What it gains in a turn: its effective weight, and of that as much as its slow start allows.
    fn present_weight(&self, now: Instant) -> i64 {
        let warmth = i64::from(self.state.warmth(self.config.slow_start, now));
        if warmth >= i64::from(crate::shared::upstream::server::WARM) {
            return self.effective_weight;
        }
        let ceiling = self.weight() * warmth / i64::from(crate::shared::upstream::server::WARM);
        self.effective_weight.min(ceiling.max(1))
    }
}

impl Turn {
    /// Something has changed: the next choice is done literally.
    pub(crate) fn interrupt(&mut self, servers: &mut [Server]) {
        self.write_back(servers);
    }

    fn next(&mut self) -> Option<usize> {
        self.turns += 1;
        let mut best: Option<(i64, usize, usize)> = None;
        for (n, queue) in self.queues.iter().enumerate() {
            let Some(head) = queue.servers.front() else { continue };
            let has = head.key + queue.weight * self.turns;
            if best.is_none_or(|(most, rank, _)| (has, Reverse(head.rank)) > (most, Reverse(rank))) {
                best = Some((has, head.rank, n));
            }
        }
        let (_, _, n) = best?;
        let queue = self.queues.get_mut(n)?;
        let mut entry = queue.servers.pop_front()?;
        entry.key -= self.total;
        let place = entry.place;
        queue.put(entry);
        Some(place)
    }

    fn write_back(&mut self, servers: &mut [Server]) {
        if !core::mem::take(&mut self.valid) {
            return;
        }
        for queue in &self.queues {
            for entry in &queue.servers {
                if let Some(server) = servers.get_mut(entry.place) {
                    server.current_weight = entry.key + queue.weight * self.turns;
                }
            }
        }
    }

    fn set_up(&mut self, order: &[usize], servers: &[Server]) {
        self.queues.clear();
        (self.total, self.turns, self.valid) = (0, 0, true);
        for (rank, place) in order.iter().enumerate() {
            let Some(server) = servers.get(*place).filter(|server| server.fit) else { continue };
            let weight = server.weight();
            self.total += weight;
            let entry = Entry { key: server.current_weight, rank, place: *place };
            match self.queues.iter_mut().find(|queue| queue.weight == weight) {
                Some(queue) => queue.servers.push_back(entry),
                None => self.queues.push(Queue { weight, servers: VecDeque::from([entry]) }),
            }
        }
        for queue in &mut self.queues {
            queue.servers.make_contiguous().sort_unstable_by_key(Entry::order);
        }
    }
}

impl Queue {
    /// Puts a server back that has paid: at the end, but for the first rounds after a change.
    fn put(&mut self, entry: Entry) {
        if self.servers.back().is_none_or(|last| last.order() < entry.order()) {
            return self.servers.push_back(entry);
        }
        let at = self.servers.partition_point(|other| other.order() < entry.order());
        self.servers.insert(at, entry);
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::exchange::context::Random;
    use crate::upstream::fixture::{at, group, order};
    use crate::upstream::{Group, Outcome, Pick};

    #[test]
    fn weights_are_spread_smoothly() {
        let mut group = group(&[5, 1, 1], |_, _| {});
        assert_eq!(order(&mut group, 14, at(1), |_| Outcome::Success), "aabacaaaabacaa");
    }

    #[test]
    fn a_failed_server_is_out_for_its_time_and_comes_back() {
        let mut group = group(&[1, 1, 1, 1], |n, server| server.backup = n == 3);
        let fails_b = |n| if n == 1 { Outcome::Failure } else { Outcome::Success };
        assert_eq!(order(&mut group, 6, at(1), fails_b), "abccac");
        assert!(!order(&mut group, 4, at(10), fails_b).contains('b'));
        assert_eq!(order(&mut group, 6, at(12), |_| Outcome::Success), "acabca");
        // The backup is asked only when all the others were.
        let mut pick = Pick::default();
        let asked: Vec<_> =
            core::iter::from_fn(|| group.choose(&mut pick, &mut Random::new(1), at(30))).collect();
        assert_eq!((asked.len(), asked.last()), (4, Some(&3)));
    }

    /// nginx's loop on plain numbers, as the measure of the queues.
    struct Literal(Vec<(i64, i64, i64, bool)>);

    impl Literal {
        fn next(&mut self) -> Option<usize> {
            let mut total = 0;
            let mut best: Option<usize> = None;
            for n in 0..self.0.len() {
                let (weight, effective, current, fit) = &mut self.0[n];
                if !*fit {
                    continue;
                }
                *current += *effective;
                total += *effective;
                if effective < weight {
                    *effective += 1;
                }
                let current = *current;
                if best.is_none_or(|best| current > self.0[best].2) {
                    best = Some(n);
                }
            }
            self.0[best?].2 -= total;
            best
        }
    }

    #[test]
    fn the_queues_give_the_literal_order_through_failures_and_recoveries() {
        let mut random = Random::new(9);
        for round in 0..60 {
            let count = 2 + round % 11;
            let weights: Vec<u32> = (0..count).map(|_| 1 + random.next() as u32 % 4).collect();
            let mut group = group(&weights, |_, server| server.max_fails = 2);
            let literal = weights.iter().map(|w| (i64::from(*w), i64::from(*w), 0, true)).collect();
            let mut literal = Literal(literal);
            let mut fails = alloc::vec![0; count];
            let (mut got, mut want) = (String::new(), String::new());
            for _ in 0..400 {
                let Some(n) = group.choose(&mut Pick::default(), &mut random, at(5)) else { break };
                let failed = random.next().is_multiple_of(40);
                group.settle(n, if failed { Outcome::Failure } else { Outcome::Neutral }, at(5));
                let expected = literal.next().expect("a server is left");
                got.push(char::from(b'a' + n as u8));
                want.push(char::from(b'a' + expected as u8));
                if failed {
                    fails[n] += 1;
                    let server = &mut literal.0[expected];
                    server.1 = (server.1 - server.0 / 2).max(0);
                    server.3 = fails[n] < 2;
                }
            }
            assert_eq!(got, want, "weights {weights:?}");
        }
    }

    #[test]
    fn what_one_worker_sees_fail_the_others_do_not_ask() {
        let mut here = group(&[1, 1, 1], |_, _| {});
        let mut there = crate::upstream::fixture::beside(&here);
        assert_eq!(order(&mut there, 3, at(1), |_| Outcome::Success), "abc");
        order(&mut here, 2, at(1), |n| if n == 1 { Outcome::Failure } else { Outcome::Success });
        assert_eq!(order(&mut there, 4, at(2), |_| Outcome::Success), "acac");
        // One of them tries it again, and the other waits for the verdict.
        let probe = |group: &mut Group| {
            let mut pick = Pick::default();
            core::iter::from_fn(|| group.choose(&mut pick, &mut Random::new(1), at(12))).any(|n| n == 1)
        };
        assert!(probe(&mut here));
        assert!(!probe(&mut there));
        here.settle(1, Outcome::Success, at(12));
        assert!(order(&mut there, 3, at(12), |_| Outcome::Success).contains('b'));
    }
}
