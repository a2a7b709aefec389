//! Server names: exact, wildcard, regex, in nginx's order.
//!
//! The exact name wins; then the longest wildcard at the beginning (`*.example.com`), then the longest one at the end
//! (`www.example.*`), then the first regex. A lookup allocates nothing.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashMap;
use memchr::{memchr_iter, memrchr_iter};

use super::ordered::OrderedRegexes;
use super::{Captures, Regex};
use crate::buf::Chunk;
use crate::config::ServerId;
use crate::trace::NamedBy;

/// A `server_name`, classified by its author.
#[derive(Clone, Debug)]
pub enum NameKind {
    /// `www.example.com`, lower case. Empty for requests without a host.
    Exact(Box<[u8]>),
    /// `*.example.com` as `example.com`.
    Suffix(Box<[u8]>),
    /// `.example.com` as `example.com`: the name itself and everything below.
    SuffixOrSelf(Box<[u8]>),
    /// `www.example.*` as `www.example`.
    Prefix(Box<[u8]>),
    /// `~pattern`
    Regex(Regex),
}

/// The servers of one listening socket by name.
#[derive(Debug, Default)]
pub struct ServerNames {
    exact: Table,
    suffixes: Table,
    prefixes: Table,
    regexes: OrderedRegexes<ServerId>,
}

/// Names of one kind.
#[derive(Debug, Default)]
struct Table {
    servers: HashMap<Box<[u8]>, ServerId>,
    /// The most dots in any of them. A host is not looked at beyond that, so that one of a thousand dots costs no
    /// thousand lookups.
    dots_max: usize,
}

impl Table {
    /// `false` if it is taken.
    fn insert(&mut self, name: Box<[u8]>, server: ServerId) -> bool {
        self.dots_max = self.dots_max.max(memchr_iter(b'.', &name).count());
        self.servers.try_insert(name, server).is_ok()
    }

    fn find(&self, name: &[u8]) -> Option<ServerId> {
        self.servers.get(name).copied()
    }
}

/// Collects the names of one listening socket.
#[derive(Debug, Default)]
pub struct ServerNamesBuilder {
    names: ServerNames,
    regexes: Vec<(Regex, ServerId)>,
}

impl ServerNamesBuilder {
    /// Adds a name. `false` where a server has the very same one already: the first one keeps it, with a warning.
    #[must_use]
    pub fn add(&mut self, name: NameKind, server: ServerId) -> bool {
        let names = &mut self.names;
        match name {
            NameKind::Exact(name) => names.exact.insert(name, server),
            NameKind::Suffix(name) => names.suffixes.insert(name, server),
            NameKind::SuffixOrSelf(name) => {
                names.exact.find(&name).is_none()
                    && names.suffixes.insert(name.clone(), server)
                    && names.exact.insert(name, server)
            }
            NameKind::Prefix(name) => names.prefixes.insert(name, server),
            NameKind::Regex(regex) => {
                self.regexes.push((regex, server));
                true
            }
        }
    }

    /// The finished table.
    #[must_use]
    pub fn build(self) -> ServerNames {
        ServerNames { regexes: OrderedRegexes::new(self.regexes), ..self.names }
    }
}

impl ServerNames {
    /// The server for `host` (lower case, without a port or a trailing dot; empty if the request has none), and the
    /// regex that found it with its captures (none at all, not even group 0, if it has no groups).
    #[must_use]
    pub fn find(&self, host: &Chunk) -> Option<(ServerId, Option<(&Regex, Captures)>)> {
        let by_text = self.exact.find(host).or_else(|| self.by_suffix(host)).or_else(|| self.by_prefix(host));
        if let Some(server) = by_text {
            return Some((server, None));
        }
        if host.is_empty() {
            return None;
        }
        let (regex, captures, server) = self.regexes.first_match(host)?;
        Some((*server, Some((regex, captures))))
    }

    /// How [`find`](Self::find) finds the server of `host`.
    pub(crate) fn how(&self, host: &Chunk) -> NamedBy {
        match self.find(host) {
            None => NamedBy::Default,
            Some((_, Some(_))) => NamedBy::Regex,
            Some(_) if self.exact.find(host).is_some() => NamedBy::Exact,
            Some(_) if self.by_suffix(host).is_some() => NamedBy::Suffix,
            Some(_) => NamedBy::Prefix,
        }
    }

    fn by_suffix(&self, host: &[u8]) -> Option<ServerId> {
        let dots = memrchr_iter(b'.', host).take(self.suffixes.looks());
        dots.filter_map(|dot| self.suffixes.find(host.get(dot + 1..)?)).last()
    }

    fn by_prefix(&self, host: &[u8]) -> Option<ServerId> {
        let dots = memchr_iter(b'.', host).take(self.prefixes.looks());
        dots.filter_map(|dot| self.prefixes.find(host.get(..dot)?)).last()
    }
}

impl Table {
    /// How many of a host's dots may be the one beside the wildcard.
    fn looks(&self) -> usize {
        if self.servers.is_empty() { 0 } else { self.dots_max + 1 }
    }
}
