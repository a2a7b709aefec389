//! A client that speaks HTTP/2: it knows what it said, and holds what it hears against that.

use std::collections::BTreeMap;

use proxy_core::h2::decode::Decoder;

const PREFACE_BYTES: usize = 24;

/// What such a client knows.
pub(crate) struct Http2Client {
    said: Vec<u8>,
    preface_left: usize,
    heard: Vec<u8>,
    /// The largest window for streams that it ever announced.
    initial: i64,
    /// What the connection may still carry.
    credit: i64,
    streams: BTreeMap<u32, Stream>,
    payload_max: usize,
    settings_said: usize,
    acks: usize,
    decoder: Decoder,
    has_settings: bool,
    block: Option<(u32, bool, Vec<u8>)>,
    failed: bool,
}

/// A stream that it opened.
#[derive(Default)]
struct Stream {
    updates: i64,
    heard: i64,
    has_head: bool,
    ended: bool,
}

impl Default for Http2Client {
    fn default() -> Self {
        Self {
            said: Vec::new(),
            preface_left: PREFACE_BYTES,
            heard: Vec::new(),
            initial: 65_535,
            credit: 65_535,
            streams: BTreeMap::new(),
            payload_max: 16_384,
            settings_said: 0,
            acks: 0,
            decoder: Decoder::default(),
            has_settings: false,
            block: None,
            failed: false,
        }
    }
}

/// The first whole frame of `bytes`: kind, flags, stream, payload.
pub(super) fn frame(bytes: &mut Vec<u8>) -> Option<(u8, u8, u32, Vec<u8>)> {
    let [a, b, c, kind, flags, w, x, y, z, ..] = **bytes else { return None };
    let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    if bytes.len() < 9 + len {
        return None;
    }
    let payload = bytes[9..9 + len].to_vec();
    bytes.drain(..9 + len);
    Some((kind, flags, u32::from_be_bytes([w & 0x7f, x, y, z]), payload))
}

pub(super) fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

impl Http2Client {
    /// It says so much.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        let preface = self.preface_left.min(bytes.len());
        self.preface_left -= preface;
        self.said.extend_from_slice(&bytes[preface..]);
        while let Some((kind, _, id, payload)) = frame(&mut self.said) {
            match kind {
                1 => {
                    self.streams.entry(id).or_default();
                }
                4 => {
                    self.settings_said += 1;
                    for setting in payload.chunks_exact(6) {
                        let value = number(&setting[2..]);
                        match setting[1] {
                            4 if setting[0] == 0 => self.initial = self.initial.max(i64::from(value)),
                            5 if setting[0] == 0 => self.payload_max = self.payload_max.max(value as usize),
                            _ => {}
                        }
                    }
                }
                8 if id == 0 => self.credit += i64::from(number(&payload) & 0x7fff_ffff),
                8 => self.streams.entry(id).or_default().updates += i64::from(number(&payload) & 0x7fff_ffff),
                _ => {}
            }
        }
    }

    /// It hears so much.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
        while let Some((kind, flags, id, payload)) = frame(&mut self.heard) {
            self.take(kind, flags, id, &payload);
        }
    }

    fn take(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        assert!(payload.len() <= self.payload_max, "a frame of {} bytes", payload.len());
        assert!(self.has_settings || kind == 4, "SETTINGS come first, not {kind}");
        assert!(self.block.is_some() == (kind == 9), "a block is not interrupted, by {kind}");
        assert!(!self.failed, "GOAWAY with an error is the last word, not {kind}");
        match kind {
            0 => self.data(id, payload.len(), flags & 1 != 0),
            1 => self.block_part(id, flags, flags & 1 != 0, Vec::new(), payload),
            3 => {
                let stream = self.streams.get_mut(&id).unwrap_or_else(|| panic!("RST_STREAM on idle {id}"));
                assert!(!stream.ended || number(payload) == 0, "a stream ends once: {id}");
                stream.ended = true;
            }
            4 if flags & 1 != 0 => {
                self.acks += 1;
                assert!(self.acks <= self.settings_said, "an ACK for SETTINGS that were not sent");
            }
            4 => self.has_settings = true,
            6 => assert!(flags & 1 != 0 && payload.len() == 8, "we are never asked"),
            7 => self.failed = number(&payload[4..]) != 0,
            8 => assert!(number(payload) > 0 && (id == 0 || self.streams.contains_key(&id))),
            9 => {
                let (stream, end, block) = self.block.take().unwrap();
                assert_eq!(stream, id);
                self.block_part(id, flags, end, block, payload);
            }
            other => panic!("a frame of kind {other}"),
        }
    }

    fn data(&mut self, id: u32, len: usize, end: bool) {
        let stream = self.streams.get_mut(&id).unwrap_or_else(|| panic!("DATA on idle {id}"));
        assert!(stream.has_head && !stream.ended, "DATA out of place on {id}");
        stream.heard += len as i64;
        stream.ended = end;
        self.credit -= len as i64;
        assert!(self.credit >= 0, "the connection's window");
        assert!(stream.heard <= self.initial + stream.updates, "the window of stream {id}");
    }

    fn block_part(&mut self, id: u32, flags: u8, end: bool, mut block: Vec<u8>, payload: &[u8]) {
        block.extend_from_slice(payload);
        if flags & 4 == 0 {
            self.block = Some((id, end, block));
            return;
        }
        let stream = self.streams.get_mut(&id).unwrap_or_else(|| panic!("HEADERS on idle {id}"));
        assert!(!stream.ended, "HEADERS on ended {id}");
        let mut status = None;
        let mut place = 0;
        self.decoder
            .decode(&block, &mut |line| {
                if line.name == b":status" {
                    assert_eq!(place, 0);
                    status = str::from_utf8(line.value).ok().and_then(|text| text.parse::<u16>().ok());
                    assert!(status.is_some_and(|status| (100..1000).contains(&status) && status != 101));
                }
                place += 1;
                assert!(line.value_is_clean, "{:?}", line);
                assert!(!line.name.iter().any(u8::is_ascii_uppercase), "{:?}", line);
                let about_connection: [&[u8]; 4] =
                    [b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"];
                assert!(!about_connection.contains(&line.name), "{:?}", line);
            })
            .expect("a block that decodes");
        match status {
            None => assert!(stream.has_head && end, "trailers out of place"),
            Some(100..200) => assert!(!stream.has_head && !end, "an interim head out of place"),
            Some(_) => assert!(!core::mem::replace(&mut stream.has_head, true), "two heads"),
        }
        stream.ended = end;
    }
}
