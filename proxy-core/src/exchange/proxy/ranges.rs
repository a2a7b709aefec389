//! `proxy_force_ranges`: a part of an upstream's reply, cut out here.
//!
//! The upstream is asked for all of it, whatever its reply says about ranges; the client gets the one part that it wants.
//! More than one are answered with the whole reply, as nginx does where it cannot read the body twice.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use crate::config::Proxy;
use crate::conn::Link;
use crate::content::conditional::Validators;
use crate::content::range::{self, Wanted};
use crate::exchange::Exchange;
use crate::exchange::context::{Context, Generation};
use crate::exchange::reply_body::ReplyFraming;
use crate::http::date::parse as parse_date;
use crate::http::{HeaderId, ResponseHead, Status};

/// What a reply says about ranges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges {
    /// It says that they may be asked for.
    pub(crate) offered: bool,
    /// The part that is sent.
    pub(crate) part: Option<Range<u64>>,
    /// The whole body's length in bytes.
    pub(crate) length: u64,
    /// The client has it already: the reply is a 304.
    pub(crate) not_modified: bool,
}

impl Ranges {
    /// The field that says so.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match &self.part {
            Some(part) => {
                let last = part.end.saturating_sub(1);
                let line = format!("Content-Range: bytes {}-{last}/{}\r\n", part.start, self.length);
                out.extend_from_slice(line.as_bytes());
            }
            None if self.offered => out.extend_from_slice(b"Accept-Ranges: bytes\r\n"),
            None => {}
        }
    }
}

impl Exchange {
    #[expect(clippy::too_many_arguments, reason = "all that is known of the reply")]
    /// Settles which part of the reply goes to the client, and its framing. None: the client was answered with 416.
    pub(super) fn cut_out(
        &mut self,
        head: &ResponseHead,
        length: Option<u64>,
        framing: ReplyFraming,
        proxy: &Proxy,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) -> Option<ReplyFraming> {
        let parts_max = self.core(generation).and_then(|core| core.ranges_max);
        let kept = self.is_kept() && head.value(HeaderId::AcceptRanges).is_some();
        let applies = (proxy.force_ranges || kept)
            && self.facts.reply.status == Status::OK
            && self.filters.is_none()
            && parts_max != Some(0);
        let Some(length) = length.filter(|_| applies) else { return Some(framing) };
        self.proxy.ranges.offered = true;
        let etag = head.value(HeaderId::Etag).unwrap_or_default();
        let last_modified_s = head.value(HeaderId::LastModified).and_then(parse_date);
        let validators = Validators { last_modified_s, etag };
        let request = &self.facts.head;
        let fresh = request.value(HeaderId::IfRange).is_none_or(|text| validators.allows_range(text));
        let Some(field) = request.value(HeaderId::Range).filter(|_| fresh) else { return Some(framing) };
        match range::parse(field, length, parts_max) {
            Wanted::All => Some(framing),
            Wanted::Unsatisfiable => {
                if let Some(core) = self.core(generation) {
                    self.carried.lines = self.fields_of_ok(last_modified_s, core, generation, ctx);
                }
                let range = format!("Content-Range: bytes */{length}\r\n");
                self.carried.lines.extend_from_slice(range.as_bytes());
                self.fail_status(Status::RANGE_NOT_SATISFIABLE, link, ctx);
                None
            }
            Wanted::Parts(parts) => {
                let [part] = parts.as_slice() else { return Some(framing) };
                self.facts.reply.status = Status::PARTIAL_CONTENT;
                self.proxy.ranges.length = length;
                self.proxy.ranges.part = Some(part.clone());
                self.reply.cut_out(part.clone());
                Some(match framing {
                    ReplyFraming::Length(_) => ReplyFraming::Length(part.end - part.start),
                    ReplyFraming::None
                    | ReplyFraming::Chunked
                    | ReplyFraming::UntilClose
                    | ReplyFraming::Stream => framing,
                })
            }
        }
    }
}
