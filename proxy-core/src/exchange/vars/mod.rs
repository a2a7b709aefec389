//! Variables and templates: what a configuration's `$name` says about one exchange.
//!
//! A value is written straight behind whatever the caller has so far; there is no value of its own that would be
//! copied once more. "Not found" (`false`) is not the same as empty: a log prints `-` for it.
//!
//! - [`request`]: what the client sent, and the reply that it gets;
//! - [`connection`]: both ends, the clock, the process;
//! - [`upstream`]: the servers that were asked;
//! - [`fields`]: names with a parameter, `$http_NAME` and its kind;
//! - [`tls`]: the client's TLS;
//! - [`path`]: the file that a URI stands for;
//! - [`vetting`]: `geo`, `split_clients`, and what judges a request;
//! - [`browser`]: how old the client's browser is;
//! - [`user_id`]: the cookie that tells clients apart;
//! - [`map`]: values that are looked up by other values.

mod browser;
mod connection;
mod fields;
mod map;
mod path;
mod request;
mod script;
mod tls;
mod upstream;
mod user_id;
mod vetting;

use alloc::vec::Vec;

pub(crate) use request::size;
pub(crate) use user_id::UidCookie;

use super::Facts;
use super::facts::Nested;
use crate::config::{Config, Piece, SlotId, Template, Variable};
use crate::h1::encode;
use crate::shared::Shared;
use crate::time::Now;
use crate::trace::Trace;

/// What evaluation may look at besides the exchange.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// The configuration of the exchange.
    pub config: &'a Config,
    /// The process's counters.
    pub shared: &'a Shared,
    /// The time of this turn.
    pub now: Now,
    /// Where decisions are noted, if they are.
    pub(crate) trace: Option<&'a Trace>,
}

/// What a family of variables says: nothing if the variable is none of its own, otherwise whether it has a value.
type Answer = Option<bool>;

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
    /// Writes a variable's value; `false`, and nothing written, if it has none.
    pub fn value(&self, variable: &Variable, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let found = self
            .request_value(variable, env, out)
            .or_else(|| self.connection_value(variable, env, out))
            .or_else(|| self.field_value(variable, out))
            .or_else(|| self.upstream_value(variable, env, out))
            .or_else(|| self.other_value(variable, env, out))
            .or_else(|| self.tls_value(variable, env, out))
            .unwrap_or(false);
        debug_assert!(found || out.len() == start, "{variable:?} has no value and wrote one");
        found
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other families have the rest")]
    fn other_value(&self, variable: &Variable, env: &Env<'_>, out: &mut Vec<u8>) -> Answer {
        Some(match variable {
            Variable::Capture(n) => {
                let captures = self.captures.borrow();
                text(captures.as_ref().and_then(|captures| captures.group(usize::from(*n))), out)
            }
            Variable::Slot(id) => self.slot_value(*id, out),
            Variable::Map(id) => self.map_value(*id, env, out),
            Variable::Geo(id) => self.geo_value(*id, env, out),
            Variable::Split(id) => self.split_value(*id, env, out),
            Variable::InvalidReferer => self.invalid_referer(env, out),
            Variable::SecureLink => self.secure_link(env, out),
            Variable::SecureLinkExpires => self.secure_link_expires(env, out),
            Variable::ModernBrowser => self.browser_value(true, env, out),
            Variable::AncientBrowser => self.browser_value(false, env, out),
            Variable::Msie => always(if self.is_msie() { b"1" } else { b"" }, out),
            Variable::UidGot => self.uid_got(env, out),
            Variable::UidSet => self.uid_set(env, out),
            Variable::FastcgiScriptName => self.script_name(env, out),
            Variable::FastcgiPathInfo => self.path_info(env, out),
            Variable::DocumentRoot | Variable::RealpathRoot => self.write_root(env, out),
            Variable::RequestFilename => self.write_path(env, out),
            _ => return None,
        })
    }

    /// Evaluates something that may lead back to itself; `false`, and nothing done, where it just did. So every
    /// evaluation ends: nothing is inside itself, and there are only so many things.
    fn nest(&self, what: Nested, evaluate: impl FnOnce()) -> bool {
        if self.nested.borrow().contains(&what) {
            return false;
        }
        self.nested.borrow_mut().push(what);
        evaluate();
        self.nested.borrow_mut().pop();
        true
    }

    /// A variable that was not set yet is empty.
    fn slot_value(&self, id: SlotId, out: &mut Vec<u8>) -> bool {
        let slots = self.slots.borrow();
        let value = slots.get(id.0 as usize).and_then(Option::as_deref);
        out.extend_from_slice(value.unwrap_or_default());
        true
    }
}

/// Writes what there is.
fn text(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    value.is_some_and(|value| always(value, out))
}

/// Writes a value that is never missing.
fn always(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value);
    true
}

/// Writes a value that counts as missing where it is empty.
fn unless_empty(value: &[u8], out: &mut Vec<u8>) -> bool {
    !value.is_empty() && always(value, out)
}

/// Writes a number.
fn number(value: u64, out: &mut Vec<u8>) -> bool {
    encode::decimal(out, value);
    true
}

/// Writes milliseconds as seconds: `0.042`.
fn seconds(ms: u64, out: &mut Vec<u8>) -> bool {
    encode::decimal(out, ms / 1000);
    let rest = ms % 1000;
    out.push(b'.');
    for unit in [100, 10, 1] {
        out.push(b'0' + (rest / unit % 10) as u8);
    }
    true
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
