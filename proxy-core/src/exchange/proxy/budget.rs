//! A request's share of its group's `retry_budget`.

use alloc::sync::Arc;

use crate::config::BudgetLimits;
use crate::shared::upstream::GroupState;

/// What a request is counted for.
#[derive(Debug, Default)]
pub(super) struct BudgetShare {
    group: Option<Arc<GroupState>>,
    retried: bool,
}

impl BudgetShare {
    /// The request begins.
    pub(super) fn enter(&mut self, group: &Arc<GroupState>) {
        if self.group.is_none() {
            group.budget.enter();
            self.group = Some(Arc::clone(group));
        }
    }

    /// Whether the request may be tried again. Without a budget it may.
    pub(super) fn spend(&mut self, limits: Option<BudgetLimits>) -> bool {
        let (Some(group), Some(limits)) = (&self.group, limits) else { return true };
        self.retried = self.retried || group.budget.spend(limits.percent, limits.min);
        self.retried
    }

    /// The request has ended.
    pub(super) fn give_back(&mut self) {
        let Some(group) = self.group.take() else { return };
        group.budget.leave();
        if core::mem::take(&mut self.retried) {
            group.budget.give_back();
        }
    }
}
