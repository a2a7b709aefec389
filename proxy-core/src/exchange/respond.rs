//! Replies that are made here: `return`, redirects, error pages, `stub_status`.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::context::{Context, Generation};
use super::reply_body::ReplyFraming;
use super::request_body::Mode;
use super::{Ending, Exchange, Stage};
use crate::buf::Chunk;
use crate::command::{IoError, Level};
use crate::config::{ErrorPage, ErrorPageCode, ErrorPageTarget, IfModifiedSince, Template};
use crate::conn::Link;
use crate::content::conditional::{Precondition, Validators};
use crate::content::pages;
use crate::error::ClientError;
use crate::filter;
use crate::h1::encode;
use crate::http::{Method, Status, Version};
use crate::trace::Step;

/// A reply that is made here.
#[derive(Debug, Default)]
pub(crate) struct LocalReply {
    pub(crate) status: Status,
    /// None lets the URI's extension decide, as nginx does; an empty one is not sent.
    pub(crate) content_type: Option<Chunk>,
    pub(crate) body: Chunk,
    /// The body's length where `body` is not all of it, in bytes.
    pub(crate) length: Option<u64>,
    /// When what it shows was changed, in seconds since the Unix epoch.
    pub(crate) last_modified_s: Option<i64>,
    /// The Location field's value, already absolute where it should be.
    pub(crate) location: Option<Vec<u8>>,
    /// A Location that was made absolute stands before the Connection field, any other behind it.
    pub(crate) location_is_made: bool,
    /// The length is not said beforehand: chunks, or the end of the connection.
    pub(crate) streamed: bool,
    /// `Content-Encoding: gzip`
    pub(crate) gzip: bool,
    /// `Vary: Accept-Encoding`
    pub(crate) varies: bool,
    /// Nothing is said about the body: the client has it already.
    pub(crate) not_modified: bool,
    /// The ETag; empty for none.
    pub(crate) etag: Vec<u8>,
    /// Field lines that stand behind those of the headers module.
    pub(crate) late_fields: Vec<u8>,
}

impl Exchange {
    /// Sends a reply that is made here and whose every part is at hand.
    pub(crate) fn respond(&mut self, reply: LocalReply, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        self.drop_request_body(ctx);
        self.meet_expectation(link, ctx);
        let bodiless = reply.status.is_bodiless() || self.method == Method::Head || self.is_head_only();
        self.facts.reply.status = reply.status;
        self.plan_local(&reply, &generation, ctx);
        let framing = if bodiless {
            ReplyFraming::None
        } else if self.plan.length_lost || reply.streamed {
            self.unknown_length_framing(&generation)
        } else {
            ReplyFraming::Length(reply.body.len() as u64)
        };
        let framing = self.framing_for_trailers(framing, reply.status, &generation);
        self.keep_alive &= framing != ReplyFraming::UntilClose;
        self.reply.begin(framing);
        self.write_local_head(&reply, &generation, ctx);
        filter::push(&mut self.filters, &mut self.reply, reply.body);
        self.end_body(Chunk::empty(), ctx);
        self.run_filters(link, ctx);
        self.send_head(link, ctx);
        self.stage = Stage::Reply;
    }

    /// Hands the head in the scratch memory, and a small body with it, to the link.
    pub(crate) fn send_head(&mut self, link: &mut Link, ctx: &mut Context) {
        debug_assert!(!self.head_sent);
        let generation = Rc::clone(&self.generation);
        self.set_pace(&generation, link, ctx);
        let head_bytes = ctx.scratch.len();
        if self.is_sub() {
            // Its parent takes the body; the head is only asked about.
            self.facts.reply.head = ctx.take_scratch();
            self.head_sent = true;
            return;
        }
        if !link.is_stream() {
            self.reply.append_small(&mut ctx.scratch);
        }
        let chunk = ctx.take_scratch();
        self.facts.reply.head = chunk.slice(0..head_bytes);
        self.head_bytes = head_bytes as u64;
        self.head_sent = true;
        link.queue_head(chunk);
    }

    /// `return`
    pub(crate) fn respond_return(
        &mut self,
        status: Status,
        text: Option<&Template>,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        let text = text.filter(|text| status.0 < 400 || text.as_literal() != Some(b""));
        let Some(text) = text else {
            if status.0 >= 400 {
                return self.finish_with(status, link, ctx);
            }
            return self.respond_text(status, Vec::new(), generation, link, ctx);
        };
        // `$status` in the text is what will be sent.
        self.facts.reply.status = self.error_status.unwrap_or(status);
        let value = self.evaluate(text, generation, ctx);
        self.respond_text(status, value, generation, link, ctx);
    }

    fn respond_text(
        &mut self,
        status: Status,
        value: Vec<u8>,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        if is_redirect(status) {
            return self.respond_redirect(status, value, link, ctx);
        }
        let body = Chunk::from_vec(value);
        self.respond_timeless(LocalReply { status, body, ..LocalReply::default() }, generation, link, ctx);
    }

    /// Sends what is made here and has no time of change, unless a condition of the request forbids it.
    pub(crate) fn respond_timeless(
        &mut self,
        mut reply: LocalReply,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        // An error page is sent with the error's status, unless `=` gave it another.
        reply.status = self.error_status.unwrap_or(reply.status);
        let mode = self.core(generation).map_or(IfModifiedSince::Off, |core| core.if_modified_since);
        match Validators::default().weigh(&self.facts.head, mode) {
            Precondition::NotModified if reply.status == Status::OK => {
                let status = Status::NOT_MODIFIED;
                reply = LocalReply { status, not_modified: true, ..LocalReply::default() };
            }
            Precondition::Failed if reply.status == Status::OK => {
                return self.fail_status(Status::PRECONDITION_FAILED, link, ctx);
            }
            Precondition::Holds | Precondition::NotModified | Precondition::Failed => {}
        }
        self.respond(reply, link, ctx);
    }

    /// Ends with a status that a directive names; 444 closes without a word.
    pub(crate) fn finish_with(&mut self, status: Status, link: &mut Link, ctx: &mut Context) {
        if status != Status::CLOSE {
            return self.fail_status(status, link, ctx);
        }
        self.facts.reply.status = status;
        let generation = Rc::clone(&self.generation);
        let reset = self.core(&generation).is_some_and(|core| core.reset_timedout_connection);
        self.stage = Stage::Done(if reset { Ending::Reset } else { Ending::Abort });
    }

    /// A redirect with nginx's little page. A location that would break its line is our configuration's fault.
    pub(crate) fn respond_redirect(
        &mut self,
        status: Status,
        location: Vec<u8>,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        if !encode::is_clean(&location) {
            let text = format!("redirect to \"{}\" would hold a line end", location.escape_ascii());
            self.log_error(Level::Error, &text, ctx);
            return self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
        }
        if let Some(page) = self.error_page_for(status, ctx) {
            self.facts.reply.status = status;
            self.error_status = Some(status);
            // The page is sent with it.
            self.carried.location =
                self.absolute_location(&location, &Rc::clone(&self.generation)).unwrap_or(location);
            return self.go_to_error_page(&page, link, ctx);
        }
        self.error_status = None;
        let generation = Rc::clone(&self.generation);
        let absolute = self.absolute_location(&location, &generation);
        let location_is_made = absolute.is_some();
        let location = Some(absolute.unwrap_or(location));
        let reply = LocalReply { status, location, location_is_made, ..LocalReply::default() };
        self.respond_page(reply, link, ctx);
    }

    /// Sends the page of the reply's status with it.
    fn respond_page(&mut self, mut reply: LocalReply, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(core) = self.core(&generation) else { return };
        let status = reply.status;
        let padded = core.msie_padding && status.0 >= 400 && self.wants_padding();
        reply.body = pages::page(status, &self.product(core, &generation, ctx), padded);
        reply.content_type =
            Some(if reply.body.is_empty() { Chunk::empty() } else { Chunk::from_static(b"text/html") });
        reply.status = client_status(status);
        self.respond(reply, link, ctx);
    }

    /// Ends with an error that the client caused, and says so in the error log.
    pub(crate) fn fail_client(&mut self, error: ClientError, link: &mut Link, ctx: &mut Context) {
        let too_large = matches!(error, ClientError::BodyTooLarge { .. });
        let level = if too_large { Level::Error } else { Level::Info };
        let gone = error == ClientError::Closed;
        match self.upstream_work().filter(|_| gone) {
            Some(doing) => {
                let message = format!("{error}, so upstream connection is closed too while {doing}");
                self.log_error(level, &message, ctx);
            }
            None => self.log_error(level, &error, ctx),
        }
        if gone || self.head_sent {
            if !self.head_sent {
                self.facts.reply.status = error.status();
            }
            self.abandon_upstream(ctx);
            self.stage = Stage::Done(if gone { Ending::Abort } else { Ending::Close });
            return;
        }
        self.fail_status(error.status(), link, ctx);
    }

    /// Ends with a status: through `error_page` where one is set, with nginx's page otherwise.
    pub(crate) fn fail_status(&mut self, status: Status, link: &mut Link, ctx: &mut Context) {
        self.abandon_upstream(ctx);
        self.file.close(ctx);
        if self.proxy.cache.is_some() {
            if matches!(status.0, 502 | 504) {
                self.remember_error(status, ctx);
            }
            self.leave_cache(ctx);
        }
        if self.head_sent {
            self.reply.cut();
            self.stage = Stage::Reply;
            return;
        }
        self.facts.reply.status = status;
        // A timed-out or refused body is not waited for, and the rest may hide another request.
        if matches!(status.0, 400 | 408 | 413 | 414 | 494 | 495 | 496 | 497 | 500 | 501) {
            self.keep_alive = false;
        }
        self.error_status = Some(status);
        if let Some(page) = self.error_page_for(status, ctx) {
            return self.go_to_error_page(&page, link, ctx);
        }
        self.error_status = None;
        self.meta.expect_continue = false;
        self.respond_page(LocalReply { status, ..LocalReply::default() }, link, ctx);
    }

    /// The page that is set for a status. An error on the way to it does not look for its own, unless
    /// `recursive_error_pages` is on.
    fn error_page_for(&mut self, status: Status, ctx: &Context) -> Option<ErrorPage> {
        if self.in_error_page {
            return None;
        }
        let generation = Rc::clone(&self.generation);
        let core = self.core(&generation)?;
        let page = core.error_pages.iter().find(|page| page.status == status)?;
        self.in_error_page = !core.recursive_error_pages;
        ctx.note(|| Step::ErrorPage { status, location: self.facts.location });
        Some(page.clone())
    }

    /// What is fetched now is fetched with GET, whatever the client asked with.
    pub(crate) fn become_get(&mut self) {
        self.method = Method::Get;
        self.facts.became_get = !self.is_sub();
    }

    fn go_to_error_page(&mut self, page: &ErrorPage, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        match page.code {
            ErrorPageCode::Keep => self.error_status = self.error_status.map(client_status),
            ErrorPageCode::Is(status) => self.error_status = Some(status),
            ErrorPageCode::FromTarget => self.error_status = None,
        }
        match &page.target {
            ErrorPageTarget::Uri(template) => {
                let uri = self.evaluate(template, &generation, ctx);
                if self.method != Method::Head {
                    self.become_get();
                }
                self.set_uri_and_args(uri);
                self.redirect_internally(link, ctx);
            }
            ErrorPageTarget::Named(name) => self.enter_named(name, link, ctx),
            ErrorPageTarget::Redirect(template) => {
                let location = self.evaluate(template, &generation, ctx);
                let status = match page.code {
                    ErrorPageCode::Is(status) if is_redirect(status) => status,
                    ErrorPageCode::Is(_) | ErrorPageCode::Keep | ErrorPageCode::FromTarget => Status::FOUND,
                };
                self.in_error_page = true;
                self.respond_redirect(status, location, link, ctx);
            }
        }
    }

    /// `/path?args` as the URI of an internal redirect.
    pub(crate) fn set_uri_and_args(&mut self, mut uri: Vec<u8>) {
        if let Some(mark) = memchr::memchr(b'?', &uri) {
            let args = uri.split_off(mark);
            self.facts.args = Chunk::from_vec(args).slice(1..usize::MAX);
            self.facts.has_args_mark = true;
        } else {
            self.facts.args = Chunk::empty();
            self.facts.has_args_mark = false;
        }
        self.facts.uri = Chunk::from_vec(uri);
    }

    /// Ends with 500 because a temporary file does not work.
    pub(crate) fn fail_file(&mut self, error: IoError, doing: &str, link: &mut Link, ctx: &mut Context) {
        self.log_error(Level::Crit, &format_args!("temporary file failed ({error}) while {doing}"), ctx);
        self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
    }

    /// `stub_status`
    pub(crate) fn respond_stub_status(&mut self, link: &mut Link, ctx: &mut Context) {
        if !matches!(self.method, Method::Get | Method::Head) {
            return self.fail_status(Status::METHOD_NOT_ALLOWED, link, ctx);
        }
        ctx.publish_tally();
        let reply = LocalReply {
            status: Status::OK,
            content_type: Some(Chunk::from_static(b"text/plain")),
            body: Chunk::from_vec(pages::stub_status(&ctx.shared.counters)),
            ..LocalReply::default()
        };
        let generation = Rc::clone(&self.generation);
        self.respond_timeless(reply, &generation, link, ctx);
    }

    /// `empty_gif`
    pub(crate) fn respond_empty_gif(&mut self, link: &mut Link, ctx: &mut Context) {
        if !matches!(self.method, Method::Get | Method::Head) {
            return self.fail_status(Status::METHOD_NOT_ALLOWED, link, ctx);
        }
        let generation = Rc::clone(&self.generation);
        let mode = self.core(&generation).map_or(IfModifiedSince::Off, |core| core.if_modified_since);
        let status = self.error_status.unwrap_or(Status::OK);
        let validators = Validators { last_modified_s: Some(pages::EMPTY_GIF_TIME_S), etag: b"" };
        let reply =
            LocalReply { status, last_modified_s: Some(pages::EMPTY_GIF_TIME_S), ..LocalReply::default() };
        match validators.weigh(&self.facts.head, mode) {
            Precondition::NotModified if status == Status::OK => {
                let reply = LocalReply { status: Status::NOT_MODIFIED, not_modified: true, ..reply };
                self.respond(reply, link, ctx);
            }
            Precondition::Failed if status == Status::OK => {
                self.fail_status(Status::PRECONDITION_FAILED, link, ctx);
            }
            Precondition::Holds | Precondition::NotModified | Precondition::Failed => {
                let content_type = Some(Chunk::from_static(b"image/gif"));
                let body = Chunk::from_static(pages::EMPTY_GIF);
                self.respond(LocalReply { content_type, body, ..reply }, link, ctx);
            }
        }
    }

    /// Whether the reply may be framed in chunks.
    pub(crate) fn client_takes_chunks(&self) -> bool {
        self.facts.head.version >= Version::Http11 && !self.is_sub()
    }

    /// The client has sent nothing that must be read before its next request.
    pub(crate) fn request_is_consumed(&self) -> bool {
        self.body.is_complete() || self.body.mode() == Mode::Discard
    }
}

/// The status that the client sees for nginx's own codes.
const fn client_status(status: Status) -> Status {
    match status.0 {
        494..=498 => Status::BAD_REQUEST,
        _ => status,
    }
}

/// Whether `return` and `error_page` take a URL with it.
const fn is_redirect(status: Status) -> bool {
    matches!(status.0, 301 | 302 | 303 | 307 | 308)
}
