//! TLS towards upstreams: what `proxy_ssl_*` compile to, and whether a server is the one that it should be.
//!
//! ```text
//! settings ─► UpstreamTls ─┬─ Identity (settings, name, certificate) ─► which idle connections may be used again
//!                          └─ connect(identity, server) ─► Session
//! ```
//! A server's certificate is weighed within the handshake: one that is refused gets no request, no certificate of ours
//! and no session to resume.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use aws_lc_rs::digest::{Context, SHA256};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, KeyLog, OtherError, SignatureScheme,
};
use webpki::EndEntityCert;

use super::build::{Certificate, Parameters};
use super::computed::Computed;
use super::session::Session;
use super::verify::{Trust, Verdict};
use crate::command::Address;
use crate::config::{Template, UpstreamTls};
use crate::shared::client_sessions::ServerSessions;

/// What the directives of one location say.
pub struct UpstreamSettings {
    /// `proxy_ssl_protocols`, `proxy_ssl_ciphers`
    pub parameters: Parameters,
    /// `proxy_ssl_name`
    pub name: Option<Template>,
    /// `proxy_ssl_server_name`
    pub server_name: bool,
    /// `proxy_ssl_verify`: whom to trust; none for `off`.
    pub trust: Option<Trust>,
    /// `proxy_ssl_certificate` with its key.
    pub certificate: Option<Certificate>,
    /// The same where the names hold variables.
    pub computed: Option<Computed>,
    /// `proxy_ssl_session_reuse`
    pub session_reuse: bool,
    /// The protocols that are offered by ALPN (RFC 7301), best first; none for HTTP/1.
    pub protocols: Vec<Vec<u8>>,
    /// `proxy_ssl_key_log`
    pub key_log: Option<Arc<dyn KeyLog>>,
    /// The clock.
    pub time: Arc<dyn TimeProvider>,
}

/// Under what a connection was made; only a request that wants the same may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// All that the settings say.
    settings: [u8; 32],
    /// Whom the server is taken for.
    pub name: Box<[u8]>,
    /// Which certificate of ours it is shown, where variables name that.
    certificate: Box<[u8]>,
}

#[cfg(test)]
impl Identity {
    /// One that only has a name.
    pub(crate) fn of_tests(name: &[u8]) -> Self {
        Self { settings: [0; 32], name: name.into(), certificate: Box::default() }
    }
}

/// Compiles settings.
///
/// # Errors
/// What rustls has against them.
pub fn upstream(settings: UpstreamSettings) -> Result<UpstreamTls, String> {
    let provider = Arc::new(settings.parameters.provider()?);
    let digest = digest(&settings);
    let verify = settings.trust.is_some();
    let verifier = Arc::new(Verifier { trust: settings.trust, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_details(Arc::clone(&provider), settings.time)
        .with_protocol_versions(&settings.parameters.versions())
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &settings.certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => builder.with_client_cert_resolver(Arc::new(Own(certificate.clone()))),
    };
    config.enable_secret_extraction = true;
    config.enable_sni = settings.server_name;
    config.alpn_protocols = settings.protocols;
    config.resumption = Resumption::disabled();
    if let Some(log) = settings.key_log {
        config.key_log = log;
    }
    Ok(UpstreamTls {
        config,
        name: settings.name,
        computed: settings.computed,
        needs_name: settings.server_name || verify,
        sessions: settings.session_reuse.then(Arc::default),
        digest,
    })
}

/// Everything that a connection depends on: equal for settings that mean the same, also after a reload.
fn digest(settings: &UpstreamSettings) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    let flags = (settings.server_name, settings.trust.is_some(), settings.session_reuse);
    digest.update(format!("{:?} {flags:?} {:?} ", settings.parameters, settings.protocols).as_bytes());
    if let Some(trust) = &settings.trust {
        trust.digest(&mut digest);
    }
    if let Some(computed) = &settings.computed {
        digest.update(format!("{:?}", computed.pairs).as_bytes());
    }
    if let Some(certificate) = &settings.certificate {
        for der in &certificate.current().cert {
            digest.update(der);
        }
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(digest.finish().as_ref());
    sum
}

impl UpstreamTls {
    /// Under what a connection is made to a server that is taken for `name` and shown this certificate of ours.
    #[must_use]
    pub fn identity(&self, name: &[u8], certificate: &[u8]) -> Identity {
        Identity {
            settings: self.digest,
            name: if self.needs_name { name.into() } else { Box::default() },
            certificate: certificate.into(),
        }
    }

    /// Begins a handshake with the server at `peer`; `certificate` is shown to it where variables name that.
    pub(crate) fn connect(
        &self,
        identity: &Identity,
        peer: &Address,
        certificate: Option<Certificate>,
    ) -> Session {
        debug_assert_eq!(identity.settings, self.digest);
        let mut config = self.config.clone();
        if let Some(sessions) = &self.sessions {
            let key = [format!("{peer} ").as_bytes(), &identity.name, b" ", &identity.certificate].concat();
            let store = ServerSessions::new(Arc::clone(sessions), key.into());
            config.resumption = Resumption::store(Arc::new(store));
        }
        if let Some(certificate) = certificate {
            config.client_auth_cert_resolver = Arc::new(Own(certificate));
        }
        let name = server_name(&identity.name);
        Session::connecting(&Arc::new(config), name.unwrap_or_else(nobody))
    }
}

/// Stands for a name that no certificate can have; like any address it is not sent.
fn nobody() -> ServerName<'static> {
    ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into())
}

/// A name as `proxy_ssl_name` computes it, less a port: `$proxy_host` and `$http_host` may have one.
pub(crate) fn without_port(name: &[u8]) -> &[u8] {
    let host = match name.strip_prefix(b"[") {
        Some(rest) => memchr::memchr(b']', rest).map_or(0, |end| end + 2),
        None => 0,
    };
    let colon = name.get(host..).and_then(|rest| memchr::memchr(b':', rest));
    colon.and_then(|at| name.get(..host + at)).unwrap_or(name)
}

fn server_name(name: &[u8]) -> Option<ServerName<'static>> {
    let text = core::str::from_utf8(name).ok()?;
    let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = address.parse::<IpAddr>() {
        return Some(ServerName::IpAddress(address.into()));
    }
    Some(ServerName::DnsName(DnsName::try_from(text).ok()?.to_owned()))
}

/// Why a server was refused; travels through rustls as an error of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its chain is no good.
    Chain(Verdict),
    /// Its certificate is for somebody else.
    Name,
}

impl Refusal {
    /// Finds it in what rustls says.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) = error else {
            return None;
        };
        inner.downcast_ref::<Self>().copied()
    }
}

impl core::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(Verdict(code, words)) => {
                write!(f, "upstream SSL certificate verify error: ({code}:{words})")
            }
            Self::Name => f.write_str("upstream SSL certificate does not match"),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}

/// `proxy_ssl_certificate`: shown to whoever asks.
#[derive(Debug)]
struct Own(Certificate);

impl rustls::client::ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let key = self.0.current();
        key.key.choose_scheme(schemes).is_some().then_some(key)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Weighs a server's certificate.
#[derive(Debug)]
struct Verifier {
    trust: Option<Trust>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(trust) = &self.trust {
            let mut chain: Vec<CertificateDer<'_>> = Vec::with_capacity(intermediates.len() + 1);
            chain.push(end_entity.as_ref().into());
            chain.extend(intermediates.iter().map(|der| der.as_ref().into()));
            trust.weigh_server(&chain, now).map_err(Refusal::Chain)?;
            if !is_for(end_entity, server_name) {
                return Err(Refusal::Name.into());
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    /// A certificate that nobody weighs proves nothing, and neither does a signature with its key: whoever could forge
    /// the one can make the other. So servers with certificates of the first version and the like can be reached.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.trust.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.trust.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a certificate is for this name: one of its alternative names is, or, as OpenSSL has it, its common name where
/// it has no alternative ones that are names of hosts.
fn is_for(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let Ok(entity) = EndEntityCert::try_from(certificate) else { return false };
    let ServerName::DnsName(host) = name else {
        return *name != nobody() && entity.verify_is_valid_for_subject_name(name).is_ok();
    };
    let host = host.as_ref().trim_end_matches('.');
    match entity.verify_is_valid_for_subject_name(name) {
        Ok(()) => true,
        Err(webpki::Error::CertNotValidForName(context))
            if !context.presented.iter().any(|name| name.starts_with("DnsName")) =>
        {
            super::certificate::common_name(certificate).is_some_and(|pattern| matches(&pattern, host))
        }
        Err(_) => false,
    }
}

/// Whether a common name is this host's; `*.` stands for one label.
fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(label, tail)| {
            !label.is_empty() && tail.contains('.') && tail.eq_ignore_ascii_case(rest)
        }),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_ports() {
        for (name, bare) in [
            ("a.example", "a.example"),
            ("a.example:443", "a.example"),
            ("[::1]:443", "[::1]"),
            ("[::1]", "[::1]"),
            ("[::1", "["),
            ("", ""),
        ] {
            assert_eq!(without_port(name.as_bytes()), bare.as_bytes(), "{name}");
        }
    }

    #[test]
    fn common_names_match_as_in_openssl() {
        for (pattern, host, expected) in [
            ("a.example", "A.example", true),
            ("a.example", "b.example", false),
            ("*.a.example", "x.a.example", true),
            ("*.a.example", "x.y.a.example", false),
            ("*.example", "a.example", false),
            ("*.a.example", "a.example", false),
        ] {
            assert_eq!(matches(pattern, host), expected, "{pattern} {host}");
        }
    }
}
