//! Which filters a reply goes through, and what becomes of its head: settled once, before the head is written.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::FilterRun;
use super::gunzip::Gunzip;
use super::negotiate::ReplyFields;
use super::ssi::Ssi;
use super::sub::Sub;
use crate::config::{Addition, Filters};
use crate::exchange::Exchange;
use crate::exchange::context::{Context, Generation};
use crate::exchange::reply_body::ReplyFraming;
use crate::exchange::respond::LocalReply;
use crate::h1::encode::Lines;
use crate::http::{Field, HeaderId, Method, ResponseHead, Status, Version};

/// What filters do to a reply's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The body's length is not known any more: no Content-Length, no ranges.
    pub(crate) length_lost: bool,
    /// `Vary: Accept-Encoding` is sent.
    pub(crate) vary: bool,
    pub(crate) encoding: Encoding,
    pub(crate) etag: Etag,
    /// Last-Modified is dropped.
    pub(crate) forget_last_modified: bool,
}

/// What becomes of Content-Encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    #[default]
    Keep,
    /// The body is unpacked here.
    Drop,
    /// The body is packed here.
    Gzip,
}

/// What becomes of the ETag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Etag {
    #[default]
    Keep,
    /// It only promises the same meaning, not the same bytes (RFC 9110, section 8.8.1).
    Weaken,
    Drop,
}

/// What becomes of one field.
pub(crate) enum Treat {
    Pass,
    Drop,
    Replace(Vec<u8>),
}

/// A reply, as far as filters ask about it.
pub(crate) struct Outlook<'a> {
    pub(crate) status: Status,
    pub(crate) content_type: &'a [u8],
    pub(crate) content_encoding: Option<&'a [u8]>,
    /// In bytes, where it is known.
    pub(crate) length: Option<u64>,
    /// Parts of the body are passed on as they come: nobody gathers them.
    pub(crate) unbuffered: bool,
    /// When it expires by the configuration's word, in seconds since the Unix epoch.
    pub(crate) expires_s: Option<i64>,
    pub(crate) fields: &'a dyn ReplyFields,
}

impl Plan {
    /// Whether the head is what it would be without filters.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// What becomes of a field that the source sent.
    pub(crate) fn treat(&self, id: HeaderId, value: &[u8]) -> Treat {
        let dropped = (id == HeaderId::AcceptRanges && self.length_lost)
            || (id == HeaderId::LastModified && self.forget_last_modified)
            || (id == HeaderId::ContentEncoding && self.encoding == Encoding::Drop);
        if dropped {
            return Treat::Drop;
        }
        match self.etag {
            _ if id != HeaderId::Etag => Treat::Pass,
            Etag::Keep => Treat::Pass,
            Etag::Drop => Treat::Drop,
            Etag::Weaken => weakened(value),
        }
    }

    /// Whether a field that the source sent is not passed on as it is; what stands in its place is written.
    pub(crate) fn takes(&self, field: &Field, head: &[u8], lines: &mut Lines<'_>, out: &mut Vec<u8>) -> bool {
        match self.treat(field.id, field.value.of(head)) {
            Treat::Pass => return false,
            Treat::Drop => {}
            Treat::Replace(value) => {
                lines.flush(out);
                crate::h1::encode::field(out, field.name.of(head), &value);
            }
        }
        true
    }

    fn lose_length(&mut self) {
        self.length_lost = true;
        if self.etag == Etag::Keep {
            self.etag = Etag::Weaken;
        }
    }
}

/// A tag that is no quoted string cannot be made a weak one: it is dropped, as nginx does.
fn weakened(value: &[u8]) -> Treat {
    if value.starts_with(b"W/") {
        Treat::Pass
    } else if value.starts_with(b"\"") {
        Treat::Replace([b"W/", value].concat())
    } else {
        Treat::Drop
    }
}

impl Exchange {
    /// Decides which filters the reply goes through; the head is about to be written.
    pub(crate) fn plan_filters(&mut self, outlook: &Outlook<'_>, generation: &Generation, ctx: &mut Context) {
        self.plan = Plan::default();
        self.drop_filters(ctx);
        let Some(filters) = self.location(generation).and_then(|location| location.filters.as_deref()) else {
            return;
        };
        if outlook.status.is_bodiless() {
            return;
        }
        let mut run = FilterRun { flushes: outlook.flushes(), ..FilterRun::default() };
        let mut filtered = false;
        let tested = self.plan_gunzip(filters, outlook, &mut run, ctx);
        filtered |= run.gunzip.is_some();
        filtered |= self.plan_sub(filters, outlook, &mut run, generation, ctx);
        filtered |= self.plan_addition(filters, outlook, &mut run);
        filtered |= self.plan_ssi(filters, outlook, &mut run);
        filtered |= self.plan_gzip(filters, outlook, tested, &mut run, ctx);
        if filtered && self.method != Method::Head && !self.is_head_only() {
            self.filters = Some(Box::new(run));
        } else {
            run.close(&mut ctx.deflaters);
        }
    }

    /// Whether the client was found to take gzip, if that was asked already.
    fn plan_gunzip(
        &mut self,
        filters: &Filters,
        outlook: &Outlook<'_>,
        run: &mut FilterRun,
        ctx: &Context,
    ) -> Option<bool> {
        let packed = outlook.content_encoding.is_some_and(|value| value.eq_ignore_ascii_case(b"gzip"));
        if !filters.gunzip || !packed {
            return None;
        }
        self.plan.vary = filters.negotiation.vary;
        let takes = !self.is_sub() && self.takes_gzip(filters, outlook, ctx);
        if !takes {
            self.plan.lose_length();
            self.plan.encoding = Encoding::Drop;
            run.gunzip = Some(Gunzip::new());
        }
        Some(takes)
    }

    fn plan_sub(
        &mut self,
        filters: &Filters,
        outlook: &Outlook<'_>,
        run: &mut FilterRun,
        generation: &Generation,
        ctx: &Context,
    ) -> bool {
        let Some(sub) = filters.sub.as_ref().filter(|sub| sub.types.has(outlook.content_type)) else {
            return false;
        };
        if outlook.length == Some(0) && !self.plan.length_lost {
            return false;
        }
        let text = |template| self.evaluate(template, generation, ctx);
        run.sub = Sub::new(sub.pairs.iter().map(|(what, with)| (text(what), text(with))), sub.once);
        if run.sub.is_none() {
            return false;
        }
        self.plan.lose_length();
        if !sub.last_modified {
            self.plan.forget_last_modified = true;
            self.plan.etag = Etag::Drop;
        }
        true
    }

    fn plan_addition(&mut self, filters: &Filters, outlook: &Outlook<'_>, run: &mut FilterRun) -> bool {
        let suits = |addition: &&Arc<Addition>| addition.types.has(outlook.content_type);
        let Some(addition) = filters.addition.as_ref().filter(suits) else { return false };
        if outlook.status != Status::OK || self.is_sub() {
            return false;
        }
        self.plan.lose_length();
        run.addition = Some(Arc::clone(addition));
        true
    }

    fn plan_ssi(&mut self, filters: &Filters, outlook: &Outlook<'_>, run: &mut FilterRun) -> bool {
        let Some(settings) = filters.ssi.as_ref().filter(|ssi| ssi.types.has(outlook.content_type)) else {
            return false;
        };
        if outlook.length == Some(0) && !self.plan.length_lost {
            return false;
        }
        run.ssi = Some(Box::new(Ssi::new(settings)));
        self.facts.ssi.get_or_insert_default();
        self.plan.lose_length();
        if !settings.last_modified {
            self.plan.forget_last_modified = true;
            self.plan.etag = Etag::Drop;
        }
        true
    }

    fn plan_gzip(
        &mut self,
        filters: &Filters,
        outlook: &Outlook<'_>,
        tested: Option<bool>,
        run: &mut FilterRun,
        ctx: &mut Context,
    ) -> bool {
        let Some(gzip) = &filters.gzip else { return false };
        let length = outlook.length.filter(|_| !self.plan.length_lost);
        let suits = !self.is_sub()
            && matches!(outlook.status.0, 200 | 403 | 404)
            && (outlook.content_encoding.is_none() || self.plan.encoding == Encoding::Drop)
            && length.is_none_or(|length| length >= gzip.length_min)
            && gzip.types.has(outlook.content_type);
        if !suits {
            return false;
        }
        self.plan.vary = filters.negotiation.vary;
        if !tested.unwrap_or_else(|| self.takes_gzip(filters, outlook, ctx)) {
            return false;
        }
        self.plan.lose_length();
        self.plan.encoding = Encoding::Gzip;
        run.gzip = Some(ctx.deflaters.begin(gzip.level, length));
        true
    }

    fn takes_gzip(&self, filters: &Filters, outlook: &Outlook<'_>, ctx: &Context) -> bool {
        let now_s = i64::try_from(ctx.now.unix_ms / 1000).unwrap_or(i64::MAX);
        filters.negotiation.takes_gzip(&self.facts.head, outlook, now_s)
    }

    /// Whether the client takes a file's compressed copy; nothing is known of the reply yet.
    pub(crate) fn takes_gzip_copy(&self, filters: &Filters, ctx: &Context) -> bool {
        let outlook = Outlook {
            status: Status::OK,
            content_type: b"",
            content_encoding: None,
            length: None,
            unbuffered: false,
            expires_s: None,
            fields: &LocalReply::default(),
        };
        self.takes_gzip(filters, &outlook, ctx)
    }

    /// The framing of a body whose length filters have taken away.
    pub(crate) fn unknown_length_framing(&self, generation: &Generation) -> ReplyFraming {
        if self.facts.head.version == Version::Http2 {
            return ReplyFraming::Stream;
        }
        let allowed = self.core(generation).is_none_or(|core| core.chunked_transfer_encoding);
        if self.client_takes_chunks() && allowed { ReplyFraming::Chunked } else { ReplyFraming::UntilClose }
    }

    /// Lets the filters go; what they counted stays.
    pub(crate) fn drop_filters(&mut self, ctx: &mut Context) {
        if let Some(run) = self.filters.take() {
            self.facts.gzip_totals = run.gzip_totals();
            run.close(&mut ctx.deflaters);
        }
    }
}

impl Outlook<'_> {
    /// Whether what came is to reach the client at once: an event stream is of no use late.
    fn flushes(&self) -> bool {
        const EVENTS: &[u8] = b"text/event-stream";
        let head = self.content_type.get(..EVENTS.len());
        self.unbuffered || head.is_some_and(|head| head.eq_ignore_ascii_case(EVENTS))
    }
}

impl ReplyFields for LocalReply {
    fn expires(&self) -> Option<&[u8]> {
        None
    }

    fn date(&self) -> Option<&[u8]> {
        None
    }

    fn has_cache_control(&self) -> bool {
        false
    }

    fn cache_control_says(&self, _word: &[u8]) -> bool {
        false
    }

    fn has_last_modified(&self) -> bool {
        self.last_modified_s.is_some()
    }

    fn has_etag(&self) -> bool {
        !self.etag.is_empty()
    }
}

impl ReplyFields for ResponseHead {
    fn expires(&self) -> Option<&[u8]> {
        self.value(HeaderId::Expires)
    }

    fn date(&self) -> Option<&[u8]> {
        self.value(HeaderId::Date)
    }

    fn has_cache_control(&self) -> bool {
        self.value(HeaderId::CacheControl).is_some()
    }

    fn cache_control_says(&self, word: &[u8]) -> bool {
        let lines = self.fields.iter().filter(|field| field.id == HeaderId::CacheControl);
        let mut words = lines.flat_map(|field| field.value.of(&self.bytes).split(|byte| *byte == b','));
        words.any(|part| {
            let name = part.split(|byte| *byte == b'=').next().unwrap_or_default();
            name.trim_ascii().eq_ignore_ascii_case(word)
        })
    }

    fn has_last_modified(&self) -> bool {
        self.value(HeaderId::LastModified).is_some()
    }

    fn has_etag(&self) -> bool {
        self.value(HeaderId::Etag).is_some()
    }
}
