//! What a seed adds to its plan, drawn apart so that the plan itself stays what it was: reloads while requests run,
//! HTTP/1.0 upstreams, X-Accel-Redirect, full servers with a queue before them, replies that ask for the next server.

use proxy_core::time::Millis;

use crate::config::Site;
use crate::plan::{Coding, METHODS, Plan, Then};
use crate::rng::Rng;
use crate::sickness::{Sickness, Trouble};

/// A new configuration while the run goes on.
pub(crate) struct Reload {
    pub(crate) at_us: u64,
    pub(crate) site: Site,
}

/// Twists the plan of this seed.
pub(crate) fn twist(plan: &mut Plan, seed: u64) {
    let mut rng = Rng::new(seed ^ 0x7477_6973_7400);
    if seed % 13 == 4 {
        plan.site.max_conns = rng.pick(&[1, 2]);
    }
    if seed % 11 == 6 {
        speak_http10(plan);
    }
    if seed % 4 == 2 {
        let weak = plan.sickness.iter_mut();
        weak.for_each(refuse_politely);
        plan.site.next_on_503 = true;
    }
    for exchange in &mut plan.exchanges {
        let plain = exchange.upgrade.is_none() && exchange.coding == Coding::None;
        exchange.accel =
            plain && matches!(exchange.method, "GET" | "HEAD") && (exchange.id as u64 + seed) % 7 == 5;
        let reply = &mut exchange.reply;
        let old =
            reply.status != 101 && reply.coding != Coding::Chunked && (exchange.id as u64 + seed) % 5 == 3;
        if old {
            reply.http10 = true;
            reply.interims.clear();
        }
    }
    if seed % 5 == 2 {
        reload(plan, &mut rng);
    }
}

/// `proxy_http_version 1.0`: nothing is chunked then, nothing is upgraded, and each connection serves once.
fn speak_http10(plan: &mut Plan) {
    plan.site.http10 = true;
    for exchange in &mut plan.exchanges {
        exchange.upgrade = None;
        let reply = &mut exchange.reply;
        reply.http10 = true;
        reply.interims.clear();
        reply.trailer = false;
        if reply.status == 101 {
            reply.status = 204;
        }
        if reply.coding == Coding::Chunked {
            (reply.coding, reply.then) = (Coding::UntilClose, Then::Close);
        }
    }
}

/// Who would reset says 503 instead.
fn refuse_politely(sickness: &mut Sickness) {
    match sickness {
        Sickness::From(_, _, trouble) | Sickness::Flaps(_, trouble) => {
            if matches!(trouble, Trouble::Resets(_)) {
                *trouble = Trouble::Refuses;
            }
        }
        Sickness::Well => {}
    }
}

/// Other weights, another method, more or fewer idle connections, and a server less.
fn reload(plan: &mut Plan, rng: &mut Rng) {
    let servers = plan.site.weights.len();
    let mut at_us = 0;
    for _ in 0..rng.range(1, 3) {
        at_us += rng.range(1, 800_000);
        let gone = rng.size(0, servers - 1);
        let others = plan.sickness.iter().enumerate().filter(|(n, _)| *n != gone);
        let may_go = others.into_iter().any(|(_, sickness)| *sickness == Sickness::Well);
        let site = Site {
            weights: (0..servers).map(|_| rng.pick(&[1, 2, 3])).collect(),
            balance: rng.pick(&METHODS),
            keepalive: rng.pick(&[0, 1, 32]),
            gone: (may_go && rng.percent(50)).then_some(gone),
            generation: plan.site.generation + plan.reloads.len() as u64 + 1,
            // A server that is slow to come back is no trouble.
            slow_start: rng.pick(&[Millis(0), Millis(1000)]),
            ..plan.site.clone()
        };
        plan.reloads.push(Reload { at_us, site });
    }
}
