//! HPACK's Huffman code (RFC 7541, section 5.2 and appendix B).
//!
//! The code is canonical: symbols of one length have consecutive codes in the order of their values. So the lengths
//! alone, one byte for each symbol, are all that has to be written down; codes and decoding tables follow from them
//! while compiling.

use alloc::vec::Vec;

/// The length of each symbol's code in bits; the last one is the end-of-string symbol.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

/// The longest code, in bits.
const BITS_MAX: usize = 30;

/// How many bits are looked up at once: most of what is sent has codes of at most this length.
const PEEK_BITS: u32 = 8;

/// Symbols ordered by code, the first code of each length, and where its symbols begin.
struct Canonical {
    symbols: [u16; 257],
    first_code: [u32; BITS_MAX + 2],
    first_place: [u16; BITS_MAX + 2],
    codes: [u32; 257],
    /// By the next [`PEEK_BITS`] bits: the symbol and the length of its code, or length 0 where it is longer.
    peek: [(u8, u8); 1 << PEEK_BITS],
}

static CANONICAL: Canonical = canonical();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time only")]
const fn canonical() -> Canonical {
    let mut built = Canonical {
        symbols: [0; 257],
        first_code: [0; BITS_MAX + 2],
        first_place: [0; BITS_MAX + 2],
        codes: [0; 257],
        peek: [(0, 0); 1 << PEEK_BITS],
    };
    let mut code = 0u32;
    let mut place = 0;
    let mut length = 1;
    while length <= BITS_MAX + 1 {
        code <<= 1;
        built.first_code[length] = code;
        built.first_place[length] = place as u16;
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                built.symbols[place] = symbol as u16;
                built.codes[symbol] = code;
                if length <= PEEK_BITS as usize {
                    let shift = PEEK_BITS - length as u32;
                    let mut tail = 0;
                    while tail < 1 << shift {
                        built.peek[(code << shift | tail) as usize] = (symbol as u8, length as u8);
                        tail += 1;
                    }
                }
                code += 1;
                place += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    built
}

/// The string is no Huffman code, or what it stands for is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HuffmanError;

/// Appends what `coded` stands for to `out`.
///
/// # Errors
/// The end-of-string symbol, padding that is not its beginning, padding of eight bits or more.
pub fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), HuffmanError> {
    // The shortest code has five bits.
    out.reserve(coded.len() * 8 / 5 + 1);
    let mut input = coded.iter();
    let mut bits = 0u64;
    let mut count = 0u32;
    loop {
        while count <= 56
            && let Some(byte) = input.next()
        {
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
        }
        if count == 0 {
            return Ok(());
        }
        let (symbol, length) = CANONICAL.peek.get((bits >> 56) as usize).copied().unwrap_or((0, 0));
        let (symbol, length) = if length > 0 { (symbol, u32::from(length)) } else { long(bits)? };
        if length > count {
            return padding(bits, count);
        }
        out.push(symbol);
        bits <<= length;
        count -= length;
    }
}

/// The symbol at the front of `bits`, whose code is longer than [`PEEK_BITS`], and its length.
fn long(bits: u64) -> Result<(u8, u32), HuffmanError> {
    let canonical = &CANONICAL;
    for length in PEEK_BITS as usize + 1..=BITS_MAX {
        let code = (bits >> (64 - length)) as u32;
        let first = canonical.first_code.get(length).copied().unwrap_or(u32::MAX);
        let place = canonical.first_place.get(length).copied().unwrap_or(0);
        let next = canonical.first_place.get(length + 1).copied().unwrap_or(place);
        let Some(offset) = code.checked_sub(first).filter(|offset| *offset < u32::from(next - place)) else {
            continue;
        };
        let symbol = canonical.symbols.get(usize::from(place) + offset as usize).copied();
        // The last symbol means the end of the string and must not be sent; all ones may still be padding.
        return match symbol.map(u8::try_from) {
            Some(Ok(symbol)) => Ok((symbol, length as u32)),
            _ => Ok((0, u32::MAX)),
        };
    }
    Err(HuffmanError)
}

/// What is left has to be the beginning of the end-of-string symbol: up to seven ones.
const fn padding(bits: u64, count: u32) -> Result<(), HuffmanError> {
    if count < 8 && bits >> (64 - count) == (1 << count) - 1 { Ok(()) } else { Err(HuffmanError) }
}

/// How many bytes `text` has in Huffman code.
#[must_use]
pub fn coded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|byte| usize::from(length_of(*byte))).sum();
    bits.div_ceil(8)
}

/// Appends `text` in Huffman code to `out`.
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    let mut bits = 0u64;
    let mut count = 0u32;
    for byte in text {
        let length = u32::from(length_of(*byte));
        bits = bits << length | u64::from(CANONICAL.codes.get(usize::from(*byte)).copied().unwrap_or(0));
        count += length;
        while count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        // Padded with the beginning of the end-of-string symbol.
        out.push((bits << (8 - count)) as u8 | 0xff >> count);
    }
}

fn length_of(byte: u8) -> u8 {
    LENGTHS.get(usize::from(byte)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_at_every_length() {
        for byte in 0..=255u8 {
            for len in 1..10 {
                let text = alloc::vec![byte; len];
                let mut coded = Vec::new();
                encode(&text, &mut coded);
                assert_eq!(coded.len(), coded_len(&text));
                let mut back = Vec::new();
                assert_eq!(decode(&coded, &mut back), Ok(()));
                assert_eq!(back, text);
            }
        }
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        // Appendix B: each kind of length, the first and the last of some.
        for (byte, code, length) in [
            (b'0', 0x0, 5),
            (b'%', 0x15, 6),
            (b'~', 0x1ffd, 13),
            (0, 0x1ff8, 13),
            (10, 0x3fff_fffc, 30),
            (249, 0x0fff_fffe, 28),
        ] {
            assert_eq!((CANONICAL.codes[usize::from(byte)], length_of(byte)), (code, length));
        }
        assert_eq!(CANONICAL.codes[256], 0x3fff_ffff);
    }

    #[test]
    fn padding_is_strict() {
        let mut out = Vec::new();
        // "0" is five zeros; three ones follow.
        assert_eq!(decode(&[0b0000_0111], &mut out), Ok(()));
        assert_eq!(decode(&[0b0000_0110], &mut out), Err(HuffmanError));
        assert_eq!(decode(&[0b0000_0111, 0xff], &mut out), Err(HuffmanError));
        // The end-of-string symbol itself.
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff], &mut out), Err(HuffmanError));
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xfc, 0x07], &mut out), Err(HuffmanError));
        assert_eq!(decode(&[0xff], &mut out), Err(HuffmanError));
        assert_eq!(decode(&[], &mut out), Ok(()));
    }
}
