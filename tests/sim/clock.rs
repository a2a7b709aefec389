//! Simulated time: it jumps from one event to the next, and nothing ever sleeps.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use proxy_core::command::{ConnId, FileId, ResolveId, VerifyId};
use proxy_core::time::{Instant, Now};

/// What the future holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// This client connects.
    Arrive(usize),
    /// A connection attempt ends.
    Connected(ConnId),
    /// Bytes or the end of a stream reach one end of this pair.
    Delivered(usize, Side),
    /// The pending read of the core may complete.
    RecvReady(ConnId),
    /// The pending write of the core may complete.
    SendReady(ConnId),
    /// What was in flight when the core closed comes back late.
    Stray(usize),
    /// The peer of this pair looks around.
    Wake(usize),
    /// The operation on this file ends.
    File(FileId),
    /// A name was looked up.
    Resolved(ResolveId),
    /// A password was compared.
    Verified(VerifyId, bool),
    /// This one of the plan's new configurations comes.
    Reload(usize),
    /// The process is told to drain.
    Shutdown,
}

/// An end of a simulated connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The worker.
    Core,
    /// The simulated client or upstream.
    Peer,
}

/// The events to come, in order of time and then of their making.
#[derive(Default)]
pub(crate) struct Clock {
    now_us: u64,
    sequence: u64,
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
}

impl Clock {
    /// Microseconds since the start.
    pub(crate) fn now_us(&self) -> u64 {
        self.now_us
    }

    /// What the driver's clocks say.
    pub(crate) fn now(&self) -> Now {
        // The monotonic clock does not start at zero, so that nobody takes zero for "never".
        let instant = Instant::from_micros(self.now_us + START_US);
        Now { instant, unix_ms: 1_800_000_000_000 + self.now_us / 1000, utc_offset_s: 3600 }
    }

    /// Plans `event` in `delay_us`; returns when that is.
    pub(crate) fn plan(&mut self, delay_us: u64, event: Event) -> u64 {
        self.plan_at(self.now_us + delay_us, event)
    }

    /// Plans `event` at `at_us`, or now if that is past.
    pub(crate) fn plan_at(&mut self, at_us: u64, event: Event) -> u64 {
        let at_us = at_us.max(self.now_us);
        self.heap.push(Reverse((at_us, self.sequence)));
        self.events.insert(self.sequence, event);
        self.sequence += 1;
        at_us
    }

    /// When the next event is.
    pub(crate) fn next_at_us(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_us, _))| *at_us)
    }

    /// Goes to the next event.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        let Reverse((at_us, sequence)) = self.heap.pop()?;
        self.now_us = at_us;
        self.events.remove(&sequence)
    }

    /// Goes to the next event, if it is a completion, or nothing that the core hears of, and comes before `deadline`.
    pub(crate) fn pop_completion(&mut self, deadline: Option<Instant>) -> Option<Event> {
        let Reverse((at_us, sequence)) = self.heap.peek()?;
        let is_input =
            matches!(self.events.get(sequence)?, Event::Arrive(_) | Event::Shutdown | Event::Reload(_));
        let is_late = deadline.is_some_and(|deadline| *at_us >= Self::at_us(deadline));
        if is_input || is_late { None } else { self.pop() }
    }

    /// Goes to the core's deadline.
    pub(crate) fn jump(&mut self, to: Instant) {
        self.now_us = self.now_us.max(Self::at_us(to));
    }

    /// The core's deadline in our own count.
    pub(crate) fn at_us(deadline: Instant) -> u64 {
        deadline.as_micros().saturating_sub(START_US)
    }
}

/// What the monotonic clock says at the start.
const START_US: u64 = 7_000_000;
