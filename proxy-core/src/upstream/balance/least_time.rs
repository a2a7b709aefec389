//! `least_time header | last_byte [inflight]`: the server that would be through with all it has, and this request, first.
//!
//! As in nginx the estimate is the average time (in steps of 20 ms, so that servers that are about as fast take turns;
//! five seconds and more are all the same) times the requests under way and this one. A server that was not asked for a
//! while gets another chance: its average counts half as much for each `fail_timeout` that has passed.

use super::{Tier, least};
use crate::config::{LeastTime, Measure};
use crate::time::Instant;
use crate::upstream::Tried;
use crate::upstream::server::Server;

/// Times that differ by less are equal, in milliseconds.
const STEP_MS: u64 = 20;

/// Longer times are equally bad, in milliseconds.
const TIME_MS_MAX: u64 = 5000;

/// Chooses the next server.
pub(crate) fn choose(
    by: LeastTime,
    tier: &mut Tier,
    servers: &mut [Server],
    tried: &Tried,
    now: Instant,
) -> Option<usize> {
    least::choose(tier, servers, tried, now, |server| estimate(by, server, now))
}

/// How long a server would need for all it has to do and one request more, in milliseconds.
pub(crate) fn estimate(by: LeastTime, server: &Server, now: Instant) -> u64 {
    let us = match by.measure {
        Measure::Header => server.state.header_us(),
        Measure::LastByte => server.state.reply_us(),
    };
    let halvings = server.state.millis_unasked(now) / (server.config.fail_timeout.0 + 1000);
    let halved = u32::try_from(halvings).ok().and_then(|n| us.checked_shr(n)).unwrap_or(0);
    let waited = if by.inflight { server.state.inflight_us(now) } else { 0 };
    let ms = halved.max(waited) / 1000;
    let ms = if ms > TIME_MS_MAX { TIME_MS_MAX } else { ms + STEP_MS - ms % STEP_MS };
    ms * (1 + u64::from(server.state.active()))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::config::Balance;
    use crate::exchange::context::Random;
    use crate::upstream::fixture::{at, with};
    use crate::upstream::{Outcome, Pick};

    #[test]
    fn the_fast_one_gets_what_it_can_do_and_the_slow_one_another_chance_later() {
        let by = LeastTime { measure: Measure::Header, inflight: false };
        let mut group = with(Balance::LeastTime(by), &[1, 1], |_, _| {});
        let mut random = Random::new(1);
        for (n, ms) in [(0, 15), (1, 210)] {
            group.shared.members().servers[n].state.measure_header(ms * 1000);
        }
        let mut ask = |seconds: u64| group.choose(&mut Pick::default(), &mut random, at(seconds));
        // 220 ms against 20 ms for each request under way and the new one.
        let first: Vec<_> = (0..12).filter_map(|_| ask(1)).collect();
        assert_eq!(first.iter().filter(|n| **n == 1).count(), 1, "{first:?}");
        for n in first {
            group.settle(n, Outcome::Neutral, at(1));
        }
        let mut ask = |seconds: u64| group.choose(&mut Pick::default(), &mut random, at(seconds));
        assert_eq!([ask(2), ask(120)], [Some(0), Some(1)]);
    }
}
