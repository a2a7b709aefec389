//! What active checks know of a group's servers, and which worker does them.
//!
//! One worker leads a check for all: it holds the lead for a span ([`GroupState::lead`]) and renews it as it goes; one
//! that dies loses it by then. What it finds out is here, for all workers, and stays over a reload.
//!
//! ```text
//!  new ─ mandatory ─► Checking ──passes──► Healthy ◄── not mandatory ─ new
//!                        └─ fails ─► Unhealthy ─ passes ─►┘ │
//!                                        ▲                  │
//!                                        └───── fails ──────┘
//! ```
//! A server is as well as the worst verdict on it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::{GroupState, Health, Member, ServerState};
use crate::config::{HealthCheck, Upstream};
use crate::time::Instant;

/// What is known by a check's key.
pub(super) type Checks = BTreeMap<Arc<str>, Known>;

/// What is known of a check.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The worker that leads it, and until when.
    leader: u64,
    until: Instant,
    mandatory: bool,
    persistent: bool,
    /// By the servers' ids.
    servers: BTreeMap<u64, Record>,
}

/// What a check has found out about a server.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    verdict: Health,
    /// Checks in a row that went against the verdict.
    row: u32,
    totals: CheckTotals,
}

/// What checks have counted at a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckTotals {
    /// All checks.
    pub checks: u64,
    /// Those that failed.
    pub fails: u64,
    /// How often the server became unhealthy.
    pub unhealthy: u64,
    /// Whether the last one passed; none before the first.
    pub last_passed: Option<bool>,
}

impl GroupState {
    /// Takes the lead of a check until a moment, or keeps it.
    ///
    /// # Errors
    /// Until when another worker has it.
    pub fn lead(
        &self,
        check: &HealthCheck,
        worker: u64,
        until: Instant,
        now: Instant,
    ) -> Result<(), Instant> {
        let mut checks = self.checks.lock();
        // A check that is gone has no leader.
        let Some(known) = checks.get_mut(&check.key) else { return Err(until) };
        if known.leader != worker && now < known.until {
            return Err(known.until);
        }
        (known.leader, known.until) = (worker, until);
        Ok(())
    }

    /// Gives the lead of a check up.
    pub fn resign(&self, check: &HealthCheck, worker: u64) {
        let mut checks = self.checks.lock();
        if let Some(known) = checks.get_mut(&check.key).filter(|known| known.leader == worker) {
            known.until = Instant::default();
        }
    }

    /// A check of a server has passed, or failed. Returns its verdict where that has changed.
    pub fn note_check(
        &self,
        check: &HealthCheck,
        server: &ServerState,
        passed: bool,
        now: Instant,
    ) -> Option<Health> {
        let mut checks = self.checks.lock();
        let known = checks.get_mut(&check.key)?;
        let first = if known.mandatory { Health::Checking } else { Health::Healthy };
        let fresh = Record { verdict: first, ..Record::default() };
        let record = known.servers.entry(server.id()).or_insert(fresh);
        record.totals.checks += 1;
        record.totals.fails += u64::from(!passed);
        let turned = record.totals.last_passed.replace(passed) != Some(passed);
        let agrees = match record.verdict {
            Health::Healthy => passed,
            Health::Unhealthy => !passed,
            Health::Checking => false,
        };
        record.row = if agrees {
            0
        } else if turned {
            1
        } else {
            record.row.saturating_add(1)
        };
        if record.row < if passed { check.passes } else { check.fails } || agrees {
            return None;
        }
        record.row = 0;
        record.verdict = if passed { Health::Healthy } else { Health::Unhealthy };
        record.totals.unhealthy += u64::from(!passed);
        let verdict = record.verdict;
        let health = overall(&checks, server.id());
        drop(checks);
        self.set_health(server, health, now);
        Some(verdict)
    }

    /// What all checks have counted at a server.
    #[must_use]
    pub fn check_totals(&self, server: u64) -> CheckTotals {
        let checks = self.checks.lock();
        let records = checks.values().filter_map(|known| known.servers.get(&server));
        records.fold(CheckTotals::default(), |sum, record| CheckTotals {
            checks: sum.checks + record.totals.checks,
            fails: sum.fails + record.totals.fails,
            unhealthy: sum.unhealthy + record.totals.unhealthy,
            last_passed: match (sum.last_passed, record.totals.last_passed) {
                (Some(a), Some(b)) => Some(a && b),
                (a, b) => a.or(b),
            },
        })
    }

    /// Counts checks anew; verdicts stay.
    pub(super) fn reset_checks(&self) {
        let mut checks = self.checks.lock();
        for record in checks.values_mut().flat_map(|known| known.servers.values_mut()) {
            record.totals = CheckTotals { last_passed: record.totals.last_passed, ..CheckTotals::default() };
        }
    }

    /// How a server begins: with a mandatory check it has to pass first.
    pub(super) fn first_health(&self) -> Health {
        if self.must_pass.load(Ordering::Relaxed) { Health::Checking } else { Health::Healthy }
    }

    /// These are the checks from now on. A server that a mandatory one knows nothing of has to pass it; after a reload
    /// (`renewed`) any server has, unless the check is persistent.
    pub(super) fn adopt_checks(&self, config: &Upstream, renewed: bool, now: Instant) {
        let mut checks = self.checks.lock();
        if checks.is_empty() && config.checks.is_empty() {
            return;
        }
        checks.retain(|key, _| config.checks.iter().any(|check| check.key == *key));
        for check in &config.checks {
            let known = checks.entry(Arc::clone(&check.key)).or_default();
            (known.mandatory, known.persistent) = (check.mandatory, check.persistent);
            if renewed && check.mandatory && !check.persistent {
                for record in known.servers.values_mut() {
                    (record.verdict, record.row) = (Health::Checking, 0);
                }
            }
        }
        self.must_pass.store(checks.values().any(|known| known.mandatory), Ordering::Relaxed);
        drop(checks);
        for member in &self.members().servers {
            let health = overall(&self.checks.lock(), member.state.id());
            self.set_health(&member.state, health, now);
        }
    }

    /// Forgets the servers that are not in the list.
    pub(super) fn forget_checks(&self, list: &[Member]) {
        let mut checks = self.checks.lock();
        if checks.is_empty() {
            return;
        }
        let ids: BTreeSet<u64> = list.iter().map(|member| member.state.id()).collect();
        for known in checks.values_mut() {
            known.servers.retain(|id, _| ids.contains(id));
        }
    }
}

/// The worst verdict on a server.
fn overall(checks: &Checks, server: u64) -> Health {
    let of = |known: &Known| match known.servers.get(&server) {
        Some(record) => record.verdict,
        None if known.mandatory => Health::Checking,
        None => Health::Healthy,
    };
    let verdicts = || checks.values().map(of);
    if verdicts().any(|verdict| verdict == Health::Unhealthy) {
        Health::Unhealthy
    } else if verdicts().any(|verdict| verdict == Health::Checking) {
        Health::Checking
    } else {
        Health::Healthy
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::config::{CheckKind, LocationId, ServerId};
    use crate::time::Millis;
    use crate::upstream::fixture::{at, config};

    fn check(key: &str, mandatory: bool, persistent: bool) -> HealthCheck {
        HealthCheck {
            key: key.into(),
            server: ServerId(0),
            location: LocationId(0),
            proxy: Arc::default(),
            kind: CheckKind::Tcp,
            interval: Millis::from_secs(5),
            jitter: Millis(0),
            fails: 2,
            passes: 3,
            mandatory,
            persistent,
            port: None,
            keepalive_time: None,
        }
    }

    fn group(checks: &[&Arc<HealthCheck>]) -> Upstream {
        Upstream {
            checks: checks.iter().map(|check| Arc::clone(check)).collect(),
            ..config(&[1, 1], |_, _| {})
        }
    }

    #[test]
    fn verdicts_change_after_so_many_in_a_row_and_the_worst_counts() {
        let (a, b) = (Arc::new(check("a", false, false)), Arc::new(check("b", false, false)));
        let state = GroupState::new(&group(&[&a, &b]), 1);
        let server = Arc::clone(&state.members().servers[0].state);
        let note = |check: &HealthCheck, passed| state.note_check(check, &server, passed, at(1));
        let verdicts = [false, true, false, false, false, true, true, false, true, true, true, true];
        let expected = vec![(3, Health::Unhealthy), (10, Health::Healthy)];
        let changes = verdicts.iter().enumerate().filter_map(|(n, passed)| Some((n, note(&a, *passed)?)));
        assert_eq!(changes.collect::<vec::Vec<_>>(), expected);
        assert_eq!(server.health(), Health::Healthy);
        let totals = CheckTotals { checks: 12, fails: 5, unhealthy: 1, last_passed: Some(true) };
        assert_eq!(state.check_totals(server.id()), totals);
        // Both find it unhealthy; one that finds it healthy again is not enough.
        for check in [&a, &b, &a, &b] {
            note(check, false);
        }
        for _ in 0..3 {
            note(&a, true);
        }
        assert_eq!(server.health(), Health::Unhealthy);
        assert_eq!([note(&b, true), note(&b, true), note(&b, true)], [None, None, Some(Health::Healthy)]);
        assert_eq!(server.health(), Health::Healthy);
    }

    #[test]
    fn who_must_pass_gets_nothing_before_and_a_reload_asks_anew_unless_it_shall_not() {
        for persistent in [false, true] {
            let mandatory = Arc::new(check("m", true, persistent));
            let state = GroupState::new(&group(&[&mandatory]), 1);
            let [a, b] = [0, 1].map(|n| Arc::clone(&state.members().servers[n].state));
            assert_eq!([a.health(), b.health()], [Health::Checking; 2]);
            for _ in 0..3 {
                state.note_check(&mandatory, &a, true, at(1));
            }
            for _ in 0..2 {
                state.note_check(&mandatory, &b, false, at(1));
            }
            assert_eq!([a.health(), b.health()], [Health::Healthy, Health::Unhealthy]);
            state.adopt(&group(&[&mandatory]), 2, at(2));
            let expected =
                if persistent { [Health::Healthy, Health::Unhealthy] } else { [Health::Checking; 2] };
            assert_eq!([a.health(), b.health()], expected);
            let new = config(&[1; 3], |_, _| {}).servers[2].clone();
            let id = state.add(new, super::super::Source::Control, at(2));
            assert_eq!(state.members().by_id(id).map(|new| new.state.health()), Some(Health::Checking));
            state.adopt(&group(&[]), 3, at(3));
            assert!(state.members().servers.iter().all(|member| member.state.health() == Health::Healthy));
        }
    }

    #[test]
    fn one_worker_leads_until_it_resigns_or_dies() {
        let check = Arc::new(check("a", false, false));
        let state = GroupState::new(&group(&[&check]), 1);
        assert_eq!(state.lead(&check, 1, at(10), at(1)), Ok(()));
        assert_eq!(state.lead(&check, 2, at(11), at(2)), Err(at(10)));
        assert_eq!(state.lead(&check, 1, at(12), at(2)), Ok(()));
        assert_eq!(state.lead(&check, 2, at(22), at(12)), Ok(()));
        state.resign(&check, 1);
        assert_eq!(state.lead(&check, 1, at(23), at(13)), Err(at(22)));
        state.resign(&check, 2);
        assert_eq!(state.lead(&check, 1, at(23), at(13)), Ok(()));
    }
}
