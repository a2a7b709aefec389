//! Memory that the kernel has: the buffers that it picks from for what it reads, and the lists that it writes from.
//!
//! ```text
//!   pool ──take──> entry of the group ──the kernel picks it──> completion ──> core
//!                       ▲                                         │
//!                       └────── another block of the pool ────────┘
//! ```
//!
//! A connection that waits for bytes has no buffer. The entries serve all of them, and each is refilled at once with
//! the block that was freed last and is still in the cache.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use proxy_core::buf::{Buf, Chain, Pool};

use crate::kernel::SLICES_MAX;

/// The kernel wants the list of entries to begin a page.
const PAGE: usize = 4096;

/// Buffers of one pool that the kernel picks from.
pub(super) struct Group {
    id: u16,
    pool: Pool,
    layout: Layout,
    list: NonNull<BufRingEntry>,
    /// The tail of the list, as far as the kernel knows.
    tail: u16,
    /// The blocks by number. The kernel has them all.
    blocks: Vec<Option<Buf>>,
}

impl Group {
    /// `entries` blocks of `pool`; a power of two.
    pub(super) fn new(id: u16, pool: Pool, entries: u16) -> Self {
        debug_assert!(entries.is_power_of_two());
        let bytes = usize::from(entries) * size_of::<BufRingEntry>();
        let layout = Layout::from_size_align(bytes, PAGE).unwrap_or(Layout::new::<[u64; 512]>());
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(list) = NonNull::new(memory.cast()) else { handle_alloc_error(layout) };
        let blocks = std::iter::repeat_with(|| None).take(usize::from(entries)).collect();
        let mut group = Self { id, pool, layout, list, tail: 0, blocks };
        (0..entries).for_each(|number| group.provide(number));
        group
    }

    pub(super) const fn id(&self) -> u16 {
        self.id
    }

    pub(super) fn address(&self) -> u64 {
        self.list.as_ptr() as u64
    }

    pub(super) fn entries(&self) -> u16 {
        u16::try_from(self.blocks.len()).unwrap_or_default()
    }

    /// The block that the kernel has given back with `len` bytes in it; another takes its place.
    pub(super) fn take(&mut self, number: u16, len: usize) -> Buf {
        let block = self.blocks.get_mut(usize::from(number)).and_then(Option::take);
        debug_assert!(block.is_some(), "buffer {number} is not the kernel's");
        self.provide(number);
        let mut buf = block.unwrap_or_else(|| self.pool.take());
        buf.advance(len);
        buf
    }

    /// A block for a result without one.
    pub(super) fn empty(&self) -> Buf {
        self.pool.take()
    }

    /// Gives the kernel a block under this number.
    fn provide(&mut self, number: u16) {
        let place = usize::from(self.tail) & (self.blocks.len() - 1);
        let Some(slot) = self.blocks.get_mut(usize::from(number)) else { return };
        let block = slot.insert(self.pool.take());
        let room = block.spare_mut();
        // SAFETY: the list has as many entries as there are blocks, a power of two, so the masked place is inside. The
        // kernel does not read entries beyond the tail, and never the part of the first one that is the tail.
        unsafe {
            let entry = &mut *self.list.as_ptr().add(place);
            entry.set_addr(room.as_mut_ptr() as u64);
            entry.set_len(u32::try_from(room.len()).unwrap_or(u32::MAX));
            entry.set_bid(number);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail is two aligned bytes in the first entry, which we and the kernel access whole.
        unsafe {
            let tail = BufRingEntry::tail(self.list.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; the owner has taken it back from the kernel, or forgets it instead.
        unsafe { dealloc(self.list.as_ptr().cast(), self.layout) };
    }
}

/// A chain whose first chunks the kernel reads.
pub(super) struct Sending {
    pub(super) chain: Chain,
    list: Option<List>,
}

/// A vectored write's slices. They stay where they are, and serve one write after the other.
#[derive(Default)]
pub(super) struct List(Box<Message>);

struct Message {
    slices: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl Default for Message {
    fn default() -> Self {
        // SAFETY: an all-zero `msghdr` is an empty one.
        Self { slices: Vec::new(), header: unsafe { std::mem::zeroed() } }
    }
}

impl Sending {
    /// Takes a list from `kept` where `chain` is in pieces.
    pub(super) fn new(chain: Chain, kept: &mut Vec<List>) -> Self {
        if chain.chunks().len() <= 1 {
            return Self { chain, list: None };
        }
        let mut list = kept.pop().unwrap_or_default();
        let message = &mut *list.0;
        message.slices.clear();
        message.slices.extend(
            chain.chunks().iter().take(SLICES_MAX).map(|chunk| libc::iovec {
                iov_base: chunk.as_ptr().cast_mut().cast(),
                iov_len: chunk.len(),
            }),
        );
        message.header.msg_iov = message.slices.as_mut_ptr();
        message.header.msg_iovlen = message.slices.len();
        Self { chain, list: Some(list) }
    }

    /// The first bytes.
    pub(super) fn first(&self) -> &[u8] {
        self.chain.chunks().first().map_or(&[], |chunk| chunk)
    }

    /// All of them, where there is a list.
    pub(super) fn message(&self) -> Option<*const libc::msghdr> {
        self.list.as_ref().map(|list| &raw const list.0.header)
    }

    /// The chain and the list.
    pub(super) fn end(self) -> (Chain, Option<List>) {
        (self.chain, self.list)
    }
}
