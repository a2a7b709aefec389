//! Server names: exact, wildcard, regex, in nginx's order.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Captures, Regex};
use crate::config::ServerId;

/// A `server_name`, classified by its author.
#[derive(Clone, Debug)]
pub enum NameKind {
    /// `www.example.com`, lower case.
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
    names: Vec<(NameKind, ServerId)>,
}

/// Collects the names of one listening socket.
#[derive(Debug, Default)]
pub struct ServerNamesBuilder {
    names: ServerNames,
}

impl ServerNamesBuilder {
    /// Adds a name. `false` where another server has the very same one already: the first one keeps it, with a warning.
    #[must_use]
    pub fn add(&mut self, name: NameKind, server: ServerId) -> bool {
        self.names.names.push((name, server));
        true
    }

    /// The finished table.
    #[must_use]
    pub fn build(self) -> ServerNames {
        self.names
    }
}

impl ServerNames {
    /// The server for `host` (lower case, without a port or a trailing dot), and the captures where a regex found it.
    #[must_use]
    pub fn find(&self, host: &[u8]) -> Option<(ServerId, Option<(&Regex, Captures)>)> {
        self.names.iter().find_map(|(name, server)| match name {
            NameKind::Exact(exact) if **exact == *host => Some((*server, None)),
            NameKind::Regex(regex) => regex.captures(host).map(|captures| (*server, Some((regex, captures)))),
            NameKind::Exact(_) | NameKind::Suffix(_) | NameKind::SuffixOrSelf(_) | NameKind::Prefix(_) => {
                None
            }
        })
    }
}
