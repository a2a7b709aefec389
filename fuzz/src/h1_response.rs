//! Responses: heads, framing and bodies, interim replies included, whole and in pieces.
//!
//! Control bytes: limits and the request's method, and two that say where to cut.

use std::iter;

use proxy_core::buf::Chunk;
use proxy_core::error::UpstreamError;
use proxy_core::h1::{Parsed, ResponseLimits, encode, parse_response};
use proxy_core::http::{BodyFraming, Field, Method, ResponseHead, ResponseMeta, response_framing};

use super::message::{Reader, Side, check_fields, check_span};
use super::pieces::Pieces;

/// Larger than any input.
const NO_LIMIT: usize = 1 << 20;

/// See the module.
pub fn run(input: &[u8]) {
    let Some(([control, how @ ..], bytes)) = input.split_first_chunk::<3>() else { return };
    let bit = |n: u8| control & (1 << n) != 0;
    let limits = ResponseLimits {
        total_bytes_max: if bit(0) { 100 } else { 4096 },
        fields_max: if bit(1) { 3 } else { 1000 },
    };
    let method = if bit(2) { Method::Head } else { Method::Get };
    let whole = Reader::read(Responses::new(limits, method), iter::once(bytes));
    let cut = Reader::read(Responses::new(limits, method), Pieces::new(bytes, *how));
    assert_eq!(whole, cut, "cut by {how:?}");
}

/// The way of a response.
pub(crate) struct Responses {
    limits: ResponseLimits,
    method: Method,
    fields: Vec<Field>,
}

impl Responses {
    pub(crate) fn new(limits: ResponseLimits, method: Method) -> Self {
        Self { limits, method, fields: Vec::new() }
    }

    /// Whatever a client may take.
    pub(crate) fn unlimited(method: Method) -> Self {
        Self::new(ResponseLimits { total_bytes_max: NO_LIMIT, fields_max: 1000 }, method)
    }
}

impl Side for Responses {
    type Head = ResponseHead;
    type Error = UpstreamError;

    fn parse(&mut self, bytes: &Chunk) -> Result<Parsed<ResponseHead>, UpstreamError> {
        parse_response(bytes, &mut self.fields, &self.limits)
    }

    fn decide(
        &mut self,
        head: &ResponseHead,
        len: usize,
    ) -> Result<(Option<BodyFraming>, String), UpstreamError> {
        check_head(head, len, &self.limits);
        let meta = response_framing(head, self.method)?;
        check_meta(head, &meta, self.method);
        check_rewritten(head, &meta, self.method);
        self.fields = head.fields.clone();
        let framing = (!meta.upgraded).then_some(meta.framing);
        Ok((framing, format!("{meta:?}")))
    }

    fn partial_bytes_max(&self) -> usize {
        self.limits.total_bytes_max
    }
}

fn check_head(head: &ResponseHead, len: usize, limits: &ResponseLimits) {
    assert_eq!(head.bytes.len(), len);
    assert!(len <= limits.total_bytes_max && head.fields.len() <= limits.fields_max);
    let status = head.status.expect("a parsed head has one");
    assert!((100..=599).contains(&status.0));
    check_span(&head.bytes, head.reason);
    check_fields(&head.bytes, &head.fields);
}

fn check_meta(head: &ResponseHead, meta: &ResponseMeta, method: Method) {
    meta.connection.named.iter().for_each(|span| check_span(&head.bytes, *span));
    let status = head.status.expect("a parsed head has one");
    if method == Method::Head || status.is_bodiless() {
        assert_eq!(meta.framing, BodyFraming::None);
    }
    assert!(!(meta.keep_alive && meta.framing == BodyFraming::UntilClose));
    if let BodyFraming::Length(bytes) = meta.framing {
        assert_eq!(meta.content_length, Some(bytes));
    }
}

/// What is forwarded is what was understood: the head written anew reads as the head that was read.
fn check_rewritten(head: &ResponseHead, meta: &ResponseMeta, method: Method) {
    let mut out = Vec::new();
    encode::status_line(&mut out, head.status.expect("a parsed head has one"), head.reason.of(&head.bytes));
    for field in &head.fields {
        let (name, value) = head.pair(field);
        encode::field(&mut out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    let Ok(Parsed::Complete { head: again, len }) =
        Responses::unlimited(method).parse(&Chunk::from_vec(out.clone()))
    else {
        panic!("{:?} is no response any more", out.escape_ascii().to_string());
    };
    assert_eq!((len, again.status), (out.len(), head.status));
    assert_eq!(again.reason.of(&again.bytes), head.reason.of(&head.bytes));
    let pairs = |head: &ResponseHead| -> Vec<(Vec<u8>, Vec<u8>)> {
        let pairs = head.fields.iter().map(|field| head.pair(field));
        pairs.map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    };
    assert_eq!(pairs(&again), pairs(head));
    let once_more = response_framing(&again, method).expect("it was decided before");
    let facts = |meta: &ResponseMeta| (meta.framing, meta.content_length, meta.upgraded);
    assert_eq!(facts(&once_more), facts(meta));
}
