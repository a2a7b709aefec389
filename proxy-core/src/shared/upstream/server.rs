//! One server's state, the same for all workers.
//!
//! Everything is an atomic of its own. Where two of them could disagree for a moment (a failure counted here, a success
//! there) the outcome is one of the two orders in which nginx's lock would have let them happen.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use spin::Once;

use super::tally::{Ended, Tally};
use crate::config::UpstreamServer;
use crate::time::{Instant, Millis};

/// A health check's verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// No check says anything against it.
    #[default]
    Healthy = 0,
    /// A check has failed.
    Unhealthy = 1,
    /// A mandatory check has not passed yet.
    Checking = 2,
}

/// One server's state. Aligned so that two servers share no line of the cache.
#[derive(Debug)]
#[repr(align(64))]
pub struct ServerState {
    id: u64,
    /// Requests that it works on.
    active: AtomicU32,
    /// Failures since the last success.
    fails: AtomicU32,
    /// When the last failure was, in microseconds; 0 is never.
    accessed_us: AtomicU64,
    /// When it was last tried after failures, in microseconds; 0 is never.
    checked_us: AtomicU64,
    health: AtomicU8,
    /// Since when it starts slowly, in microseconds; 0 is not.
    slow_since_us: AtomicU64,
    /// Until when it is ejected, in microseconds; 0 is not.
    ejected_until_us: AtomicU64,
    /// How often it was ejected in a row.
    ejections: AtomicU32,
    /// Replies of status 5xx and failures in a row.
    failures_in_a_row: AtomicU32,
    /// Average time to the head, in microseconds; 0 is unknown.
    header_us: AtomicU64,
    /// Times that went into it.
    samples: AtomicU32,
    /// Average time to the end of the reply, in microseconds; 0 is unknown.
    reply_us: AtomicU64,
    /// Requests that it was given.
    requests: AtomicU64,
    /// Failures in all.
    fails_total: AtomicU64,
    /// When it was chosen, noted once in `fail_timeout`, in microseconds.
    asked_us: AtomicU64,
    /// Requests whose time is not known yet.
    inflight: AtomicU32,
    /// When they began, added up, in microseconds; wraps around.
    inflight_since_us: AtomicU64,
    /// How often `max_fails` has put it out.
    outages: AtomicU64,
    /// Its replies, once the control API asks for them.
    tally: Once<Box<Tally>>,
}

/// The share of a new value in an average: one part in this many.
const AVERAGE_OVER: u64 = 8;

impl ServerState {
    pub(super) const fn new(id: u64, health: Health) -> Self {
        Self {
            id,
            active: AtomicU32::new(0),
            fails: AtomicU32::new(0),
            accessed_us: AtomicU64::new(0),
            checked_us: AtomicU64::new(0),
            health: AtomicU8::new(health as u8),
            slow_since_us: AtomicU64::new(0),
            ejected_until_us: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            failures_in_a_row: AtomicU32::new(0),
            header_us: AtomicU64::new(0),
            samples: AtomicU32::new(0),
            reply_us: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            fails_total: AtomicU64::new(0),
            asked_us: AtomicU64::new(0),
            inflight: AtomicU32::new(0),
            inflight_since_us: AtomicU64::new(0),
            outages: AtomicU64::new(0),
            tally: Once::new(),
        }
    }

    /// Its number in its group: never used twice.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Requests that it works on.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Failures since the last success.
    #[must_use]
    pub fn fails(&self) -> u32 {
        self.fails.load(Ordering::Relaxed)
    }

    /// Requests that it was given since it is known.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Failures since it is known.
    #[must_use]
    pub fn fails_total(&self) -> u64 {
        self.fails_total.load(Ordering::Relaxed)
    }

    /// How often `max_fails` failures have put it out.
    #[must_use]
    pub fn outages(&self) -> u64 {
        self.outages.load(Ordering::Relaxed)
    }

    /// It is out from now on.
    pub(crate) fn note_outage(&self) {
        self.outages.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a try that has ended.
    pub(crate) fn count(&self, ended: Ended) {
        self.tally.call_once(Box::default).add(ended);
    }

    /// Its replies, if any were counted.
    #[must_use]
    pub fn tally(&self) -> Option<&Tally> {
        self.tally.get().map(|tally| &**tally)
    }

    /// Counts requests, failures and replies anew. What is known of its health stays.
    pub fn reset_totals(&self) {
        for count in [&self.requests, &self.fails_total, &self.outages] {
            count.store(0, Ordering::Relaxed);
        }
        if let Some(tally) = self.tally.get() {
            tally.reset();
        }
    }

    /// The average time to the head, in microseconds; 0 where nothing is known.
    #[must_use]
    pub fn header_us(&self) -> u64 {
        self.header_us.load(Ordering::Relaxed)
    }

    /// The average time to the end of the reply, in microseconds; 0 where nothing is known.
    #[must_use]
    pub fn reply_us(&self) -> u64 {
        self.reply_us.load(Ordering::Relaxed)
    }

    /// What health checks say.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            0 => Health::Healthy,
            1 => Health::Unhealthy,
            _ => Health::Checking,
        }
    }

    pub(super) fn replace_health(&self, health: Health) -> Health {
        match self.health.swap(health as u8, Ordering::Relaxed) {
            0 => Health::Healthy,
            1 => Health::Unhealthy,
            _ => Health::Checking,
        }
    }

    /// Whether `max_fails` failures have put it out at this time, and until when.
    #[must_use]
    pub fn out_until(&self, config: &UpstreamServer, now: Instant) -> Option<Instant> {
        if config.max_fails == 0 || self.fails() < config.max_fails {
            return None;
        }
        let checked = self.checked_us.load(Ordering::Relaxed);
        let until = Instant::from_micros(checked) + config.fail_timeout;
        (checked > 0 && now <= until).then_some(until)
    }

    /// Until when it is ejected.
    #[must_use]
    pub fn ejected_until(&self, now: Instant) -> Option<Instant> {
        let until = self.ejected_until_us.load(Ordering::Relaxed);
        (until > now.as_micros()).then(|| Instant::from_micros(until))
    }

    /// Counts a request that begins, unless `max_conns` is reached. `max` of 0 is no limit. Returns the count before.
    pub(crate) fn enter(&self, max: u32) -> Option<u32> {
        let before = self.active.fetch_add(1, Ordering::Relaxed);
        if max > 0 && before >= max {
            // Another worker took the last place between the look and the grasp.
            self.active.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        Some(before)
    }

    /// Counts a request that ends. Returns the count before.
    pub(crate) fn leave(&self) -> u32 {
        self.active.fetch_sub(1, Ordering::Relaxed)
    }

    /// It is being asked: after failures the time of that is noted once in `fail_timeout`. Returns whether this request
    /// is the one that tries a server that was out: nobody else shall until it is known how that went.
    pub(crate) fn probe(&self, config: &UpstreamServer, now: Instant) -> bool {
        let fails = self.fails();
        if fails == 0 {
            return false;
        }
        let checked = self.checked_us.load(Ordering::Relaxed);
        if now <= Instant::from_micros(checked) + config.fail_timeout {
            return false;
        }
        let won =
            self.checked_us.compare_exchange(checked, now.as_micros(), Ordering::Relaxed, Ordering::Relaxed);
        won.is_ok() && config.max_fails > 0 && fails >= config.max_fails
    }

    /// A request failed. Returns the failures so far.
    pub(crate) fn fail(&self, now: Instant) -> u32 {
        self.accessed_us.store(now.as_micros(), Ordering::Relaxed);
        self.checked_us.store(now.as_micros(), Ordering::Relaxed);
        self.fails_total.fetch_add(1, Ordering::Relaxed);
        self.fails.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// A request went well. Returns whether the server was out until now.
    pub(crate) fn succeed(&self, config: &UpstreamServer, now: Instant) -> bool {
        if self.fails() == 0 {
            return false;
        }
        if self.accessed_us.load(Ordering::Relaxed) >= self.checked_us.load(Ordering::Relaxed) {
            return false;
        }
        let fails = self.fails.swap(0, Ordering::Relaxed);
        let was_out = config.max_fails > 0 && fails >= config.max_fails;
        if was_out {
            self.begin_slow_start(now);
        }
        was_out
    }

    /// Forgets all failures.
    pub fn forgive(&self) {
        self.fails.store(0, Ordering::Relaxed);
        self.failures_in_a_row.store(0, Ordering::Relaxed);
        self.ejected_until_us.store(0, Ordering::Relaxed);
    }

    /// It is back, and shall get its share little by little.
    pub fn begin_slow_start(&self, now: Instant) {
        self.slow_since_us.store(now.as_micros().max(1), Ordering::Relaxed);
    }

    /// How much of its weight it has at this time, in thousandths.
    #[must_use]
    pub fn warmth(&self, slow_start: Millis, now: Instant) -> u32 {
        let since = self.slow_since_us.load(Ordering::Relaxed);
        if slow_start.is_zero() || since == 0 {
            return WARM;
        }
        let elapsed = now.millis_since(Instant::from_micros(since));
        if elapsed >= slow_start.0 {
            return WARM;
        }
        u32::try_from(elapsed * u64::from(WARM) / slow_start.0).unwrap_or(WARM).max(1)
    }

    /// A head came after so many microseconds. Returns how many were measured since the last ejection.
    pub fn measure_header(&self, us: u64) -> u32 {
        average(&self.header_us, us);
        self.samples.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// A reply ended after so many microseconds.
    pub fn measure_reply(&self, us: u64) {
        average(&self.reply_us, us);
    }

    /// It is being asked, for whoever measures times.
    pub(crate) fn note_asked(&self, config: &UpstreamServer, now: Instant) {
        let before = Instant::from_micros(self.asked_us.load(Ordering::Relaxed));
        if now > before + config.fail_timeout {
            self.asked_us.store(now.as_micros(), Ordering::Relaxed);
        }
    }

    /// How long ago it was asked last, in milliseconds, give or take a `fail_timeout`.
    pub(crate) fn millis_unasked(&self, now: Instant) -> u64 {
        now.millis_since(Instant::from_micros(self.asked_us.load(Ordering::Relaxed)))
    }

    /// A request begins whose time counts before it is known.
    pub(crate) fn begin_inflight(&self, began: Instant) {
        self.inflight_since_us.fetch_add(began.as_micros(), Ordering::Relaxed);
        self.inflight.fetch_add(1, Ordering::Relaxed);
    }

    /// The time of such a request is known, or will never be.
    pub(crate) fn end_inflight(&self, began: Instant) {
        self.inflight.fetch_sub(1, Ordering::Relaxed);
        self.inflight_since_us.fetch_sub(began.as_micros(), Ordering::Relaxed);
    }

    /// How long its requests have been under way, on average, in microseconds.
    pub(crate) fn inflight_us(&self, now: Instant) -> u64 {
        let count = u64::from(self.inflight.load(Ordering::Relaxed));
        let began = self.inflight_since_us.load(Ordering::Relaxed).checked_div(count);
        began.map_or(0, |began| now.as_micros().saturating_sub(began))
    }

    /// Counts a failure for the outliers. Returns how many there were in a row.
    pub fn fail_in_a_row(&self) -> u32 {
        self.failures_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// A good reply ends a row of bad ones.
    pub fn end_row(&self) {
        if self.failures_in_a_row.load(Ordering::Relaxed) > 0 {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Puts it out: for `time`, and for longer each time that it follows another ejection. Returns until when; none
    /// where it is out already.
    pub fn eject(&self, time: Millis, now: Instant) -> Option<Instant> {
        let before = self.ejected_until_us.load(Ordering::Relaxed);
        if before > now.as_micros() {
            return None;
        }
        // A quiet time as long as the longest ejection forgets the earlier ones.
        let recent =
            now.as_micros() < before.saturating_add(time.0.saturating_mul(1000 * u64::from(EJECTIONS_MAX)));
        let count = if recent && before > 0 { self.ejections.load(Ordering::Relaxed) + 1 } else { 1 };
        let count = count.min(EJECTIONS_MAX);
        let until = now + Millis(time.0.saturating_mul(u64::from(count)));
        let won = self.ejected_until_us.compare_exchange(
            before,
            until.as_micros(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        won.ok()?;
        self.ejections.store(count, Ordering::Relaxed);
        self.failures_in_a_row.store(0, Ordering::Relaxed);
        self.header_us.store(0, Ordering::Relaxed);
        self.samples.store(0, Ordering::Relaxed);
        // It comes back gently, where it may.
        self.slow_since_us.store(until.as_micros(), Ordering::Relaxed);
        Some(until)
    }
}

/// A server that has all of its weight, in thousandths.
pub const WARM: u32 = 1000;

/// How many times longer than the first an ejection may get.
const EJECTIONS_MAX: u32 = 10;

fn average(slot: &AtomicU64, value: u64) {
    let before = slot.load(Ordering::Relaxed);
    let value = value.max(1);
    let next = if before == 0 { value } else { (before * (AVERAGE_OVER - 1) + value).div_ceil(AVERAGE_OVER) };
    // A value that another worker adds at the same time may get lost: it is an average.
    slot.store(next, Ordering::Relaxed);
}
