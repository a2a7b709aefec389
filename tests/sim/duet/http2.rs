//! A strict peer that speaks HTTP/2 (RFC 9113): it holds the worker to every window, number and order of frames.
//!
//! It shares HPACK's decoder with the core, which has the RFC's own vectors; what it sends is literals only.

use std::collections::BTreeMap;

use proxy_core::h2::decode::Decoder;

use super::speech::{Fields, Heard};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest payload that either side may send: nobody has said otherwise.
const PAYLOAD_BYTES_MAX: usize = 16_384;
const WINDOW: i64 = 65_535;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// One stream.
#[derive(Default)]
struct Stream {
    /// What we may send, and what may be sent to us.
    window: i64,
    allowed: i64,
    unsaid: Vec<u8>,
    /// Whether the end follows what is unsaid; not for a message that was cut.
    ends: bool,
    said_all: bool,
    has_head: bool,
    heard_all: bool,
}

/// One end of a connection.
pub(crate) struct Http2 {
    serves: bool,
    greeted: bool,
    input: Vec<u8>,
    decoder: Decoder,
    /// A block whose end has not come: its stream, its flags, its bytes.
    block: Option<(u32, u8, Vec<u8>)>,
    streams: BTreeMap<u32, Stream>,
    highest: u32,
    /// What we let each stream send at first, and the windows of the connection.
    initial: i64,
    allowed: i64,
    window: i64,
    /// What each stream of theirs may send at first.
    their_initial: i64,
    out: Vec<u8>,
    turn: usize,
}

impl Http2 {
    /// A client's or a server's end, with windows of so many bytes, that takes so many streams.
    pub(crate) fn new(serves: bool, initial: u32, streams_max: u32) -> Self {
        let mut out = if serves { Vec::new() } else { PREFACE.to_vec() };
        let settings: Vec<u8> = [(3_u16, streams_max), (4, initial)]
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        frame(4, 0, 0, &settings, &mut out);
        Self {
            serves,
            greeted: !serves,
            input: Vec::new(),
            decoder: Decoder::default(),
            block: None,
            streams: BTreeMap::new(),
            highest: 0,
            // Before they know ours they may send as much as the RFC says.
            initial: i64::from(initial).max(WINDOW),
            allowed: WINDOW,
            window: WINDOW,
            their_initial: WINDOW,
            out,
            turn: 0,
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Heard> {
        self.input.extend(bytes);
        if !self.greeted && self.input.len() >= PREFACE.len() {
            assert!(self.input.starts_with(PREFACE), "HTTP/2: no preface: {:?}", self.input.escape_ascii());
            self.input.drain(..PREFACE.len());
            self.greeted = true;
        }
        let mut heard = Vec::new();
        while self.greeted
            && let Some((&[a, b, c, kind, flags, w, x, y, z], rest)) = self.input.split_first_chunk::<9>()
        {
            let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            assert!(len <= PAYLOAD_BYTES_MAX, "HTTP/2: a frame of {len} bytes");
            let Some(payload) = rest.get(..len).map(<[u8]>::to_vec) else { break };
            self.input.drain(..9 + len);
            self.hear(kind, flags, u32::from_be_bytes([w, x, y, z]), &payload, &mut heard);
        }
        heard
    }

    fn hear(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8], heard: &mut Vec<Heard>) {
        assert!(
            self.block.is_some() == (kind == 9),
            "HTTP/2: a block was broken off by a frame of kind {kind}"
        );
        let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
        match kind {
            0 => self.hear_data(flags, id, payload, heard),
            1 => {
                assert_eq!(flags & !(END_STREAM | END_HEADERS), 0, "HTTP/2: padding or priority");
                self.hear_block(id, flags, payload.to_vec(), heard);
            }
            9 => {
                let (stream, first, mut bytes) = self.block.take().expect("a block");
                assert_eq!(stream, id, "HTTP/2: CONTINUATION of another stream");
                bytes.extend(payload);
                self.hear_block(id, first | flags, bytes, heard);
            }
            3 => {
                let known = self.streams.remove(&id).is_some();
                assert!(known || id <= self.highest, "HTTP/2: RST_STREAM of an idle stream");
                heard.push(Heard::Reset(id));
            }
            4 if flags & 1 == 0 => {
                for setting in payload.as_chunks::<6>().0 {
                    let value = i64::from(u32::from_be_bytes(setting[2..].try_into().expect("four bytes")));
                    if setting[..2] == [0, 4] {
                        let change = value - self.their_initial;
                        self.their_initial = value;
                        self.streams.values_mut().for_each(|stream| stream.window += change);
                    }
                }
                frame(4, 1, 0, &[], &mut self.out);
            }
            4 => {}
            6 => assert!(flags & 1 == 1, "HTTP/2: nobody pings here"),
            7 => heard.push(Heard::Goodbye(word(0))),
            8 => {
                let bytes = i64::from(word(0));
                assert!(bytes > 0, "HTTP/2: a window update of nothing");
                if id == 0 {
                    self.window += bytes;
                    assert!(self.window <= i64::from(i32::MAX), "HTTP/2: too large a window");
                } else if let Some(stream) = self.streams.get_mut(&id) {
                    stream.window += bytes;
                }
            }
            other => panic!("HTTP/2: a frame of kind {other}"),
        }
    }

    fn hear_data(&mut self, flags: u8, id: u32, payload: &[u8], heard: &mut Vec<Heard>) {
        let len = payload.len() as i64;
        self.allowed -= len;
        assert!(self.allowed >= 0, "HTTP/2: more than the connection's window");
        if len > 0 {
            self.allowed += len;
            frame(8, 0, 0, &(payload.len() as u32).to_be_bytes(), &mut self.out);
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return assert!(id <= self.highest, "HTTP/2: DATA on an idle stream");
        };
        assert!(stream.has_head && !stream.heard_all, "HTTP/2: DATA where none may be");
        stream.allowed -= len;
        assert!(stream.allowed >= 0, "HTTP/2: more than the window of stream {id}");
        if len > 0 {
            heard.push(Heard::Data(id, payload.to_vec()));
        }
        if flags & END_STREAM > 0 {
            stream.heard_all = true;
            heard.push(Heard::End(id));
        } else if len > 0 {
            stream.allowed += len;
            frame(8, 0, id, &(payload.len() as u32).to_be_bytes(), &mut self.out);
        }
    }

    fn hear_block(&mut self, id: u32, flags: u8, bytes: Vec<u8>, heard: &mut Vec<Heard>) {
        if flags & END_HEADERS == 0 {
            self.block = Some((id, flags, bytes));
            return;
        }
        let mut fields = Fields::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        self.decoder
            .decode(&bytes, &mut |line| {
                assert!(line.value_is_clean && !line.name.iter().any(u8::is_ascii_uppercase), "{line:?}");
                fields.push((text(line.name), text(line.value)));
            })
            .expect("HPACK");
        for name in ["connection", "transfer-encoding", "keep-alive", "upgrade", "host"] {
            assert!(fields.iter().all(|(known, _)| known != name), "HTTP/2: the field {name}");
        }
        if self.serves && id > self.highest {
            assert!(id % 2 == 1, "HTTP/2: an even stream");
            self.highest = id;
            let (window, allowed) = (self.their_initial, self.initial);
            self.streams.insert(id, Stream { window, allowed, ..Stream::default() });
        }
        assert!(id <= self.highest, "HTTP/2: a head on an idle stream");
        let Some(stream) = self.streams.get_mut(&id) else { return };
        assert!(!stream.heard_all, "HTTP/2: a head behind the end");
        let interim = fields.iter().any(|(name, value)| name == ":status" && value.starts_with('1'));
        if !stream.has_head && !interim {
            stream.has_head = true;
            heard.push(Heard::Head(id, fields));
        }
        if flags & END_STREAM > 0 {
            stream.heard_all = true;
            heard.push(Heard::End(id));
        }
    }

    pub(crate) fn say(&mut self, key: u32, fields: &Fields, body: &[u8]) {
        if !self.serves {
            self.highest = key;
            let (window, allowed) = (self.their_initial, self.initial);
            self.streams.insert(key, Stream { window, allowed, ..Stream::default() });
        }
        let Some(stream) = self.streams.get_mut(&key) else { return };
        stream.unsaid = body.to_vec();
        stream.ends = true;
        let mut block = Vec::new();
        let mut all = fields.clone();
        if !self.serves {
            all.insert(0, (":authority".into(), "sim.example".into()));
            all.insert(0, (":scheme".into(), "http".into()));
        }
        if !body.is_empty() && body.len().is_multiple_of(3) {
            all.push(("content-length".into(), body.len().to_string()));
        }
        for (name, value) in all {
            block.push(0);
            for text in [name, value] {
                assert!(text.len() < 127, "a short field");
                block.push(text.len() as u8);
                block.extend(text.bytes());
            }
        }
        let end = if body.is_empty() { END_STREAM } else { 0 };
        stream.said_all = body.is_empty();
        let (first, rest) = block.split_at(block.len() / 2);
        frame(1, end, key, first, &mut self.out);
        frame(9, END_HEADERS, key, rest, &mut self.out);
    }

    pub(crate) fn cut(&mut self, key: u32, bytes: usize) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.unsaid.truncate(bytes);
            stream.ends = false;
        }
    }

    /// Gives a stream up.
    pub(crate) fn reset(&mut self, key: u32, code: u32) {
        if self.streams.remove(&key).is_some() {
            frame(3, 0, key, &code.to_be_bytes(), &mut self.out);
        }
    }

    /// Knows nothing of a stream any more, and says nothing of it either.
    pub(crate) fn forget(&mut self, key: u32) {
        self.streams.remove(&key);
    }

    /// Takes no streams behind this one.
    pub(crate) fn goodbye(&mut self, last: u32) {
        frame(7, 0, 0, &[last.to_be_bytes(), [0; 4]].concat(), &mut self.out);
    }

    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        // Each in its turn, in frames of odd sizes, as far as the windows go.
        for place in 0..ids.len() {
            self.turn += 1;
            let id = ids[(self.turn + place) % ids.len()];
            let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.said_all) else { continue };
            while stream.window > 0 && self.window > 0 && !stream.unsaid.is_empty() {
                let most = stream.window.min(self.window).min(1 + (self.turn as i64 * 997) % 16_384) as usize;
                let rest = stream.unsaid.split_off(most.min(stream.unsaid.len()));
                let part = std::mem::replace(&mut stream.unsaid, rest);
                stream.window -= part.len() as i64;
                self.window -= part.len() as i64;
                stream.said_all = stream.unsaid.is_empty() && stream.ends;
                frame(0, u8::from(stream.said_all), id, &part, &mut self.out);
            }
        }
        self.streams.retain(|_, stream| !(stream.said_all && stream.heard_all));
        &mut self.out
    }

    pub(crate) fn has_unsaid(&self) -> bool {
        !self.out.is_empty() || self.streams.values().any(|stream| !stream.unsaid.is_empty())
    }

    /// Exchanges that are not over.
    pub(crate) fn is_busy(&self) -> bool {
        !self.streams.is_empty()
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    out.extend([a, b, c, kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}
