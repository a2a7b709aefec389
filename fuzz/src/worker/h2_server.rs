//! An upstream that speaks HTTP/2: it knows what it said, and holds the requests that it hears against that.

use std::collections::BTreeMap;

use proxy_core::h2::decode::Decoder;

use super::h2_client::{frame, number};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What such an upstream knows.
pub(crate) struct Http2Server {
    said: Vec<u8>,
    heard: Vec<u8>,
    has_preface: bool,
    has_settings: bool,
    /// The largest window for streams that it ever announced, and what the connection may still carry.
    initial: i64,
    credit: i64,
    payload_max: usize,
    settings_said: usize,
    acks: usize,
    /// What came on each stream, whether it has ended, and by how much its window was grown.
    streams: BTreeMap<u32, (i64, bool)>,
    updates: BTreeMap<u32, i64>,
    highest: u32,
    decoder: Decoder,
    block: Option<(u32, bool, Vec<u8>)>,
    failed: bool,
}

impl Default for Http2Server {
    fn default() -> Self {
        Self {
            said: Vec::new(),
            heard: Vec::new(),
            has_preface: false,
            has_settings: false,
            initial: 65_535,
            credit: 65_535,
            payload_max: 16_384,
            settings_said: 0,
            acks: 0,
            streams: BTreeMap::new(),
            updates: BTreeMap::new(),
            highest: 0,
            decoder: Decoder::default(),
            block: None,
            failed: false,
        }
    }
}

impl Http2Server {
    /// It says so much.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
        while let Some((kind, _, id, payload)) = frame(&mut self.said) {
            match kind {
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
                8 => *self.updates.entry(id).or_default() += i64::from(number(&payload) & 0x7fff_ffff),
                _ => {}
            }
        }
    }

    /// It hears so much. Returns all of it where it is no HTTP/2.
    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.heard.extend_from_slice(bytes);
        if !self.has_preface && self.heard.get(..3).is_some_and(|start| start != b"PRI") {
            return Some(core::mem::take(&mut self.heard));
        }
        if !self.has_preface {
            let len = self.heard.len().min(PREFACE.len());
            assert_eq!(self.heard[..len], PREFACE[..len], "the preface comes first");
            if len < PREFACE.len() {
                return None;
            }
            self.heard.drain(..len);
            self.has_preface = true;
        }
        while let Some((kind, flags, id, payload)) = frame(&mut self.heard) {
            self.take(kind, flags, id, &payload);
        }
        None
    }

    fn take(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        assert!(payload.len() <= self.payload_max, "a frame of {} bytes", payload.len());
        assert!(self.has_settings || kind == 4, "SETTINGS come first, not {kind}");
        assert!(self.block.is_some() == (kind == 9), "a block is not interrupted, by {kind}");
        assert!(!self.failed, "GOAWAY is the last word, not {kind}");
        match kind {
            0 => self.data(id, payload.len() as i64, flags & 1 != 0),
            1 => self.block_part(id, flags, flags & 1 != 0, Vec::new(), payload),
            3 => self.end(id, "RST_STREAM"),
            4 if flags & 1 != 0 => {
                self.acks += 1;
                assert!(self.acks <= self.settings_said, "an ACK for SETTINGS that were not sent");
            }
            4 => self.has_settings = true,
            6 => assert!(flags & 1 != 0 && payload.len() == 8, "we are never asked"),
            7 => self.failed = true,
            8 => assert!(number(payload) > 0 && (id == 0 || self.streams.contains_key(&id))),
            9 => {
                let (stream, end, block) = self.block.take().unwrap();
                assert_eq!(stream, id);
                self.block_part(id, flags, end, block, payload);
            }
            other => panic!("a frame of kind {other}"),
        }
    }

    fn end(&mut self, id: u32, how: &str) {
        assert!(self.streams.contains_key(&id), "{how} on idle {id}");
        self.streams.entry(id).or_default().1 = true;
    }

    fn data(&mut self, id: u32, len: i64, end: bool) {
        let (initial, grown) = (self.initial, self.updates.get(&id).copied().unwrap_or(0));
        let (heard, ended) = self.streams.get_mut(&id).unwrap_or_else(|| panic!("DATA on idle {id}"));
        assert!(!*ended, "DATA on ended {id}");
        *heard += len;
        *ended = end;
        assert!(*heard <= initial + grown, "the window of stream {id}");
        self.credit -= len;
        assert!(self.credit >= 0, "the connection's window");
    }

    fn block_part(&mut self, id: u32, flags: u8, end: bool, mut block: Vec<u8>, payload: &[u8]) {
        block.extend_from_slice(payload);
        if flags & 4 == 0 {
            self.block = Some((id, end, block));
            return;
        }
        let is_head = id > self.highest;
        let mut pseudo = Vec::new();
        let mut fields = 0;
        self.decoder
            .decode(&block, &mut |line| {
                assert!(line.value_is_clean, "{line:?}");
                assert!(!line.name.iter().any(u8::is_ascii_uppercase), "{line:?}");
                if line.name.starts_with(b":") {
                    assert!(fields == 0 && !pseudo.contains(&line.name.to_vec()), "{line:?}");
                    pseudo.push(line.name.to_vec());
                    return;
                }
                fields += 1;
                let misplaced: [&[u8]; 6] = [
                    b"connection",
                    b"keep-alive",
                    b"transfer-encoding",
                    b"upgrade",
                    b"host",
                    b"proxy-connection",
                ];
                assert!(!misplaced.contains(&line.name), "{line:?}");
                assert!(line.name != b"te" || line.value == b"trailers", "{line:?}");
            })
            .expect("a block that decodes");
        if is_head {
            assert_eq!(id % 2, 1, "an even stream");
            for name in [&b":method"[..], b":scheme", b":path"] {
                assert!(pseudo.iter().any(|known| known == name), "no {}", name.escape_ascii());
            }
            self.highest = id;
            self.streams.insert(id, (0, end));
            return;
        }
        let (_, ended) = self.streams.get_mut(&id).unwrap_or_else(|| panic!("HEADERS on idle {id}"));
        assert!(!*ended && end && pseudo.is_empty(), "trailers out of place on {id}");
        *ended = true;
    }
}
