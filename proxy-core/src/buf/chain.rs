//! Bytes in order, not in one place: what one vectored write sends.

use alloc::vec::Vec;

use smallvec::SmallVec;

use super::Chunk;

/// How many slices may wait before small ones are copied together.
const CHUNKS_BEFORE_COPY: usize = 4;
/// Slices below this size, in bytes, are copied together.
const SMALL_SLICE_BYTES: usize = 8 * 1024;
/// From how many small slices on a chain is copied into one place.
const FRAGMENTS_MAX: usize = 32;
/// The memory that small slices are copied into, in bytes.
const TAIL_BYTES: usize = 16 * 1024;

/// A queue of [`Chunk`]s. Two of them, a head and a body's first slice, fit without an allocation.
#[derive(Debug, Default)]
pub struct Chain {
    chunks: SmallVec<[Chunk; 2]>,
    bytes: usize,
}

impl Chain {
    /// A chain without bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Its chunks in order; none of them is empty.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Links `chunk` at the end; an empty one leaves no trace.
    pub fn push(&mut self, chunk: Chunk) {
        if !chunk.is_empty() {
            self.bytes += chunk.len();
            self.chunks.push(chunk);
        }
    }

    /// Links `chunk` at the end. Where some wait already, a small one, which would keep a whole block for itself, is
    /// copied behind the last, so that a trickle cannot pin the pool.
    pub fn push_compact(&mut self, chunk: Chunk) {
        if chunk.len() >= SMALL_SLICE_BYTES || self.chunks.len() < CHUNKS_BEFORE_COPY {
            return self.push(chunk);
        }
        if self.chunks.last_mut().is_some_and(|last| last.try_append(&chunk)) {
            self.bytes += chunk.len();
            return;
        }
        let mut tail = Vec::with_capacity(TAIL_BYTES);
        tail.extend_from_slice(&chunk);
        self.push(Chunk::from_vec(tail));
    }

    /// Copies everything into one place where it has come to lie in many small slices, each of which keeps a block.
    pub fn defragment(&mut self) {
        if self.chunks.len() >= FRAGMENTS_MAX && self.bytes / self.chunks.len() < SMALL_SLICE_BYTES {
            let all = self.to_vec();
            self.clear();
            self.push(Chunk::from_vec(all));
        }
    }

    /// Moves all of `other` to the end of this chain.
    pub fn append(&mut self, other: &mut Self) {
        self.bytes += other.bytes;
        self.chunks.append(&mut other.chunks);
        other.bytes = 0;
    }

    /// Puts `front` before what this chain holds: the unsent rest of a short write goes back to its place.
    pub fn prepend(&mut self, mut front: Self) {
        core::mem::swap(self, &mut front);
        self.append(&mut front);
    }

    /// Drops the first `n` bytes: they are sent.
    pub fn advance(&mut self, n: usize) {
        let mut left = n.min(self.bytes);
        self.bytes -= left;
        let mut gone = 0;
        for chunk in &mut self.chunks {
            if left < chunk.len() {
                chunk.advance(left);
                break;
            }
            left -= chunk.len();
            gone += 1;
        }
        self.chunks.drain(..gone);
    }

    /// Takes the first `n` bytes (or all, if there are fewer) into a chain of their own.
    #[must_use]
    pub fn split_to(&mut self, n: usize) -> Self {
        if n >= self.bytes {
            return core::mem::take(self);
        }
        let mut head = Self::new();
        let mut left = n;
        let mut whole = 0;
        for chunk in &mut self.chunks {
            if left < chunk.len() {
                head.push(chunk.split_to(left));
                break;
            }
            left -= chunk.len();
            head.push(core::mem::take(chunk));
            whole += 1;
        }
        self.chunks.drain(..whole);
        self.bytes -= n;
        head
    }

    /// Takes the first chunk off.
    pub fn pop_front(&mut self) -> Option<Chunk> {
        if self.chunks.is_empty() {
            return None;
        }
        let first = self.chunks.remove(0);
        self.bytes -= first.len();
        Some(first)
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.bytes = 0;
    }

    /// A copy of all bytes in one place, for tests and for the few consumers that need them so.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.bytes);
        for chunk in &self.chunks {
            all.extend_from_slice(chunk);
        }
        all
    }
}

impl Clone for Chain {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone(), bytes: self.bytes }
    }
}

impl From<Chunk> for Chain {
    fn from(chunk: Chunk) -> Self {
        let mut chain = Self::new();
        chain.push(chunk);
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        let mut chain = Chain::new();
        for part in [&b"one"[..], b"", b"three", b"5"] {
            chain.push(Chunk::from_static(part));
        }
        chain
    }

    #[test]
    fn every_cut_keeps_every_byte() {
        let whole = b"onethree5";
        for cut in 0..=whole.len() {
            let mut rest = chain();
            let head = rest.split_to(cut);
            assert_eq!((head.to_vec(), rest.to_vec()), (whole[..cut].to_vec(), whole[cut..].to_vec()));
            assert_eq!(rest.len() + head.len(), whole.len());
            assert!(head.chunks().iter().chain(rest.chunks()).all(|chunk| !chunk.is_empty()));
            rest.prepend(head);
            assert_eq!(rest.to_vec(), whole);
            rest.advance(cut);
            assert_eq!((rest.to_vec(), rest.len()), (whole[cut..].to_vec(), whole.len() - cut));
        }
    }
}
