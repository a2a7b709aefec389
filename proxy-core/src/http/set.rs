//! Sets of field names that are asked "are you in it" for every field of every message.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::HeaderId;

/// A set of field names: one bit for each name that has an id, a short list for the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderSet {
    ids: u64,
    others: Vec<Box<[u8]>>,
}

// One bit for each id.
const _: () = assert!(HeaderId::ALL.len() < 64);

impl HeaderSet {
    /// The set of these names, in any case.
    #[must_use]
    pub fn new<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut set = Self::default();
        for name in names {
            set.insert(name);
        }
        set
    }

    /// Adds a name.
    pub fn insert(&mut self, name: &[u8]) {
        let name = name.to_ascii_lowercase();
        if let Some((id, _)) = HeaderId::ALL.iter().find(|(_, known)| *known == name) {
            self.ids |= 1 << *id as u8;
        } else if !self.others.iter().any(|other| **other == *name) {
            self.others.push(name.into());
        }
    }

    /// Adds a name that has an id.
    pub const fn insert_id(&mut self, id: HeaderId) {
        self.ids |= 1 << id as u8;
    }

    /// Takes a name out.
    pub fn remove(&mut self, name: &[u8]) {
        let name = name.to_ascii_lowercase();
        if let Some((id, _)) = HeaderId::ALL.iter().find(|(_, known)| *known == name) {
            self.ids &= !(1 << *id as u8);
        } else {
            self.others.retain(|other| **other != *name);
        }
    }

    /// Whether this name is in it. `id` is the name's own.
    #[must_use]
    pub fn contains(&self, id: HeaderId, name: &[u8]) -> bool {
        if id == HeaderId::Other {
            self.others.iter().any(|other| other.eq_ignore_ascii_case(name))
        } else {
            self.contains_id(id)
        }
    }

    /// Whether the name with this id is in it.
    #[must_use]
    pub const fn contains_id(&self, id: HeaderId) -> bool {
        self.ids & (1 << id as u8) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_in_any_case() {
        let mut set = HeaderSet::new([&b"Set-Cookie"[..], b"X-Powered-By"]);
        assert!(set.contains(HeaderId::SetCookie, b"set-cookie"));
        assert!(set.contains(HeaderId::Other, b"x-powered-BY"));
        assert!(!set.contains(HeaderId::Other, b"x-other") && !set.contains_id(HeaderId::Date));
        set.remove(b"SET-COOKIE");
        set.remove(b"x-powered-by");
        assert_eq!(set, HeaderSet::default());
    }
}
