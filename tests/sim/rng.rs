//! The one source of chance: splitmix64, so that a seed replays a run on every machine.

/// A deterministic stream of numbers.
#[derive(Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The stream of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own, so that what one part draws does not shift what another part gets.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        debug_assert!(low <= high);
        low + self.next() % (high - low + 1)
    }

    /// [`range`](Self::range) for sizes.
    pub(crate) fn size(&mut self, low: usize, high: usize) -> usize {
        usize::try_from(self.range(low as u64, high as u64)).expect("a size")
    }

    /// True `percent` times of a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// One of `choices`.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.size(0, choices.len() - 1)]
    }

    /// A size whose order of magnitude is drawn first: most are small, some are near `max`.
    pub(crate) fn spread(&mut self, max: usize) -> usize {
        let bits = self.range(0, u64::from(usize::BITS - max.leading_zeros()));
        self.size(0, (1_usize << bits).min(max))
    }

    /// So many bytes of noise that hold no line ends, so that a cut body is never taken for a head.
    pub(crate) fn noise(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| b'!' + u8::try_from(self.next() % 90).expect("below 90")).collect()
    }
}
