//! Request methods (RFC 9110, section 9).

/// A request method. Those that some rule asks about have a name; the rest are [`Method::Other`] and keep their text
/// in the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// PATCH (RFC 5789)
    Patch,
    /// CONNECT
    Connect,
    /// TRACE
    Trace,
    /// MKCOL (RFC 4918)
    Mkcol,
    /// COPY (RFC 4918)
    Copy,
    /// MOVE (RFC 4918)
    Move,
    /// PROPFIND (RFC 4918)
    Propfind,
    /// PROPPATCH (RFC 4918)
    Proppatch,
    /// LOCK (RFC 4918)
    Lock,
    /// UNLOCK (RFC 4918)
    Unlock,
    /// Any other token.
    Other,
}

impl Method {
    /// The method that these bytes name; methods are case-sensitive.
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"CONNECT" => Self::Connect,
            b"TRACE" => Self::Trace,
            b"MKCOL" => Self::Mkcol,
            b"COPY" => Self::Copy,
            b"MOVE" => Self::Move,
            b"PROPFIND" => Self::Propfind,
            b"PROPPATCH" => Self::Proppatch,
            b"LOCK" => Self::Lock,
            b"UNLOCK" => Self::Unlock,
            _ => Self::Other,
        }
    }

    /// Whether a request may be repeated after it may have reached a server. nginx counts POST, LOCK and PATCH as
    /// non-idempotent; a method that we do not know is treated as one of them.
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Lock | Self::Patch | Self::Connect | Self::Other)
    }
}
