//! Generational keys: an index into a slab, and the tenant that it was given to.
//!
//! A completion that arrives after its connection was closed carries an old generation, finds nobody and is dropped;
//! it can never reach the connection that has moved into the same slot.

use alloc::vec::Vec;
use core::fmt;

/// The key of an entry in a [`Slab`]: slot and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The slot, small and dense: drivers may index arrays by it.
    pub index: u32,
    /// How many tenants the slot had before this one.
    pub generation: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

enum Slot<T> {
    Vacant { next_free: Option<u32> },
    Taken(T),
}

/// A vector of reusable slots whose keys expire.
pub struct Slab<T> {
    slots: Vec<(u32, Slot<T>)>,
    free: Option<u32>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: None, len: 0 }
    }
}

impl<T> Slab<T> {
    /// How many entries live.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing lives here.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key that the next [`insert`](Self::insert) will return, for values that hold their own key.
    #[must_use]
    pub fn next_key(&self) -> Key {
        match self.free {
            Some(index) => Key { index, generation: self.generation(index) },
            None => Key { index: u32::try_from(self.slots.len()).unwrap_or(u32::MAX), generation: 0 },
        }
    }

    fn generation(&self, index: u32) -> u32 {
        self.slots.get(index as usize).map_or(0, |slot| slot.0)
    }

    /// Moves `value` in and returns its key.
    pub fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        self.len += 1;
        if let Some(slot) = self.slots.get_mut(key.index as usize) {
            if let Slot::Vacant { next_free } = slot.1 {
                self.free = next_free;
            }
            slot.1 = Slot::Taken(value);
        } else {
            self.slots.push((0, Slot::Taken(value)));
        }
        key
    }

    /// Takes the entry out; the key, and every copy of it, has expired.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.0 != key.generation || matches!(slot.1, Slot::Vacant { .. }) {
            return None;
        }
        let old = core::mem::replace(&mut slot.1, Slot::Vacant { next_free: self.free });
        slot.0 = slot.0.wrapping_add(1);
        self.free = Some(key.index);
        self.len -= 1;
        match old {
            Slot::Taken(value) => Some(value),
            Slot::Vacant { .. } => None,
        }
    }

    /// The entry, if the key is still its own.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.index as usize) {
            Some((generation, Slot::Taken(value))) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The entry, mutably, if the key is still its own.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index as usize) {
            Some((generation, Slot::Taken(value))) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// Every living entry with its key, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, (generation, slot))| match slot {
            Slot::Taken(value) => Some((
                Key { index: u32::try_from(index).unwrap_or(u32::MAX), generation: *generation },
                value,
            )),
            Slot::Vacant { .. } => None,
        })
    }

    /// The keys of every living entry, collected so that the slab may change while they are walked.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.iter().map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_expires_with_its_tenant() {
        let mut slab = Slab::default();
        let first = slab.insert("a");
        assert_eq!(slab.remove(first), Some("a"));
        let second = slab.insert("b");
        assert_eq!(second.index, first.index);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!((slab.get(second), slab.len()), (Some(&"b"), 1));
        assert_eq!(slab.next_key().index, 1);
    }
}
