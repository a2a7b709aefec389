//! TLS towards an upstream: whom its server is taken for, the handshake, and what may go wrong with it.
//!
//! `proxy_connect_timeout` bounds connecting and the handshake together, and `$upstream_connect_time` counts both.
//!
//! Reference: ngx_http_upstream_module (`ngx_http_upstream_ssl_*`).

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;

use super::Phase;
use crate::command::{Level, Room};
use crate::config::{Proxy, ProxyTls};
use crate::conn::Link;
use crate::conn::link::Ended;
use crate::error::UpstreamError;
use crate::exchange::Exchange;
use crate::exchange::context::{Context, Generation};
use crate::http::Status;
use crate::tls::Stage;
use crate::tls::client::{Identity, Refusal, without_port};
use crate::tls::session::Failure;
use crate::upstream::Outcome;

impl Exchange {
    /// The TLS of this request's upstream; none for a plain one.
    fn upstream_tls<'p>(&self, proxy: &'p Proxy) -> Option<&'p ProxyTls> {
        let tls = proxy.tls.as_deref()?;
        self.facts.dynamic_target.as_ref().is_none_or(|target| target.tls).then_some(tls)
    }

    /// Under what its connection is made.
    pub(super) fn tls_identity(
        &self,
        proxy: &Proxy,
        generation: &Generation,
        ctx: &mut Context,
    ) -> Option<Arc<Identity>> {
        let tls = self.upstream_tls(proxy)?;
        if let Some(identity) = &tls.identity {
            return Some(Arc::clone(identity));
        }
        let shown = tls.settings.computed.as_ref().map(|computed| {
            let names = computed.names(&self.facts, &ctx.env(generation));
            names.into_iter().next().map(|(chain, _)| chain).unwrap_or_default()
        });
        let name = match (&tls.settings.name, &self.proxy.endpoint, &proxy.proxy_host) {
            (Some(name), ..) => without_port(&self.evaluate(name, generation, ctx)).to_vec(),
            (None, Some(endpoint), _) => endpoint.tls_name().into(),
            (None, None, host) => without_port(host).to_vec(),
        };
        Some(Arc::new(tls.settings.identity(&name, &shown.unwrap_or_default())))
    }

    /// The connection stands: begins the handshake, if there is to be one.
    pub(super) fn begin_handshake(&mut self, link: &mut Link, ctx: &mut Context) -> bool {
        let generation = Rc::clone(&self.generation);
        let tls = self.proxy_settings(&generation).and_then(|proxy| self.upstream_tls(proxy));
        let certificate = match tls.and_then(|tls| tls.settings.computed.as_ref()) {
            None => Ok(None),
            Some(computed) => {
                let names = computed.names(&self.facts, &ctx.env(&generation));
                computed.load(&names).map(|found| found.into_iter().next())
            }
        };
        let certificate = match certificate {
            Ok(certificate) => certificate,
            Err(message) => {
                self.log_error(Level::Error, &message, ctx);
                self.end_attempt(Outcome::Neutral, false, ctx);
                self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
                return true;
            }
        };
        let Some(conn) = self.proxy.conn.as_mut() else { return false };
        let (Some(tls), Some(identity)) = (tls, &conn.identity) else { return false };
        let Some(address) = self.facts.tries.last().and_then(|attempt| attempt.address.as_ref()) else {
            return false;
        };
        let session = tls.settings.connect(identity, address, certificate);
        conn.link.connect_tls(session, ctx);
        self.proxy.phase = Phase::Handshaking;
        true
    }

    /// Goes on with the handshake.
    pub(super) fn shake_hands(&mut self, link: &mut Link, ctx: &mut Context) {
        let Some(conn) = self.proxy.conn.as_mut() else { return };
        let Some(session) = conn.link.tls() else { return };
        match session.stage().clone() {
            Stage::Hello | Stage::Handshake | Stage::Early => {
                let message = match (conn.link.ended_early(), conn.link.broken()) {
                    (Some(Ended::Eof), _) => "peer closed connection in SSL handshake".to_string(),
                    (Some(Ended::Failed(error)), _) | (None, Some(error)) => {
                        format!("peer closed connection in SSL handshake ({error})")
                    }
                    (None, None) => return conn.link.want_recv(Room::Small, ctx),
                };
                self.handshake_failed(&message, Level::Error, link, ctx);
            }
            Stage::Open | Stage::Closed => {
                if let Some(agreed) = session.take_agreed() {
                    conn.protocol = agreed.protocol;
                }
                self.ready(ctx);
            }
            Stage::Failed(failure) => {
                let message = self.words_of(&failure);
                let level = if failure.ours { Level::Crit } else { Level::Error };
                self.handshake_failed(&message, level, link, ctx);
            }
        }
    }

    /// nginx's words for a failure.
    fn words_of(&self, failure: &Failure) -> String {
        let name = self.proxy.conn.as_ref().and_then(|conn| conn.identity.as_ref());
        match failure.refusal {
            Some(refusal @ Refusal::Chain(_)) => refusal.to_string(),
            Some(refusal @ Refusal::Name) => {
                let name = name.map(|identity| String::from_utf8_lossy(&identity.name)).unwrap_or_default();
                format!("{refusal} \"{name}\"")
            }
            None => format!("SSL_do_handshake() failed (SSL: {})", failure.reason),
        }
    }

    fn handshake_failed(&mut self, message: &str, level: Level, link: &mut Link, ctx: &mut Context) {
        let message = format!("{message} while SSL handshaking to upstream");
        self.log_error(level, &message, ctx);
        self.attempt_failed(UpstreamError::Handshake, link, ctx);
    }
}
