//! `limit_rate`: how many bytes of a reply may go now, and when the next ones may.
//!
//! nginx's arithmetic: in the first second of a request one second's worth may go, in the next one two in all, and so
//! on; after each write the connection rests for as long as its bytes are worth. The first `limit_rate_after` bytes are
//! free. Seconds are those of the wall clock.
//!
//! Reference: ngx_http_write_filter_module.

use crate::time::{Instant, Millis, Now};

/// One reply's pace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Bytes per second; not 0.
    rate: u64,
    /// How many bytes are free.
    after: u64,
    /// When the request began, in seconds since the Unix epoch.
    start_s: u64,
    /// What the connection had sent before this reply, in bytes.
    base: u64,
    /// What of this reply was sent when the pace was last asked, in bytes.
    counted: u64,
    resume: Option<Instant>,
}

/// What may go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// At most so many bytes.
    Bytes(u64),
    /// Nothing before this moment.
    Until(Instant),
}

impl Pace {
    /// The pace of a reply to a request that began `started`, on a connection that has sent `base` bytes before; none
    /// where there is no limit.
    pub(crate) fn new(rate: u64, after: u64, started: Instant, base: u64, now: Now) -> Option<Self> {
        let start_s = now.unix_ms.saturating_sub(now.instant.millis_since(started)) / 1000;
        (rate > 0).then_some(Self { rate, after, start_s, base, counted: 0, resume: None })
    }

    /// What may go, when the connection has sent so many bytes in all.
    pub(crate) fn ask(&mut self, sent: u64, now: Now) -> Allowance {
        let sent = sent.saturating_sub(self.base);
        let before = core::mem::replace(&mut self.counted, sent);
        let worth = sent.saturating_sub(self.after) - before.saturating_sub(self.after);
        let rest_ms = worth.saturating_mul(1000) / self.rate;
        if rest_ms > 0 {
            self.resume = Some(now.instant + Millis(rest_ms));
        }
        if let Some(resume) = self.resume.filter(|resume| *resume > now.instant) {
            return Allowance::Until(resume);
        }
        let seconds = (now.unix_ms / 1000).saturating_sub(self.start_s) + 1;
        let allowed = self.rate.saturating_mul(seconds).saturating_add(self.after);
        if allowed > sent {
            return Allowance::Bytes(allowed - sent);
        }
        let resume = now.instant + Millis((sent - allowed).saturating_mul(1000) / self.rate + 1);
        self.resume = Some(resume);
        Allowance::Until(resume)
    }

    /// When the next bytes may go, if that is not yet.
    pub(crate) fn resume(&self, now: Instant) -> Option<Instant> {
        self.resume.filter(|resume| *resume > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends whatever may go, all of it at once, and writes down when and how much: milliseconds and bytes.
    fn run(rate: u64, after: u64, begin_ms: u64, total: u64) -> alloc::vec::Vec<(u64, u64)> {
        let mut now =
            Now { unix_ms: begin_ms, instant: Instant::from_micros(begin_ms * 1000), utc_offset_s: 0 };
        let mut pace = Pace::new(rate, after, now.instant, 7, now).unwrap();
        let (mut sent, mut steps) = (0, alloc::vec::Vec::new());
        while sent < total {
            match pace.ask(sent + 7, now) {
                Allowance::Bytes(bytes) => {
                    steps.push((now.unix_ms - begin_ms, bytes.min(total - sent)));
                    sent += bytes.min(total - sent);
                }
                Allowance::Until(at) => {
                    assert!(at > now.instant && pace.resume(now.instant) == Some(at));
                    now.unix_ms += (at.as_micros() - now.instant.as_micros()) / 1000;
                    now.instant = at;
                }
            }
        }
        steps
    }

    #[test]
    fn the_steps_are_nginxs() {
        // limit = rate * (seconds + 1) - (sent - after); delay = sent beyond `after` * 1000 / rate.
        assert_eq!(run(1000, 0, 5000, 2500), [(0, 1000), (1000, 1000), (2000, 500)]);
        assert_eq!(run(1000, 0, 5900, 3500), [(0, 1000), (1000, 1000), (2000, 1000), (3000, 500)]);
        assert_eq!(run(1000, 500, 5000, 3000), [(0, 1500), (1000, 1000), (2000, 500)]);
        assert_eq!(run(1000, 10_000, 5000, 9000), [(0, 9000)]);
        assert_eq!(run(3, 0, 0, 7), [(0, 3), (1000, 3), (2000, 1)]);
        assert_eq!(run(u64::MAX, 0, 0, 1 << 40), [(0, 1 << 40)]);
    }

    #[test]
    fn a_slow_reader_catches_up_and_no_more() {
        let at = |ms: u64| Now { unix_ms: ms, instant: Instant::from_micros(ms * 1000), utc_offset_s: 0 };
        let mut pace = Pace::new(1000, 0, at(0).instant, 0, at(0)).unwrap();
        assert_eq!(pace.ask(0, at(0)), Allowance::Bytes(1000));
        // The client took its time for 300 bytes of them.
        assert_eq!(pace.ask(300, at(2500)), Allowance::Until(at(2800).instant));
        assert_eq!(pace.ask(300, at(2800)), Allowance::Bytes(2700));
        // What was sent beyond the allowance (the clock went back) is waited for.
        assert_eq!(pace.ask(300, Now { unix_ms: 0, ..at(2900) }), Allowance::Bytes(700));
        assert_eq!(pace.ask(1300, Now { unix_ms: 0, ..at(2900) }), Allowance::Until(at(3900).instant));
        assert_eq!(pace.ask(1300, Now { unix_ms: 0, ..at(3900) }), Allowance::Until(at(4201).instant));
        assert!(Pace::new(0, 9, at(0).instant, 0, at(0)).is_none());
    }
}
