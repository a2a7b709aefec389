//! One line of an access log, escaped as `log_format` says.

use alloc::vec::Vec;

use crate::config::{Escape, LogFormat, Piece};
use crate::exchange::Facts;
use crate::exchange::vars::Env;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Writes the line and its end.
pub(crate) fn write(format: &LogFormat, facts: &Facts, env: &Env<'_>, out: &mut Vec<u8>) {
    for piece in format.template.pieces() {
        match piece {
            Piece::Literal(bytes) => out.extend_from_slice(bytes),
            Piece::Variable(variable) => {
                let start = out.len();
                let found = facts.value(variable, env, out);
                match format.escape {
                    Escape::Default if !found => out.push(b'-'),
                    Escape::Default => escape_from(start, out, is_special, hex),
                    Escape::Json => escape_from(start, out, is_special_in_json, json),
                    Escape::None => {}
                }
            }
        }
    }
    out.push(b'\n');
}

/// Escapes what lies behind `start`. Mostly there is nothing to escape; then nothing is moved.
fn escape_from(start: usize, out: &mut Vec<u8>, special: impl Fn(u8) -> bool, escape: fn(u8, &mut Vec<u8>)) {
    let value = out.get(start..).unwrap_or_default();
    // Without a way out of the middle this is a handful of vector instructions.
    if !value.iter().fold(false, |found, byte| found | special(*byte)) {
        return;
    }
    let Some(first) = value.iter().position(|byte| special(*byte)) else { return };
    let rest = out.split_off(start + first);
    out.reserve(rest.len() * 2);
    for byte in rest {
        if special(byte) {
            escape(byte, out);
        } else {
            out.push(byte);
        }
    }
}

const fn is_special(byte: u8) -> bool {
    matches!(byte, 0..0x20 | b'"' | b'\\' | 0x7f..)
}

/// `\xXX`
pub(super) fn hex(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\x");
    hex_digits(byte, out);
}

const fn is_special_in_json(byte: u8) -> bool {
    matches!(byte, 0..0x20 | b'"' | b'\\')
}

/// As RFC 8259, section 7 has it.
fn json(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        b'"' | b'\\' => byte,
        _ => {
            out.extend_from_slice(b"\\u00");
            return hex_digits(byte, out);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn hex_digits(byte: u8, out: &mut Vec<u8>) {
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    out.extend_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
}
