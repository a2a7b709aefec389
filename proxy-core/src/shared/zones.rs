//! The shared memory zones by name: what a reload finds again.
//!
//! A zone lives as long as a configuration in use refers to it. One whose name, kind, key and size are the same keeps
//! its state across a reload; any other begins anew.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use spin::Mutex;

use super::{ConnZone, ReqZone};
use crate::config::{LimitKind, LimitZone};

/// All zones of the process.
#[derive(Debug, Default)]
pub struct Zones {
    known: Mutex<Vec<Known>>,
}

#[derive(Debug)]
struct Known {
    name: Arc<str>,
    key_text: Box<str>,
    bytes: usize,
    state: Living,
}

#[derive(Debug)]
enum Living {
    Requests(Weak<ReqZone>),
    Connections(Weak<ConnZone>),
}

/// A zone in use.
#[derive(Clone, Debug)]
pub enum Zone {
    /// `limit_req_zone`
    Requests(Arc<ReqZone>),
    /// `limit_conn_zone`
    Connections(Arc<ConnZone>),
}

impl Zones {
    /// The state of a configured zone: what another worker or the configuration before has, or a new one.
    pub fn open(&self, zone: &LimitZone) -> Zone {
        let mut known = self.known.lock();
        known.retain(|known| known.state.is_alive());
        let same = known.iter().filter(|known| known.is(zone));
        let found = same.filter_map(|known| known.state.upgrade(zone.kind)).next();
        found.unwrap_or_else(|| {
            let new = Zone::new(zone);
            let (name, key_text) = (Arc::clone(&zone.name), zone.key_text.clone());
            known.push(Known { name, key_text, bytes: zone.bytes, state: new.downgrade() });
            new
        })
    }
}

impl Known {
    fn is(&self, zone: &LimitZone) -> bool {
        self.name == zone.name && self.key_text == zone.key_text && self.bytes == zone.bytes
    }
}

impl Living {
    fn is_alive(&self) -> bool {
        match self {
            Self::Requests(state) => state.strong_count() > 0,
            Self::Connections(state) => state.strong_count() > 0,
        }
    }

    fn upgrade(&self, kind: LimitKind) -> Option<Zone> {
        match (self, kind) {
            (Self::Requests(state), LimitKind::Requests { .. }) => state.upgrade().map(Zone::Requests),
            (Self::Connections(state), LimitKind::Connections) => state.upgrade().map(Zone::Connections),
            (Self::Requests(_), LimitKind::Connections)
            | (Self::Connections(_), LimitKind::Requests { .. }) => None,
        }
    }
}

impl Zone {
    fn new(zone: &LimitZone) -> Self {
        match zone.kind {
            LimitKind::Requests { .. } => Self::Requests(Arc::new(ReqZone::new(zone.bytes))),
            LimitKind::Connections => Self::Connections(Arc::new(ConnZone::new(zone.bytes))),
        }
    }

    fn downgrade(&self) -> Living {
        match self {
            Self::Requests(state) => Living::Requests(Arc::downgrade(state)),
            Self::Connections(state) => Living::Connections(Arc::downgrade(state)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Template;

    #[test]
    fn a_zone_is_found_again_while_it_is_used_and_the_same() {
        let zones = Zones::default();
        let zone = |name: &str, key: &str, bytes, kind| LimitZone {
            name: name.into(),
            bytes,
            key: Template::default(),
            key_text: key.into(),
            kind,
        };
        let fast = LimitKind::Requests { rate: 9000 };
        let first = zones.open(&zone("a", "$uri", 32768, LimitKind::Requests { rate: 1000 }));
        let same = |other: &LimitZone| match (&first, zones.open(other)) {
            (Zone::Requests(first), Zone::Requests(other)) => Arc::ptr_eq(first, &other),
            (_, _) => false,
        };
        assert!(same(&zone("a", "$uri", 32768, fast)), "the rate may change");
        assert!(!same(&zone("b", "$uri", 32768, fast)));
        assert!(!same(&zone("a", "$args", 32768, fast)));
        assert!(!same(&zone("a", "$uri", 65536, fast)));
        assert!(!same(&zone("a", "$uri", 32768, LimitKind::Connections)));
        drop(first);
        zones.open(&zone("c", "", 32768, fast));
        assert_eq!(zones.known.lock().len(), 1, "what nobody uses is forgotten");
    }
}
