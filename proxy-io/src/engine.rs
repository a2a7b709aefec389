//! What the driver drives: the core's [`Worker`], or a test's stand-in of the same shape.

use std::sync::Arc;

use proxy_core::command::{Command, Completion, ConnId, ListenerId, Peer, Report};
use proxy_core::config::Config;
use proxy_core::shared::Shared;
use proxy_core::time::{Instant, Now};
use proxy_core::worker::{Pools, Worker};

/// The inputs and outputs of [`Worker`], word for word. All calls are resolved at compile time.
pub trait Engine: Sized + 'static {
    /// See [`Worker::new`].
    fn start(config: Arc<Config>, shared: Arc<Shared>, pools: Pools, seed: u64, now: Now) -> Self;
    /// See [`Worker::handle_accept`].
    fn handle_accept(&mut self, listener: ListenerId, peer: Peer, now: Now) -> ConnId;
    /// See [`Worker::handle_completion`].
    fn handle_completion(&mut self, completion: Completion, now: Now);
    /// See [`Worker::handle_timeout`].
    fn handle_timeout(&mut self, now: Now);
    /// See [`Worker::handle_reload`].
    fn handle_reload(&mut self, config: Arc<Config>, now: Now);
    /// See [`Worker::handle_shutdown`].
    fn handle_shutdown(&mut self, now: Now);
    /// See [`Worker::poll_command`].
    fn poll_command(&mut self) -> Option<Command>;
    /// See [`Worker::poll_report`].
    fn poll_report(&mut self) -> Option<Report>;
    /// See [`Worker::poll_timeout`].
    fn poll_timeout(&self) -> Option<Instant>;
    /// See [`Worker::recycle`].
    fn recycle(&mut self, lines: Vec<u8>);
}

impl Engine for Worker {
    fn start(config: Arc<Config>, shared: Arc<Shared>, pools: Pools, seed: u64, now: Now) -> Self {
        Self::new(config, shared, pools, seed, now)
    }

    fn handle_accept(&mut self, listener: ListenerId, peer: Peer, now: Now) -> ConnId {
        Self::handle_accept(self, listener, peer, now)
    }

    fn handle_completion(&mut self, completion: Completion, now: Now) {
        Self::handle_completion(self, completion, now);
    }

    fn handle_timeout(&mut self, now: Now) {
        Self::handle_timeout(self, now);
    }

    fn handle_reload(&mut self, config: Arc<Config>, now: Now) {
        Self::handle_reload(self, config, now);
    }

    fn handle_shutdown(&mut self, now: Now) {
        Self::handle_shutdown(self, now);
    }

    fn poll_command(&mut self) -> Option<Command> {
        Self::poll_command(self)
    }

    fn poll_report(&mut self) -> Option<Report> {
        Self::poll_report(self)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Self::poll_timeout(self)
    }

    fn recycle(&mut self, lines: Vec<u8>) {
        Self::recycle(self, lines);
    }
}
