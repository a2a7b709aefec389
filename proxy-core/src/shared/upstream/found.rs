//! Servers that names resolve to at run time: who looks a name up next, and what was found.
//!
//! A name is looked up by one worker for all. Whoever sees first that its time has come claims it ([`GroupState::claim`])
//! and has it for as long as the lookup may take; the others see when to look again. A worker that dies in between
//! loses its claim by that time.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{GroupState, Source};
use crate::command::Address;
use crate::config::{Upstream, UpstreamName, UpstreamServer};
use crate::dns::Found;
use crate::time::{Instant, Millis};

/// While one worker asks, the others look this often what it has found: their idle connections to a server that is gone
/// wait for nothing else.
const ANSWER_TICK: Millis = Millis(500);

/// What the workers know of a group's names, by [`UpstreamName::key`].
pub(super) type Names = BTreeMap<alloc::boxed::Box<str>, Known>;

/// What is known of a name.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// When it is looked up next.
    next: Instant,
    /// A worker asks right now.
    asking: bool,
    /// What was found last.
    found: Vec<Found>,
}

impl GroupState {
    /// Takes a lookup on, which will end within `span`.
    ///
    /// # Errors
    /// When to try again, where that is not due or somebody else is at it.
    pub fn claim(&self, name: &UpstreamName, span: Millis, now: Instant) -> Result<(), Instant> {
        let mut names = self.names.lock();
        let known = names.entry(name.key()).or_default();
        if now < known.next {
            return Err(if known.asking { known.next.min(now + ANSWER_TICK) } else { known.next });
        }
        (known.next, known.asking) = (now + span, true);
        Ok(())
    }

    /// A claimed lookup has ended without news; the next one is at `next`.
    pub fn postpone(&self, name: &UpstreamName, next: Instant) {
        let mut names = self.names.lock();
        let known = names.entry(name.key()).or_default();
        (known.next, known.asking) = (next, false);
    }

    /// A claimed lookup has found these addresses; with `more` they are not all, and those that were found before stay.
    /// The next lookup is at `next`. Returns whether the group has changed.
    pub fn find_out(
        &self,
        name: &UpstreamName,
        found: &[Found],
        more: bool,
        next: Instant,
        now: Instant,
    ) -> bool {
        let found = {
            let mut names = self.names.lock();
            let known = names.entry(name.key()).or_default();
            (known.next, known.asking) = (next, false);
            let mut all = found.to_vec();
            if more {
                all.extend(
                    known.found.iter().filter(|old| !found.iter().any(|new| new.ip == old.ip)).cloned(),
                );
                all.truncate(crate::dns::lookup::FOUND_MAX);
            }
            known.found.clone_from(&all);
            all
        };
        self.replace(name.server.line, &servers(name, &found), now)
    }

    /// A new configuration has these names: what is known of them stays, in the places that they have now, and the rest
    /// goes.
    pub(super) fn adopt_names(&self, config: &Upstream, now: Instant) {
        let mut names = self.names.lock();
        names.retain(|key, _| config.names.iter().any(|name| name.key() == *key));
        let known = config.names.iter().map(|name| {
            let found = names.get(&name.key()).map(|known| known.found.as_slice());
            servers(name, found.unwrap_or_default())
        });
        let known: Vec<_> = known.collect();
        drop(names);
        self.update(now, |old| {
            let (mut before, mut list): (Vec<_>, Vec<_>) =
                old.servers.iter().cloned().partition(|member| member.source == Source::Found);
            // The lines are others: what they say counts again.
            before.iter_mut().for_each(|member| member.held = false);
            list.extend(known.iter().flatten().map(|server| self.take(&mut before, server, Source::Found)));
            Some(list)
        });
    }
}

/// The servers that `found` makes of a `server` line: of a service those of the first priority, the rest as backups, with
/// the weights of their records unless the line has its own.
fn servers(name: &UpstreamName, found: &[Found]) -> Vec<UpstreamServer> {
    let line = &name.server;
    let first = found.iter().filter_map(|found| Some(found.service.as_ref()?.priority)).min();
    let mut servers: Vec<UpstreamServer> = Vec::with_capacity(found.len());
    for found in found {
        let mut server = line.clone();
        server.address = Address::Ip(SocketAddr::new(found.ip, name.port));
        if let Some(service) = &found.service {
            let later = Some(service.priority) != first;
            if later && line.backup {
                continue;
            }
            server.address = Address::Ip(SocketAddr::new(found.ip, service.port));
            server.name = alloc::format!("{}", service.target).into();
            server.backup = line.backup || later;
            if line.weight == 1 {
                server.weight = u32::from(service.weight).max(1);
            }
        }
        let known = servers.iter().any(|old| old.address == server.address && old.name == server.name);
        if !known {
            servers.push(server);
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::sync::Arc;

    use super::*;
    use crate::dns::{Name, Service};
    use crate::upstream::fixture::at;

    fn name(host: &str, line: u32) -> UpstreamName {
        let mut name = UpstreamName::new(host, 80);
        name.server.line = line;
        name
    }

    fn found(last: u8, service: Option<(u16, u16)>) -> Found {
        let target = Name::from_text(&format!("t{last}.test")).unwrap_or_else(|| panic!("{last}"));
        let service = service.map(|(priority, weight)| Service { priority, weight, port: 8000, target });
        Found { ip: [192, 0, 2, last].into(), service }
    }

    fn members(group: &GroupState) -> String {
        let members = group.members();
        let texts = members.servers.iter().map(|member| {
            let (config, backup) = (&member.config, if member.config.backup { " backup" } else { "" });
            format!("{} {} {}{backup}", config.address, config.name, config.weight)
        });
        texts.collect::<Vec<_>>().join(", ")
    }

    fn group(names: Vec<UpstreamName>) -> Upstream {
        let names = names.into_iter().map(Arc::new).collect();
        Upstream { names, ..Upstream::explicit("g", []) }
    }

    #[test]
    fn one_worker_looks_up_for_all() {
        let a = name("a.test", 0);
        let shared = GroupState::new(&group(alloc::vec![a.clone()]), 1);
        assert_eq!(shared.claim(&a, Millis(5000), at(10)), Ok(()));
        assert_eq!(shared.claim(&a, Millis(5000), at(11)), Err(at(11) + ANSWER_TICK));
        assert_eq!(shared.claim(&a, Millis(5000), at(15)), Ok(()), "the first one has died");
        assert!(shared.find_out(&a, &[found(1, None), found(2, None)], false, at(40), at(16)));
        assert_eq!(shared.claim(&a, Millis(5000), at(20)), Err(at(40)));
        assert_eq!(members(&shared), "192.0.2.1:80 a.test 1, 192.0.2.2:80 a.test 1");
        assert!(!shared.find_out(&a, &[found(2, None), found(1, None)], false, at(50), at(40)));
        assert!(!shared.find_out(&a, &[found(2, None)], true, at(50), at(40)), "some of them");
        assert!(shared.find_out(&a, &[found(2, None)], false, at(50), at(40)));
        assert!(shared.find_out(&a, &[], false, at(50), at(40)));
        assert_eq!(members(&shared), "");
    }

    #[test]
    fn what_the_control_api_changes_outlives_a_lookup_that_finds_the_same() {
        let a = name("a.test", 0);
        let shared = GroupState::new(&group(alloc::vec![a.clone()]), 1);
        shared.find_out(&a, &[found(1, None), found(2, None)], false, at(9), at(1));
        let id = |n: usize| shared.members().servers.get(n).map_or(0, |member| member.state.id());
        let second = id(1);
        assert!(shared.change(second, at(2), |server| server.weight = 7));
        assert!(!shared.find_out(&a, &[found(2, None), found(1, None)], false, at(20), at(10)));
        assert!(shared.find_out(&a, &[found(2, None), found(3, None)], false, at(30), at(20)));
        assert_eq!(
            (members(&shared).as_str(), id(0)),
            ("192.0.2.2:80 a.test 7, 192.0.2.3:80 a.test 1", second)
        );
        let mut other = a;
        other.server.weight = 4;
        shared.adopt(&group(alloc::vec![other]), 2, at(21));
        assert_eq!(members(&shared), "192.0.2.2:80 a.test 4, 192.0.2.3:80 a.test 4");
    }

    #[test]
    fn services_have_priorities_and_weights() {
        let mut s = name("s.test", 0);
        s.service = Some("http".into());
        let shared = GroupState::new(&group(alloc::vec![s.clone()]), 1);
        let records = [found(1, Some((10, 5))), found(2, Some((20, 7))), found(3, Some((10, 0)))];
        shared.find_out(&s, &records, false, at(9), at(1));
        let expected = "192.0.2.1:8000 t1.test 5, 192.0.2.2:8000 t2.test 7 backup, 192.0.2.3:8000 t3.test 1";
        assert_eq!(members(&shared), expected);
        (s.server.weight, s.server.backup) = (3, true);
        shared.find_out(&s, &records, false, at(9), at(1));
        assert_eq!(members(&shared), "192.0.2.1:8000 t1.test 3 backup, 192.0.2.3:8000 t3.test 3 backup");
    }

    #[test]
    fn what_was_found_outlives_a_reload_where_the_name_stays() {
        let (a, b) = (name("a.test", 0), name("b.test", 1));
        let shared = GroupState::new(&group(alloc::vec![a.clone(), b.clone()]), 1);
        shared.find_out(&a, &[found(1, None)], false, at(9), at(1));
        shared.find_out(&b, &[found(2, None)], false, at(9), at(1));
        let state = |n: usize| shared.members().servers.get(n).map(|member| member.state.id());
        let of_b = state(1);
        let mut moved = name("b.test", 0);
        moved.server.weight = 4;
        shared.adopt(&group(alloc::vec![moved.clone()]), 2, at(2));
        assert_eq!(members(&shared), "192.0.2.2:80 b.test 4");
        assert_eq!(state(0), of_b);
        let other = UpstreamName { port: 81, ..name("b.test", 1) };
        shared.adopt(&group(alloc::vec![moved, other]), 3, at(2));
        assert_eq!(members(&shared), "192.0.2.2:80 b.test 4", "another port is another name");
    }
}
