//! TLS of the load client, by rustls: version 1.3, one key exchange that every proxy has, sessions resumed or not.
//!
//! Handshakes are carried through one after another: what counts is what they cost the proxy.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::Result;

/// The authority of the tests' certificates.
const AUTHORITY: &[u8] = include_bytes!("../../tests/e2e/tls/ca.crt");
/// Whom they name.
const NAME: &str = "a.example";
/// How many sessions are kept: more than there are connections at a time.
const SESSIONS: usize = 4096;

/// How connections are secured.
pub(crate) struct Config(Arc<ClientConfig>);

impl Config {
    /// Resumes sessions, or never.
    pub(crate) fn new(resumes: bool) -> Result<Self> {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(AUTHORITY)?)?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption =
            if resumes { Resumption::in_memory_sessions(SESSIONS) } else { Resumption::disabled() };
        Ok(Self(Arc::new(config)))
    }

    /// Shakes hands on a connection that blocks.
    pub(crate) fn shake_hands(&self, stream: &mut TcpStream) -> Result<Secure> {
        let mut tls = ClientConnection::new(Arc::clone(&self.0), ServerName::try_from(NAME)?)?;
        while tls.is_handshaking() {
            tls.complete_io(stream)?;
        }
        Ok(Secure { tls })
    }
}

/// One connection's TLS.
pub(crate) struct Secure {
    tls: ClientConnection,
}

impl Secure {
    /// Encrypts and sends all of it.
    pub(crate) fn write_all(&mut self, bytes: &[u8], stream: &mut TcpStream) -> Result<()> {
        self.tls.writer().write_all(bytes)?;
        while self.tls.wants_write() {
            self.tls.write_tls(stream)?;
        }
        Ok(())
    }

    /// Decrypted bytes; `WouldBlock` where there are none and none came.
    pub(crate) fn read(&mut self, buffer: &mut [u8], stream: &mut TcpStream) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if self.tls.read_tls(stream)? == 0 {
                return Ok(0);
            }
            self.tls.process_new_packets().map_err(io::Error::other)?;
        }
    }
}
