//! The upstream's reply on its way into the cache, and when an old entry has to do in its place.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{CacheRun, Step, now_s};
use crate::buf::Chunk;
use crate::cache::entry::Entry;
use crate::cache::freshness::Freshness;
use crate::cache::{CacheStatus, keeper, name, writer};
use crate::command::FileId;
use crate::config::Proxy;
use crate::conn::Link;
use crate::error::UpstreamError;
use crate::exchange::context::{Context, Generation};
use crate::exchange::{Exchange, Stage};
use crate::h1::encode;
use crate::http::date::parse as parse_date;
use crate::http::{HeaderId, ResponseHead, ResponseMeta, Status, Version};
use crate::shared::cache::Wish;

/// A temporary file's name ends in so many digits, as nginx's.
const TEMP_NAMES: u64 = 10_000_000_000;

impl Exchange {
    /// A head has come: what it says about caching.
    pub(crate) fn judge_reply(&mut self, head: &ResponseHead, proxy: &Proxy, ctx: &Context) {
        if let Some(run) = &mut self.proxy.cache {
            run.fresh = Freshness::of(head, proxy.ignore_headers, now_s(ctx));
        }
    }

    /// Whether an old entry is at hand, and this request was to renew it.
    fn has_stale(&self) -> bool {
        let expired = self.facts.cache.as_ref().is_some_and(|facts| facts.status == CacheStatus::Expired);
        expired && self.proxy.cache.as_ref().is_some_and(|run| run.entry.is_some())
    }

    /// The entry's `stale-if-error` has not passed.
    fn may_be_stale_on_error(run: &CacheRun, ctx: &Context) -> bool {
        let until = run.entry.as_ref().map(|entry| entry.valid_s.saturating_add(entry.error_s));
        until.is_some_and(|until| until >= now_s(ctx))
    }

    /// `proxy_cache_use_stale`: answers with the old entry where the upstream's status is one of those. Returns whether
    /// it did.
    pub(crate) fn use_stale_for_status(&mut self, status: Status, ctx: &mut Context) -> bool {
        let Some(run) = self.proxy.cache.as_ref().filter(|_| self.has_stale()) else { return false };
        let known = matches!(status.0, 500 | 502 | 503 | 504 | 403 | 404 | 429);
        let named = run.settings.use_stale.failures.statuses.contains(&status);
        if !known || !(named || Self::may_be_stale_on_error(run, ctx)) {
            return false;
        }
        self.end_attempt(crate::upstream::Outcome::Success, false, ctx);
        self.answer_stale();
        true
    }

    /// As the above, where the upstream has failed altogether.
    pub(crate) fn use_stale_for_error(&mut self, error: UpstreamError, ctx: &Context) -> bool {
        let Some(run) = self.proxy.cache.as_ref().filter(|_| self.has_stale()) else { return false };
        let may = run.settings.use_stale.failures.covers(error) || Self::may_be_stale_on_error(run, ctx);
        if may {
            self.answer_stale();
        }
        may
    }

    fn answer_stale(&mut self) {
        self.facts.upstream_head = None;
        if let Some(run) = &mut self.proxy.cache {
            run.step = Step::Answer(CacheStatus::Stale);
            run.seat = None;
        }
        self.stage = Stage::Cache;
    }

    /// `proxy_cache_revalidate`: answers with the entry where the upstream says that it is still right. Returns whether
    /// it did.
    pub(crate) fn confirm_for_status(
        &mut self,
        status: Status,
        meta: &ResponseMeta,
        ctx: &mut Context,
    ) -> bool {
        let revalidates = self.proxy.cache.as_ref().is_some_and(|run| run.settings.revalidate);
        if status != Status::NOT_MODIFIED || !revalidates || !self.has_stale() {
            return false;
        }
        if let Some(conn) = self.proxy.conn.as_mut() {
            conn.keep_alive = meta.keep_alive;
        }
        let reusable = self.is_reusable();
        self.end_attempt(crate::upstream::Outcome::Success, reusable, ctx);
        self.confirm_entry(ctx);
        if let Some(run) = &mut self.proxy.cache {
            run.step = Step::Answer(CacheStatus::Revalidated);
        }
        self.stage = Stage::Cache;
        true
    }

    /// The head goes to the client: begins to keep the reply, if it may be kept.
    pub(crate) fn begin_store(
        &mut self,
        buffered: bool,
        proxy: &Proxy,
        generation: &Generation,
        link: &Link,
        ctx: &mut Context,
    ) {
        let Some(run) = &self.proxy.cache else { return };
        let settings = Arc::clone(&run.settings);
        let kept = buffered && self.is_kept() && !self.holds_any(&settings.no_cache, generation, ctx);
        let Some(mut run) = self.proxy.cache.take() else { return };
        run.close_file(ctx);
        let head = self.facts.upstream_head.as_ref().filter(|_| kept);
        let begun = head.and_then(|head| {
            let entry = run.new_entry(head, &self.facts.head, ctx)?;
            run.write_entry(entry, head, proxy, link, ctx)
        });
        run.writer = begun;
        run.seat = None;
        run.cacheable &= run.writer.is_some();
        self.proxy.cache = Some(run);
    }

    /// All of the reply is there.
    pub(crate) fn finish_store(&mut self, ctx: &mut Context) {
        let kept = self.proxy.cache.as_mut().and_then(|run| run.writer.take());
        for file in kept.into_iter().chain(self.proxy.stored.take()) {
            writer::finish(file, ctx);
        }
    }

    /// The request ends with an error: it stands for the entry where `proxy_cache_valid` names its status.
    pub(crate) fn remember_error(&mut self, status: Status, ctx: &Context) {
        let now = now_s(ctx);
        let Some(run) = &self.proxy.cache else { return };
        if !run.cacheable || run.fresh.forbidden {
            return;
        }
        let seconds = run.settings.valid_s(status);
        let from_fields = run.fresh.valid_s;
        let until = if from_fields > 0 { from_fields } else { now + seconds };
        if let Some(seat) = run.seat.as_ref().filter(|_| from_fields > 0 || seconds > 0) {
            seat.remember(status, until);
        }
    }
}

impl CacheRun {
    /// What the file shall say of this reply; none if it is not to be kept.
    fn new_entry(
        &self,
        head: &ResponseHead,
        request: &crate::http::RequestHead,
        ctx: &Context,
    ) -> Option<Entry> {
        let now = now_s(ctx);
        let status = head.status?;
        let mut valid_s = self.fresh.valid_s;
        if valid_s == 0 {
            valid_s = now + Some(self.settings.valid_s(status)).filter(|seconds| *seconds > 0)?;
        }
        let validators = matches!(status.0, 200 | 206);
        let modified = head.value(HeaderId::LastModified).filter(|_| validators).and_then(parse_date);
        let etag = head.value(HeaderId::Etag).filter(|_| validators).unwrap_or_default();
        let vary = self.fresh.vary.clone();
        let variant = match vary.is_empty() {
            true => [0; 16],
            false => name::of_variant(&self.main, &vary, request),
        };
        Some(Entry {
            valid_s,
            updating_s: self.fresh.updating_s,
            error_s: self.fresh.error_s,
            last_modified_s: modified,
            date_s: now,
            etag: etag.to_vec(),
            vary,
            variant,
            ..Entry::default()
        })
    }

    /// Begins the file.
    fn write_entry(
        &mut self,
        mut entry: Entry,
        head: &ResponseHead,
        proxy: &Proxy,
        link: &Link,
        ctx: &mut Context,
    ) -> Option<FileId> {
        if self.secondary && (entry.vary.is_empty() || entry.variant != self.hash) {
            // What the reply varies by has changed: it is the key's own from here on.
            self.hash = self.main;
            self.seat = None;
        }
        if self.seat.is_none() {
            let wish = Wish {
                min_uses: self.settings.min_uses,
                inactive: self.zone.inactive,
                now: ctx.now.instant,
                now_s: now_s(ctx),
            };
            let mut forgotten = Vec::new();
            let entered = self.index.enter(&self.hash, wish, &mut forgotten);
            keeper::remove(&self.zone, &forgotten, ctx);
            self.seat = Some(entered?.1);
        }
        let made = (head.version == Version::Http2).then(|| http1_text(head));
        let text = made.as_deref().unwrap_or(&head.bytes);
        let mut first = Vec::with_capacity(1024 + text.len());
        entry.write(&self.key, text.len(), &mut first)?;
        first.extend_from_slice(text);
        let path = name::file(&self.zone, &self.hash);
        let temp = self.temp_file(&path, proxy, ctx);
        let seat = self.seat.take()?;
        let place = writer::Place { temp, path, finish: None };
        Some(writer::begin(Some(seat), place, Chunk::from_vec(first), link.id, ctx))
    }

    /// A name for the temporary file: beside the entry's place, or in `proxy_temp_path` (`use_temp_path`).
    fn temp_file(&self, path: &[u8], proxy: &Proxy, ctx: &mut Context) -> Arc<[u8]> {
        let number = ctx.random.next() % TEMP_NAMES;
        if self.zone.use_temp_path {
            let name = alloc::format!("/{number:010}");
            return [&proxy.buffering.temp_path, name.as_bytes()].concat().into();
        }
        let suffix = alloc::format!(".{number:010}");
        [path, suffix.as_bytes()].concat().into()
    }
}

/// A head that came over HTTP/2, as files keep heads.
fn http1_text(head: &ResponseHead) -> Vec<u8> {
    let status = head.status.unwrap_or_default();
    let mut text = Vec::with_capacity(head.bytes.len() + 64);
    encode::status_line(&mut text, status, status.reason().as_bytes());
    for field in &head.fields {
        let (name, value) = head.pair(field);
        encode::field(&mut text, name, value);
    }
    text.extend_from_slice(b"\r\n");
    text
}
