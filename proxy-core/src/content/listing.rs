//! Directories whose contents matter: `autoindex` shows them, `random_index` picks one of them.
//!
//! Both ask the driver for a listing and wait in [`Stage::File`](crate::exchange::Stage). Reference: nginx's
//! ngx_http_autoindex_module, ngx_http_random_index_module.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::autoindex::{Page, is_callback};
use super::files::{Purpose, shown};
use super::path::Mapped;
use crate::buf::Chunk;
use crate::command::{Command, DirectoryEntry, FileKind, IoError, Level};
use crate::config::AutoindexFormat;
use crate::conn::Link;
use crate::exchange::context::{Context, FileRole};
use crate::exchange::respond::LocalReply;
use crate::exchange::{Exchange, Stage};
use crate::http::{Method, Status};

impl Exchange {
    /// Asks for what is in the directory of the present URI.
    pub(super) fn list(&mut self, purpose: Purpose, mapped: Mapped, link: &mut Link, ctx: &mut Context) {
        if !self.guarded(&mapped, ctx) {
            return self.fail_status(Status::NOT_FOUND, link, ctx);
        }
        let mut path = mapped.path;
        if path.len() > 1 && path.last() == Some(&b'/') {
            path.pop();
        }
        self.stage = Stage::File;
        let file = ctx.file_key(link.id, FileRole::Content);
        let path = self.file.begin(purpose, file, path);
        ctx.commands.push_back(Command::ListDirectory { file, path });
    }

    /// What is in the directory is known, or why not.
    pub(super) fn listed(
        &mut self,
        purpose: &Purpose,
        listed: Result<Vec<DirectoryEntry>, IoError>,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        let entries = match listed {
            Ok(entries) => entries,
            Err(error) => return self.fail_listing(error, link, ctx),
        };
        self.file.close(ctx);
        if *purpose == Purpose::Pick {
            self.pick(&entries, link, ctx);
        } else {
            self.show(entries, link, ctx);
        }
    }

    fn fail_listing(&mut self, error: IoError, link: &mut Link, ctx: &mut Context) {
        let (level, status) = if error.is_absence() {
            (Level::Error, Status::NOT_FOUND)
        } else if error == IoError::ACCESS {
            (Level::Error, Status::FORBIDDEN)
        } else {
            (Level::Crit, Status::INTERNAL_SERVER_ERROR)
        };
        let message = format!("opendir() \"{}\" failed ({error})", self.file.shown_path());
        self.log_error(level, &message, ctx);
        self.fail_status(status, link, ctx);
    }

    /// `autoindex`
    fn show(&mut self, entries: Vec<DirectoryEntry>, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(core) = self.core(&generation) else { return };
        let Some(autoindex) = core.files.autoindex else { return };
        let mut callback = &[][..];
        if autoindex.format == AutoindexFormat::Jsonp {
            callback = self.facts.argument(b"callback").unwrap_or_default();
            if !is_callback(callback) {
                let what = if callback.len() > 128 { "too long" } else { "invalid" };
                let message = format!("client sent {what} callback name: \"{}\"", shown(callback));
                self.log_error(Level::Info, &message, ctx);
                return self.fail_status(Status::BAD_REQUEST, link, ctx);
            }
        }
        let mut page = Page {
            autoindex,
            uri: &self.facts.uri,
            callback,
            utc_offset_s: i64::from(ctx.now.utc_offset_s),
            utf8: false,
        };
        let content_type = page.content_type();
        page.utf8 = core.charset_for(content_type).is_some_and(|name| name.eq_ignore_ascii_case(b"utf-8"));
        let body = Chunk::from_vec(page.write(entries));
        let content_type = Some(Chunk::from_static(content_type));
        self.respond_timeless(
            LocalReply { status: Status::OK, content_type, body, streamed: true, ..LocalReply::default() },
            &generation,
            link,
            ctx,
        );
    }

    /// `random_index`: goes on with one of the files, or with `index` if there is none.
    fn pick(&mut self, entries: &[DirectoryEntry], link: &mut Link, ctx: &mut Context) {
        let files: Vec<_> = entries.iter().filter(|entry| entry.kind == FileKind::Regular).collect();
        let place = ctx.random.next() % (files.len() as u64).max(1);
        let Some(chosen) = usize::try_from(place).ok().and_then(|place| files.get(place)) else {
            return self.try_index(0, false, link, ctx);
        };
        self.facts.uri = Chunk::from_vec([self.facts.uri.as_slice(), &chosen.name].concat());
        self.redirect_internally(link, ctx);
    }

    /// Whether `random_index` is to choose, for this method.
    pub(super) fn picks_at_random(&self) -> bool {
        let asks = matches!(self.method, Method::Get | Method::Head | Method::Post);
        asks && self.core(&Rc::clone(&self.generation)).is_some_and(|core| core.files.random_index)
    }
}
