//! TLS sessions with upstreams that may be resumed, `proxy_ssl_session_reuse`.
//!
//! nginx keeps one session for each server of a group. Here they are kept by server, name and certificate of ours, so
//! that a session is only ever offered to whom it came from; the settings they began under are those of their owner. The
//! lock is taken by handshakes only.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::fmt;

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use spin::Mutex;

/// How many servers' sessions are kept; beyond that, those of the server that came first go.
const SERVERS_MAX: usize = 1024;
/// How many tickets of one server are kept.
const TICKETS_MAX: usize = 16;

/// The sessions of one set of settings.
#[derive(Default)]
pub struct ClientSessions {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    servers: BTreeMap<Arc<[u8]>, Server>,
    /// The keys in the order in which they came.
    order: VecDeque<Arc<[u8]>>,
}

/// What is kept of one server.
#[derive(Default)]
struct Server {
    /// The group that it chose last.
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tickets: VecDeque<Tls13ClientSessionValue>,
}

/// The sessions with one server.
pub(crate) struct ServerSessions {
    sessions: Arc<ClientSessions>,
    key: Arc<[u8]>,
}

impl ServerSessions {
    /// Those under `key`, which says all that they depend on.
    pub(crate) const fn new(sessions: Arc<ClientSessions>, key: Arc<[u8]>) -> Self {
        Self { sessions, key }
    }

    fn change(&self, change: impl FnOnce(&mut Server)) {
        let mut kept = self.sessions.kept.lock();
        if let Some(server) = kept.servers.get_mut(&self.key) {
            return change(server);
        }
        if kept.servers.len() >= SERVERS_MAX
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.servers.remove(&oldest);
        }
        kept.order.push_back(Arc::clone(&self.key));
        change(kept.servers.entry(Arc::clone(&self.key)).or_default());
        debug_assert!(kept.servers.len() <= SERVERS_MAX && kept.order.len() == kept.servers.len());
    }

    fn find<T>(&self, find: impl FnOnce(&mut Server) -> Option<T>) -> Option<T> {
        find(self.sessions.kept.lock().servers.get_mut(&self.key)?)
    }
}

impl ClientSessionStore for ServerSessions {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.change(|server| server.group = Some(group));
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.find(|server| server.group)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.change(|server| server.tls12 = Some(value));
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.find(|server| server.tls12.clone())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.find(|server| server.tls12.take());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.change(|server| {
            if server.tickets.len() >= TICKETS_MAX {
                server.tickets.pop_front();
            }
            server.tickets.push_back(value);
        });
    }

    /// Each ticket is used once (RFC 8446, appendix C.4): every connection brings new ones.
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.find(|server| server.tickets.pop_back())
    }
}

impl fmt::Debug for ClientSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSessions").field("servers", &self.kept.lock().servers.len()).finish()
    }
}

impl fmt::Debug for ServerSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSessions").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_that_came_first_goes() {
        let all = Arc::new(ClientSessions::default());
        let of = |n: u32| ServerSessions::new(Arc::clone(&all), n.to_be_bytes().as_slice().into());
        let name = || ServerName::try_from("a.example").unwrap();
        for n in 0..2 * SERVERS_MAX as u32 {
            of(n).set_kx_hint(name(), NamedGroup::X25519);
            of(n).set_kx_hint(name(), NamedGroup::secp256r1);
        }
        assert_eq!(all.kept.lock().servers.len(), SERVERS_MAX);
        assert_eq!(of(SERVERS_MAX as u32 - 1).kx_hint(&name()), None);
        assert_eq!(of(SERVERS_MAX as u32).kx_hint(&name()), Some(NamedGroup::secp256r1));
    }
}
