//! Variables and templates (first slice).

use alloc::vec::Vec;

use super::Facts;
use crate::config::{Config, Piece, Template, Variable};
use crate::h1::encode;
use crate::shared::Shared;
use crate::time::Now;

/// What evaluation may look at besides the exchange.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// The configuration of the exchange.
    pub config: &'a Config,
    /// The process's counters.
    pub shared: &'a Shared,
    /// The time of this turn.
    pub now: Now,
}

impl Template {
    /// Writes the text that the template has now.
    pub fn write(&self, facts: &Facts, env: &Env<'_>, out: &mut Vec<u8>) {
        for piece in self.pieces() {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Variable(variable) => {
                    facts.value(variable, env, out);
                }
            }
        }
    }
}

impl Facts {
    /// Writes a variable's value; `false` if it has none.
    #[expect(clippy::wildcard_enum_match_arm, reason = "first slice")]
    pub fn value(&self, variable: &Variable, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        match variable {
            Variable::Host | Variable::ServerName if self.host.is_empty() => {
                out.extend_from_slice(env.config.server(self.server).map(|s| &*s.name).unwrap_or_default());
            }
            Variable::Host => out.extend_from_slice(&self.host),
            Variable::RemoteAddr => out.extend_from_slice(&self.conn.client_text),
            Variable::ProxyAddXForwardedFor => {
                if let Some(value) = self.head.value(crate::http::HeaderId::XForwardedFor) {
                    out.extend_from_slice(value);
                    out.extend_from_slice(b", ");
                }
                out.extend_from_slice(&self.conn.client_text);
            }
            Variable::Scheme => out.extend_from_slice(b"http"),
            Variable::Uri => out.extend_from_slice(&self.uri),
            Variable::Args => out.extend_from_slice(&self.args),
            Variable::RequestUri => out.extend_from_slice(&self.raw),
            Variable::Status => encode::decimal(out, u64::from(self.reply.status.0)),
            Variable::ProxyHost => {
                if let Some(location) = env.config.location(self.location)
                    && let crate::config::Content::Proxy(proxy) = &location.content
                {
                    out.extend_from_slice(&proxy.proxy_host);
                }
            }
            Variable::Http(name) => {
                let found =
                    self.head.fields.iter().find(|f| f.name.of(&self.head.bytes).eq_ignore_ascii_case(name));
                match found {
                    Some(field) => out.extend_from_slice(field.value.of(&self.head.bytes)),
                    None => return false,
                }
            }
            _ => return false,
        }
        true
    }
}
