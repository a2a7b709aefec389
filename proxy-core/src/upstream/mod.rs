//! Upstream groups at run time: which server is asked next, which are out, which connections wait to be used again.
//!
//! All of this belongs to one worker, as in nginx without a `zone`: each worker has its own turn and its own pool.

pub(crate) mod group;
pub(crate) mod names;
pub(crate) mod pool;
pub(crate) mod round_robin;

pub(crate) use group::{Group, Outcome, Tried};
