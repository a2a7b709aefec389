//! nginx's smooth weighted round robin.
//!
//! Each turn every usable server gains its effective weight, the richest one is chosen and pays the sum of all. With
//! weights 5, 1, 1 the order is a a b a c a a. A failure lowers the effective weight; each turn heals it by one.

use super::Tried;
use super::group::Server;
use crate::time::Instant;

/// Chooses among the servers (or, with `backup`, among the backup servers) that are up, not out and not tried.
pub(crate) fn choose(servers: &mut [Server], tried: &Tried, now: Instant, backup: bool) -> Option<usize> {
    let mut best: Option<(usize, i64)> = None;
    let mut total = 0;
    for (index, server) in servers.iter_mut().enumerate() {
        let usable = server.config.backup == backup
            && !server.config.down
            && !tried.contains(index)
            && !server.is_out(now)
            && !server.is_full();
        if !usable {
            continue;
        }
        server.current_weight += server.effective_weight;
        total += server.effective_weight;
        if server.effective_weight < i64::from(server.config.weight) {
            server.effective_weight += 1;
        }
        if best.is_none_or(|(_, weight)| server.current_weight > weight) {
            best = Some((index, server.current_weight));
        }
    }
    let (index, _) = best?;
    let chosen = servers.get_mut(index)?;
    chosen.current_weight -= total;
    if chosen.checked.is_some_and(|at| now > at + chosen.config.fail_timeout) {
        chosen.checked = Some(now);
    }
    Some(index)
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::super::group::{Group, Outcome};
    use super::*;
    use crate::command::Address;
    use crate::config::{Balance, Upstream, UpstreamServer};
    use crate::time::Millis;

    fn group(weights: &[u32]) -> Group {
        let server = |(n, weight): (usize, &u32)| UpstreamServer {
            address: Address::Unix(alloc::format!("{n}").into()),
            name: "".into(),
            weight: *weight,
            max_fails: 1,
            fail_timeout: Millis(10_000),
            max_conns: 0,
            backup: n == 3,
            down: false,
        };
        Group::new(&Upstream {
            name: "g".into(),
            explicit: true,
            balance: Balance::RoundRobin,
            servers: weights.iter().enumerate().map(server).collect(),
            keepalive: 0,
            keepalive_requests: 0,
            keepalive_time: Millis(0),
            keepalive_timeout: Millis(0),
            state_key: "g".into(),
        })
    }

    fn order(group: &mut Group, turns: usize, now: Instant, outcome: impl Fn(usize) -> Outcome) -> String {
        (0..turns)
            .filter_map(|_| {
                let n = group.choose(&mut Tried::default(), now)?;
                group.settle(n, outcome(n), now);
                Some(char::from(b'a' + n as u8))
            })
            .collect()
    }

    #[test]
    fn weights_are_spread_smoothly() {
        let order = order(&mut group(&[5, 1, 1]), 14, Instant::default(), |_| Outcome::Success);
        assert_eq!(order, "aabacaaaabacaa");
    }

    #[test]
    fn a_failed_server_is_out_for_its_time_and_comes_back() {
        let mut group = group(&[1, 1, 1, 1]);
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        let fails_b = |n| if n == 1 { Outcome::Failure } else { Outcome::Success };
        assert_eq!(order(&mut group, 6, at(1), fails_b), "abccac");
        assert!(!order(&mut group, 4, at(10), fails_b).contains('b'));
        assert_eq!(order(&mut group, 6, at(12), |_| Outcome::Success), "acabca");
        // The backup is asked only when all the others were.
        let mut tried = Tried::default();
        let asked: Vec<_> = core::iter::from_fn(|| group.choose(&mut tried, at(30))).collect();
        assert_eq!((asked.len(), asked.last()), (4, Some(&3)));
    }
}
