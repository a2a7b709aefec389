//! Names of upstream groups, looked up in the background again and again: each when its answer's time is over, by the
//! worker that sees it first (see [`found`](crate::shared::upstream::found)).
//!
//! ```text
//!  due ─► claim ─ mine ─► ask the resolver, or the system ─► answer ─► GroupState::find_out ─► due when it is old
//!           └─ another worker's ─► look again when it should have ended
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::command::{Command, ConnId, Level, Report, ResolveError, ResolveId};
use crate::config::UpstreamName;
use crate::conn::name_server::{Alarm, Ring, SharedResolver};
use crate::dns::{Failure, Found, Name, Resolved, Subject};
use crate::exchange::context::{Conn, Context};
use crate::exchange::proxy::attempt::close_idle;
use crate::shared::upstream::GroupState;
use crate::time::{Instant, Millis};
use crate::timer::{Deadline, Reason};

/// How long after a failure, or half an answer, a name is looked up again.
const RETRY: Millis = Millis::from_secs(5);
/// How long the system's answers are believed: it does not tell.
const SYSTEM_LASTS: Millis = Millis::from_secs(10);
/// How much longer than its timeout a lookup may take before another worker takes it over.
const CLAIM_SLACK: Millis = Millis::from_secs(1);
/// When a name is looked up again that was found once for all.
const NEVER: Millis = Millis::from_secs(u32::MAX as u64);

/// A worker's view of all names.
#[derive(Default)]
pub(crate) struct Watches {
    list: Vec<Watch>,
    /// The key that their timer goes by.
    alarm: Option<ConnId>,
}

struct Watch {
    group: Arc<GroupState>,
    name: Arc<UpstreamName>,
    resolver: Option<SharedResolver>,
    /// When to look at it.
    at: Instant,
    /// The lookup that this worker has under way.
    asked: Option<ResolveId>,
}

/// A lookup's end, wherever it comes from.
pub(crate) type Outcome = Result<Resolved, Unknown>;

/// Why nothing was found.
#[derive(Clone, Debug)]
pub(crate) struct Unknown {
    /// nginx's words.
    reason: String,
    /// There is no such name: what was found before is wrong.
    gone: bool,
}

impl From<Failure> for Unknown {
    fn from(failure: Failure) -> Self {
        Self { reason: format!("{failure}"), gone: failure == Failure::NOT_FOUND }
    }
}

/// The system's answer as one of ours.
pub(crate) fn of_system(result: Result<Vec<IpAddr>, ResolveError>, now: Instant) -> Outcome {
    match result {
        Ok(ips) => {
            let found = ips.into_iter().map(|ip| Found { ip, service: None }).collect();
            Ok(Resolved { found, until: now + SYSTEM_LASTS, partial: false, missing: Vec::new() })
        }
        Err(error) => {
            let gone = error.reason == ResolveError::NOT_FOUND;
            Err(Unknown { reason: error.reason, gone })
        }
    }
}

/// Watches the names of the configuration that begins, and of no other.
pub(crate) fn start(ctx: &mut Context) {
    if ctx.draining {
        return stop(ctx);
    }
    let generation = Rc::clone(&ctx.generation);
    let mut old = core::mem::take(&mut ctx.watches.list);
    let mut list = Vec::new();
    for (upstream, group) in generation.config.upstreams.iter().zip(&generation.groups) {
        let group = &group.borrow().shared;
        for name in &upstream.names {
            let resolver = name.resolver.and_then(|id| generation.resolver(id)).cloned();
            let same = |watch: &Watch| Arc::ptr_eq(&watch.group, group) && watch.name == *name;
            let (at, asked) = match old.iter().position(same) {
                Some(place) => {
                    let watch = old.swap_remove(place);
                    (watch.at, watch.asked)
                }
                None => (ctx.now.instant, None),
            };
            list.push(Watch { group: Arc::clone(group), name: Arc::clone(name), resolver, at, asked });
        }
    }
    // What the old ones had under way ends without anybody to hear of it; another lookup need not wait for that.
    for watch in old.iter().filter(|watch| watch.asked.is_some()) {
        watch.group.postpone(&watch.name, ctx.now.instant);
    }
    ctx.watches.list = list;
    look(ctx);
}

/// Watches nothing any more: the worker drains.
pub(crate) fn stop(ctx: &mut Context) {
    ctx.watches.list.clear();
    look(ctx);
}

/// The timer has rung.
pub(crate) fn handle_alarm(ctx: &mut Context) {
    look(ctx);
}

/// Looks up what is due, and sets the timer.
fn look(ctx: &mut Context) {
    let now = ctx.now.instant;
    for place in 0..ctx.watches.list.len() {
        let Some(watch) = ctx.watches.list.get_mut(place).filter(|watch| watch.at <= now) else { continue };
        let span = Millis(watch.name.timeout.0.saturating_add(CLAIM_SLACK.0));
        match watch.group.claim(&watch.name, span, now) {
            Err(at) => watch.at = at,
            Ok(()) => {
                watch.at = now + span;
                ask(place, ctx);
            }
        }
    }
    close_stale(ctx);
    set_alarm(ctx);
}

/// Closes this worker's idle connections to servers that have left, whoever found that out.
pub(crate) fn close_stale(ctx: &mut Context) {
    let generation = Rc::clone(&ctx.generation);
    for group in &generation.groups {
        let stale = group.borrow_mut().find_stale(ctx.now.instant);
        stale.into_iter().for_each(|id| close_idle(id, ctx));
    }
}

fn ask(place: usize, ctx: &mut Context) {
    let Some(watch) = ctx.watches.list.get(place) else { return };
    let (name, resolver) = (Arc::clone(&watch.name), watch.resolver.clone());
    let id = ctx.names.number();
    let outcome = match resolver {
        Some(resolver) => {
            let subject = match name.service_name() {
                Some(service) => Name::from_text(&service).map(Subject::Service),
                None => Name::from_text(&name.host).map(Subject::Host),
            };
            match subject {
                Some(subject) => resolver.lookup(id, subject, name.timeout, ctx),
                None => Some(Err(Failure::NOT_FOUND)),
            }
        }
        None => {
            ctx.commands.push_back(Command::Resolve { id, name: (*name.host).into() });
            None
        }
    };
    match outcome {
        None => {
            if let Some(watch) = ctx.watches.list.get_mut(place) {
                watch.asked = Some(id);
            }
        }
        Some(outcome) => {
            ctx.names.answered(id);
            learn(place, &outcome.map_err(Unknown::from), ctx);
        }
    }
}

/// A lookup has ended. Returns whether it was one of ours.
pub(crate) fn handle_resolved(id: ResolveId, outcome: impl FnOnce() -> Outcome, ctx: &mut Context) -> bool {
    let place = ctx.watches.list.iter().position(|watch| watch.asked == Some(id));
    let Some(place) = place else { return false };
    ctx.names.answered(id);
    learn(place, &outcome(), ctx);
    close_stale(ctx);
    set_alarm(ctx);
    true
}

fn learn(place: usize, outcome: &Outcome, ctx: &mut Context) {
    let now = ctx.now.instant;
    let Some(watch) = ctx.watches.list.get_mut(place) else { return };
    watch.asked = None;
    let (group, name) = (Arc::clone(&watch.group), Arc::clone(&watch.name));
    let next = match outcome {
        Ok(resolved) if name.once && !resolved.partial => now + NEVER,
        Ok(resolved) if resolved.partial => now + RETRY,
        Ok(resolved) => resolved.until.max(now + Millis(1000)),
        Err(_) => now + RETRY,
    };
    watch.at = next;
    let changed = match outcome {
        Ok(resolved) => group.find_out(&name, &resolved.found, resolved.partial, next, now),
        Err(Unknown { gone: true, .. }) => group.find_out(&name, &[], false, next, now),
        Err(_) => {
            group.postpone(&name, next);
            false
        }
    };
    let mut say = |level, message: String| {
        ctx.reports.push_back(Report::Error { log: 0, level, message: message.into_bytes() });
    };
    let host = &name.host;
    let what = match &name.service {
        Some(service) => format!("service {service} of {host}"),
        None => format!("{host}"),
    };
    match outcome {
        Ok(resolved) => {
            for (target, failure) in &resolved.missing {
                let target = format!("{target} could not be resolved ({failure})");
                say(Level::Error, format!("{target} while resolving {what}"));
            }
        }
        Err(unknown) => say(Level::Error, format!("{what} could not be resolved ({})", unknown.reason)),
    }
    if changed {
        say(
            Level::Notice,
            format!("upstream \"{}\": {what} is {} now", group.name, addresses(&group, &name)),
        );
    }
}

/// The addresses that a name stands for.
fn addresses(group: &GroupState, name: &UpstreamName) -> String {
    let members = group.members();
    let own = members.servers.iter().filter(|member| member.config.line == name.server.line);
    let texts: Vec<_> = own.map(|member| format!("{}", member.config.address)).collect();
    if texts.is_empty() { "nowhere".into() } else { texts.join(", ") }
}

fn set_alarm(ctx: &mut Context) {
    let at = ctx.watches.list.iter().map(|watch| watch.at).min();
    let Some(at) = at else {
        let alarm = ctx.watches.alarm.take();
        if let Some(Conn::Alarm(mut alarm)) = alarm.and_then(|id| ctx.conns.remove(id.0)) {
            alarm.deadline.disarm(&mut ctx.timers);
        }
        return;
    };
    let id = *ctx.watches.alarm.get_or_insert_with(|| {
        let alarm = Alarm { ring: Ring::Watches, deadline: Deadline::default() };
        ConnId(ctx.conns.insert(Conn::Alarm(Box::new(alarm))))
    });
    if let Some(Conn::Alarm(alarm)) = ctx.conns.get_mut(id.0) {
        alarm.deadline.set(&mut ctx.timers, id, at, Reason::NameServer);
    }
}
