//! Numbers that nobody can guess.

use core::hash::Hasher as _;

use siphasher::sip::SipHasher24;

/// A keyed generator: SipHash-2-4 over a counter. Unlike a fast generator of identifiers, whose next number follows from
/// the last one, its outputs say nothing about each other or about the key.
#[derive(Clone)]
pub struct Secret {
    key: (u64, u64),
    count: u64,
}

impl Secret {
    /// A generator for one purpose; `seed` is a worker's and is never seen outside.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Self {
        let derive = |part: u64| {
            let mut hasher = SipHasher24::new_with_keys(seed, purpose);
            hasher.write_u64(part);
            hasher.finish()
        };
        Self { key: (derive(1), derive(2)), count: 0 }
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.key.0, self.key.1);
        hasher.write_u64(self.count);
        self.count = self.count.wrapping_add(1);
        hasher.finish()
    }

    /// The id of a message.
    pub fn id(&mut self) -> u16 {
        let [low, high, ..] = self.draw().to_le_bytes();
        u16::from_le_bytes([low, high])
    }
}

impl core::fmt::Debug for Secret {
    /// Nothing of it.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret")
    }
}
