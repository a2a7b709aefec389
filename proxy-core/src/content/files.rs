//! Plain files: `root`, `alias`, `index`.

use crate::command::{Completion, FileId};
use crate::conn::Link;
use crate::exchange::Exchange;
use crate::exchange::context::Context;
use crate::http::Status;

/// A file being looked for or sent.
#[derive(Debug, Default)]
pub(crate) struct FileRun {}

impl FileRun {
    pub(crate) fn handle(&mut self, _file: FileId, _completion: Completion) {}

    pub(crate) fn close(&mut self, _ctx: &mut Context) {}
}

impl Exchange {
    pub(crate) fn start_files(&mut self, link: &mut Link, ctx: &mut Context) {
        self.fail_status(Status::NOT_FOUND, link, ctx);
    }

    pub(crate) fn run_file(&mut self, _link: &mut Link, _ctx: &mut Context) {}
}
