//! A shared slice of bytes that never change.

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, Range};

use super::pool::Lease;

/// A cheap-to-clone slice of immutable bytes, whoever owns the memory behind it.
#[derive(Clone)]
pub struct Chunk {
    memory: Memory,
    start: u32,
    len: u32,
}

#[derive(Clone)]
enum Memory {
    /// A block of a [`Pool`](super::Pool).
    Pooled(Lease),
    /// Part of the program.
    Static(&'static [u8]),
    /// Part of a configuration, which all workers share.
    Shared(Arc<[u8]>),
    /// Bytes made for one purpose: gathered heads, generated pages.
    Owned(Rc<Vec<u8>>),
}

impl Chunk {
    pub(super) fn pooled(lease: Lease, len: usize) -> Self {
        Self { memory: Memory::Pooled(lease), start: 0, len: clamp(len) }
    }

    /// No bytes at all.
    #[must_use]
    pub const fn empty() -> Self {
        Self { memory: Memory::Static(&[]), start: 0, len: 0 }
    }

    /// Bytes that are part of the program.
    #[must_use]
    pub fn from_static(bytes: &'static [u8]) -> Self {
        Self { memory: Memory::Static(bytes), start: 0, len: clamp(bytes.len()) }
    }

    /// Bytes that belong to a configuration.
    #[must_use]
    pub fn from_shared(bytes: Arc<[u8]>) -> Self {
        let len = clamp(bytes.len());
        Self { memory: Memory::Shared(bytes), start: 0, len }
    }

    /// Bytes made for this purpose. At most 4 GiB of them are kept.
    #[must_use]
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        let len = clamp(bytes.len());
        Self { memory: Memory::Owned(Rc::new(bytes)), start: 0, len }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        let whole = match &self.memory {
            Memory::Pooled(lease) => lease.bytes(),
            Memory::Static(bytes) => bytes,
            Memory::Shared(bytes) => bytes,
            Memory::Owned(bytes) => bytes,
        };
        let start = self.start as usize;
        whole.get(start..start + self.len as usize).unwrap_or_default()
    }

    /// How many bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The part `range` of these bytes, sharing their memory. A range outside is cut to what is there.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        if start == end {
            return Self::empty();
        }
        Self { memory: self.memory.clone(), start: self.start + clamp(start), len: clamp(end - start) }
    }

    /// Drops the first `n` bytes from view.
    pub fn advance(&mut self, n: usize) {
        let n = clamp(n).min(self.len);
        self.start += n;
        self.len -= n;
        if self.len == 0 {
            // No bytes keep no memory: a connection that waits would hold a block for nothing.
            *self = Self::empty();
        }
    }

    /// Drops all but the first `n` bytes from view.
    pub fn truncate(&mut self, n: usize) {
        self.len = self.len.min(clamp(n));
        if self.len == 0 {
            *self = Self::empty();
        }
    }

    /// Appends `bytes` where that moves nothing: the memory is ours alone, ends where this slice ends, and has room.
    #[must_use]
    pub(super) fn try_append(&mut self, bytes: &[u8]) -> bool {
        let Memory::Owned(memory) = &mut self.memory else { return false };
        let Some(memory) = Rc::get_mut(memory) else { return false };
        let ends_here = self.start as usize + self.len as usize == memory.len();
        if !ends_here || memory.capacity() - memory.len() < bytes.len() {
            return false;
        }
        memory.extend_from_slice(bytes);
        self.len += clamp(bytes.len());
        true
    }

    /// Takes the first `n` bytes out and leaves the rest.
    #[must_use]
    pub fn split_to(&mut self, n: usize) -> Self {
        let head = self.slice(0..n);
        self.advance(n);
        head
    }
}

/// Blocks are far below 4 GiB; a longer slice shows its first 4 GiB rather than panicking.
fn clamp(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Default for Chunk {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.as_slice().escape_ascii())
    }
}

impl PartialEq for Chunk {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Chunk {}
