//! Log lines (first slice).

pub mod error_line;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::command::Report;
use crate::config::{AccessLog, LogTarget};
use crate::exchange::Facts;
use crate::exchange::vars::Env;

/// The lines of this turn, by log.
#[derive(Default)]
pub(crate) struct LogBuffers {
    ready: VecDeque<Report>,
}

impl LogBuffers {
    pub(crate) fn write(&mut self, log: &AccessLog, facts: &Facts, env: &Env<'_>) {
        let mut lines = Vec::new();
        log.format.template.write(facts, env, &mut lines);
        lines.push(b'\n');
        if let LogTarget::File(log) = log.target {
            self.ready.push_back(Report::Access { log, lines });
        }
    }

    pub(crate) fn next_report(&mut self) -> Option<Report> {
        self.ready.pop_front()
    }

    pub(crate) fn recycle(&mut self, lines: Vec<u8>) {
        drop(lines);
    }
}
