//! `proxy_store`: a copy of a whole reply becomes a file, for `root` or `alias` to find from then on.
//!
//! The copy is written by the cache's writers: to a temporary file that gets its name when the reply is whole.
//! Reference: nginx's `ngx_http_upstream_store`.

use alloc::format;
use alloc::vec::Vec;

use crate::buf::Chunk;
use crate::cache::writer;
use crate::command::{FileFinish, Level};
use crate::config::{Proxy, Store};
use crate::conn::Link;
use crate::content::path::Mapped;
use crate::exchange::Exchange;
use crate::exchange::context::{Context, Generation};
use crate::http::date::parse as parse_date;
use crate::http::{HeaderId, Method, Status};

/// A temporary file's name ends in so many digits, as nginx's.
const TEMP_NAMES: u64 = 10_000_000_000;

impl Exchange {
    /// The head has gone to the client: begins the copy, if it is a reply that is copied.
    pub(super) fn begin_stored(
        &mut self,
        store: &Store,
        proxy: &Proxy,
        generation: &Generation,
        link: &Link,
        ctx: &mut Context,
    ) {
        let head = self.facts.upstream_head.as_ref().filter(|head| head.status == Some(Status::OK));
        let Some(head) = head.filter(|_| self.method != Method::Head) else { return };
        let modified_s = head.value(HeaderId::LastModified).and_then(parse_date);
        let Some(path) = self.stored_path(store, generation, ctx) else { return };
        let number = ctx.random.next() % TEMP_NAMES;
        let temp = [&proxy.buffering.temp_path, format!("/{number:010}").as_bytes()].concat();
        let finish = Some(FileFinish { mode: store.mode, modified_s });
        let place = writer::Place { temp: temp.into(), path: path.into(), finish };
        self.proxy.stored = Some(writer::begin(None, place, Chunk::empty(), link.id, ctx));
    }

    /// Where the copy goes. What a client says never leads out of the directory that the configuration names.
    fn stored_path(&self, store: &Store, generation: &Generation, ctx: &mut Context) -> Option<Vec<u8>> {
        let mapped = match &store.path {
            None => self.map_uri(generation, ctx)?,
            Some(template) => Mapped::of_template(template, self.evaluate(template, generation, ctx)),
        };
        if mapped.path.ends_with(b"/") {
            let path = crate::content::files::shown(&mapped.path);
            self.log_error(Level::Error, &format!("\"{path}\" is a directory and cannot be stored to"), ctx);
            return None;
        }
        self.guarded(&mapped, ctx).then_some(mapped.path)
    }
}
