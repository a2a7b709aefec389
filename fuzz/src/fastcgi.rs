//! FastCGI replies: records, heads and bodies, whole and in pieces.
//!
//! Control bytes: limits and whether the connection is to be kept, and two that say where to cut.

use std::iter;

use proxy_core::buf::Chunk;
use proxy_core::error::UpstreamError;
use proxy_core::fastcgi::{CgiLimits, Found, Part, Records};

use super::pieces::Pieces;

/// What came of a reply.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reply {
    head: Option<Vec<u8>>,
    body: Vec<u8>,
    stderr: Vec<u8>,
    ended: bool,
    kept: bool,
    error: Option<UpstreamError>,
}

/// See the module.
pub fn run(input: &[u8]) {
    let Some(([control, how @ ..], bytes)) = input.split_first_chunk::<3>() else { return };
    let bit = |n: u8| control & (1 << n) != 0;
    let limits = CgiLimits {
        total_bytes_max: if bit(0) { 40 } else { 4096 },
        fields_max: if bit(1) { 2 } else { 1000 },
    };
    let length = bit(2).then_some(5);
    let whole = read(iter::once(bytes), limits, bit(3), length);
    let cut = read(Pieces::new(bytes, *how), limits, bit(3), length);
    if whole.head.is_none() {
        // A piece of a head without a line end is not looked at until one comes: what is wrong with it may be found
        // later, or behind a fault of a later record.
        assert!(cut.head.is_none() && cut.body.is_empty(), "cut by {how:?}: {cut:?}");
        return;
    }
    assert_eq!(whole, cut, "cut by {how:?}");
}

fn read<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    limits: CgiLimits,
    keep_conn: bool,
    length: Option<u64>,
) -> Reply {
    let mut records = Records::new(keep_conn);
    let mut reply = Reply::default();
    let mut fields = Vec::new();
    for piece in pieces {
        let mut input = Chunk::from_vec(piece.to_vec());
        while reply.head.is_none() {
            match records.read_head(&mut input, &mut fields, &limits) {
                Ok(Found::Partial) => break,
                Ok(Found::Stderr(text)) => reply.stderr.extend_from_slice(&text),
                Ok(Found::Head(head)) => {
                    assert!(
                        head.bytes.len() <= limits.total_bytes_max && head.fields.len() <= limits.fields_max
                    );
                    assert!(head.status.is_some_and(|status| (200..=999).contains(&status.0)));
                    records.expect_body(length);
                    reply.head = Some(head.bytes.to_vec());
                }
                Err(error) => {
                    reply.error = Some(error);
                    return reply;
                }
            }
        }
        while reply.head.is_some() {
            match records.next_part(&mut input) {
                Ok(Part::NeedMore) => break,
                Ok(Part::Data(data)) => {
                    assert!(!data.is_empty());
                    reply.body.extend_from_slice(&data);
                    assert!(length.is_none_or(|length| reply.body.len() as u64 <= length));
                }
                Ok(Part::Stderr(text)) => {
                    assert!(!text.is_empty());
                    reply.stderr.extend_from_slice(&text);
                }
                Ok(Part::TooMuch) => return reply,
                Ok(Part::End) => {
                    reply.ended = true;
                    reply.kept = records.may_be_kept();
                    assert!(keep_conn || !reply.kept);
                    assert!(length.is_none_or(|length| reply.body.len() as u64 == length));
                    return reply;
                }
                Err(fault) => {
                    reply.error = Some(fault.into());
                    return reply;
                }
            }
        }
        assert!(input.is_empty(), "all that came is used");
    }
    reply
}
