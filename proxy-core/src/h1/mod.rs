//! The HTTP/1 codec (RFC 9112): bytes to heads and body events, and back.
//!
//! Nothing here keeps a connection: each part is a pure function or a small machine that one connection owns.
//! Parsers refuse whatever two parties could read differently, so that what is forwarded is what was understood;
//! what leaves is always written anew by [`encode`].
//!
//! Read in this order: [`request`], [`response`], then [`framing`](crate::http::framing) for what the fields mean,
//! [`chunked`] for bodies, [`encode`] for the way out.

pub mod body;
pub mod chunked;
pub mod encode;
mod line;
pub mod refused;
mod request;
pub mod response;

pub use chunked::{ChunkError, ChunkedDecoder};
pub use refused::{refused_head, refused_line};
pub use request::{HeadLimits, Parsed, parse_request};
pub(crate) use request::{is_plain, span};
pub use response::{ResponseLimits, parse_response};
