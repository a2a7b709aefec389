//! The entry's file on its way to the client: its head as if the upstream had sent it, then the part of its body that was
//! asked for, no more in memory than the client takes.

use alloc::format;
use alloc::rc::Rc;

use super::{Step, now_s};
use crate::buf::{Buf, Chunk};
use crate::cache::CacheStatus;
use crate::cache::entry::Flaw;
use crate::command::{Command, Level};
use crate::conn::Link;
use crate::exchange::context::Context;
use crate::exchange::reply_body::Room;
use crate::exchange::request_body::Mode;
use crate::exchange::{Exchange, Stage};
use crate::filter;
use crate::h1::{Parsed, ResponseLimits, parse_response};
use crate::http::framing::{BodyFraming, ResponseMeta, response_framing};
use crate::http::{Method, ResponseHead, Status};

/// How many fields an entry's head may have.
const FIELDS_MAX: usize = 1000;
/// How much of a file may wait for the client, in bytes.
const AHEAD_BYTES: usize = 128 * 1024;

impl Exchange {
    /// The entry is the answer. One that turns out to be broken is fetched anew, unless the upstream has failed already.
    pub(super) fn answer_from_cache(&mut self, status: CacheStatus, link: &mut Link, ctx: &mut Context) {
        let asked = !self.facts.tries.is_empty();
        self.set_cache_status(status);
        if let Some(run) = &mut self.proxy.cache {
            run.step = Step::Serving;
        }
        let Some((head, meta)) = self.entry_head(ctx) else {
            let Some(mut run) = self.proxy.cache.take() else { return };
            self.discard_file(&mut run, Flaw::Broken, ctx);
            run.step = Step::Upstream;
            self.proxy.cache = Some(run);
            if asked {
                return self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
            }
            self.set_cache_status(CacheStatus::Miss);
            return self.stage = Stage::Proxy;
        };
        self.begin_answer(head, meta, link, ctx);
    }

    /// The head that stands in the file, if that is whole.
    fn entry_head(&mut self, ctx: &mut Context) -> Option<(ResponseHead, ResponseMeta)> {
        let run = self.proxy.cache.as_ref()?;
        let entry = run.entry.as_ref()?;
        let (start, end) = (usize::from(entry.header_start), usize::from(entry.body_start));
        let bytes = run.first.slice(start..end);
        ctx.ready_fields();
        let limits = ResponseLimits { total_bytes_max: bytes.len(), fields_max: FIELDS_MAX };
        let parsed = parse_response(&bytes, &mut ctx.fields, &limits).ok()?;
        let Parsed::Complete { head, len } = parsed else { return None };
        let method = if self.method == Method::Head { Method::Head } else { Method::Get };
        let meta = response_framing(&head, method).ok()?;
        let body = run.size.checked_sub(end as u64)?;
        let whole = match meta.framing {
            BodyFraming::None | BodyFraming::Chunked | BodyFraming::UntilClose => true,
            BodyFraming::Length(length) => length == body,
        };
        (len == bytes.len() && whole).then_some((head, meta))
    }

    fn begin_answer(&mut self, head: ResponseHead, meta: ResponseMeta, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(proxy) = self.proxy_settings(&generation) else { return };
        self.take_accel_limit_rate(&head, proxy);
        self.proxy.room = None;
        self.facts.reply.status = self.error_status.unwrap_or(head.status.unwrap_or_default());
        let Some(framing) = self.settle_framing(&head, &meta, proxy, &generation, false, link, ctx) else {
            return;
        };
        if !self.request_is_consumed() {
            self.body.set_mode(Mode::Discard, ctx);
        }
        let nothing = framing == crate::exchange::reply_body::ReplyFraming::None;
        let bodiless = meta.framing == BodyFraming::None && self.method != Method::Head;
        self.write_proxied_head(head, &meta, framing, &generation, ctx);
        self.reply.begin(framing);
        let Some(run) = &mut self.proxy.cache else { return };
        let body_start = run.entry.as_ref().map_or(0, |entry| u64::from(entry.body_start));
        run.seat = None;
        run.left = match self.proxy.ranges.part.take_if(|_| !nothing) {
            Some(part) => {
                let left = body_start + part.start..body_start + part.end;
                self.proxy.ranges.part = Some(part);
                self.reply.forget_window();
                left
            }
            None => body_start..run.size,
        };
        if nothing || bodiless {
            run.left = run.size..run.size;
        }
        let first = run.first.len() as u64;
        if run.left.start < first {
            let end = run.left.end.min(first);
            let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            let data = run.first.slice(place(run.left.start)..place(end));
            run.left.start = end;
            filter::push(&mut self.filters, &mut self.reply, data);
        }
        if let Some(run) = &mut self.proxy.cache {
            run.first = Chunk::empty();
        }
        self.end_entry_if_read(ctx);
        self.run_filters(link, ctx);
        if !self.head_sent {
            self.send_head(link, ctx);
        }
        if self.stage == Stage::Cache {
            self.send_entry(link, ctx);
        }
    }

    /// All of the file that is wanted was read: it is closed, and what waits for the client follows.
    fn end_entry_if_read(&mut self, ctx: &mut Context) {
        let Some(run) = &mut self.proxy.cache else { return };
        if run.left.start < run.left.end {
            return;
        }
        run.close_file(ctx);
        self.end_body(Chunk::empty(), ctx);
        self.stage = Stage::Reply;
    }

    /// Sends what was read and reads on, as far as the client keeps up.
    pub(super) fn send_entry(&mut self, link: &mut Link, ctx: &mut Context) {
        if self.body.mode() == Mode::Discard && !self.pump_request_body(link, ctx) {
            return;
        }
        let read = self.proxy.cache.as_mut().and_then(|run| run.read.take());
        match read.map(|read| read.map(Buf::freeze)) {
            None => {}
            Some(Ok(data)) if !data.is_empty() => self.pass_entry(data, ctx),
            Some(Ok(_)) => return self.cut_entry("was truncated", link, ctx),
            Some(Err(error)) => {
                return self.cut_entry(&format!("could not be read ({error})"), link, ctx);
            }
        }
        self.pump_reply_body(link, ctx);
        link.flush(ctx);
        self.read_entry_on(link, ctx);
        if self.head_sent {
            self.finish_if_sent(link, ctx);
        }
    }

    fn pass_entry(&mut self, mut data: Chunk, ctx: &mut Context) {
        let Some(run) = &mut self.proxy.cache else { return };
        run.reading = false;
        data.truncate(usize::try_from(run.left.end - run.left.start).unwrap_or(usize::MAX));
        run.left.start += data.len() as u64;
        filter::push(&mut self.filters, &mut self.reply, data);
        self.end_entry_if_read(ctx);
    }

    fn read_entry_on(&mut self, link: &Link, ctx: &mut Context) {
        let filters_full = self.filters.as_ref().is_some_and(|run| !run.has_room());
        let room = Room {
            unbuffered: false,
            memory_bytes_max: AHEAD_BYTES,
            file_bytes_max: 0,
            directory: alloc::sync::Arc::from([]),
        };
        if filters_full || !self.reply.has_room(link, &room) {
            return;
        }
        let Some(run) = &mut self.proxy.cache else { return };
        let Some(file) = run.file.filter(|_| !run.reading && run.left.start < run.left.end) else { return };
        run.reading = true;
        let len = usize::try_from(run.left.end - run.left.start).unwrap_or(usize::MAX);
        let len = len.min(ctx.pools.large.block_bytes());
        ctx.commands.push_back(Command::ReadFile { file, offset: run.left.start, len });
    }

    /// The file is not what its head promises: the client sees that the reply breaks off.
    fn cut_entry(&mut self, what: &str, link: &mut Link, ctx: &mut Context) {
        self.log_error(Level::Crit, &format_args!("cache file {what} while it was sent"), ctx);
        self.leave_cache(ctx);
        self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
    }

    /// The upstream says that the entry is still right: it is fresh again, in the file as well.
    pub(super) fn confirm_entry(&mut self, ctx: &mut Context) {
        let now = now_s(ctx);
        let status = self.entry_head(ctx).and_then(|(head, _)| head.status);
        let Some(run) = &mut self.proxy.cache else { return };
        let Some(entry) = run.entry.as_mut() else { return };
        let fresh = core::mem::take(&mut run.fresh);
        let (mut valid_s, mut updating_s, mut error_s) = (fresh.valid_s, fresh.updating_s, fresh.error_s);
        if valid_s == 0 {
            let seconds = status.map_or(0, |status| run.settings.valid_s(status));
            valid_s = if seconds > 0 { now + seconds } else { 0 };
            (updating_s, error_s) = (updating_s.max(entry.updating_s), error_s.max(entry.error_s));
        }
        if valid_s == 0 || fresh.forbidden {
            return;
        }
        (entry.valid_s, entry.updating_s, entry.error_s, entry.date_s) = (valid_s, updating_s, error_s, now);
        let mut bytes = alloc::vec::Vec::new();
        entry.write_fixed(crc32fast::hash(&run.key), &mut bytes);
        let path = crate::cache::name::file(&run.zone, &run.hash);
        if let Some(seat) = run.seat.take() {
            crate::cache::writer::update(seat, path, Chunk::from_vec(bytes), run.size, ctx);
        }
    }
}
