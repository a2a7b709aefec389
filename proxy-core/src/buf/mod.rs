//! Who owns which bytes: exclusive [`Buf`]s, shared [`Chunk`]s, and [`Chain`]s of them.
//!
//! A driver fills a [`Buf`] and hands it over; the core [freezes](Buf::freeze) it into a [`Chunk`], slices it and links
//! the slices into the [`Chain`] of the other leg. When the last chunk is gone the memory is back on its [`Pool`]'s
//! shelf, last in first out, so that the next read finds it in the cache. No body byte is copied on that way and nothing
//! is allocated once the shelf is warm.
//!
//! Everything here belongs to one thread: the counts are not atomic.

mod chain;
mod chunk;
mod pool;

pub use chain::Chain;
pub use chunk::Chunk;
pub use pool::{Buf, Pool};
