//! Log lines: what an access log says about an exchange, and what surrounds a message in the error log.
//!
//! The lines of one turn are collected by log, so that the driver gets at most one report for each of them. Their
//! memory comes back through [`recycle`](LogBuffers::recycle): in the long run no line costs an allocation.

mod access_line;
pub mod error_line;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::command::Report;
use crate::config::{AccessLog, LogId, LogTarget};
use crate::exchange::Facts;
use crate::exchange::vars::Env;

/// How many emptied vectors are kept.
const SPARE_VECTORS_MAX: usize = 16;

/// A vector that has grown beyond this, in bytes, is not kept.
const SPARE_BYTES_MAX: usize = 256 * 1024;

/// The lines of this turn, by log.
#[derive(Default)]
pub(crate) struct LogBuffers {
    files: Vec<(LogId, Vec<u8>)>,
    paths: Vec<(Box<[u8]>, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    /// For a file's name under construction.
    path: Vec<u8>,
}

/// Where a line goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Destination<'a> {
    /// To a log of the present configuration.
    File(LogId),
    /// To a file that the present configuration does not know, by its name.
    Path(&'a [u8]),
    /// To the file whose name was just computed.
    Computed,
}

impl LogBuffers {
    /// Adds the line of an exchange that has ended. `file` tells where the lines of a log of the exchange's
    /// configuration go now: after a reload its number may be another log's.
    pub(crate) fn write<'a>(
        &mut self,
        log: &AccessLog,
        file: impl FnOnce(LogId) -> Destination<'a>,
        facts: &Facts,
        env: &Env<'_>,
    ) {
        let destination = match &log.target {
            LogTarget::File(id) => file(*id),
            LogTarget::Path(template) => {
                self.path.clear();
                template.write(facts, env, &mut self.path);
                Destination::Computed
            }
        };
        let spare = &mut self.spare;
        let fresh = || spare.pop().unwrap_or_default();
        let path = match destination {
            Destination::File(id) => {
                let lines = lines_of(&mut self.files, |known| *known == id, || id, fresh);
                return lines.map_or((), |lines| access_line::write(&log.format, facts, env, lines));
            }
            Destination::Path(path) => path,
            Destination::Computed => &*self.path,
        };
        if let Some(lines) = lines_of(&mut self.paths, |known| **known == *path, || path.into(), fresh) {
            access_line::write(&log.format, facts, env, lines);
        }
    }

    /// The next log's lines.
    pub(crate) fn next_report(&mut self) -> Option<Report> {
        if let Some((log, lines)) = self.files.pop() {
            return Some(Report::Access { log, lines });
        }
        self.paths.pop().map(|(path, lines)| Report::AccessPath { path, lines })
    }

    /// Takes the memory of lines that were written.
    pub(crate) fn recycle(&mut self, mut lines: Vec<u8>) {
        if self.spare.len() < SPARE_VECTORS_MAX && lines.capacity() <= SPARE_BYTES_MAX {
            lines.clear();
            self.spare.push(lines);
        }
    }
}

/// The lines of one log: a handful of logs at most have lines in one turn, so looking at each is the fastest way.
fn lines_of<K>(
    logs: &mut Vec<(K, Vec<u8>)>,
    is_it: impl Fn(&K) -> bool,
    key: impl FnOnce() -> K,
    fresh: impl FnOnce() -> Vec<u8>,
) -> Option<&mut Vec<u8>> {
    let place = logs.iter().position(|(known, _)| is_it(known)).unwrap_or_else(|| {
        logs.push((key(), fresh()));
        logs.len() - 1
    });
    logs.get_mut(place).map(|(_, lines)| lines)
}

#[cfg(test)]
mod tests;
