//! What one request remembers of its choices.

use alloc::vec::Vec;

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
    /// What is hashed: the key of `hash`, the address of `ip_hash`.
    pub(crate) key: SmallVec<[u8; 16]>,
    /// How far the hash has got; none before the first choice.
    pub(crate) hash: Option<u32>,
    /// How often the key was hashed.
    pub(crate) hash_times: u32,
    /// Servers that the hash has named in vain.
    pub(crate) hash_tries: u32,
    /// The server that the request belongs to, as `sticky` calls it; empty for none.
    pub(crate) sid: Vec<u8>,
}

impl Pick {
    /// The request has waited: the hash begins anew, and whoever it has asked it has asked.
    pub(crate) const fn start_again(&mut self) {
        (self.hash, self.hash_times, self.hash_tries) = (None, 0, 0);
    }
}
