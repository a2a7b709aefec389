//! `queue`: a request for which there is no room at any server waits for some.
//!
//! Whoever gives a server back wakes the first that waits on the same worker. Room that another worker makes is found by
//! looking again every [`LOOK_AGAIN`]: workers cannot wake each other.

use core::cell::RefCell;
use core::sync::atomic::Ordering;

use super::Phase;
use crate::command::ConnId;
use crate::conn::Link;
use crate::exchange::Exchange;
use crate::exchange::context::Context;
use crate::time::{Instant, Millis};
use crate::upstream::Group;

/// How often a request that waits looks for itself.
const LOOK_AGAIN: Millis = Millis(50);

/// A request's place in its group's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    client: ConnId,
    since: Instant,
    until: Instant,
}

impl Queued {
    /// When it looks again.
    pub(super) fn wakes(self, now: Instant) -> Instant {
        self.until.min(now + LOOK_AGAIN)
    }
}

impl Exchange {
    /// No server can be chosen now. Returns whether the request waits.
    pub(super) fn wait_in_queue(&mut self, group: &RefCell<Group>, link: &Link, ctx: &Context) -> bool {
        let now = ctx.now.instant;
        let mut group = group.borrow_mut();
        let Some(queue) = group.policy.queue else { return false };
        // Behind a failure it waits only for servers that it has not asked.
        if self.proxy.tries > 0 && !group.may_get_room(&self.proxy.pick.tried, now) {
            return false;
        }
        let waited = self.proxy.queued.take();
        let place = waited.unwrap_or(Queued { client: link.id, since: now, until: now + queue.timeout });
        if now >= place.until {
            return false;
        }
        if group.shared.queued.fetch_add(1, Ordering::Relaxed) >= queue.waiting_max && waited.is_none() {
            group.shared.queued.fetch_sub(1, Ordering::Relaxed);
            group.shared.overflows.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        // Who has waited before keeps its place.
        if waited.is_some() {
            group.waiting.push_front(link.id)
        } else {
            group.waiting.push_back(link.id)
        }
        self.proxy.phase = Phase::Queued(place);
        true
    }

    /// The request waits no longer: there may be room, or its time is up, or nobody wants it any more.
    pub(crate) fn leave_queue(&mut self, link: &mut Link) {
        let Phase::Queued(place) = self.proxy.phase else { return };
        link.deadline.clear_if(crate::timer::Reason::UpstreamQueue);
        self.forget_queue(place);
        self.proxy.pick.start_again();
        self.proxy.queued = Some(place);
    }

    /// Gives the place in the queue up.
    pub(super) fn stop_waiting(&mut self) {
        if let Phase::Queued(place) = self.proxy.phase {
            self.forget_queue(place);
        }
    }

    fn forget_queue(&mut self, place: Queued) {
        self.proxy.phase = Phase::Idle;
        if let Some(group) = &self.proxy.group {
            let mut group = group.borrow_mut();
            group.waiting.retain(|waiter| *waiter != place.client);
            group.shared.queued.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How long the request has waited, in microseconds, if it did.
    pub(super) fn queued_us(&self, now: Instant) -> Option<u64> {
        self.proxy.queued.map(|place| now.as_micros().saturating_sub(place.since.as_micros()))
    }
}
