//! Files that are looked for: `try_files`, `index`, `root` and `alias`, and what `if` asks about.
//!
//! The core cannot look at a file: it asks the driver to open it and waits in [`Stage::File`]. What the answer is for is
//! its [`Purpose`]; each answer leads to the next question or to a reply.
//!
//! ```text
//! if -f ─► (the rewrite program goes on)
//! try_files: $uri? ─► $uri/? ─► … ─► fallback          found: its URI, then the content
//! content:  URI ends in `/`? index 1? ─► (directory?) ─► index 2? ─► … ─► 403
//!                            └─ found: internal redirect to it
//!           otherwise: its `.gz` neighbour? ─► the file: serve, 301 with a slash, 404, 403
//! ```
//! Reference: nginx's ngx_http_try_files_module, ngx_http_index_module, ngx_http_static_module.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::path::{Alias, Mapped};
use super::serve::Sending;
use crate::buf::{Buf, Chunk};
use crate::command::{
    Completion, DirectoryEntry, FileId, FileInfo, FileKind, IoError, Level, OpenMode, SymlinkCheck,
};
use crate::config::{GzipStatic, Template, TryFallback};
use crate::conn::Link;
use crate::exchange::context::{Context, FileRole, Generation};
use crate::exchange::{Exchange, Stage};
use crate::http::{Method, Status};

/// A file being looked for or sent.
#[derive(Debug, Default)]
pub(crate) struct FileRun {
    purpose: Purpose,
    file: Option<FileId>,
    /// The path of the last question. No empty `Arc` stands for none: that one is shared by all threads.
    path: Option<Arc<[u8]>>,
    opened: Option<Result<FileInfo, IoError>>,
    pub(super) read: Option<Result<Buf, IoError>>,
    pub(super) listed: Option<Result<Vec<DirectoryEntry>, IoError>>,
    pub(super) sending: Option<Sending>,
    /// The reply depends on Accept-Encoding.
    varies: bool,
    /// It is opened link by link.
    checked: bool,
}

/// Which copy of a file is served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    /// The compressed one.
    pub(super) gzip: bool,
    /// Another client may get the other one.
    pub(super) varies: bool,
}

/// Why a file is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Nothing is asked.
    #[default]
    Nothing,
    /// `if` asks about it.
    Condition,
    /// The candidate of `try_files` at this place; the URI that it stands for.
    Candidate { at: usize, uri: Vec<u8> },
    /// The name of `index` at this place, and whether the directory is known to be one.
    Index { at: usize, name: Vec<u8>, directory_known: bool },
    /// The directory of a URI, because the index file at this place is not in it, if it exists; the index file's path.
    Directory { at: usize, missing: Arc<[u8]> },
    /// To be served.
    Serve,
    /// To be served in place of the file without `.gz`, if it exists (`gzip_static`).
    ServeGzip,
    /// A directory that `autoindex` shows.
    List,
    /// A directory that `random_index` takes a file from.
    Pick,
}

impl FileRun {
    /// An operation is complete.
    pub(crate) fn handle(&mut self, file: FileId, completion: Completion) {
        if self.file != Some(file) {
            return;
        }
        match completion {
            Completion::OpenFile { result, .. } => self.opened = Some(result),
            Completion::ReadFile { result, .. } => self.read = Some(result),
            Completion::ListDirectory { result, .. } => self.listed = Some(result),
            Completion::Connect { .. }
            | Completion::Recv { .. }
            | Completion::Send { .. }
            | Completion::WriteFile { .. }
            | Completion::Verify { .. }
            | Completion::RenameFile { .. }
            | Completion::FreeSpace { .. }
            | Completion::Resolve { .. } => {}
        }
    }

    /// Lets the file go.
    pub(crate) fn close(&mut self, ctx: &mut Context) {
        if let Some(file) = self.file.take() {
            ctx.close_file(file);
        }
        self.opened = None;
        self.read = None;
        self.listed = None;
        self.sending = None;
    }

    /// Another question: the key and the path it is asked with.
    pub(super) fn begin(&mut self, purpose: Purpose, file: FileId, path: Vec<u8>) -> Arc<[u8]> {
        let path: Arc<[u8]> = path.into();
        self.purpose = purpose;
        self.file = Some(file);
        self.path = Some(Arc::clone(&path));
        path
    }

    /// The open file.
    pub(super) const fn id(&self) -> Option<FileId> {
        self.file
    }

    /// The call that opens it, for the log.
    pub(super) const fn call(&self) -> &'static str {
        if self.checked { "openat()" } else { "open()" }
    }

    /// Its path, for the log.
    pub(crate) fn shown_path(&self) -> String {
        shown(self.path.as_deref().unwrap_or_default())
    }
}

impl Exchange {
    /// Asks for a file; the exchange goes on when it is known.
    pub(crate) fn look_up(&mut self, purpose: Purpose, path: Vec<u8>, link: &Link, ctx: &mut Context) {
        self.file.close(ctx);
        self.file.purpose = purpose;
        let path: Arc<[u8]> = path.into();
        self.file.path = Some(Arc::clone(&path));
        self.stage = Stage::File;
        if path.first() != Some(&b'/') || memchr::memchr(0, &path).is_some() {
            // No file can have this name; the exchange goes on with its next step.
            self.file.opened = Some(Err(IoError::NOT_FOUND));
            return;
        }
        let mode = self.open_mode(&path, ctx);
        self.file.checked = matches!(mode, OpenMode::ReadChecked(_));
        self.file.file = Some(ctx.open_file(link.id, FileRole::Content, path, mode));
    }

    /// How files are opened here (`disable_symlinks`).
    fn open_mode(&self, path: &[u8], ctx: &Context) -> OpenMode {
        let generation = Rc::clone(&self.generation);
        let symlinks = self.core(&generation).and_then(|core| core.files.symlinks.as_ref());
        let Some(symlinks) = symlinks else { return OpenMode::Read };
        let from = symlinks.from.as_ref().map(|from| self.evaluate(from, &generation, ctx));
        let from = from.as_deref().unwrap_or_default();
        let from = from.strip_suffix(b"/").unwrap_or(from);
        let begins = path.starts_with(from) && matches!(path.get(from.len()), None | Some(b'/'));
        let from = if begins { from.len() } else { 0 };
        OpenMode::ReadChecked(SymlinkCheck { from, same_owner: symlinks.same_owner })
    }

    /// Goes on with what became known.
    pub(crate) fn run_file(&mut self, link: &mut Link, ctx: &mut Context) {
        if self.file.sending.is_some() {
            return self.send_file(link, ctx);
        }
        if let Some(listed) = self.file.listed.take() {
            let purpose = core::mem::take(&mut self.file.purpose);
            return self.listed(&purpose, listed, link, ctx);
        }
        // Each answer leads to one next question at the most, and those are counted by the configuration's lists.
        while self.stage == Stage::File
            && self.file.sending.is_none()
            && let Some(found) = self.file.opened.take()
        {
            let purpose = core::mem::take(&mut self.file.purpose);
            if !matches!(purpose, Purpose::Serve | Purpose::ServeGzip)
                && let Some(file) = self.file.file.take()
            {
                ctx.close_file(file);
            }
            match purpose {
                Purpose::Nothing | Purpose::List | Purpose::Pick => {}
                Purpose::Condition => self.resume_program(found, link, ctx),
                Purpose::Candidate { at, uri } => self.candidate_known(at, uri, found, link, ctx),
                Purpose::Index { at, name, directory_known } => {
                    self.index_known(at, &name, directory_known, found, link, ctx);
                }
                Purpose::Directory { at, missing } => self.directory_known(at, missing, found, link, ctx),
                Purpose::Serve => self.serve_opened(found, link, ctx),
                Purpose::ServeGzip => self.gzip_known(found, link, ctx),
            }
        }
    }

    /// Looks for the candidate of `try_files` at this place, or goes where it says if there is none left.
    pub(crate) fn try_file(&mut self, at: usize, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let tries = self.location(&generation).and_then(|location| location.try_files.as_ref());
        let Some(tries) = tries else { return self.run_content(link, ctx) };
        for (at, (template, _)) in tries.files.iter().enumerate().skip(at) {
            let Some(mut mapped) = self.map_root(&generation, ctx) else {
                return self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
            };
            let uri = self.candidate_text(template, &generation, ctx);
            mapped.path.extend_from_slice(&uri);
            if self.guarded(&mapped, ctx) {
                return self.look_up(Purpose::Candidate { at, uri }, mapped.path, link, ctx);
            }
        }
        self.fall_back(&tries.fallback, &generation, link, ctx);
    }

    /// A candidate's text. Where it is computed and begins with what the `alias` stands for, that part is dropped: so
    /// `$uri` names the file that the URI maps to.
    fn candidate_text(&self, template: &Template, generation: &Generation, ctx: &Context) -> Vec<u8> {
        let mut text = self.evaluate(template, generation, ctx);
        if let Alias::Prefix(bytes) = self.alias(generation)
            && template.as_literal().is_none()
            && let Some(matched) = self.facts.uri.get(..bytes)
            && text.starts_with(matched)
        {
            text.drain(..bytes);
        }
        text
    }

    fn candidate_known(
        &mut self,
        at: usize,
        text: Vec<u8>,
        found: Result<FileInfo, IoError>,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        let generation = Rc::clone(&self.generation);
        let tries = self.location(&generation).and_then(|location| location.try_files.as_ref());
        let wants_directory = tries.and_then(|tries| tries.files.get(at)).is_some_and(|(_, is)| *is);
        if let Err(error) = found.as_ref()
            && !error.is_absence()
        {
            let message = format!("{} \"{}\" failed ({error})", self.file.call(), self.file.shown_path());
            self.log_error(Level::Crit, &message, ctx);
        }
        if !found.is_ok_and(|info| (info.kind == FileKind::Directory) == wants_directory) {
            return self.try_file(at + 1, link, ctx);
        }
        match self.alias(&generation) {
            Alias::None => self.facts.uri = Chunk::from_vec(text),
            Alias::Whole if wants_directory => {}
            Alias::Whole => {
                self.facts.uri = Chunk::from_vec(text);
                self.add_uri_to_alias = true;
            }
            Alias::Prefix(bytes) => {
                let matched = self.facts.uri.get(..bytes).unwrap_or_default();
                self.facts.uri = Chunk::from_vec([matched, &text].concat());
            }
        }
        self.stage = Stage::Phases;
        self.run_content(link, ctx);
    }

    fn fall_back(
        &mut self,
        fallback: &TryFallback,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        match fallback {
            TryFallback::Status(status) => self.finish_with(Status(*status), link, ctx),
            TryFallback::Named(name) => self.enter_named(name, link, ctx),
            TryFallback::Uri(template) => {
                let uri = self.candidate_text(template, generation, ctx);
                self.set_uri_and_args(uri);
                self.redirect_internally(link, ctx);
            }
        }
    }

    /// Makes the reply from files: the index of a directory, or the file itself.
    pub(crate) fn start_files(&mut self, link: &mut Link, ctx: &mut Context) {
        if !matches!(self.method, Method::Get | Method::Head | Method::Post) {
            return self.fail_status(Status::METHOD_NOT_ALLOWED, link, ctx);
        }
        if self.facts.uri.ends_with(b"/") {
            if self.picks_at_random() {
                return self.list_uri(Purpose::Pick, link, ctx);
            }
            return self.try_index(0, false, link, ctx);
        }
        let generation = Rc::clone(&self.generation);
        let filters = self.location(&generation).and_then(|location| location.filters.as_deref());
        let gzip = filters.is_some_and(|filters| match filters.gzip_static {
            GzipStatic::Off => false,
            GzipStatic::On => filters.negotiation.vary || self.takes_gzip_copy(filters, ctx),
            GzipStatic::Always => true,
        });
        if gzip && matches!(self.method, Method::Get | Method::Head) {
            return self.look_for(Purpose::ServeGzip, b".gz", link, ctx);
        }
        self.look_for(Purpose::Serve, b"", link, ctx);
    }

    /// Looks for the file of the present URI, `ending` behind its name.
    fn look_for(&mut self, purpose: Purpose, ending: &[u8], link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(mut mapped) = self.map_uri(&generation, ctx) else {
            return self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
        };
        mapped.path.extend_from_slice(ending);
        if !self.guarded(&mapped, ctx) {
            return self.fail_status(Status::NOT_FOUND, link, ctx);
        }
        self.look_up(purpose, mapped.path, link, ctx);
    }

    /// Asks for what is in the directory of the present URI.
    fn list_uri(&mut self, purpose: Purpose, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        match self.map_uri(&generation, ctx) {
            Some(mapped) => self.list(purpose, mapped, link, ctx),
            None => self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx),
        }
    }

    /// Looks for the name of `index` at this place.
    pub(super) fn try_index(&mut self, at: usize, directory_known: bool, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(core) = self.core(&generation) else { return };
        let Some(mut mapped) = self.map_uri(&generation, ctx) else {
            return self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
        };
        let Some(template) = core.index.get(at) else {
            return self.show_or_forbid(mapped, directory_known, link, ctx);
        };
        let name = self.evaluate(template, &generation, ctx);
        if name.first() == Some(&b'/') {
            self.facts.uri = Chunk::from_vec(name);
            return self.redirect_internally(link, ctx);
        }
        mapped.path.extend_from_slice(&name);
        let guarded = mapped.is_inside();
        self.look_up(Purpose::Index { at, name, directory_known }, mapped.path, link, ctx);
        if !guarded {
            // An `alias` without its slash and a name are no file of that directory.
            self.file.close(ctx);
            self.file.opened = Some(Err(IoError::NOT_FOUND));
        }
    }

    fn index_known(
        &mut self,
        at: usize,
        name: &[u8],
        directory_known: bool,
        found: Result<FileInfo, IoError>,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        let missing = self.file.path.clone().unwrap_or_default();
        match found {
            Ok(_) => {
                self.facts.uri = Chunk::from_vec([&self.facts.uri, name].concat());
                self.redirect_internally(link, ctx);
            }
            Err(IoError::NOT_FOUND) if directory_known => self.try_index(at + 1, true, link, ctx),
            Err(IoError::NOT_FOUND) => {
                let end = missing.len() - name.len();
                let directory = missing.get(..end).unwrap_or_default().to_vec();
                self.look_up(Purpose::Directory { at, missing }, directory, link, ctx);
            }
            Err(error) => self.fail_index(error, &missing, link, ctx),
        }
    }

    fn directory_known(
        &mut self,
        at: usize,
        missing: Arc<[u8]>,
        found: Result<FileInfo, IoError>,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        match found {
            Ok(info) if info.kind == FileKind::Directory => self.try_index(at + 1, true, link, ctx),
            Ok(_) => {
                let text = format!("\"{}\" is not a directory", shown(&missing));
                self.log_error(Level::Alert, &text, ctx);
                self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
            }
            Err(error) => self.fail_index(error, &missing, link, ctx),
        }
    }

    fn fail_index(&mut self, error: IoError, path: &[u8], link: &mut Link, ctx: &mut Context) {
        let path = shown(path);
        if error.is_absence() {
            if self.logs_not_found() {
                self.log_error(Level::Error, &format!("\"{path}\" is not found ({error})"), ctx);
            }
            return self.fail_status(Status::NOT_FOUND, link, ctx);
        }
        if is_denial(error) {
            self.log_error(Level::Error, &format!("\"{path}\" is forbidden ({error})"), ctx);
            return self.fail_status(Status::FORBIDDEN, link, ctx);
        }
        self.log_error(Level::Crit, &format!("{} \"{path}\" failed ({error})", self.file.call()), ctx);
        self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
    }

    /// None of the index files is in the directory: `autoindex` lists it, or nobody.
    fn show_or_forbid(&mut self, mapped: Mapped, known: bool, link: &mut Link, ctx: &mut Context) {
        debug_assert!(
            known || self.core(&Rc::clone(&self.generation)).is_none_or(|core| core.index.is_empty())
        );
        let lists =
            self.core(&Rc::clone(&self.generation)).is_some_and(|core| core.files.autoindex.is_some());
        if lists && matches!(self.method, Method::Get | Method::Head) {
            return self.list(Purpose::List, mapped, link, ctx);
        }
        let path = shown(&mapped.path);
        self.log_error(Level::Error, &format!("directory index of \"{path}\" is forbidden"), ctx);
        self.fail_status(Status::FORBIDDEN, link, ctx);
    }

    fn serve_opened(&mut self, found: Result<FileInfo, IoError>, link: &mut Link, ctx: &mut Context) {
        match found {
            Ok(info) => match info.kind {
                FileKind::Regular if self.method == Method::Post => {
                    self.fail_status(Status::METHOD_NOT_ALLOWED, link, ctx);
                }
                FileKind::Regular => {
                    let varies = core::mem::take(&mut self.file.varies);
                    self.serve(info, Copy { gzip: false, varies }, link, ctx);
                }
                FileKind::Directory => self.redirect_to_slash(link, ctx),
                FileKind::Other => {
                    let text = format!("\"{}\" is not a regular file", self.file.shown_path());
                    self.log_error(Level::Crit, &text, ctx);
                    self.fail_status(Status::NOT_FOUND, link, ctx);
                }
            },
            Err(error) => self.fail_open(error, link, ctx),
        }
    }

    /// Whether the compressed neighbour of a file exists is known.
    fn gzip_known(&mut self, found: Result<FileInfo, IoError>, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let filters = self.location(&generation).and_then(|location| location.filters.as_deref());
        let Some(filters) = filters else { return };
        let negotiated = filters.gzip_static == GzipStatic::On;
        let allowed = !negotiated || self.takes_gzip_copy(filters, ctx);
        let varies = negotiated && filters.negotiation.vary;
        match found {
            Ok(info) if allowed && info.kind == FileKind::Regular => {
                return self.serve(info, Copy { gzip: true, varies }, link, ctx);
            }
            Ok(info) if allowed && info.kind == FileKind::Other => {
                let text = format!("\"{}\" is not a regular file", self.file.shown_path());
                self.log_error(Level::Crit, &text, ctx);
                return self.fail_status(Status::NOT_FOUND, link, ctx);
            }
            // The reply would have been another one for another client.
            Ok(_) => self.file.varies = varies,
            Err(error) if error.is_absence() => {}
            Err(error) => {
                let level = if is_denial(error) { Level::Error } else { Level::Crit };
                let text = format!("{} \"{}\" failed ({error})", self.file.call(), self.file.shown_path());
                self.log_error(level, &text, ctx);
            }
        }
        self.look_for(Purpose::Serve, b"", link, ctx);
    }

    fn fail_open(&mut self, error: IoError, link: &mut Link, ctx: &mut Context) {
        let (level, status) = if error.is_absence() {
            (Level::Error, Status::NOT_FOUND)
        } else if is_denial(error) {
            (Level::Error, Status::FORBIDDEN)
        } else {
            (Level::Crit, Status::INTERNAL_SERVER_ERROR)
        };
        if status != Status::NOT_FOUND || self.logs_not_found() {
            let text = format!("{} \"{}\" failed ({error})", self.file.call(), self.file.shown_path());
            self.log_error(level, &text, ctx);
        }
        self.fail_status(status, link, ctx);
    }

    fn logs_not_found(&self) -> bool {
        self.core(&Rc::clone(&self.generation)).is_some_and(|core| core.log_not_found)
    }
}

/// `EACCES`, or a symbolic link that is not followed (`ELOOP`, `EMLINK`).
const fn is_denial(error: IoError) -> bool {
    matches!(error.errno, 13 | 31 | 40)
}

/// Bytes for the error log: text as it is, and nothing that would move the cursor.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(bytes).chars() {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}
