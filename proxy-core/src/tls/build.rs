//! What a configuration's certificates and settings compile to.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::TlsServer;

/// The protocols of a server without HTTP/2, as nginx offers them.
const PROTOCOLS_HTTP1: [&[u8]; 3] = [b"http/1.1", b"http/1.0", b"http/0.9"];
/// The protocol that comes before them where it is on.
const PROTOCOL_HTTP2: &[u8] = b"h2";

/// What the directives of one server say.
#[derive(Debug, Default)]
pub struct ServerSettings {
    /// `ssl_certificate` with its `ssl_certificate_key`: chains, the server's own certificate first.
    pub certificates: Vec<Certificate>,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
}

/// A chain and its key.
#[derive(Clone, Debug)]
pub struct Certificate(Arc<CertifiedKey>);

/// What is wrong with a certificate or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// With the certificate or its chain.
    Certificate(String),
    /// With the key.
    Key(String),
}

impl Certificate {
    /// Reads a chain and its key from their PEM texts.
    ///
    /// # Errors
    /// What is wrong, to be put behind the file's name.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Fault> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let certificates = certificates.map_err(|error| Fault::Certificate(error.to_string()))?;
        if certificates.is_empty() {
            return Err(Fault::Certificate("there is no certificate in it".into()));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| Fault::Key(error.to_string()))?;
        let certified = CertifiedKey::from_der(certificates, key, &aws_lc_rs::default_provider());
        match certified {
            Ok(certified) => Ok(Self(Arc::new(certified))),
            Err(error @ rustls::Error::InconsistentKeys(_)) => {
                Err(Fault::Key(format!("key values mismatch: {error}")))
            }
            Err(error @ rustls::Error::InvalidCertificate(_)) => Err(Fault::Certificate(error.to_string())),
            Err(error) => Err(Fault::Key(error.to_string())),
        }
    }
}

/// Compiles a server's settings.
///
/// # Errors
/// What rustls has against them.
pub fn server(settings: &ServerSettings) -> Result<TlsServer, String> {
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
    let keys = settings.certificates.iter().map(|certificate| Arc::clone(&certificate.0)).collect();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Keys { keys }));
    config.enable_secret_extraction = true;
    let http2 = settings.http2.then_some(PROTOCOL_HTTP2);
    config.alpn_protocols = http2.into_iter().chain(PROTOCOLS_HTTP1).map(<[u8]>::to_vec).collect();
    Ok(TlsServer { config: Arc::new(config), record_bytes_max: 16 * 1024 })
}

/// The certificates of one server: the client's signature schemes choose.
struct Keys {
    keys: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        self.keys.iter().find(fits).or_else(|| self.keys.first()).cloned()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.keys.len())
    }
}
