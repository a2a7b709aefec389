//! Upstream groups.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::Address;
use crate::time::Millis;

/// A group of servers that a request may be passed to.
#[derive(Debug)]
pub struct Upstream {
    /// The group's name, or the `host:port` of a literal `proxy_pass`.
    pub name: Box<str>,
    /// Whether it comes from an `upstream` block.
    pub explicit: bool,
    /// How a server is chosen.
    pub balance: Balance,
    /// The servers in their order. A name with several addresses stands here once for each of them.
    pub servers: Vec<UpstreamServer>,
    /// `keepalive`: idle connections that each worker keeps; 0 keeps none.
    pub keepalive: usize,
    /// `keepalive_requests`
    pub keepalive_requests: u64,
    /// `keepalive_time`
    pub keepalive_time: Millis,
    /// `keepalive_timeout`
    pub keepalive_timeout: Millis,
    /// The group of the same name in the previous configuration keeps its state under this key.
    pub state_key: Arc<str>,
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// nginx's smooth weighted round robin.
    RoundRobin,
}

/// One address of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// The address.
    pub address: Address,
    /// The `server` parameter as written, for messages.
    pub name: Box<str>,
    /// `weight=`
    pub weight: u32,
    /// `max_fails=`; 0 never takes it out.
    pub max_fails: u32,
    /// `fail_timeout=`
    pub fail_timeout: Millis,
    /// `max_conns=`; 0 is no limit.
    pub max_conns: u32,
    /// `backup`
    pub backup: bool,
    /// `down`
    pub down: bool,
    /// `drain`: only requests that belong to it already (`sticky`) are passed to it.
    pub drain: bool,
    /// `slow_start=`; zero is off.
    pub slow_start: Millis,
    /// `route=`: what `sticky` calls it; empty for a digest of its address.
    pub route: Box<str>,
    /// The number of its `server` line in the block, from 0: the servers of a group stand in this order.
    pub line: u32,
}
