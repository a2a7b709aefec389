//! Which server is asked: one file for each method.
//!
//! A method chooses among the servers of a [`Tier`] (all but the backup servers, or the backup servers) that are fit and that
//! this request has not asked yet. Whether a server is fit is settled before, for all requests until something changes
//! ([`Group`](super::Group)), so a choice reads no shared state, but for the counts that `least_conn` and `least_time` are about.

pub(crate) mod round_robin;

use alloc::vec::Vec;

use round_robin::Turn;

/// The servers that are chosen among, as places in their group's list, in the order of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Tier {
    pub(crate) order: Vec<usize>,
    /// Whose turn it is.
    pub(crate) turn: Turn,
    /// A server begins slowly: its weight changes with time.
    pub(crate) warming: bool,
}
