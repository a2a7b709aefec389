//! What the API shows, each as the object that NGINX Plus has for it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Call, show};
use crate::command::Address;
use crate::config::{LeastTime, Measure, Upstream};
use crate::exchange::Exchange;
use crate::exchange::context::{Context, Generation};
use crate::http::date::Civil;
use crate::shared::upstream::tally::Tally;
use crate::shared::upstream::{GroupState, Health, Member};
use crate::shared::{Baseline, Counters};
use crate::time::Instant;

#[derive(Serialize)]
pub(super) struct Nginx {
    version: &'static str,
    build: &'static str,
    address: String,
    generation: u64,
    timestamp: String,
    pid: u32,
    ppid: u32,
}

/// `/nginx`
pub(super) fn nginx(generation: &Generation, exchange: &Exchange, ctx: &Context) -> Nginx {
    let address = match &exchange.facts.conn.peer.local {
        Address::Ip(address) => format!("{}", address.ip()),
        Address::Unix(path) => format!("unix:{path}"),
    };
    Nginx {
        version: env!("CARGO_PKG_VERSION"),
        build: "ringgate",
        address,
        generation: generation.config.generation,
        timestamp: timestamp(ctx.now.unix_ms),
        pid: ctx.shared.pid(),
        // Workers are threads: their master is the process that they are in.
        ppid: ctx.shared.pid(),
    }
}

/// `2026-11-21T09:57:33.123Z`
fn timestamp(unix_ms: u64) -> String {
    let at = Civil::from_unix(i64::try_from(unix_ms / 1000).unwrap_or(0));
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year,
        at.month,
        at.day,
        at.hour,
        at.minute,
        at.second,
        unix_ms % 1000
    )
}

/// `/processes`: no worker is ever started anew.
#[derive(Serialize)]
pub(super) struct Processes {
    pub(super) respawned: u64,
}

#[derive(Serialize)]
pub(super) struct Connections {
    accepted: u64,
    dropped: u64,
    active: u64,
    idle: u64,
}

/// `/connections`
pub(super) fn connections(counters: &Counters, base: &Baseline) -> Connections {
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let idle = get(&counters.waiting);
    let accepted = Baseline::since(&counters.accepted, &base.accepted);
    Connections {
        accepted,
        dropped: accepted.saturating_sub(Baseline::since(&counters.handled, &base.handled)),
        active: get(&counters.active).saturating_sub(idle),
        idle,
    }
}

#[derive(Serialize)]
pub(super) struct Requests {
    total: u64,
    current: u64,
}

/// `/http/requests`
pub(super) fn requests(counters: &Counters, base: &Baseline) -> Requests {
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let total = Baseline::since(&counters.requests, &base.requests);
    Requests { total, current: get(&counters.reading) + get(&counters.writing) }
}

#[derive(Serialize)]
struct Group<'a> {
    peers: Vec<Peer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<Queue>,
}

#[derive(Serialize)]
struct Queue {
    size: u32,
    max_size: u32,
    overflows: u64,
}

#[derive(Serialize)]
struct Responses {
    #[serde(rename = "1xx")]
    interim: u64,
    #[serde(rename = "2xx")]
    success: u64,
    #[serde(rename = "3xx")]
    redirect: u64,
    #[serde(rename = "4xx")]
    client_error: u64,
    #[serde(rename = "5xx")]
    server_error: u64,
    codes: Value,
    total: u64,
}

impl Responses {
    fn of(tally: &Tally) -> Self {
        let class = |class: u16| tally.codes().filter(|(code, _)| code / 100 == class).map(|(_, n)| n).sum();
        Self {
            interim: class(1),
            success: class(2),
            redirect: class(3),
            client_error: class(4),
            server_error: class(5),
            codes: super::zones::codes(tally.codes()),
            total: tally.codes().map(|(_, count)| count).sum(),
        }
    }
}

#[derive(Serialize)]
struct Peer<'a> {
    id: u64,
    server: String,
    name: &'a str,
    backup: bool,
    weight: u32,
    state: &'static str,
    active: u32,
    #[serde(skip_serializing_if = "is_zero")]
    max_conns: u32,
    requests: u64,
    responses: Responses,
    sent: u64,
    received: u64,
    fails: u64,
    unavail: u64,
    health_checks: Checks,
    #[serde(skip_serializing_if = "Option::is_none")]
    selected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_time: Option<u64>,
}

#[derive(Serialize)]
struct Checks {
    checks: u64,
    fails: u64,
    unhealthy: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_passed: Option<bool>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// `/http/upstreams`
pub(super) fn all_upstreams(call: &Call<'_>, ctx: &Context) -> Value {
    let explicit = call.generation.config.upstreams.iter().filter(|upstream| upstream.explicit);
    let mut all = Map::new();
    for config in explicit {
        if let Some(group) = ctx.shared.upstreams.find(&config.name) {
            all.insert((*config.name).into(), call.only(upstream(config, &group, ctx.now.instant)));
        }
    }
    Value::Object(all)
}

/// `/http/upstreams/NAME`
pub(super) fn upstream(config: &Upstream, group: &GroupState, now: Instant) -> Value {
    let members = group.members();
    let queue = config.policy.queue.map(|queue| Queue {
        size: group.queued.load(Ordering::Relaxed),
        max_size: queue.waiting_max,
        overflows: group.overflows.load(Ordering::Relaxed),
    });
    let peers = members.servers.iter().map(|member| peer(config, group, member, now)).collect();
    show(&Group { peers, zone: config.zone.as_deref(), queue })
}

fn peer<'a>(config: &Upstream, group: &GroupState, member: &'a Member, now: Instant) -> Peer<'a> {
    let state = &member.state;
    let totals = group.check_totals(state.id());
    // Times are measured where the group chooses by them.
    let measured = |measure| config.balance.measures().is_some_and(|by: LeastTime| by.measure == measure);
    let ms = |wanted: bool, us: u64| (wanted && us > 0).then_some(us / 1000);
    let nothing = Tally::default();
    let tally = state.tally().unwrap_or(&nothing);
    Peer {
        id: state.id(),
        server: format!("{}", member.config.address),
        name: &member.config.name,
        backup: member.config.backup,
        weight: member.config.weight,
        state: state_name(member, now),
        active: state.active(),
        max_conns: member.config.max_conns,
        requests: state.requests(),
        responses: Responses::of(tally),
        sent: tally.bytes().0,
        received: tally.bytes().1,
        fails: state.fails_total(),
        unavail: state.outages(),
        selected: tally.selected_ms().map(timestamp),
        health_checks: Checks {
            checks: totals.checks,
            fails: totals.fails,
            unhealthy: totals.unhealthy,
            last_passed: totals.last_passed,
        },
        header_time: ms(measured(Measure::Header), state.header_us()),
        response_time: ms(measured(Measure::LastByte), state.reply_us()),
    }
}

fn state_name(member: &Member, now: Instant) -> &'static str {
    let out = || {
        let until = member.state.out_until(&member.config, now);
        until.max(member.state.ejected_until(now)).is_some()
    };
    match member.state.health() {
        _ if member.config.down => "down",
        Health::Unhealthy => "unhealthy",
        Health::Checking => "checking",
        Health::Healthy if member.config.drain => "draining",
        Health::Healthy if out() => "unavail",
        Health::Healthy => "up",
    }
}
