//! Leaf machines of the access phase: who may ask, and who it is that asks.
//!
//! - [`table`]: addresses to values, compiled from ranges: `allow` and `deny`, `set_real_ip_from`, `geo`.
//!
//! The phase itself, which asks one check after another, is [`exchange::access`](crate::exchange).

pub mod table;
