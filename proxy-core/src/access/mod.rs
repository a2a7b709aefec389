//! Leaf machines of the access phase: who may ask, and who it is that asks.
//!
//! - [`table`]: addresses to values, compiled from ranges: `allow` and `deny`, `set_real_ip_from`, `geo`.
//! - [`credentials`]: what a request says who sends it;
//! - [`murmur`]: the hash of `split_clients`;
//! - [`forwarded`]: the client behind proxies that are believed;
//! - [`proxy_protocol`]: what a load balancer says first;
//! - [`users`]: password files;
//! - [`password`]: the formats of password files.
//!
//! The phase itself, which asks one check after another, is [`exchange::access`](crate::exchange).

pub(crate) mod credentials;
pub mod forwarded;
pub mod murmur;
pub mod password;
pub(crate) mod proxy_header;
pub mod proxy_protocol;
pub mod table;
pub(crate) mod users;
