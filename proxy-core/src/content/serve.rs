//! A file on its way to the client: its head, the part of it that was asked for, no more in memory than the client takes.
//!
//! The head waits for the first bytes, so that a small file leaves with it in one piece and an unreadable one is still
//! answered with 500. Then the next block is read whenever what waits for the client is below the mark.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Range;

use super::conditional::{Precondition, Validators};
use super::files::Copy;
use super::range::{self, Wanted};
use crate::buf::Chunk;
use crate::command::{Command, FileInfo, Level};
use crate::config::CoreSettings;
use crate::conn::Link;
use crate::exchange::context::{Context, Generation};
use crate::exchange::reply_body::{ReplyFraming, Room};
use crate::exchange::request_body::Mode;
use crate::exchange::respond::LocalReply;
use crate::exchange::{Exchange, Stage};
use crate::filter;
use crate::http::{HeaderId, Method, Status, date};

/// What is left to be sent of a file.
#[derive(Debug)]
pub(crate) struct Sending {
    /// The head, until the first bytes are there.
    reply: Option<LocalReply>,
    /// The parts that are left, the first of them begun.
    parts: VecDeque<Range<u64>>,
    multipart: Option<Multipart>,
    reading: bool,
}

/// What stands around each part of several.
#[derive(Debug)]
struct Multipart {
    boundary: [u8; BOUNDARY_DIGITS],
    content_type: Vec<u8>,
    /// The whole file's length in bytes.
    length: u64,
    /// Whether the first part's delimiter was written.
    begun: bool,
}

impl Exchange {
    /// Serves the file that was opened, or says why its contents need not be sent.
    pub(super) fn serve(&mut self, info: FileInfo, copy: Copy, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(core) = self.core(&generation) else { return };
        self.drop_request_body(ctx);
        self.meet_expectation(link, ctx);
        let etag = if core.etag { etag(info) } else { Vec::new() };
        let validators = Validators { last_modified_s: Some(info.mtime_s), etag: &etag };
        let status = self.error_status.unwrap_or(Status::OK);
        let precondition = if status == Status::OK {
            validators.weigh(&self.facts.head, core.if_modified_since)
        } else {
            Precondition::Holds
        };
        let varies = copy.varies;
        let mut reply = LocalReply {
            status,
            varies,
            gzip: copy.gzip,
            last_modified_s: Some(info.mtime_s),
            ..LocalReply::default()
        };
        reply.etag.clone_from(&etag);
        match precondition {
            Precondition::Holds => self.serve_parts(info, &etag, reply, core, &generation, link, ctx),
            Precondition::NotModified => {
                reply.status = Status::NOT_MODIFIED;
                reply.not_modified = true;
                reply.gzip = false;
                self.file.close(ctx);
                self.respond(reply, link, ctx);
            }
            Precondition::Failed => {
                self.file.close(ctx);
                self.fail_status(Status::PRECONDITION_FAILED, link, ctx);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one step of the above")]
    fn serve_parts(
        &mut self,
        info: FileInfo,
        etag: &[u8],
        mut reply: LocalReply,
        core: &CoreSettings,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        let mut sending = Sending { reply: None, parts: VecDeque::new(), multipart: None, reading: false };
        reply.length = Some(info.size);
        self.plan_local(&reply, generation, ctx);
        // Ranges of compressed bytes are not offered, as with nginx.
        let whole = self.plan.length_lost || reply.gzip;
        let wanted = if whole { Wanted::All } else { self.wanted_parts(info, etag, reply.status, core) };
        match wanted {
            Wanted::All => {
                if reply.status == Status::OK && core.ranges_max != Some(0) && !whole {
                    reply.late_fields.extend_from_slice(b"Accept-Ranges: bytes\r\n");
                }
                sending.parts.extend((info.size > 0).then_some(0..info.size));
                reply.length = Some(info.size);
            }
            Wanted::Parts(parts) => {
                reply.status = Status::PARTIAL_CONTENT;
                sending.parts.extend(parts);
                self.describe_parts(&mut sending, &mut reply, info.size, generation, ctx);
            }
            Wanted::Unsatisfiable => {
                self.file.close(ctx);
                self.carried.lines = self.fields_of_ok(reply.last_modified_s, core, generation, ctx);
                let range = format!("Content-Range: bytes */{}\r\n", info.size);
                self.carried.lines.extend_from_slice(range.as_bytes());
                return self.fail_status(Status::RANGE_NOT_SATISFIABLE, link, ctx);
            }
        }
        if self.method == Method::Head || self.is_head_only() || sending.parts.is_empty() {
            self.file.close(ctx);
            return self.respond(reply, link, ctx);
        }
        sending.reply = Some(reply);
        self.file.sending = Some(sending);
        self.send_file(link, ctx);
    }

    fn wanted_parts(&self, info: FileInfo, etag: &[u8], status: Status, core: &CoreSettings) -> Wanted {
        let field = self.facts.head.value(HeaderId::Range);
        let Some(field) = field.filter(|_| status == Status::OK && core.ranges_max != Some(0)) else {
            return Wanted::All;
        };
        let validators = Validators { last_modified_s: Some(info.mtime_s), etag };
        let applies =
            self.facts.head.value(HeaderId::IfRange).is_none_or(|text| validators.allows_range(text));
        if applies { range::parse(field, info.size, core.ranges_max) } else { Wanted::All }
    }

    /// One part says in the head what it is; of several, each does.
    fn describe_parts(
        &self,
        sending: &mut Sending,
        reply: &mut LocalReply,
        length: u64,
        generation: &Generation,
        ctx: &mut Context,
    ) {
        if let [part] = sending.parts.make_contiguous() {
            reply.length = Some(part.end - part.start);
            let last = part.end - 1;
            let field = format!("Content-Range: bytes {}-{last}/{length}\r\n", part.start);
            return reply.late_fields.extend_from_slice(field.as_bytes());
        }
        let mut boundary = [b'0'; BOUNDARY_DIGITS];
        let mut random = ctx.random.next();
        for digit in &mut boundary {
            *digit += u8::try_from(random % 10).unwrap_or(0);
            random /= 10;
        }
        let mut content_type = self.content_type(generation).to_vec();
        self.append_charset(&mut content_type, generation, ctx);
        let multipart = Multipart { boundary, content_type, length, begun: false };
        let parts = sending.parts.iter();
        let bytes: u64 =
            parts.map(|part| multipart.delimiter(part).len() as u64 + part.end - part.start).sum();
        reply.length = Some(bytes + multipart.end().len() as u64);
        let boundary = core::str::from_utf8(&boundary).unwrap_or_default();
        let media = format!("multipart/byteranges; boundary={boundary}");
        reply.content_type = Some(Chunk::from_vec(media.into_bytes()));
        sending.multipart = Some(multipart);
    }

    /// Sends what was read and reads on, as far as the client keeps up.
    pub(super) fn send_file(&mut self, link: &mut Link, ctx: &mut Context) {
        if self.body.mode() == Mode::Discard && !self.pump_request_body(link, ctx) {
            return;
        }
        if let Some(read) = self.file.read.take() {
            let data = read.map(crate::buf::Buf::freeze);
            match data {
                Ok(data) if !data.is_empty() => self.pass_block(data, link, ctx),
                Ok(_) => return self.fail_read("was truncated", link, ctx),
                Err(error) => return self.fail_read(&format!("could not be read ({error})"), link, ctx),
            }
        }
        self.pump_reply_body(link, ctx);
        link.flush(ctx);
        self.read_on(link, ctx);
        if self.head_sent {
            self.finish_if_sent(link, ctx);
        }
    }

    /// Passes a block on, behind the head if that has not left yet.
    fn pass_block(&mut self, mut data: Chunk, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(sending) = &mut self.file.sending else { return };
        sending.reading = false;
        let head = sending.reply.take();
        if let Some(head) = &head {
            self.facts.reply.status = head.status;
            let length = ReplyFraming::Length(head.length.unwrap_or(0));
            let framing =
                if self.filters.is_some() { self.unknown_length_framing(&generation) } else { length };
            self.keep_alive &= framing != ReplyFraming::UntilClose;
            let framing = self.framing_for_trailers(framing, head.status, &generation);
            self.reply.begin(framing);
            self.write_local_head(head, &generation, ctx);
        }
        let Some(sending) = &mut self.file.sending else { return };
        let mut delimiter = None;
        if let (Some(multipart), Some(part)) = (&mut sending.multipart, sending.parts.front())
            && !multipart.begun
        {
            multipart.begun = true;
            delimiter = Some(multipart.delimiter(part));
        }
        if let Some(delimiter) = delimiter {
            self.reply.push(Chunk::from_vec(delimiter));
        }
        let end = sending.advance(&mut data);
        filter::push(&mut self.filters, &mut self.reply, data);
        if let Some(end) = end {
            filter::push(&mut self.filters, &mut self.reply, Chunk::from_vec(end));
            self.end_body(Chunk::empty(), ctx);
            self.file.close(ctx);
            self.stage = Stage::Reply;
        }
        if head.is_some() {
            self.run_filters(link, ctx);
            self.send_head(link, ctx);
        }
    }

    fn read_on(&mut self, link: &Link, ctx: &mut Context) {
        let Some(file) = self.file.id() else { return };
        let room = Room {
            unbuffered: false,
            memory_bytes_max: AHEAD_BYTES,
            file_bytes_max: 0,
            directory: alloc::sync::Arc::from([]),
        };
        let Some(sending) = &mut self.file.sending else { return };
        let Some(part) = sending.parts.front() else { return };
        let filters_full = self.filters.as_ref().is_some_and(|run| !run.has_room());
        if sending.reading || filters_full || !self.reply.has_room(link, &room) {
            return;
        }
        sending.reading = true;
        let len = usize::try_from(part.end - part.start).unwrap_or(usize::MAX);
        let len = len.min(ctx.pools.large.block_bytes());
        ctx.commands.push_back(Command::ReadFile { file, offset: part.start, len });
    }

    /// The file is not what its head promises: the client sees that the reply breaks off.
    fn fail_read(&mut self, what: &str, link: &mut Link, ctx: &mut Context) {
        let text = format!("\"{}\" {what} while it was sent", self.file.shown_path());
        self.log_error(Level::Alert, &text, ctx);
        self.file.close(ctx);
        self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
    }
}

impl Sending {
    /// Counts a block, cut to the part that it belongs to. Returns what stands behind the last part when that is over.
    fn advance(&mut self, data: &mut Chunk) -> Option<Vec<u8>> {
        let part = self.parts.front_mut()?;
        data.truncate(usize::try_from(part.end - part.start).unwrap_or(usize::MAX));
        part.start += data.len() as u64;
        if part.start < part.end {
            return None;
        }
        self.parts.pop_front();
        if let Some(multipart) = &mut self.multipart {
            multipart.begun = false;
        }
        if !self.parts.is_empty() {
            return None;
        }
        Some(self.multipart.as_ref().map_or_else(Vec::new, Multipart::end))
    }
}

impl Multipart {
    fn delimiter(&self, part: &Range<u64>) -> Vec<u8> {
        let mut out = b"\r\n--".to_vec();
        out.extend_from_slice(&self.boundary);
        if !self.content_type.is_empty() {
            out.extend_from_slice(b"\r\nContent-Type: ");
            out.extend_from_slice(&self.content_type);
        }
        let (start, last, length) = (part.start, part.end - 1, self.length);
        out.extend_from_slice(format!("\r\nContent-Range: bytes {start}-{last}/{length}\r\n\r\n").as_bytes());
        out
    }

    fn end(&self) -> Vec<u8> {
        [&b"\r\n--"[..], &self.boundary, b"--\r\n"].concat()
    }
}

/// `"mtime-size"` in hexadecimal digits.
fn etag(info: FileInfo) -> Vec<u8> {
    format!("\"{:x}-{:x}\"", info.mtime_s, info.size).into_bytes()
}

/// `Last-Modified: …` with its line end.
pub(crate) fn last_modified_field(unix_s: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Last-Modified: ");
    date::write_imf(out, unix_s);
    out.extend_from_slice(b"\r\n");
}

/// How many digits a boundary has, as nginx's.
const BOUNDARY_DIGITS: usize = 20;

/// How much of a file may wait for the client, in bytes.
const AHEAD_BYTES: usize = 128 * 1024;
