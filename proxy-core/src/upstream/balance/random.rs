//! `random [two [least_conn | least_time=header | least_time=last_byte]]`: by weight at random, or the better of two.

use super::{Tier, least_conn, least_time, round_robin};
use crate::config::RandomTwo;
use crate::exchange::context::Random;
use crate::time::Instant;
use crate::upstream::Tried;
use crate::upstream::server::Server;

/// How many draws may fail before the round robin decides.
const TRIES_MAX: u32 = 20;

/// Chooses the next server.
pub(crate) fn choose(
    two: Option<RandomTwo>,
    tier: &mut Tier,
    servers: &mut [Server],
    tried: &Tried,
    random: &mut Random,
    now: Instant,
) -> Option<usize> {
    let mut first: Option<usize> = None;
    for _ in 0..TRIES_MAX {
        let place = tier.total_weight().and_then(|total| tier.at_weight(random.next() % total))?;
        let Some(server) = servers.get(place) else { continue };
        if tried.contains(place) || !server.fit || server.is_full() || first == Some(place) {
            continue;
        }
        let Some(two) = two else { return Some(place) };
        match first.and_then(|n| servers.get(n).map(|server| (n, server))) {
            // nginx asks the second one unless it has more to do.
            Some((n, other)) => return Some(if is_better(two, other, server, now) { n } else { place }),
            None => first = Some(place),
        }
    }
    // Where only one is left, two cannot be drawn.
    first.or_else(|| round_robin::choose(tier, servers, tried, now))
}

fn is_better(two: RandomTwo, one: &Server, other: &Server, now: Instant) -> bool {
    let load = |server: &Server| match two {
        RandomTwo::LeastConn => least_conn::load(server),
        RandomTwo::LeastTime(by) => least_time::estimate(by, server, now),
    };
    let share = |load: u64, server: &Server| u128::from(load) * u128::from(server.weight().unsigned_abs());
    share(load(one), other) < share(load(other), one)
}

#[cfg(test)]
mod tests {
    use crate::config::{Balance, RandomTwo};
    use crate::exchange::context::Random;
    use crate::upstream::fixture::{at, with};
    use crate::upstream::{Outcome, Pick};

    #[test]
    fn draws_follow_the_weights_and_leave_out_who_is_out() {
        let mut random = Random::new(5);
        let mut group = with(Balance::Random(None), &[1, 3, 5], |n, server| server.down = n == 2);
        let mut seen = [0; 3];
        for _ in 0..4000 {
            let n = group.choose(&mut Pick::default(), &mut random, at(1)).expect("a server");
            group.settle(n, Outcome::Success, at(1));
            seen[n] += 1;
        }
        assert!(seen[2] == 0 && seen[0] > 880 && seen[0] < 1120, "{seen:?}");
    }

    #[test]
    fn of_two_the_one_with_less_to_do() {
        let mut random = Random::new(5);
        let mut group = with(Balance::Random(Some(RandomTwo::LeastConn)), &[1; 50], |_, _| {});
        for _ in 0..500 {
            group.choose(&mut Pick::default(), &mut random, at(1)).expect("a server");
        }
        let most = group.shared.members().servers.iter().map(|member| member.state.active()).max();
        // Plain draws would give some server 19 or more.
        assert!(most.is_some_and(|most| most <= 13), "{most:?}");
    }
}
