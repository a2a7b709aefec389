//! `limit_conn_zone`: how many requests of each key are being served.
//!
//! A request that was let in holds an [`Admission`]; it leaves when that is dropped, whichever way the request ends.
//!
//! Reference: ngx_http_limit_conn_module.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;
use spin::Mutex;

use super::LimitCounts;
use super::room::Room;
use super::table::Table;

/// What nginx keeps beside the key, in bytes.
const STATE_BYTES: usize = 36;
/// What nginx keeps of a zone as a whole, in bytes.
const OWN_BYTES: usize = 64;

/// The state of one zone.
pub struct ConnZone {
    /// What it has said.
    pub counts: LimitCounts,
    room: Room,
    hasher: DefaultHashBuilder,
    shards: Box<[Mutex<Table<u32>>]>,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many requests of its key are being served.
    TooMany,
    /// There is no room for its key.
    NoRoom,
}

/// A request that is counted, until this is dropped.
#[derive(Debug)]
pub struct Admission {
    zone: Arc<ConnZone>,
    shard: usize,
    place: usize,
}

impl ConnZone {
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

    /// Counts a request, if fewer than `most` of its key are counted.
    ///
    /// # Errors
    /// Why it is not.
    pub fn admit(self: &Arc<Self>, key: &[u8], most: u32) -> Result<Admission, Refusal> {
        let hash = self.hasher.hash_one(key);
        let shard = super::shard_of(hash, self.shards.len());
        let mut table = self.shards.get(shard).ok_or(Refusal::NoRoom)?.lock();
        let place = if let Some(place) = table.find(hash, key) {
            let count = table.get_mut(place).ok_or(Refusal::NoRoom)?;
            if *count >= most {
                return Err(Refusal::TooMany);
            }
            *count += 1;
            place
        } else if self.room.take(STATE_BYTES + key.len()) {
            table.insert(hash, key, 1)
        } else {
            return Err(Refusal::NoRoom);
        };
        drop(table);
        Ok(Admission { zone: Arc::clone(self), shard, place })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Some(table) = self.zone.shards.get(self.shard) else { return };
        let mut table = table.lock();
        let Some(count) = table.get_mut(self.place) else { return };
        *count -= 1;
        if *count == 0 {
            let key_bytes = table.remove(self.place);
            self.zone.room.give(STATE_BYTES + key_bytes);
        }
    }
}

impl core::fmt::Debug for ConnZone {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ConnZone").field("room", &self.room).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_key_is_let_in_as_often_as_it_may_and_leaves_no_trace() {
        let zone = Arc::new(ConnZone::new(32 << 10));
        let mut inside: Vec<_> = (0..3).map(|_| zone.admit(b"a", 3).unwrap()).collect();
        assert_eq!(zone.admit(b"a", 3).unwrap_err(), Refusal::TooMany);
        assert!(zone.admit(b"b", 1).is_ok());
        inside.pop();
        inside.push(zone.admit(b"a", 3).unwrap());
        drop(inside);
        assert!(zone.shards.iter().all(|shard| shard.lock().oldest().is_none()));
    }

    #[test]
    fn a_full_zone_refuses_new_keys_only() {
        let zone = Arc::new(ConnZone::new(32 << 10));
        let mut inside = Vec::new();
        let refusal = (0u32..).find_map(|n| match zone.admit(&n.to_be_bytes(), 1) {
            Ok(admission) => {
                inside.push(admission);
                None
            }
            Err(refusal) => Some(refusal),
        });
        assert_eq!((refusal, inside.len()), (Some(Refusal::NoRoom), 6 * 64 - 1));
        assert!(zone.admit(&0u32.to_be_bytes(), 2).is_ok());
        inside.pop();
        assert!(zone.admit(b"new!", 2).is_ok());
    }
}
