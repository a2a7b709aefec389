//! TLS of one server, and towards upstreams.

use alloc::sync::Arc;

use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig};

use super::Template;
use crate::shared::client_sessions::ClientSessions;
use crate::tls::client::Identity;
use crate::tls::computed::Computed;
use crate::tls::verify::Trust;

/// What a server's `ssl_*` directives compile to; made by [`tls::build`](crate::tls::build).
#[derive(Debug)]
pub struct TlsServer {
    /// Certificates, protocols, ciphers.
    pub config: Arc<ServerConfig>,
    /// The same where HTTP/2 is offered.
    pub config_http2: Arc<ServerConfig>,
    /// `ssl_buffer_size`: how much one record carries at the most, in bytes.
    pub record_bytes_max: usize,
    /// `ssl_reject_handshake`
    pub reject: bool,
    /// `ssl_verify_client`
    pub verify: ClientVerify,
    /// Whom to trust about clients.
    pub trust: Trust,
    /// Certificates that only a handshake names; the configurations above have none then.
    pub computed: Option<Computed>,
    /// The clock that certificates are held against.
    pub time: Arc<dyn TimeProvider>,
}

/// `ssl_verify_client`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientVerify {
    /// Clients are not asked for a certificate.
    #[default]
    Off,
    /// A good one is required.
    On,
    /// One that is shown must be good.
    Optional,
    /// One that is shown may be signed by anybody.
    OptionalNoCa,
}

/// What a location's `proxy_ssl_*` directives compile to; made by [`tls::client`](crate::tls::client).
#[derive(Debug)]
pub struct UpstreamTls {
    /// Versions, ciphers, certificates, whom to trust; each connection gets a copy with its server's sessions.
    pub(crate) config: ClientConfig,
    /// `proxy_ssl_name`
    pub name: Option<Template>,
    /// Whether the name is sent or checked; where it is neither, nobody asks for it.
    pub(crate) needs_name: bool,
    /// `proxy_ssl_certificate` with variables.
    pub(crate) computed: Option<Computed>,
    /// `proxy_ssl_session_reuse`
    pub(crate) sessions: Option<Arc<ClientSessions>>,
    /// A digest of all of it.
    pub(crate) digest: [u8; 32],
}

/// TLS of one `proxy_pass`.
#[derive(Clone, Debug)]
pub struct ProxyTls {
    /// The location's settings.
    pub settings: Arc<UpstreamTls>,
    /// Under what connections are made, where that is the same for all requests.
    pub identity: Option<Arc<Identity>>,
}

impl ProxyTls {
    /// For a URL whose host is `host`; none where the requests name it.
    #[must_use]
    pub fn new(settings: Arc<UpstreamTls>, host: Option<&str>) -> Self {
        let fixed = match (&settings.name, host) {
            _ if settings.computed.is_some() => None,
            _ if !settings.needs_name => Some(&b""[..]),
            (Some(name), _) => name.as_literal().map(crate::tls::client::without_port),
            (None, host) => host.map(str::as_bytes),
        };
        let identity = fixed.map(|name| Arc::new(settings.identity(name, b"")));
        Self { settings, identity }
    }
}
