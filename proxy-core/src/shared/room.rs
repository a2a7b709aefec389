//! How much fits into a zone: nginx's slab allocator, as far as its arithmetic decides when a zone is full.
//!
//! nginx divides a zone into pages, and a page into chunks of one size, a power of two. The zone's own bookkeeping
//! takes one page and one chunk. Zones of keys of very different lengths lose a few pages more in nginx.

use core::sync::atomic::{AtomicUsize, Ordering};

/// The page size of nginx's allocator on the machines that we run on, in bytes.
const PAGE_BYTES: usize = 4096;
/// What describes a page, in bytes.
const PAGE_RECORD_BYTES: usize = 24;
/// What stands before the descriptions of the pages, in bytes: the pool, nine size classes and their statistics.
const POOL_BYTES: usize = 200 + 9 * (24 + 32);

/// The bytes of a zone that are not taken.
#[derive(Debug)]
pub(super) struct Room {
    free: AtomicUsize,
}

impl Room {
    /// The room in a zone of this size whose bookkeeping takes a chunk of `own_bytes`.
    pub(super) fn new(zone_bytes: usize, own_bytes: usize) -> Self {
        let pages = zone_bytes.saturating_sub(POOL_BYTES) / (PAGE_BYTES + PAGE_RECORD_BYTES);
        let start = (POOL_BYTES + pages * PAGE_RECORD_BYTES).next_multiple_of(PAGE_BYTES);
        let pages = pages.min(zone_bytes.saturating_sub(start) / PAGE_BYTES);
        let free = (pages.saturating_sub(1) * PAGE_BYTES).saturating_sub(chunk_bytes(own_bytes));
        Self { free: AtomicUsize::new(free) }
    }

    /// Takes the chunk that so many bytes need, if there is one.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let chunk = chunk_bytes(bytes);
        let less = |free: usize| free.checked_sub(chunk);
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Gives it back.
    pub(super) fn give(&self, bytes: usize) {
        self.free.fetch_add(chunk_bytes(bytes), Ordering::Relaxed);
    }
}

/// Powers of two up to half a page, whole pages beyond.
const fn chunk_bytes(bytes: usize) -> usize {
    if bytes > PAGE_BYTES / 2 { bytes.next_multiple_of(PAGE_BYTES) } else { bytes.next_power_of_two() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// nginx's documentation: one megabyte keeps about 8 thousand states of 128 bytes or 16 thousand of 64.
    #[test]
    fn a_zone_holds_as_many_states_as_nginx_says() {
        let count = |zone_bytes, own, bytes| {
            let room = Room::new(zone_bytes, own);
            (0..).take_while(|_| room.take(bytes)).count()
        };
        assert_eq!(count(32 << 10, 80, 84), 6 * 32 - 1);
        assert_eq!(count(1 << 20, 80, 84), 253 * 32 - 1);
        assert_eq!(count(1 << 20, 64, 40), 253 * 64 - 1);
        assert_eq!(count(1 << 20, 64, 3000), 252);
        assert_eq!(count(100, 64, 40), 0);
        let room = Room::new(32 << 10, 64);
        assert!(room.take(20_000) && !room.take(20_000));
        room.give(20_000);
        assert!(room.take(20_000));
    }
}
