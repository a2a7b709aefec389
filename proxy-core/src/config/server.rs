//! Virtual servers.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{LocationId, Origin, RewriteLine, TlsServer};
use crate::route::LocationTree;
use crate::time::Millis;

/// One `server` block.
#[derive(Debug)]
pub struct Server {
    /// The first `server_name` (`$server_name`); empty if there is none.
    pub name: Box<[u8]>,
    /// The server's own level as a location: what applies where no location matches, and before one is found.
    pub root: LocationId,
    /// The locations.
    pub tree: LocationTree,
    /// The named locations (`@name`, without the at sign).
    pub named: Vec<(Box<[u8]>, LocationId)>,
    /// The server-level rewrite directives.
    pub rewrite: Box<[RewriteLine]>,
    /// `client_header_timeout`
    pub client_header_timeout: Millis,
    /// `client_header_buffer_size` in bytes.
    pub client_header_buffer_bytes: usize,
    /// `large_client_header_buffers`: how many, and each one's size in bytes.
    pub large_client_header_buffers: (usize, usize),
    /// `max_headers`
    pub headers_max: usize,
    /// `ignore_invalid_headers`
    pub ignore_invalid_headers: bool,
    /// `underscores_in_headers`
    pub underscores_in_headers: bool,
    /// `merge_slashes`
    pub merge_slashes: bool,
    /// Its certificates and what else TLS needs; none where it has no certificate.
    pub tls: Option<Arc<TlsServer>>,
    /// `http2`
    pub http2: bool,
    /// `http2_max_concurrent_streams`
    pub http2_streams_max: u32,
    /// `http2_body_preread_size` in bytes.
    pub http2_preread_bytes: u32,
    /// Where the block stands.
    pub origin: Origin,
}
