//! What responders have said of certificates (OCSP), for all workers: one asks, all show it, and a reload forgets nothing.
//!
//! ```text
//!  due ──claim──► asked ──settle──► known until, asked again at
//!   ▲               │ (who asks has died)                 │
//!   └───────────────┴─────────────────────────────────────┘
//! ```

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use spin::Mutex;

use crate::time::Instant;

/// A certificate at a responder: a digest of both.
pub type StapleKey = [u8; 32];

/// The answers. There are as many as certificates that are asked about.
#[derive(Debug, Default)]
pub struct Staples(Mutex<BTreeMap<StapleKey, Record>>);

#[derive(Debug, Default)]
struct Record {
    answer: Option<Arc<[u8]>>,
    /// Until when the answer is good, in seconds since the Unix epoch.
    until_s: u64,
    /// When to ask again, or when to ask in the place of somebody who has not come back.
    due: Instant,
}

impl Staples {
    /// Takes it upon the caller to ask, until a moment.
    ///
    /// # Errors
    /// When it is due.
    pub fn claim(&self, key: &StapleKey, until: Instant, now: Instant) -> Result<(), Instant> {
        let mut records = self.0.lock();
        let record = records.entry(*key).or_default();
        if now < record.due {
            return Err(record.due);
        }
        record.due = until;
        Ok(())
    }

    /// An answer came, or none did: what there was stays in use as long as it is good.
    pub fn settle(&self, key: &StapleKey, answer: Option<(Arc<[u8]>, u64)>, again: Instant) {
        let mut records = self.0.lock();
        let record = records.entry(*key).or_default();
        record.due = again;
        if let Some((answer, until_s)) = answer {
            (record.answer, record.until_s) = (Some(answer), until_s);
        }
    }

    /// The answer that is to be shown.
    #[must_use]
    pub fn answer(&self, key: &StapleKey, now_s: u64) -> Option<Arc<[u8]>> {
        let records = self.0.lock();
        records.get(key).filter(|record| now_s < record.until_s).and_then(|record| record.answer.clone())
    }

    /// Forgets all but these.
    pub fn retain(&self, keep: impl Fn(&StapleKey) -> bool) {
        self.0.lock().retain(|key, _| keep(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Millis;

    #[test]
    fn one_asks_and_all_know() {
        let staples = Staples::default();
        let (key, start) = ([1; 32], Instant::from_micros(1));
        let later = start + Millis(1000);
        assert_eq!(staples.claim(&key, later, start), Ok(()));
        assert_eq!(staples.claim(&key, later, start), Err(later));
        staples.settle(&key, Some((Arc::from([7_u8].as_slice()), 100)), later + Millis(5));
        assert_eq!(staples.claim(&key, later, later), Err(later + Millis(5)));
        assert_eq!(staples.answer(&key, 99).as_deref(), Some(&[7][..]));
        assert_eq!(staples.answer(&key, 100), None);
        staples.settle(&key, None, later);
        assert_eq!(staples.answer(&key, 99).as_deref(), Some(&[7][..]));
        staples.retain(|_| false);
        assert_eq!(staples.answer(&key, 99), None);
    }
}
