//! TLS of a check, with the location's `proxy_ssl_*`: a server that shows a wrong certificate is no healthy one.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;

use super::probe::{Finding, Phase, Probe};
use crate::command::{IoError, Room};
use crate::config::CheckKind;
use crate::conn::link::Ended;
use crate::error::UpstreamError;
use crate::exchange::context::Context;
use crate::tls::Stage;
use crate::tls::client::Refusal;
use crate::tls::session::Failure;

impl Probe {
    /// The connection stands: begins the handshake, if there is to be one.
    pub(super) fn begin_handshake(&mut self, ctx: &mut Context) -> bool {
        let proxy = Arc::clone(&self.check.proxy);
        // A check is HTTP/1.1, also where requests are HTTP/2; one by gRPC is HTTP/2.
        let is_grpc = matches!(self.check.kind, CheckKind::Grpc { .. });
        let tls = proxy.upgrade_tls.as_ref().filter(|_| !is_grpc).or(proxy.tls.as_ref());
        let Some(tls) = tls else { return false };
        let env = ctx.env(&self.generation);
        let identity = tls.identity_for(&proxy, None, &self.facts, &env);
        let session = tls.connect(&identity, &self.member.config.address, &self.facts, &env);
        match session {
            Ok(session) => self.link.connect_tls(session, ctx),
            Err(_) => self.link.fail(IoError::PROTOCOL),
        }
        self.phase = Phase::Handshaking;
        true
    }

    /// Goes on with the handshake, and sends the request behind it.
    pub(super) fn shake_hands(&mut self, ctx: &mut Context) -> Option<Finding> {
        let Some(stage) = self.link.tls().map(|session| session.stage().clone()) else {
            self.refusal = Some("SSL_do_handshake() failed".to_string());
            return Some(Finding::Broken(UpstreamError::Handshake));
        };
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
