//! Frames (RFC 9113, sections 4 and 6): heads in and out, and the payloads that have a fixed form.
//!
//! A frame's head is read once nine bytes are there; what becomes of the payload is the connection's affair: it is
//! gathered where it must be whole, and passed through as it comes where it is data.

use alloc::vec::Vec;

use super::ErrorCode;

/// What a client sends first (RFC 9113, section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The size of a frame's head in bytes.
pub const HEAD_BYTES: usize = 9;

/// The largest payload that we take, and the smallest maximum that a peer may announce, in bytes. We never announce
/// another one.
pub const PAYLOAD_BYTES_MAX: usize = 16_384;

/// The largest window, in bytes.
pub const WINDOW_MAX: u32 = (1 << 31) - 1;

/// The window of a connection, and of its streams until SETTINGS say otherwise, in bytes.
pub const WINDOW_DEFAULT: u32 = 65_535;

/// The kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// DATA
    Data,
    /// HEADERS
    Headers,
    /// PRIORITY, which nobody obeys any more
    Priority,
    /// RST_STREAM
    Reset,
    /// SETTINGS
    Settings,
    /// PUSH_PROMISE, which a client must not send
    PushPromise,
    /// PING
    Ping,
    /// GOAWAY
    GoAway,
    /// WINDOW_UPDATE
    WindowUpdate,
    /// CONTINUATION
    Continuation,
    /// Anything else, PRIORITY_UPDATE (RFC 9218) among them: stepped over.
    Unknown,
}

impl Kind {
    const fn of(code: u8) -> Self {
        match code {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::Reset,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Headers => 1,
            Self::Priority => 2,
            Self::Reset => 3,
            Self::Settings => 4,
            Self::PushPromise => 5,
            Self::Ping => 6,
            Self::GoAway => 7,
            Self::WindowUpdate => 8,
            Self::Continuation => 9,
            Self::Unknown => u8::MAX,
        }
    }
}

/// The flags, by the bit that each has where it has a meaning.
pub mod flag {
    /// DATA, HEADERS: the last of its stream.
    pub const END_STREAM: u8 = 0x1;
    /// SETTINGS, PING: an acknowledgement.
    pub const ACK: u8 = 0x1;
    /// HEADERS, CONTINUATION: the end of the block.
    pub const END_HEADERS: u8 = 0x4;
    /// DATA, HEADERS: there is padding.
    pub const PADDED: u8 = 0x8;
    /// HEADERS: there are priority fields.
    pub const PRIORITY: u8 = 0x20;
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// The payload's length in bytes.
    pub len: usize,
    /// What it is.
    pub kind: Kind,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
}

impl FrameHead {
    /// Reads a head, once it is whole.
    #[must_use]
    pub const fn parse(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, w, x, y, z, ..] = *bytes else { return None };
        Some(Self {
            len: (a as usize) << 16 | (b as usize) << 8 | c as usize,
            kind: Kind::of(kind),
            flags,
            stream: u32::from_be_bytes([w, x, y, z]) & WINDOW_MAX,
        })
    }

    /// A head's bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let [_, .., a, b, c] = self.len.to_be_bytes();
        let [w, x, y, z] = self.stream.to_be_bytes();
        [a, b, c, self.kind.code(), self.flags, w, x, y, z]
    }

    /// Writes a head.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }

    /// Whether it has a flag.
    #[must_use]
    pub const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What can be said against a frame before its payload is there (RFC 9113, sections 4.2 and 6).
    ///
    /// # Errors
    /// Connection errors: a size that the kind cannot have, a stream where it has none or none where it has one.
    pub const fn check(self) -> Result<(), ErrorCode> {
        if self.len > PAYLOAD_BYTES_MAX {
            return Err(ErrorCode::FrameSize);
        }
        let on_stream = self.stream != 0;
        let (stream_fits, size_fits) = match self.kind {
            Kind::Data | Kind::Headers | Kind::Continuation => (on_stream, true),
            Kind::Priority => (on_stream, self.len == 5),
            Kind::Reset => (on_stream, self.len == 4),
            Kind::Settings if self.has(flag::ACK) => (!on_stream, self.len == 0),
            Kind::Settings => (!on_stream, self.len.is_multiple_of(6)),
            Kind::Ping => (!on_stream, self.len == 8),
            Kind::GoAway => (!on_stream, self.len >= 8),
            Kind::WindowUpdate => (true, self.len == 4),
            Kind::Unknown => (true, true),
            // A client pushes nothing.
            Kind::PushPromise => (false, true),
        };
        if !stream_fits {
            return Err(ErrorCode::Protocol);
        }
        if size_fits { Ok(()) } else { Err(ErrorCode::FrameSize) }
    }
}

/// The block's fragment in a HEADERS payload, without padding and priority fields.
///
/// # Errors
/// PROTOCOL_ERROR where the padding is longer than the payload, FRAME_SIZE_ERROR where a field is cut.
pub fn headers_fragment(head: FrameHead, payload: &[u8]) -> Result<&[u8], ErrorCode> {
    let mut rest = payload;
    let mut padding = 0;
    if head.has(flag::PADDED) {
        let (first, tail) = rest.split_first().ok_or(ErrorCode::FrameSize)?;
        padding = usize::from(*first);
        rest = tail;
    }
    if head.has(flag::PRIORITY) {
        rest = rest.get(5..).ok_or(ErrorCode::FrameSize)?;
    }
    let len = rest.len().checked_sub(padding).ok_or(ErrorCode::Protocol)?;
    Ok(rest.get(..len).unwrap_or_default())
}

/// The number that a RST_STREAM or WINDOW_UPDATE payload begins with, without its reserved bit.
#[must_use]
pub const fn number(payload: &[u8]) -> u32 {
    match *payload {
        [w, x, y, z, ..] => u32::from_be_bytes([w, x, y, z]) & WINDOW_MAX,
        _ => 0,
    }
}

/// The error code that a payload, or what is left of it, begins with.
#[must_use]
pub const fn word(payload: &[u8]) -> u32 {
    match *payload {
        [w, x, y, z, ..] => u32::from_be_bytes([w, x, y, z]),
        _ => 0,
    }
}

/// The settings (RFC 9113, section 6.5.2; RFC 8441, section 3) that somebody here obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// SETTINGS_HEADER_TABLE_SIZE in bytes.
    pub table_bytes: u32,
    /// SETTINGS_INITIAL_WINDOW_SIZE in bytes.
    pub window: u32,
    /// SETTINGS_MAX_FRAME_SIZE in bytes.
    pub payload_bytes_max: u32,
    /// SETTINGS_MAX_CONCURRENT_STREAMS: how many we may open.
    pub streams_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            table_bytes: 4096,
            window: WINDOW_DEFAULT,
            payload_bytes_max: PAYLOAD_BYTES_MAX as u32,
            streams_max: u32::MAX,
        }
    }
}

impl Settings {
    /// Takes over what a peer's SETTINGS payload says.
    ///
    /// # Errors
    /// Values that cannot be.
    pub fn apply(&mut self, payload: &[u8]) -> Result<(), ErrorCode> {
        let (entries, _) = payload.as_chunks::<6>();
        for [i, d, w, x, y, z] in entries {
            let value = u32::from_be_bytes([*w, *x, *y, *z]);
            match u16::from_be_bytes([*i, *d]) {
                1 => self.table_bytes = value,
                3 => self.streams_max = value,
                // ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL: we use neither, but they have to be flags.
                2 | 8 if value > 1 => return Err(ErrorCode::Protocol),
                4 if value > WINDOW_MAX => return Err(ErrorCode::FlowControl),
                4 => self.window = value,
                5 if value < PAYLOAD_BYTES_MAX as u32 || value >= 1 << 24 => return Err(ErrorCode::Protocol),
                5 => self.payload_bytes_max = value,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Writes our SETTINGS: as many streams, such a window for each, and Extended CONNECT (RFC 8441).
pub fn write_settings(streams_max: u32, window: u32, out: &mut Vec<u8>) {
    write_entries(&[(3, streams_max), (4, window), (5, PAYLOAD_BYTES_MAX as u32), (8, 1)], out);
}

/// Writes our SETTINGS to a server: it pushes nothing, and such a window for each stream.
pub fn write_client_settings(window: u32, out: &mut Vec<u8>) {
    write_entries(&[(2, 0), (4, window)], out);
}

fn write_entries(entries: &[(u16, u32)], out: &mut Vec<u8>) {
    FrameHead { len: entries.len() * 6, kind: Kind::Settings, flags: 0, stream: 0 }.write(out);
    for (id, value) in entries {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Writes the acknowledgement of SETTINGS.
pub fn write_settings_ack(out: &mut Vec<u8>) {
    FrameHead { len: 0, kind: Kind::Settings, flags: flag::ACK, stream: 0 }.write(out);
}

/// Writes the answer to a PING.
pub fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    FrameHead { len: payload.len(), kind: Kind::Ping, flags: flag::ACK, stream: 0 }.write(out);
    out.extend_from_slice(payload);
}

/// Writes a WINDOW_UPDATE.
pub fn write_window_update(stream: u32, bytes: u32, out: &mut Vec<u8>) {
    FrameHead { len: 4, kind: Kind::WindowUpdate, flags: 0, stream }.write(out);
    out.extend_from_slice(&bytes.to_be_bytes());
}

/// Writes a RST_STREAM.
pub fn write_reset(stream: u32, code: ErrorCode, out: &mut Vec<u8>) {
    FrameHead { len: 4, kind: Kind::Reset, flags: 0, stream }.write(out);
    out.extend_from_slice(&(code as u32).to_be_bytes());
}

/// Writes a GOAWAY: streams above `last` were and will not be looked at.
pub fn write_goaway(last: u32, code: ErrorCode, out: &mut Vec<u8>) {
    FrameHead { len: 8, kind: Kind::GoAway, flags: 0, stream: 0 }.write(out);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&(code as u32).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for kind in 0..=255u8 {
            for (len, flags, stream) in [(0, 0, 1), (0x01_0203, 0xff, WINDOW_MAX), (16_384, 0x25, 0)] {
                let head = FrameHead { len, kind: Kind::of(kind), flags, stream };
                let mut out = Vec::new();
                head.write(&mut out);
                assert_eq!(FrameHead::parse(&out), Some(head));
                (0..HEAD_BYTES).for_each(|cut| assert_eq!(FrameHead::parse(&out[..cut]), None));
                out[5] |= 0x80;
                assert_eq!(FrameHead::parse(&out), Some(head), "the reserved bit is ignored");
            }
        }
    }

    #[test]
    fn each_kind_has_its_size_and_its_place() {
        use ErrorCode::{FrameSize, Protocol};
        for (kind, flags, stream, len, expected) in [
            (Kind::Data, 0, 1, 16_384, Ok(())),
            (Kind::Data, 0, 1, 16_385, Err(FrameSize)),
            (Kind::Data, 0, 0, 1, Err(Protocol)),
            (Kind::Headers, 0, 0, 1, Err(Protocol)),
            (Kind::Priority, 0, 1, 5, Ok(())),
            (Kind::Priority, 0, 1, 4, Err(FrameSize)),
            (Kind::Priority, 0, 0, 5, Err(Protocol)),
            (Kind::Reset, 0, 1, 4, Ok(())),
            (Kind::Reset, 0, 0, 4, Err(Protocol)),
            (Kind::Settings, 0, 0, 12, Ok(())),
            (Kind::Settings, 0, 0, 13, Err(FrameSize)),
            (Kind::Settings, flag::ACK, 0, 6, Err(FrameSize)),
            (Kind::Settings, 0, 1, 6, Err(Protocol)),
            (Kind::PushPromise, 0, 1, 4, Err(Protocol)),
            (Kind::Ping, 0, 0, 8, Ok(())),
            (Kind::Ping, 0, 0, 7, Err(FrameSize)),
            (Kind::GoAway, 0, 0, 9, Ok(())),
            (Kind::WindowUpdate, 0, 0, 4, Ok(())),
            (Kind::WindowUpdate, 0, 1, 5, Err(FrameSize)),
            (Kind::Continuation, 0, 0, 5, Err(Protocol)),
            (Kind::Unknown, 0, 0, 5, Ok(())),
        ] {
            assert_eq!(
                FrameHead { len, kind, flags, stream }.check(),
                expected,
                "{kind:?} {len} on {stream}"
            );
        }
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let headers = |flags, payload| {
            headers_fragment(FrameHead { len: 0, kind: Kind::Headers, flags, stream: 1 }, payload)
        };
        assert_eq!(headers(0, b"abc"), Ok(&b"abc"[..]));
        assert_eq!(headers(flag::PADDED, b"\x02abc__"), Ok(&b"abc"[..]));
        assert_eq!(headers(flag::PADDED | flag::PRIORITY, b"\x0112345abc_"), Ok(&b"abc"[..]));
        assert_eq!(headers(flag::PADDED, b"\x04abc"), Err(ErrorCode::Protocol));
        assert_eq!(headers(flag::PADDED, b""), Err(ErrorCode::FrameSize));
        assert_eq!(headers(flag::PRIORITY, b"1234"), Err(ErrorCode::FrameSize));
    }

    #[test]
    fn settings_are_checked() {
        let apply = |id: u16, value: u32| {
            let mut settings = Settings::default();
            let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
            settings.apply(&payload).map(|()| settings)
        };
        assert_eq!(apply(4, WINDOW_MAX).map(|settings| settings.window), Ok(WINDOW_MAX));
        assert_eq!(apply(4, WINDOW_MAX + 1), Err(ErrorCode::FlowControl));
        assert_eq!(apply(2, 2), Err(ErrorCode::Protocol));
        assert_eq!(apply(5, 16_383), Err(ErrorCode::Protocol));
        assert_eq!(apply(5, 1 << 24), Err(ErrorCode::Protocol));
        assert_eq!(apply(99, 7), Ok(Settings::default()));
    }
}
