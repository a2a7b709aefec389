//! A group without a worker: whom it would choose, one request after the other. For benchmarks and for tools that
//! explain a configuration.

use super::{Group, Outcome, Pick};
use crate::command::Address;
use crate::config::Upstream;
use crate::exchange::context::Random;
use crate::time::Instant;

/// A group whose requests are served at once and well.
#[derive(Debug)]
pub struct Chooser {
    group: Group,
    random: Random,
}

impl Chooser {
    /// The group of this configuration; `seed` decides what `random` draws.
    #[must_use]
    pub fn new(config: &Upstream, seed: u64) -> Self {
        Self { group: Group::private(config), random: Random::new(seed) }
    }

    /// Whom the next request is passed to; `key` is what `hash` or `ip_hash` go by.
    pub fn next(&mut self, key: &[u8], now: Instant) -> Option<&Address> {
        let mut pick = Pick::default();
        pick.key.extend_from_slice(key);
        let place = self.group.choose(&mut pick, &mut self.random, now)?;
        self.group.settle(place, Outcome::Success, now);
        self.group.address(place)
    }
}
