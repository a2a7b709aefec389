//! Requests: heads, framing and bodies, one behind the other, whole and in pieces.
//!
//! Control bytes: which limits, and two that say where to cut.

use std::iter;

use proxy_core::buf::Chunk;
use proxy_core::error::ClientError;
use proxy_core::h1::{HeadLimits, Parsed, encode, parse_request, refused_line};
use proxy_core::http::{BodyFraming, Field, RequestHead, RequestMeta, request_framing};
use proxy_core::route::normalise;

use super::message::{Reader, Side, check_fields, check_span};
use super::pieces::Pieces;

/// Larger than any input.
const NO_LIMIT: usize = 1 << 20;

/// See the module.
pub fn run(input: &[u8]) {
    let Some(([limits, how @ ..], bytes)) = input.split_first_chunk::<3>() else { return };
    let limits = limits_of(*limits);
    let line = refused_line(bytes);
    assert!(line.range().end <= bytes.len());
    assert!(!line.of(bytes).iter().any(|byte| matches!(byte, b'\r' | b'\n')));
    let whole = Reader::read(Requests::new(limits), iter::once(bytes));
    let cut = Reader::read(Requests::new(limits), Pieces::new(bytes, *how));
    assert_eq!(whole, cut, "cut by {how:?}");
}

fn limits_of(control: u8) -> HeadLimits {
    let bit = |n: u8| control & (1 << n) != 0;
    HeadLimits {
        line_bytes_max: if bit(0) { 40 } else { 8192 },
        field_bytes_max: if bit(1) { 40 } else { 8192 },
        total_bytes_max: if bit(2) { 160 } else { 4 * 8192 },
        fields_max: if bit(3) { 3 } else { 1000 },
        ignore_invalid_headers: !bit(4),
        underscores: bit(5),
    }
}

/// The way of a request.
pub(crate) struct Requests {
    limits: HeadLimits,
    /// As a connection does, the same memory for each head's fields.
    fields: Vec<Field>,
    /// Whether nothing is read behind a request that may switch the protocol.
    stop_at_upgrade: bool,
}

impl Requests {
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self { limits, fields: Vec::new(), stop_at_upgrade: false }
    }

    /// Whatever a server may take.
    pub(crate) fn unlimited() -> Self {
        Self::new(HeadLimits {
            line_bytes_max: NO_LIMIT,
            field_bytes_max: NO_LIMIT,
            total_bytes_max: NO_LIMIT,
            fields_max: NO_LIMIT,
            ignore_invalid_headers: false,
            underscores: true,
        })
    }

    /// Whatever an upstream may take, up to an upgrade.
    pub(crate) fn forwarded() -> Self {
        Self { stop_at_upgrade: true, ..Self::unlimited() }
    }
}

impl Side for Requests {
    type Head = RequestHead;
    type Error = ClientError;

    fn parse(&mut self, bytes: &Chunk) -> Result<Parsed<RequestHead>, ClientError> {
        parse_request(bytes, &mut self.fields, &self.limits)
    }

    fn decide(
        &mut self,
        head: &RequestHead,
        len: usize,
    ) -> Result<(Option<BodyFraming>, String), ClientError> {
        check_head(head, len, &self.limits);
        let meta = request_framing(head)?;
        check_meta(head, &meta);
        check_rewritten(head, &meta);
        let target = Chunk::from_vec(head.target.of(&head.bytes).to_vec());
        let path = normalise(&target, true).map(|normalised| normalised.path);
        let said = format!("{meta:?} {path:?}");
        self.fields = head.fields.clone();
        let goes_on = !(self.stop_at_upgrade && meta.upgrade);
        Ok((goes_on.then_some(meta.framing), said))
    }

    fn partial_bytes_max(&self) -> usize {
        self.limits.total_bytes_max
    }
}

fn check_head(head: &RequestHead, len: usize, limits: &HeadLimits) {
    let bytes = &head.bytes;
    assert_eq!(bytes.len(), len);
    assert!(len <= limits.total_bytes_max, "a head of {len} bytes");
    assert!(head.fields.len() <= limits.fields_max);
    for span in [head.line, head.target, head.method_text] {
        check_span(bytes, span);
        assert!(!span.is_empty() && (span.len as usize) < limits.line_bytes_max);
        assert!(head.line.start <= span.start && span.range().end <= head.line.range().end);
    }
    check_fields(bytes, &head.fields);
    for field in &head.fields {
        assert!(field.value.range().end - field.name.range().start < limits.field_bytes_max);
    }
    let target = head.target.of(bytes);
    assert!(!target.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f | b'#')));
}

fn check_meta(head: &RequestHead, meta: &RequestMeta) {
    let spans = [Some(meta.target.path), meta.target.query, meta.target.authority];
    spans.into_iter().flatten().chain(meta.connection.named.iter().copied()).for_each(|span| {
        check_span(&head.bytes, span);
    });
    assert!(meta.framing != BodyFraming::UntilClose, "a request ends before its connection");
    if let Some(host) = &meta.host {
        check_span(&head.bytes, host.text);
        assert!(!host.name.is_empty() && !host.name.iter().any(u8::is_ascii_uppercase));
        assert!(!host.name.iter().any(|byte| matches!(byte, b'/' | b'@' | b',' | b'?' | 0..=b' ')));
    }
}

/// What is forwarded is what was understood: the head written anew reads as the head that was read.
fn check_rewritten(head: &RequestHead, meta: &RequestMeta) {
    let of = |span: proxy_core::http::Span| span.of(&head.bytes);
    let mut out = Vec::new();
    encode::request_line(&mut out, of(head.method_text), of(head.target), head.version);
    for field in &head.fields {
        let (name, value) = head.pair(field);
        encode::field(&mut out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    let mut side = Requests::unlimited();
    let Ok(Parsed::Complete { head: again, len }) = side.parse(&Chunk::from_vec(out.clone())) else {
        panic!("{:?} is no request any more", out.escape_ascii().to_string());
    };
    assert_eq!(len, out.len());
    let pairs = |head: &RequestHead| -> Vec<(Vec<u8>, Vec<u8>)> {
        let pairs = head.fields.iter().map(|field| head.pair(field));
        pairs.map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    };
    assert_eq!(pairs(&again), pairs(head));
    let once_more = request_framing(&again).expect("it was decided before");
    let facts = |meta: &RequestMeta| {
        let host = meta.host.clone().map(|host| (host.name, host.port));
        (meta.framing, meta.keep_alive, meta.expect_continue, meta.upgrade, host)
    };
    assert_eq!(facts(&once_more), facts(meta));
    assert_eq!(once_more.target.path.of(&again.bytes), of(meta.target.path));
}
