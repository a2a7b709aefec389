//! `sub_filter`: other text in the place of some, wherever the borders of the blocks that it comes in may lie.
//!
//! The leftmost match counts, and of those that begin at one place the one whose directive stands first; so the result
//! does not depend on how the body was cut. What may become a match with the next block is held back.
//!
//! Reference: nginx's ngx_http_sub_filter_module.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::buf::{Chain, Chunk};

/// The texts that are looked for in one body.
#[derive(Debug)]
pub(crate) struct Sub {
    pairs: Vec<Pair>,
    once: bool,
    starts: Starts,
    /// The beginning of what may be a match.
    held: Vec<u8>,
}

#[derive(Debug)]
struct Pair {
    /// In lower case, never empty.
    text: Box<[u8]>,
    with: Chunk,
    done: bool,
}

/// What the rest of a block begins with.
enum Found {
    Nothing,
    /// All of this pair's text.
    Whole(usize),
    /// So much of a text as there is.
    Part,
}

impl Sub {
    /// Looks for each first text, in any case, to put the second in its place; `once` does that once for each. None
    /// where there is nothing to look for.
    pub(crate) fn new(pairs: impl Iterator<Item = (Vec<u8>, Vec<u8>)>, once: bool) -> Option<Self> {
        let pairs: Vec<Pair> = pairs
            .filter(|(text, _)| !text.is_empty())
            .map(|(text, with)| Pair {
                text: text.to_ascii_lowercase().into(),
                with: Chunk::from_vec(with),
                done: false,
            })
            .collect();
        let starts = Starts::of(&pairs);
        (!pairs.is_empty()).then_some(Self { pairs, once, starts, held: Vec::new() })
    }

    /// A block of the body.
    pub(crate) fn feed(&mut self, data: Chunk, out: &mut Chain) {
        if self.held.is_empty() {
            return self.scan(&data, false, out);
        }
        let mut joined = core::mem::take(&mut self.held);
        joined.extend_from_slice(&data);
        self.scan(&Chunk::from_vec(joined), false, out);
    }

    /// The body's end: what was held back is no match.
    pub(crate) fn finish(&mut self, out: &mut Chain) {
        let rest = Chunk::from_vec(core::mem::take(&mut self.held));
        self.scan(&rest, true, out);
    }

    fn scan(&mut self, data: &Chunk, last: bool, out: &mut Chain) {
        let bytes = data.as_slice();
        let (mut passed, mut from) = (0, 0);
        while let Some(at) = self.starts.find(bytes, from) {
            let rest = bytes.get(at..).unwrap_or_default();
            match self.look(rest, last) {
                Found::Nothing => from = at + 1,
                Found::Part => {
                    out.push(data.slice(passed..at));
                    self.held.extend_from_slice(rest);
                    return;
                }
                Found::Whole(place) => {
                    out.push(data.slice(passed..at));
                    let Some(pair) = self.pairs.get_mut(place) else { return };
                    out.push(pair.with.clone());
                    from = at + pair.text.len();
                    passed = from;
                    if self.once {
                        pair.done = true;
                        self.starts = Starts::of(&self.pairs);
                    }
                }
            }
        }
        out.push(data.slice(passed..bytes.len()));
    }

    fn look(&self, rest: &[u8], last: bool) -> Found {
        for (place, pair) in self.pairs.iter().enumerate().filter(|(_, pair)| !pair.done) {
            match rest.get(..pair.text.len()) {
                Some(text) if text.eq_ignore_ascii_case(&pair.text) => return Found::Whole(place),
                Some(_) => {}
                None if last => {}
                None => {
                    let begin = pair.text.get(..rest.len());
                    if begin.is_some_and(|begin| begin.eq_ignore_ascii_case(rest)) {
                        return Found::Part;
                    }
                }
            }
        }
        Found::Nothing
    }
}

/// The bytes that a match may begin with.
enum Starts {
    /// A few: the vectorised search takes up to three.
    Few([u8; 3]),
    /// Many.
    Many(Box<[bool; 256]>),
    /// There is nothing left to look for.
    None,
}

impl Starts {
    fn of(pairs: &[Pair]) -> Self {
        let mut bytes: Vec<u8> = Vec::new();
        for first in pairs.iter().filter(|pair| !pair.done).filter_map(|pair| pair.text.first()) {
            bytes.extend([*first, first.to_ascii_uppercase()]);
        }
        bytes.sort_unstable();
        bytes.dedup();
        match *bytes.as_slice() {
            [] => Self::None,
            [a] => Self::Few([a, a, a]),
            [a, b] => Self::Few([a, b, b]),
            [a, b, c] => Self::Few([a, b, c]),
            _ => {
                let mut table = Box::new([false; 256]);
                for byte in bytes {
                    if let Some(place) = table.get_mut(usize::from(byte)) {
                        *place = true;
                    }
                }
                Self::Many(table)
            }
        }
    }

    /// The first place from `from` on where a match may begin.
    fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let rest = bytes.get(from..)?;
        let at = match self {
            Self::None => None,
            Self::Few([a, b, c]) if b == c => memchr::memchr2(*a, *b, rest),
            Self::Few([a, b, c]) => memchr::memchr3(*a, *b, *c, rest),
            Self::Many(table) => {
                rest.iter().position(|byte| table.get(usize::from(*byte)).is_some_and(|starts| *starts))
            }
        };
        Some(from + at?)
    }
}

impl core::fmt::Debug for Starts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Starts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<'a>(pairs: &[(&str, &str)], once: bool, parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let pairs = pairs.iter().map(|(text, with)| (text.as_bytes().to_vec(), with.as_bytes().to_vec()));
        let Some(mut sub) = Sub::new(pairs, once) else { return parts.collect::<Vec<_>>().concat() };
        let mut out = Chain::new();
        parts.for_each(|part| sub.feed(Chunk::from_vec(part.to_vec()), &mut out));
        sub.finish(&mut out);
        out.to_vec()
    }

    #[test]
    fn the_result_does_not_depend_on_the_borders() {
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let table: &[(Pairs<'_>, bool, &str, &str)] = &[
            (&[("a", "b")], false, "aAxa", "bbxb"),
            (&[("a", "b")], true, "aAxa", "bAxa"),
            (&[("</head>", "X</head>")], true, "<HEAD></HeAd><<</head>", "<HEAD>X</head><<</head>"),
            (&[("aab", "1")], false, "aaab aaaab aab aa", "a1 aa1 1 aa"),
            // At one place the directive that stands first counts, not the longest.
            (&[("ab", "1"), ("abc", "2")], false, "abc abcabc", "1c 1c1c"),
            (&[("abc", "2"), ("ab", "1")], false, "abc abd ab", "2 1d 1"),
            // An earlier beginning counts more than either.
            (&[("bcd", "2"), ("abx", "3"), ("b", "1")], false, "abcd abx ab", "a2 3 a1"),
            (&[("x", ""), ("y", "x")], false, "xyx", "x"),
            (&[("a", "1"), ("b", "2")], true, "aabb", "1a2b"),
            (&[("", "1")], false, "abc", "abc"),
            (&[("q", "1"), ("w", "2"), ("e", "3")], false, "QWE.", "123."),
            (&[("abcabd", "!")], false, "abcabcabd abcab", "abc! abcab"),
        ];
        for (pairs, once, text, expected) in table {
            let bytes = text.as_bytes();
            let expected = expected.as_bytes();
            assert_eq!(run(pairs, *once, core::iter::once(bytes)), expected, "{text}");
            assert_eq!(run(pairs, *once, bytes.chunks(1)), expected, "{text} byte by byte");
            for cut in 0..bytes.len() {
                let (front, back) = bytes.split_at(cut);
                assert_eq!(run(pairs, *once, [front, back].into_iter()), expected, "{text} at {cut}");
            }
        }
    }
}
