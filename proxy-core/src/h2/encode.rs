//! HPACK's encoder (RFC 7541, section 6): a head, as HTTP/1 would have it, to a block.
//!
//! Lines that are likely to come again on the same connection (Server, Content-Type, Cache-Control …) enter a small
//! dynamic table and are one byte from then on. Lines that hold secrets never do, and say so to whoever is behind the
//! client (section 7.1.3); lines that are different each time go out as literals.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::huffman;
use super::table::{STATIC_IDS, STATIC_LEN};
use crate::http::{HeaderId, Status};

/// The largest table that we fill, in bytes, whatever the client would take.
const TABLE_BYTES_MAX: usize = 4096;

/// How many entries are kept at the most: each is looked at once for a line of the same name.
const ENTRIES_MAX: usize = 32;

/// Values longer than this, in bytes, are not kept.
const KEPT_VALUE_BYTES_MAX: usize = 256;

/// What an entry costs beside its bytes (RFC 7541, section 4.1).
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// One client's encoder.
#[derive(Debug)]
pub struct Encoder {
    /// The newest first.
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
    /// The client's SETTINGS have changed the bound, to this at the lowest, and the next block has to say so.
    resized: Option<usize>,
}

#[derive(Debug)]
struct Entry {
    id: HeaderId,
    /// Lower case.
    name: Box<[u8]>,
    value: Box<[u8]>,
}

/// A request's scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// http
    Http,
    /// https
    Https,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// It enters the table.
    Keep,
    /// It is written out.
    WriteOut,
    /// It is written out and enters nobody's table.
    Never,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max: TABLE_BYTES_MAX, resized: None }
    }
}

impl Encoder {
    /// The client allows so large a table, in bytes.
    pub fn limit_table(&mut self, bytes_max: u32) {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(TABLE_BYTES_MAX);
        if bytes_max != self.bytes_max {
            self.resized = Some(self.resized.map_or(bytes_max, |lowest| lowest.min(bytes_max)));
        }
        self.bytes_max = bytes_max;
        self.make_room(0);
    }

    /// Begins a reply's block.
    pub fn status(&mut self, status: Status, out: &mut Vec<u8>) {
        self.begin(out);
        let known: u8 = match status.0 {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            code => {
                let digits = [code / 100 % 10, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8);
                out.push(8);
                return string(&digits, out);
            }
        };
        out.push(0x80 | known);
    }

    /// Begins a request's block.
    pub fn request(
        &mut self,
        method: &[u8],
        scheme: Scheme,
        authority: &[u8],
        path: &[u8],
        out: &mut Vec<u8>,
    ) {
        self.begin(out);
        match method {
            b"GET" => out.push(0x82),
            b"POST" => out.push(0x83),
            _ => {
                integer(0, 4, 2, out);
                string(method, out);
            }
        }
        out.push(match scheme {
            Scheme::Http => 0x86,
            Scheme::Https => 0x87,
        });
        if !authority.is_empty() {
            self.add(HeaderId::Other, b":authority", authority, 1, Habit::Keep, out);
        }
        if path == b"/" {
            out.push(0x84);
        } else {
            integer(0, 4, 4, out);
            string(path, out);
        }
    }

    /// Begins a block of trailers.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(lowest) = self.resized.take() {
            if lowest < self.bytes_max {
                integer(0x20, 5, lowest, out);
            }
            integer(0x20, 5, self.bytes_max, out);
        }
    }

    /// Adds a field. Its name, whose id is `id`, may be in any case.
    pub fn field(&mut self, id: HeaderId, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        self.add(id, name, value, static_name(id).unwrap_or(0), habit(id, value), out);
    }

    /// As [`field`](Self::field), for a request: it may be any client's, so only what most clients say alike is kept.
    pub fn request_field(&mut self, id: HeaderId, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        self.add(id, name, value, static_name(id).unwrap_or(0), request_habit(id, value), out);
    }

    fn add(
        &mut self,
        id: HeaderId,
        name: &[u8],
        value: &[u8],
        static_index: usize,
        habit: Habit,
        out: &mut Vec<u8>,
    ) {
        let mut name_index = static_index;
        if habit == Habit::Keep {
            for (place, entry) in self.entries.iter().enumerate() {
                if entry.id == id && (id != HeaderId::Other || entry.name.eq_ignore_ascii_case(name)) {
                    if *entry.value == *value {
                        return integer(0x80, 7, STATIC_LEN + 1 + place, out);
                    }
                    if name_index == 0 {
                        name_index = STATIC_LEN + 1 + place;
                    }
                }
            }
        }
        match habit {
            Habit::Keep => integer(0x40, 6, name_index, out),
            Habit::WriteOut => integer(0, 4, name_index, out),
            Habit::Never => integer(0x10, 4, name_index, out),
        }
        if name_index == 0 {
            lower_string(name, out);
        }
        string(value, out);
        if habit == Habit::Keep {
            self.insert(id, name, value);
        }
    }

    fn insert(&mut self, id: HeaderId, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + ENTRY_OVERHEAD_BYTES;
        self.make_room(size);
        if size > self.bytes_max {
            return;
        }
        self.bytes += size;
        self.entries.push_front(Entry { id, name: name.to_ascii_lowercase().into(), value: value.into() });
    }

    /// The client throws out what does not fit; so do we. That we keep fewer than it does makes no difference to it.
    fn make_room(&mut self, size: usize) {
        while (self.bytes + size > self.bytes_max || self.entries.len() >= ENTRIES_MAX)
            && let Some(oldest) = self.entries.pop_back()
        {
            self.bytes -= oldest.name.len() + oldest.value.len() + ENTRY_OVERHEAD_BYTES;
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a few names of sixty")]
fn habit(id: HeaderId, value: &[u8]) -> Habit {
    match id {
        HeaderId::SetCookie
        | HeaderId::Authorization
        | HeaderId::ProxyAuthenticate
        | HeaderId::WwwAuthenticate => Habit::Never,
        HeaderId::ContentLength
        | HeaderId::ContentRange
        | HeaderId::Etag
        | HeaderId::LastModified
        | HeaderId::Location
        | HeaderId::Age => Habit::WriteOut,
        _ if value.len() > KEPT_VALUE_BYTES_MAX => Habit::WriteOut,
        _ => Habit::Keep,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a few names of sixty")]
fn request_habit(id: HeaderId, value: &[u8]) -> Habit {
    match id {
        HeaderId::Authorization | HeaderId::Cookie | HeaderId::ProxyAuthorization => Habit::Never,
        _ if value.len() > KEPT_VALUE_BYTES_MAX => Habit::WriteOut,
        HeaderId::Accept
        | HeaderId::AcceptEncoding
        | HeaderId::AcceptLanguage
        | HeaderId::CacheControl
        | HeaderId::ContentType
        | HeaderId::Te
        | HeaderId::UserAgent => Habit::Keep,
        _ => Habit::WriteOut,
    }
}

/// The static table's index of a name.
fn static_name(id: HeaderId) -> Option<usize> {
    /// By [`HeaderId`]; 0 where the name is not in the table.
    static BY_ID: [u8; HeaderId::ALL.len() + 1] = by_id();
    BY_ID.get(id as usize).filter(|index| **index > 0).map(|index| usize::from(*index))
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time only")]
const fn by_id() -> [u8; HeaderId::ALL.len() + 1] {
    let mut table = [0; HeaderId::ALL.len() + 1];
    let mut place = STATIC_LEN;
    while place > 0 {
        let id = STATIC_IDS[place - 1] as usize;
        if id < HeaderId::ALL.len() {
            table[id] = place as u8;
        }
        place -= 1;
    }
    table
}

/// An integer (section 5.1) behind the bits of `first`.
fn integer(first: u8, prefix_bits: u32, number: usize, out: &mut Vec<u8>) {
    let mask = (1usize << prefix_bits) - 1;
    if number < mask {
        return out.push(first | number as u8);
    }
    out.push(first | mask as u8);
    let mut rest = number - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A string (section 5.2), in Huffman code where that is shorter.
fn string(text: &[u8], out: &mut Vec<u8>) {
    let coded = huffman::coded_len(text);
    if coded < text.len() {
        integer(0x80, 7, coded, out);
        huffman::encode(text, out);
    } else {
        integer(0, 7, text.len(), out);
        out.extend_from_slice(text);
    }
}

/// A name, in lower case.
fn lower_string(name: &[u8], out: &mut Vec<u8>) {
    integer(0, 7, name.len(), out);
    out.extend(name.iter().map(u8::to_ascii_lowercase));
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::super::decode::Decoder;
    use super::*;

    fn round(encoder: &mut Encoder, decoder: &mut Decoder, fields: &[(&str, &str)]) -> (usize, String) {
        let mut block = Vec::new();
        encoder.status(Status(302), &mut block);
        for (name, value) in fields {
            encoder.field(
                HeaderId::from_token(name.as_bytes()),
                name.as_bytes(),
                value.as_bytes(),
                &mut block,
            );
        }
        let mut text = String::new();
        let result = decoder.decode(&block, &mut |line| {
            text += &alloc::format!("{}={};", line.name.escape_ascii(), line.value.escape_ascii());
        });
        assert_eq!(result, Ok(()));
        (block.len(), text)
    }

    #[test]
    fn what_is_encoded_is_decoded_and_repetition_is_cheap() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let fields = [
            ("Server", "nginx"),
            ("Date", "Sat, 21 Nov 2026 11:00:00 GMT"),
            ("X-Custom", "some value"),
            ("x-custom", "another"),
            ("Content-Length", "12"),
            ("Set-Cookie", "a=b; Path=/"),
        ];
        let expected = ":status=302;server=nginx;date=Sat, 21 Nov 2026 11:00:00 GMT;x-custom=some value;\
                        x-custom=another;content-length=12;set-cookie=a=b; Path=/;";
        let (first, text) = round(&mut encoder, &mut decoder, &fields);
        assert_eq!(text, expected);
        let (second, text) = round(&mut encoder, &mut decoder, &fields);
        assert_eq!(text, expected);
        assert!(second < first / 2, "{first} then {second}");
    }

    #[test]
    fn tables_stay_in_step_when_the_client_shrinks_its_own() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for turn in 0..200u32 {
            encoder.limit_table([4096, 100, 0, 5000, 200][turn as usize % 5]);
            let value = alloc::format!("value {}", turn % 7);
            let fields = [("x-a", &*value), ("X-B", "constant"), ("vary", &*value)];
            let (_, text) = round(&mut encoder, &mut decoder, &fields);
            assert_eq!(text, alloc::format!(":status=302;x-a={value};x-b=constant;vary={value};"));
        }
    }

    #[test]
    fn secrets_enter_no_table() {
        let mut encoder = Encoder::default();
        let mut block = Vec::new();
        encoder.field(HeaderId::SetCookie, b"Set-Cookie", b"secret", &mut block);
        assert_eq!((block[0] & 0xf0, encoder.entries.len()), (0x10, 0));
    }
}
