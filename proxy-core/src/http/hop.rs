//! What belongs to one connection and is never forwarded as it came (RFC 9110, section 7.6.1).

use smallvec::SmallVec;

use super::{Field, HeaderId, Span};

/// As many options as `Connection` may list. Real clients name one or two; comparing every field with thousands of
/// them would be work that a client gets for nothing.
pub const CONNECTION_OPTIONS_MAX: usize = 32;

/// Whether a field speaks about the connection it came on, and so is never forwarded by itself. `Expect` counts as
/// such: as in nginx, it is we who answer it.
#[must_use]
pub const fn is_hop_by_hop(id: HeaderId) -> bool {
    matches!(
        id,
        HeaderId::Connection
            | HeaderId::Expect
            | HeaderId::KeepAlive
            | HeaderId::ProxyConnection
            | HeaderId::Te
            | HeaderId::TransferEncoding
            | HeaderId::Upgrade
            | HeaderId::Http2Settings
    )
}

/// Whether a field may stand behind a body (RFC 9110, section 6.5.1): nothing that frames, routes, authorises or says
/// how the body is to be read.
#[must_use]
pub const fn may_trail(id: HeaderId) -> bool {
    !is_hop_by_hop(id)
        && !matches!(
            id,
            HeaderId::Host
                | HeaderId::ContentLength
                | HeaderId::ContentType
                | HeaderId::ContentEncoding
                | HeaderId::ContentRange
                | HeaderId::Trailer
                | HeaderId::Authorization
                | HeaderId::ProxyAuthorization
                | HeaderId::ProxyAuthenticate
                | HeaderId::WwwAuthenticate
                | HeaderId::Cookie
                | HeaderId::SetCookie
                | HeaderId::CacheControl
                | HeaderId::Expect
                | HeaderId::Range
                | HeaderId::Forwarded
                | HeaderId::XForwardedFor
                | HeaderId::XForwardedHost
                | HeaderId::XForwardedPort
                | HeaderId::XForwardedProto
                | HeaderId::XRealIp
                | HeaderId::XAccelRedirect
        )
}

/// What the `Connection` fields of one head say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// `close`
    pub close: bool,
    /// `keep-alive`
    pub keep_alive: bool,
    /// `upgrade`
    pub upgrade: bool,
    /// Names of further fields that are meant for us only, as ranges into the head.
    pub named: SmallVec<[Span; 2]>,
}

/// More than [`CONNECTION_OPTIONS_MAX`] options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyOptions;

impl ConnectionOptions {
    /// Adds what one `Connection` field at `value` of `head` lists.
    ///
    /// # Errors
    /// Where it lists more than a sane peer would.
    pub fn add(&mut self, head: &[u8], value: Span) -> Result<(), TooManyOptions> {
        for (index, token) in Tokens::new(head, value).enumerate() {
            match token.of(head) {
                text if text.eq_ignore_ascii_case(b"close") => self.close = true,
                text if text.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                text if text.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                text if is_protected(text) => {}
                _ => self.named.push(token),
            }
            if index >= CONNECTION_OPTIONS_MAX || self.named.len() > CONNECTION_OPTIONS_MAX {
                return Err(TooManyOptions);
            }
        }
        Ok(())
    }

    /// Whether `field` of `head` stays here: it is about this connection, or `Connection` names it.
    #[must_use]
    pub fn drops(&self, head: &[u8], field: &Field) -> bool {
        is_hop_by_hop(field.id)
            || self.named.iter().any(|named| {
                named.len == field.name.len && named.of(head).eq_ignore_ascii_case(field.name.of(head))
            })
    }
}

/// Fields that framing, routing or the configuration relies on: a client cannot make us drop them by naming them.
fn is_protected(name: &[u8]) -> bool {
    let forwarded = name.get(..b"x-forwarded-".len());
    forwarded.is_some_and(|start| start.eq_ignore_ascii_case(b"x-forwarded-"))
        || matches!(
            HeaderId::from_token(name),
            HeaderId::Host
                | HeaderId::ContentLength
                | HeaderId::TransferEncoding
                | HeaderId::Forwarded
                | HeaderId::XRealIp
                | HeaderId::Cookie
                | HeaderId::Authorization
        )
}

/// The elements of a comma-separated list, without blanks around them; empty ones are skipped (RFC 9110, section
/// 5.6.1.2).
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a [u8],
    at: u32,
}

impl<'a> Tokens<'a> {
    /// The elements of the list at `value` of `head`.
    #[must_use]
    pub fn new(head: &'a [u8], value: Span) -> Self {
        Self { rest: value.of(head), at: value.start }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        while !self.rest.is_empty() {
            let end = memchr::memchr(b',', self.rest).unwrap_or(self.rest.len());
            let element = self.rest.get(..end).unwrap_or_default();
            let start = self.at + (element.len() - element.trim_ascii_start().len()) as u32;
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            self.at += end as u32 + 1;
            let len = element.trim_ascii().len() as u32;
            if len > 0 {
                return Some(Span { start, len });
            }
        }
        None
    }
}
