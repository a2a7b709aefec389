//! A shelf of equal blocks of memory, and the exclusive handle to one of them.

use alloc::boxed::Box;
use alloc::rc::{Rc, Weak};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;

use super::Chunk;

/// A last-in-first-out store of equally large blocks. Cloning it clones the handle, not the blocks.
#[derive(Clone)]
pub struct Pool {
    shelf: Rc<Shelf>,
}

struct Shelf {
    block_bytes: usize,
    /// Blocks above this number are given back to the allocator instead of being shelved.
    keep_max: usize,
    free: RefCell<Vec<Rc<Block>>>,
    live: Cell<usize>,
}

/// One block; it finds its way back by itself.
struct Block {
    data: Box<[u8]>,
    shelf: Weak<Shelf>,
}

impl Pool {
    /// A pool of blocks of `block_bytes` each, which keeps at most `keep_max` unused ones.
    #[must_use]
    pub fn new(block_bytes: usize, keep_max: usize) -> Self {
        let shelf = Shelf {
            block_bytes,
            keep_max,
            free: RefCell::new(Vec::with_capacity(keep_max)),
            live: Cell::new(0),
        };
        Self { shelf: Rc::new(shelf) }
    }

    /// An empty buffer: the block used last, or a new one when the shelf is bare.
    #[must_use]
    pub fn take(&self) -> Buf {
        let shelved = self.shelf.free.borrow_mut().pop();
        let block = shelved.unwrap_or_else(|| {
            let data = vec![0; self.shelf.block_bytes].into_boxed_slice();
            Rc::new(Block { data, shelf: Rc::downgrade(&self.shelf) })
        });
        self.shelf.live.set(self.shelf.live.get() + 1);
        Buf { block: Lease(Some(block)), len: 0 }
    }

    /// The size of each block in bytes.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        self.shelf.block_bytes
    }

    /// How many blocks are out at the moment.
    #[must_use]
    pub fn live(&self) -> usize {
        self.shelf.live.get()
    }
}

/// A counted reference to a block that puts it back on the shelf when it was the last one.
pub(super) struct Lease(Option<Rc<Block>>);

impl Lease {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |block| &block.data)
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // A `Buf` is the only holder of its block, so this never fails; were it ever shared, it would have no room.
        self.0.as_mut().and_then(Rc::get_mut).map_or(&mut [], |block| &mut block.data)
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(block) = self.0.take() else { return };
        if Rc::strong_count(&block) != 1 {
            return;
        }
        let Some(shelf) = block.shelf.upgrade() else { return };
        shelf.live.set(shelf.live.get() - 1);
        let mut free = shelf.free.borrow_mut();
        if free.len() < shelf.keep_max {
            free.push(block);
        }
    }
}

/// Memory with a single owner: what a driver reads into and what the core writes heads into.
pub struct Buf {
    block: Lease,
    len: usize,
}

impl Buf {
    /// The bytes written so far.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.block.bytes().get(..self.len).unwrap_or_default()
    }

    /// How many bytes are written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written; as the result of a receive this is the end of the stream.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The room behind the written bytes. Fill a prefix of it, then [`advance`](Self::advance).
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        self.block.bytes_mut().get_mut(len..).unwrap_or_default()
    }

    /// The size of the room behind the written bytes.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.block.bytes().len() - self.len
    }

    /// The bytes written so far, to be changed in their place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.len;
        self.block.bytes_mut().get_mut(..len).unwrap_or_default()
    }

    /// Counts `n` further bytes as written; never more than there is room for.
    pub fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.spare());
        self.len += n.min(self.spare());
    }

    /// Appends `bytes` if they fit whole; otherwise writes nothing and says `false`.
    #[must_use]
    pub fn try_extend(&mut self, bytes: &[u8]) -> bool {
        let Some(room) = self.spare_mut().get_mut(..bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.len += bytes.len();
        true
    }

    /// Forgets what was written.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Shares the written bytes.
    #[must_use]
    pub fn freeze(self) -> Chunk {
        let len = self.len;
        Chunk::pooled(self.block, len)
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_chunk_brings_the_block_back() {
        let pool = Pool::new(16, 4);
        let mut buf = pool.take();
        assert!(buf.try_extend(b"hello world"));
        assert!(!buf.try_extend(b"too long"));
        let place = buf.as_slice().as_ptr();
        let chunk = buf.freeze();
        let tail = chunk.slice(6..11);
        drop(chunk);
        assert_eq!((tail.as_slice(), pool.live()), (&b"world"[..], 1));
        drop(tail);
        assert_eq!(pool.live(), 0);
        let again = pool.take();
        assert_eq!((again.block.bytes().as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn a_full_shelf_lets_blocks_go() {
        let pool = Pool::new(8, 1);
        drop((pool.take(), pool.take()));
        assert_eq!((pool.live(), pool.shelf.free.borrow().len()), (0, 1));
    }
}
