//! HTTP/2 to upstreams on a worker: upstreams that make sense and upstreams that do not, in pieces, between all that the
//! `worker` target does. [`Http2Server`](super::worker::h2_server) holds the requests against what it said.

use arbitrary::{Arbitrary, Result, Unstructured};
use proxy_core::command::ConnId;

use super::sites;
use super::worker::rig::Rig;
use super::worker::{Action, act, end, pick, send_all};

/// So many actions are taken from one input.
const ACTIONS_MAX: usize = 200;
/// So much of what an upstream says arrives at a time, in bytes.
const PIECE_BYTES: usize = 900;

/// What an upstream does, or what happens around it.
#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// HEADERS with a status of [`STATUSES`] and words of [`WORDS`].
    Headers {
        who: u8,
        status: u8,
        words: [u8; 2],
        stream: u8,
        flags: u8,
    },
    Data {
        who: u8,
        stream: u8,
        flags: u8,
        len: u16,
    },
    Window {
        who: u8,
        stream: u8,
        bytes: u16,
    },
    Reset {
        who: u8,
        stream: u8,
        code: u8,
    },
    Goaway {
        who: u8,
        last: u8,
        code: u8,
    },
    Settings(u8, [(u8, u16); 2]),
    Ping(u8),
    Raw {
        who: u8,
        kind: u8,
        flags: u8,
        stream: u8,
        payload: &'a [u8],
    },
    /// A connection is made, and its first SETTINGS come.
    Connected(u8),
    /// A client of HTTP/1.1 asks for one of [`TARGETS`].
    Ask(u8, u8),
    Else(Action<'a>),
}

/// See the module.
pub fn run(input: &[u8]) {
    let mut input = Unstructured::new(input);
    let Ok(choice) = input.arbitrary::<u8>() else { return };
    let mut rig = Rig::new(sites::http2_out(), u64::from(choice));
    rig.expect_http2();
    for _ in 0..ACTIONS_MAX {
        if input.is_empty() {
            break;
        }
        let step: Result<Step<'_>> = input.arbitrary();
        let Ok(step) = step else { break };
        rig.say(&step);
        take(&mut rig, &step);
    }
    end(rig);
}

fn take(rig: &mut Rig, step: &Step<'_>) {
    match *step {
        Step::Headers { who, status, words, stream, flags } => {
            let mut block = STATUSES[usize::from(status) % STATUSES.len()].to_vec();
            block.extend(words.iter().flat_map(|word| WORDS[usize::from(*word) % WORDS.len()]));
            if flags & 0x70 == 0x70 {
                let (first, rest) = block.split_at(block.len() / 2);
                let parts = [frame(1, flags & 1, id(stream), first), frame(9, 4, id(stream), rest)];
                say(rig, who, &parts.concat());
            } else {
                say(rig, who, &frame(1, flags & 1 | 4, id(stream), &block));
            }
        }
        Step::Data { who, stream, flags, len } => {
            say(rig, who, &frame(0, flags & 9, id(stream), &vec![3; usize::from(len) % 2000]));
        }
        Step::Window { who, stream, bytes } => {
            say(rig, who, &frame(8, 0, id(stream), &u32::from(bytes).to_be_bytes()));
        }
        Step::Reset { who, stream, code } => say(rig, who, &frame(3, 0, id(stream), &[0, 0, 0, code])),
        Step::Goaway { who, last, code } => {
            say(rig, who, &frame(7, 0, 0, &[0, 0, 0, last % 32, 0, 0, 0, code]));
        }
        Step::Settings(who, settings) => {
            let payload: Vec<u8> = settings
                .iter()
                .flat_map(|(id, value)| [0, id % 9, 0, 0, (value >> 8) as u8, *value as u8])
                .collect();
            say(rig, who, &frame(4, 0, 0, &payload));
        }
        Step::Ping(who) => say(rig, who, &frame(6, 0, 0, b"pingpong")),
        Step::Raw { who, kind, flags, stream, payload } => {
            say(rig, who, &frame(kind % 12, flags, id(stream), payload));
        }
        Step::Connected(who) => {
            if let Some(conn) = pick(rig, who, |socket| socket.connecting) {
                rig.connected(conn, None);
                send_all(rig);
                arrive(rig, conn, &frame(4, 0, 0, b""));
            }
        }
        Step::Ask(listener, target) => {
            act(rig, &Action::Accept(listener));
            let target = TARGETS[usize::from(target) % TARGETS.len()];
            let newest = pick(rig, u8::MAX, |socket| socket.recv.is_some() && socket.is_client());
            if let Some(conn) = newest {
                rig.received(conn, Ok(target));
                send_all(rig);
            }
        }
        Step::Else(ref action) => act(rig, action),
    }
}

/// An upstream says this.
fn say(rig: &mut Rig, who: u8, bytes: &[u8]) {
    if let Some(conn) = pick(rig, who, |socket| socket.recv.is_some() && !socket.is_client()) {
        arrive(rig, conn, bytes);
    }
}

/// It arrives as long as the worker asks for it.
fn arrive(rig: &mut Rig, conn: ConnId, bytes: &[u8]) {
    for piece in bytes.chunks(PIECE_BYTES) {
        let reads = rig.sockets.get(&conn).is_some_and(|socket| socket.recv.is_some());
        if !reads {
            return;
        }
        rig.received(conn, Ok(piece));
        send_all(rig);
    }
}

/// One of the first streams, mostly.
fn id(choice: u8) -> u32 {
    if choice < 0xf0 { 2 * u32::from(choice % 8) + 1 } else { u32::from(choice - 0xf0) }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// Replies' first lines, and some that are none.
const STATUSES: &[&[u8]] =
    &[b"\x88", b"\x89", b"\x8d", b"\x08\x03103", b"\x08\x03502", b"\x08\x03101", b"\x8b", b"", b"\x08\x01x"];

/// Fields, references and table sizes.
const WORDS: &[&[u8]] = &[
    b"",
    b"\x0f\x0d\x015",
    b"\x0f\x0d\x010",
    b"\x0f\x0d\x043000",
    b"\x40\x01x\x01y",
    b"\x40\x01X\x01y",
    b"\xbe",
    b"\x20",
    b"\x3f\xe1\x1f",
    b"\x40\x0agrpc-status\x010",
    b"\x40\x0aconnection\x05close",
    b"\x40\x11x-accel-buffering\x02no",
    b"\x88",
    b"\x40\x01z\x7f\x81\x01zzzz",
];

/// What clients ask for.
const TARGETS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /stream HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    b"PUT /stream HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3000\r\n\r\nand so on",
    b"POST /grpc HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\nGET /stream HTTP/1.1\r\nHost: a.test\r\n\r\n",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_exchange() {
        let mut rig = Rig::new(sites::http2_out(), 1);
        rig.expect_http2();
        take(&mut rig, &Step::Ask(0, 2));
        take(&mut rig, &Step::Connected(0));
        take(&mut rig, &Step::Headers { who: 0, status: 0, words: [1, 4], stream: 0, flags: 0 });
        take(&mut rig, &Step::Data { who: 0, stream: 0, flags: 1, len: 5 });
        end(rig);
    }
}
