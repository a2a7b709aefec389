//! From a field's name to its [`HeaderId`]: a table filled at compile time, one look and one comparison per name.
//!
//! The table's index mixes the name's length with three of its letters. Two names may share a slot; a third would
//! not compile, and then other factors in [`slot`] help.

use super::HeaderId;

const SLOTS: usize = 256;
const NONE: u8 = HeaderId::Other as u8;

static TABLE: [[u8; 2]; SLOTS] = table();

impl HeaderId {
    /// The id of a name that is a token (RFC 9110, section 5.6.2), in any case. For other bytes the answer means
    /// nothing.
    #[must_use]
    pub fn from_token(name: &[u8]) -> Self {
        let Some(&[first, second]) = slot(name).and_then(|slot| TABLE.get(slot)) else { return Self::Other };
        let at = |id: u8| Self::ALL.get(id as usize).filter(|(_, known)| same_token(name, known));
        match (at(first), at(second)) {
            (Some((id, _)), _) | (None, Some((id, _))) => *id,
            (None, None) => Self::Other,
        }
    }

    /// The name in lower case; empty for [`HeaderId::Other`].
    #[must_use]
    pub fn name(self) -> &'static [u8] {
        Self::ALL.get(self as usize).map_or(b"", |(_, name)| name)
    }
}

/// Whether two tokens are the same in any case; `known` is lower case. Setting bit 5 maps no other token character
/// onto one that occurs in `known`: there it only lowers letters. Eight bytes at a time, for this runs for every field
/// of every message.
fn same_token(name: &[u8], known: &[u8]) -> bool {
    if name.len() != known.len() {
        return false;
    }
    let (name_words, name_rest) = name.as_chunks::<8>();
    let (known_words, known_rest) = known.as_chunks::<8>();
    let words = name_words.iter().zip(known_words).all(|(a, b)| lowered(*a) == u64::from_ne_bytes(*b));
    words
        && match (name.last_chunk::<8>(), known.last_chunk::<8>()) {
            (Some(a), Some(b)) => lowered(*a) == u64::from_ne_bytes(*b),
            _ => name_rest.iter().zip(known_rest).all(|(a, b)| a | 0x20 == *b),
        }
}

const fn lowered(word: [u8; 8]) -> u64 {
    u64::from_ne_bytes(word) | u64::from_ne_bytes([0x20; 8])
}

const fn slot(name: &[u8]) -> Option<usize> {
    let ([first, .., before_last, last], len) = (name, name.len()) else { return short_slot(name) };
    Some((len * 71 + low(*first) * 125 + low(*last) * 54 + low(*before_last) * 108) % SLOTS)
}

const fn short_slot(name: &[u8]) -> Option<usize> {
    match name {
        [first, last] => Some((2 * 71 + low(*first) * (125 + 108) + low(*last) * 54) % SLOTS),
        _ => None,
    }
}

const fn low(byte: u8) -> usize {
    (byte | 0x20) as usize
}

const fn table() -> [[u8; 2]; SLOTS] {
    let mut table = [[NONE; 2]; SLOTS];
    let mut rest = HeaderId::ALL;
    let mut index = 0;
    while let [(_, name), tail @ ..] = rest {
        let Some(slot) = slot(name) else { panic!("a name of one letter") };
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time only")]
        let place = &mut table[slot];
        match place {
            [NONE, _] => place[0] = index,
            [_, NONE] => place[1] = index,
            _ => panic!("three names share a slot: choose other factors"),
        }
        rest = tail;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case_and_no_other() {
        for (id, name) in HeaderId::ALL {
            assert_eq!((HeaderId::from_token(name), id.name()), (*id, *name));
            assert_eq!(HeaderId::from_token(&name.to_ascii_uppercase()), *id);
            for at in 0..name.len() {
                let mut other = name.to_vec();
                other[at] = b'_';
                assert_eq!(HeaderId::from_token(&other), HeaderId::Other);
                other.remove(at);
                assert!(HeaderId::ALL.iter().all(|(_, known)| *known != other.as_slice()));
                assert_eq!(HeaderId::from_token(&other), HeaderId::Other);
            }
            let longer: Vec<u8> = [name, &b"s"[..]].concat();
            assert_eq!(HeaderId::from_token(&longer), HeaderId::Other);
        }
        assert_eq!(HeaderId::from_token(b""), HeaderId::Other);
        assert_eq!(HeaderId::from_token(b"x"), HeaderId::Other);
    }
}
