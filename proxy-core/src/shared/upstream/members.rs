//! Who belongs to a group, as a list that never changes: a change makes another list.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use spin::{Once, RwLockWriteGuard};

use super::{GroupState, Health, Ring, ServerState};
use crate::config::UpstreamServer;
use crate::time::Instant;

/// The servers of a group at one time.
#[derive(Debug, Default)]
pub struct Members {
    /// Counts the lists of this group.
    pub generation: u64,
    /// The servers, in the order of their `server` lines.
    pub servers: Box<[Member]>,
    ring: Once<Ring>,
}

/// A server with its state.
#[derive(Clone, Debug)]
pub struct Member {
    /// What is said of it.
    pub config: UpstreamServer,
    /// How it is, for all workers.
    pub state: Arc<ServerState>,
    /// Who put it there.
    pub source: Source,
    /// The control API has changed what is said of it: a lookup that finds it again leaves that alone.
    pub held: bool,
}

/// Who put a server into its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A `server` line with an address, or whose name was looked up at load.
    Config,
    /// A name that is looked up at run time ([`GroupState::replace`]).
    Found,
    /// The control API ([`GroupState::add`]).
    Control,
}

impl Members {
    /// Its servers' points for `hash … consistent`: made when they are asked for first, for all workers.
    pub(crate) fn ring(&self) -> &Ring {
        self.ring.call_once(|| {
            let servers = self.servers.iter().filter(|member| !member.config.backup);
            Ring::new(servers.map(|member| (&*member.config.name, member.config.weight)))
        })
    }

    /// The member of this id.
    #[must_use]
    pub fn by_id(&self, id: u64) -> Option<&Member> {
        self.servers.iter().find(|member| member.state.id() == id)
    }
}

impl GroupState {
    /// Changes the list: `change` gets the present one and gives the next, or nothing to leave it. Members taken over by
    /// `clone` keep their state. Returns whether there is a new list.
    ///
    /// A server that was down or draining and is not any more starts slowly, if it has a `slow_start`.
    pub fn update(&self, now: Instant, change: impl FnOnce(&Members) -> Option<Vec<Member>>) -> bool {
        let mut members = self.members.write();
        let Some(mut list) = change(&members) else { return false };
        list.sort_by_key(|member| member.config.line);
        for member in &list {
            let before = members.by_id(member.state.id());
            let was_off = before.is_some_and(|before| before.config.down || before.config.drain);
            if was_off && !member.config.down && !member.config.drain {
                member.state.begin_slow_start(now);
            }
        }
        self.swap(&mut members, list);
        true
    }

    /// Adds a server at the end of its line's servers. Returns its id.
    pub fn add(&self, server: UpstreamServer, source: Source, now: Instant) -> u64 {
        let member = self.member(server, source);
        let id = member.state.id();
        self.update(now, |old| Some(old.servers.iter().cloned().chain([member]).collect()));
        id
    }

    /// Removes a server. Returns whether it was there. What it is doing goes on; its idle connections are closed.
    pub fn remove(&self, id: u64, now: Instant) -> bool {
        self.update(now, |old| {
            old.by_id(id)?;
            Some(old.servers.iter().filter(|member| member.state.id() != id).cloned().collect())
        })
    }

    /// Changes what is said of a server (weight, down, drain, limits …). Returns whether it was there.
    pub fn change(&self, id: u64, now: Instant, change: impl FnOnce(&mut UpstreamServer)) -> bool {
        self.update(now, |old| {
            let place = old.servers.iter().position(|member| member.state.id() == id)?;
            let mut list = old.servers.to_vec();
            let member = list.get_mut(place)?;
            change(&mut member.config);
            member.held = member.source == Source::Found;
            Some(list)
        })
    }

    /// The servers of one `server` line are these from now on: what a name resolves to. Those that stay keep their state.
    /// Returns whether anything changed.
    pub fn replace(&self, line: u32, servers: &[UpstreamServer], now: Instant) -> bool {
        self.update(now, |old| {
            let (mut before, mut list): (Vec<_>, Vec<_>) = old
                .servers
                .iter()
                .cloned()
                .partition(|member| member.config.line == line && member.source == Source::Found);
            let is_there = |server: &UpstreamServer| {
                before
                    .iter()
                    .any(|member| if member.held { is_of(member, server) } else { member.config == *server })
            };
            let same = before.len() == servers.len() && servers.iter().all(is_there);
            if same {
                return None;
            }
            list.extend(servers.iter().map(|server| self.take(&mut before, server, Source::Found)));
            Some(list)
        })
    }

    /// A health check's verdict on a server. Returns what it was before: the caller logs a change.
    pub fn set_health(&self, server: &ServerState, health: Health, now: Instant) -> Health {
        let before = server.replace_health(health);
        if before != health {
            if health == Health::Healthy {
                server.forgive();
                server.begin_slow_start(now);
            }
            self.touch();
        }
        before
    }

    /// The member that `server` was before, taken out of `old`, or a new one.
    pub(super) fn take(&self, old: &mut Vec<Member>, server: &UpstreamServer, source: Source) -> Member {
        let Some(place) = old.iter().position(|member| is_of(member, server)) else {
            return self.member(server.clone(), source);
        };
        let member = old.remove(place);
        if member.held && source == Source::Found {
            return member;
        }
        Member { config: server.clone(), source, held: false, ..member }
    }

    pub(super) fn member(&self, config: UpstreamServer, source: Source) -> Member {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Member { config, state: Arc::new(ServerState::new(id, self.first_health())), source, held: false }
    }

    pub(super) fn swap(&self, members: &mut RwLockWriteGuard<'_, Arc<Members>>, list: Vec<Member>) {
        let generation = members.generation + 1;
        self.forget_checks(&list);
        **members = Arc::new(Members { generation, servers: list.into(), ring: Once::new() });
        self.touch();
    }
}

/// Whether a member is the server that is meant.
fn is_of(member: &Member, server: &UpstreamServer) -> bool {
    member.config.address == server.address && member.config.name == server.name
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::super::Upstreams;
    use super::*;
    use crate::upstream::fixture::{at, beside, config, order};
    use crate::upstream::{Group, Outcome};

    fn names(group: &GroupState) -> String {
        group
            .members()
            .servers
            .iter()
            .map(|member| format!("{}", member.config.address).replace("unix:", ""))
            .collect()
    }

    #[test]
    fn members_come_and_go_at_run_time_and_workers_follow() {
        let shared = GroupState::new(&config(&[1, 1, 1], |_, _| {}), 1);
        let mut worker = Group::new(&config(&[], |_, _| {}), Arc::new(shared));
        let shared = Arc::clone(&worker.shared);
        let all_well = |_| Outcome::Success;
        assert_eq!(order(&mut worker, 3, at(1), all_well), "abc");
        let found = config(&[1; 5], |_, _| {}).servers;
        let id = shared.add(UpstreamServer { line: u32::MAX, ..found[3].clone() }, Source::Control, at(1));
        assert_eq!(order(&mut worker, 4, at(1), all_well), "abcd");
        assert!(shared.remove(0, at(1)) && !shared.remove(0, at(1)));
        assert_eq!(order(&mut worker, 3, at(1), all_well), "bcd");
        assert!(shared.change(id, at(1), |server| server.down = true));
        assert_eq!(order(&mut worker, 4, at(1), all_well), "bcbc");
        // A name of the second line: what stays keeps its state, and its place among the lines.
        let of_line_1 = |n: usize| UpstreamServer { line: 1, ..found[n].clone() };
        assert!(shared.replace(1, &[of_line_1(4), of_line_1(0)], at(1)));
        assert!(!shared.replace(1, &[of_line_1(0), of_line_1(4)], at(1)), "the same addresses");
        assert_eq!(names(&shared), "beacd");
        assert!(shared.replace(1, &[], at(1)));
        assert_eq!(names(&shared), "bcd");
    }

    #[test]
    fn health_is_for_all_workers() {
        let mut here = crate::upstream::fixture::group(&[1, 1], |_, _| {});
        let mut there = beside(&here);
        let shared = Arc::clone(&here.shared);
        let b = Arc::clone(&shared.members().servers[1].state);
        assert_eq!(shared.set_health(&b, Health::Unhealthy, at(1)), Health::Healthy);
        for worker in [&mut here, &mut there] {
            assert_eq!(order(worker, 3, at(1), |_| Outcome::Success), "aaa");
        }
        assert_eq!(shared.set_health(&b, Health::Healthy, at(1)), Health::Unhealthy);
        assert!(order(&mut there, 2, at(1), |_| Outcome::Success).contains('b'));
    }

    #[test]
    fn state_survives_a_reload_where_group_and_server_are_the_same() {
        let upstreams = Upstreams::default();
        let first = config(&[1, 1, 1], |_, _| {});
        let group = upstreams.adopt(&first, 1, at(1));
        let state = |n: usize| Arc::clone(&group.members().servers[n].state);
        let b = state(1);
        b.fail(at(1));
        // The weight is another, and `a` is gone.
        let mut second = config(&[1, 7, 1], |_, _| {});
        second.servers.remove(0);
        assert!(Arc::ptr_eq(&upstreams.adopt(&second, 2, at(2)), &group));
        assert_eq!(names(&group), "bc");
        assert!(
            Arc::ptr_eq(&state(0), &b) && b.fails() == 1 && group.members().servers[0].config.weight == 7
        );
        // What was changed at run time outlives a reload that says the same, and a worker that is late changes nothing.
        group.remove(group.members().servers[1].state.id(), at(3));
        upstreams.adopt(&second, 3, at(3));
        upstreams.adopt(&first, 1, at(3));
        assert_eq!(names(&group), "b");
        upstreams.retain(&[]);
        assert!(upstreams.all().is_empty());
    }
}
