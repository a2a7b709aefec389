//! One direction of a simulated connection: a bounded, ordered stream whose parts arrive when they arrive.
//!
//! What is written is in flight until its time, then it has arrived and may be read in any portions. The end of the
//! stream and a reset travel behind the bytes that were written before them, as they do in TCP over loopback; only a
//! writer that resets on purpose takes back what is still in flight.

use std::collections::VecDeque;

/// What travels.
enum Part {
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

/// One direction.
pub(crate) struct Pipe {
    capacity: usize,
    in_flight: VecDeque<(u64, Part)>,
    in_flight_bytes: usize,
    arrived: VecDeque<u8>,
    end: End,
    /// The writer has ended the stream; it may not write again.
    pub(crate) finished: bool,
    /// The reader is gone: what arrives now is answered with a reset.
    pub(crate) deaf: bool,
}

/// What the reader finds behind the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing yet.
    Open,
    /// The end of the stream.
    Fin,
    /// A reset.
    Reset,
}

impl Pipe {
    /// A pipe that holds at most `capacity` bytes, in flight and unread ones together.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            arrived: VecDeque::new(),
            end: End::Open,
            finished: false,
            deaf: false,
        }
    }

    /// How many bytes a write could put in.
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.in_flight_bytes + self.arrived.len())
    }

    /// Puts `bytes` in; they arrive at `at_us`, or behind what was written before.
    pub(crate) fn write(&mut self, bytes: &[u8], at_us: u64) -> u64 {
        assert!(!self.finished, "simulator: a write behind the end");
        assert!(bytes.len() <= self.room(), "simulator: a write without room");
        self.in_flight_bytes += bytes.len();
        self.push(Part::Bytes(bytes.to_vec()), at_us)
    }

    /// Ends the stream behind what is in flight.
    pub(crate) fn finish(&mut self, at_us: u64) -> u64 {
        self.finished = true;
        self.push(Part::Fin, at_us)
    }

    /// Resets behind what is in flight: the answer to bytes that nobody reads.
    pub(crate) fn refuse(&mut self, at_us: u64) -> u64 {
        self.finished = true;
        self.push(Part::Reset, at_us)
    }

    /// Resets and takes back what is in flight.
    pub(crate) fn reset(&mut self, at_us: u64) -> u64 {
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.refuse(at_us)
    }

    fn push(&mut self, part: Part, at_us: u64) -> u64 {
        let at_us = self.in_flight.back().map_or(at_us, |(last, _)| at_us.max(*last));
        self.in_flight.push_back((at_us, part));
        at_us
    }

    /// Moves what is due from flight to the reader. Says whether bytes came for a reader that is gone.
    pub(crate) fn deliver(&mut self, now_us: u64) -> bool {
        let mut unwanted = false;
        while let Some((at_us, _)) = self.in_flight.front()
            && *at_us <= now_us
        {
            match self.in_flight.pop_front().map(|(_, part)| part) {
                Some(Part::Bytes(bytes)) => {
                    self.in_flight_bytes -= bytes.len();
                    if self.deaf {
                        unwanted = true;
                    } else if self.end == End::Open {
                        self.arrived.extend(bytes);
                    }
                }
                Some(Part::Fin) if self.end == End::Open => self.end = End::Fin,
                Some(Part::Reset) => self.end = End::Reset,
                Some(Part::Fin) | None => {}
            }
        }
        unwanted
    }

    /// How many bytes a read finds.
    pub(crate) fn readable(&self) -> usize {
        self.arrived.len()
    }

    /// Takes at most `max` bytes out.
    pub(crate) fn read(&mut self, max: usize) -> Vec<u8> {
        let n = max.min(self.arrived.len());
        self.arrived.drain(..n).collect()
    }

    /// What the reader finds once it has read all bytes.
    pub(crate) fn end(&self) -> End {
        if self.arrived.is_empty() { self.end } else { End::Open }
    }

    /// Whether a reset has arrived, read or unread bytes aside: a writer of the other direction notices that at once.
    pub(crate) fn was_reset(&self) -> bool {
        self.end == End::Reset
    }

    /// Whether a read would return.
    pub(crate) fn is_ready(&self) -> bool {
        !self.arrived.is_empty() || self.end != End::Open
    }

    /// The reader is gone.
    pub(crate) fn deafen(&mut self) {
        self.deaf = true;
        self.arrived.clear();
    }
}
