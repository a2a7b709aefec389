//! Where a body is put together: bytes of its own, and the bodies of subrequests in their places.
//!
//! A subrequest runs from the moment on at which its place is known, but its body passes only when it is its turn; until
//! then it waits on the subrequest's own link, and holds that one's source up in turn.
//!
//! Reference: nginx's ngx_http_postpone_filter_module.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use super::{AHEAD_BYTES, Broken, FilterRun};
use crate::buf::{Chain, Chunk};
use crate::command::{ConnId, Level};
use crate::conn::Link;
use crate::exchange::context::Context;
use crate::exchange::sub::{Purpose, SubNature, Wish};
use crate::exchange::{Exchange, Stage};

/// What is left of a body, in order.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    items: VecDeque<Item>,
}

#[derive(Debug)]
enum Item {
    Bytes(Chain),
    /// The body of the subrequest with this link.
    Sub(ConnId),
}

impl Outlet {
    /// Bytes of the body's own.
    pub(super) fn push(&mut self, mut part: Chain) {
        if part.is_empty() {
            return;
        }
        match self.items.back_mut() {
            Some(Item::Bytes(last)) => last.append(&mut part),
            Some(Item::Sub(_)) | None => self.items.push_back(Item::Bytes(part)),
        }
    }

    /// Here the body of a subrequest belongs.
    pub(super) fn push_sub(&mut self, id: ConnId) {
        self.items.push_back(Item::Sub(id));
    }

    /// A subrequest has ended without a body: this stands in its place.
    pub(crate) fn replace(&mut self, id: ConnId, stub: Chunk) {
        for item in &mut self.items {
            if matches!(item, Item::Sub(other) if *other == id) {
                *item = Item::Bytes(Chain::from(stub));
                return;
            }
        }
    }

    /// Bytes that wait here.
    pub(super) fn bytes(&self) -> usize {
        let bytes = |item: &Item| if let Item::Bytes(part) = item { part.len() } else { 0 };
        self.items.iter().map(bytes).sum()
    }
}

impl Exchange {
    /// Moves the body through its filters, as far as there is room for what comes out.
    pub(crate) fn run_filters(&mut self, link: &Link, ctx: &mut Context) {
        let Some(mut run) = self.filters.take() else { return };
        let result = if self.reply.is_cut() { Ok(()) } else { self.move_through(&mut run, link, ctx) };
        self.filters = Some(run);
        if let Err(broken) = result {
            self.log_error(Level::Error, &broken.0, ctx);
            self.abandon_upstream(ctx);
            self.reply.cut();
            self.stage = Stage::Reply;
        }
    }

    fn move_through(&mut self, run: &mut FilterRun, link: &Link, ctx: &mut Context) -> Result<(), Broken> {
        let mut moved = false;
        if !core::mem::replace(&mut run.begun, true) {
            self.add(run, |addition| addition.before.clone(), link, ctx);
        }
        loop {
            moved |= self.drain_outlet(run, ctx)?;
            let full = self.reply.waiting_bytes() >= AHEAD_BYTES || run.outlet.bytes() >= AHEAD_BYTES;
            if run.closed || full || self.ssi_waits(run) {
                break;
            }
            let mut part = Chain::new();
            if run.ssi.as_ref().is_some_and(|ssi| ssi.has_input()) {
                // What was read while it waited.
                self.include(run, part, link, ctx);
            } else if run.input_done {
                run.closed = true;
                self.finish_ssi(run);
                self.add(run, |addition| addition.after.clone(), link, ctx);
            } else if run.take_input(&mut part, &ctx.pools.large)? {
                run.substitute(&mut part);
                self.include(run, part, link, ctx);
                moved = true;
            } else if run.end.is_some() {
                run.finish_input(&mut part)?;
                self.include(run, part, link, ctx);
            } else {
                break;
            }
        }
        if run.finished {
            return Ok(());
        }
        if run.closed && run.outlet.items.is_empty() {
            return run.finish(&mut self.reply, &ctx.pools.large);
        }
        if moved && run.flushes {
            run.flush(&mut self.reply, &ctx.pools.large)?;
        }
        Ok(())
    }

    /// Passes on what stands first in the outlet. Returns whether anything did.
    fn drain_outlet(&mut self, run: &mut FilterRun, ctx: &mut Context) -> Result<bool, Broken> {
        let mut moved = false;
        while self.reply.waiting_bytes() < AHEAD_BYTES {
            match run.outlet.items.pop_front() {
                None => break,
                Some(Item::Bytes(mut part)) => {
                    run.compress(&mut part, &mut self.reply, &ctx.pools.large)?;
                    moved = true;
                }
                Some(Item::Sub(id)) => {
                    let Some(mut part) = self.take_sub_output(id) else { continue };
                    run.outlet.items.push_front(Item::Sub(id));
                    if self.is_stubbed(run, id) {
                        part.clear();
                    }
                    if part.is_empty() {
                        break;
                    }
                    run.compress(&mut part, &mut self.reply, &ctx.pools.large)?;
                    moved = true;
                }
            }
        }
        Ok(moved)
    }

    /// `add_before_body`, `add_after_body`
    fn add(
        &mut self,
        run: &mut FilterRun,
        which: impl Fn(&crate::config::Addition) -> Option<Arc<[u8]>>,
        link: &Link,
        ctx: &mut Context,
    ) {
        let Some(uri) = run.addition.as_deref().and_then(which) else { return };
        self.splice(run, Chunk::from_shared(uri), Chunk::empty(), Purpose::Splice, link, ctx);
    }

    /// Begins a subrequest whose body belongs here. Returns its link's key.
    pub(super) fn splice(
        &mut self,
        run: &mut FilterRun,
        uri: Chunk,
        args: Chunk,
        purpose: Purpose,
        link: &Link,
        ctx: &mut Context,
    ) -> Option<ConnId> {
        let nature = SubNature { head_only: false, keeps_method: false };
        let id = self.spawn_sub(Wish { purpose, uri, args, nature, with_body: false }, link, ctx)?;
        if purpose == Purpose::Splice {
            run.outlet.push_sub(id);
        }
        Some(id)
    }
}
