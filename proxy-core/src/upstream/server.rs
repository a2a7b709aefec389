//! One server as one worker sees it: the shared state, and this worker's turn.

use alloc::sync::Arc;

use crate::config::UpstreamServer;
use crate::shared::upstream::{Health, Member, ServerState};
use crate::time::Instant;

/// One server. Its place in its group's list stays the same as long as anything refers to it.
#[derive(Debug)]
pub(crate) struct Server {
    /// What is said of it.
    pub(crate) config: UpstreamServer,
    /// How it is, for all workers.
    pub(crate) state: Arc<ServerState>,
    /// The moving weight of the smooth round robin.
    pub(crate) current_weight: i64,
    /// The weight that failures lower and turns raise again.
    pub(crate) effective_weight: i64,
    /// Whether it may be chosen, when the group last looked.
    pub(crate) fit: bool,
    /// Where it stands in its tier's order.
    pub(crate) rank: usize,
    /// Exchanges of this worker that it is counted for.
    pub(crate) seats: u32,
    /// It belongs to the group no more.
    pub(crate) gone: bool,
    /// Weights count in parts of this size, so that a slow start has steps.
    pub(crate) scale: i64,
}

/// What stands against a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Somebody has to do something about it.
    Off,
    /// It may be tried again after this moment.
    Until(Instant),
    /// All its connections are in use.
    Full,
}

impl Server {
    pub(crate) fn new(member: &Member, scale: i64) -> Self {
        Self {
            config: member.config.clone(),
            state: Arc::clone(&member.state),
            current_weight: 0,
            effective_weight: i64::from(member.config.weight) * scale,
            fit: false,
            rank: 0,
            seats: 0,
            gone: false,
            scale,
        }
    }

    /// What is said of it may have changed.
    pub(crate) fn update(&mut self, member: &Member, scale: i64) {
        if self.config.weight != member.config.weight || self.scale != scale {
            self.current_weight = 0;
            self.effective_weight = i64::from(member.config.weight) * scale;
            self.scale = scale;
        }
        if self.config != member.config {
            self.config = member.config.clone();
        }
        self.gone = false;
    }

    /// Its whole weight.
    pub(crate) fn weight(&self) -> i64 {
        i64::from(self.config.weight) * self.scale
    }

    /// What stands against choosing it for a request that belongs to it already.
    pub(crate) fn unfit_for_its_own(&self, now: Instant) -> Option<Unfit> {
        if self.gone || self.config.down || self.state.health() != Health::Healthy {
            return Some(Unfit::Off);
        }
        let out = self.state.out_until(&self.config, now).max(self.state.ejected_until(now));
        if let Some(until) = out {
            return Some(Unfit::Until(until));
        }
        self.is_full().then_some(Unfit::Full)
    }

    /// What stands against choosing it.
    pub(crate) fn unfit(&self, now: Instant) -> Option<Unfit> {
        if self.config.drain { Some(Unfit::Off) } else { self.unfit_for_its_own(now) }
    }

    /// `max_conns` is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.config.max_conns > 0 && self.state.active() >= self.config.max_conns
    }

    /// A failure lowers its weight for a while.
    pub(crate) fn lower(&mut self) {
        if self.config.max_fails > 0 {
            self.effective_weight -= self.weight() / i64::from(self.config.max_fails);
        }
        self.effective_weight = self.effective_weight.max(0);
    }
}
