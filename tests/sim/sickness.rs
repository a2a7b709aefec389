//! Servers that are ill as such, whatever is asked of them: they die and come back, hang, reset, answer slowly or flap.
//!
//! One server of each run is always well, so no request that may be repeated has an excuse.

use crate::rng::Rng;

/// How a server is over the time of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sickness {
    Well,
    /// In trouble from one moment to another.
    From(u64, u64, Trouble),
    /// In trouble every other span of this length.
    Flaps(u64, Trouble),
}

/// What a server does to whoever asks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is not there: connections are refused, and those that stood are reset.
    Dead,
    /// It takes requests and says nothing.
    Hangs,
    /// It resets after so many bytes of its reply's head.
    Resets(usize),
    /// It says 503 to everybody.
    Refuses,
    /// It needs so much longer.
    Slow(u64),
}

impl Sickness {
    /// What a server suffers from at this time.
    pub(crate) fn now(self, now_us: u64) -> Option<Trouble> {
        match self {
            Self::Well => None,
            Self::From(from_us, until_us, trouble) => {
                (from_us..until_us).contains(&now_us).then_some(trouble)
            }
            Self::Flaps(span_us, trouble) => (now_us / span_us % 2 == 1).then_some(trouble),
        }
    }

    /// Whether it fails everybody from some moment on until the run is over.
    pub(crate) fn is_for_good(self) -> bool {
        match self {
            Self::From(_, until_us, trouble) => {
                until_us > u64::MAX / 4 && !matches!(trouble, Trouble::Slow(_))
            }
            Self::Well | Self::Flaps(..) => false,
        }
    }

    /// Whether nobody has got an answer from a server for so long.
    pub(crate) fn is_gone_since(self, span_us: u64, now_us: u64) -> bool {
        match self {
            Self::From(from_us, until_us, Trouble::Dead | Trouble::Hangs) => {
                (from_us.saturating_add(span_us)..until_us).contains(&now_us)
            }
            Self::Well | Self::From(..) | Self::Flaps(..) => false,
        }
    }

    fn draw(rng: &mut Rng) -> Self {
        let trouble = match rng.range(0, 9) {
            0..=3 => Trouble::Dead,
            4 | 5 => Trouble::Hangs,
            6 | 7 => Trouble::Resets(rng.size(0, 300)),
            _ => Trouble::Slow(rng.range(0, 1_000_000)),
        };
        match rng.range(0, 3) {
            0 => Self::Well,
            1 => Self::Flaps(rng.pick(&[2_000, 50_000, 1_000_000]), trouble),
            _ => {
                let from_us = rng.pick(&[0, 0, 100_000, 600_000]);
                Self::From(from_us, from_us + rng.pick(&[200_000, 3_000_000, u64::MAX / 2]), trouble)
            }
        }
    }
}

/// The servers of a run: one is well.
pub(crate) fn servers(rng: &mut Rng, count: usize) -> Vec<Sickness> {
    let well = rng.size(0, count - 1);
    (0..count).map(|n| if n == well { Sickness::Well } else { Sickness::draw(rng) }).collect()
}
