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
