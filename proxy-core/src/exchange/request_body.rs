//! The request body on its way from the client: decoded, counted, held, spilled or thrown away.
//!
//! ```text
//!             ┌─ Untouched ──(someone wants it)──┐
//!             │                                  ▼
//!             │            Buffer: held in memory, then in a file ──► whole: may be sent many times
//!             │            Stream: held until the upstream takes it ─► gone once sent
//!             └─(nobody wants it)──► Discard: read and forgotten, up to a bound
//! ```

use alloc::sync::Arc;

use super::context::{Context, FileRole};
use super::spill::Spill;
use crate::buf::Chain;
use crate::command::Room;
use crate::config::ClientBody;
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
    received_bytes: u64,
    complete: bool,
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
            // A request's trailers are not forwarded: nothing in nginx's language asks for them.
            Decoded::End(_) => self.complete = true,
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

    /// Frees everything.
    pub(crate) fn close(&mut self, ctx: &mut Context) {
        if let Some(spill) = self.spill.take() {
            spill.close(ctx);
        }
        *self = Self::default();
    }
}
