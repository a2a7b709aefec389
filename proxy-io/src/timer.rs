//! The worker's one timer, set to the next deadline of all.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use monoio::time::{Instant as RingInstant, Sleep, sleep};
use proxy_core::time::Instant;

use crate::control::Mailbox;
use crate::ready::{Token, waker};

/// The longest wait, for deadlines beyond what monoio's timers can hold: ringing early is harmless.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// It is set again only where the deadline has moved forward: one that moved back is found out when it rings, which
/// costs one idle turn instead of one change per request.
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
    /// monoio's sleep remembers only the first waker that it sees, so it is always this one.
    waker: Waker,
}

impl Timer {
    pub(crate) fn new(mailbox: &Arc<Mailbox>) -> Self {
        Self { sleep: None, armed: None, waker: waker(Token::Timer, mailbox) }
    }

    /// Makes sure that it rings at `deadline` or earlier.
    pub(crate) fn arm(&mut self, deadline: Instant, now: Instant) {
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return;
        }
        self.armed = Some(deadline);
        let wait = Duration::from_micros(deadline.as_micros().saturating_sub(now.as_micros())).min(WAIT_MAX);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(RingInstant::now() + wait),
            None => self.sleep = Some(Box::pin(sleep(wait))),
        }
        if self.rings() {
            self.waker.wake_by_ref();
        }
    }

    /// It was woken.
    pub(crate) fn fire(&mut self) {
        if self.rings() {
            self.armed = None;
        }
    }

    fn rings(&mut self) -> bool {
        let mut cx = Context::from_waker(&self.waker);
        self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(&mut cx).is_ready())
    }
}
