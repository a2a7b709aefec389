//! What leaves: heads and chunked framing, written into a buffer that the caller owns.

use alloc::vec::Vec;
use core::ops::Range;

use crate::http::{Field, Status, Version};

/// The digits of the longest `u64`.
const DECIMAL_DIGITS_MAX: usize = 20;

/// `GET /path HTTP/1.1` and its line end.
pub fn request_line(out: &mut Vec<u8>, method: &[u8], target: &[u8], version: Version) {
    out.reserve(method.len() + target.len() + " HTTP/1.1 \r\n".len());
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(target);
    out.push(b' ');
    out.extend_from_slice(version.name().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `HTTP/1.1 200 OK` and its line end. We are an HTTP/1.1 server whatever the client speaks (RFC 9110, section 2.5).
pub fn status_line(out: &mut Vec<u8>, status: Status, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(out, u64::from(status.0));
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// `name: value` and its line end; both were parsed or belong to the program.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(is_clean(name) && is_clean(value));
    out.reserve(name.len() + value.len() + ": \r\n".len());
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Field lines of a parsed head that are passed on as they are: neighbours that already have the form that [`field`]
/// would give them are copied in one go.
#[derive(Debug)]
pub struct Lines<'a> {
    bytes: &'a [u8],
    run: Range<usize>,
}

impl<'a> Lines<'a> {
    /// Lines of the head in `bytes`.
    #[must_use]
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, run: 0..0 }
    }

    /// Passes a field on.
    pub fn pass(&mut self, line: &Field, out: &mut Vec<u8>) {
        let (name, value) = (line.name.range(), line.value.range());
        let end = value.end + b"\r\n".len();
        let in_form = self.bytes.get(name.end..value.start) == Some(b": ")
            && self.bytes.get(value.end..end) == Some(b"\r\n");
        if in_form && name.start == self.run.end {
            self.run.end = end;
            return;
        }
        self.flush(out);
        if in_form {
            self.run = name.start..end;
        } else {
            field(out, line.name.of(self.bytes), line.value.of(self.bytes));
        }
    }

    /// Writes what waits. To be called before anything else is written, and at the end.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        let run = core::mem::take(&mut self.run);
        out.extend_from_slice(self.bytes.get(run).unwrap_or_default());
    }
}

/// Like [`field`] for a value that was computed: `false`, and nothing written, if it would end its line early.
#[must_use]
pub fn computed_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> bool {
    let clean = is_clean(value);
    if clean {
        field(out, name, value);
    }
    clean
}

/// The line with a chunk's size; `CRLF` is to follow the data.
pub fn chunk_size(out: &mut Vec<u8>, bytes: usize) {
    let digits = (usize::BITS - bytes.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = (bytes >> (place * 4) & 0xf) as u32;
        out.push(char::from_digit(digit, 16).map_or(b'0', |digit| digit as u8));
    }
    out.extend_from_slice(b"\r\n");
}

/// The last chunk, the trailer lines (each with its line end) and the end of the body.
pub fn last_chunk(out: &mut Vec<u8>, trailers: &[u8]) {
    debug_assert!(trailers.is_empty() || trailers.ends_with(b"\r\n"));
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(b"\r\n");
}

/// A number in decimal digits.
pub fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; DECIMAL_DIGITS_MAX];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(DECIMAL_DIGITS_MAX - used..).unwrap_or_default());
}

/// Whether these bytes can stand in a header line (RFC 9110, section 5.5).
#[must_use]
pub fn is_clean(value: &[u8]) -> bool {
    memchr::memchr3(b'\r', b'\n', 0, value).is_none()
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for number in
            (0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, 10u64.pow(bit % 20)]).chain([u64::MAX])
        {
            assert_eq!(written(|out| decimal(out, number)), format!("{number}"));
            let size = usize::try_from(number).unwrap();
            assert_eq!(written(|out| chunk_size(out, size)), format!("{size:x}\r\n"));
        }
    }

    #[test]
    fn a_message_is_written_line_by_line() {
        let text = written(|out| {
            request_line(out, b"GET", b"/a?b", Version::Http10);
            status_line(out, Status::NOT_FOUND, b"Not Found");
            field(out, b"Host", b"a");
            last_chunk(out, b"X: y\r\n");
        });
        let expected = "GET /a?b HTTP/1.0\r\nHTTP/1.1 404 Not Found\r\nHost: a\r\n0\r\nX: y\r\n\r\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_computed_value_cannot_start_a_new_line() {
        for bad in [&b"a\r\nX: y"[..], b"\n", b"a\rb", b"\0"] {
            let mut out = Vec::new();
            assert!(!computed_field(&mut out, b"Location", bad));
            assert!(out.is_empty());
        }
    }
}
