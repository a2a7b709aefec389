//! What one request remembers of its choices.

use smallvec::SmallVec;

/// The servers of a group that this request has asked already: one bit for each place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tried {
    words: SmallVec<[u64; 2]>,
}

impl Tried {
    /// Whether none was asked.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Whether server `n` was asked.
    pub(crate) fn contains(&self, n: usize) -> bool {
        self.words.get(n / 64).is_some_and(|word| word & (1 << (n % 64)) != 0)
    }

    /// Server `n` is being asked.
    pub(crate) fn insert(&mut self, n: usize) {
        if self.words.len() <= n / 64 {
            self.words.resize(n / 64 + 1, 0);
        }
        if let Some(word) = self.words.get_mut(n / 64) {
            *word |= 1 << (n % 64);
        }
    }

    /// Server `n` may be asked again.
    pub(crate) fn remove(&mut self, n: usize) {
        if let Some(word) = self.words.get_mut(n / 64) {
            *word &= !(1 << (n % 64));
        }
    }
}

/// A request's way through its group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pick {
    /// Whom it has asked.
    pub(crate) tried: Tried,
}
