//! MurmurHash2, as `split_clients` uses it: 32 bits, seed 0.

const FACTOR: u32 = 0x5bd1_e995;

/// The hash of `bytes`.
#[must_use]
pub fn murmur_hash2(bytes: &[u8]) -> u32 {
    let mut hash = bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut key = u32::from_le_bytes(*word).wrapping_mul(FACTOR);
        key ^= key >> 24;
        hash = hash.wrapping_mul(FACTOR) ^ key.wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(FACTOR);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the author's C program has it; `split_clients` is held to nginx itself by the differential cases.
    #[test]
    fn known_hashes() {
        for (text, expected) in [
            ("", 0x0000_0000_u32),
            ("a", 0x9268_5f5e_u32),
            ("ab", 0x1aa1_4063_u32),
            ("abc", 0x1357_7c9b_u32),
            ("abcd", 0x2687_3021_u32),
            ("abcde", 0x5f09_a8de_u32),
            ("127.0.0.1AAA", 0xb5fc_5e4b_u32),
            ("ünïcödé", 0xaf9b_2423_u32),
        ] {
            assert_eq!(murmur_hash2(text.as_bytes()), expected, "{text}");
        }
    }
}
