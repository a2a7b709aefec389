//! Bodies as HTTP/1 frames them, in either direction: none, a length, chunks, or until the connection closes.

use super::chunked::{ChunkError, ChunkedDecoder};
use crate::buf::Chunk;
use crate::http::BodyEvent;
use crate::http::framing::BodyFraming;

/// Takes the framing off.
#[derive(Debug, Default)]
pub enum BodyDecoder {
    /// There is no body, or it has ended.
    #[default]
    Ended,
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks are to come.
    Chunked(ChunkedDecoder),
    /// Everything is body until the connection closes.
    UntilClose,
}

/// What a decoder made of its input.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// All input is used up and the body goes on.
    NeedMore,
    /// Bytes of the body, sharing the input's memory.
    Data(Chunk),
    /// The body has ended, with this trailer section. What is left of the input is not part of it.
    End(Chunk),
}

impl BodyDecoder {
    /// A decoder for a body that is framed so.
    #[must_use]
    pub const fn new(framing: BodyFraming) -> Self {
        match framing {
            BodyFraming::None | BodyFraming::Length(0) => Self::Ended,
            BodyFraming::Length(bytes) => Self::Length(bytes),
            BodyFraming::Chunked => Self::Chunked(ChunkedDecoder::new()),
            BodyFraming::UntilClose => Self::UntilClose,
        }
    }

    /// Takes the next event off the front of `input`.
    ///
    /// # Errors
    /// Chunked framing that is not strictly RFC 9112's.
    pub fn decode(&mut self, input: &mut Chunk) -> Result<Decoded, ChunkError> {
        match self {
            Self::Ended => Ok(Decoded::End(Chunk::empty())),
            Self::Length(_) | Self::UntilClose if input.is_empty() => Ok(Decoded::NeedMore),
            Self::UntilClose => Ok(Decoded::Data(core::mem::take(input))),
            Self::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= take as u64;
                if *left == 0 {
                    *self = Self::Ended;
                }
                Ok(Decoded::Data(input.split_to(take)))
            }
            Self::Chunked(decoder) => match decoder.decode(input)? {
                None => Ok(Decoded::NeedMore),
                Some(BodyEvent::Data(data)) => Ok(Decoded::Data(data)),
                Some(BodyEvent::End(trailers)) => {
                    *self = Self::Ended;
                    Ok(Decoded::End(trailers))
                }
            },
        }
    }

    /// Whether the body has ended. A length has ended with its last byte.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }

    /// Whether the end of the connection is the proper end of the body.
    #[must_use]
    pub const fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }
}
