//! What stands in a cache's file in front of the reply: nginx's `ngx_http_file_cache_header_t`, version 5, as a 64-bit
//! little-endian machine lays it out, then the key, then the reply's head as it came.
//!
//! ```text
//! 0 version · 8 valid · 16 updating · 24 error · 32 last modified · 40 date · 48 crc32(key) · 52 msec · 54 head's start ·
//! 56 body's start · 58 etag's length · 59 etag · 187 vary's length · 188 vary · 316 variant · 332 (padding) ·
//! 336 "\nKEY: " key "\n" · head · body
//! ```

use alloc::vec::Vec;

use crate::shared::cache::CacheHash;

/// The format's number.
const VERSION: u64 = 5;
/// The length of the part with fixed places, in bytes.
pub(crate) const FIXED_BYTES: usize = 336;
/// What stands in front of the key.
const KEY_MARK: &[u8] = b"\nKEY: ";
/// How long an entity tag may be that is remembered, and how long a Vary, in bytes.
const TAG_BYTES_MAX: usize = 128;
pub(crate) const VARY_BYTES_MAX: usize = 128;
/// What nginx writes where no time is known.
const NO_TIME: i64 = -1;

/// What an entry says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Until when it is fresh, in seconds since the epoch.
    pub(crate) valid_s: i64,
    /// How long it may be used behind that while it is renewed, and if that fails, in seconds.
    pub(crate) updating_s: i64,
    pub(crate) error_s: i64,
    /// Last-Modified in seconds since the epoch.
    pub(crate) last_modified_s: Option<i64>,
    /// When it was stored or confirmed.
    pub(crate) date_s: i64,
    /// Where the reply's head and body begin in the file.
    pub(crate) header_start: u16,
    pub(crate) body_start: u16,
    /// The entity tag; empty for none.
    pub(crate) etag: Vec<u8>,
    /// The names of Vary; empty for none.
    pub(crate) vary: Vec<u8>,
    /// The name of the variant that it is.
    pub(crate) variant: CacheHash,
}

/// What is wrong with a file, in nginx's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    TooSmall,
    Version,
    Collision,
    LongHeader,
    VaryLength,
    VaryHash,
    /// Its length is not what its head says, or its head is none.
    Broken,
}

impl Flaw {
    /// nginx's words about it.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::TooSmall => "is too small",
            Self::Version => "version mismatch",
            Self::Collision => "has md5 collision",
            Self::LongHeader => "has too long header",
            Self::VaryLength => "has incorrect vary length",
            Self::VaryHash => "has incorrect vary hash",
            Self::Broken => "is broken",
        }
    }
}

/// Where the reply's head begins for a key of this length, in bytes.
pub(crate) const fn header_start(key_bytes: usize) -> usize {
    FIXED_BYTES + KEY_MARK.len() + key_bytes + 1
}

impl Entry {
    /// Writes what stands in front of the reply's head. None where head or key are too long for the format.
    pub(crate) fn write(&mut self, key: &[u8], head_bytes: usize, out: &mut Vec<u8>) -> Option<()> {
        let start = header_start(key.len());
        self.header_start = u16::try_from(start).ok()?;
        self.body_start = u16::try_from(start + head_bytes).ok()?;
        self.write_fixed(crc32fast::hash(key), out);
        out.extend_from_slice(KEY_MARK);
        out.extend_from_slice(key);
        out.push(b'\n');
        Some(())
    }

    /// Writes the part with fixed places.
    pub(crate) fn write_fixed(&self, crc: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&VERSION.to_le_bytes());
        let modified = self.last_modified_s.unwrap_or(NO_TIME);
        for time in [self.valid_s, self.updating_s, self.error_s, modified, self.date_s] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        out.extend_from_slice(&crc.to_le_bytes());
        for short in [0, self.header_start, self.body_start] {
            out.extend_from_slice(&short.to_le_bytes());
        }
        text(&self.etag, TAG_BYTES_MAX, out);
        text(&self.vary, VARY_BYTES_MAX, out);
        out.extend_from_slice(&self.variant);
        out.extend_from_slice(&[0; 4]);
    }

    /// Reads the beginning of a file that is to hold the reply for `key`.
    pub(crate) fn read(bytes: &[u8], key: &[u8]) -> Result<Self, Flaw> {
        let start = header_start(key.len());
        let head = bytes.get(..start).ok_or(Flaw::TooSmall)?;
        if long(head, 0) != VERSION.cast_signed() {
            return Err(Flaw::Version);
        }
        let crc = head.get(48..52).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        let own_key = head.get(FIXED_BYTES + KEY_MARK.len()..start - 1);
        if crc != Some(crc32fast::hash(key)) || usize::from(short(head, 54)) != start || own_key != Some(key)
        {
            return Err(Flaw::Collision);
        }
        let body_start = short(head, 56);
        if usize::from(body_start) > bytes.len() || usize::from(body_start) < start {
            return Err(Flaw::LongHeader);
        }
        let part = |at: usize| {
            let length = usize::from(head.get(at).copied().unwrap_or(0));
            head.get(at + 1..at + 1 + length.min(128)).filter(|_| length <= 128).map(<[u8]>::to_vec)
        };
        let modified = long(head, 32);
        Ok(Self {
            valid_s: long(head, 8),
            updating_s: long(head, 16),
            error_s: long(head, 24),
            last_modified_s: (modified != NO_TIME).then_some(modified),
            date_s: long(head, 40),
            header_start: short(head, 54),
            body_start,
            etag: part(58).unwrap_or_default(),
            vary: part(187).ok_or(Flaw::VaryLength)?,
            variant: head.get(316..332).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default(),
        })
    }
}

/// A length and so much room.
fn text(text: &[u8], room: usize, out: &mut Vec<u8>) {
    let text = text.get(..room).unwrap_or(text);
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text);
    out.resize(out.len() + room - text.len(), 0);
}

fn long(bytes: &[u8], at: usize) -> i64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, i64::from_le_bytes)
}

fn short(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            valid_s: 1_700_000_000,
            updating_s: 3,
            error_s: 7,
            last_modified_s: Some(1_600_000_000),
            date_s: 1_650_000_000,
            etag: b"\"a\"".to_vec(),
            vary: b"Accept".to_vec(),
            variant: [9; 16],
            ..Entry::default()
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (mut entry, key) = (entry(), b"http://u/a");
        let mut file = Vec::new();
        entry.write(key, 19, &mut file).unwrap();
        assert_eq!(file.len(), header_start(key.len()));
        file.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\nbody");
        assert_eq!(Entry::read(&file, key), Ok(entry));
    }

    #[test]
    fn a_broken_or_foreign_file_is_told_apart() {
        let key = b"http://u/a";
        let mut file = Vec::new();
        entry().write(key, 0, &mut file).unwrap();
        assert_eq!(Entry::read(&file, b"http://u/b"), Err(Flaw::Collision));
        assert_eq!(Entry::read(&file[..100], key), Err(Flaw::TooSmall));
        for (at, byte, flaw) in [
            (0, 4, Flaw::Version),
            (48, 1, Flaw::Collision),
            (54, 1, Flaw::Collision),
            (57, 0xff, Flaw::LongHeader),
            (187, 200, Flaw::VaryLength),
        ] {
            let mut broken = file.clone();
            broken[at] ^= byte;
            assert_eq!(Entry::read(&broken, key), Err(flaw), "{at}");
        }
    }
}
