//! From decoded fields to a request's head (RFC 9113, section 8.3): the text that HTTP/1 would have sent, with the
//! ranges that its parser would have found, so that everything behind it sees one kind of head.
//!
//! As in nginx, a head that breaks a rule is answered with 400 on its stream; the connection goes on. What is refused:
//! upper-case names, CR, LF, NUL and edge blanks in values, fields about a connection, pseudo fields that are late,
//! repeated, unknown or missing, `:path` that is no path, and `:authority` and Host that differ.

use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::table::{Line, NameClass};
use crate::buf::Chunk;
use crate::error::ClientError;
use crate::h1::HeadLimits;
use crate::http::{Field, HeaderId, Method, RequestHead, Span, Version};

/// What the head of a request is made in; its memory is used again and again.
#[derive(Debug, Default)]
pub struct HeadBuilder {
    text: Vec<u8>,
    fields: Vec<Field>,
    pseudo: Vec<u8>,
    method: Option<Span>,
    scheme: Option<Span>,
    path: Option<Span>,
    authority: Option<Span>,
    protocol: Option<Span>,
    cookies: Vec<u8>,
    line: Span,
    method_text: Span,
    target: Span,
    /// The request line is written: no more pseudo fields.
    begun: bool,
    error: Option<ClientError>,
    bytes_left: usize,
}

/// A head, or as much of it as its error has left.
#[derive(Debug)]
pub struct Built {
    /// The head.
    pub head: RequestHead,
    /// Extended CONNECT (RFC 8441): an upgrade as HTTP/1 would have asked for it.
    pub extended: bool,
    /// What is wrong with it.
    pub error: Option<ClientError>,
}

impl HeadBuilder {
    /// Begins a head. `fields` is a vector to use for it.
    pub fn begin(&mut self, limits: &HeadLimits, fields: Vec<Field>) {
        let Self { mut text, mut pseudo, mut cookies, .. } = core::mem::take(self);
        text.clear();
        pseudo.clear();
        cookies.clear();
        *self = Self { text, pseudo, cookies, fields, bytes_left: limits.total_bytes_max, ..Self::default() };
        self.fields.clear();
    }

    /// Adds a field.
    pub fn add(&mut self, line: &Line<'_>, limits: &HeadLimits) {
        if self.error.is_none()
            && let Err(error) = self.try_add(line, limits)
        {
            self.error = Some(error);
        }
    }

    fn try_add(&mut self, line: &Line<'_>, limits: &HeadLimits) -> Result<(), ClientError> {
        let bytes = line.name.len() + line.value.len();
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(ClientError::HeaderTooLarge)?;
        if bytes > limits.field_bytes_max {
            return Err(if line.name == b":path" {
                ClientError::UriTooLong
            } else {
                ClientError::HeaderTooLarge
            });
        }
        if !line.value_is_clean {
            return Err(ClientError::InvalidHeader);
        }
        match line.class {
            NameClass::Pseudo => return self.add_pseudo(line),
            NameClass::Bad => return Err(ClientError::InvalidHeader),
            NameClass::Odd if limits.ignore_invalid_headers => return Ok(()),
            NameClass::Underscored if limits.ignore_invalid_headers && !limits.underscores => return Ok(()),
            NameClass::Plain | NameClass::Odd | NameClass::Underscored => {}
        }
        self.begin_fields()?;
        self.add_field(line, limits)
    }

    fn add_pseudo(&mut self, line: &Line<'_>) -> Result<(), ClientError> {
        let value = Span { start: self.pseudo.len() as u32, len: line.value.len() as u32 };
        self.pseudo.extend_from_slice(line.value);
        let place = match line.name {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":path" => &mut self.path,
            b":authority" => &mut self.authority,
            b":protocol" => &mut self.protocol,
            _ => return Err(ClientError::InvalidPseudoHeader),
        };
        if place.replace(value).is_some() || self.begun {
            return Err(ClientError::InvalidPseudoHeader);
        }
        Ok(())
    }

    /// All pseudo fields are there: writes the request line, and the authority as Host.
    fn begin_fields(&mut self) -> Result<(), ClientError> {
        if core::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let (Some(method), Some(path), Some(scheme)) = (self.method, self.path, self.scheme) else {
            return Err(match self.method.map(|method| method.of(&self.pseudo)) {
                // The old CONNECT has neither path nor scheme.
                Some(b"CONNECT") => ClientError::MethodNotAllowed,
                _ => ClientError::InvalidPseudoHeader,
            });
        };
        self.method_text = append(&mut self.text, method.of(&self.pseudo));
        self.text.push(b' ');
        self.target = append(&mut self.text, path.of(&self.pseudo));
        self.text.extend_from_slice(b" HTTP/2.0");
        self.line = Span { start: 0, len: self.text.len() as u32 };
        self.text.extend_from_slice(b"\r\n");
        self.check(method.of(&self.pseudo), path.of(&self.pseudo), scheme.of(&self.pseudo))?;
        if let Some(authority) = self.authority {
            let Self { text, fields, pseudo, .. } = self;
            write_field(text, fields, HeaderId::Host, b"host", authority.of(pseudo));
        }
        Ok(())
    }

    fn check(&self, method: &[u8], path: &[u8], scheme: &[u8]) -> Result<(), ClientError> {
        let token = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-');
        if method.is_empty() || !method.iter().all(token) {
            return Err(ClientError::InvalidMethod);
        }
        let scheme_byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if !scheme.first().is_some_and(u8::is_ascii_alphabetic) || !scheme.iter().all(scheme_byte) {
            return Err(ClientError::InvalidPseudoHeader);
        }
        match (Method::from_bytes(method), self.protocol) {
            (Method::Connect, Some(protocol))
                if protocol.of(&self.pseudo).eq_ignore_ascii_case(b"websocket") => {}
            (Method::Connect | Method::Trace, _) => return Err(ClientError::MethodNotAllowed),
            (_, Some(_)) => return Err(ClientError::InvalidPseudoHeader),
            (_, None) => {}
        }
        let target_byte = |byte: &u8| *byte > b' ' && !matches!(byte, 0x7f | b'#');
        let has_form = path.first() == Some(&b'/') || (path == b"*" && method == b"OPTIONS");
        if has_form && path.iter().all(target_byte) { Ok(()) } else { Err(ClientError::InvalidUri) }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "eight names of sixty matter here")]
    fn add_field(&mut self, line: &Line<'_>, limits: &HeadLimits) -> Result<(), ClientError> {
        match line.id {
            HeaderId::Connection
            | HeaderId::KeepAlive
            | HeaderId::ProxyConnection
            | HeaderId::TransferEncoding
            | HeaderId::Upgrade => return Err(ClientError::InvalidHeader),
            HeaderId::Te if !line.value.eq_ignore_ascii_case(b"trailers") => {
                return Err(ClientError::InvalidHeader);
            }
            HeaderId::Cookie => {
                // RFC 9113, section 8.2.3: whoever is behind us gets one field.
                if !self.cookies.is_empty() {
                    self.cookies.extend_from_slice(b"; ");
                }
                self.cookies.extend_from_slice(line.value);
                return Ok(());
            }
            HeaderId::Host => {
                if let Some(authority) = self.authority {
                    let same = authority.of(&self.pseudo).eq_ignore_ascii_case(line.value);
                    return if same { Ok(()) } else { Err(ClientError::DuplicateHost) };
                }
            }
            _ => {}
        }
        if self.fields.len() >= limits.fields_max {
            return Err(ClientError::TooManyHeaders);
        }
        write_field(&mut self.text, &mut self.fields, line.id, line.name, line.value);
        Ok(())
    }

    /// Ends the head. `key` is what the WebSocket handshake to an upstream shall have as its nonce.
    pub fn finish(&mut self, key: impl FnOnce() -> u128) -> Built {
        if self.error.is_none()
            && let Err(error) = self.begin_fields()
        {
            self.error = Some(error);
        }
        let Self { text, fields, cookies, .. } = self;
        if !cookies.is_empty() {
            write_field(text, fields, HeaderId::Cookie, b"cookie", cookies);
        }
        let extended = self.error.is_none() && self.protocol.is_some();
        if extended {
            write_field(text, fields, HeaderId::Connection, b"connection", b"upgrade");
            write_field(text, fields, HeaderId::Upgrade, b"upgrade", b"websocket");
            let nonce = BASE64.encode(key().to_be_bytes());
            write_field(text, fields, HeaderId::Other, b"sec-websocket-key", nonce.as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        let head = RequestHead {
            bytes: Chunk::empty(),
            method: Some(Method::from_bytes(self.method_text.of(&self.text))),
            method_text: self.method_text,
            line: self.line,
            target: self.target,
            version: Version::Http2,
            fields: core::mem::take(&mut self.fields),
        };
        Built { head, extended, error: self.error }
    }

    /// The text that the head's ranges point into; the caller owns where it is kept.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

fn append(text: &mut Vec<u8>, part: &[u8]) -> Span {
    let span = Span { start: text.len() as u32, len: part.len() as u32 };
    text.extend_from_slice(part);
    span
}

fn write_field(text: &mut Vec<u8>, fields: &mut Vec<Field>, id: HeaderId, name: &[u8], value: &[u8]) {
    text.reserve(name.len() + value.len() + ": \r\n".len());
    let name = append(text, name);
    text.extend_from_slice(b": ");
    let value = append(text, value);
    text.extend_from_slice(b"\r\n");
    fields.push(Field { id, name, value });
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        line_bytes_max: 100,
        field_bytes_max: 100,
        total_bytes_max: 300,
        fields_max: 5,
        ignore_invalid_headers: true,
        underscores: false,
    };

    fn built(fields: &[(&str, &str)]) -> (Option<ClientError>, String) {
        let mut builder = HeadBuilder::default();
        builder.begin(&LIMITS, Vec::new());
        for (name, value) in fields {
            builder.add(&Line::judge(name.as_bytes(), value.as_bytes()), &LIMITS);
        }
        let built = builder.finish(|| 0);
        for field in &built.head.fields {
            assert!(built.error.is_some() || field.name.range().end <= builder.text().len());
        }
        (built.error, String::from_utf8_lossy(builder.text()).into())
    }

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":path", "/a?b"), (":scheme", "https"), (":authority", "h:1")];

    fn with<'a>(more: &[(&'a str, &'a str)]) -> (Option<ClientError>, String) {
        built(&[&GET[..], more].concat())
    }

    #[test]
    fn a_head_is_what_http1_would_have_sent() {
        let (error, text) =
            with(&[("cookie", "a=1"), ("x-y", "z"), ("cookie", "b=2"), ("te", "trailers"), ("host", "H:1")]);
        assert_eq!(error, None);
        assert_eq!(
            text,
            "GET /a?b HTTP/2.0\r\nhost: h:1\r\nx-y: z\r\nte: trailers\r\ncookie: a=1; b=2\r\n\r\n"
        );
        assert_eq!(with(&[("x_y", "1"), ("x!", "2")]).1, "GET /a?b HTTP/2.0\r\nhost: h:1\r\n\r\n");
    }

    #[test]
    fn extended_connect_is_an_upgrade() {
        let (error, text) = built(&[
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/chat"),
            (":authority", "h"),
        ]);
        assert_eq!(error, None);
        assert_eq!(
            text,
            "CONNECT /chat HTTP/2.0\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: \
             AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        use ClientError as E;
        let long = "x".repeat(101);
        for (fields, error) in [
            (&[("Host", "h")][..], E::InvalidHeader),
            (&[("connection", "close")], E::InvalidHeader),
            (&[("keep-alive", "1")], E::InvalidHeader),
            (&[("proxy-connection", "x")], E::InvalidHeader),
            (&[("transfer-encoding", "chunked")], E::InvalidHeader),
            (&[("upgrade", "h2c")], E::InvalidHeader),
            (&[("te", "gzip")], E::InvalidHeader),
            (&[("x", "a\r\nb: c")], E::InvalidHeader),
            (&[("x", " a")], E::InvalidHeader),
            (&[("x", "\0")], E::InvalidHeader),
            (&[("", "a")], E::InvalidHeader),
            (&[("host", "other")], E::DuplicateHost),
            (&[("x", "1"), (":scheme", "http")], E::InvalidPseudoHeader),
            (&[(":method", "GET")], E::InvalidPseudoHeader),
            (&[(":status", "200")], E::InvalidPseudoHeader),
            (&[(":protocol", "websocket")], E::InvalidPseudoHeader),
            (&[("x", &long)], E::HeaderTooLarge),
            (&[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")], E::TooManyHeaders),
        ] {
            assert_eq!(with(fields).0, Some(error), "{fields:?}");
        }
        for (place, value, error) in [
            (0, "get", E::InvalidMethod),
            (0, "TRACE", E::MethodNotAllowed),
            (0, "CONNECT", E::MethodNotAllowed),
            (1, "", E::InvalidUri),
            (1, "a", E::InvalidUri),
            (1, "*", E::InvalidUri),
            (1, "/a b", E::InvalidUri),
            (1, "/a#b", E::InvalidUri),
            (1, &long, E::UriTooLong),
            (2, "", E::InvalidPseudoHeader),
            (2, "ht tp", E::InvalidPseudoHeader),
        ] {
            let mut fields = GET;
            fields[place].1 = value;
            assert_eq!(built(&fields).0, Some(error), "{} {value}", fields[place].0);
        }
        for missing in 0..3 {
            let mut fields = GET.to_vec();
            fields.remove(missing);
            assert_eq!(built(&fields).0, Some(E::InvalidPseudoHeader));
        }
        assert_eq!(built(&[]).0, Some(E::InvalidPseudoHeader));
        assert_eq!(built(&[(":method", "CONNECT"), (":authority", "h:1")]).0, Some(E::MethodNotAllowed));
    }
}
