//! HTTP's words without a version: methods, statuses, fields, heads, events.
//!
//! HTTP/1, HTTP/2 and FastCGI all speak these, so one exchange serves any client protocol over any upstream protocol.

pub mod date;
pub mod field;
pub mod framing;
pub mod head;
pub mod hop;
pub mod host;
pub mod method;
mod name;
pub mod set;
pub mod status;
pub mod strftime;
pub mod target;

pub use field::{Field, HeaderId, Span};
pub use framing::{BodyFraming, RequestMeta, ResponseMeta, request_framing, response_framing};
pub use head::{RequestHead, ResponseHead, Version};
pub use hop::{ConnectionOptions, is_hop_by_hop, may_trail};
pub use host::Host;
pub use method::Method;
pub use set::HeaderSet;
pub use status::Status;
pub use target::{Target, TargetForm};

use crate::buf::Chunk;

/// What a body's decoder yields and its encoder takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyEvent {
    /// Bytes of the body, without any framing.
    Data(Chunk),
    /// The end of the body, with whatever trailer fields came (`name: value` lines, each with CRLF; mostly empty).
    End(Chunk),
}
