//! `expires`: the Expires field and the Cache-Control field that says the same.

use alloc::vec::Vec;

use super::Exchange;
use super::context::{Context, Generation};
use crate::config::{CoreSettings, Expires};
use crate::h1::encode;
use crate::http::{HeaderId, Status, date};
use crate::time::Now;

/// What the two fields of one reply say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    /// In seconds since the Unix epoch.
    at_s: i64,
    /// None is `no-cache`.
    max_age_s: Option<i64>,
}

impl Exchange {
    /// What the level says about a reply with this status; nothing for one that `expires` leaves alone.
    pub(super) fn expiry(
        &self,
        core: &CoreSettings,
        status: Status,
        modified_s: impl FnOnce() -> Option<i64>,
        generation: &Generation,
        ctx: &Context,
    ) -> Option<Expiry> {
        let Expires::Computed { value, modified } = &core.expires else {
            return Expiry::of(&core.expires, status, modified_s, ctx.now);
        };
        let text = self.evaluate(value, generation, ctx);
        let expires = Expires::parse(core::str::from_utf8(&text).ok()?, *modified).ok()?;
        Expiry::of(&expires, status, modified_s, ctx.now)
    }
}

impl Expiry {
    fn of(
        expires: &Expires,
        status: Status,
        modified_s: impl FnOnce() -> Option<i64>,
        now: Now,
    ) -> Option<Self> {
        if !is_covered(status) {
            return None;
        }
        let now_s = i64::try_from(now.unix_ms / 1000).unwrap_or(i64::MAX);
        let (span_s, from_s) = match *expires {
            Expires::Off | Expires::Computed { .. } => return None,
            Expires::Epoch => return Some(Self { at_s: 1, max_age_s: None }),
            Expires::Max => return Some(Self { at_s: MAX_AT_S, max_age_s: Some(MAX_AGE_S) }),
            Expires::Access(span_s) => (span_s, now_s),
            // A span of nothing is "now", whatever it is counted from.
            Expires::Modified(0) => (0, now_s),
            Expires::Modified(span_s) => (span_s, modified_s().unwrap_or(now_s)),
            Expires::Daily(second) => {
                let at_s = next_time(i64::from(second), now_s, i64::from(now.utc_offset_s));
                return Some(Self { at_s, max_age_s: Some(at_s - now_s) });
            }
        };
        let at_s = from_s.saturating_add(span_s);
        let max_age_s = at_s - now_s;
        Some(Self { at_s, max_age_s: (span_s >= 0 && max_age_s >= 0).then_some(max_age_s) })
    }

    /// When, in seconds since the Unix epoch.
    pub(super) const fn at_s(self) -> i64 {
        self.at_s
    }

    pub(super) fn write_expires(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Expires: ");
        date::write_imf(out, self.at_s);
        out.extend_from_slice(b"\r\n");
    }

    pub(super) fn write_cache_control(&self, out: &mut Vec<u8>) {
        let Some(seconds) = self.max_age_s else {
            return out.extend_from_slice(b"Cache-Control: no-cache\r\n");
        };
        out.extend_from_slice(b"Cache-Control: max-age=");
        encode::decimal(out, u64::try_from(seconds).unwrap_or(0));
        out.extend_from_slice(b"\r\n");
    }
}

/// The two fields that `expires` writes in the place of what an upstream says.
pub(super) struct ExpiresFields {
    expiry: Option<Expiry>,
    expires_due: bool,
    cache_control_due: bool,
}

impl ExpiresFields {
    pub(super) const fn new(expiry: Option<Expiry>) -> Self {
        let due = expiry.is_some();
        Self { expiry, expires_due: due, cache_control_due: due }
    }

    /// Whether an upstream's field is one of them; then ours has been written in its place.
    pub(super) fn takes(&mut self, id: HeaderId, lines: &mut encode::Lines, out: &mut Vec<u8>) -> bool {
        let Some(expiry) = &self.expiry else { return false };
        if id == HeaderId::Expires {
            lines.flush(out);
            if core::mem::take(&mut self.expires_due) {
                expiry.write_expires(out);
            }
        } else if id == HeaderId::CacheControl {
            lines.flush(out);
            if core::mem::take(&mut self.cache_control_due) {
                expiry.write_cache_control(out);
            }
        } else {
            return false;
        }
        true
    }

    /// Writes those that the upstream did not say.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        let Some(expiry) = &self.expiry else { return };
        if self.expires_due {
            expiry.write_expires(out);
        }
        if self.cache_control_due {
            expiry.write_cache_control(out);
        }
    }
}

/// When it is next `second` seconds after the local midnight.
const fn next_time(second: i64, now_s: i64, offset_s: i64) -> i64 {
    let local = now_s + offset_s;
    let today = local - local.rem_euclid(86_400) + second;
    let next = if today > local { today } else { today + 86_400 };
    next - offset_s
}

const fn is_covered(status: Status) -> bool {
    matches!(status.0, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308)
}

/// `Thu, 31 Dec 2037 23:55:55 GMT`
const MAX_AT_S: i64 = 2_145_916_555;
/// Ten years.
const MAX_AGE_S: i64 = 315_360_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    #[test]
    fn the_fields_say_what_the_directive_means() {
        let now = Now { instant: Instant::default(), unix_ms: 784_111_777_500, utc_offset_s: 3600 };
        for (expires, modified, wanted) in [
            (Expires::Off, None, None),
            (Expires::Access(60), None, Some((784_111_837, Some(60)))),
            (Expires::Access(0), None, Some((784_111_777, Some(0)))),
            (Expires::Access(-60), None, Some((784_111_717, None))),
            (Expires::Modified(60), Some(784_111_770), Some((784_111_830, Some(53)))),
            (Expires::Modified(60), Some(784_111_000), Some((784_111_060, None))),
            (Expires::Modified(60), None, Some((784_111_837, Some(60)))),
            (Expires::Epoch, None, Some((1, None))),
            (Expires::Max, None, Some((2_145_916_555, Some(315_360_000)))),
            // It is 09:49:37 there.
            (Expires::Daily(9 * 3600), None, Some((784_111_777 + 83_423, Some(83_423)))),
            (Expires::Daily(10 * 3600), None, Some((784_111_777 + 623, Some(623)))),
        ] {
            let got = Expiry::of(&expires, Status::OK, || modified, now)
                .map(|expiry| (expiry.at_s, expiry.max_age_s));
            assert_eq!(got, wanted, "{expires:?}");
            assert_eq!(Expiry::of(&expires, Status::NOT_FOUND, || modified, now), None);
        }
    }
}
