//! From decoded fields to the lines behind a request's body (RFC 9113, section 8.1), as HTTP/1 would have sent them.
//!
//! What breaks a rule of fields is an error of the stream. What may not stand behind a body is left out, as HTTP/1's
//! decoder does it, and the bounds are that one's.

use alloc::vec::Vec;

use super::ErrorCode;
use super::table::{Line, NameClass};
use crate::buf::Chunk;
use crate::h1::chunked::{TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX};
use crate::http::{is_hop_by_hop, may_trail};

/// The lines so far.
#[derive(Debug, Default)]
pub(super) struct Trailers {
    lines: Vec<u8>,
    fields: usize,
    bytes: usize,
    error: Option<ErrorCode>,
}

impl Trailers {
    /// Adds a field.
    pub(super) fn add(&mut self, line: &Line<'_>) {
        if self.error.is_none()
            && let Err(error) = self.try_add(line)
        {
            self.error = Some(error);
        }
    }

    fn try_add(&mut self, line: &Line<'_>) -> Result<(), ErrorCode> {
        let is_field = matches!(line.class, NameClass::Plain | NameClass::Underscored | NameClass::Odd);
        // Section 8.2.2: a message with a field about its connection is malformed.
        if !line.value_is_clean || !is_field || is_hop_by_hop(line.id) {
            return Err(ErrorCode::Protocol);
        }
        self.fields += 1;
        self.bytes += line.name.len() + line.value.len() + ": \r\n".len();
        if self.fields > TRAILER_FIELDS_MAX || self.bytes > TRAILER_BYTES_MAX {
            return Err(ErrorCode::EnhanceYourCalm);
        }
        if may_trail(line.id) {
            for part in [line.name, b": ", line.value, b"\r\n"] {
                self.lines.extend_from_slice(part);
            }
        }
        Ok(())
    }

    /// The lines, each with its line end.
    ///
    /// # Errors
    /// What the stream is reset with.
    pub(super) fn finish(self) -> Result<Chunk, ErrorCode> {
        match self.error {
            Some(error) => Err(error),
            None if self.lines.is_empty() => Ok(Chunk::empty()),
            None => Ok(Chunk::from_vec(self.lines)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(fields: &[(&str, &str)]) -> Result<Vec<u8>, ErrorCode> {
        let mut trailers = Trailers::default();
        for (name, value) in fields {
            trailers.add(&Line::judge(name.as_bytes(), value.as_bytes()));
        }
        trailers.finish().map(|lines| lines.to_vec())
    }

    #[test]
    fn what_frames_routes_or_authorises_does_not_trail() {
        let fields =
            [("x-sum", "1"), ("content-length", "7"), ("host", "x"), ("authorization", "y"), ("x", "")];
        assert_eq!(lines(&fields), Ok(b"x-sum: 1\r\nx: \r\n".to_vec()));
        assert_eq!(lines(&[]), Ok(Vec::new()));
    }

    #[test]
    fn what_breaks_a_rule_ends_the_stream() {
        for field in [
            (":path", "/"),
            ("A", "b"),
            ("a b", "c"),
            ("a", "b\r\nc: d"),
            ("a", " b"),
            ("connection", "x"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
        ] {
            assert_eq!(lines(&[field]), Err(ErrorCode::Protocol), "{field:?}");
        }
        assert_eq!(lines(&[("a", "b"); TRAILER_FIELDS_MAX + 1]), Err(ErrorCode::EnhanceYourCalm));
        assert_eq!(lines(&[("a", &"b".repeat(TRAILER_BYTES_MAX))]), Err(ErrorCode::EnhanceYourCalm));
    }
}
