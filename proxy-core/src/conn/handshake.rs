//! A client's connection before its first request, on a TLS port.

use alloc::boxed::Box;
use alloc::rc::Rc;

use super::ClientConn;
use super::client::State;
use super::link::Ended;
use crate::buf::Chunk;
use crate::command::{CloseHow, Level, Report, Room};
use crate::config::ServerId;
use crate::exchange::TlsFacts;
use crate::exchange::context::{Context, Generation};
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
        let server = self.server_of(&hello, &generation);
        // A server without certificates shows those of the default one.
        let tls_of = |id| generation.config.server(id).and_then(|server| server.tls.as_ref());
        let tls = tls_of(server).or_else(|| tls_of(self.default_server_id(&generation))).cloned();
        let mut facts = (*self.facts).clone();
        facts.tls =
            Some(Box::new(TlsFacts { server_name: hello.server_name.into(), server, ..TlsFacts::default() }));
        self.facts = Rc::new(facts);
        let (Some(tls), Some(session)) = (tls, self.link.tls()) else {
            self.close(CloseHow::Graceful, ctx);
            return false;
        };
        session.accept(&tls.config, tls.record_bytes_max);
        self.link.advance_tls(ctx);
        true
    }

    fn server_of(&self, hello: &Hello, generation: &Generation) -> ServerId {
        let default = self.default_server_id(generation);
        if hello.server_name.is_empty() {
            return default;
        }
        let listener = self.listener.and_then(|id| generation.config.listeners.get(id.0 as usize));
        let name = Chunk::from_vec(hello.server_name.clone());
        let found = listener.and_then(|listener| listener.names.find(&name));
        found.map_or(default, |(server, _)| server)
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
        let id = self.facts.tls.as_ref().map_or(self.default_server_id(&generation), |tls| tls.server);
        let Some(server) = generation.config.server(id) else { return };
        let Some(root) = generation.config.location(server.root) else { return };
        for log in root.core.error_logs.iter().filter(|log| level <= log.level) {
            let line = alloc::format!(
                "*{} {message} while SSL handshaking, client: {}, server: {}",
                self.facts.number,
                alloc::string::String::from_utf8_lossy(&self.facts.client_text),
                self.facts.peer.local,
            );
            ctx.reports.push_back(Report::Error { log: log.log, level, message: line.into_bytes() });
        }
    }
}
