//! What only whole servers have: the limits on request heads.

use proxy_core::time::Millis;

use super::core::inherit;
use super::tls::TlsLevel;

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct ServerLevel {
    pub client_header_timeout: Option<Millis>,
    pub client_header_buffer_size: Option<usize>,
    pub large_client_header_buffers: Option<(usize, usize)>,
    pub max_headers: Option<usize>,
    pub ignore_invalid_headers: Option<bool>,
    pub underscores_in_headers: Option<bool>,
    pub merge_slashes: Option<bool>,
    pub tls: TlsLevel,
    pub http2: Option<bool>,
    pub http2_max_concurrent_streams: Option<u32>,
    pub http2_body_preread_size: Option<u32>,
}

impl ServerLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; client_header_timeout client_header_buffer_size large_client_header_buffers
            max_headers ignore_invalid_headers underscores_in_headers merge_slashes http2
            http2_max_concurrent_streams http2_body_preread_size);
        self.tls.inherit(&parent.tls);
    }
}
