//! Time as an argument: the core never reads a clock.
//!
//! The driver reads its clocks once per turn and hands a [`Now`] to every input, as nginx does with its cached time.

use core::ops::Add;

/// A moment on the worker's monotonic clock, in microseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// A moment `us` microseconds after the clock's start.
    #[must_use]
    pub const fn from_micros(us: u64) -> Self {
        Self(us)
    }

    /// Microseconds since the clock's start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Milliseconds from `earlier` to `self`; zero where `earlier` is later.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1000
    }
}

impl Add<Millis> for Instant {
    type Output = Self;

    fn add(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0.saturating_mul(1000)))
    }
}

/// A span of time in milliseconds, nginx's own resolution for timeouts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Whether this is the empty span, which several directives read as "never" or "off".
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// What the driver's clocks said at the start of this turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock, for timers and durations.
    pub instant: Instant,
    /// The wall clock, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// The local time zone's offset from UTC at this moment, in seconds east.
    pub utc_offset_s: i32,
}

/// The units from large to small, each with its length in milliseconds. They must come in this order, each once.
/// nginx takes years and months only where it counts in seconds.
const UNITS: [(&str, u64); 8] = [
    ("y", 365 * DAY_MS),
    ("M", 30 * DAY_MS),
    ("w", 7 * DAY_MS),
    ("d", DAY_MS),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];
const DAY_MS: u64 = 86_400_000;
const UNIT_WEEK: usize = 2;
const UNIT_SECOND: usize = 6;
const UNIT_MILLISECOND: usize = 7;

/// A time as people write it, `1h30m` or `500ms`, a bare number being seconds: in milliseconds, or in whole seconds, where
/// `ms` is not allowed but years and months are.
#[must_use]
pub fn parse(text: &str, whole_seconds: bool) -> Option<u64> {
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut rest = text;
    let mut unit_min = if whole_seconds { 0 } else { UNIT_WEEK };
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let amount: u64 = if digits == 0 { 0 } else { rest.get(..digits)?.parse().ok()? };
        let (unit, taken) = unit(rest.get(digits..)?)?;
        if unit < unit_min || (unit == UNIT_MILLISECOND && whole_seconds) {
            return None;
        }
        // A number that ends the value, or is followed by a space, counts seconds and may stand behind any unit.
        unit_min = unit + 1;
        let (_, length_ms) = UNITS.get(unit.min(UNIT_MILLISECOND))?;
        let length_ms = if unit > UNIT_MILLISECOND { 1_000 } else { *length_ms };
        total_ms = total_ms.checked_add(amount.checked_mul(length_ms)?)?;
        rest = rest.get(digits + taken..)?.trim_start_matches(' ');
    }
    let total = if whole_seconds { total_ms / 1_000 } else { total_ms };
    i64::try_from(total).ok().map(|_| total)
}

/// The unit at the start of `rest`: its place in [`UNITS`] (one past the end for none) and its length.
fn unit(rest: &str) -> Option<(usize, usize)> {
    match rest.as_bytes() {
        [] => Some((UNIT_MILLISECOND + 1, 0)),
        [b' ', ..] => Some((UNIT_SECOND, 1)),
        _ => {
            let found = UNITS.iter().enumerate().filter(|(_, (name, _))| rest.starts_with(name));
            found.map(|(index, (name, _))| (index, name.len())).max_by_key(|(_, length)| *length)
        }
    }
}
