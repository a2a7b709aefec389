//! A gRPC check (`type=grpc`): one call of `grpc.health.v1.Health/Check` on a connection of HTTP/2 that carries nothing else.
//!
//! It needs so little of HTTP/2 that it drives frames and HPACK itself: one stream at a time, a request that fits every
//! window, a reply of a few bytes.
//!
//! References: RFC 9113; the gRPC health checking protocol and gRPC over HTTP/2 (grpc.io).

use alloc::vec::Vec;

use crate::buf::Chunk;
use crate::error::UpstreamError;
use crate::h2::ErrorCode;
use crate::h2::decode::Decoder;
use crate::h2::encode::{Encoder, Scheme};
use crate::h2::frame::{self, FrameHead, Kind, Settings, WINDOW_DEFAULT, flag, headers_fragment};
use crate::h2::reader::{Event, Reader};
use crate::http::HeaderId;

/// What is called.
const PATH: &[u8] = b"/grpc.health.v1.Health/Check";
/// How much of a reply's message is taken, in bytes; the one that is meant has seven.
const MESSAGE_BYTES_MAX: usize = 4096;
/// How large a block of fields may be, in bytes.
const BLOCK_BYTES_MAX: usize = 64 * 1024;
/// How many frames may come for one check.
const FRAMES_MAX: u32 = 1000;
/// `HealthCheckResponse.SERVING`
const SERVING: u64 = 1;

/// The calls on one connection.
pub(super) struct Call {
    reader: Reader,
    decoder: Decoder,
    encoder: Encoder,
    peer: Settings,
    /// What is to be sent.
    out: Vec<u8>,
    /// The present call's stream; 0 before the first.
    stream: u32,
    /// A block of fields that goes on, and whether the stream ends with it.
    block: Option<(bool, Vec<u8>)>,
    reply: Reply,
    frames: u32,
    /// The server takes no more calls.
    is_leaving: bool,
}

/// What came of a call.
#[derive(Debug, Default)]
struct Reply {
    http_status: u16,
    grpc_status: Option<u32>,
    message: Vec<u8>,
    ended: bool,
}

impl Call {
    /// A connection that has carried no call yet.
    pub(super) fn new() -> Self {
        let mut out = Vec::from(frame::PREFACE);
        frame::write_client_settings(WINDOW_DEFAULT, &mut out);
        Self {
            reader: Reader::of_server(),
            decoder: Decoder::default(),
            encoder: Encoder::default(),
            peer: Settings::default(),
            out,
            stream: 0,
            block: None,
            reply: Reply::default(),
            frames: 0,
            is_leaving: false,
        }
    }

    /// Begins a call. `lines` are header lines that the configuration adds.
    pub(super) fn begin(&mut self, scheme: Scheme, host: &[u8], lines: &[u8], service: &[u8]) {
        (self.reply, self.frames) = (Reply::default(), 0);
        self.stream = if self.stream == 0 { 1 } else { self.stream + 2 };
        let named = |name: &[u8]| fields(lines).find(|(known, _)| known.eq_ignore_ascii_case(name));
        let authority = named(b"Host").map_or(host, |(_, value)| value);
        let mut block = Vec::new();
        self.encoder.request(b"POST", scheme, authority, PATH, &mut block);
        let own: [(&[u8], &[u8]); 2] = [(b"te", b"trailers"), (b"content-type", b"application/grpc")];
        let added = fields(lines).filter(|(name, _)| !is_reserved(name));
        for (name, value) in own.into_iter().chain(added) {
            self.encoder.request_field(HeaderId::from_token(name), name, value, &mut block);
        }
        let stream = self.stream;
        let flags = flag::END_HEADERS;
        FrameHead { len: block.len(), kind: Kind::Headers, flags, stream }.write(&mut self.out);
        self.out.append(&mut block);
        let message = request(service);
        let flags = flag::END_STREAM;
        FrameHead { len: message.len(), kind: Kind::Data, flags, stream }.write(&mut self.out);
        self.out.extend_from_slice(&message);
    }

    /// Takes what is to be sent.
    pub(super) fn take_output(&mut self) -> Option<Chunk> {
        (!self.out.is_empty()).then(|| Chunk::from_vec(core::mem::take(&mut self.out)))
    }

    /// Whether the connection may carry another call.
    pub(super) const fn may_go_on(&self) -> bool {
        !self.is_leaving
    }

    /// Reads what came. Returns whether the call has ended.
    ///
    /// # Errors
    /// The server broke a rule, or refused the call.
    pub(super) fn read(&mut self, input: &mut Chunk) -> Result<bool, UpstreamError> {
        while let Some(event) = self.reader.next(input).map_err(UpstreamError::Violation)? {
            self.frames += 1;
            if self.frames > FRAMES_MAX {
                return Err(UpstreamError::Violation(ErrorCode::EnhanceYourCalm));
            }
            match event {
                Event::Data { stream, data, counted, end_stream, .. } => {
                    self.take_data(stream, &data, counted, end_stream);
                }
                Event::Frame(head, payload) => self.take_frame(head, &payload)?,
            }
        }
        Ok(self.reply.ended)
    }

    fn take_data(&mut self, stream: u32, data: &[u8], counted: u32, end_stream: bool) {
        if counted > 0 {
            frame::write_window_update(0, counted, &mut self.out);
        }
        if stream == self.stream {
            let room = MESSAGE_BYTES_MAX - self.reply.message.len();
            self.reply.message.extend_from_slice(data.get(..room).unwrap_or(data));
            self.reply.ended |= end_stream;
        }
    }

    fn take_frame(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), UpstreamError> {
        let broken = UpstreamError::Violation;
        if self.block.is_some() != (head.kind == Kind::Continuation) {
            return Err(broken(ErrorCode::Protocol));
        }
        match head.kind {
            Kind::Headers => {
                let fragment = headers_fragment(head, payload).map_err(broken)?.to_vec();
                self.block = Some((head.has(flag::END_STREAM), fragment));
                self.end_block(head)
            }
            Kind::Continuation => {
                if let Some((_, block)) = &mut self.block {
                    block.extend_from_slice(payload);
                    if block.len() > BLOCK_BYTES_MAX {
                        return Err(broken(ErrorCode::EnhanceYourCalm));
                    }
                }
                self.end_block(head)
            }
            Kind::Settings if !head.has(flag::ACK) => {
                self.peer.apply(payload).map_err(broken)?;
                self.encoder.limit_table(self.peer.table_bytes);
                frame::write_settings_ack(&mut self.out);
                Ok(())
            }
            Kind::Ping if !head.has(flag::ACK) => {
                frame::write_pong(payload, &mut self.out);
                Ok(())
            }
            Kind::Reset if head.stream == self.stream && !self.reply.ended => {
                Err(UpstreamError::Rejected(frame::word(payload)))
            }
            Kind::GoAway => {
                self.is_leaving = true;
                let code = frame::word(payload.get(4..).unwrap_or_default());
                let unheard = frame::number(payload) < self.stream && !self.reply.ended;
                if unheard { Err(UpstreamError::GoneAway(code)) } else { Ok(()) }
            }
            Kind::PushPromise | Kind::Data => Err(broken(ErrorCode::Protocol)),
            Kind::Settings
            | Kind::Ping
            | Kind::Reset
            | Kind::WindowUpdate
            | Kind::Priority
            | Kind::Unknown => Ok(()),
        }
    }

    /// Decodes the block, once it is whole: the reply's head, or its trailers.
    fn end_block(&mut self, head: FrameHead) -> Result<(), UpstreamError> {
        if !head.has(flag::END_HEADERS) {
            return Ok(());
        }
        let Some((end_stream, block)) = self.block.take() else { return Ok(()) };
        let own = head.stream == self.stream;
        let reply = &mut self.reply;
        let mut note = |name: &[u8], value: &[u8]| match name {
            b":status" => reply.http_status = digits(value).and_then(|n| u16::try_from(n).ok()).unwrap_or(0),
            // What cannot be read is UNKNOWN (2).
            b"grpc-status" => reply.grpc_status = Some(digits(value).unwrap_or(2)),
            _ => {}
        };
        let decoded = self.decoder.decode(&block, &mut |line| {
            if own {
                note(line.name, line.value);
            }
        });
        decoded.map_err(|_| UpstreamError::Violation(ErrorCode::Compression))?;
        self.reply.ended |= own && end_stream;
        Ok(())
    }

    /// Whether the server is well: it serves, or it answers with the status that was asked for.
    pub(super) fn is_well(&self, wanted: Option<u32>) -> bool {
        let reply = &self.reply;
        // gRPC: a reply without a status is UNKNOWN.
        let status = reply.grpc_status.unwrap_or(2);
        let serves = status == 0 && serving_status(&reply.message) == Some(SERVING);
        reply.http_status == 200 && (serves || wanted == Some(status))
    }
}

/// `Name: value` for each line.
fn fields(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r")?;
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = line.split_at_checked(colon)?;
        Some((name, value.strip_prefix(b": ")?))
    })
}

/// Fields that are ours to set, or that HTTP/2 does not have.
fn is_reserved(name: &[u8]) -> bool {
    let reserved: [&[u8]; 7] =
        [b"host", b"te", b"content-type", b"connection", b"keep-alive", b"upgrade", b"transfer-encoding"];
    reserved.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// A number of a few digits.
fn digits(text: &[u8]) -> Option<u32> {
    core::str::from_utf8(text).ok().filter(|text| text.len() <= 3)?.parse().ok()
}

/// `HealthCheckRequest { service }` with its gRPC prefix.
fn request(service: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut len = service.len();
        while len > 0x7f {
            message.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        message.push(len as u8);
        message.extend_from_slice(service);
    }
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], len.as_slice(), &message].concat()
}

/// `HealthCheckResponse.status` of a message with its gRPC prefix; 0 where it is not there, none where it is no message.
fn serving_status(framed: &[u8]) -> Option<u64> {
    // Compression was not offered.
    let (0, rest) = framed.split_first().map(|(flag, rest)| (*flag, rest))? else { return None };
    let (len, mut rest) = rest.split_at_checked(4)?;
    let len = frame::word(len) as usize;
    if rest.len() != len {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let skipped = match tag & 7 {
            0 => {
                let value = varint(&mut rest)?;
                if tag >> 3 == 1 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut rest)?).ok()?,
            5 => 4,
            _ => return None,
        };
        rest = rest.get(skipped..)?;
    }
    Some(status)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame_of(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        FrameHead { len: payload.len(), kind, flags, stream }.write(&mut out);
        out.extend_from_slice(payload);
        out
    }

    /// A reply: its head, its message and its trailers, where they are not in the head.
    fn reply(stream: u32, message: &[u8], grpc_status: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::default();
        let (mut head, mut trailers) = (Vec::new(), Vec::new());
        encoder.status(crate::http::Status(200), &mut head);
        encoder.begin(&mut trailers);
        encoder.field(HeaderId::Other, b"grpc-status", grpc_status, &mut trailers);
        if message.is_empty() {
            head.extend_from_slice(&trailers);
            return frame_of(Kind::Headers, flag::END_HEADERS | flag::END_STREAM, stream, &head);
        }
        let (half, rest) = trailers.split_at(1);
        [
            frame_of(Kind::Headers, flag::END_HEADERS, stream, &head),
            frame_of(Kind::Data, 0, stream, message),
            frame_of(Kind::Headers, flag::END_STREAM, stream, half),
            frame_of(Kind::Continuation, flag::END_HEADERS, stream, rest),
        ]
        .concat()
    }

    #[test]
    fn a_server_is_well_that_serves_or_says_what_was_asked_for() {
        let serving = [0, 0, 0, 0, 2, 8, 1];
        let table: [(&[u8], &[u8], [bool; 2]); 7] = [
            (&serving, b"0", [true, true]),
            (&[0, 0, 0, 0, 2, 8, 2], b"0", [false, false]),
            (&[0, 0, 0, 0, 0], b"0", [false, false]),
            (&[0, 0, 0, 0, 5, 0x12, 1, b'x', 8, 1], b"0", [true, true]),
            (&[1, 0, 0, 0, 2, 8, 1], b"0", [false, false]),
            (&[], b"12", [false, true]),
            (&serving, b"x", [false, false]),
        ];
        for (message, status, expected) in table {
            let bytes = reply(1, message, status);
            // Whole, and byte by byte.
            for size in [bytes.len(), 1] {
                let mut call = Call::new();
                call.begin(Scheme::Http, b"up", b"", b"");
                let mut ended = false;
                for piece in bytes.chunks(size) {
                    assert!(!ended);
                    ended = call.read(&mut Chunk::from_vec(piece.to_vec())).unwrap_or_else(|e| panic!("{e}"));
                }
                assert!(ended, "{message:?}");
                assert_eq!([None, Some(12)].map(|wanted| call.is_well(wanted)), expected, "{message:?}");
            }
        }
    }

    #[test]
    fn a_connection_serves_call_after_call_and_answers_what_must_be_answered() {
        let mut call = Call::new();
        call.begin(Scheme::Http, b"up", b"Host: other\r\nX-A: b\r\nConnection: close\r\n", b"svc");
        let sent = call.take_output().map(|out| out.to_vec()).unwrap_or_default();
        assert!(sent.starts_with(frame::PREFACE) && sent.ends_with(b"\0\0\0\0\x05\x0a\x03svc"));
        let mut input = frame_of(Kind::Settings, 0, 0, &[0, 1, 0, 0, 0, 0]);
        input.extend(frame_of(Kind::Ping, 0, 0, b"12345678"));
        input.extend(reply(1, &[0, 0, 0, 0, 2, 8, 1], b"0"));
        assert_eq!(call.read(&mut Chunk::from_vec(input)), Ok(true));
        let answered = call.take_output().map(|out| out.to_vec()).unwrap_or_default();
        assert_eq!(answered.len(), 9 + 17 + 13, "SETTINGS, PING and a window");
        call.begin(Scheme::Http, b"up", b"", b"");
        assert!(call.read(&mut Chunk::from_vec(reply(3, b"", b"12"))) == Ok(true) && call.may_go_on());
        call.begin(Scheme::Http, b"up", b"", b"");
        let goaway = frame_of(Kind::GoAway, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]);
        assert_eq!(call.read(&mut Chunk::from_vec(goaway)), Err(UpstreamError::GoneAway(0)));
        assert!(!call.may_go_on());
    }

    #[test]
    fn what_breaks_the_rules_is_an_error() {
        let table = [
            frame_of(Kind::Reset, 0, 1, &[0, 0, 0, 7]),
            frame_of(Kind::Continuation, flag::END_HEADERS, 1, b""),
            frame_of(Kind::Headers, flag::END_HEADERS, 1, &[0xff; 12]),
            frame_of(Kind::PushPromise, flag::END_HEADERS, 1, &[0, 0, 0, 2]),
            frame_of(Kind::Ping, 0, 0, b"12345678").repeat(FRAMES_MAX as usize + 1),
        ];
        for bytes in table {
            let mut call = Call::new();
            call.begin(Scheme::Https, b"up", b"", b"");
            assert!(call.read(&mut Chunk::from_vec(bytes)).is_err());
        }
    }
}
