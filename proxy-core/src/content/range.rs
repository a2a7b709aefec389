//! The Range field (RFC 9110, section 14), read as nginx's range filter does.

use alloc::vec::Vec;
use core::ops::Range;

/// What a Range field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The field does not apply, or asks for more than there is: a 200 with all of it.
    All,
    /// These parts, in the client's order; never none, none empty.
    Parts(Vec<Range<u64>>),
    /// None of the ranges lies in the representation, or the field cannot be read: 416.
    Unsatisfiable,
}

/// Reads a Range field for a representation of `length` bytes; more than `parts_max` ranges are answered with all of
/// it, and so are ranges that overlap so much that the parts would be longer than the whole.
pub(crate) fn parse(field: &[u8], length: u64, parts_max: Option<u32>) -> Wanted {
    let Some(unit) = field.get(..UNIT.len()).filter(|unit| unit.eq_ignore_ascii_case(UNIT)) else {
        return Wanted::All;
    };
    let specs = field.get(unit.len()..).unwrap_or_default();
    if specs.is_empty() {
        return Wanted::All;
    }
    let mut parts = Vec::new();
    let mut total: u64 = 0;
    for spec in specs.split(|byte| *byte == b',') {
        let Some(Range { start, end }) = one(spec, length) else { return Wanted::Unsatisfiable };
        if start < end {
            total = total.saturating_add(end - start);
            if parts_max.is_some_and(|max| parts.len() >= max as usize) {
                return Wanted::All;
            }
            parts.push(start..end);
        } else if start == 0 {
            return Wanted::All;
        }
    }
    if parts.is_empty() {
        Wanted::Unsatisfiable
    } else if total > length {
        Wanted::All
    } else {
        Wanted::Parts(parts)
    }
}

const UNIT: &[u8] = b"bytes=";

/// `first-last`, `first-` or `-suffix`, cut to the representation; blanks may stand around each part.
fn one(spec: &[u8], length: u64) -> Option<Range<u64>> {
    let spec = trim(spec);
    let dash = memchr::memchr(b'-', spec)?;
    let (first, last) = (trim(spec.get(..dash)?), spec.get(dash + 1..)?);
    if dash == 0 {
        // Behind the dash of a suffix nginx takes no blank.
        let suffix = number(last)?;
        return Some(length.saturating_sub(suffix)..length);
    }
    let start = number(first)?;
    let last = trim(last);
    let end = if last.is_empty() { length } else { number(last)?.saturating_add(1).min(length) };
    Some(start..end)
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "one range is what is meant")]
    fn ranges_are_cut_to_what_is_there() {
        use Wanted::{All, Parts, Unsatisfiable};
        for (field, wanted) in [
            (&b"bytes=0-0"[..], Parts(vec![0..1])),
            (b"Bytes=2-4", Parts(vec![2..5])),
            (b"bytes=2-", Parts(vec![2..10])),
            (b"bytes=-3", Parts(vec![7..10])),
            (b"bytes=-30", Parts(vec![0..10])),
            (b"bytes=5-99", Parts(vec![5..10])),
            (b"bytes= 1 - 2 , -1", Parts(vec![1..3, 9..10])),
            (b"bytes=0-1,20-30", Parts(vec![0..2])),
            (b"bytes=10-", Unsatisfiable),
            (b"bytes=5-4", Unsatisfiable),
            (b"bytes=-0", Unsatisfiable),
            (b"bytes=0-9,0-9", All),
            (b"bytes=0-1,1-2,3-3,4-4", All),
            (b"bytes=x", Unsatisfiable),
            (b"bytes=-", Unsatisfiable),
            (b"bytes=1", Unsatisfiable),
            (b"bytes=1-2,", Unsatisfiable),
            (b"bytes=99999999999999999999999-", Unsatisfiable),
            (b"bytes=", All),
            (b"lines=0-1", All),
        ] {
            assert_eq!(parse(field, 10, Some(3)), wanted, "{}", field.escape_ascii());
        }
        assert_eq!(parse(b"bytes=0-0", 0, None), All);
        assert_eq!(parse(b"bytes=1-1", 0, None), Unsatisfiable);
    }
}
