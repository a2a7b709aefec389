//! Header fields as ranges into the head that they came in, and the names that some rule asks about.

use core::ops::Range;

/// A range of bytes inside one head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// How many bytes.
    pub len: u32,
}

impl Span {
    /// The bytes that this range names in `bytes`; none where it lies outside.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }

    /// As a range of indices.
    #[must_use]
    pub const fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// One header line: `name: value`, both as ranges into the head's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name, classified once while parsing.
    pub id: HeaderId,
    /// The name as it was sent.
    pub name: Span,
    /// The value, without the blanks around it.
    pub value: Span,
}

macro_rules! header_ids {
    ($($id:ident = $name:literal;)*) => {
        /// The field names that some rule of the proxy asks about; everything else is [`HeaderId::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum HeaderId {
            $(#[doc = $name] $id,)*
            /// A name that no rule asks about.
            Other,
        }

        impl HeaderId {
            /// Every name with its id, lower case.
            pub const ALL: &'static [(Self, &'static [u8])] = &[$((Self::$id, $name.as_bytes()),)*];
        }
    };
}

header_ids! {
    Accept = "accept";
    AcceptEncoding = "accept-encoding";
    AcceptLanguage = "accept-language";
    AcceptRanges = "accept-ranges";
    Age = "age";
    Authorization = "authorization";
    CacheControl = "cache-control";
    Connection = "connection";
    ContentEncoding = "content-encoding";
    ContentLength = "content-length";
    ContentRange = "content-range";
    ContentType = "content-type";
    Cookie = "cookie";
    Date = "date";
    Etag = "etag";
    Expect = "expect";
    Expires = "expires";
    Forwarded = "forwarded";
    Host = "host";
    Http2Settings = "http2-settings";
    IfMatch = "if-match";
    IfModifiedSince = "if-modified-since";
    IfNoneMatch = "if-none-match";
    IfRange = "if-range";
    IfUnmodifiedSince = "if-unmodified-since";
    KeepAlive = "keep-alive";
    LastModified = "last-modified";
    Link = "link";
    Location = "location";
    Origin = "origin";
    Pragma = "pragma";
    ProxyAuthenticate = "proxy-authenticate";
    ProxyAuthorization = "proxy-authorization";
    ProxyConnection = "proxy-connection";
    Range = "range";
    Referer = "referer";
    Refresh = "refresh";
    Server = "server";
    SetCookie = "set-cookie";
    Te = "te";
    Trailer = "trailer";
    TransferEncoding = "transfer-encoding";
    Upgrade = "upgrade";
    UserAgent = "user-agent";
    Vary = "vary";
    Via = "via";
    WwwAuthenticate = "www-authenticate";
    XAccelBuffering = "x-accel-buffering";
    XAccelCharset = "x-accel-charset";
    XAccelExpires = "x-accel-expires";
    XAccelLimitRate = "x-accel-limit-rate";
    XAccelRedirect = "x-accel-redirect";
    XForwardedFor = "x-forwarded-for";
    XForwardedHost = "x-forwarded-host";
    XForwardedPort = "x-forwarded-port";
    XForwardedProto = "x-forwarded-proto";
    XPad = "x-pad";
    XRealIp = "x-real-ip";
}
