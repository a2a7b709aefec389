//! A client's connection on a `proxy_protocol` port: first comes the load balancer's header.

use alloc::rc::Rc;

use super::ClientConn;
use super::client::State;
use crate::access::proxy_protocol::{Parsed, parse};
use crate::buf::Chunk;
use crate::command::{CloseHow, Level, Report, Room};
use crate::exchange::context::Context;
use crate::tls::Session;

impl ClientConn {
    /// The first bytes will be a header.
    pub(crate) fn expect_proxy_header(&mut self) {
        self.state = State::ProxyHeader;
    }

    /// Looks for the header. Returns whether the connection has become something else.
    pub(super) fn read_proxy_header(&mut self, ctx: &mut Context) -> bool {
        let news = core::mem::take(self.link.inbox());
        let bytes = if self.link.has_partial_head() {
            Chunk::from_vec([&*self.link.take_gathered(), &*news].concat())
        } else {
            news
        };
        let message = match parse(&bytes) {
            Parsed::Complete { header, len } => {
                let mut facts = (*self.facts).clone();
                facts.proxy = header;
                self.facts = Rc::new(facts);
                self.leave_proxy_header(bytes.slice(len..bytes.len()), ctx);
                return true;
            }
            Parsed::Partial if self.link.ended_early().is_none() => {
                self.link.gather(&bytes);
                self.link.want_recv(Room::Small, ctx);
                return false;
            }
            Parsed::Partial if bytes.is_empty() => {
                self.close(CloseHow::Graceful, ctx);
                return false;
            }
            Parsed::Partial => {
                let end = memchr::memchr2(b'\r', b'\n', &bytes).unwrap_or(bytes.len());
                let shown = crate::content::files::shown(bytes.get(..end).unwrap_or_default());
                alloc::format!("broken header: \"{shown}\"")
            }
            Parsed::Invalid(message) => message,
        };
        self.log_proxy_header(&message, ctx);
        self.close(CloseHow::Graceful, ctx);
        false
    }

    /// Behind the header is what would have come first.
    fn leave_proxy_header(&mut self, rest: Chunk, ctx: &mut Context) {
        if self.facts.tls_port {
            self.state = State::Handshake;
            self.link.start_tls(Session::accepting(), &rest, ctx);
        } else {
            self.state = State::Waiting;
            self.link.put_back(rest);
        }
    }

    fn log_proxy_header(&self, message: &str, ctx: &mut Context) {
        let generation = Rc::clone(&ctx.generation);
        let Some(server) = generation.config.server(self.default_server_id(&generation)) else { return };
        let Some(root) = generation.config.location(server.root) else { return };
        for log in root.core.error_logs.iter().filter(|log| Level::Error <= log.level) {
            let line = alloc::format!(
                "*{} {message} while reading PROXY protocol, client: {}, server: {}",
                self.facts.number,
                alloc::string::String::from_utf8_lossy(&self.facts.client_text),
                self.facts.peer.local,
            );
            let message = line.into_bytes();
            ctx.reports.push_back(Report::Error { log: log.log, level: Level::Error, message });
        }
    }
}
