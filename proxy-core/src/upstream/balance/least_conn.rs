//! `least_conn`: the server with the fewest requests under way for its weight, counted over all workers.

use super::{Tier, least};
use crate::time::Instant;
use crate::upstream::Tried;
use crate::upstream::server::Server;

/// Chooses the next server.
pub(crate) fn choose(tier: &mut Tier, servers: &mut [Server], tried: &Tried, now: Instant) -> Option<usize> {
    least::choose(tier, servers, tried, now, load)
}

/// Requests under way.
pub(crate) fn load(server: &Server) -> u64 {
    u64::from(server.state.active())
}

#[cfg(test)]
mod tests {
    use crate::config::Balance;
    use crate::exchange::context::Random;
    use crate::upstream::Pick;
    use crate::upstream::fixture::{at, beside, with};

    #[test]
    fn the_least_busy_is_asked_whoever_keeps_it_busy() {
        let mut here = with(Balance::LeastConn, &[1, 1, 2], |_, _| {});
        let mut there = beside(&here);
        let mut random = Random::new(1);
        let mut ask =
            |group: &mut crate::upstream::Group| group.choose(&mut Pick::default(), &mut random, at(1));
        // Nobody is busy: the round robin among all of them, then the loads decide.
        assert_eq!([ask(&mut here), ask(&mut here)], [Some(2), Some(0)]);
        assert_eq!([ask(&mut there), ask(&mut there)], [Some(1), Some(2)]);
        here.settle(0, crate::upstream::Outcome::Success, at(1));
        assert_eq!(ask(&mut there), Some(0));
    }

    #[test]
    fn a_thousand_servers_share_evenly() {
        let mut group = with(Balance::LeastConn, &[1; 1000], |_, _| {});
        let mut random = Random::new(1);
        for _ in 0..3000 {
            assert!(group.choose(&mut Pick::default(), &mut random, at(1)).is_some());
        }
        let members = group.shared.members();
        assert!(members.servers.iter().all(|member| member.state.active() == 3));
    }
}
