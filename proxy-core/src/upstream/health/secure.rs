//! TLS of a check, with the location's `proxy_ssl_*`: a server that shows a wrong certificate is no healthy one.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::probe::{Finding, Phase, Probe};
use crate::command::Room;
use crate::conn::link::Ended;
use crate::error::UpstreamError;
use crate::exchange::context::Context;
use crate::tls::Stage;
use crate::tls::client::{Identity, Refusal, without_port};
use crate::tls::session::Failure;

impl Probe {
    /// The connection stands: begins the handshake, if there is to be one.
    pub(super) fn begin_handshake(&mut self, ctx: &mut Context) -> bool {
        let proxy = Arc::clone(&self.check.proxy);
        let Some(tls) = proxy.tls.as_deref() else { return false };
        let identity = match (&tls.identity, &tls.settings.name) {
            (Some(identity), _) => Identity::clone(identity),
            (None, Some(name)) => {
                let mut text = Vec::new();
                name.write(&self.facts, &ctx.env(&self.generation), &mut text);
                tls.settings.identity(without_port(&text), b"")
            }
            (None, None) => tls.settings.identity(b"", b""),
        };
        let session = tls.settings.connect(&identity, &self.member.config.address, None);
        self.link.connect_tls(session, ctx);
        self.phase = Phase::Handshaking;
        true
    }

    /// Goes on with the handshake, and sends the request behind it.
    pub(super) fn shake_hands(&mut self, ctx: &mut Context) -> Option<Finding> {
        let stage = self.link.tls()?.stage().clone();
        let words = match stage {
            Stage::Hello | Stage::Handshake | Stage::Early => {
                match (self.link.ended_early(), self.link.broken()) {
                    (Some(Ended::Eof), _) => "peer closed connection in SSL handshake".to_string(),
                    (Some(Ended::Failed(error)), _) | (None, Some(error)) => {
                        format!("peer closed connection in SSL handshake ({error})")
                    }
                    (None, None) => {
                        self.link.want_recv(Room::Small, ctx);
                        return None;
                    }
                }
            }
            Stage::Open | Stage::Closed => {
                self.link.tls().and_then(|session| session.take_agreed());
                self.begin_request(ctx);
                return None;
            }
            Stage::Failed(failure) => words_of(&failure),
        };
        self.refusal = Some(words);
        Some(Finding::Broken(UpstreamError::Handshake))
    }
}

/// nginx's words for a failure.
fn words_of(failure: &Failure) -> String {
    match failure.refusal {
        Some(refusal @ (Refusal::Chain(_) | Refusal::Name)) => refusal.to_string(),
        None => format!("SSL_do_handshake() failed (SSL: {})", failure.reason),
    }
}
