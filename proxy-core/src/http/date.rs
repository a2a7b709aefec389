//! Dates (first slice).

use crate::time::Now;

/// The date field's text, made once a second.
#[derive(Default)]
pub struct DateCache {}

impl DateCache {
    /// An IMF-fixdate.
    pub fn imf(&mut self, _now: Now) -> &[u8] {
        b"Thu, 01 Jan 1970 00:00:00 GMT"
    }
}
