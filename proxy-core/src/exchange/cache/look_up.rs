//! Looking for the entry: in the index, then in its file.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{CacheRun, Step, now_s};
use crate::cache::entry::{Entry, Flaw};
use crate::cache::{CacheStatus, keeper, name, writer};
use crate::command::{Command, FileKind, IoError, Level};
use crate::conn::Link;
use crate::exchange::context::Context;
use crate::exchange::{Exchange, Stage};
use crate::http::{HeaderId, Status};
use crate::shared::cache::{Found, Wish};
use crate::time::{Instant, Millis};
use crate::timer::Reason;

/// How often a request that waits for another one's reply looks for it.
const LOOK_AGAIN: Millis = Millis(20);
/// How long it waits for a whole reply to be put into its place.
const COMMIT_WAIT: Millis = Millis(2000);

/// What a step has shown.
enum Next {
    /// Another step.
    Step(Step),
    /// Something has to happen first.
    Wait,
    /// A status is remembered for the entry.
    Fail(Status),
}

impl Exchange {
    /// `Stage::Cache`: moves the request at its cache as far as it goes.
    pub(crate) fn run_cache(&mut self, link: &mut Link, ctx: &mut Context) {
        // Each round takes another step of the drawing; a circle needs another request to change the index in between.
        loop {
            let Some(mut run) = self.proxy.cache.take() else { return self.stage = Stage::Proxy };
            let next = match run.step {
                Step::Enter => self.enter(&mut run, link, ctx),
                Step::Waiting => self.wait(&mut run, link, ctx),
                Step::Opening => self.opened(&mut run, ctx),
                Step::Reading => self.read_beginning(&mut run, link, ctx),
                Step::Upstream | Step::Answer(_) | Step::Serving => Next::Step(run.step),
            };
            let step = match next {
                Next::Step(step) => {
                    run.step = step;
                    Some(step)
                }
                Next::Wait => None,
                Next::Fail(status) => {
                    self.set_cache_status(CacheStatus::Hit);
                    run.cacheable = false;
                    self.proxy.cache = Some(run);
                    return self.fail_status(status, link, ctx);
                }
            };
            if step == Some(Step::Upstream) {
                run.cacheable &= self.range_is_near(&run);
            }
            self.proxy.cache = Some(run);
            match step {
                Some(Step::Upstream) => return self.stage = Stage::Proxy,
                Some(Step::Answer(status)) => return self.answer_from_cache(status, link, ctx),
                Some(Step::Serving) => return self.send_entry(link, ctx),
                Some(Step::Enter | Step::Waiting | Step::Opening | Step::Reading) => {}
                None => {
                    self.notice_client_gone(link, ctx);
                    return;
                }
            }
        }
    }

    fn enter(&self, run: &mut CacheRun, link: &Link, ctx: &mut Context) -> Next {
        run.seat = None;
        let wish = Wish {
            min_uses: run.settings.min_uses,
            inactive: run.zone.inactive,
            now: ctx.now.instant,
            now_s: now_s(ctx),
        };
        let mut forgotten = Vec::new();
        let entered = run.index.enter(&run.hash, wish, &mut forgotten);
        keeper::remove(&run.zone, &forgotten, ctx);
        let Some((found, seat)) = entered else {
            let zone = &run.zone.name;
            let text = format_args!("could not allocate node in cache keys zone \"{zone}\"");
            self.log_error(Level::Alert, &text, ctx);
            run.cacheable = false;
            return Next::Step(Step::Upstream);
        };
        run.seat = Some(seat);
        let look = match found {
            Found::Error(status) => return Next::Fail(status),
            Found::Committing if !run.waited => {
                run.wait_until.get_or_insert(ctx.now.instant + COMMIT_WAIT);
                return Next::Step(Step::Waiting);
            }
            Found::Committing => false,
            Found::Scarce => {
                run.cacheable = false;
                return Next::Step(Step::Upstream);
            }
            Found::Entry { exists } => exists,
            Found::New => {
                run.cacheable = run.settings.min_uses <= 1;
                run.index.is_cold()
            }
        };
        if !look {
            return lock(run, ctx.now.instant);
        }
        run.open_file(link, ctx);
        Next::Step(Step::Opening)
    }

    fn wait(&self, run: &mut CacheRun, link: &mut Link, ctx: &mut Context) -> Next {
        let now = ctx.now.instant;
        let until = run.wait_until.unwrap_or(now);
        if !run.seat.as_ref().is_some_and(|seat| seat.is_busy(now)) {
            link.deadline.clear_if(Reason::Cache);
            return Next::Step(Step::Enter);
        }
        if now >= until {
            self.log_error(Level::Info, &"cache lock timeout", ctx);
            run.waited = true;
            link.deadline.clear_if(Reason::Cache);
            return Next::Step(Step::Enter);
        }
        link.set_deadline_at(until.min(now + LOOK_AGAIN), Reason::Cache, ctx);
        Next::Wait
    }

    fn opened(&self, run: &mut CacheRun, ctx: &mut Context) -> Next {
        let (Some(result), Some(file)) = (run.opened.take(), run.file) else { return Next::Wait };
        match result {
            Ok(info) if info.kind == FileKind::Regular => {
                run.size = info.size;
                let len = ctx.pools.large.block_bytes();
                ctx.commands.push_back(Command::ReadFile { file, offset: 0, len });
                Next::Step(Step::Reading)
            }
            Ok(_) => self.discard(run, Flaw::Broken, ctx),
            Err(error) if error.is_absence() => {
                run.close_file(ctx);
                run.seat.iter().for_each(|seat| seat.note_no_file());
                lock(run, ctx.now.instant)
            }
            Err(error) => self.unreadable(run, "open()", error, ctx),
        }
    }

    /// The machine is in trouble, and the entry may be as good as ever.
    fn unreadable(&self, run: &mut CacheRun, what: &str, error: IoError, ctx: &mut Context) -> Next {
        let path = name::file(&run.zone, &run.hash);
        self.log_error(
            Level::Crit,
            &format_args!("{what} \"{}\" failed ({error})", path.escape_ascii()),
            ctx,
        );
        run.close_file(ctx);
        run.cacheable = false;
        Next::Step(Step::Upstream)
    }

    /// The file is not what it should be: it goes, and the entry is fetched anew.
    fn discard(&self, run: &mut CacheRun, flaw: Flaw, ctx: &mut Context) -> Next {
        self.discard_file(run, flaw, ctx);
        lock(run, ctx.now.instant)
    }

    pub(super) fn discard_file(&self, run: &mut CacheRun, flaw: Flaw, ctx: &mut Context) {
        let path = name::file(&run.zone, &run.hash);
        let level = if flaw == Flaw::Version { Level::Info } else { Level::Crit };
        let text = format_args!("cache file \"{}\" {}", path.escape_ascii(), flaw.text());
        self.log_error(level, &text, ctx);
        run.close_file(ctx);
        run.seat.iter().for_each(|seat| seat.note_no_file());
        run.entry = None;
        ctx.commands.push_back(Command::RemoveFile { path });
    }

    fn read_beginning(&mut self, run: &mut CacheRun, link: &Link, ctx: &mut Context) -> Next {
        let Some(read) = run.read.take() else { return Next::Wait };
        let first = match read {
            Ok(buf) => buf.freeze(),
            Err(error) => return self.unreadable(run, "pread()", error, ctx),
        };
        let entry = match Entry::read(&first, &run.key) {
            Ok(entry) => entry,
            Err(flaw) => return self.discard(run, flaw, ctx),
        };
        if !entry.vary.is_empty() {
            let variant = name::of_variant(&run.main, &entry.vary, &self.facts.head);
            if variant != entry.variant {
                if run.secondary {
                    return self.discard(run, Flaw::VaryHash, ctx);
                }
                run.close_file(ctx);
                run.secondary = true;
                run.hash = variant;
                return Next::Step(Step::Enter);
            }
        }
        run.first = first;
        run.cacheable = true;
        run.seat.iter().for_each(|seat| seat.note_file(writer::disk_bytes(run.size)));
        let now = now_s(ctx);
        let fresh = entry.valid_s >= now;
        let updating = entry.valid_s.saturating_add(entry.updating_s) >= now;
        run.entry = Some(entry);
        if fresh {
            return Next::Step(Step::Answer(CacheStatus::Hit));
        }
        self.stale(run, updating, link, ctx)
    }

    /// The entry is too old: it is renewed by this request, or in the background, or another request is at it.
    fn stale(&mut self, run: &mut CacheRun, allowed: bool, link: &Link, ctx: &mut Context) -> Next {
        let allowed = (allowed || run.settings.use_stale.updating) && !run.background;
        let ours = run.seat.as_mut().is_some_and(|seat| seat.begin_update());
        if !ours && allowed {
            return Next::Step(Step::Answer(CacheStatus::Updating));
        }
        if ours && allowed && run.settings.background_update && self.update_in_background(run, link, ctx) {
            return Next::Step(Step::Answer(CacheStatus::Stale));
        }
        self.set_cache_status(CacheStatus::Expired);
        self.offer_validators(run);
        Next::Step(Step::Upstream)
    }

    /// `proxy_cache_revalidate`: the upstream may say that the entry is still right.
    fn offer_validators(&mut self, run: &CacheRun) {
        if let (Some(facts), Some(entry)) = (&mut self.facts.cache, &run.entry)
            && run.settings.revalidate
        {
            facts.last_modified_s = entry.last_modified_s;
            facts.etag = entry.etag.as_slice().into();
        }
    }

    /// Renews the entry by a subrequest, while this request is answered with the old one.
    fn update_in_background(&mut self, run: &mut CacheRun, link: &Link, ctx: &mut Context) -> bool {
        let mut renewal = CacheRun::new(&run.settings, &run.zone, &run.index, run.key.clone());
        renewal.hash = run.hash;
        renewal.secondary = run.secondary;
        renewal.converted = run.converted;
        renewal.background = true;
        renewal.step = Step::Upstream;
        renewal.entry.clone_from(&run.entry);
        renewal.first = run.first.clone();
        renewal.size = run.size;
        renewal.cacheable &= self.range_is_near(run);
        renewal.seat = run.seat.take();
        let mut facts = self.facts.cache.clone().unwrap_or_default();
        facts.status = CacheStatus::Expired;
        if let (Some(entry), true) = (&run.entry, run.settings.revalidate) {
            facts.last_modified_s = entry.last_modified_s;
            facts.etag = entry.etag.as_slice().into();
        }
        let begun = self.spawn_update(Box::new(renewal), facts, link, ctx);
        if !begun {
            run.seat = None;
        }
        begun
    }

    /// `proxy_cache_max_range_offset`: a range that begins further away is not worth fetching all before it.
    fn range_is_near(&self, run: &CacheRun) -> bool {
        let Some(max) = run.settings.max_range_offset else { return true };
        let Some(field) = self.facts.head.value(HeaderId::Range) else { return true };
        let Some(rest) = field.get(6..).filter(|_| field.len() >= 7) else { return true };
        if max == 0 || rest.starts_with(b"-") {
            return false;
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        let start =
            digits.fold(0_u64, |sum, byte| sum.saturating_mul(10).saturating_add(u64::from(byte - b'0')));
        start <= max
    }
}

/// There is no file: whoever comes first fetches it, the others wait, if `proxy_cache_lock` says so.
fn lock(run: &mut CacheRun, now: Instant) -> Next {
    let Some(settings) = run.settings.lock.filter(|_| run.cacheable) else {
        return Next::Step(Step::Upstream);
    };
    if run.seat.as_mut().is_some_and(|seat| seat.lock(now, settings.age)) {
        return Next::Step(Step::Upstream);
    }
    if run.waited || settings.timeout.is_zero() {
        run.cacheable = false;
        return Next::Step(Step::Upstream);
    }
    run.wait_until.get_or_insert(now + settings.timeout);
    Next::Step(Step::Waiting)
}
