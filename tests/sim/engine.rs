//! What the simulator drives: the real worker, or a small fake that shows that the simulator's checks can fail.

use std::sync::Arc;

use proxy_core::command::{Command, Completion, ConnId, ListenerId, Peer, Report};
use proxy_core::config::Config;
use proxy_core::time::{Instant, Now};
use proxy_core::worker::Worker;

/// The worker's public face.
pub(crate) trait Engine {
    fn handle_accept(&mut self, listener: ListenerId, peer: Peer, now: Now) -> ConnId;
    fn handle_completion(&mut self, completion: Completion, now: Now);
    fn handle_timeout(&mut self, now: Now);
    fn handle_reload(&mut self, config: Arc<Config>, now: Now);
    fn handle_shutdown(&mut self, now: Now);
    fn poll_command(&mut self) -> Option<Command>;
    fn poll_report(&mut self) -> Option<Report>;
    fn poll_timeout(&self) -> Option<Instant>;
    fn recycle(&mut self, lines: Vec<u8>);
}

impl Engine for Worker {
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
