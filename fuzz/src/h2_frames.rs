//! HTTP/2 frames: whole and in pieces they are the same; nothing is lost between them.
//!
//! Control bytes: two that say where to cut. What follows is put behind the preface.

use proxy_core::buf::Chunk;
use proxy_core::h2::ErrorCode;
use proxy_core::h2::frame::{FrameHead, HEAD_BYTES, PAYLOAD_BYTES_MAX, PREFACE};
use proxy_core::h2::reader::{Event, Reader};

use super::pieces::Pieces;

/// What was read, the parts of a DATA frame put together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Frames {
    events: Vec<(u32, Vec<u8>, u32, bool)>,
    heads: Vec<FrameHead>,
    error: Option<ErrorCode>,
    open: bool,
}

/// See the module.
pub fn run(input: &[u8]) {
    let Some((how, bytes)) = input.split_first_chunk::<2>() else { return };
    let wire = [PREFACE, bytes].concat();
    let whole = read(std::iter::once(&*wire));
    let cut = read(Pieces::new(&wire, *how));
    assert_eq!(whole, cut, "cut by {how:?}");
    for head in &whole.heads {
        assert!(head.len <= PAYLOAD_BYTES_MAX);
        assert_eq!(FrameHead::parse(&head.to_bytes()).map(|head| head.stream), Some(head.stream));
    }
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Frames {
    let mut reader = Reader::default();
    let mut frames = Frames::default();
    for piece in pieces {
        let mut input = Chunk::from_vec(piece.to_vec());
        loop {
            let before = input.len();
            match reader.next(&mut input) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    let used = before - input.len();
                    add(&mut frames, event, used);
                }
                Err(error) => {
                    frames.error = Some(error);
                    // How much of an unfinished DATA frame was passed on depends on the cuts.
                    if std::mem::take(&mut frames.open) {
                        frames.events.pop();
                    }
                    return frames;
                }
            }
        }
        assert!(input.is_empty(), "what is not understood yet is kept inside");
    }
    frames
}

fn add(frames: &mut Frames, event: Event, used: usize) {
    match event {
        Event::Frame(head, payload) => {
            assert!(!frames.open && head.len == payload.len());
            assert!(used <= HEAD_BYTES + head.len + PREFACE.len());
            frames.heads.push(head);
            frames.events.push((head.stream, payload.to_vec(), 0, false));
        }
        Event::Data { stream, data, counted, end_stream, last } => {
            assert!(data.len() <= counted as usize, "padding counts, nothing else does");
            assert!(last || !end_stream);
            if frames.open {
                let (known, bytes, sum, end) = frames.events.last_mut().unwrap();
                assert_eq!(*known, stream);
                bytes.extend_from_slice(&data);
                (*sum, *end) = (*sum + counted, end_stream);
            } else {
                frames.events.push((stream, data.to_vec(), counted, end_stream));
            }
            frames.open = !last;
        }
    }
}
