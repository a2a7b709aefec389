//! What a group learns from replies: times for `least_time`, and servers that `outlier_ejection` leaves out for a while.
//!
//! A server is ejected by what it does to real requests: bad replies and failures in a row, or a head that takes too long on
//! average. It comes back by itself; each ejection that follows soon is longer. Never more than the configured share of a group
//! is out in this way: a bad hour of everybody is no outlier.

use super::Group;
use crate::http::Status;
use crate::time::{Instant, Millis};

/// A server was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ejection {
    /// For how long.
    pub(crate) time: Millis,
    pub(crate) cause: EjectionCause,
}

/// Why a server was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EjectionCause {
    /// So many bad replies or failures in a row.
    InARow(u32),
    /// An average time to the head, in milliseconds.
    Latency(u64),
}

impl core::fmt::Display for Ejection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "upstream server ejected for {} ms: ", self.time.0)?;
        match self.cause {
            EjectionCause::InARow(count) => write!(f, "{count} failures in a row"),
            EjectionCause::Latency(ms) => write!(f, "{ms} ms to the header on average"),
        }
    }
}

impl Group {
    /// A server has sent its head, after so many microseconds.
    pub(crate) fn note_head(&self, place: usize, status: Status, us: u64, now: Instant) -> Option<Ejection> {
        let state = &self.server(place)?.state;
        let samples = state.measure_header(us);
        let outliers = self.policy.outliers?;
        if status.0 >= 500 {
            return self.note_failure(place, now);
        }
        state.end_row();
        let ms = state.header_us() / 1000;
        let slow = !outliers.latency.is_zero() && samples >= SAMPLES_MIN && ms > outliers.latency.0;
        if slow { self.eject(place, EjectionCause::Latency(ms), now) } else { None }
    }

    /// A server has failed, or answered with a 5xx.
    pub(crate) fn note_failure(&self, place: usize, now: Instant) -> Option<Ejection> {
        let outliers = self.policy.outliers.filter(|outliers| outliers.consecutive_5xx > 0)?;
        let count = self.server(place)?.state.fail_in_a_row();
        if count >= outliers.consecutive_5xx {
            return self.eject(place, EjectionCause::InARow(count), now);
        }
        None
    }

    /// A reply has ended after so many microseconds.
    pub(crate) fn note_end(&self, place: usize, us: u64) {
        if let Some(server) = self.server(place) {
            server.state.measure_reply(us);
        }
    }

    fn eject(&self, place: usize, cause: EjectionCause, now: Instant) -> Option<Ejection> {
        let outliers = self.policy.outliers?;
        let members = self.shared.members();
        let out = members.servers.iter().filter(|member| member.state.ejected_until(now).is_some()).count();
        if (out + 1) * 100 > members.servers.len() * outliers.max_ejected_percent as usize {
            return None;
        }
        let until = self.server(place)?.state.eject(outliers.time, now)?;
        self.shared.touch();
        Some(Ejection { time: Millis(until.millis_since(now)), cause })
    }
}

/// An average of fewer replies says nothing.
const SAMPLES_MIN: u32 = 10;

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use super::*;
    use crate::config::{Outliers, Policy, Upstream};
    use crate::upstream::Outcome;
    use crate::upstream::fixture::{at, config, order};

    fn group(weights: &[u32]) -> Group {
        let outliers = Outliers {
            consecutive_5xx: 3,
            latency: Millis(100),
            time: Millis::from_secs(10),
            max_ejected_percent: 50,
        };
        let policy = Arc::new(Policy { outliers: Some(outliers), ..Policy::default() });
        let mut group = Group::private(&Upstream { policy, ..config(weights, |_, _| {}) });
        order(&mut group, weights.len(), at(1), |_| Outcome::Success);
        group
    }

    #[test]
    fn bad_replies_in_a_row_put_a_server_out_for_a_time_that_grows() {
        let mut group = group(&[1, 1, 1]);
        let bad = |group: &Group, place, s| group.note_head(place, Status(503), 1, at(s));
        assert_eq!([bad(&group, 1, 1), bad(&group, 1, 1)], [None; 2]);
        group.note_head(1, Status(200), 1, at(1));
        assert_eq!([bad(&group, 1, 2), bad(&group, 1, 2)], [None; 2], "a good one ended the row");
        let ejection = bad(&group, 1, 2).expect("three in a row");
        assert_eq!(ejection.time, Millis::from_secs(10));
        assert!(!order(&mut group, 6, at(11), |_| Outcome::Success).contains('b'));
        // Two of three would be more than half.
        assert_eq!([bad(&group, 0, 3), bad(&group, 0, 3), bad(&group, 0, 3)], [None; 3]);
        assert!(order(&mut group, 6, at(13), |_| Outcome::Success).contains('b'));
        let again = (0..3).find_map(|_| bad(&group, 1, 14)).expect("again");
        assert_eq!(again.time, Millis::from_secs(20));
    }

    #[test]
    fn a_slow_average_puts_a_server_out() {
        let group = group(&[1, 1]);
        let ejected = (0..20).filter_map(|_| group.note_head(0, Status(200), 150_000, at(1))).next();
        assert_eq!(ejected.map(|ejection| ejection.cause), Some(EjectionCause::Latency(150)));
        assert_eq!((0..20).find_map(|_| group.note_head(1, Status(200), 90_000, at(1))), None);
    }
}
