//! nginx's preaccess phase: `limit_req`, then `limit_conn`.
//!
//! ```text
//! rewrite ─► limit_req ──(within the rate)─────────► limit_conn ─► access …
//!               │  └──(too early)─► Stage::Delayed ──┘ │
//!               └──(too much)─► its status             └──(too many)─► its status
//! ```
//! A request is limited once: what another location says after an internal redirect no longer counts.
//!
//! Reference: ngx_http_limit_req_module, ngx_http_limit_conn_module.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::context::{Context, Generation};
use super::facts::LimitStatus;
use super::{Exchange, Stage};
use crate::command::{Level, Room};
use crate::config::{ConnectionLimits, LimitKind, LimitZone, RequestLimit, RequestLimits, Template, ZoneId};
use crate::conn::Link;
use crate::error::ClientError;
use crate::http::Status;
use crate::shared::{Bounds, Pin, Refusal, ReqZone, Verdict, Zone};
use crate::time::Millis;
use crate::timer::Reason;
use crate::trace::{LimitOutcome, Step};

/// What a limit has to say.
enum Decision {
    /// The request goes on.
    Pass,
    /// It goes on later.
    Delay(Millis),
    /// It ends with this status.
    Refuse(Status),
}

impl Decision {
    const fn outcome(&self) -> Step {
        Step::Limit(match self {
            Self::Pass => LimitOutcome::Pass,
            Self::Delay(span) => LimitOutcome::Delay(span.0),
            Self::Refuse(status) => LimitOutcome::Refuse(*status),
        })
    }
}

/// A zone that would let a request pass, and has not counted it yet.
struct Pinned<'a> {
    zone: &'a ReqZone,
    pin: Pin,
    limit: &'a RequestLimit,
}

/// The limit with the longest delay so far.
struct Slowest<'a> {
    limit: &'a RequestLimit,
    excess: u64,
    delay_ms: u64,
}

impl Exchange {
    /// Runs the phase. Returns whether the request goes on now; a delayed one goes on in
    /// [`begin_access`](Self::begin_access) later.
    pub(crate) fn run_preaccess(
        &mut self,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) -> bool {
        let limits = self.location(generation).and_then(|location| location.limits.as_deref());
        let Some(limits) = limits else { return true };
        if let Some(requests) = &limits.requests
            && self.facts.limit_req_status.is_none()
        {
            let decision = self.limit_requests(requests, generation, ctx);
            ctx.note(|| decision.outcome());
            match decision {
                Decision::Pass => {}
                Decision::Delay(span) => {
                    self.delayed_until = ctx.now.instant + span;
                    self.stage = Stage::Delayed;
                    return false;
                }
                Decision::Refuse(status) => {
                    self.fail_status(status, link, ctx);
                    return false;
                }
            }
        }
        let Some(connections) = &limits.connections else { return true };
        if self.facts.limit_conn_status.is_some() {
            return true;
        }
        let decision = self.limit_connections(connections, generation, ctx);
        ctx.note(|| decision.outcome());
        match decision {
            Decision::Pass | Decision::Delay(_) => true,
            Decision::Refuse(status) => {
                self.fail_status(status, link, ctx);
                false
            }
        }
    }

    /// Waits until a delayed request may go on, or until nobody wants it any more.
    pub(crate) fn run_delayed(&mut self, link: &mut Link, ctx: &mut Context) {
        if ctx.now.instant >= self.delayed_until {
            link.deadline.clear_if(Reason::LimitReq);
            self.stage = Stage::Phases;
            let generation = Rc::clone(&self.generation);
            if self.run_preaccess(&generation, link, ctx) {
                self.begin_access(&generation, link, ctx);
            }
            return;
        }
        // What comes is not read as long as it is bytes: only the end is looked for.
        link.want_recv(Room::Small, ctx);
        if link.broken().is_some() || link.ended().is_some() {
            return self.fail_client(ClientError::Closed, link, ctx);
        }
        link.set_deadline_at(self.delayed_until, Reason::LimitReq, ctx);
    }

    fn limit_requests(
        &mut self,
        requests: &RequestLimits,
        generation: &Generation,
        ctx: &mut Context,
    ) -> Decision {
        let now_ms = ctx.now.instant.as_micros() / 1000;
        let mut key = core::mem::take(&mut ctx.value);
        let mut pinned: SmallVec<[Pinned<'_>; 2]> = SmallVec::new();
        let mut outcome = None;
        for (place, limit) in requests.limits.iter().enumerate() {
            let Some((zone, state, rate)) = request_zone(limit.zone, generation) else { continue };
            let counts = self.limit_key(zone, KEY_BYTES_MAX_REQ, &mut key, generation, ctx);
            ctx.note(|| Step::LimitKey { zone: limit.zone, key: key.clone() });
            if !counts {
                continue;
            }
            let last = place + 1 == requests.limits.len();
            match state.ask(&key, Bounds { rate, burst: limit.burst }, last, now_ms) {
                Verdict::Pinned(pin) => pinned.push(Pinned { zone: state, pin, limit }),
                verdict @ (Verdict::Counted(_) | Verdict::Refused(_) | Verdict::NoRoom) => {
                    outcome = Some((verdict, limit));
                    break;
                }
            }
        }
        ctx.value = key;
        match outcome {
            None if pinned.is_empty() => Decision::Pass,
            Some((verdict @ (Verdict::Refused(_) | Verdict::NoRoom), limit)) => {
                pinned.iter().for_each(|pinned| pinned.zone.release(pinned.pin));
                let decision = self.refuse_request(verdict, limit, requests, generation, ctx);
                self.count_verdict([limit], None, generation);
                decision
            }
            None | Some((Verdict::Counted(_) | Verdict::Pinned(_), _)) => {
                let counted = outcome.and_then(|(verdict, limit)| match verdict {
                    Verdict::Counted(excess) => Some(Slowest::new(limit, excess, generation)),
                    Verdict::Refused(_) | Verdict::Pinned(_) | Verdict::NoRoom => None,
                });
                let limits = pinned.iter().map(|pinned| pinned.limit).chain(outcome.map(|(_, limit)| limit));
                let slowest = count_all(&pinned, counted, generation, now_ms);
                let slow = slowest.as_ref().map(|slowest| slowest.limit.zone);
                let decision = self.delay_request(slowest, requests, generation, ctx);
                self.count_verdict(limits, slow, generation);
                decision
            }
        }
    }

    /// Counts what was said in the zones that had a say: the others had nothing against the request.
    fn count_verdict<'a>(
        &self,
        limits: impl IntoIterator<Item = &'a RequestLimit>,
        of: Option<ZoneId>,
        generation: &Generation,
    ) {
        let Some(status) = self.facts.limit_req_status.filter(|_| generation.has_api) else { return };
        for limit in limits {
            let own = of.is_none_or(|zone| zone == limit.zone);
            if let Some((_, state, _)) = request_zone(limit.zone, generation) {
                state.counts.note(if own { status } else { LimitStatus::Passed });
            }
        }
    }

    /// Evaluates a zone's key. Returns whether the request counts at all.
    fn limit_key(
        &self,
        zone: &LimitZone,
        bytes_max: usize,
        key: &mut Vec<u8>,
        generation: &Generation,
        ctx: &mut Context,
    ) -> bool {
        key.clear();
        Template::write(&zone.key, &self.facts, &ctx.env(generation), key);
        if key.len() > bytes_max {
            let name = &zone.key_text;
            let message = format!(
                "the value of the \"{name}\" key is more than {bytes_max} bytes: \"{}\"",
                key.escape_ascii()
            );
            self.log_error(Level::Error, &message, ctx);
            return false;
        }
        !key.is_empty()
    }

    fn refuse_request(
        &mut self,
        verdict: Verdict,
        limit: &RequestLimit,
        requests: &RequestLimits,
        generation: &Generation,
        ctx: &mut Context,
    ) -> Decision {
        let name = zone_name(limit.zone, generation);
        if let Verdict::Refused(excess) = verdict {
            let dry = if requests.dry_run { ", dry run" } else { "" };
            let (whole, rest) = (excess / 1000, excess % 1000);
            let message =
                format_args!("limiting requests{dry}, excess: {whole}.{rest:03} by zone \"{name}\"");
            self.log_error(requests.level, &message, ctx);
        } else {
            let message = format_args!("could not allocate node in limit_req zone \"{name}\"");
            self.log_error(Level::Alert, &message, ctx);
        }
        if requests.dry_run {
            self.facts.limit_req_status = Some(LimitStatus::RejectedDryRun);
            return Decision::Pass;
        }
        self.facts.limit_req_status = Some(LimitStatus::Rejected);
        Decision::Refuse(requests.status)
    }

    fn delay_request(
        &mut self,
        slowest: Option<Slowest<'_>>,
        requests: &RequestLimits,
        generation: &Generation,
        ctx: &mut Context,
    ) -> Decision {
        let Some(slowest) = slowest.filter(|slowest| slowest.delay_ms > 0) else {
            self.facts.limit_req_status = Some(LimitStatus::Passed);
            return Decision::Pass;
        };
        let dry = if requests.dry_run { ", dry run" } else { "" };
        let (whole, rest) = (slowest.excess / 1000, slowest.excess % 1000);
        let name = zone_name(slowest.limit.zone, generation);
        let message = format_args!("delaying request{dry}, excess: {whole}.{rest:03}, by zone \"{name}\"");
        self.log_error(requests.delay_level, &message, ctx);
        if requests.dry_run {
            self.facts.limit_req_status = Some(LimitStatus::DelayedDryRun);
            return Decision::Pass;
        }
        self.facts.limit_req_status = Some(LimitStatus::Delayed);
        Decision::Delay(Millis(slowest.delay_ms))
    }

    fn limit_connections(
        &mut self,
        connections: &ConnectionLimits,
        generation: &Generation,
        ctx: &mut Context,
    ) -> Decision {
        let mut key = core::mem::take(&mut ctx.value);
        let mut decision = Decision::Pass;
        for limit in &connections.limits {
            let zone = generation.config.limit_zones.get(limit.zone.0 as usize);
            let Some((zone, Some(Zone::Connections(state)))) =
                zone.map(|zone| (zone, generation.zone(limit.zone)))
            else {
                continue;
            };
            let counts = self.limit_key(zone, KEY_BYTES_MAX_CONN, &mut key, generation, ctx);
            ctx.note(|| Step::LimitKey { zone: limit.zone, key: key.clone() });
            if !counts {
                continue;
            }
            self.facts.limit_conn_status = Some(LimitStatus::Passed);
            match state.admit(&key, limit.most) {
                Ok(admission) => {
                    if generation.has_api {
                        state.counts.note(LimitStatus::Passed);
                    }
                    self.admissions.push(admission);
                }
                Err(refusal) => {
                    decision = self.refuse_connection(refusal, &zone.name, connections, ctx);
                    if let Some(status) = self.facts.limit_conn_status.filter(|_| generation.has_api) {
                        state.counts.note(status);
                    }
                    break;
                }
            }
        }
        ctx.value = key;
        decision
    }

    fn refuse_connection(
        &mut self,
        refusal: Refusal,
        name: &str,
        connections: &ConnectionLimits,
        ctx: &mut Context,
    ) -> Decision {
        if refusal == Refusal::TooMany {
            let dry = if connections.dry_run { ", dry run," } else { "" };
            let message = format_args!("limiting connections{dry} by zone \"{name}\"");
            self.log_error(connections.level, &message, ctx);
        } else {
            let message = format_args!("no memory in limit_conn_zone \"{name}\"");
            self.log_error(Level::Crit, &message, ctx);
        }
        self.admissions.clear();
        if connections.dry_run {
            self.facts.limit_conn_status = Some(LimitStatus::RejectedDryRun);
            return Decision::Pass;
        }
        self.facts.limit_conn_status = Some(LimitStatus::Rejected);
        Decision::Refuse(connections.status)
    }
}

impl<'a> Slowest<'a> {
    fn new(limit: &'a RequestLimit, excess: u64, generation: &Generation) -> Self {
        let above = excess.saturating_sub(limit.delay);
        let rate = request_zone(limit.zone, generation).map_or(1, |(_, _, rate)| rate);
        Self { limit, excess, delay_ms: (above * 1000).checked_div(rate).unwrap_or(0) }
    }
}

/// Counts the request in the zones that let it pass, the last one first, as nginx does.
fn count_all<'a>(
    pinned: &[Pinned<'a>],
    counted: Option<Slowest<'a>>,
    generation: &Generation,
    now_ms: u64,
) -> Option<Slowest<'a>> {
    let mut slowest = counted;
    for Pinned { zone, pin, limit } in pinned.iter().rev() {
        let rate = request_zone(limit.zone, generation).map_or(0, |(_, _, rate)| rate);
        let next = Slowest::new(limit, zone.count(*pin, rate, now_ms), generation);
        if slowest.as_ref().is_none_or(|slowest| next.delay_ms > slowest.delay_ms) {
            slowest = Some(next);
        }
    }
    slowest
}

/// A zone of `limit_req_zone`: what is configured, its state, its rate.
fn request_zone(id: ZoneId, generation: &Generation) -> Option<(&LimitZone, &ReqZone, u64)> {
    let zone = generation.config.limit_zones.get(id.0 as usize)?;
    match (generation.zone(id)?, zone.kind) {
        (Zone::Requests(state), LimitKind::Requests { rate }) => Some((zone, state, rate)),
        (Zone::Requests(_) | Zone::Connections(_), _) => None,
    }
}

fn zone_name(id: ZoneId, generation: &Generation) -> &str {
    generation.config.limit_zones.get(id.0 as usize).map_or("", |zone| &zone.name)
}

/// The longest key of `limit_req`, in bytes; requests with a longer one are not counted.
const KEY_BYTES_MAX_REQ: usize = 65_535;
/// The longest key of `limit_conn`.
const KEY_BYTES_MAX_CONN: usize = 255;
