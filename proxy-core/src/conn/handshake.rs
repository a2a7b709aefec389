//! A client's connection before its first request, on a TLS port.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::AlertDescription;

use super::ClientConn;
use super::client::State;
use super::link::Ended;
use crate::buf::Chunk;
use crate::command::{CloseHow, Level, Report, Room};
use crate::config::{ServerId, TlsServer};
use crate::exchange::context::{Context, Generation};
use crate::exchange::{Facts, TlsFacts};
use crate::tls::build::Certificate;
use crate::tls::computed::Computed;
use crate::tls::hello::{Hello, Opening};
use crate::tls::session::Agreed;
use crate::tls::{Session, Stage};

impl ClientConn {
    /// Goes on with the handshake. Returns whether the connection has become something else.
    pub(super) fn handshake(&mut self, ctx: &mut Context) -> bool {
        let Some(session) = self.link.tls() else { return false };
        match session.stage() {
            Stage::Hello => match session.opening() {
                Opening::Partial => self.wait_for_handshake(ctx),
                Opening::Plain => {
                    self.link.drop_tls();
                    self.state = State::Waiting;
                    true
                }
                Opening::Hello(hello) => self.choose_server(hello, ctx),
                Opening::Strange => self.choose_server(Hello::default(), ctx),
            },
            Stage::Handshake => self.wait_for_handshake(ctx),
            Stage::Early => {
                let agreed = session.agreed_early();
                self.become_tls(agreed.as_ref(), true);
                true
            }
            Stage::Open | Stage::Closed => {
                let agreed = session.take_agreed();
                self.become_tls(agreed.as_deref(), false);
                true
            }
            Stage::Failed(failure) => {
                let message = alloc::format!("SSL_do_handshake() failed ({})", failure.reason);
                let level = if failure.ours { Level::Crit } else { Level::Info };
                self.log_handshake(level, &message, ctx);
                self.close(CloseHow::Graceful, ctx);
                false
            }
        }
    }

    /// Requests may come.
    fn become_tls(&mut self, agreed: Option<&Agreed>, early: bool) {
        let mut facts = (*self.facts).clone();
        if let (Some(tls), Some(agreed)) = (&mut facts.tls, agreed) {
            tls.agree(agreed);
            tls.early = early;
        }
        self.facts = Rc::new(facts);
        self.state = State::Waiting;
    }

    /// A handshake whose early data was taken may be complete by now.
    pub(super) fn notice_end_of_early_data(&mut self) {
        let is_open = |session: &mut Session| matches!(session.stage(), Stage::Open | Stage::Closed);
        if self.link.tls().is_some_and(is_open) {
            let agreed = self.link.tls().and_then(Session::take_agreed);
            self.become_tls(agreed.as_deref(), false);
        }
    }

    /// The client has named the server that it wants, or none: the handshake begins with that server's certificate.
    fn choose_server(&mut self, hello: Hello, ctx: &mut Context) -> bool {
        let generation = Rc::clone(&ctx.generation);
        let default = self.listener_default(&generation);
        let found = self.server_of(&hello, &generation);
        let server = found.unwrap_or(default);
        let mut facts = (*self.facts).clone();
        facts.tls = Some(Box::new(TlsFacts {
            server_name: hello.server_name.as_slice().into(),
            named: found.is_some(),
            server,
            generation: generation.config.generation,
            hello,
            ..TlsFacts::default()
        }));
        let listener = facts.listener;
        self.facts = Rc::new(facts);
        let Some(session) = self.link.tls() else { return false };
        // A server without certificates shows those of the default one.
        let Some(tls) = generation.config.tls_of(server, self.listener.unwrap_or(listener)) else {
            session.refuse(AlertDescription::InternalError, "no certificate");
            return true;
        };
        if tls.reject {
            session.refuse(AlertDescription::UnrecognisedName, "SSL handshake rejected");
            return true;
        }
        let on_listener = self.listener.and_then(|id| generation.config.listeners.get(id.0 as usize));
        let http2 = on_listener.is_some_and(|listener| listener.http2)
            || generation.config.server(server).is_some_and(|server| server.http2);
        let config = if http2 { &tls.config_http2 } else { &tls.config };
        let config = match &tls.computed {
            None => Arc::clone(config),
            Some(computed) => match self.load_certificates(computed, server, &generation, ctx) {
                Ok(certificates) => TlsServer::with_certificates(config, certificates),
                Err(message) => {
                    self.log_handshake(Level::Error, &message, ctx);
                    if let Some(session) = self.link.tls() {
                        session.refuse(AlertDescription::InternalError, "no certificate");
                    }
                    return true;
                }
            },
        };
        let Some(session) = self.link.tls() else { return false };
        session.accept(&config, tls.record_bytes_max);
        self.link.advance_tls(ctx);
        true
    }

    /// The certificates that this handshake's variables name.
    fn load_certificates(
        &self,
        computed: &Computed,
        server: ServerId,
        generation: &Generation,
        ctx: &Context,
    ) -> Result<Vec<Certificate>, String> {
        // A name of a host is no path.
        if self
            .facts
            .tls
            .as_ref()
            .is_some_and(|tls| tls.server_name.iter().any(|byte| matches!(byte, b'/' | 0)))
        {
            return Err("client sent invalid server name".into());
        }
        let facts = Facts { server, ..Facts::blank(Rc::clone(&self.facts)) };
        let names = computed.names(&facts, &ctx.env(generation));
        computed.load(&names)
    }

    fn server_of(&self, hello: &Hello, generation: &Generation) -> Option<ServerId> {
        if hello.server_name.is_empty() {
            return None;
        }
        let listener = self.listener.and_then(|id| generation.config.listeners.get(id.0 as usize))?;
        let name = Chunk::from_vec(hello.server_name.clone());
        listener.names.find(&name).map(|(server, _)| server)
    }

    fn wait_for_handshake(&mut self, ctx: &mut Context) -> bool {
        match self.link.ended_early() {
            None => self.link.want_recv(Room::Small, ctx),
            Some(ended) => {
                let message = match ended {
                    Ended::Eof => "peer closed connection in SSL handshake".into(),
                    Ended::Failed(error) => alloc::format!("SSL_do_handshake() failed ({error})"),
                };
                self.log_handshake(Level::Info, &message, ctx);
                self.close(CloseHow::Graceful, ctx);
            }
        }
        false
    }

    fn log_handshake(&self, level: Level, message: &str, ctx: &mut Context) {
        let generation = Rc::clone(&ctx.generation);
        let id = self.facts.tls.as_ref().map_or(self.listener_default(&generation), |tls| tls.server);
        let Some(server) = generation.config.server(id) else { return };
        let Some(root) = generation.config.location(server.root) else { return };
        for log in root.core.error_logs.iter().filter(|log| level <= log.level) {
            let line = alloc::format!(
                "*{} {message} while SSL handshaking, client: {}, server: {}",
                self.facts.number,
                String::from_utf8_lossy(&self.facts.client_text),
                self.facts.peer.local,
            );
            ctx.reports.push_back(Report::Error { log: log.log, level, message: line.into_bytes() });
        }
    }
}
