//! Servers whose names are only known when a request is there (`proxy_pass http://$name`): their groups, and the
//! questions that are open.
//!
//! A group is kept under its authority (`host:port`) with the time at which its name was looked up, so that its
//! connections and what is known of its servers serve many requests. One name is asked for once at a time: whoever
//! needs it meanwhile waits for the same answer.
//!
//! The keys come from clients, hence trees and no hash tables.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::IpAddr;

use super::Group;
use crate::command::{Address, ConnId, ResolveError, ResolveId};
use crate::config::{Upstream, UpstreamServer};
use crate::dns::{Failure, Resolved};
use crate::slab::Slab;
use crate::time::{Instant, Millis};

/// How many groups a worker keeps. Above that, the one that was used longest ago goes.
const GROUPS_MAX: usize = 256;

/// How many names a worker asks for at the same time.
const QUESTIONS_MAX: usize = 1024;

/// How many of a name's addresses are used.
const ADDRESSES_MAX: usize = 256;

/// How long an answer is good for: the system's resolver does not tell.
const ANSWER_LASTS: Millis = Millis::from_secs(10);

/// A group that several exchanges refer to.
pub(crate) type SharedGroup = Rc<RefCell<Group>>;

/// A worker's groups that are not in its configuration.
#[derive(Default)]
pub(crate) struct Names {
    groups: BTreeMap<Box<str>, Entry>,
    questions: Slab<Question>,
    asked: BTreeMap<(u32, Arc<str>), ResolveId>,
}

struct Entry {
    group: SharedGroup,
    /// Until when the addresses are good; none where nothing was looked up.
    until: Option<Instant>,
    used: Instant,
}

struct Question {
    /// Whom it is put to, and what about; none where it is nobody else's.
    asked: Option<(u32, Arc<str>)>,
    /// Clients whose exchanges wait for the answer.
    waiters: Vec<ConnId>,
}

/// What is known of a name: its addresses and until when they are good, or nginx's words for why there are none.
pub(crate) type Known = Result<(Vec<IpAddr>, Instant), String>;

/// An answer, wherever it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Answer(pub(crate) Known);

impl Answer {
    /// From the system's resolver, which does not tell how long it is good.
    pub(crate) fn of_system(result: Result<Vec<IpAddr>, ResolveError>, now: Instant) -> Self {
        Self(match result {
            Ok(ips) if ips.is_empty() => Err(Failure::NOT_FOUND.to_string()),
            Ok(ips) => Ok((ips, now + ANSWER_LASTS)),
            Err(error) => Err(error.reason),
        })
    }

    /// From a resolver of ours.
    pub(crate) fn of_resolver(result: &Result<Resolved, Failure>) -> Self {
        Self(match result {
            Ok(resolved) => {
                let ips = resolved.found.iter().map(|found| found.ip).collect();
                Ok((ips, resolved.until))
            }
            Err(failure) => Err(failure.to_string()),
        })
    }
}

/// What became of a wish to know a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The driver is to be asked.
    First(ResolveId),
    /// It was asked already.
    Again(ResolveId),
    /// Too many names are asked for.
    Refused,
}

impl Names {
    /// The group of an authority, if its addresses are still good. `serial` says whose they are (see [`key`]).
    pub(crate) fn find(&mut self, serial: u32, authority: &str, now: Instant) -> Option<SharedGroup> {
        let entry = self.groups.get_mut(&*key(serial, authority))?;
        if entry.until.is_some_and(|until| now >= until) {
            return None;
        }
        entry.used = now;
        Some(Rc::clone(&entry.group))
    }

    /// Keeps the addresses of an authority, until a moment where they were looked up: in the group that it has, where they
    /// are the same. Also returns the group that had to go for it.
    pub(crate) fn keep(
        &mut self,
        serial: u32,
        authority: &str,
        addresses: &[Address],
        until: Option<Instant>,
        now: Instant,
    ) -> (SharedGroup, Option<SharedGroup>) {
        let addresses = addresses.get(..ADDRESSES_MAX).unwrap_or(addresses);
        let key = key(serial, authority);
        if let Some(entry) = self.groups.get_mut(&*key) {
            entry.until = until;
            entry.used = now;
            if entry.group.borrow().has_addresses(addresses) {
                return (Rc::clone(&entry.group), None);
            }
            let group = group(authority, addresses);
            let old = core::mem::replace(&mut entry.group, Rc::clone(&group));
            return (group, Some(old));
        }
        let full = self.groups.len() >= GROUPS_MAX;
        let evicted = if full { self.take_oldest() } else { None };
        let group = group(authority, addresses);
        self.groups.insert(key.into(), Entry { group: Rc::clone(&group), until, used: now });
        debug_assert!(self.groups.len() <= GROUPS_MAX);
        (group, evicted)
    }

    fn take_oldest(&mut self) -> Option<SharedGroup> {
        let (key, _) = self.groups.iter().min_by_key(|(_, entry)| entry.used)?;
        let key = key.clone();
        self.groups.remove(&key).map(|entry| entry.group)
    }

    /// `client` waits for the addresses of `name`, of which resolver `serial` is to be asked (0 for the system's).
    pub(crate) fn ask(&mut self, client: ConnId, serial: u32, name: &Arc<str>) -> Asked {
        let asked = (serial, Arc::clone(name));
        if let Some(id) = self.asked.get(&asked)
            && let Some(question) = self.questions.get_mut(id.0)
        {
            question.waiters.push(client);
            return Asked::Again(*id);
        }
        if self.questions.len() >= QUESTIONS_MAX {
            return Asked::Refused;
        }
        let question = Question { asked: Some(asked.clone()), waiters: alloc::vec![client] };
        let id = ResolveId(self.questions.insert(question));
        self.asked.insert(asked, id);
        Asked::First(id)
    }

    /// The number of a question that nobody else may wait for.
    pub(crate) fn number(&mut self) -> ResolveId {
        ResolveId(self.questions.insert(Question { asked: None, waiters: Vec::new() }))
    }

    /// `client` does not wait any more. The question stays: the driver will answer it.
    pub(crate) fn leave(&mut self, id: ResolveId, client: ConnId) {
        if let Some(question) = self.questions.get_mut(id.0) {
            question.waiters.retain(|waiter| *waiter != client);
        }
    }

    /// A question was answered. Returns who waits for it.
    pub(crate) fn answered(&mut self, id: ResolveId) -> Vec<ConnId> {
        let Some(question) = self.questions.remove(id.0) else { return Vec::new() };
        if let Some(asked) = &question.asked {
            self.asked.remove(asked);
        }
        question.waiters
    }
}

/// Where a group is kept: what one resolver says of a name is nothing to those who ask another one. `serial` is 0 for
/// the system's resolver and for addresses that are written out.
fn key(serial: u32, authority: &str) -> String {
    format!("{serial} {authority}")
}

/// A group like that of a `proxy_pass` whose address is written in the configuration.
fn group(authority: &str, addresses: &[Address]) -> SharedGroup {
    let servers = addresses.iter().cloned().map(UpstreamServer::new);
    let config = Upstream { explicit: false, ..Upstream::explicit(authority, servers) };
    Rc::new(RefCell::new(Group::private(&config)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Key;

    fn unix(path: &str) -> Address {
        Address::Unix(path.into())
    }

    fn at(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    #[test]
    fn an_answer_lasts_and_a_group_stays_while_its_addresses_do() {
        let mut names = Names::default();
        let (first, gone) = names.keep(0, "a:80", &[unix("1"), unix("2")], Some(at(10)), at(0));
        assert!(gone.is_none());
        assert!(names.find(0, "a:80", at(9)).is_some_and(|found| Rc::ptr_eq(&found, &first)));
        assert!(names.find(0, "a:80", at(10)).is_none());
        let (second, gone) = names.keep(0, "a:80", &[unix("2"), unix("1")], Some(at(21)), at(11));
        assert!(Rc::ptr_eq(&second, &first) && gone.is_none(), "a resolver may turn the addresses round");
        let (third, gone) = names.keep(0, "a:80", &[unix("2")], Some(at(40)), at(30));
        assert!(!Rc::ptr_eq(&third, &first) && gone.is_some_and(|gone| Rc::ptr_eq(&gone, &first)));
        names.keep(0, "127.0.0.1:80", &[unix("3")], None, at(0));
        assert!(
            names.find(0, "127.0.0.1:80", at(99_999)).is_some(),
            "a literal address is never looked up again"
        );
    }

    #[test]
    fn the_group_that_was_used_longest_ago_goes() {
        let mut names = Names::default();
        for n in 0..GROUPS_MAX as u64 {
            assert!(names.keep(0, &format!("{n}:80"), &[unix("x")], None, at(n)).1.is_none());
        }
        names.find(0, "0:80", at(1000));
        let (_, gone) = names.keep(0, "new:80", &[unix("x")], None, at(1001));
        assert_eq!(gone.map(|gone| gone.borrow().name.clone()).as_deref(), Some("1:80"));
        assert!(names.find(0, "0:80", at(1002)).is_some() && names.find(0, "1:80", at(1002)).is_none());
    }

    #[test]
    fn one_question_for_all_who_wait_and_a_bound_on_all_questions() {
        let client = |index| ConnId(Key { index, generation: 0 });
        let mut names = Names::default();
        let Asked::First(id) = names.ask(client(1), 0, &"a".into()) else { panic!("not asked") };
        assert_eq!([2, 3].map(|n| names.ask(client(n), 0, &"a".into())), [Asked::Again(id); 2]);
        let Asked::First(other) = names.ask(client(9), 1, &"a".into()) else { panic!("another resolver") };
        assert_eq!(names.answered(other), [client(9)]);
        names.leave(id, client(2));
        assert_eq!(names.answered(id), [client(1), client(3)]);
        assert!(names.answered(id).is_empty(), "a driver's second answer means nothing");
        for n in 0..QUESTIONS_MAX {
            assert!(matches!(names.ask(client(1), 0, &format!("{n}").into()), Asked::First(_)));
        }
        assert_eq!(names.ask(client(1), 0, &"one more".into()), Asked::Refused);
        assert!(matches!(names.ask(client(2), 0, &"7".into()), Asked::Again(_)));
    }
}
