//! What a configuration's certificates and settings compile to.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{ServerConfig, SupportedProtocolVersion};
use spin::RwLock;

use super::computed::Computed;
use super::verify::{AskOnly, Trust};
use crate::config::{ClientVerify, TlsServer};
use crate::shared::tls::{Resumption, SessionContext, SessionStore, TicketKeys};

/// The protocols of a server without HTTP/2, as nginx offers them.
const PROTOCOLS_HTTP1: [&[u8]; 3] = [b"http/1.1", b"http/1.0", b"http/0.9"];
/// The protocol that comes before them where it is on.
const PROTOCOL_HTTP2: &[u8] = b"h2";
/// How much 0-RTT data a client may send, in bytes: OpenSSL's default.
const EARLY_DATA_BYTES_MAX: u32 = 16 * 1024;
/// The store of a server that takes early data and has no other, in bytes: its tickets must be used only once.
const EARLY_DATA_STORE_BYTES: usize = 1024 * 1024;

/// Versions, ciphers and groups of either side.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// TLS 1.2
    pub tls12: bool,
    /// TLS 1.3
    pub tls13: bool,
    /// Cipher suites of TLS 1.2 by their numbers, best first; none for all.
    pub ciphers12: Option<Vec<u16>>,
    /// Cipher suites of TLS 1.3, likewise.
    pub ciphers13: Option<Vec<u16>>,
    /// Groups for the key exchange by their numbers, best first; none for the default ones.
    pub groups: Option<Vec<u16>>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { tls12: true, tls13: true, ciphers12: None, ciphers13: None, groups: None }
    }
}

impl Parameters {
    /// Whether rustls has a group of this number.
    #[must_use]
    pub fn has_group(number: u16) -> bool {
        provider::ALL_KX_GROUPS.iter().any(|group| u16::from(group.name()) == number)
    }

    /// rustls' provider with these ciphers and groups only.
    ///
    /// # Errors
    /// Nothing is left of them.
    pub(super) fn provider(&self) -> Result<CryptoProvider, String> {
        let mut provider = provider::default_provider();
        let mut suites = Vec::new();
        for (version, chosen) in
            [(&rustls::version::TLS13, &self.ciphers13), (&rustls::version::TLS12, &self.ciphers12)]
        {
            let of_version =
                provider.cipher_suites.iter().filter(|suite| suite.version() == version).copied();
            match chosen {
                None => suites.extend(of_version),
                Some(numbers) => suites.extend(numbers.iter().filter_map(|number| {
                    of_version.clone().find(|suite| u16::from(suite.suite()) == *number)
                })),
            }
        }
        provider.cipher_suites = suites;
        if let Some(numbers) = &self.groups {
            let all = provider::ALL_KX_GROUPS;
            let named = |number: &u16| all.iter().find(|group| u16::from(group.name()) == *number).copied();
            provider.kx_groups = numbers.iter().filter_map(named).collect();
        }
        if provider.cipher_suites.is_empty() {
            return Err("no cipher match".into());
        }
        if provider.kx_groups.is_empty() {
            return Err("no supported group is left".into());
        }
        Ok(provider)
    }

    pub(super) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let tls13 = self.tls13.then_some(&rustls::version::TLS13);
        tls13.into_iter().chain(self.tls12.then_some(&rustls::version::TLS12)).collect()
    }
}

/// What the directives of one server say.
pub struct ServerSettings {
    /// `ssl_certificate` with its `ssl_certificate_key`: chains, the server's own certificate first.
    pub certificates: Vec<Certificate>,
    /// The same where their names hold variables.
    pub computed: Option<Computed>,
    /// `ssl_protocols`, `ssl_ciphers`, `ssl_ecdh_curve`
    pub parameters: Parameters,
    /// `ssl_prefer_server_ciphers`
    pub prefer_server_ciphers: bool,
    /// `ssl_session_tickets`; none for `off`.
    pub tickets: Option<Arc<TicketKeys>>,
    /// `ssl_session_cache`; none for `off` and `none`.
    pub store: Option<Arc<SessionStore>>,
    /// `ssl_session_timeout`, in seconds.
    pub session_timeout_s: u64,
    /// `ssl_early_data`
    pub early_data: bool,
    /// `ssl_verify_client`
    pub verify: ClientVerify,
    /// Whom to trust about clients.
    pub trust: Trust,
    /// Of them, whom to name to clients (`ssl_client_certificate`).
    pub announced: Trust,
    /// `ssl_reject_handshake`
    pub reject: bool,
    /// `ssl_buffer_size`, in bytes.
    pub record_bytes_max: usize,
    /// The clock.
    pub time: Arc<dyn TimeProvider>,
}

/// A chain and its key; both may be replaced while they are in use.
#[derive(Clone)]
pub struct Certificate(Arc<RwLock<Arc<CertifiedKey>>>);

/// What is wrong with a certificate or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// With the certificate or its chain.
    Certificate(String),
    /// With the key.
    Key(String),
}

impl Certificate {
    /// Takes a chain as PEM, its key, and what its authority says of it (OCSP, DER).
    ///
    /// # Errors
    /// What is wrong, to be put behind the file's name.
    pub fn new(chain: &[u8], key: PrivateKeyDer<'static>, ocsp: Option<Vec<u8>>) -> Result<Self, Fault> {
        let certificates = certificates(chain).map_err(Fault::Certificate)?;
        match CertifiedKey::from_der(certificates, key, &provider::default_provider()) {
            Ok(mut certified) => {
                certified.ocsp = ocsp;
                Ok(Self(Arc::new(RwLock::new(Arc::new(certified)))))
            }
            Err(error @ rustls::Error::InconsistentKeys(_)) => {
                Err(Fault::Key(format!("key values mismatch: {error}")))
            }
            Err(error @ rustls::Error::InvalidCertificate(_)) => Err(Fault::Certificate(error.to_string())),
            Err(error) => Err(Fault::Key(error.to_string())),
        }
    }

    /// Takes the place of what was there: handshakes from now on show `newer`.
    pub fn replace(&self, newer: &Self) {
        let newer = newer.current();
        *self.0.write() = newer;
    }

    /// Shows this with the certificate from now on: what its authority says of it (OCSP, DER).
    pub(crate) fn staple(&self, answer: Option<&[u8]>) {
        let current = self.current();
        if current.ocsp.as_deref() == answer {
            return;
        }
        let stapled = CertifiedKey { ocsp: answer.map(<[u8]>::to_vec), ..CertifiedKey::clone(&current) };
        let mut place = self.0.write();
        // Unless it was replaced meanwhile.
        if Arc::ptr_eq(&place, &current) {
            *place = Arc::new(stapled);
        }
    }

    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} in the chain)", self.current().cert.len())
    }
}

/// The certificates in a PEM text.
///
/// # Errors
/// There is none, or the text is broken.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| error.to_string())?;
    if all.is_empty() {
        return Err("there is no certificate in it".into());
    }
    Ok(all)
}

/// The revocation lists in a PEM text.
///
/// # Errors
/// There is none, or the text is broken.
pub fn crls(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| error.to_string())?;
    if all.is_empty() {
        return Err("there is no revocation list in it".into());
    }
    Ok(all)
}

/// The key in a PEM text.
///
/// # Errors
/// There is none, or the text is broken.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| error.to_string())
}

/// Compiles a server's settings.
///
/// # Errors
/// What rustls has against them.
pub fn server(settings: ServerSettings) -> Result<TlsServer, String> {
    let provider = Arc::new(settings.parameters.provider()?);
    let context = context(&settings);
    let keys = Arc::new(Keys { keys: settings.certificates });
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::clone(&settings.time))
        .with_protocol_versions(&settings.parameters.versions())
        .map_err(|error| error.to_string())?;
    let builder = match settings.verify {
        ClientVerify::Off => builder.with_no_client_auth(),
        ClientVerify::On | ClientVerify::Optional | ClientVerify::OptionalNoCa => builder
            .with_client_cert_verifier(Arc::new(AskOnly::new(&settings.announced, Arc::clone(&provider)))),
    };
    let mut config = builder.with_cert_resolver(keys);
    config.enable_secret_extraction = true;
    config.ignore_client_order = settings.prefer_server_ciphers;
    config.alpn_protocols = PROTOCOLS_HTTP1.map(<[u8]>::to_vec).into();
    let early_store = || Some(Arc::new(SessionStore::new(EARLY_DATA_STORE_BYTES)));
    let store = if settings.early_data { settings.store.or_else(early_store) } else { settings.store };
    let resumption = Arc::new(Resumption {
        tickets: settings.tickets.filter(|_| !settings.early_data),
        store,
        context,
        timeout_s: settings.session_timeout_s,
        time: Arc::clone(&settings.time),
        provider,
    });
    if settings.early_data {
        config.max_early_data_size = EARLY_DATA_BYTES_MAX;
        config.send_half_rtt_data = true;
    }
    if resumption.store.is_some() {
        config.session_storage = Arc::clone(&resumption) as _;
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    if resumption.tickets.is_some() {
        config.ticketer = resumption;
    } else if resumption.store.is_none() {
        config.send_tls13_tickets = 0;
    }
    let mut with_http2 = config.clone();
    with_http2.alpn_protocols.insert(0, PROTOCOL_HTTP2.to_vec());
    Ok(TlsServer {
        config: Arc::new(config),
        config_http2: Arc::new(with_http2),
        record_bytes_max: settings.record_bytes_max,
        reject: settings.reject,
        verify: settings.verify,
        trust: settings.trust,
        computed: settings.computed,
        time: settings.time,
    })
}

/// What a session may only be resumed under.
fn context(settings: &ServerSettings) -> SessionContext {
    let mut digest = Context::new(&SHA256);
    for certificate in &settings.certificates {
        // The server's own certificate and not its key: a renewal makes new sessions.
        if let Some(der) = certificate.current().cert.first() {
            digest.update(der);
        }
    }
    if let Some(computed) = &settings.computed {
        digest.update(format!("{:?}", computed.pairs).as_bytes());
    }
    digest.update(&[settings.verify as u8]);
    settings.trust.digest(&mut digest);
    let mut context = SessionContext::default();
    context.copy_from_slice(digest.finish().as_ref());
    context
}

impl TlsServer {
    /// The configuration `of` it with these certificates in the place of those that are named by variables.
    pub(crate) fn with_certificates(of: &ServerConfig, certificates: Vec<Certificate>) -> Arc<ServerConfig> {
        let mut config = of.clone();
        config.cert_resolver = Arc::new(Keys { keys: certificates });
        Arc::new(config)
    }
}

/// The certificates of one server: the client's signature schemes and ciphers choose.
struct Keys {
    keys: Vec<Certificate>,
}

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.keys.iter().map(Certificate::current);
        let fits = |key: &Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        // As OpenSSL, of those that the client can check the elliptic ones come first: they cost the least.
        let is_elliptic = |key: &Arc<CertifiedKey>| key.key.algorithm() != rustls::SignatureAlgorithm::RSA;
        keys.clone().find(|key| fits(key) && is_elliptic(key)).or_else(|| keys.clone().find(fits))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.keys.len())
    }
}
