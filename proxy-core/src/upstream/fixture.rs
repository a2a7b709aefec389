//! Small groups for the tests of the methods.

use alloc::string::String;
use alloc::sync::Arc;

use super::{Group, Outcome, Pick};
use crate::command::Address;
use crate::config::{Balance, Upstream, UpstreamServer};
use crate::exchange::context::Random;
use crate::time::Instant;

/// So many seconds after the start.
pub(crate) fn at(s: u64) -> Instant {
    Instant::from_micros(s * 1_000_000)
}

/// The configuration of servers of these weights, at `unix:a`, `unix:b` …
pub(crate) fn config(weights: &[u32], change: impl Fn(usize, &mut UpstreamServer)) -> Upstream {
    let servers = weights.iter().enumerate().map(|(n, weight)| {
        let name = char::from_u32(u32::from(b'a') + n as u32).map(String::from);
        let address = Address::Unix(name.unwrap_or_default().as_str().into());
        let mut server = UpstreamServer { weight: *weight, line: n as u32, ..UpstreamServer::new(address) };
        change(n, &mut server);
        server
    });
    Upstream::explicit("g", servers)
}

/// A group of servers of these weights.
pub(crate) fn group(weights: &[u32], change: impl Fn(usize, &mut UpstreamServer)) -> Group {
    Group::private(&config(weights, change))
}

/// A group that chooses by `balance`.
pub(crate) fn with(balance: Balance, weights: &[u32], change: impl Fn(usize, &mut UpstreamServer)) -> Group {
    Group::private(&Upstream { balance, ..config(weights, change) })
}

/// The same group on another worker.
pub(crate) fn beside(group: &Group) -> Group {
    let config = Upstream { balance: group.balance(), ..config(&[], |_, _| {}) };
    Group::new(&config, Arc::clone(&group.shared))
}

/// Whom so many requests are passed to, one after the other: a letter for each.
pub(crate) fn order(
    group: &mut Group,
    turns: usize,
    now: Instant,
    outcome: impl Fn(usize) -> Outcome,
) -> String {
    let mut random = Random::new(1);
    (0..turns)
        .filter_map(|_| {
            let n = group.choose(&mut Pick::default(), &mut random, now)?;
            group.settle(n, outcome(n), now);
            Some(char::from(b'a' + n as u8))
        })
        .collect()
}
