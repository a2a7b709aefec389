//! `limit_req_zone`: a leaky bucket for each key, in nginx's integers.
//!
//! The excess of a key counts thousandths of a request. It leaks at the zone's rate and each request that passes adds a
//! thousand; a request that would lift it above `burst` is refused, one that lifts it above `delay` waits until it has
//! leaked down to that. Where a request is subject to several zones, it is counted in the first ones only when the last
//! one has let it pass: until then its keys are pinned, so that nothing forgets them.
//!
//! Reference: ngx_http_limit_req_module.

use alloc::boxed::Box;
use core::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;
use spin::Mutex;

use super::LimitCounts;
use super::room::Room;
use super::table::Table;

/// What nginx keeps beside the key, in bytes.
const STATE_BYTES: usize = 80;
/// What nginx keeps of a zone as a whole, in bytes.
const OWN_BYTES: usize = 80;
/// A key whose excess has leaked away is forgotten after so long without use, in milliseconds; and where the clock
/// went back by more, it is not believed.
const STALE_MS: u64 = 60_000;
/// What one request adds.
const REQUEST: u64 = 1000;

/// How fast a zone's buckets leak and when they are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Thousandths of a request per second.
    pub rate: u64,
    /// The largest excess, in thousandths of a request.
    pub burst: u64,
}

/// What a zone says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would be too much: this would be the excess.
    Refused(u64),
    /// It passes and was counted; this is the excess now.
    Counted(u64),
    /// It would pass. It must be counted or released.
    Pinned(Pin),
    /// There is no room for its key.
    NoRoom,
}

/// A key that awaits its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    shard: usize,
    place: usize,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    excess: u64,
    /// When it was counted last; none if that never happened.
    last_ms: Option<u64>,
    pins: u32,
}

/// The state of one zone.
pub struct ReqZone {
    /// What it has said.
    pub counts: LimitCounts,
    room: Room,
    hasher: DefaultHashBuilder,
    shards: Box<[Mutex<Table<Bucket>>]>,
}

impl ReqZone {
    /// An empty zone of so many bytes, as nginx counts them.
    #[must_use]
    pub fn new(zone_bytes: usize) -> Self {
        let shards = (0..super::shard_count(zone_bytes)).map(|_| Mutex::default());
        Self {
            counts: LimitCounts::default(),
            room: Room::new(zone_bytes, OWN_BYTES),
            hasher: DefaultHashBuilder::default(),
            shards: shards.collect(),
        }
    }

    /// Asks whether a request with this key may pass; `last` counts it at once if it may.
    pub fn ask(&self, key: &[u8], bounds: Bounds, last: bool, now_ms: u64) -> Verdict {
        let hash = self.hasher.hash_one(key);
        let shard = super::shard_of(hash, self.shards.len());
        let Some(table) = self.shards.get(shard) else { return Verdict::NoRoom };
        let mut table = table.lock();
        let Some(place) = table.find(hash, key) else {
            return self.add(&mut table, shard, hash, key, bounds.rate, last, now_ms);
        };
        table.touch(place);
        let Some(bucket) = table.get_mut(place) else { return Verdict::NoRoom };
        let excess = bucket.excess_with_one_more(bounds.rate, now_ms);
        if excess > bounds.burst {
            return Verdict::Refused(excess);
        }
        if last {
            bucket.set(excess, now_ms);
            return Verdict::Counted(excess);
        }
        bucket.pins += 1;
        Verdict::Pinned(Pin { shard, place })
    }

    #[expect(clippy::too_many_arguments, reason = "the second half of the above")]
    fn add(
        &self,
        table: &mut Table<Bucket>,
        shard: usize,
        hash: u64,
        key: &[u8],
        rate: u64,
        last: bool,
        now_ms: u64,
    ) -> Verdict {
        let bytes = STATE_BYTES + key.len();
        self.forget(table, false, rate, now_ms);
        if !self.room.take(bytes) {
            self.forget(table, true, rate, now_ms);
            if !self.room.take(bytes) {
                return Verdict::NoRoom;
            }
        }
        let (last_ms, pins) = if last { (Some(now_ms), 0) } else { (None, 1) };
        let place = table.insert(hash, key, Bucket { excess: 0, last_ms, pins });
        if last { Verdict::Counted(0) } else { Verdict::Pinned(Pin { shard, place }) }
    }

    /// Counts a request that was asked about. Returns the excess now.
    pub fn count(&self, pin: Pin, rate: u64, now_ms: u64) -> u64 {
        self.unpin(pin, |bucket| {
            let excess = bucket.excess_with_one_more(rate, now_ms);
            bucket.set(excess, now_ms);
            excess
        })
    }

    /// Another zone has refused the request.
    pub fn release(&self, pin: Pin) {
        self.unpin(pin, |_| 0);
    }

    fn unpin(&self, pin: Pin, act: impl FnOnce(&mut Bucket) -> u64) -> u64 {
        let Some(table) = self.shards.get(pin.shard) else { return 0 };
        let mut table = table.lock();
        let Some(bucket) = table.get_mut(pin.place) else { return 0 };
        debug_assert!(bucket.pins > 0);
        bucket.pins = bucket.pins.saturating_sub(1);
        act(bucket)
    }

    /// Forgets one or two keys that have leaked dry; before them, by force, the one that was not used for longest.
    fn forget(&self, table: &mut Table<Bucket>, force: bool, rate: u64, now_ms: u64) {
        let most = if force { 3 } else { 2 };
        for n in 0..most {
            let Some((place, bucket)) = table.oldest() else { return };
            let by_force = force && n == 0;
            if bucket.pins > 0 || !(by_force || bucket.is_stale(rate, now_ms)) {
                return;
            }
            let key_bytes = table.remove(place);
            self.room.give(STATE_BYTES + key_bytes);
        }
    }
}

impl Bucket {
    /// The excess if one more request passed now.
    fn excess_with_one_more(&self, rate: u64, now_ms: u64) -> u64 {
        // A key that was never counted has leaked since the beginning of time.
        let Some(last_ms) = self.last_ms else { return 0 };
        let leaked = rate.saturating_mul(elapsed_ms(last_ms, now_ms)) / 1000;
        self.excess.saturating_add(REQUEST).saturating_sub(leaked)
    }

    fn set(&mut self, excess: u64, now_ms: u64) {
        self.excess = excess;
        if self.last_ms.is_none_or(|last_ms| elapsed_ms(last_ms, now_ms) > 0) {
            self.last_ms = Some(now_ms);
        }
    }

    fn is_stale(&self, rate: u64, now_ms: u64) -> bool {
        let Some(last_ms) = self.last_ms else { return true };
        let idle_ms = now_ms.abs_diff(last_ms);
        idle_ms >= STALE_MS && self.excess <= rate.saturating_mul(idle_ms) / 1000
    }
}

/// Another worker's turn may have begun a little later than ours and counted first: that is no time at all. A clock
/// that went back far has some other meaning, and the key goes on from now.
const fn elapsed_ms(last_ms: u64, now_ms: u64) -> u64 {
    match now_ms.checked_sub(last_ms) {
        Some(elapsed) => elapsed,
        None if last_ms - now_ms > STALE_MS => 1,
        None => 0,
    }
}

impl core::fmt::Debug for ReqZone {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ReqZone").field("room", &self.room).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "limit_req_tests.rs"]
mod tests;
