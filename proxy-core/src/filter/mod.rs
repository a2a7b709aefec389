//! Body filters: what changes a reply's body between its source and the client.
//!
//! ```text
//! source ─► input ─► gunzip ─► sub ─► ssi ─► outlet ─► gzip ─► reply body ─► link
//!                                            ▲
//!              bodies of subrequests (ssi, addition)
//! ```
//! Which of them a location has is settled at load, and [`plan`] decides for each reply which of those apply: it also
//! says what becomes of the head, since a body that changes has no length, no ranges and no strong ETag any more. A
//! reply without filters has no [`FilterRun`], and that is all it pays.
//!
//! The order is nginx's. What the source gave waits in `input` while the client is slow, so that a filter never makes
//! more than there is room for.

pub(crate) mod gunzip;
pub(crate) mod gzip;
pub(crate) mod negotiate;
pub(crate) mod outlet;
pub(crate) mod plan;
pub(crate) mod ssi;
pub(crate) mod sub;

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::buf::{Chain, Chunk, Pool};
use crate::config::Addition;
use crate::exchange::reply_body::ReplyBody;
use gunzip::Gunzip;
use gzip::{Deflaters, Gzip};
use outlet::Outlet;
use ssi::Ssi;
use sub::Sub;

/// A body that a filter cannot go on with, in the words of nginx's error log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) &'static str);

/// The filters of one reply, and what waits in front of them.
#[derive(Debug, Default)]
pub(crate) struct FilterRun {
    input: Chain,
    gunzip: Option<Gunzip>,
    sub: Option<Sub>,
    gzip: Option<Gzip>,
    /// `add_before_body` and `add_after_body`
    addition: Option<Arc<Addition>>,
    ssi: Option<Box<Ssi>>,
    /// What is left of the body, in order: bytes, and the subrequests whose bodies belong between them.
    outlet: Outlet,
    /// Whatever comes is passed on at once: nobody gathers it.
    flushes: bool,
    /// Whether the first part has passed.
    begun: bool,
    /// Whether the source's last part was taken.
    input_done: bool,
    /// Whether nothing more comes into the outlet.
    closed: bool,
    /// The trailers, once the source has given all.
    end: Option<Chunk>,
    finished: bool,
}

/// Bytes from the source.
pub(crate) fn push(filters: &mut Option<Box<FilterRun>>, reply: &mut ReplyBody, data: Chunk) {
    match filters {
        None => reply.push(data),
        Some(run) => run.input.push_compact(data),
    }
}

/// The source has given all.
pub(crate) fn end(filters: &mut Option<Box<FilterRun>>, reply: &mut ReplyBody, trailers: Chunk) {
    match filters {
        None => reply.end(trailers),
        Some(run) => run.end = Some(trailers),
    }
}

/// Whether the source has given all.
pub(crate) fn source_ended(filters: Option<&FilterRun>, reply: &ReplyBody) -> bool {
    reply.source_ended() || filters.is_some_and(|run| run.end.is_some() || run.finished)
}

impl FilterRun {
    /// Whether the source may give more.
    pub(crate) fn has_room(&self) -> bool {
        self.input.len() < INPUT_BYTES_MAX
            && self.outlet.bytes() < AHEAD_BYTES
            && self.gunzip.as_ref().is_none_or(|gunzip| !gunzip.is_waiting())
    }

    /// The next part of the body as its source meant it. Returns whether there was one.
    fn take_input(&mut self, part: &mut Chain, pool: &Pool) -> Result<bool, Broken> {
        let Some(gunzip) = &mut self.gunzip else {
            *part = self.input.split_to(AHEAD_BYTES);
            return Ok(!part.is_empty());
        };
        while let Some(chunk) = self.input.pop_front() {
            gunzip.feed(chunk);
        }
        gunzip.pump(part, pool)
    }

    /// Puts the replacements of `sub_filter` in.
    fn substitute(&mut self, part: &mut Chain) {
        let Some(sub) = &mut self.sub else { return };
        let mut changed = Chain::new();
        while let Some(chunk) = part.pop_front() {
            sub.feed(chunk, &mut changed);
        }
        *part = changed;
    }

    fn compress(&mut self, part: &mut Chain, reply: &mut ReplyBody, pool: &Pool) -> Result<(), Broken> {
        let Some(gzip) = &mut self.gzip else {
            hand_on(part, reply);
            return Ok(());
        };
        let mut packed = Chain::new();
        while let Some(chunk) = part.pop_front() {
            gzip.feed(&chunk, &mut packed, pool)?;
        }
        hand_on(&mut packed, reply);
        Ok(())
    }

    fn flush(&mut self, reply: &mut ReplyBody, pool: &Pool) -> Result<(), Broken> {
        if let Some(gzip) = &mut self.gzip {
            let mut packed = Chain::new();
            gzip.flush(&mut packed, pool)?;
            hand_on(&mut packed, reply);
        }
        Ok(())
    }

    /// The source has given all, and all of it was fed: what is held back comes out.
    fn finish_input(&mut self, rest: &mut Chain) -> Result<(), Broken> {
        self.input_done = true;
        if let Some(gunzip) = &self.gunzip {
            gunzip.finish()?;
        }
        if let Some(sub) = &mut self.sub {
            sub.finish(rest);
        }
        Ok(())
    }

    /// Everything went through.
    fn finish(&mut self, reply: &mut ReplyBody, pool: &Pool) -> Result<(), Broken> {
        if let Some(gzip) = &mut self.gzip {
            let mut packed = Chain::new();
            gzip.finish(&mut packed, pool)?;
            hand_on(&mut packed, reply);
        }
        self.finished = true;
        reply.end(self.end.take().unwrap_or_default());
        Ok(())
    }

    /// How many bytes were compressed, and to how many, once that is over.
    pub(crate) fn gzip_totals(&self) -> Option<(u64, u64)> {
        self.gzip.as_ref().filter(|_| self.finished).map(Gzip::totals)
    }

    /// Gives back what can be used again.
    pub(crate) fn close(self, deflaters: &mut Deflaters) {
        if let Some(gzip) = self.gzip {
            deflaters.end(gzip);
        }
    }
}

fn hand_on(part: &mut Chain, reply: &mut ReplyBody) {
    while let Some(chunk) = part.pop_front() {
        reply.push(chunk);
    }
}

/// How much may wait in front of the filters before the source has to, in bytes.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// How much may wait behind the filters before they do, in bytes.
const AHEAD_BYTES: usize = 64 * 1024;
