//! What goes to an application: its parameters and the request's body, packed as it wants them.

use alloc::vec::Vec;

use super::kind::{BEGIN_REQUEST, PARAMS, STDIN};
use super::{HEADER_BYTES, VERSION};
use crate::buf::Chunk;
use crate::h1::encode::decimal;

/// The only role that there is here: responder.
const RESPONDER: u8 = 1;

/// Contents are padded to a multiple of this, in bytes.
const ALIGN: usize = 8;

/// The longest content of a record that is sent, in bytes.
pub const RECORD_BYTES_MAX: usize = 65_535;

/// As much of a body goes into one record, in bytes.
const STDIN_BYTES: usize = 32 * 1024;

/// A record's header.
fn header(kind: u8, content: usize) -> [u8; HEADER_BYTES] {
    debug_assert!(content <= RECORD_BYTES_MAX);
    let [high, low] = u16::try_from(content).unwrap_or(u16::MAX).to_be_bytes();
    let padding = u8::try_from(padding(content).len()).unwrap_or(0);
    [VERSION, kind, 0, 1, high, low, padding, 0]
}

/// What fills a content of this length up.
fn padding(content: usize) -> &'static [u8] {
    static ZEROS: [u8; ALIGN] = [0; ALIGN];
    ZEROS.get(..(ALIGN - content % ALIGN) % ALIGN).unwrap_or_default()
}

/// One parameter, as FastCGI writes name-value pairs (section 3.4).
pub fn pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for len in [name.len(), value.len()] {
        match u8::try_from(len) {
            Ok(len) if len < 128 => out.push(len),
            _ => {
                let len = u32::try_from(len).unwrap_or(u32::MAX) | 1 << 31;
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
    }
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

/// The beginning of a request: everything before its body. Where nginx refuses parameters that are more than one record
/// holds, they go in several.
#[must_use]
pub fn begin(keep_conn: bool, pairs: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pairs.len() + 48);
    out.extend_from_slice(&header(BEGIN_REQUEST, 8));
    out.extend_from_slice(&[0, RESPONDER, u8::from(keep_conn), 0, 0, 0, 0, 0]);
    for content in pairs.chunks(RECORD_BYTES_MAX) {
        out.extend_from_slice(&header(PARAMS, content.len()));
        out.extend_from_slice(content);
        out.extend_from_slice(padding(content.len()));
    }
    out.extend_from_slice(&header(PARAMS, 0));
    out
}

/// A part of the request's body, in records of at most 32 KiB that share its memory.
pub fn stdin(mut part: Chunk, mut put: impl FnMut(Chunk)) {
    while !part.is_empty() {
        let content = part.split_to(part.len().min(STDIN_BYTES));
        let len = content.len();
        put(Chunk::from_vec(header(STDIN, len).to_vec()));
        put(content);
        if !padding(len).is_empty() {
            put(Chunk::from_static(padding(len)));
        }
    }
}

/// The end of the request's body.
#[must_use]
pub fn stdin_end() -> Chunk {
    static END: [u8; HEADER_BYTES] = [VERSION, STDIN, 0, 1, 0, 0, 0, 0];
    Chunk::from_static(&END)
}

/// One parameter, as SCGI writes it.
pub fn scgi_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.push(0);
    out.extend_from_slice(value);
    out.push(0);
}

/// The beginning of an SCGI request: a netstring of all parameters.
#[must_use]
pub fn scgi_begin(pairs: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pairs.len() + 16);
    decimal(&mut out, pairs.len() as u64);
    out.push(b':');
    out.extend_from_slice(pairs);
    out.push(b',');
    out
}

/// One parameter, as uwsgi writes it: lengths of 16 bits, the lower byte first. `false`, and nothing written, where
/// one is longer.
#[must_use]
pub fn uwsgi_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> bool {
    let (Ok(name_len), Ok(value_len)) = (u16::try_from(name.len()), u16::try_from(value.len())) else {
        return false;
    };
    out.extend_from_slice(&name_len.to_le_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(&value_len.to_le_bytes());
    out.extend_from_slice(value);
    true
}

/// The beginning of a uwsgi request. `None` where the parameters are too many.
#[must_use]
pub fn uwsgi_begin(modifiers: (u8, u8), pairs: &[u8]) -> Option<Vec<u8>> {
    let [low, high] = u16::try_from(pairs.len()).ok()?.to_le_bytes();
    let mut out = Vec::with_capacity(pairs.len() + 4);
    out.extend_from_slice(&[modifiers.0, low, high, modifiers.1]);
    out.extend_from_slice(pairs);
    Some(out)
}
