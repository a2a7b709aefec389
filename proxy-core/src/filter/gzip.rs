//! `gzip`: a body compressed as it passes (RFC 1952).
//!
//! A compressor holds a quarter of a megabyte, so those that have ended wait for their next body ([`Deflaters`]).
//!
//! Reference: nginx's ngx_http_gzip_filter_module.

use alloc::boxed::Box;
use alloc::vec::Vec;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::Broken;
use crate::buf::{Buf, Chain, Pool};

/// A body being compressed.
#[derive(Debug)]
pub(crate) struct Gzip {
    deflate: Box<Compress>,
    key: Key,
    /// The block that is being filled.
    block: Option<Buf>,
    /// Something was fed since the last flush.
    dirty: bool,
    done: bool,
}

/// What a compressor was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    level: u8,
    window_bits: u8,
}

/// Compressors that wait for their next body.
#[derive(Debug, Default)]
pub(crate) struct Deflaters {
    free: Vec<(Key, Box<Compress>)>,
}

/// How many compressors one worker keeps.
const KEPT_MAX: usize = 8;

impl Deflaters {
    /// A compressor of this level for a body of so many bytes; `None` stands for any length.
    pub(crate) fn begin(&mut self, level: u8, length: Option<u64>) -> Gzip {
        let key = Key { level, window_bits: window_bits(length) };
        let kept = self.free.iter().position(|(other, _)| *other == key);
        let deflate = match kept {
            Some(place) => self.free.swap_remove(place).1,
            None => Box::new(Compress::new_gzip(Compression::new(u32::from(level)), key.window_bits)),
        };
        Gzip { deflate, key, block: None, dirty: false, done: false }
    }

    /// Takes a compressor back.
    pub(crate) fn end(&mut self, gzip: Gzip) {
        if self.free.len() < KEPT_MAX {
            let mut deflate = gzip.deflate;
            deflate.reset();
            self.free.push((gzip.key, deflate));
        }
    }
}

/// A window no larger than the body needs, as nginx chooses it.
const fn window_bits(length: Option<u64>) -> u8 {
    let Some(length) = length else { return 15 };
    let mut bits = 15;
    while bits > 9 && length < (1 << (bits - 1)) - 262 {
        bits -= 1;
    }
    bits
}

impl Gzip {
    /// A block of the body.
    pub(crate) fn feed(&mut self, data: &[u8], out: &mut Chain, pool: &Pool) -> Result<(), Broken> {
        self.dirty |= !data.is_empty();
        self.run(data, FlushCompress::None, out, pool)
    }

    /// Gives all that was fed so far, so that the client can read it.
    pub(crate) fn flush(&mut self, out: &mut Chain, pool: &Pool) -> Result<(), Broken> {
        if core::mem::take(&mut self.dirty) {
            self.run(&[], FlushCompress::Sync, out, pool)?;
            self.pass_block(out);
        }
        Ok(())
    }

    /// The body's end.
    pub(crate) fn finish(&mut self, out: &mut Chain, pool: &Pool) -> Result<(), Broken> {
        self.run(&[], FlushCompress::Finish, out, pool)?;
        self.pass_block(out);
        self.done = true;
        Ok(())
    }

    /// How many bytes went in and came out (`$gzip_ratio`).
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.deflate.total_in(), self.deflate.total_out())
    }

    fn run(
        &mut self,
        mut data: &[u8],
        how: FlushCompress,
        out: &mut Chain,
        pool: &Pool,
    ) -> Result<(), Broken> {
        loop {
            let (before_in, before_out) = self.totals();
            let block = self.block.get_or_insert_with(|| pool.take());
            let status = self
                .deflate
                .compress(data, block.spare_mut(), how)
                .map_err(|_| Broken("deflate() failed"))?;
            let (after_in, after_out) = (self.deflate.total_in(), self.deflate.total_out());
            block.advance(bytes(after_out - before_out));
            let full = block.spare() == 0;
            data = data.get(bytes(after_in - before_in)..).unwrap_or_default();
            if full {
                self.pass_block(out);
            }
            // A block that was not filled means that nothing waits inside.
            if status == Status::StreamEnd || (data.is_empty() && !full) {
                return Ok(());
            }
        }
    }

    fn pass_block(&mut self, out: &mut Chain) {
        if let Some(block) = self.block.take() {
            out.push(block.freeze());
        }
    }
}

/// A count of bytes in memory.
fn bytes(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};

    use super::*;

    fn unpacked(packed: &[u8]) -> Vec<u8> {
        let mut all = Vec::with_capacity(1 << 20);
        let mut inflate = Decompress::new_gzip(15);
        inflate.decompress_vec(packed, &mut all, FlushDecompress::Sync).unwrap();
        all
    }

    #[test]
    fn what_comes_out_is_what_went_in_however_it_was_cut() {
        let pool = Pool::new(64, 4);
        let mut deflaters = Deflaters::default();
        let mut text: Vec<u8> = Vec::new();
        for n in 0..3000_u32 {
            text.extend_from_slice(alloc::format!("line {} ", n * n % 977).as_bytes());
        }
        for part in [1, 7, 4096, text.len()] {
            for flushed in [false, true] {
                let mut gzip = deflaters.begin(6, Some(text.len() as u64));
                let mut out = Chain::new();
                for (n, piece) in text.chunks(part).enumerate() {
                    gzip.feed(piece, &mut out, &pool).unwrap();
                    if flushed && n % 64 == 0 {
                        gzip.flush(&mut out, &pool).unwrap();
                        let so_far = text.len().min((n + 1) * part);
                        assert_eq!(unpacked(&out.to_vec()), text[..so_far], "{part}");
                    }
                }
                gzip.finish(&mut out, &pool).unwrap();
                assert_eq!(unpacked(&out.to_vec()), text, "{part}");
                assert!(out.len() < text.len());
                deflaters.end(gzip);
            }
        }
        assert_eq!(deflaters.free.len(), 1);
    }

    #[test]
    fn windows_fit_the_body() {
        assert_eq!([None, Some(0), Some(10_000), Some(1 << 20)].map(window_bits), [15, 9, 14, 15]);
    }
}
