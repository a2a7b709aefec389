//! The whole core on a simulated network, a simulated disk and a clock that jumps: seeded, exact, without a sleep.
//!
//! A seed draws a site, a network's weather and a few clients ([`plan`]); simulated clients ([`client`]) and upstreams
//! ([`upstream`]) play it through [`net`] while [`world`] turns the worker and checks the rules of `command.rs` and the
//! bounds; at the end [`model`] compares what both sides saw with what the plan says.
//!
//! - `SIM_SEED=7 cargo test -p ringgate-tests --test sim` replays one seed and prints its trace if it fails.
//! - `SIM_SEEDS=5000 cargo test -p ringgate-tests --test sim` runs many, beginning at `SIM_FIRST` (0 without it).

#![allow(
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a wrong index in the simulator shall fail the run, loudly"
)]

mod checked;
mod client;
mod clock;
mod config;
mod duet;
mod engine;
mod fakes;
mod files;
mod model;
mod names;
mod net;
mod pipe;
mod plan;
mod rng;
mod script;
mod sickness;
mod twist;
mod upstream;
mod wire;
mod world;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::rc::Rc;
use std::sync::{Arc, Once};

use proxy_core::shared::Shared;
use proxy_core::worker::Worker;

use plan::Plan;
use world::{MakeEngine, Outcome, Trace, World};

/// How many seeds an ordinary test run takes.
const SEEDS: u64 = 300;
/// Seeds beyond those that have found a mistake: a full server at the second try, a server that joins the group while a
/// request is under way.
const KNOWN: [u64; 3] = [1083, 2127, 7367];
/// How many lines of a trace are worth reading.
const TRACE_LINES: usize = 4000;

#[test]
fn seeds() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    if let Some(seed) = number("SIM_SEED") {
        return replay(seed, &worker);
    }
    let first = number("SIM_FIRST").unwrap_or(0);
    let mut failed: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    let last = first + number("SIM_SEEDS").unwrap_or(SEEDS);
    for seed in (first..last).chain(KNOWN) {
        if let Err(why) = attempt(seed, &worker, None) {
            failed.entry(cause(&why)).or_default().push((seed, why));
        }
    }
    let groups = failed.values().map(|group| {
        let seeds: Vec<String> = group.iter().take(8).map(|(seed, _)| seed.to_string()).collect();
        format!("- {} seeds ({}): {}", group.len(), seeds.join(" "), group[0].1)
    });
    let groups: Vec<String> = groups.collect();
    let command = "SIM_SEED=n cargo test -p ringgate-tests --test sim";
    assert!(groups.is_empty(), "seeds failed; replay one with `{command}`\n{}", groups.join("\n"));
}

/// What failures of one kind have in common: the place of the check and the words in front of the first detail.
fn cause(why: &str) -> String {
    let place = why.rsplit(" [").next().unwrap_or_default();
    let words = why.split(|c: char| c.is_ascii_digit() || c == '{' || c == '"').next().unwrap_or_default();
    let own = why.split("the proxy's own ").nth(1).and_then(|rest| rest.get(..3)).unwrap_or_default();
    format!("{place} {words} {own}")
}

/// The real thing.
fn worker(
    config: Arc<proxy_core::config::Config>,
    pools: proxy_core::worker::Pools,
    seed: u64,
    now: proxy_core::time::Now,
) -> Box<dyn engine::Engine> {
    Box::new(Worker::new(config, Arc::new(Shared::new()), pools, seed, now))
}

thread_local! {
    /// Whether this thread's panics are a run's verdict, and where the last one came from.
    static IN_RUN: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A run's panic is not printed but kept; all others are as ever.
fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if IN_RUN.get() {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                PLACE.with_borrow_mut(|last| *last = place);
            } else {
                usual(info);
            }
        }));
    });
}

/// Runs one seed and compares; the error is the panic's message and place.
fn attempt(seed: u64, make: &MakeEngine, trace: Trace) -> Result<Outcome, String> {
    keep_panics();
    let run = || {
        let plan = Plan::new(seed);
        let outcome = World::new(&plan, seed, make, trace).run();
        model::check(&plan, &outcome);
        outcome
    };
    IN_RUN.set(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    IN_RUN.set(false);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        format!("{} [{}]", text.unwrap_or_default(), PLACE.with_borrow(String::clone))
    })
}

/// Runs one seed and shows what happened if it fails.
fn replay(seed: u64, make: &MakeEngine) {
    let trace = Rc::new(RefCell::new(Vec::new()));
    let result = attempt(seed, make, Some(trace.clone()));
    if let Err(why) = result {
        let lines = trace.borrow();
        let shown = &lines[lines.len().saturating_sub(TRACE_LINES)..];
        panic!("seed {seed}: {why}\n{}\nseed {seed}: {why}", shown.join("\n"));
    }
}
