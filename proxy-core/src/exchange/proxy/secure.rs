//! TLS towards an upstream: whom its server is taken for, the handshake, and what may go wrong with it.
//!
//! `proxy_connect_timeout` bounds connecting and the handshake together, and `$upstream_connect_time` counts both.
//!
//! Reference: ngx_http_upstream_module (`ngx_http_upstream_ssl_*`).

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Phase;
use crate::command::{Address, Level, Room};
use crate::config::{Endpoint, Proxy, ProxyTls};
use crate::conn::Link;
use crate::conn::link::Ended;
use crate::error::UpstreamError;
use crate::exchange::context::{Context, Generation};
use crate::exchange::vars::Env;
use crate::exchange::{Exchange, Facts};
use crate::http::Status;
use crate::tls::client::{Identity, Refusal, without_port};
use crate::tls::session::Failure;
use crate::tls::{Session, Stage};
use crate::upstream::Outcome;

impl Exchange {
    /// The TLS of this request's upstream; none for a plain one.
    fn upstream_tls<'p>(&self, proxy: &'p Proxy) -> Option<&'p ProxyTls> {
        let switches = self.version() != proxy.http_version;
        let tls = if switches { proxy.upgrade_tls.as_deref()? } else { proxy.tls.as_deref()? };
        self.facts.dynamic_target.as_ref().is_none_or(|target| target.tls).then_some(tls)
    }

    /// Under what its connection is made.
    pub(super) fn tls_identity(
        &self,
        proxy: &Proxy,
        generation: &Generation,
        ctx: &Context,
    ) -> Option<Arc<Identity>> {
        let tls = self.upstream_tls(proxy)?;
        let env = ctx.env(generation);
        Some(tls.identity_for(proxy, self.proxy.endpoint.as_ref(), &self.facts, &env))
    }

    /// The connection stands: begins the handshake, if there is to be one.
    pub(super) fn begin_handshake(&mut self, link: &mut Link, ctx: &mut Context) -> bool {
        let generation = Rc::clone(&self.generation);
        let tls = self.proxy_settings(&generation).and_then(|proxy| self.upstream_tls(proxy));
        let Some(conn) = self.proxy.conn.as_mut() else { return false };
        let (Some(tls), Some(identity)) = (tls, &conn.identity) else { return false };
        let Some(address) = self.facts.tries.last().and_then(|attempt| attempt.address.as_ref()) else {
            return false;
        };
        match tls.connect(identity, address, &self.facts, &ctx.env(&generation)) {
            Ok(session) => {
                conn.link.connect_tls(session, ctx);
                self.proxy.phase = Phase::Handshaking;
            }
            Err(message) => {
                self.log_error(Level::Error, &message, ctx);
                self.end_attempt(Outcome::Neutral, false, ctx);
                self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
            }
        }
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

impl ProxyTls {
    /// Under what a connection is made; `endpoint` is whom an evaluated URL names.
    pub(crate) fn identity_for(
        &self,
        proxy: &Proxy,
        endpoint: Option<&Endpoint>,
        facts: &Facts,
        env: &Env<'_>,
    ) -> Arc<Identity> {
        if let Some(identity) = &self.identity {
            return Arc::clone(identity);
        }
        let shown = self.settings.computed.as_ref().map(|computed| {
            let names = computed.names(facts, env);
            names.into_iter().next().map(|(chain, _)| chain).unwrap_or_default()
        });
        let mut name = Vec::new();
        match (&self.settings.name, endpoint) {
            (Some(template), _) => template.write(facts, env, &mut name),
            (None, Some(endpoint)) => name.extend_from_slice(endpoint.tls_name().as_bytes()),
            (None, None) => name.extend_from_slice(&proxy.proxy_host),
        }
        // What an endpoint names has no port, and an IPv6 address has no brackets there.
        let bare =
            if self.settings.name.is_none() && endpoint.is_some() { &name } else { without_port(&name) };
        Arc::new(self.settings.identity(bare, &shown.unwrap_or_default()))
    }

    /// Begins a handshake with the server at `address`.
    ///
    /// # Errors
    /// What is wrong with a certificate of ours that variables name.
    pub(crate) fn connect(
        &self,
        identity: &Identity,
        address: &Address,
        facts: &Facts,
        env: &Env<'_>,
    ) -> Result<Session, String> {
        let certificate = match &self.settings.computed {
            None => None,
            Some(computed) => computed.load(&computed.names(facts, env))?.into_iter().next(),
        };
        Ok(self.settings.connect(identity, address, certificate))
    }
}
