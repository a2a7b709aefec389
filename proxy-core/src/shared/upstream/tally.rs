//! What the control API tells of a server's replies. It is counted only where a configuration has an `api`, once for each
//! try, when that has ended.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::http::Status;

/// The statuses that HTTP has.
const FIRST: u16 = 100;
const COUNT: usize = 500;

/// A server's replies and bytes.
#[derive(Debug)]
pub struct Tally {
    /// Replies by status, from 100 on.
    codes: Box<[AtomicU64]>,
    sent: AtomicU64,
    received: AtomicU64,
    /// When the server was asked last, in milliseconds since the Unix epoch; 0 is never.
    selected_ms: AtomicU64,
}

/// A try that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// The reply's status, if a head came.
    pub status: Option<Status>,
    /// Bytes to the server.
    pub sent: u64,
    /// Bytes from it.
    pub received: u64,
    /// When it was chosen, in milliseconds since the Unix epoch.
    pub selected_ms: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            codes: (0..COUNT).map(|_| AtomicU64::new(0)).collect(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            selected_ms: AtomicU64::new(0),
        }
    }
}

impl Tally {
    /// Counts a try.
    pub fn add(&self, ended: Ended) {
        let code = ended.status.and_then(|status| self.codes.get(usize::from(status.0.checked_sub(FIRST)?)));
        if let Some(code) = code {
            code.fetch_add(1, Ordering::Relaxed);
        }
        self.sent.fetch_add(ended.sent, Ordering::Relaxed);
        self.received.fetch_add(ended.received, Ordering::Relaxed);
        self.selected_ms.fetch_max(ended.selected_ms, Ordering::Relaxed);
    }

    /// The statuses that came, with their numbers.
    pub fn codes(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = self.codes.iter().map(|count| count.load(Ordering::Relaxed));
        (FIRST..).zip(counts).filter(|(_, count)| *count > 0)
    }

    /// Bytes sent to the server and received from it.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// When the server was asked last, in milliseconds since the Unix epoch, if it was.
    #[must_use]
    pub fn selected_ms(&self) -> Option<u64> {
        Some(self.selected_ms.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// Begins anew. When the server was asked last stays known.
    pub fn reset(&self) {
        let sums = [&self.sent, &self.received];
        self.codes.iter().chain(sums).for_each(|count| count.store(0, Ordering::Relaxed));
    }
}
