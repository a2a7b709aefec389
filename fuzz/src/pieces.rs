//! Bytes as a socket may deliver them: cut anywhere.

/// The pieces of some bytes, none of them empty.
pub(crate) struct Pieces<'a> {
    rest: &'a [u8],
    random: u64,
    size_max: usize,
}

impl<'a> Pieces<'a> {
    /// `how` decides where the cuts are: 0 cuts at every byte, others at places that look random.
    pub(crate) fn new(bytes: &'a [u8], how: [u8; 2]) -> Self {
        let [size, seed] = how;
        // From single bytes to halves of the usual input.
        let size_max = 1 << (size % 12);
        Self { rest: bytes, random: u64::from(seed).wrapping_mul(2).wrapping_add(1), size_max }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let size = 1 + usize::try_from(self.random >> 33).unwrap_or_default() % self.size_max;
        let (piece, rest) = self.rest.split_at(size.min(self.rest.len()));
        self.rest = rest;
        (!piece.is_empty()).then_some(piece)
    }
}
