//! A table of keys in the order of their use, for zones that forget the oldest first.

use alloc::boxed::Box;

use hashbrown::HashTable;
use slab::Slab;

/// No entry.
const NONE: usize = usize::MAX;

struct Node<V> {
    hash: u64,
    key: Box<[u8]>,
    value: V,
    newer: usize,
    older: usize,
}

/// The table. An entry keeps its place until it is removed.
pub(super) struct Table<V> {
    places: HashTable<usize>,
    nodes: Slab<Node<V>>,
    newest: usize,
    oldest: usize,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { places: HashTable::new(), nodes: Slab::new(), newest: NONE, oldest: NONE }
    }
}

impl<V> Table<V> {
    /// The place of a key.
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let same = |place: &usize| self.nodes.get(*place).is_some_and(|node| *node.key == *key);
        self.places.find(hash, same).copied()
    }

    /// Adds a key that is not there, as the one that was used last. Returns its place.
    pub(super) fn insert(&mut self, hash: u64, key: &[u8], value: V) -> usize {
        debug_assert!(self.find(hash, key).is_none());
        let place = self.nodes.insert(Node { hash, key: key.into(), value, newer: NONE, older: NONE });
        let nodes = &self.nodes;
        self.places.insert_unique(hash, place, |place| nodes.get(*place).map_or(0, |node| node.hash));
        self.link(place);
        place
    }

    /// What is kept at a place.
    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut V> {
        self.nodes.get_mut(place).map(|node| &mut node.value)
    }

    /// The key at a place.
    pub(super) fn key(&self, place: usize) -> Option<&[u8]> {
        self.nodes.get(place).map(|node| &*node.key)
    }

    /// The entry is the one that was used last.
    pub(super) fn touch(&mut self, place: usize) {
        if self.newest != place {
            self.unlink(place);
            self.link(place);
        }
    }

    /// The entry that was not used for longest.
    pub(super) fn oldest(&self) -> Option<(usize, &V)> {
        self.nodes.get(self.oldest).map(|node| (self.oldest, &node.value))
    }

    /// Removes an entry. Returns the length of its key.
    pub(super) fn remove(&mut self, place: usize) -> usize {
        self.unlink(place);
        let Some(node) = self.nodes.try_remove(place) else { return 0 };
        if let Ok(entry) = self.places.find_entry(node.hash, |other| *other == place) {
            entry.remove();
        }
        node.key.len()
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    fn link(&mut self, place: usize) {
        let older = core::mem::replace(&mut self.newest, place);
        if let Some(node) = self.nodes.get_mut(place) {
            (node.newer, node.older) = (NONE, older);
        }
        match self.nodes.get_mut(older) {
            Some(before) => before.newer = place,
            None => self.oldest = place,
        }
    }

    fn unlink(&mut self, place: usize) {
        let Some(node) = self.nodes.get(place) else { return };
        let (newer, older) = (node.newer, node.older);
        match self.nodes.get_mut(newer) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        match self.nodes.get_mut(older) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_the_one_that_was_not_used_for_longest() {
        let mut table = Table::default();
        let places = [b"a", b"b", b"c"].map(|key| table.insert(7, key, key[0]));
        table.touch(places[0]);
        table.touch(places[0]);
        let mut order = alloc::vec::Vec::new();
        while let Some((place, value)) = table.oldest() {
            order.push(*value);
            assert_eq!(table.find(7, &[*value]), Some(place), "keys of one hash stay apart");
            assert_eq!(table.remove(place), 1);
        }
        assert_eq!(order, *b"bca");
        assert_eq!((table.find(7, b"a"), table.newest), (None, NONE));
    }
}
