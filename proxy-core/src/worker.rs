//! All that one thread owns, and the switchboard in front of it.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::buf::Pool;
use crate::command::{Command, Completion, ConnId, ListenerId, Peer, Report};
use crate::config::Config;
use crate::shared::Shared;
use crate::slab::Slab;
use crate::time::{Instant, Now};

/// The whole proxy as one thread sees it: inputs are the `handle_` functions, outputs the `poll_` ones. After every
/// input, poll each output until it has no more.
pub struct Worker {
    config: Arc<Config>,
    shared: Arc<Shared>,
    pools: Pools,
    conns: Slab<()>,
    commands: VecDeque<Command>,
    reports: VecDeque<Report>,
}

/// The memory that a worker's buffers come from. The driver reads into the same pools.
#[derive(Clone)]
pub struct Pools {
    /// For heads: [`Room::Small`](crate::command::Room).
    pub small: Pool,
    /// For bodies: [`Room::Large`](crate::command::Room).
    pub large: Pool,
}

impl Worker {
    /// A worker of a process. `seed` feeds `$request_id` and every other random choice.
    #[must_use]
    pub fn new(config: Arc<Config>, shared: Arc<Shared>, pools: Pools, seed: u64, now: Now) -> Self {
        let _ = (seed, now);
        Self {
            config,
            shared,
            pools,
            conns: Slab::default(),
            commands: VecDeque::new(),
            reports: VecDeque::new(),
        }
    }

    /// A client connected to `listener`. The connection may be closed by the next command already.
    pub fn handle_accept(&mut self, listener: ListenerId, peer: Peer, now: Now) -> ConnId {
        let _ = (listener, peer, now, &self.shared, &self.config, &self.pools);
        ConnId(self.conns.insert(()))
    }

    /// A command was carried out.
    pub fn handle_completion(&mut self, completion: Completion, now: Now) {
        let _ = (completion, now);
    }

    /// The deadline that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        let _ = now;
    }

    /// A new configuration: exchanges in flight keep theirs. Listener ids mean the new configuration's from here on.
    pub fn handle_reload(&mut self, config: Arc<Config>, now: Now) {
        let _ = now;
        self.config = config;
    }

    /// Finish what is in flight, then report [`Report::Drained`]. Nothing more is accepted.
    pub fn handle_shutdown(&mut self, now: Now) {
        let _ = now;
    }

    /// The next command.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// The next report.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// The next deadline.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Takes a written report's memory back.
    pub fn recycle(&mut self, lines: Vec<u8>) {
        drop(lines);
    }
}
