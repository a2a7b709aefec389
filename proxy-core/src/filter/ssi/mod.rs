//! `ssi`: server side includes, commands inside of a page (`<!--#echo var="x" -->`).
//!
//! - [`scan`]: text and commands, wherever the borders of the blocks lie;
//! - [`command`]: a command's name and parameters;
//! - [`run`]: what each of them does.
//!
//! Reference: nginx's ngx_http_ssi_filter_module.

mod command;
mod run;
mod scan;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::buf::Chunk;
use crate::command::ConnId;
use crate::config;
use scan::Scanner;

/// The includes of one body.
#[derive(Debug)]
pub(crate) struct Ssi {
    settings: config::Ssi,
    scanner: Scanner,
    /// Whether text is passed on: not in the branch of an `if` that was not taken, and not in a block.
    output: bool,
    /// Whether a branch of the present `if` was taken.
    chosen: bool,
    within: Within,
    /// The block that is being read, by name.
    block: Option<(Box<[u8]>, Vec<u8>)>,
    /// What stands where a command went wrong.
    error_text: Chunk,
    /// Nothing more is read until this subrequest has ended.
    waits_for: Option<ConnId>,
    /// The variable that a subrequest's body goes into.
    captures: Option<(ConnId, Box<[u8]>)>,
    /// What stands in for the body of a subrequest that has none.
    stubs: Vec<(ConnId, Chunk)>,
}

/// Where in an `if` the text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Within {
    #[default]
    Nothing,
    If,
    Else,
}

impl Ssi {
    /// Whether something was fed that has not been looked at.
    pub(super) fn has_input(&self) -> bool {
        self.scanner.has_input()
    }

    pub(super) fn new(settings: &config::Ssi) -> Self {
        Self {
            settings: settings.clone(),
            scanner: Scanner::new(settings.value_bytes_max),
            output: true,
            chosen: false,
            within: Within::Nothing,
            block: None,
            error_text: Chunk::from_static(b"[an error occurred while processing the directive]"),
            waits_for: None,
            captures: None,
            stubs: Vec::new(),
        }
    }
}
