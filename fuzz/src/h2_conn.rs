//! A whole HTTP/2 connection on a worker: frames that make sense and frames that do not, in pieces, between all that
//! the `worker` target does. [`Http2Client`](super::worker::h2_client) holds what comes back against what was said.

use std::collections::VecDeque;

use arbitrary::{Arbitrary, Result, Unstructured};

use super::sites;
use super::worker::rig::Rig;
use super::worker::{Action, act, end, pick, send_all};

/// So many actions are taken from one input.
const ACTIONS_MAX: usize = 200;

/// What the client does, or what happens around it.
#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// HEADERS with words of [`WORDS`] behind a start of [`STARTS`]. The highest bit of the stream goes back to an old one.
    Headers {
        start: u8,
        words: [u8; 3],
        stream: u8,
        flags: u8,
    },
    Data {
        stream: u8,
        flags: u8,
        len: u16,
    },
    Window {
        stream: u8,
        bytes: u16,
    },
    Reset {
        stream: u8,
        code: u8,
    },
    Settings([(u8, u16); 2]),
    Ping,
    Raw {
        kind: u8,
        flags: u8,
        stream: u8,
        payload: &'a [u8],
    },
    Bytes(&'a [u8]),
    /// So many bytes of what was said arrive.
    Arrive(u16),
    Else(Action<'a>),
}

/// See the module.
pub fn run(input: &[u8]) {
    let mut input = Unstructured::new(input);
    let Ok(choice) = input.arbitrary::<u8>() else { return };
    let mut rig = Rig::new(sites::http2(), u64::from(choice));
    rig.accept(0);
    let mut client = Client { pending: VecDeque::new(), next: 1 };
    client.pending.extend(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.frame(4, 0, 0, b"");
    for _ in 0..ACTIONS_MAX {
        if input.is_empty() {
            break;
        }
        let step: Result<Step<'_>> = input.arbitrary();
        let Ok(step) = step else { break };
        rig.say(&step);
        client.step(&mut rig, &step);
    }
    client.arrive(&mut rig, usize::MAX);
    end(rig);
}

/// What the client has said that did not arrive yet, and its next stream.
struct Client {
    pending: VecDeque<u8>,
    next: u32,
}

impl Client {
    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.pending.extend([a, b, c, kind, flags]);
        self.pending.extend(stream.to_be_bytes());
        self.pending.extend(payload);
    }

    /// One of the streams that are open, or were, or will be.
    fn stream(&self, choice: u8) -> u32 {
        match choice {
            0 => 0,
            1 => self.next,
            2 => 2,
            _ => self.next.saturating_sub(2 * (1 + u32::from(choice % 6))).max(1),
        }
    }

    fn step(&mut self, rig: &mut Rig, step: &Step<'_>) {
        match *step {
            Step::Headers { start, words, stream, flags } => {
                let old = stream >= 0xf0;
                let id = if old { self.stream(stream) } else { self.next };
                let mut block = STARTS[usize::from(start) % STARTS.len()].to_vec();
                if old {
                    block.clear();
                } else {
                    self.next += 2;
                }
                block.extend(words.iter().flat_map(|word| WORDS[usize::from(*word) % WORDS.len()]));
                // Mostly whole, sometimes with CONTINUATION.
                if flags & 0x70 == 0x70 {
                    let (first, rest) = block.split_at(block.len() / 2);
                    self.frame(1, flags & 1, id, first);
                    self.frame(9, 4, id, rest);
                } else {
                    self.frame(1, flags & 1 | 4, id, &block);
                }
            }
            Step::Data { stream, flags, len } => {
                let id = self.stream(stream);
                self.frame(0, flags & 9, id, &vec![3; usize::from(len) % 2000]);
            }
            Step::Window { stream, bytes } => {
                let id = self.stream(stream);
                self.frame(8, 0, id, &u32::from(bytes).to_be_bytes());
            }
            Step::Reset { stream, code } => {
                let id = self.stream(stream);
                self.frame(3, 0, id, &[0, 0, 0, code]);
            }
            Step::Settings(settings) => {
                let payload: Vec<u8> = settings
                    .iter()
                    .flat_map(|(id, value)| [0, id % 9, 0, 0, (value >> 8) as u8, *value as u8])
                    .collect();
                self.frame(4, 0, 0, &payload);
            }
            Step::Ping => self.frame(6, 0, 0, b"pingpong"),
            Step::Raw { kind, flags, stream, payload } => {
                let id = self.stream(stream);
                self.frame(kind % 12, flags, id, payload);
            }
            Step::Bytes(bytes) => self.pending.extend(bytes),
            Step::Arrive(bytes) => return self.arrive(rig, usize::from(bytes)),
            Step::Else(ref action) => return act(rig, action),
        }
        if self.pending.len() > 4000 {
            self.arrive(rig, usize::MAX);
        }
    }

    /// Lets bytes arrive as long as the worker asks for them.
    fn arrive(&mut self, rig: &mut Rig, bytes: usize) {
        let mut left = bytes.min(self.pending.len());
        while left > 0
            && let Some(id) = pick(rig, 0, |socket| socket.recv.is_some() && socket.is_client())
        {
            let len = left.min(900);
            left -= len;
            let piece: Vec<u8> = self.pending.drain(..len).collect();
            rig.received(id, Ok(&piece));
            send_all(rig);
        }
    }
}

/// Pseudo fields: GET, POST, HEAD, CONNECT, and incomplete ones.
const STARTS: &[&[u8]] = &[
    b"\x82\x84\x86\x41\x06a.test",
    b"\x83\x86\x04\x07/stream\x41\x06a.test",
    b"\x82\x86\x04\x08/files/a\x41\x06a.test",
    b"\x42\x04HEAD\x84\x86\x01\x06a.test",
    b"\x83\x84\x86\x41\x06a.test",
    b"\x42\x07CONNECT\x86\x04\x04/ws/\x01\x06a.test\x40\x09:protocol\x09websocket",
    b"\x82\x86\x04\x05/drop\x01\x06a.test",
    b"\x82\x86\x04\x03/go\x01\x06a.test",
    b"\x82\x84\x86\xbe",
    b"\x82\x84",
];

/// Fields, references and table sizes.
const WORDS: &[&[u8]] = &[
    b"",
    b"\x0f\x0d\x015",
    b"\x0f\x0d\x010",
    b"\x0f\x0d\x043000",
    b"\x40\x01x\x01y",
    b"\x40\x01X\x01y",
    b"\xbe",
    b"\xbf\xc0",
    b"\x20",
    b"\x3f\xe1\x1f",
    b"\x60\x03a=b",
    b"\x40\x02te\x08trailers",
    b"\x40\x0aconnection\x05close",
    b"\x66\x06b.test",
    b"\x00\x06expect\x0c100-continue",
    b"\x40\x85\x25\xa8\x49\xe9\x5b\x84\x25\xa8\x49\xe9",
    b"\x82",
    b"\x40\x01z\x7f\x81\x01zzzz",
    &[b'\x00'; 3],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_exchange() {
        let mut rig = Rig::new(sites::http2(), 1);
        rig.accept(0);
        let mut client = Client { pending: VecDeque::new(), next: 1 };
        client.pending.extend(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        client.frame(4, 0, 0, b"");
        client.step(&mut rig, &Step::Headers { start: 0, words: [4, 10, 0], stream: 0, flags: 1 });
        client.arrive(&mut rig, usize::MAX);
        let upstream = pick(&rig, 0, |socket| socket.connecting).expect("an upstream is asked");
        rig.connected(upstream, None);
        send_all(&mut rig);
        rig.received(upstream, Ok(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
        send_all(&mut rig);
        end(rig);
    }
}
