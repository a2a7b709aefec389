//! `gunzip`: a compressed body for a client that does not take it compressed.
//!
//! A few bytes may stand for very many, so no more is unpacked than there is room for; the rest of the input waits.
//!
//! Reference: nginx's ngx_http_gunzip_filter_module.

use alloc::boxed::Box;

use flate2::{Decompress, FlushDecompress, Status};

use super::Broken;
use crate::buf::{Chain, Chunk, Pool};

/// A body being unpacked.
#[derive(Debug)]
pub(crate) struct Gunzip {
    inflate: Box<Decompress>,
    waiting: Chain,
    started: bool,
    ended: bool,
}

impl Gunzip {
    pub(crate) fn new() -> Self {
        Self {
            inflate: Box::new(Decompress::new_gzip(15)),
            waiting: Chain::new(),
            started: false,
            ended: false,
        }
    }

    /// A block of the compressed body; [`pump`](Self::pump) unpacks it.
    pub(crate) fn feed(&mut self, data: Chunk) {
        self.waiting.push(data);
    }

    /// Whether something waits to be unpacked.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Unpacks one block of output, if there is so much. Returns whether anything moved.
    ///
    /// # Errors
    /// The body is not what its head says.
    pub(crate) fn pump(&mut self, out: &mut Chain, pool: &Pool) -> Result<bool, Broken> {
        let Some(first) = self.waiting.chunks().first() else { return Ok(false) };
        if self.ended {
            // Another member of the same file may follow (RFC 1952, section 2.2).
            *self.inflate = Decompress::new_gzip(15);
            self.ended = false;
        }
        self.started = true;
        let mut block = pool.take();
        let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(first, block.spare_mut(), FlushDecompress::None)
            .map_err(|_| Broken("inflate() failed"))?;
        let used = usize::try_from(self.inflate.total_in() - before_in).unwrap_or(usize::MAX);
        let made = usize::try_from(self.inflate.total_out() - before_out).unwrap_or(usize::MAX);
        block.advance(made);
        self.waiting.advance(used);
        if made > 0 {
            out.push(block.freeze());
        }
        self.ended = status == Status::StreamEnd;
        if used == 0 && made == 0 && !self.ended {
            return Err(Broken("inflate() failed"));
        }
        Ok(true)
    }

    /// The compressed body's end.
    ///
    /// # Errors
    /// It came too early.
    pub(crate) fn finish(&self) -> Result<(), Broken> {
        if self.ended || !self.started {
            Ok(())
        } else {
            Err(Broken("inflate() returned -5 on response end"))
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::gzip::Deflaters;
    use super::*;

    fn unpack<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, Broken> {
        let pool = Pool::new(50, 2);
        let (mut gunzip, mut out) = (Gunzip::new(), Chain::new());
        for part in parts {
            gunzip.feed(Chunk::from_vec(part.to_vec()));
            while gunzip.pump(&mut out, &pool)? {}
        }
        gunzip.finish()?;
        Ok(out.to_vec())
    }

    #[test]
    fn unpacks_at_every_split_and_sees_what_is_missing() {
        let pool = Pool::new(4096, 2);
        let text = [b"hello ".repeat(40), b"end".to_vec()].concat();
        let mut packed = Chain::new();
        let mut gzip = Deflaters::default().begin(9, None);
        gzip.feed(&text, &mut packed, &pool).unwrap();
        gzip.finish(&mut packed, &pool).unwrap();
        let packed = packed.to_vec();
        assert_eq!(unpack(packed.chunks(1)).unwrap(), text);
        for cut in 0..=packed.len() {
            let (front, back) = packed.split_at(cut);
            assert_eq!(unpack([front, back].into_iter()).unwrap(), text);
            if cut > 0 && cut < packed.len() {
                assert!(unpack(core::iter::once(front)).is_err(), "{cut}");
            }
        }
        assert_eq!(unpack([&packed[..], &packed[..]].into_iter()).unwrap(), [&text[..], &text[..]].concat());
        assert!(unpack(core::iter::once(&b"plain text"[..])).is_err());
    }
}
