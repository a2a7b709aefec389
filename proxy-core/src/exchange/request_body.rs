//! The request body on its way from the client: decoded, counted, held, spilled or thrown away.
//!
//! ```text
//!             ┌─ Untouched ──(someone wants it)──┐
//!             │                                  ▼
//!             │            Buffer: held in memory, then in a file ──► whole: may be sent many times
//!             │            Stream: held until the upstream takes it ─► gone once sent
//!             └─(nobody wants it)──► Discard: read and forgotten, up to a bound
//! ```

use alloc::format;
use alloc::sync::Arc;

use super::context::{Context, FileRole};
use super::spill::Spill;
use crate::buf::{Chain, Chunk};
use crate::command::{IoError, Room};
use crate::config::{BodyInFile, ClientBody};
use crate::conn::Link;
use crate::conn::link::Ended;
use crate::error::ClientError;
use crate::h1::body::{BodyDecoder, Decoded};
use crate::http::framing::BodyFraming;

/// What becomes of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nobody has asked for it yet.
    #[default]
    Untouched,
    /// All of it is gathered first.
    Buffer,
    /// It is passed on as it comes.
    Stream,
    /// Nobody will: what comes is dropped.
    Discard,
}

/// A request body.
#[derive(Debug, Default)]
pub(crate) struct RequestBody {
    decoder: BodyDecoder,
    mode: Mode,
    held: Chain,
    spill: Option<Spill>,
    /// The name of its file, where that has one.
    file_name: Option<Arc<[u8]>>,
    /// How many names were taken already.
    names_tried: u8,
    received_bytes: u64,
    complete: bool,
    /// The lines that came behind it, each with its line end.
    trailers: Chunk,
}

impl RequestBody {
    /// The body of a request that was framed so.
    pub(crate) fn new(framing: BodyFraming) -> Self {
        let complete = matches!(framing, BodyFraming::None | BodyFraming::Length(0));
        Self { decoder: BodyDecoder::new(framing), complete, ..Self::default() }
    }

    /// The body of a request on a stream, which has taken the framing off already.
    pub(crate) fn of_stream(framing: BodyFraming) -> Self {
        let whole = Self::new(framing);
        if whole.complete { whole } else { Self { decoder: BodyDecoder::UntilClose, ..whole } }
    }

    /// The same body for a subrequest: shared, where it is in memory.
    pub(crate) fn shared(&self) -> Option<Self> {
        let whole = self.mode == Mode::Buffer && self.complete && self.spill.is_none();
        whole.then(|| Self {
            mode: Mode::Buffer,
            held: self.held.clone(),
            received_bytes: self.received_bytes,
            complete: true,
            ..Self::default()
        })
    }

    /// Whether all of it was read from the client.
    pub(crate) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether all of it was read and, where it goes to a file, written.
    pub(crate) fn is_gathered(&self) -> bool {
        self.complete && self.spill.as_ref().is_none_or(|spill| spill.is_ready() && self.held.is_empty())
    }

    /// What becomes of it.
    pub(crate) const fn mode(&self) -> Mode {
        self.mode
    }

    /// Says what becomes of it. What was held for nobody is dropped.
    pub(crate) fn set_mode(&mut self, mode: Mode, ctx: &mut Context) {
        self.mode = mode;
        if mode == Mode::Discard {
            self.held.clear();
            if let Some(spill) = self.spill.take() {
                spill.close(ctx);
            }
        }
    }

    /// Decoded bytes so far.
    pub(crate) const fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The lines that came behind it, each with its line end; what may not stand there is left out already.
    pub(crate) const fn trailers(&self) -> &Chunk {
        &self.trailers
    }

    /// The decoded bytes that are in memory.
    pub(crate) const fn held(&self) -> &Chain {
        &self.held
    }

    /// Takes the decoded bytes that are in memory: they are passed on for good.
    pub(crate) fn take_held(&mut self) -> Chain {
        core::mem::take(&mut self.held)
    }

    /// The file that holds it.
    pub(crate) const fn spill(&mut self) -> Option<&mut Spill> {
        self.spill.as_mut()
    }

    /// Decodes what the client has sent and asks it for more, as far as there is room.
    ///
    /// # Errors
    /// Broken framing, or more than `client_max_body_size`.
    pub(crate) fn pump(
        &mut self,
        link: &mut Link,
        settings: &ClientBody,
        ctx: &mut Context,
    ) -> Result<(), ClientError> {
        if self.mode == Mode::Untouched {
            return Ok(());
        }
        while !self.complete && link.has_input() && self.has_room(settings) {
            self.decode(link, settings)?;
        }
        if self.decoder.ends_with_connection() && link.ended() == Some(Ended::Eof) {
            // Only a stream's body ends so; that it has the length that was announced is the stream's affair.
            self.complete = true;
            self.trailers = link.take_trailers();
        }
        self.spill_over(link, settings, ctx);
        if !self.complete && self.has_room(settings) {
            link.want_recv(Room::Large, ctx);
        }
        Ok(())
    }

    fn decode(&mut self, link: &mut Link, settings: &ClientBody) -> Result<(), ClientError> {
        let decoded = self.decoder.decode(link.inbox()).map_err(|_| ClientError::InvalidChunk)?;
        match decoded {
            Decoded::NeedMore => {}
            Decoded::Data(data) => {
                self.received_bytes += data.len() as u64;
                if settings.bytes_max.is_some_and(|max| self.received_bytes > max)
                    && self.mode != Mode::Discard
                {
                    return Err(ClientError::BodyTooLarge { bytes: self.received_bytes });
                }
                if self.mode != Mode::Discard {
                    self.held.push_compact(data);
                }
                // A body of a known length has ended with its last byte.
                self.complete = self.decoder.is_ended();
            }
            Decoded::End(trailers) => {
                self.complete = true;
                self.trailers = trailers;
            }
        }
        Ok(())
    }

    /// Whether more may be held: one further read at the most goes above `client_body_buffer_size`.
    fn has_room(&self, settings: &ClientBody) -> bool {
        self.held.len() <= settings.buffer_bytes
    }

    /// Moves what does not fit in memory to a temporary file; once there is one, all goes there.
    fn spill_over(&mut self, link: &Link, settings: &ClientBody, ctx: &mut Context) {
        if self.mode != Mode::Buffer {
            return;
        }
        match &mut self.spill {
            None if settings.in_file != BodyInFile::No => self.open_named(link, settings, ctx),
            Some(spill)
                if spill.failed() == Some(IoError::EXISTS)
                    && self.file_name.is_some()
                    && self.names_tried < NAMES_MAX =>
            {
                self.open_named(link, settings, ctx);
            }
            None if self.held.len() > settings.buffer_bytes => {
                let directory: &Arc<[u8]> = &settings.temp_path;
                self.spill = Some(Spill::open(link.id, FileRole::RequestBody, directory, ctx));
            }
            Some(spill) if spill.is_ready() && !self.held.is_empty() => {
                let chain = core::mem::take(&mut self.held);
                spill.write(chain, ctx);
            }
            None | Some(_) => {}
        }
    }

    /// `client_body_in_file_only`: all of it goes to a file that has a name, whatever its size.
    fn open_named(&mut self, link: &Link, settings: &ClientBody, ctx: &mut Context) {
        if let Some(taken) = self.spill.take() {
            taken.close(ctx);
        }
        // Files that an earlier process has left are stepped over by chance, as nginx does.
        let skipped = if self.names_tried > 0 { ctx.random.next() >> 32 } else { 0 };
        let path = numbered_path(settings, ctx.shared.next_file().wrapping_add(skipped));
        self.names_tried += 1;
        self.file_name = Some(Arc::clone(&path));
        let stays = settings.in_file == BodyInFile::Stays;
        self.spill = Some(Spill::open_named(link.id, FileRole::RequestBody, path, stays, ctx));
    }

    /// The name of the file that holds it (`$request_body_file`).
    pub(crate) fn file_name(&self) -> Option<&Arc<[u8]>> {
        self.file_name.as_ref()
    }

    /// Frees everything.
    pub(crate) fn close(&mut self, ctx: &mut Context) {
        if let Some(spill) = self.spill.take() {
            spill.close(ctx);
        }
        *self = Self::default();
    }
}

/// nginx's name for a temporary file: ten digits, below directories that are named by its last ones.
fn numbered_path(settings: &ClientBody, number: u64) -> Arc<[u8]> {
    let name = format!("{:010}", number % 10_000_000_000);
    let mut path = settings.temp_path.to_vec();
    let mut end = name.len();
    for level in settings.temp_levels.into_iter().filter(|level| *level > 0) {
        let start = end.saturating_sub(usize::from(level));
        path.push(b'/');
        path.extend_from_slice(name.as_bytes().get(start..end).unwrap_or_default());
        end = start;
    }
    path.push(b'/');
    path.extend_from_slice(name.as_bytes());
    path.into()
}

/// How many names are tried for a file.
const NAMES_MAX: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_spread_over_directories() {
        let path = |temp_levels, number| {
            let settings =
                ClientBody { temp_path: Arc::from(b"/t".as_slice()), temp_levels, ..ClientBody::default() };
            alloc::string::String::from_utf8(numbered_path(&settings, number).to_vec()).unwrap()
        };
        assert_eq!(path([0, 0, 0], 123), "/t/0000000123");
        assert_eq!(path([1, 2, 0], 1234), "/t/4/23/0000001234");
        assert_eq!(path([2, 2, 2], 1_234_567_890), "/t/90/78/56/1234567890");
    }
}
