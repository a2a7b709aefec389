//! What somebody wants to know, put together from the answers to one question or many.
//!
//! A lookup keeps no place that it has come to. With each new answer it is worked out again from the start, over what is
//! known by then, and says which questions are still open. So an alias, a second address family and the targets of a
//! service all come about in the same way, whatever was in the cache.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::cache::Known;
use super::message::ALIASES_MAX;
use super::{Answer, Failure, Kind, Name, Question, Record, Service};
use crate::command::ResolveId;
use crate::time::Instant;

/// How many servers of a service are looked up.
pub const SERVICES_MAX: usize = 64;
/// How many addresses one lookup finds.
pub const FOUND_MAX: usize = 256;

/// What is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A host's addresses.
    Host(Name),
    /// The servers of a service by the name of its SRV records, and their addresses.
    Service(Name),
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The address.
    pub ip: IpAddr,
    /// The SRV record that led to it; none where a host was looked up.
    pub service: Option<Service>,
}

/// A lookup's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The addresses, at least one: IPv4 first, services by their priority.
    pub found: Vec<Found>,
    /// Until when they may be believed.
    pub until: Instant,
    /// Whether there may be more: a name server failed to say.
    pub partial: bool,
    /// Servers of the service that have no address.
    pub missing: Vec<(Name, Failure)>,
}

/// A question's outcome.
pub(super) type Outcome = Result<Known, Failure>;

/// A lookup that waits for answers.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) id: ResolveId,
    pub(super) subject: Subject,
    /// When it fails with what is not known by then.
    pub(super) until: Instant,
    /// When one family of addresses is good enough; none once that has come.
    pub(super) patient_until: Option<Instant>,
    /// What was answered since it began.
    pub(super) parts: BTreeMap<Question, Outcome>,
}

/// The state of a question, for a [`Survey`].
pub(super) type Ask<'a> = dyn Fn(&Question) -> Option<Outcome> + 'a;

/// Works a lookup out.
pub(super) struct Survey<'a> {
    ask: &'a Ask<'a>,
    families: &'a [Kind],
    /// One family of addresses is good enough.
    hasty: bool,
    until: Option<Instant>,
    partial: bool,
    /// The questions that are open.
    pub(super) open: Vec<Question>,
}

impl<'a> Survey<'a> {
    pub(super) const fn new(ask: &'a Ask<'a>, families: &'a [Kind], hasty: bool) -> Self {
        Self { ask, families, hasty, until: None, partial: false, open: Vec::new() }
    }

    /// The result; none while questions are open.
    pub(super) fn work_out(&mut self, subject: &Subject, now: Instant) -> Option<Result<Resolved, Failure>> {
        let mut missing = Vec::new();
        let found = match subject {
            Subject::Host(name) => match self.host(name)? {
                Ok(ips) => ips.into_iter().map(|ip| Found { ip, service: None }).collect(),
                Err(failure) => return Some(Err(failure)),
            },
            Subject::Service(name) => match self.service(name, &mut missing)? {
                Ok(found) => found,
                Err(failure) => return Some(Err(failure)),
            },
        };
        let until = self.until.unwrap_or(now);
        Some(Ok(Resolved { found, until, partial: self.partial, missing }))
    }

    /// The addresses of a host.
    fn host(&mut self, name: &Name) -> Option<Result<Vec<IpAddr>, Failure>> {
        let (mut ips, mut failed, mut open) = (Vec::new(), None, false);
        for kind in self.families {
            match self.records(name, *kind) {
                Some(Ok(records)) => ips.extend(records.iter().filter_map(|record| match record {
                    Record::Address(ip) => Some(*ip),
                    Record::Service(_) => None,
                })),
                // That there is nothing is the lesser news: whoever hears it forgets what he knew.
                Some(Err(failure)) if failed.is_none_or(|old| old == Failure::NOT_FOUND) => {
                    failed = Some(failure);
                }
                Some(Err(_)) => {}
                None => open = true,
            }
        }
        if open && (!self.hasty || ips.is_empty()) {
            return None;
        }
        let failure = failed.unwrap_or(Failure::NOT_FOUND);
        if ips.is_empty() {
            return Some(Err(failure));
        }
        self.partial |= open || failure != Failure::NOT_FOUND;
        let mut seen = Vec::new();
        ips.retain(|ip| {
            !seen.contains(ip) && seen.len() < FOUND_MAX && {
                seen.push(*ip);
                true
            }
        });
        Some(Ok(ips))
    }

    /// The servers of a service.
    fn service(
        &mut self,
        name: &Name,
        missing: &mut Vec<(Name, Failure)>,
    ) -> Option<Result<Vec<Found>, Failure>> {
        let services = match self.records(name, Kind::Srv)? {
            Ok(records) => records.into_iter().filter_map(|record| match record {
                Record::Service(service) if !service.target.is_root() && service.port != 0 => Some(service),
                Record::Service(_) | Record::Address(_) => None,
            }),
            Err(failure) => return Some(Err(failure)),
        };
        let mut services: Vec<_> = services.collect();
        services.sort_by_key(|service| service.priority);
        services.truncate(SERVICES_MAX);
        let (mut found, mut open) = (Vec::new(), false);
        for service in services {
            match self.host(&service.target) {
                Some(Ok(ips)) => {
                    found.extend(ips.into_iter().map(|ip| Found { ip, service: Some(service.clone()) }));
                }
                Some(Err(failure)) => {
                    self.partial |= failure != Failure::NOT_FOUND;
                    missing.push((service.target, failure));
                }
                None => open = true,
            }
        }
        if open {
            return None;
        }
        found.truncate(FOUND_MAX);
        if found.is_empty() {
            let failures = missing.iter().map(|(_, failure)| *failure);
            return Some(Err(failures.reduce(worse).unwrap_or(Failure::NOT_FOUND)));
        }
        Some(Ok(found))
    }

    /// The records at the end of a name's chain of aliases.
    fn records(&mut self, name: &Name, kind: Kind) -> Option<Result<Vec<Record>, Failure>> {
        let mut question = Question { name: name.clone(), kind };
        let mut until: Option<Instant> = None;
        for _ in 0..=ALIASES_MAX {
            let known = match (self.ask)(&question) {
                Some(Ok(known)) => known,
                Some(Err(failure)) => return Some(Err(failure)),
                None => {
                    self.open.push(question);
                    return None;
                }
            };
            until = Some(until.map_or(known.until, |until| until.min(known.until)));
            match &*known.answer {
                Answer::Alias { name, .. } => question.name = name.clone(),
                Answer::Records { records, .. } => {
                    self.until = self.until.into_iter().chain(until).min();
                    return Some(Ok(records.clone()));
                }
                Answer::Nothing { .. } => return Some(Err(Failure::NOT_FOUND)),
                Answer::Failed(failure) => return Some(Err(*failure)),
                Answer::Truncated => return Some(Err(Failure::SERVER)),
            }
        }
        Some(Err(Failure::NOT_FOUND))
    }
}

/// The one that says less about the name.
fn worse(one: Failure, other: Failure) -> Failure {
    if one == Failure::NOT_FOUND { other } else { one }
}
