//! How a line reads: once for each wish of the core, or on and on.
//!
//! A connection that exchanges small messages has a read in flight nearly always. One operation that goes on saves
//! starting another for each message, and the kernel's taking up and dropping of its interest in the socket. A
//! connection that moves much is better read once at a time: what it has piled up by then comes in one piece, and
//! what the core does not want stays in the socket, which is the backpressure.
//!
//! ```text
//!          CALM_READS small ones in a row
//!   Once ───────────────────────────────────> Again
//!     ▲                                         │
//!     └──── a large one, one that nobody wanted, another room, the group is empty
//! ```

use std::collections::VecDeque;

use proxy_core::buf::Buf;
use proxy_core::command::{IoError, Room};

use super::queues::Done;

/// After how many small reads that left nothing behind a line reads on and on.
const CALM_READS: u8 = 3;
/// A read of more bytes than this is not small.
const SMALL_BYTES: usize = 4096;

/// What the core gets for a wish.
type Read = Result<Buf, IoError>;

/// The reading side of a line.
#[derive(Default)]
pub(super) struct Incoming {
    /// What the core waits for.
    wanted: Option<Room>,
    /// The operation that the kernel has.
    armed: Option<Armed>,
    /// What came before anybody wanted it: at most what the kernel had read by the time that its operation was
    /// cancelled for that, so no more buffers than a group has.
    early: VecDeque<Read>,
    /// How many small reads that left nothing behind came in a row.
    calm: u8,
    /// The last read has left nothing behind.
    drained: bool,
}

#[derive(Clone, Copy)]
struct Armed {
    room: Room,
    cancelled: bool,
}

/// How to arm a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    /// For one completion; `drained` is for a socket that is known to have nothing yet.
    Once { drained: bool },
    /// For one completion after the other.
    Again,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Step {
    Nothing,
    Give(Read),
    Cancel,
    GiveAndCancel(Read),
    Arm { room: Room, how: Arm },
}

impl Incoming {
    /// The room of the operation that the kernel has.
    pub(super) fn armed(&self) -> Option<Room> {
        self.armed.map(|armed| armed.room)
    }

    /// The core wants to read.
    pub(super) fn want(&mut self, room: Room) -> Step {
        debug_assert!(self.wanted.is_none(), "two receives at once");
        if let Some(read) = self.early.pop_front() {
            return Step::Give(read);
        }
        self.wanted = Some(room);
        match &mut self.armed {
            None => self.arm(),
            Some(armed) if armed.room != room && !armed.cancelled => {
                armed.cancelled = true;
                Step::Cancel
            }
            Some(_) => Step::Nothing,
        }
    }

    /// The line ends. Returns whether the kernel's operation must be cancelled for that.
    pub(super) fn close(&mut self) -> bool {
        self.wanted = None;
        self.early.clear();
        self.armed.as_mut().is_some_and(|armed| !std::mem::replace(&mut armed.cancelled, true))
    }

    /// A completion has come, with `buf` if it took one.
    pub(super) fn done(&mut self, done: &Done, buf: Option<Buf>, empty: impl FnOnce() -> Buf) -> Step {
        let Some(armed) = &mut self.armed else { return Step::Nothing };
        let cancelled = armed.cancelled;
        if !done.goes_on {
            self.armed = None;
        }
        let bytes = buf.as_ref().map_or(0, Buf::len);
        self.drained = buf.is_some() && !done.more;
        let calm = self.drained && bytes <= SMALL_BYTES;
        self.calm = if calm { self.calm.saturating_add(1) } else { 0 };
        let interrupted = cancelled && done.result == -libc::ECANCELED;
        if buf.is_none() && (interrupted || done.result == -libc::ENOBUFS) {
            // Nobody's doing but ours. Of an empty group: it has been refilled by now.
            return if self.wanted.is_some() && self.armed.is_none() { self.arm() } else { Step::Nothing };
        }
        let read = match u32::try_from(done.result) {
            Ok(_) => Ok(buf.unwrap_or_else(empty)),
            Err(_) => Err(IoError { errno: -done.result }),
        };
        let unwanted = self.wanted.take().is_none();
        // An operation that goes on although it should not: much is coming, or too much.
        let stop = !calm || unwanted;
        let stop =
            stop && self.armed.as_mut().is_some_and(|armed| !std::mem::replace(&mut armed.cancelled, true));
        match (unwanted, stop) {
            (false, false) => Step::Give(read),
            (false, true) => Step::GiveAndCancel(read),
            (true, stop) => {
                self.early.push_back(read);
                if stop { Step::Cancel } else { Step::Nothing }
            }
        }
    }

    fn arm(&mut self) -> Step {
        let Some(room) = self.wanted else { return Step::Nothing };
        let again = self.calm >= CALM_READS;
        self.armed = Some(Armed { room, cancelled: false });
        let how = if again { Arm::Again } else { Arm::Once { drained: self.drained } };
        Step::Arm { room, how }
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::worker::Pools;

    use super::*;

    /// A completion that carries `bytes` bytes, or none and an error.
    fn completion(bytes: i32, goes_on: bool, more: bool) -> (Done, Option<Buf>) {
        let buf = usize::try_from(bytes).ok().map(|bytes| {
            let mut buf = Pools::standard().large.take();
            buf.advance(bytes);
            buf
        });
        (Done { name: 0, result: bytes, buffer: None, more, goes_on }, buf)
    }

    fn words(step: &Step) -> String {
        let read = |read: &Read| match read {
            Ok(buf) => format!("give {}", buf.len()),
            Err(error) => format!("error {}", error.errno),
        };
        match step {
            Step::Nothing => "nothing".to_owned(),
            Step::Give(got) => read(got),
            Step::Cancel => "cancel".to_owned(),
            Step::GiveAndCancel(got) => read(got) + ", cancel",
            Step::Arm { room, how: Arm::Again } => format!("again {room:?}"),
            Step::Arm { room, how: Arm::Once { drained } } => format!("once {room:?} {drained}"),
        }
    }

    /// Each line: what happens (`want` a room, or a completion of so many bytes) and what is to be done.
    #[test]
    fn small_messages_are_read_on_and_on_and_nothing_is_lost() {
        let mut incoming = Incoming::default();
        let script = "\
            want small = once Small false
            last 10 = give 10
            want small = once Small true
            last 10 = give 10
            want small = once Small true
            last 10 = give 10
            want small = again Small
            on 10 = give 10
            want small = nothing
            on 10 = give 10
            on 20 = cancel
            on 30 = nothing
            want small = give 20
            want small = give 30
            want small = nothing
            last -125 = once Small false
            last 10 = give 10
            want small = once Small true
            last 10 = give 10
            want small = once Small true
            last 10 = give 10
            want small = again Small
            on 10 = give 10
            want large = cancel
            last -125 = once Large false
            last 9000 = give 9000
            want large = once Large true
            last -105 = once Large false
            last -104 = error 104";
        for line in script.lines() {
            let (event, expected) = line.trim().split_once(" = ").unwrap();
            let step = match event.split_once(' ').unwrap() {
                ("want", "small") => incoming.want(Room::Small),
                ("want", _) => incoming.want(Room::Large),
                (kind, bytes) => {
                    let (done, buf) = completion(bytes.parse().unwrap(), kind == "on", false);
                    incoming.done(&done, buf, || Pools::standard().small.take())
                }
            };
            assert_eq!(words(&step), expected, "at {line}");
        }
    }

    #[test]
    fn a_line_that_ends_keeps_nothing() {
        let mut incoming = Incoming { calm: CALM_READS, ..Incoming::default() };
        assert_eq!(words(&incoming.want(Room::Small)), "again Small");
        assert!(incoming.close());
        assert!(!incoming.close(), "one cancellation is enough");
        let (done, _) = completion(-libc::ECANCELED, false, false);
        assert_eq!(words(&incoming.done(&done, None, || unreachable!())), "nothing");
        assert_eq!(incoming.armed(), None);
    }
}
