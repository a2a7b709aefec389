//! What TLS means for a request: whether its server may answer on this connection.

use rustls::pki_types::UnixTime;

use super::context::Generation;
use super::facts::{Facts, TlsFacts};
use crate::buf::Chunk;
use crate::config::{ClientVerify, ServerId, TlsServer};
use crate::error::ClientError;
use crate::tls::verify::Verdict;

impl Facts {
    /// Whether the server that was found for a request may answer it.
    ///
    /// # Errors
    /// Plain HTTP, a server that another handshake would have led to, a certificate that is missing or no good.
    pub(crate) fn check_tls(&self, generation: &Generation) -> Result<(), ClientError> {
        let Some(tls) = &self.conn.tls else { return Err(ClientError::PlainOnTls) };
        let Some(server) = generation.config.tls_of(self.server, self.conn.listener) else { return Ok(()) };
        if server.verify == ClientVerify::Off {
            return Ok(());
        }
        // RFC 9110, section 7.4: what one name was negotiated for is no pass to another.
        if tls.named && *tls.server_name != *self.host && !self.host.is_empty() {
            return Err(ClientError::Misdirected);
        }
        match tls.weigh(server) {
            Some(Err(verdict))
                if server.verify != ClientVerify::OptionalNoCa || !verdict.is_lack_of_trust() =>
            {
                Err(ClientError::CertificateRefused(verdict))
            }
            None if server.verify == ClientVerify::On => Err(ClientError::NoCertificate),
            Some(_) | None => Ok(()),
        }
    }
}

impl TlsFacts {
    /// What the client's certificate is worth to a server; none if there is none.
    pub(crate) fn weigh(&self, server: &TlsServer) -> Option<Result<(), Verdict>> {
        let chain = self.peer_chain();
        let now =
            server.time.current_time().unwrap_or(UnixTime::since_unix_epoch(core::time::Duration::ZERO));
        (!chain.is_empty()).then(|| server.trust.weigh_client(chain, now))
    }

    /// The server that the handshake was made with, in a configuration that may be a newer one.
    pub(crate) fn server_in(&self, generation: &Generation, listener: Option<usize>) -> Option<ServerId> {
        if generation.config.generation == self.generation {
            return Some(self.server);
        }
        let listener = generation.config.listeners.get(listener?)?;
        let name = Chunk::from_vec(self.server_name.to_vec());
        listener.names.find(&name).map(|(server, _)| server)
    }
}
