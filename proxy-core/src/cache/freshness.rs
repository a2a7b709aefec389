//! What a reply says about how long it may be kept (RFC 9111, section 5.2), read as nginx reads it.
//!
//! X-Accel-Expires before Cache-Control before Expires, whatever their order; then `proxy_cache_valid`. Extensions of
//! RFC 5861 say how long an entry may be used while it is renewed or when that fails.

use alloc::vec::Vec;

use super::entry::VARY_BYTES_MAX;
use crate::config::IgnoreHeaders;
use crate::http::date::parse as parse_date;
use crate::http::{HeaderId, ResponseHead};

/// What a reply's fields say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// It must not be kept at all.
    pub(crate) forbidden: bool,
    /// Until when it is fresh, in seconds since the epoch; 0 where no field says so.
    pub(crate) valid_s: i64,
    /// `stale-while-revalidate` and `stale-if-error`, in seconds.
    pub(crate) updating_s: i64,
    pub(crate) error_s: i64,
    /// Cache-Control forbids it, or Expires has passed, unless a field above them says otherwise.
    no_cache: bool,
    expired: bool,
    accel: bool,
    /// The names in Vary; empty for none.
    pub(crate) vary: Vec<u8>,
}

impl Freshness {
    /// Reads the fields of a reply that came at `now_s`.
    pub(crate) fn of(head: &ResponseHead, ignore: IgnoreHeaders, now_s: i64) -> Self {
        let mut found = Self::default();
        for field in &head.fields {
            let value = field.value.of(&head.bytes);
            if field.id == HeaderId::SetCookie && !ignore.set_cookie {
                found.forbidden = true;
            } else if field.id == HeaderId::XAccelExpires && !ignore.accel_expires {
                found.accel_expires(value, now_s);
            } else if field.id == HeaderId::CacheControl && !ignore.cache_control {
                found.cache_control(value, now_s);
            } else if field.id == HeaderId::Expires && !ignore.expires {
                found.expires(value, now_s);
            } else if field.id == HeaderId::Vary && !ignore.vary {
                found.vary(value);
            }
        }
        found.forbidden |= found.no_cache || found.expired;
        found.forbidden |= found.vary.len() > VARY_BYTES_MAX || found.vary == b"*";
        found
    }

    fn accel_expires(&mut self, value: &[u8], now_s: i64) {
        let (text, base) = match value.strip_prefix(b"@") {
            Some(rest) => (rest, 0),
            None => (value, now_s),
        };
        let Some(seconds) = number(text) else { return };
        if base != 0 && seconds == 0 {
            self.forbidden = true;
            return;
        }
        self.valid_s = base.saturating_add(seconds);
        self.accel = true;
        self.no_cache = false;
        self.expired = false;
    }

    fn expires(&mut self, value: &[u8], now_s: i64) {
        if self.valid_s != 0 {
            return;
        }
        match parse_date(value) {
            Some(at) if at >= now_s => self.valid_s = at,
            Some(_) | None => self.expired = true,
        }
    }

    fn cache_control(&mut self, value: &[u8], now_s: i64) {
        if !(self.accel && self.valid_s != 0) {
            let has = |word: &[u8]| find(value, word).is_some();
            if has(b"no-cache") || has(b"no-store") || has(b"private") {
                self.no_cache = true;
                return;
            }
            match seconds(value, b"s-maxage=").or_else(|| seconds(value, b"max-age=")) {
                None => {}
                Some(None) => {
                    self.forbidden = true;
                    return;
                }
                Some(Some(0)) => {
                    self.no_cache = true;
                    return;
                }
                Some(Some(n)) => {
                    self.valid_s = now_s.saturating_add(n);
                    self.expired = false;
                }
            }
        }
        match seconds(value, b"stale-while-revalidate=") {
            None => {}
            Some(None) => return self.forbidden = true,
            Some(Some(n)) => (self.updating_s, self.error_s) = (n, n),
        }
        match seconds(value, b"stale-if-error=") {
            None => {}
            Some(None) => self.forbidden = true,
            Some(Some(n)) => self.error_s = n,
        }
    }

    fn vary(&mut self, value: &[u8]) {
        if value == b"*" {
            self.forbidden = true;
        }
        if !self.vary.is_empty() {
            self.vary.extend_from_slice(b", ");
        }
        self.vary.extend_from_slice(value);
    }
}

/// The number behind a directive: none if the directive is not there, none inside if it is not followed by one.
fn seconds(value: &[u8], name: &[u8]) -> Option<Option<i64>> {
    let rest = value.get(find(value, name)? + name.len()..)?;
    let mut n: i64 = 0;
    for byte in rest {
        match byte {
            b',' | b';' | b' ' => break,
            b'0'..=b'9' => n = n.saturating_mul(10).saturating_add(i64::from(byte - b'0')),
            _ => return Some(None),
        }
    }
    // Far enough, and sums stay in range.
    Some(Some(n.min(i64::from(u32::MAX))))
}

fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(digits).ok()?.parse().ok()
}

/// Where `word`, in any case, begins in `text`.
fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|part| part.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::Chunk;
    use crate::h1::{Parsed, ResponseLimits, parse_response};

    fn read(fields: &str, ignore: IgnoreHeaders) -> Freshness {
        let head = alloc::format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let limits = ResponseLimits { total_bytes_max: 4096, fields_max: 100 };
        let head = Chunk::from_vec(head.into_bytes());
        match parse_response(&head, &mut Vec::new(), &limits).unwrap() {
            Parsed::Complete { head, .. } => Freshness::of(&head, ignore, 1000),
            Parsed::Partial => panic!("{fields}"),
        }
    }

    #[test]
    fn fields_have_their_order_of_rank() {
        for (fields, forbidden, valid_s) in [
            ("Cache-Control: max-age=10\r\n", false, 1010),
            ("Cache-Control: public, s-maxage=5, max-age=10\r\n", false, 1005),
            ("Cache-Control: max-age=0\r\n", true, 0),
            ("Cache-Control: Max-Age=x\r\n", true, 0),
            ("Cache-Control: No-Store\r\n", true, 0),
            ("Expires: Thu, 01 Jan 1970 00:16:41 GMT\r\n", false, 1001),
            ("Expires: 0\r\n", true, 0),
            ("Expires: 0\r\nCache-Control: max-age=10\r\n", false, 1010),
            ("Cache-Control: max-age=10\r\nExpires: 0\r\n", false, 1010),
            ("X-Accel-Expires: 3\r\nCache-Control: no-cache\r\n", false, 1003),
            ("Cache-Control: no-cache\r\nExpires: 0\r\nX-Accel-Expires: @2000\r\n", false, 2000),
            ("X-Accel-Expires: 0\r\n", true, 0),
            ("X-Accel-Expires: off\r\n", false, 0),
            ("Set-Cookie: a=b\r\n", true, 0),
            ("Vary: *\r\n", true, 0),
            ("", false, 0),
        ] {
            let found = read(fields, IgnoreHeaders::default());
            assert_eq!((found.forbidden, found.valid_s), (forbidden, valid_s), "{fields}");
        }
    }

    #[test]
    fn what_is_ignored_does_not_act() {
        let ignore =
            IgnoreHeaders { cache_control: true, set_cookie: true, vary: true, ..Default::default() };
        let found = read("Cache-Control: no-store\r\nSet-Cookie: a\r\nVary: *\r\n", ignore);
        assert_eq!(found, Freshness::default());
    }

    #[test]
    fn extensions_and_vary_are_read() {
        let found = read(
            "Cache-Control: max-age=1, stale-while-revalidate=5\r\nVary: A\r\nVary: B\r\n",
            IgnoreHeaders::default(),
        );
        assert_eq!((found.updating_s, found.error_s, &found.vary[..]), (5, 5, &b"A, B"[..]));
        let found = read(
            "X-Accel-Expires: 9\r\nCache-Control: private, stale-while-revalidate=5, stale-if-error=7\r\n",
            IgnoreHeaders::default(),
        );
        assert_eq!((found.forbidden, found.updating_s, found.error_s), (false, 5, 7));
    }
}
