//! `resolver`: who is asked for names at run time.

use alloc::boxed::Box;
use core::net::SocketAddr;

use crate::time::Millis;

/// One `resolver` directive. Two that say the same share their state, over reloads too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// The name servers; never empty.
    pub servers: Box<[SocketAddr]>,
    /// `valid=`: how long answers are believed, whatever they say themselves.
    pub valid: Option<Millis>,
    /// `ipv4=`: whether IPv4 addresses are looked up.
    pub ipv4: bool,
    /// `ipv6=`: whether IPv6 addresses are looked up.
    pub ipv6: bool,
    /// `status_zone=`
    pub status_zone: Option<Box<str>>,
}

impl Resolver {
    /// A resolver with nginx's defaults.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            servers: servers.into_iter().collect(),
            valid: None,
            ipv4: true,
            ipv6: true,
            status_zone: None,
        }
    }
}
