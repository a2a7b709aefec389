//! How often a limit's zone has said what: the control API's numbers.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::exchange::facts::LimitStatus;

/// One zone's verdicts.
#[derive(Debug, Default)]
pub struct LimitCounts {
    passed: AtomicU64,
    delayed: AtomicU64,
    rejected: AtomicU64,
    delayed_dry_run: AtomicU64,
    rejected_dry_run: AtomicU64,
}

impl LimitCounts {
    /// Counts a verdict.
    pub fn note(&self, status: LimitStatus) {
        self.of(status).fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was given.
    #[must_use]
    pub fn number(&self, status: LimitStatus) -> u64 {
        self.of(status).load(Ordering::Relaxed)
    }

    /// Begins anew.
    pub fn reset(&self) {
        let Self { passed, delayed, rejected, delayed_dry_run, rejected_dry_run } = self;
        let all = [passed, delayed, rejected, delayed_dry_run, rejected_dry_run];
        all.into_iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    const fn of(&self, status: LimitStatus) -> &AtomicU64 {
        match status {
            LimitStatus::Passed => &self.passed,
            LimitStatus::Delayed => &self.delayed,
            LimitStatus::Rejected => &self.rejected,
            LimitStatus::DelayedDryRun => &self.delayed_dry_run,
            LimitStatus::RejectedDryRun => &self.rejected_dry_run,
        }
    }
}
