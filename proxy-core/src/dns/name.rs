//! Domain names in wire form (RFC 1035, 3.1 and 4.1.4).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// The longest name on the wire, in bytes, its final zero included (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 255;
/// The longest label, in bytes.
const LABEL_BYTES_MAX: usize = 63;
/// The two bits that mark a pointer.
const POINTER: u8 = 0xc0;

/// A name: labels with their lengths in front, in lower case, a zero at the end. So equal names are equal bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// The name that a host is written as; a dot at the end is allowed. None where a label is empty or too long: such a
    /// name does not exist.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.split('.') {
            let len =
                u8::try_from(label.len()).ok().filter(|len| (1..=LABEL_BYTES_MAX as u8).contains(len))?;
            wire.push(len);
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        wire.push(0);
        (wire.len() <= NAME_BYTES_MAX).then(|| Self(wire.into()))
    }

    /// The name at `at` in `message`, and where what follows it begins. None where it is malformed.
    #[must_use]
    pub fn decode(message: &[u8], at: usize) -> Option<(Self, usize)> {
        let mut wire = Vec::with_capacity(64);
        let mut at = at;
        let mut behind = None;
        // A pointer must lead to before the labels that it ends, so that this comes to an end.
        let mut limit = at;
        loop {
            let len = *message.get(at)?;
            if len & POINTER == POINTER {
                let low = *message.get(at + 1)?;
                behind.get_or_insert(at + 2);
                let target = usize::from(u16::from_be_bytes([len & !POINTER, low]));
                if target >= limit {
                    return None;
                }
                (at, limit) = (target, target);
                continue;
            }
            if usize::from(len) > LABEL_BYTES_MAX {
                return None;
            }
            let end = at + 1 + usize::from(len);
            let label = message.get(at + 1..end)?;
            wire.push(len);
            wire.extend(label.iter().map(u8::to_ascii_lowercase));
            if wire.len() > NAME_BYTES_MAX {
                return None;
            }
            if len == 0 {
                return Some((Self(wire.into()), behind.unwrap_or(end)));
            }
            at = end;
        }
    }

    /// Its bytes on the wire, uncompressed.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the root, which RFC 2782 takes for "no such service".
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }
}

impl fmt::Display for Name {
    /// With dots and without a last one; what is not printable is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = &*self.0;
        let mut first = true;
        while let Some((len, tail)) = rest.split_first().filter(|(len, _)| **len > 0) {
            let (label, tail) = tail.split_at_checked(usize::from(*len)).unwrap_or((tail, &[]));
            if !core::mem::take(&mut first) {
                f.write_str(".")?;
            }
            for byte in label {
                match byte {
                    b'.' => f.write_str("\\.")?,
                    byte => write!(f, "{}", byte.escape_ascii())?,
                }
            }
            rest = tail;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn names_in_text() {
        let wire = |text: &str| Name::from_text(text).map(|name| name.wire().to_vec());
        assert_eq!(wire("A.bC.").as_deref(), Some(&b"\x01a\x02bc\0"[..]));
        let long = ["a"; 63].concat();
        let whole = [&long[..], &long, &long, &long[2..]].join(".");
        assert_eq!(wire(&whole).map(|wire| wire.len()), Some(255));
        for bad in ["", ".", "a..b", ".a", "a..", &[&long, "a"].concat(), &[&whole, "a"].concat()] {
            assert_eq!(wire(bad), None, "{bad}");
        }
        assert_eq!(Name::from_text("a\u{7f}.b").map(|name| name.to_string()).as_deref(), Some("a\\x7f.b"));
    }

    #[test]
    fn names_on_the_wire() {
        let message = b"\x01a\0\x01B\xc0\x00\xc0\x05\xc0\x07\x40\x80\x02x";
        let read = |at| Name::decode(message, at).map(|(name, next)| (name.to_string(), next));
        assert_eq!(read(0), Some(("a".into(), 3)));
        assert_eq!(read(3), Some(("b.a".into(), 7)));
        assert_eq!(read(9), Some(("a".into(), 11)), "over three pointers");
        assert_eq!([read(11), read(12), read(13), read(99)], [None, None, None, None]);
        for endless in [&b"\xc0\x00"[..], b"\x01a\xc0\x00", b"\x01a\xc0\x02", b"\xc0\x05\0\0\0\0"] {
            assert_eq!(Name::decode(endless, 0), None, "a pointer that leads nowhere");
        }
        let mut endless = Vec::new();
        for _ in 0..130 {
            endless.extend_from_slice(b"\x01a");
        }
        endless.push(0);
        assert_eq!(Name::decode(&endless, 0), None, "too long");
        assert!(Name::decode(&endless, 10).is_some());
    }
}
