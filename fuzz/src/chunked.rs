//! The chunked coding: decoded whole and in pieces; and what was encoded is decoded to what it was.
//!
//! Control bytes: two that say where to cut, for the first part also where the chunks end in the second.

use std::iter;

use proxy_core::buf::Chunk;
use proxy_core::h1::{ChunkError, ChunkedDecoder, encode};
use proxy_core::http::BodyEvent;

use super::pieces::Pieces;

/// What came of a body.
#[derive(Debug, Default, PartialEq, Eq)]
struct Body {
    data: Vec<u8>,
    trailers: Option<Vec<u8>>,
    rest: Vec<u8>,
    error: Option<ChunkError>,
}

/// See the module.
pub fn run(input: &[u8]) {
    let Some((how, bytes)) = input.split_first_chunk::<2>() else { return };
    let whole = decode(iter::once(bytes));
    let cut = decode(Pieces::new(bytes, *how));
    assert_eq!(whole, cut, "cut by {how:?}");
    let (data, trailers) = match &whole.trailers {
        Some(trailers) => (whole.data.as_slice(), trailers.as_slice()),
        // What is no body is at least bytes that a body may have.
        None => (bytes, &b""[..]),
    };
    check_round_trip(data, trailers, *how);
}

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Body {
    let mut decoder = ChunkedDecoder::new();
    let mut body = Body::default();
    for piece in pieces {
        let mut input = Chunk::from_vec(piece.to_vec());
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(BodyEvent::Data(data))) => {
                    assert!(!data.is_empty() && body.trailers.is_none());
                    body.data.extend_from_slice(&data);
                }
                Ok(Some(BodyEvent::End(trailers))) => {
                    assert!(decoder.is_done());
                    assert!(trailers.is_empty() || trailers.ends_with(b"\r\n"));
                    assert!(body.trailers.replace(trailers.to_vec()).is_none());
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(!decoder.is_done());
                    body.error = Some(error);
                    return body;
                }
            }
        }
        assert!(input.is_empty() || decoder.is_done());
        body.rest.extend_from_slice(&input);
    }
    assert_eq!(decoder.is_done(), body.trailers.is_some());
    body
}

/// Chunks and trailers as the proxy writes them are read as the same data and trailers.
fn check_round_trip(data: &[u8], trailers: &[u8], how: [u8; 2]) {
    let mut wire = Vec::new();
    for piece in Pieces::new(data, how) {
        encode::chunk_size(&mut wire, piece.len());
        wire.extend_from_slice(piece);
        wire.extend_from_slice(b"\r\n");
    }
    encode::last_chunk(&mut wire, trailers);
    wire.extend_from_slice(b"GET /");
    let [size, seed] = how;
    let body = decode(Pieces::new(&wire, [size.rotate_left(3), seed]));
    assert_eq!((body.error, body.data.as_slice()), (None, data));
    assert_eq!(body.trailers.as_deref(), Some(trailers));
    assert_eq!(body.rest, b"GET /");
}
