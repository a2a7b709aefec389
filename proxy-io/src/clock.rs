//! The clocks, read once per turn.

use std::sync::OnceLock;
use std::time::{Instant as StdInstant, SystemTime, UNIX_EPOCH};

use proxy_core::time::{Instant, Now};

use crate::kernel::local_time;

/// The offset of local time may change at the full minute at the most often.
const OFFSET_VALID_S: u64 = 60;

/// A worker's clock.
#[derive(Default)]
pub(crate) struct Clock {
    /// The minute (since the epoch) that the offset was asked for in, and the offset in seconds east.
    offset: Option<(u64, i32)>,
}

impl Clock {
    /// What time it is.
    pub(crate) fn now(&mut self) -> Now {
        let unix_ms = unix_ms();
        let minute = unix_ms / 1000 / OFFSET_VALID_S;
        let utc_offset_s = match self.offset {
            Some((asked, offset)) if asked == minute => offset,
            Some(_) | None => {
                let offset = local_time(unix_ms / 1000).utc_offset_s;
                self.offset = Some((minute, offset));
                offset
            }
        };
        Now { instant: monotonic(), unix_ms, utc_offset_s }
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

/// The monotonic clock, from a start that all workers of the process have in common.
pub(crate) fn monotonic() -> Instant {
    static START: OnceLock<StdInstant> = OnceLock::new();
    let since = START.get_or_init(StdInstant::now).elapsed();
    // A second's head start, so that no deadline of the first moment lies before the beginning of time.
    Instant::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX).saturating_add(1_000_000))
}
