//! HPACK's decoder (RFC 7541, sections 3.2, 5 and 6).
//!
//! A block is decoded in one go, for it was gathered to be whole. Whatever a field is worth, the whole block is read:
//! the dynamic table must stay in step with the client's.

use alloc::vec::Vec;

use super::huffman;
use super::table::{Line, Table};

/// The largest dynamic table that we keep for a client, in bytes: the protocol's default, which we leave in force.
pub const TABLE_BYTES_MAX: usize = 4096;

/// The longest integer of use to anybody: five bytes behind the prefix.
const INTEGER_BYTES_MAX: u32 = 5;

/// How often a block may change the table's size: twice is all that the RFC has a use for.
const RESIZES_MAX: u32 = 2;

/// The block is no HPACK: COMPRESSION_ERROR, for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HpackError;

/// One client's decoder.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { table: Table::new(TABLE_BYTES_MAX), name: Vec::new(), value: Vec::new() }
    }
}

impl Decoder {
    /// Decodes a whole block and hands each field to `sink`.
    ///
    /// # Errors
    /// Whatever is not RFC 7541: the connection's state is lost.
    pub fn decode(&mut self, block: &[u8], sink: &mut impl FnMut(Line<'_>)) -> Result<(), HpackError> {
        let mut rest = block;
        let mut resizes = 0;
        let mut fields = 0;
        while let Some(first) = rest.first().copied() {
            match first {
                0x80.. => {
                    let index = integer(&mut rest, 7)?;
                    sink(self.table.line(index).ok_or(HpackError)?);
                }
                0x40..0x80 => self.literal(&mut rest, 6, true, sink)?,
                0x20..0x40 => {
                    let bytes = integer(&mut rest, 5)?;
                    resizes += 1;
                    // It is only allowed at the beginning (section 4.2).
                    if bytes > TABLE_BYTES_MAX || resizes > RESIZES_MAX || fields > 0 {
                        return Err(HpackError);
                    }
                    self.table.resize(bytes);
                    continue;
                }
                0..0x20 => self.literal(&mut rest, 4, false, sink)?,
            }
            fields += 1;
        }
        Ok(())
    }

    fn literal(
        &mut self,
        rest: &mut &[u8],
        prefix_bits: u32,
        keep: bool,
        sink: &mut impl FnMut(Line<'_>),
    ) -> Result<(), HpackError> {
        let index = integer(rest, prefix_bits)?;
        let Self { table, name, value } = self;
        if index > 0 && !keep {
            let known = table.line(index).ok_or(HpackError)?;
            sink(known.with_value(string(rest, value)?));
            return Ok(());
        }
        let line = if index == 0 {
            let name = string(rest, name)?;
            Line::judge(name, string(rest, value)?)
        } else {
            // What the table holds may be thrown out when the field enters it.
            let known = table.line(index).ok_or(HpackError)?;
            name.clear();
            name.extend_from_slice(known.name);
            Line { id: known.id, class: known.class, value_is_clean: true, name, value: b"" }
                .with_value(string(rest, value)?)
        };
        sink(line);
        if keep {
            table.insert(line);
        }
        Ok(())
    }
}

/// An integer (section 5.1) whose first byte has so many bits for it.
fn integer(rest: &mut &[u8], prefix_bits: u32) -> Result<usize, HpackError> {
    let (first, mut tail) = rest.split_first().ok_or(HpackError)?;
    let mask = (1 << prefix_bits) - 1;
    let mut number = usize::from(*first) & mask;
    if number == mask {
        let mut place = 0;
        loop {
            let (byte, more) = tail.split_first().ok_or(HpackError)?;
            tail = more;
            number += usize::from(byte & 0x7f) << (7 * place);
            place += 1;
            if byte & 0x80 == 0 {
                break;
            }
            if place >= INTEGER_BYTES_MAX {
                return Err(HpackError);
            }
        }
    }
    *rest = tail;
    Ok(number)
}

/// A string (section 5.2): in place, or decoded into `memory`.
fn string<'m, 'b: 'm>(rest: &mut &'b [u8], memory: &'m mut Vec<u8>) -> Result<&'m [u8], HpackError> {
    let coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let len = integer(rest, 7)?;
    let (text, tail) = rest.split_at_checked(len).ok_or(HpackError)?;
    *rest = tail;
    if !coded {
        return Ok(text);
    }
    memory.clear();
    huffman::decode(text, memory).map_err(|_| HpackError)?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    fn decode(decoder: &mut Decoder, hex: &str) -> Result<String, HpackError> {
        let mut text = String::new();
        decoder.decode(&bytes(hex), &mut |line| {
            let part = |bytes: &[u8]| alloc::format!("{}", bytes.escape_ascii());
            text += &alloc::format!("{}={};", part(line.name), part(line.value));
        })?;
        Ok(text)
    }

    /// RFC 7541, appendix C.2 to C.5: block, fields, entries in the dynamic table behind it.
    #[test]
    fn the_examples_of_the_rfc() {
        let single = [
            (
                "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
                "custom-key=custom-header;",
                1,
            ),
            ("040c 2f73 616d 706c 652f 7061 7468", ":path=/sample/path;", 0),
            ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password=secret;", 0),
            ("82", ":method=GET;", 0),
        ];
        for (block, fields, entries) in single {
            let mut decoder = Decoder::default();
            assert_eq!(decode(&mut decoder, block).as_deref(), Ok(fields));
            assert_eq!(decoder.table.len(), entries);
        }
        let first = ":method=GET;:scheme=http;:path=/;:authority=www.example.com;";
        let second = ":method=GET;:scheme=http;:path=/;:authority=www.example.com;cache-control=no-cache;";
        let third =
            ":method=GET;:scheme=https;:path=/index.html;:authority=www.example.com;custom-key=custom-value;";
        let plain = [
            ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", first, 1),
            ("8286 84be 5808 6e6f 2d63 6163 6865", second, 2),
            ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", third, 3),
        ];
        let huffman = [
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", first, 1),
            ("8286 84be 5886 a8eb 1064 9cbf", second, 2),
            ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", third, 3),
        ];
        for blocks in [plain, huffman] {
            let mut decoder = Decoder::default();
            for (block, fields, entries) in blocks {
                assert_eq!(decode(&mut decoder, block).as_deref(), Ok(fields));
                assert_eq!(decoder.table.len(), entries);
            }
        }
    }

    /// Appendix C.6: replies with a table of 256 bytes, which throws entries out.
    #[test]
    fn the_examples_with_eviction() {
        let mut decoder = Decoder::default();
        decoder.table.resize(256);
        for (block, fields) in [
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 \
                 63c7 8f0b 97c8 e9ae 82ae 43d3",
                ":status=302;cache-control=private;date=Mon, 21 Oct 2013 20:13:21 GMT;location=https://www.example.com;",
            ),
            (
                "4883 640e ffc1 c0bf",
                ":status=307;cache-control=private;date=Mon, 21 Oct 2013 20:13:21 GMT;location=https://www.example.com;",
            ),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 \
                 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                ":status=200;cache-control=private;date=Mon, 21 Oct 2013 20:13:22 GMT;location=https://www.example.com;\
                 content-encoding=gzip;set-cookie=foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1;",
            ),
        ] {
            assert_eq!(decode(&mut decoder, block).as_deref(), Ok(fields));
        }
    }

    #[test]
    fn integers_are_bounded() {
        let whole = |hex: &str, bits| integer(&mut &*bytes(hex), bits);
        // Appendix C.1.
        assert_eq!((whole("0a", 5), whole("1f9a0a", 5), whole("2a", 8)), (Ok(10), Ok(1337), Ok(42)));
        assert_eq!(whole("1fffffffff7f", 5), Ok(0x7_ffff_ffff + 31));
        assert_eq!(whole("1f808080808001", 5), Err(HpackError));
        assert_eq!(
            (whole("1f", 5), whole("1f80", 5), whole("", 5)),
            (Err(HpackError), Err(HpackError), Err(HpackError))
        );
    }

    #[test]
    fn what_is_no_hpack_is_an_error() {
        for block in [
            "80",
            "be",
            "ff8001",
            "40",
            "4001",
            "400161",
            "40016105",
            "7e00",
            "3fe21f",
            "823f00",
            "202020",
            "00 0085ffffffffff",
        ] {
            let mut decoder = Decoder::default();
            assert_eq!(decode(&mut decoder, block), Err(HpackError), "{block}");
        }
        // Twice in a row at the beginning is what a peer does that shrank and grew its table.
        assert_eq!(decode(&mut Decoder::default(), "203fe11f82").as_deref(), Ok(":method=GET;"));
    }
}
