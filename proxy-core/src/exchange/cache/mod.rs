//! `proxy_cache`: one request at its cache, before and instead of an upstream.
//!
//! ```text
//!              bypass
//!  begin ─────────────────────────────────────────────► upstream ──► head ──► Writer ([`store`])
//!    │                                                     ▲  │
//!    └─► Enter ─► Opening ─► Reading ─► fresh ─► Serving   │  └─ failed, or 304 ─► Serving (STALE, REVALIDATED)
//!          ▲ │        │         │                          │
//!          │ │        └─────────┴─ none, broken, stale ────┤
//!          │ └─ locked ─► Waiting ─┐                       │
//!          └───────────────────────┴─ too long ────────────┘
//! ```
//! - [`look_up`]: what the index and the file say.
//! - [`serve`]: the file on its way to the client.
//! - [`store`]: the upstream's reply on its way to the file, and when an old one has to do.
//!
//! A location without a cache pays one test of an `Option` where its upstream is asked first.
//!
//! Reference: nginx's ngx_http_upstream_cache, ngx_http_file_cache_open and _read.

mod look_up;
mod serve;
mod store;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;

use super::context::{Context, FileRole, Generation};
use super::facts::CacheFacts;
use super::{Exchange, Stage};
use crate::buf::{Buf, Chunk};
use crate::cache::entry::{self, Entry};
use crate::cache::freshness::Freshness;
use crate::cache::{CacheStatus, name, writer};
use crate::command::{Completion, FileId, FileInfo, IoError, Level};
use crate::config::{Cache, CacheName, CacheZone, Proxy, Template};
use crate::conn::Link;
use crate::http::{Method, Status};
use crate::shared::cache::{CacheHash, CacheIndex, Seat};
use crate::time::Instant;

/// A key leaves at least so much of `proxy_buffer_size` to the head, in bytes.
const HEAD_ROOM: usize = 256;

/// One request at its cache.
#[derive(Debug)]
pub(crate) struct CacheRun {
    settings: Arc<Cache>,
    zone: Arc<CacheZone>,
    index: Arc<CacheIndex>,
    key: Chunk,
    /// The key's name, and that of the entry in question: a variant's, perhaps.
    main: CacheHash,
    hash: CacheHash,
    secondary: bool,
    /// The upstream's reply may be kept, as far as the request and the cache are concerned.
    cacheable: bool,
    /// HEAD is asked for as GET.
    converted: bool,
    /// It renews an entry that its parent was answered with.
    background: bool,
    seat: Option<Seat>,
    step: Step,
    /// When it has waited long enough; and that it has.
    wait_until: Option<Instant>,
    waited: bool,
    file: Option<FileId>,
    opened: Option<Result<FileInfo, IoError>>,
    read: Option<Result<Buf, IoError>>,
    reading: bool,
    /// The file's length, its beginning, and what that says.
    size: u64,
    first: Chunk,
    entry: Option<Entry>,
    /// What is left to be sent of the file.
    left: core::ops::Range<u64>,
    /// What the upstream's reply says.
    fresh: Freshness,
    writer: Option<FileId>,
}

/// Where it stands; see the drawing above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The index is asked.
    Enter,
    /// It waits for whoever fetches the entry.
    Waiting,
    /// The file is being opened.
    Opening,
    /// Its beginning is being read.
    Reading,
    /// The upstream is asked.
    Upstream,
    /// The entry is the answer, with this status.
    Answer(CacheStatus),
    /// The rest of the file follows.
    Serving,
}

impl Exchange {
    /// An upstream is about to be asked for the first time: looks whether the cache shall be asked before. Returns
    /// whether the upstream is asked now.
    pub(crate) fn begin_cache(&mut self, link: &mut Link, ctx: &mut Context) -> bool {
        self.proxy.cache_asked = true;
        let generation = Rc::clone(&self.generation);
        let Some(proxy) = self.proxy_settings(&generation) else { return true };
        let Some(cache) = &proxy.cache else { return true };
        if !cache.methods.contains(&self.method) || self.meta.upgrade {
            return true;
        }
        let place = match self.cache_place(cache, &generation, ctx) {
            Ok(Some(place)) => place,
            Ok(None) => return true,
            Err(name) => {
                let name = name.escape_ascii();
                self.log_error(Level::Error, &format_args!("cache \"{name}\" not found"), ctx);
                self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
                return false;
            }
        };
        let zone = generation.config.caches.get(place);
        let (Some(zone), Some(index)) = (zone, generation.caches.get(place)) else { return true };
        let key = self.cache_key(cache, proxy, &generation, ctx);
        if !self.key_fits(&key, proxy, ctx) {
            return true;
        }
        let key = Chunk::from_vec(key);
        let mut run = Box::new(CacheRun::new(cache, zone, index, key.clone()));
        run.converted = self.method == Method::Head && cache.convert_head;
        let bypass = self.holds_any(&cache.bypass, &generation, ctx);
        let status = if bypass { CacheStatus::Bypass } else { CacheStatus::Miss };
        self.facts.cache = Some(Box::new(CacheFacts { status, key, ..CacheFacts::default() }));
        self.proxy.cache = Some(run);
        if !bypass {
            self.stage = Stage::Cache;
        }
        bypass
    }

    /// Which cache; none for `off`.
    fn cache_place(
        &self,
        cache: &Cache,
        generation: &Generation,
        ctx: &Context,
    ) -> Result<Option<usize>, alloc::vec::Vec<u8>> {
        let template = match &cache.zone {
            CacheName::Zone(place) => return Ok(Some(*place)),
            CacheName::Computed(template) => template,
        };
        let name = self.evaluate(template, generation, ctx);
        if name.is_empty() || name == b"off" {
            return Ok(None);
        }
        let place = generation.config.caches.iter().position(|zone| zone.name.as_bytes() == name);
        place.map(Some).ok_or(name)
    }

    /// The key: `proxy_cache_key`, or the URL that the upstream is asked for.
    fn cache_key(
        &self,
        cache: &Cache,
        proxy: &Proxy,
        generation: &Generation,
        ctx: &Context,
    ) -> alloc::vec::Vec<u8> {
        if let Some(template) = &cache.key {
            return self.evaluate(template, generation, ctx);
        }
        let mut key = match &self.facts.dynamic_target {
            Some(target) => {
                let scheme = if target.tls { &b"https://"[..] } else { b"http://" };
                [scheme, &target.host].concat()
            }
            None => proxy.url.as_bytes().to_vec(),
        };
        self.facts.write_upstream_target(proxy, &ctx.env(generation), &mut key);
        key
    }

    fn key_fits(&self, key: &[u8], proxy: &Proxy, ctx: &mut Context) -> bool {
        let (needed, room) = (entry::header_start(key.len()) + HEAD_ROOM, proxy.buffering.head_bytes_max);
        if needed > room {
            let least = needed.next_multiple_of(1024);
            let text = format_args!(
                "proxy_buffer_size {room} is not enough for cache key, it should be increased to at least {least}"
            );
            self.log_error(Level::Error, &text, ctx);
        }
        needed <= room
    }

    /// Whether one of these is neither empty nor 0 (`proxy_cache_bypass`, `proxy_no_cache`).
    fn holds_any(&self, templates: &[Template], generation: &Generation, ctx: &Context) -> bool {
        templates.iter().any(|template| {
            let value = self.evaluate(template, generation, ctx);
            !value.is_empty() && value != b"0"
        })
    }

    /// Whether the reply that comes is kept, as far as is known.
    pub(crate) fn is_kept(&self) -> bool {
        self.proxy.cache.as_ref().is_some_and(|run| run.cacheable && !run.fresh.forbidden)
    }

    /// Whether a reply is on its way into the cache or its file: it is fetched to its end, whatever becomes of the client.
    pub(crate) fn is_storing(&self) -> bool {
        self.store_file().is_some()
    }

    /// The file that the reply is copied to.
    pub(crate) fn store_file(&self) -> Option<FileId> {
        self.proxy.stored.or_else(|| self.proxy.cache.as_ref().and_then(|run| run.writer()))
    }

    /// Whether the upstream is asked with the fields for a reply that may be kept.
    pub(crate) fn asks_for_cache(&self) -> bool {
        self.proxy.cache.as_ref().is_some_and(|run| run.cacheable)
    }

    /// Whether a HEAD request is sent as GET, for its reply to be kept.
    pub(crate) fn is_converted(&self) -> bool {
        self.proxy.cache.as_ref().is_some_and(|run| run.converted)
    }

    /// Has no more to do with the cache: what was begun is given up.
    pub(crate) fn leave_cache(&mut self, ctx: &mut Context) {
        if let Some(file) = self.proxy.stored.take() {
            writer::abort(file, ctx);
        }
        let Some(mut run) = self.proxy.cache.take() else { return };
        run.close_file(ctx);
        if let Some(file) = run.writer.take() {
            writer::abort(file, ctx);
        }
    }

    /// An operation on the entry's file is complete.
    pub(crate) fn handle_cache_file(&mut self, file: FileId, completion: Completion) {
        let Some(run) = self.proxy.cache.as_mut().filter(|run| run.file == Some(file)) else { return };
        match completion {
            Completion::OpenFile { result, .. } => run.opened = Some(result),
            Completion::ReadFile { result, .. } => run.read = Some(result),
            Completion::Connect { .. }
            | Completion::Recv { .. }
            | Completion::Send { .. }
            | Completion::WriteFile { .. }
            | Completion::RenameFile { .. }
            | Completion::FreeSpace { .. }
            | Completion::ListDirectory { .. }
            | Completion::Verify { .. }
            | Completion::Resolve { .. } => {}
        }
    }

    pub(super) fn set_cache_status(&mut self, status: CacheStatus) {
        if let Some(facts) = &mut self.facts.cache {
            facts.status = status;
        }
    }
}

impl CacheRun {
    fn new(cache: &Arc<Cache>, zone: &Arc<CacheZone>, index: &Arc<CacheIndex>, key: Chunk) -> Self {
        let main = name::of_key(&key);
        Self {
            settings: Arc::clone(cache),
            zone: Arc::clone(zone),
            index: Arc::clone(index),
            key,
            main,
            hash: main,
            secondary: false,
            cacheable: true,
            converted: false,
            background: false,
            seat: None,
            step: Step::Enter,
            wait_until: None,
            waited: false,
            file: None,
            opened: None,
            read: None,
            reading: false,
            size: 0,
            first: Chunk::empty(),
            entry: None,
            left: 0..0,
            fresh: Freshness::default(),
            writer: None,
        }
    }

    /// The writer that keeps the reply.
    pub(crate) const fn writer(&self) -> Option<FileId> {
        self.writer
    }

    fn open_file(&mut self, link: &Link, ctx: &mut Context) {
        let path = name::file(&self.zone, &self.hash);
        self.file = Some(ctx.open_file(link.id, FileRole::Cache, path, crate::command::OpenMode::Read));
    }

    fn close_file(&mut self, ctx: &mut Context) {
        if let Some(file) = self.file.take() {
            ctx.close_file(file);
        }
        (self.opened, self.read, self.reading) = (None, None, false);
    }
}

/// Seconds since the epoch.
fn now_s(ctx: &Context) -> i64 {
    (ctx.now.unix_ms / 1000).cast_signed()
}
