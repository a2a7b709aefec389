//! Where a message ends, and what becomes of its connection: the one decision for both directions (RFC 9112, sections
//! 6 and 9).
//!
//! Whatever two parties could read differently is an error here, for a client (400, or 501 for a coding that we do not
//! know) as well as for an upstream (502). Nothing else in the proxy looks at Content-Length or Transfer-Encoding to
//! find the end of a body.

use super::hop::Tokens;
use super::{
    ConnectionOptions, Field, HeaderId, Host, Method, RequestHead, ResponseHead, Span, Status, Target,
    TargetForm, Version,
};
use crate::error::{ClientError, UpstreamError};

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is none.
    #[default]
    None,
    /// So many bytes; may be 0.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// It ends with the connection; only responses do.
    UntilClose,
}

impl BodyFraming {
    /// The body's length in bytes, where the head tells it.
    #[must_use]
    pub const fn length(self) -> Option<u64> {
        match self {
            Self::None => Some(0),
            Self::Length(bytes) => Some(bytes),
            Self::Chunked | Self::UntilClose => None,
        }
    }
}

/// What a request's head means for its connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestMeta {
    /// Where the body ends.
    pub framing: BodyFraming,
    /// Whether the client lets the connection serve further requests.
    pub keep_alive: bool,
    /// Whether the client says that it waits for a 100 before it sends the body.
    pub expect_continue: bool,
    /// Whether the client asks to switch the protocol to one that may be forwarded: never h2c.
    pub upgrade: bool,
    /// The host: the target's before the Host field's. Only HTTP/1.0 may have none.
    pub host: Option<Host>,
    /// The target's parts.
    pub target: Target,
    /// What `Connection` lists.
    pub connection: ConnectionOptions,
}

/// What a response's head means for its connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseMeta {
    /// Where the body ends.
    pub framing: BodyFraming,
    /// Content-Length as it was sent, also on replies that have no body (HEAD, 304).
    pub content_length: Option<u64>,
    /// Whether the connection may serve further requests once this reply is read.
    pub keep_alive: bool,
    /// A 101: the connection has switched. Whether anybody had asked for it is the caller's question.
    pub upgraded: bool,
    /// What `Connection` lists.
    pub connection: ConnectionOptions,
}

/// Decides about a request.
///
/// # Errors
/// For every ambiguity in framing or host, and for expectations that we cannot meet.
pub fn request_framing(head: &RequestHead) -> Result<RequestMeta, ClientError> {
    let bytes = head.bytes.as_slice();
    let mut seen = Seen::default();
    for field in &head.fields {
        seen.add(bytes, field).map_err(Flaw::of_client)?;
    }
    let framing = seen.body(head.version).map_err(Flaw::of_client)?.unwrap_or(BodyFraming::None);
    if seen.repeats {
        return Err(ClientError::DuplicateHeader);
    }
    if seen.expects_other && head.version >= Version::Http11 {
        return Err(ClientError::ExpectationFailed);
    }
    let target = Target::split(bytes, head.target);
    Ok(RequestMeta {
        framing,
        keep_alive: seen.keep_alive(head.version),
        expect_continue: seen.expects_continue && head.version >= Version::Http11,
        upgrade: seen.upgrade && !seen.h2c && seen.connection.upgrade && head.version >= Version::Http11,
        host: host(head, &target, seen.host)?,
        target,
        connection: seen.connection,
    })
}

/// The target's authority before the Host field (RFC 9112, section 3.2.2); both have to be valid.
fn host(head: &RequestHead, target: &Target, field: Option<Span>) -> Result<Option<Host>, ClientError> {
    let named = match field {
        Some(value) => Some(Host::parse(&head.bytes, value).ok_or(ClientError::InvalidHost)?),
        None if head.version >= Version::Http11 => return Err(ClientError::MissingHost),
        None => None,
    };
    match (target.form, target.authority) {
        (TargetForm::Absolute, Some(authority)) => {
            Host::parse(&head.bytes, authority).map(Some).ok_or(ClientError::InvalidUri)
        }
        _ => Ok(named),
    }
}

/// Decides about the reply to a request with `method`.
///
/// # Errors
/// [`UpstreamError::InvalidFraming`] for every ambiguity.
pub fn response_framing(head: &ResponseHead, method: Method) -> Result<ResponseMeta, UpstreamError> {
    let bytes = head.bytes.as_slice();
    let mut seen = Seen::default();
    for field in &head.fields {
        seen.add(bytes, field).map_err(|_| UpstreamError::InvalidFraming)?;
    }
    let announced = seen.body(head.version).map_err(|_| UpstreamError::InvalidFraming)?;
    let status = head.status.unwrap_or_default();
    let framing = if method == Method::Head || status.is_bodiless() {
        BodyFraming::None
    } else {
        announced.unwrap_or(BodyFraming::UntilClose)
    };
    let upgraded = status == Status::SWITCHING_PROTOCOLS;
    Ok(ResponseMeta {
        framing,
        content_length: seen.length,
        keep_alive: seen.keep_alive(head.version) && framing != BodyFraming::UntilClose && !upgraded,
        upgraded,
        connection: seen.connection,
    })
}

/// What is wrong with some fields, whoever sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Length,
    Both,
    Coding,
    UnknownCoding,
    Hosts,
    Options,
}

impl Flaw {
    const fn of_client(self) -> ClientError {
        match self {
            Self::Length => ClientError::InvalidContentLength,
            Self::Both => ClientError::LengthAndCoding,
            Self::Coding => ClientError::InvalidTransferEncoding,
            Self::UnknownCoding => ClientError::UnknownTransferEncoding,
            Self::Hosts => ClientError::DuplicateHost,
            Self::Options => ClientError::InvalidHeader,
        }
    }
}

/// The fields that matter, collected in one pass.
#[derive(Default)]
struct Seen {
    length: Option<u64>,
    chunked: bool,
    host: Option<Span>,
    connection: ConnectionOptions,
    upgrade: bool,
    h2c: bool,
    expects_continue: bool,
    expects_other: bool,
    /// Those of nginx's single fields that came, a bit for each.
    single: u8,
    /// One of them came twice.
    repeats: bool,
}

impl Seen {
    #[expect(clippy::wildcard_enum_match_arm, reason = "a dozen names of sixty matter here")]
    fn add(&mut self, head: &[u8], field: &Field) -> Result<(), Flaw> {
        let value = || field.value.of(head);
        match field.id {
            HeaderId::ContentLength => {
                let length = parse_length(value()).ok_or(Flaw::Length)?;
                if self.length.replace(length).is_some() {
                    return Err(Flaw::Length);
                }
            }
            HeaderId::TransferEncoding => {
                check_coding(head, field.value)?;
                if core::mem::replace(&mut self.chunked, true) {
                    return Err(Flaw::Coding);
                }
            }
            HeaderId::Host => {
                return self.host.replace(field.value).map_or(Ok(()), |_| Err(Flaw::Hosts));
            }
            HeaderId::Connection => self.connection.add(head, field.value).map_err(|_| Flaw::Options)?,
            HeaderId::Upgrade => {
                self.upgrade |= !field.value.is_empty();
                self.h2c |=
                    Tokens::new(head, field.value).any(|token| token.of(head).eq_ignore_ascii_case(b"h2c"));
            }
            HeaderId::Expect => {
                self.once(1);
                let continues = value().eq_ignore_ascii_case(b"100-continue");
                self.expects_continue |= continues;
                self.expects_other |= !continues;
            }
            HeaderId::Authorization => self.once(1 << 1),
            HeaderId::IfModifiedSince => self.once(1 << 2),
            HeaderId::IfUnmodifiedSince => self.once(1 << 3),
            HeaderId::IfMatch => self.once(1 << 4),
            HeaderId::IfNoneMatch => self.once(1 << 5),
            HeaderId::IfRange => self.once(1 << 6),
            HeaderId::ContentRange => self.once(1 << 7),
            _ => {}
        }
        Ok(())
    }

    /// Notes a field of which nginx takes one; `bit` stands for its name.
    const fn once(&mut self, bit: u8) {
        self.repeats |= self.single & bit != 0;
        self.single |= bit;
    }

    fn body(&self, version: Version) -> Result<Option<BodyFraming>, Flaw> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Flaw::Both),
            // RFC 9112, section 6.1: such a message is faulty, for who sent it could not know what it means.
            (None, true) if version < Version::Http11 => Err(Flaw::Coding),
            (None, true) => Ok(Some(BodyFraming::Chunked)),
            (length, false) => Ok(length.map(BodyFraming::Length)),
        }
    }

    const fn keep_alive(&self, version: Version) -> bool {
        match version {
            Version::Http10 => self.connection.keep_alive && !self.connection.close,
            Version::Http11 | Version::Http2 => !self.connection.close,
        }
    }
}

/// Digits and nothing else, below 2^63 as in nginx.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let length = value.iter().try_fold(0u64, |length, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        length.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    i64::try_from(length).is_ok().then_some(length)
}

/// Exactly one `chunked`; anything else is refused, and a coding that we might have known has its own error.
fn check_coding(head: &[u8], value: Span) -> Result<(), Flaw> {
    let text = value.of(head);
    if text.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let is_token = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let known = |name: &[u8]| name.eq_ignore_ascii_case(b"chunked") || name.eq_ignore_ascii_case(b"identity");
    let mut names = Tokens::new(head, value).map(|token| token.of(head));
    let well_formed = names.clone().all(is_token);
    if well_formed && names.any(|name| !known(name)) { Err(Flaw::UnknownCoding) } else { Err(Flaw::Coding) }
}
