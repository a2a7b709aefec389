//! The timer table: one wheel per worker, one armed entry per connection at the most.
//!
//! Deadlines move far more often than they expire: each read and each write of a connection moves one. So a connection
//! keeps its true deadline with its [`Reason`], and the wheel only holds a moment at which to look at it again. Moving
//! a deadline later writes two words and leaves the wheel alone; an entry that comes due too early is armed again.
//!
//! The wheel has [`SLOTS`] slots of [`TICK_US`] each, doubly linked lists in a slab, and a bitmap to find the next slot
//! that is not empty. An entry beyond the horizon waits in the farthest slot and is looked at there.

use alloc::vec;
use alloc::vec::Vec;

use crate::command::ConnId;
use crate::time::Instant;

/// A tick of the wheel, in microseconds: no timer is more precise than this.
pub const TICK_US: u64 = 8_192;
/// How many ticks the wheel spans: about 67 seconds.
pub const SLOTS: usize = 8_192;

/// Why a connection has a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `client_header_timeout`: the whole head must be there.
    ClientHeader,
    /// `client_body_timeout`: the next part of the body must be there.
    ClientBody,
    /// `send_timeout`: the client must have taken something.
    ClientSend,
    /// `keepalive_timeout`: the next request must begin.
    Keepalive,
    /// `lingering_timeout` or `lingering_time`: no more is thrown away.
    Linger,
    /// `limit_req`: the request may go on.
    LimitReq,
    /// `auth_delay`: a refusal that is held back may be sent.
    AuthDelay,
    /// `limit_rate`: the next part may be sent.
    RateLimit,
    /// `resolver_timeout`: the upstream's name must be known.
    Resolve,
    /// A name server does not answer.
    NameServer,
    /// Servers are due for an active check.
    HealthCheck,
    /// Certificates are due for a question to their responders, or a responder must have answered.
    Staple,
    /// `queue`: time to look for room at a server again.
    UpstreamQueue,
    /// `proxy_cache_lock`: time to look at the entry again; or at all caches.
    Cache,
    /// `proxy_connect_timeout`
    UpstreamConnect,
    /// `proxy_send_timeout`: the upstream must have taken something.
    UpstreamSend,
    /// `proxy_read_timeout`: the upstream must have sent something.
    UpstreamRead,
    /// `keepalive_timeout` or `keepalive_time` of the upstream group.
    UpstreamIdle,
    /// The client takes too long: what the upstream still has goes to a temporary file.
    Spill,
}

/// A connection's deadline and the entry that will wake it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deadline {
    at: Option<(Instant, Reason)>,
    armed: Option<(Instant, u32)>,
}

impl Deadline {
    /// The moment and its reason, if there is one.
    #[must_use]
    pub const fn get(&self) -> Option<(Instant, Reason)> {
        self.at
    }

    /// Sets or moves it.
    pub fn set(&mut self, wheel: &mut Wheel, conn: ConnId, at: Instant, reason: Reason) {
        self.at = Some((at, reason));
        match self.armed {
            Some((armed, _)) if armed <= at => {}
            Some((_, entry)) => {
                wheel.remove(entry);
                self.armed = Some((at, wheel.insert(at, conn)));
            }
            None => self.armed = Some((at, wheel.insert(at, conn))),
        }
    }

    /// Forgets it; the wheel's entry stays armed for the next one.
    pub const fn clear(&mut self) {
        self.at = None;
    }

    /// Forgets it where it has this reason.
    pub fn clear_if(&mut self, reason: Reason) {
        if self.at.is_some_and(|(_, why)| why == reason) {
            self.at = None;
        }
    }

    /// Takes the wheel's entry back: the connection ends.
    pub fn disarm(&mut self, wheel: &mut Wheel) {
        self.at = None;
        if let Some((_, entry)) = self.armed.take() {
            wheel.remove(entry);
        }
    }

    /// The wheel's entry has come due. Returns the reason if the deadline has really passed; arms the rest again.
    pub fn fired(&mut self, wheel: &mut Wheel, conn: ConnId, now: Instant) -> Option<Reason> {
        self.armed = None;
        let (at, reason) = self.at?;
        if at <= now {
            self.at = None;
            return Some(reason);
        }
        self.armed = Some((at, wheel.insert(at, conn)));
        None
    }
}

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Entry {
    conn: ConnId,
    next: u32,
    prev: u32,
    slot: u32,
}

/// The wheel.
pub struct Wheel {
    heads: Vec<u32>,
    occupied: Vec<u64>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// The first tick that was not yet expired.
    current: u64,
    len: usize,
}

impl Wheel {
    /// An empty wheel that begins at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            heads: vec![NONE; SLOTS],
            occupied: vec![0; SLOTS / 64],
            entries: Vec::new(),
            free: Vec::new(),
            current: now.as_micros() / TICK_US,
            len: 0,
        }
    }

    /// How many entries are armed.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none is armed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn insert(&mut self, at: Instant, conn: ConnId) -> u32 {
        // Rounded up, so that nothing is early.
        let at_tick = at.as_micros().div_ceil(TICK_US).max(self.current);
        let slot = self.slot_for(at_tick);
        let next = self.heads.get(slot as usize).copied().unwrap_or(NONE);
        let entry = Entry { conn, next, prev: NONE, slot };
        let index = if let Some(index) = self.free.pop() {
            if let Some(place) = self.entries.get_mut(index as usize) {
                *place = entry;
            }
            index
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
        };
        self.link(slot, index, next);
        self.len += 1;
        index
    }

    /// The slot of a tick: its own within the horizon, the farthest one beyond it.
    fn slot_for(&self, tick: u64) -> u32 {
        let tick = tick.min(self.current + SLOTS as u64 - 1);
        u32::try_from(tick % SLOTS as u64).unwrap_or(0)
    }

    fn link(&mut self, slot: u32, index: u32, next: u32) {
        if let Some(after) = self.entries.get_mut(next as usize) {
            after.prev = index;
        }
        if let Some(head) = self.heads.get_mut(slot as usize) {
            *head = index;
        }
        if let Some(word) = self.occupied.get_mut(slot as usize / 64) {
            *word |= 1 << (slot % 64);
        }
    }

    fn remove(&mut self, index: u32) {
        let Some(entry) = self.entries.get(index as usize).copied() else { return };
        if let Some(before) = self.entries.get_mut(entry.prev as usize) {
            before.next = entry.next;
        } else if let Some(head) = self.heads.get_mut(entry.slot as usize) {
            *head = entry.next;
            if entry.next == NONE
                && let Some(word) = self.occupied.get_mut(entry.slot as usize / 64)
            {
                *word &= !(1 << (entry.slot % 64));
            }
        }
        if let Some(after) = self.entries.get_mut(entry.next as usize) {
            after.prev = entry.prev;
        }
        self.free.push(index);
        self.len -= 1;
    }

    /// The next moment at which [`expire`](Self::expire) may have something.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.len == 0 {
            return None;
        }
        let start = (self.current % SLOTS as u64) as usize;
        let distance = (0..=self.occupied.len()).find_map(|step| self.distance_in_word(start, step))?;
        Some(Instant::from_micros((self.current + distance as u64) * TICK_US))
    }

    /// The distance in ticks from slot `start` to the first occupied slot in the word `step` words after its own.
    fn distance_in_word(&self, start: usize, step: usize) -> Option<usize> {
        let words = self.occupied.len();
        let index = (start / 64 + step) % words;
        let mut word = self.occupied.get(index).copied()?;
        if step == 0 {
            word &= u64::MAX << (start % 64);
        } else if step == words {
            word &= !(u64::MAX << (start % 64));
        }
        if word == 0 {
            return None;
        }
        let slot = index * 64 + word.trailing_zeros() as usize;
        Some((slot + SLOTS - start) % SLOTS)
    }

    /// Takes out one entry that is due at `now`, or that waited at the horizon. Call it until it has no more.
    pub fn expire(&mut self, now: Instant) -> Option<ConnId> {
        let now_tick = now.as_micros() / TICK_US;
        while self.current <= now_tick {
            let slot = (self.current % SLOTS as u64) as usize;
            let index = self.heads.get(slot).copied().unwrap_or(NONE);
            let Some(entry) = self.entries.get(index as usize).copied() else {
                self.skip_empty(now_tick);
                continue;
            };
            self.remove(index);
            // One that had waited at the horizon may be early: `Deadline::fired` arms it again.
            return Some(entry.conn);
        }
        None
    }

    /// Moves on from an empty slot to the next occupied one, or to `now_tick` at the most.
    fn skip_empty(&mut self, now_tick: u64) {
        let next = self.next_deadline().map_or(u64::MAX, |at| at.as_micros() / TICK_US);
        self.current = next.clamp(self.current + 1, now_tick + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Key;

    fn conn(index: u32) -> ConnId {
        ConnId(Key { index, generation: 0 })
    }

    #[test]
    fn deadlines_fire_in_time_and_once() {
        let mut wheel = Wheel::new(Instant::default());
        let mut deadlines = [Deadline::default(); 64];
        let spans_ms = |n: u64| (n * n * 97) % 200_000;
        for (n, deadline) in deadlines.iter_mut().enumerate() {
            let at = Instant::from_micros(spans_ms(n as u64) * 1000);
            deadline.set(&mut wheel, conn(n as u32), at, Reason::Keepalive);
        }
        let mut now = Instant::default();
        let mut fired = 0;
        while let Some(next) = wheel.next_deadline() {
            assert!(next >= now, "time goes backwards");
            now = next;
            while let Some(id) = wheel.expire(now) {
                let deadline = &mut deadlines[id.0.index as usize];
                let (due, _) = deadline.get().unwrap();
                if deadline.fired(&mut wheel, id, now).is_some() {
                    fired += 1;
                    let late = now.as_micros() - due.as_micros();
                    assert!(late <= 2 * TICK_US, "{late} us late");
                }
            }
        }
        assert_eq!((fired, wheel.len()), (64, 0));
    }

    #[test]
    fn moving_later_leaves_the_wheel_alone() {
        let mut wheel = Wheel::new(Instant::default());
        let mut deadline = Deadline::default();
        let ms = |n: u64| Instant::from_micros(n * 1000);
        deadline.set(&mut wheel, conn(0), ms(100), Reason::ClientBody);
        deadline.set(&mut wheel, conn(0), ms(300), Reason::ClientBody);
        assert_eq!(wheel.len(), 1);
        assert_eq!(wheel.expire(ms(150)), Some(conn(0)));
        assert_eq!(deadline.fired(&mut wheel, conn(0), ms(150)), None);
        assert_eq!(wheel.expire(ms(299)), None);
        deadline.set(&mut wheel, conn(0), ms(299), Reason::ClientSend);
        assert_eq!(wheel.expire(ms(310)), Some(conn(0)));
        assert_eq!(deadline.fired(&mut wheel, conn(0), ms(310)), Some(Reason::ClientSend));
        deadline.set(&mut wheel, conn(0), ms(400), Reason::ClientSend);
        deadline.disarm(&mut wheel);
        assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
    }
}
