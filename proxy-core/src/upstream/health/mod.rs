//! Active checks (`health_check`), done by one worker for all: it has the lead of a check (see
//! [`shared`](crate::shared::upstream::health)), the others look whether it still lives.
//!
//! ```text
//!  look ─► lead? ─ no ──► look again when the lead ends
//!            │ yes
//!            └─► who is due ─► Probe ─► Finding ─► GroupState::note_check ─► due again after the interval
//! ```
//! - [`probe`]: one check of one server;
//! - [`secure`]: TLS on its connection;
//! - [`grpc`]: the call that a gRPC server is asked with;
//! - [`judge`]: what it thinks of the reply.
//!
//! Reference: nginx's ngx_http_upstream_hc_module (documentation).

mod grpc;
mod judge;
pub(crate) mod probe;
mod secure;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::{Completion, ConnId, Level, Report};
use crate::config::HealthCheck;
use crate::conn::name_server::{Alarm, Ring};
use crate::exchange::context::{Conn, Context, Random};
use crate::shared::upstream::{GroupState, Health};
use crate::time::{Instant, Millis};
use crate::timer::{Deadline, Reason};
use probe::{Finding, Probe};

/// How many servers one check asks at the same time.
const PROBES_MAX: usize = 128;
/// How long it takes at the most until new servers are noticed.
const LOOK_EVERY: Millis = Millis(1000);
/// How much longer than a look the lead is held.
const LEAD: Millis = Millis(4000);

/// A worker's view of all checks.
pub(crate) struct Checks {
    /// This worker's number among those that may lead.
    worker: u64,
    list: Vec<Running>,
    /// The key that their timer goes by.
    alarm: Option<ConnId>,
}

/// A check of the present configuration.
struct Running {
    check: Arc<HealthCheck>,
    group: Arc<GroupState>,
    /// When to look at it.
    at: Instant,
    leads: bool,
    /// The list of members that `due` was made from.
    members: u64,
    /// Who is asked when; not those that are being asked.
    due: BTreeSet<(Instant, u64)>,
    /// The connections of those that are being asked.
    asked: BTreeMap<u64, ConnId>,
    /// Connections that wait for the next check.
    kept: BTreeMap<u64, ConnId>,
}

impl Checks {
    pub(crate) const fn new(worker: u64) -> Self {
        Self { worker, list: Vec::new(), alarm: None }
    }
}

/// Runs the checks of the configuration that begins, and no other.
pub(crate) fn start(ctx: &mut Context) {
    if ctx.draining {
        return stop(ctx);
    }
    let generation = Rc::clone(&ctx.generation);
    let mut old = core::mem::take(&mut ctx.checks.list);
    let mut list = Vec::new();
    for (upstream, group) in generation.config.upstreams.iter().zip(&generation.groups) {
        let group = &group.borrow().shared;
        for check in &upstream.checks {
            let same = |old: &Running| Arc::ptr_eq(&old.group, group) && old.check.key == check.key;
            let mut running = match old.iter().position(same) {
                Some(place) => old.swap_remove(place),
                None => Running::new(check, group, ctx.now.instant),
            };
            running.check = Arc::clone(check);
            if check.mandatory && !check.persistent {
                running.at = ctx.now.instant;
                running.hurry(ctx.now.instant);
            }
            list.push(running);
        }
    }
    for mut gone in old {
        gone.let_go(ctx);
    }
    ctx.checks.list = list;
    look(ctx);
}

/// Checks nothing any more: the worker drains.
pub(crate) fn stop(ctx: &mut Context) {
    for mut running in core::mem::take(&mut ctx.checks.list) {
        running.group.resign(&running.check, ctx.checks.worker);
        running.let_go(ctx);
    }
    set_alarm(ctx);
}

/// The timer has rung.
pub(crate) fn handle_alarm(ctx: &mut Context) {
    look(ctx);
}

/// Something happened to a check's connection.
pub(crate) fn handle_completion(id: ConnId, completion: Completion, ctx: &mut Context) {
    let mut completion = Some(completion);
    drive(id, ctx, |probe, ctx| probe.handle_completion(completion.take()?, ctx));
}

/// A deadline of a check's connection has passed.
pub(crate) fn handle_timeout(id: ConnId, ctx: &mut Context) {
    drive(id, ctx, |probe, ctx| {
        let reason = probe.link.deadline.fired(&mut ctx.timers, id, ctx.now.instant)?;
        Some(probe.handle_timeout(reason))
    });
}

/// Takes a check out of the table, lets `act` drive it, and puts it back unless it has ended.
fn drive(id: ConnId, ctx: &mut Context, act: impl FnOnce(&mut Probe, &mut Context) -> Option<Finding>) {
    let Some(slot) = ctx.conns.get_mut(id.0) else { return };
    if !matches!(slot, Conn::Probe(_)) {
        return;
    }
    let Conn::Probe(mut probe) = core::mem::replace(slot, Conn::Driven) else { return };
    let finding = act(&mut probe, ctx);
    let kept = match finding {
        None => true,
        Some(finding) => conclude(id, finding, &mut probe, ctx),
    };
    if kept {
        if let Some(slot) = ctx.conns.get_mut(id.0) {
            *slot = Conn::Probe(probe);
        }
    } else {
        ctx.conns.remove(id.0);
        probe.close(ctx);
    }
    if finding.is_some() {
        look(ctx);
    }
}

/// A check has ended, or a connection that was kept. Returns whether the connection is kept.
fn conclude(id: ConnId, finding: Finding, probe: &mut Probe, ctx: &mut Context) -> bool {
    let server = probe.member.state.id();
    let now = ctx.now.instant;
    let place = ctx.checks.list.iter().position(|running| running.owns(server, id));
    let Some(place) = place else { return false };
    if finding == Finding::Lapsed {
        ctx.checks.list.get_mut(place).and_then(|running| running.kept.remove(&server));
        return false;
    }
    if probe.was_dead(finding) {
        // It may be the connection alone: asked again on a new one.
        if let Some(running) = ctx.checks.list.get_mut(place) {
            running.asked.remove(&server);
            running.due.insert((now, server));
            running.at = now;
        }
        return false;
    }
    let change = probe.group.note_check(&probe.check, &probe.member.state, finding.is_pass(), now);
    log(probe, finding, change, ctx);
    let keeps = finding.is_pass() && probe.keep(ctx);
    if let Some(running) = ctx.checks.list.get_mut(place) {
        running.asked.remove(&server);
        if keeps {
            running.kept.insert(server, id);
        }
        running.plan(server, now, &mut ctx.random);
    }
    keeps
}

/// nginx's lines: why a check broke, and what changed for the server.
fn log(probe: &Probe, finding: Finding, change: Option<Health>, ctx: &mut Context) {
    let mut of = format!(
        "health check \"{}\" of peer {} in upstream \"{}\"",
        probe.check.match_name(),
        probe.member.config.address,
        probe.group.name
    );
    if let Some(port) = probe.check.port {
        of.push_str(&format!(", port {port}"));
    }
    if let Finding::Broken(error) = finding {
        let words = match &probe.refusal {
            Some(words) => format!("{words} while {}", probe.doing()),
            None => format!("{error}"),
        };
        say(probe, Level::Error, &format!("{words}, {of}"), ctx);
    }
    let doing = match finding {
        Finding::Passed(test) | Finding::Failed(test) => format!("{test}"),
        Finding::Broken(_) | Finding::Lapsed => String::from(probe.doing()),
    };
    match change {
        Some(Health::Healthy) => {
            say(probe, Level::Notice, &format!("peer is healthy while {doing}, {of}"), ctx)
        }
        Some(Health::Unhealthy) => {
            say(probe, Level::Warn, &format!("peer is unhealthy while {doing}, {of}"), ctx);
        }
        Some(Health::Checking) | None => {}
    }
}

/// Writes to the error logs of the check's location.
fn say(probe: &Probe, level: Level, message: &str, ctx: &mut Context) {
    let generation = Rc::clone(&ctx.generation);
    let Some(location) = generation.config.location(probe.check.location) else { return };
    for log in location.core.error_logs.iter().filter(|log| level <= log.level) {
        let message = message.as_bytes().to_vec();
        ctx.reports.push_back(Report::Error { log: log.log, level, message });
    }
}

/// Asks who is due, and sets the timer.
fn look(ctx: &mut Context) {
    let now = ctx.now.instant;
    for place in 0..ctx.checks.list.len() {
        let worker = ctx.checks.worker;
        let Some(running) = ctx.checks.list.get_mut(place).filter(|running| running.at <= now) else {
            continue;
        };
        match running.group.lead(&running.check, worker, now + LEAD, now) {
            Err(until) => {
                running.at = until.max(now + Millis(1));
                if core::mem::take(&mut running.leads) {
                    let mut lost =
                        core::mem::replace(running, Running::new(&running.check, &running.group, until));
                    lost.let_go(ctx);
                }
            }
            Ok(()) => ask(place, ctx),
        }
    }
    set_alarm(ctx);
}

fn ask(place: usize, ctx: &mut Context) {
    let now = ctx.now.instant;
    let gone = match ctx.checks.list.get_mut(place) {
        Some(running) => running.follow_members(now, &mut ctx.random),
        None => return,
    };
    gone.into_iter().for_each(|id| close(id, ctx));
    // Bounded by the servers that are due.
    while let Some(server) = ctx.checks.list.get_mut(place).and_then(|running| running.next_due(now)) {
        ask_server(place, server, ctx);
    }
    if let Some(running) = ctx.checks.list.get_mut(place) {
        running.at = now + LOOK_EVERY;
        if running.asked.len() < PROBES_MAX
            && let Some((at, _)) = running.due.first()
        {
            running.at = running.at.min(*at);
        }
    }
}

fn ask_server(place: usize, server: u64, ctx: &mut Context) {
    let now = ctx.now.instant;
    let Some(running) = ctx.checks.list.get_mut(place) else { return };
    let (check, group) = (Arc::clone(&running.check), Arc::clone(&running.group));
    let members = group.members();
    let Some(member) = members.by_id(server) else { return };
    if member.config.down {
        return running.plan(server, now, &mut ctx.random);
    }
    let kept = running.kept.remove(&server);
    if let Some(id) = kept
        && let Some(slot @ Conn::Probe(_)) = ctx.conns.get_mut(id.0)
        && let Conn::Probe(mut probe) = core::mem::replace(slot, Conn::Driven)
    {
        probe.begin_again(&check, ctx);
        if let Some(slot) = ctx.conns.get_mut(id.0) {
            *slot = Conn::Probe(probe);
        }
        if let Some(running) = ctx.checks.list.get_mut(place) {
            running.asked.insert(server, id);
        }
        return;
    }
    let id = Probe::begin(&check, &group, member, ctx);
    if let Some(running) = ctx.checks.list.get_mut(place) {
        running.asked.insert(server, id);
    }
}

/// Ends a check's connection.
fn close(id: ConnId, ctx: &mut Context) {
    if let Some(Conn::Probe(mut probe)) = ctx.conns.remove(id.0) {
        probe.close(ctx);
    }
}

impl Running {
    fn new(check: &Arc<HealthCheck>, group: &Arc<GroupState>, at: Instant) -> Self {
        Self {
            check: Arc::clone(check),
            group: Arc::clone(group),
            at,
            leads: false,
            members: 0,
            due: BTreeSet::new(),
            asked: BTreeMap::new(),
            kept: BTreeMap::new(),
        }
    }

    /// Whether a connection is one of its own.
    fn owns(&self, server: u64, id: ConnId) -> bool {
        self.asked.get(&server) == Some(&id) || self.kept.get(&server) == Some(&id)
    }

    /// Follows the group's list: those that are new are due at once. Returns the connections of those that left.
    fn follow_members(&mut self, now: Instant, random: &mut Random) -> Vec<ConnId> {
        self.leads = true;
        let members = self.group.members();
        if members.generation == self.members {
            return Vec::new();
        }
        self.members = members.generation;
        let present: BTreeSet<u64> = members.servers.iter().map(|member| member.state.id()).collect();
        self.due.retain(|(_, server)| present.contains(server));
        let planned: BTreeSet<u64> =
            self.due.iter().map(|(_, server)| *server).chain(self.asked.keys().copied()).collect();
        for server in present.difference(&planned) {
            let at = now + jitter(self.check.jitter, random);
            self.due.insert((at, *server));
        }
        let mut gone = Vec::new();
        for held in [&mut self.asked, &mut self.kept] {
            held.retain(|server, id| {
                let stays = present.contains(server);
                if !stays {
                    gone.push(*id);
                }
                stays
            });
        }
        gone
    }

    /// The next server to ask, if one is due and there is room for it.
    fn next_due(&mut self, now: Instant) -> Option<u64> {
        let (at, _) = self.due.first()?;
        if *at > now || self.asked.len() >= PROBES_MAX {
            return None;
        }
        self.due.pop_first().map(|(_, server)| server)
    }

    /// A server is asked again after the interval.
    fn plan(&mut self, server: u64, now: Instant, random: &mut Random) {
        let at = now + self.check.interval + jitter(self.check.jitter, random);
        self.due.insert((at, server));
        self.at = self.at.min(at).max(now);
        if self.due.first().is_some_and(|(first, _)| *first <= now) {
            self.at = now;
        }
    }

    /// Everybody is due at once.
    fn hurry(&mut self, now: Instant) {
        self.due = core::mem::take(&mut self.due).into_iter().map(|(_, server)| (now, server)).collect();
    }

    /// Ends all its connections.
    fn let_go(&mut self, ctx: &mut Context) {
        let asked = core::mem::take(&mut self.asked).into_values();
        let held = asked.chain(core::mem::take(&mut self.kept).into_values());
        held.for_each(|id| close(id, ctx));
    }
}

/// A random part of `most`.
fn jitter(most: Millis, random: &mut Random) -> Millis {
    if most.is_zero() { most } else { Millis(random.next() % (most.0 + 1)) }
}

fn set_alarm(ctx: &mut Context) {
    let at = ctx.checks.list.iter().map(|running| running.at).min();
    let Some(at) = at else {
        let alarm = ctx.checks.alarm.take();
        if let Some(Conn::Alarm(mut alarm)) = alarm.and_then(|id| ctx.conns.remove(id.0)) {
            alarm.deadline.disarm(&mut ctx.timers);
        }
        return;
    };
    let id = *ctx.checks.alarm.get_or_insert_with(|| {
        let alarm = Alarm { ring: Ring::Checks, deadline: Deadline::default() };
        ConnId(ctx.conns.insert(Conn::Alarm(Box::new(alarm))))
    });
    if let Some(Conn::Alarm(alarm)) = ctx.conns.get_mut(id.0) {
        alarm.deadline.set(&mut ctx.timers, id, at, Reason::HealthCheck);
    }
}
