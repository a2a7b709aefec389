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
use crate::tls::Stage;
use crate::tls::hello::{Hello, Opening};

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
            Stage::Open | Stage::Closed => {
                let protocol = session.protocol().unwrap_or_default().into();
                let mut facts = (*self.facts).clone();
                if let Some(tls) = &mut facts.tls {
                    tls.protocol = protocol;
                }
                self.facts = Rc::new(facts);
                self.state = State::Waiting;
                true
            }
            Stage::Failed(reason) => {
                let message = alloc::format!("SSL_do_handshake() failed ({reason})");
                self.log_handshake(Level::Info, &message, ctx);
                self.close(CloseHow::Graceful, ctx);
                false
            }
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
        session.accept(&tls.config);
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
