//! Upstream groups at run time: which server is asked next, which connections wait to be used again.
//!
//! Who belongs to a group, who has failed and who is busy is known to all workers ([`shared::upstream`](crate::shared::upstream)). What is
//! here belongs to one worker: its turn of the round robin and its pool of connections.

pub(crate) mod balance;
mod chooser;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod group;
pub(crate) mod health;
pub(crate) mod names;
pub(crate) mod outlier;
pub(crate) mod pool;
pub(crate) mod server;
pub(crate) mod tried;
pub(crate) mod trunks;
pub(crate) mod watch;

pub use chooser::Chooser;
pub(crate) use group::{Group, Outcome};
pub(crate) use tried::{Pick, Tried};
