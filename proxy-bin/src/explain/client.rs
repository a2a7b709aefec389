//! The client: it sends one request, through TLS where the URL says so, and keeps what it gets.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use super::ask::Request;

/// How much a TLS connection is given at a time, in bytes.
const RECORD_BYTES: usize = 64 * 1024;

pub(super) struct Client {
    /// What is still to be sent, in the clear.
    unsent: Vec<u8>,
    tls: Option<Box<ClientConnection>>,
    /// Bytes of TLS that were made and found no room.
    held: Vec<u8>,
    reply: Vec<u8>,
    refused: Option<String>,
}

impl Client {
    pub(super) fn new(request: &Request) -> Self {
        let mut client = Self {
            unsent: request.bytes.clone(),
            tls: None,
            held: Vec::new(),
            reply: Vec::new(),
            refused: None,
        };
        if request.tls {
            match connection(&request.host) {
                Ok(tls) => client.tls = Some(Box::new(tls)),
                Err(error) => client.refused = Some(error.to_string()),
            }
        }
        client
    }

    /// What goes out next.
    pub(super) fn bytes_to_send(&mut self) -> Option<Vec<u8>> {
        let mut out = std::mem::take(&mut self.held);
        match &mut self.tls {
            None => out.append(&mut self.unsent),
            Some(tls) => {
                if !tls.is_handshaking() {
                    let taken = tls.writer().write(&self.unsent).unwrap_or(0);
                    self.unsent.drain(..taken);
                }
                while tls.wants_write() && tls.write_tls(&mut out).is_ok() {}
            }
        }
        (!out.is_empty()).then_some(out)
    }

    /// What there was no room for goes out first the next time.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        if self.tls.is_some() {
            self.held.splice(0..0, bytes.iter().copied());
        } else {
            self.unsent.splice(0..0, bytes.iter().copied());
        }
    }

    /// Bytes from the other side.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        let Some(tls) = &mut self.tls else { return self.reply.extend_from_slice(bytes) };
        // Each round takes some of them.
        while !bytes.is_empty() {
            if tls.read_tls(&mut bytes).is_err() {
                return;
            }
            if let Err(error) = tls.process_new_packets() {
                self.refused.get_or_insert(error.to_string());
                return;
            }
            let mut plain = vec![0; RECORD_BYTES];
            while let Ok(len) = tls.reader().read(&mut plain) {
                if len == 0 {
                    break;
                }
                self.reply.extend_from_slice(plain.get(..len).unwrap_or_default());
            }
        }
    }

    pub(super) fn got_reply(&self) -> bool {
        !self.reply.is_empty() || self.refused.is_some()
    }

    /// The reply, and why there was none.
    pub(super) fn finish(self) -> (Vec<u8>, Option<String>) {
        (self.reply, self.refused)
    }
}

fn connection(host: &str) -> Result<ClientConnection, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let host = if host.is_empty() { "localhost" } else { host.trim_matches(['[', ']']) };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| Error::General(error.to_string()))?;
    ClientConnection::new(Arc::new(config), name)
}

/// Believes any certificate: nothing leaves this process, and the question is what the configuration does.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
