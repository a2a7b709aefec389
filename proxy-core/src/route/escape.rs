//! nginx's percent-escaping, for where a decoded URI is written into a request line or a header again.
//!
//! Three sets, as nginx has them since 1.21.1: all escape controls, blanks, bytes from 0x7f up and the characters that
//! no URI may hold (`"<>\^` and backtick, `{|}`); they differ in which of the URI's own delimiters they escape.

use alloc::vec::Vec;

/// For a path: where `proxy_pass` has a URI, where a path becomes a redirect's.
pub fn escape_uri(path: &[u8], out: &mut Vec<u8>) {
    escape(path, &URI, out);
}

/// For what becomes part of the arguments: captures behind the `?` of a rewrite's replacement or in a redirect.
pub fn escape_args(text: &[u8], out: &mut Vec<u8>) {
    escape(text, &ARGS, out);
}

/// For a whole URL that is written into a page or header: its delimiters and its `%XX` stay.
pub fn escape_refresh(url: &[u8], out: &mut Vec<u8>) {
    escape(url, &REFRESH, out);
}

const URI: Set = Set::of(b"#%?");
const ARGS: Set = Set::of(b"#%&+;?");
const REFRESH: Set = Set::of(b"'");

/// A set of bytes, one bit each.
struct Set([u128; 2]);

impl Set {
    const fn of(delimiters: &[u8]) -> Self {
        let controls_and_blank = (1 << 0x21) - 1;
        let never_in_a_uri = bits(b"\"<>\\^`{|}\x7f");
        Self([controls_and_blank | never_in_a_uri | bits(delimiters), u128::MAX])
    }

    const fn has(&self, byte: u8) -> bool {
        let [low, high] = self.0;
        let half = if byte < 0x80 { low } else { high };
        half >> (byte & 0x7f) & 1 == 1
    }
}

/// The bits of ASCII `bytes`.
const fn bits(mut bytes: &[u8]) -> u128 {
    let mut bits = 0;
    while let [first, rest @ ..] = bytes {
        bits |= 1 << (*first & 0x7f);
        bytes = rest;
    }
    bits
}

fn escape(text: &[u8], set: &Set, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or_default();
    out.reserve(text.len());
    for &byte in text {
        if set.has(byte) {
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            out.push(byte);
        }
    }
}
