//! What costs a client little and us something, counted: each kind has a bound for [`SPAN`], and who exceeds one is
//! told so with ENHANCE_YOUR_CALM (RFC 9113, section 10.5) and is gone.
//!
//! The bounds are far above what browsers, gRPC and load generators do. Everything else that a client can make us keep
//! is bounded where it is kept: streams by `http2_max_concurrent_streams`, heads by `large_client_header_buffers`,
//! bodies by the windows, our answers by [`UNSENT_BYTES_MAX`](super::conn::UNSENT_BYTES_MAX).

use crate::time::{Instant, Millis};

/// For how long is counted before counting starts anew.
pub const SPAN: Millis = Millis::from_secs(10);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A stream was reset before its reply had ended, by the client (CVE-2023-44487) or by us for what the client had
    /// done (CVE-2025-8671).
    Reset,
    /// A stream beyond `http2_max_concurrent_streams`.
    Refused,
    /// SETTINGS (CVE-2019-9515)
    Settings,
    /// PING (CVE-2019-9512)
    Ping,
    /// A frame without effect: PRIORITY, an unknown kind, a frame for a stream that is gone (CVE-2019-9513).
    Idle,
    /// DATA, HEADERS or CONTINUATION without bytes and without an end (CVE-2019-9518).
    Empty,
    /// A WINDOW_UPDATE beyond two for each frame of DATA that we have sent, whenever they come.
    Window,
    /// We had to send a sliver of DATA, for the window had no more (CVE-2019-9511), and more than one for each other
    /// frame: a peer that answers each frame by itself breaks its window into odd pieces.
    Sliver,
}

impl Deed {
    /// How often it is tolerated in [`SPAN`].
    const fn limit(self) -> u32 {
        match self {
            Self::Reset => 300,
            Self::Refused => 300,
            Self::Settings => 50,
            Self::Ping => 1000,
            Self::Idle => 1000,
            Self::Empty => 200,
            Self::Window => 1000,
            Self::Sliver => 200,
        }
    }
}

/// CONTINUATION frames that one block may have (CVE-2024-27316); its bytes are bounded, too.
pub const CONTINUATIONS_MAX: u32 = 16;

/// A client that exceeded a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood;

/// One client's counts.
#[derive(Debug)]
pub struct Counts {
    since: Instant,
    counts: [u32; 8],
    /// WINDOW_UPDATEs and slivers that what we have sent makes up for.
    updates_due: u32,
    slivers_due: u32,
}

/// How many WINDOW_UPDATEs may be due at a time: for as many frames as a large window holds.
const UPDATES_DUE_MAX: u32 = 1 << 20;

/// How many slivers may be made up for at a time.
const SLIVERS_DUE_MAX: u32 = 1000;

impl Counts {
    /// Nothing counted yet.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { since: now, counts: [0; 8], updates_due: 0, slivers_due: 0 }
    }

    /// Counts a deed.
    ///
    /// # Errors
    /// It was one too many.
    pub fn add(&mut self, deed: Deed, now: Instant) -> Result<(), Flood> {
        if now > self.since + SPAN {
            (self.since, self.counts) = (now, [0; 8]);
        }
        let due = match deed {
            Deed::Window => &mut self.updates_due,
            Deed::Sliver => &mut self.slivers_due,
            Deed::Reset | Deed::Refused | Deed::Settings | Deed::Ping | Deed::Idle | Deed::Empty => &mut 0,
        };
        if *due > 0 {
            *due -= 1;
            return Ok(());
        }
        let Some(count) = self.counts.get_mut(deed as usize) else { return Err(Flood) };
        *count += 1;
        if *count > deed.limit() { Err(Flood) } else { Ok(()) }
    }

    /// A DATA frame went out: two WINDOW_UPDATEs may answer it. One that is no sliver makes up for one that is.
    pub fn count_data(&mut self, is_sliver: bool) {
        self.updates_due = (self.updates_due + 2).min(UPDATES_DUE_MAX);
        if !is_sliver {
            self.slivers_due = (self.slivers_due + 1).min(SLIVERS_DUE_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_deed_has_its_bound_and_time_forgives() {
        for deed in [
            Deed::Reset,
            Deed::Refused,
            Deed::Settings,
            Deed::Ping,
            Deed::Idle,
            Deed::Empty,
            Deed::Window,
            Deed::Sliver,
        ] {
            let start = Instant::from_micros(1_000_000);
            let mut counts = Counts::new(start);
            assert!((0..deed.limit()).all(|_| counts.add(deed, start).is_ok()));
            assert_eq!(counts.add(deed, start), Err(Flood), "{deed:?}");
            assert_eq!(counts.add(deed, start + SPAN + Millis(1)), Ok(()));
        }
    }

    #[test]
    fn updates_may_come_long_after_the_data() {
        let start = Instant::from_micros(1_000_000);
        let mut counts = Counts::new(start);
        (0..5000).for_each(|n| counts.count_data(n % 2 == 0));
        assert!((0..10_000 + Deed::Window.limit()).all(|_| counts.add(Deed::Window, start).is_ok()));
        assert_eq!(counts.add(Deed::Window, start), Err(Flood));
        let slivers = SLIVERS_DUE_MAX + Deed::Sliver.limit();
        assert!((0..slivers).all(|_| counts.add(Deed::Sliver, start).is_ok()));
        assert_eq!(counts.add(Deed::Sliver, start), Err(Flood));
    }
}
