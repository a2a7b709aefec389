//! Parsed heads: one piece of memory and ranges into it.

use alloc::vec::Vec;

use super::{Field, HeaderId, Method, Span, Status};
use crate::buf::Chunk;

/// The protocol version of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// As in a request line and in `$server_protocol`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

/// A request's head, in place. All ranges point into [`bytes`](Self::bytes).
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The memory that the ranges point into; for HTTP/1 the head exactly as it came.
    pub bytes: Chunk,
    /// The method; its text is at [`method_text`](Self::method_text).
    pub method: Option<Method>,
    /// The method's text.
    pub method_text: Span,
    /// The whole request line without its line end (`$request`).
    pub line: Span,
    /// The request target as it was sent.
    pub target: Span,
    /// The version.
    pub version: Version,
    /// The header fields in their order.
    pub fields: Vec<Field>,
}

impl RequestHead {
    /// The method; [`Method::Other`] where none was understood.
    #[must_use]
    pub const fn method(&self) -> Method {
        match self.method {
            Some(method) => method,
            None => Method::Other,
        }
    }

    /// The value of the first field with this id.
    #[must_use]
    pub fn value(&self, id: HeaderId) -> Option<&[u8]> {
        find(&self.fields, &self.bytes, id)
    }

    /// A field's name and value.
    #[must_use]
    pub fn pair(&self, field: &Field) -> (&[u8], &[u8]) {
        (field.name.of(&self.bytes), field.value.of(&self.bytes))
    }
}

/// A response's head, in place. All ranges point into [`bytes`](Self::bytes).
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The memory that the ranges point into.
    pub bytes: Chunk,
    /// The status code; none before a head was parsed.
    pub status: Option<Status>,
    /// The reason phrase, possibly empty.
    pub reason: Span,
    /// The version.
    pub version: Version,
    /// The header fields in their order.
    pub fields: Vec<Field>,
}

impl ResponseHead {
    /// The value of the first field with this id.
    #[must_use]
    pub fn value(&self, id: HeaderId) -> Option<&[u8]> {
        find(&self.fields, &self.bytes, id)
    }

    /// A field's name and value.
    #[must_use]
    pub fn pair(&self, field: &Field) -> (&[u8], &[u8]) {
        (field.name.of(&self.bytes), field.value.of(&self.bytes))
    }
}

fn find<'a>(fields: &[Field], bytes: &'a [u8], id: HeaderId) -> Option<&'a [u8]> {
    fields.iter().find(|field| field.id == id).map(|field| field.value.of(bytes))
}
