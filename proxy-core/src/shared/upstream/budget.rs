//! `retry_budget`: how many requests of a group may be at their second server at one time, so that a group that falls ill
//! is not asked several times as much as when it was well.

use core::sync::atomic::{AtomicU32, Ordering};

/// Requests and retries under way, of all workers.
#[derive(Debug, Default)]
pub struct RetryBudget {
    requests: AtomicU32,
    retries: AtomicU32,
}

impl RetryBudget {
    /// A request begins.
    pub fn enter(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A request ends.
    pub fn leave(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// Asks for leave to try again: granted while fewer than `percent` of the requests under way do, or fewer than `min`.
    pub fn spend(&self, percent: u32, min: u32) -> bool {
        let requests = self.requests.load(Ordering::Relaxed);
        let share = u64::from(requests) * u64::from(percent) / 100;
        let most = u32::try_from(share).unwrap_or(u32::MAX).max(min);
        if self.retries.fetch_add(1, Ordering::Relaxed) < most {
            return true;
        }
        self.retries.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// A request that was tried again has ended.
    pub fn give_back(&self) {
        self.retries.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_what_is_under_way() {
        let budget = RetryBudget::default();
        (0..50).for_each(|_| budget.enter());
        let granted = |budget: &RetryBudget| (0..50).filter(|_| budget.spend(20, 3)).count();
        assert_eq!(granted(&budget), 10);
        budget.give_back();
        assert_eq!(granted(&budget), 1);
        (0..50).for_each(|_| budget.leave());
        (0..8).for_each(|_| budget.give_back());
        assert_eq!(granted(&budget), 1, "two are still out, and three are granted in any case");
    }
}
