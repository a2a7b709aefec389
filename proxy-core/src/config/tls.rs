//! TLS of one server.

use alloc::sync::Arc;

use rustls::ServerConfig;

/// What a server's `ssl_*` directives compile to; made by [`tls::build`](crate::tls::build).
#[derive(Clone, Debug)]
pub struct TlsServer {
    /// Certificates, protocols, ciphers.
    pub config: Arc<ServerConfig>,
    /// `ssl_buffer_size`: how much one record carries at the most, in bytes.
    pub record_bytes_max: usize,
}
