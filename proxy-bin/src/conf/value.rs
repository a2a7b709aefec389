//! nginx's argument types: sizes, times, numbers, flags, choices.
//!
//! Each parser takes the text and gives the value or `None`; [`Field`] turns `None` into nginx's message with the
//! right place. Units are multiplied out with overflow checks; nothing saturates.

use proxy_core::time::Millis;

use super::diagnostic::{Diagnostic, nearest};
use super::tree::{Arg, Directive};

/// A size in bytes: digits with an optional `k` or `m` (any case), as `ngx_parse_size`.
pub fn size(text: &str) -> Option<u64> {
    scaled(text, &[(b'k', 1 << 10), (b'm', 1 << 20)])
}

/// An offset in bytes: as [`size`], and `g`, as `ngx_parse_offset` (body sizes, temporary files, `directio`).
pub fn offset(text: &str) -> Option<u64> {
    scaled(text, &[(b'k', 1 << 10), (b'm', 1 << 20), (b'g', 1 << 30)])
}

fn scaled(text: &str, units: &[(u8, u64)]) -> Option<u64> {
    let (last, rest) = text.as_bytes().split_last()?;
    match units.iter().find(|(unit, _)| last.eq_ignore_ascii_case(unit)) {
        Some((_, factor)) => number(text.get(..rest.len())?)?.checked_mul(*factor),
        None => number(text),
    }
    .filter(|value| i64::try_from(*value).is_ok())
}

/// A decimal number without sign, as `ngx_atoi`.
pub fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|value| i64::try_from(*value).is_ok())
}

/// A time in milliseconds: `1h30m`, `500ms`, a bare number is seconds. As `ngx_parse_time` without `is_sec`.
pub fn milliseconds(text: &str) -> Option<u64> {
    proxy_core::time::parse(text, false)
}

/// A time in whole seconds: as [`milliseconds`], but `ms` is not allowed.
pub fn seconds(text: &str) -> Option<u64> {
    proxy_core::time::parse(text, true)
}

/// `on` or `off`, in any case, as nginx's flags.
pub fn flag(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("on") {
        Some(true)
    } else if text.eq_ignore_ascii_case("off") {
        Some(false)
    } else {
        None
    }
}

/// An argument of a directive, with the words for what can be wrong with it.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The directive.
    pub directive: &'a Directive,
    /// The argument.
    pub arg: &'a Arg,
}

/// A value or what is wrong with it.
pub type Parsed<T> = Result<T, Box<Diagnostic>>;

impl<'a> Field<'a> {
    /// An argument of a directive.
    pub fn new(directive: &'a Directive, arg: &'a Arg) -> Self {
        Self { directive, arg }
    }

    /// An error about this argument.
    pub fn error(self, message: impl Into<String>) -> Box<Diagnostic> {
        let mut diagnostic = Diagnostic::emerg(self.arg.span, message);
        diagnostic.anchor(self.directive.terminator());
        Box::new(diagnostic)
    }

    /// nginx's `"NAME" directive MESSAGE`, as its slots say it.
    pub fn invalid(self, help: &str) -> Box<Diagnostic> {
        let mut diagnostic =
            self.error(format!("\"{}\" directive invalid value", self.directive.name.text()));
        diagnostic.help(help);
        diagnostic
    }

    /// A size in bytes, see [`size`].
    ///
    /// # Errors
    /// nginx's `directive invalid value`.
    pub fn size(self) -> Parsed<u64> {
        size(&self.arg.text()).ok_or_else(|| self.invalid("a size is a number of bytes, `8k` or `1m`"))
    }

    /// An offset in bytes, see [`offset`].
    ///
    /// # Errors
    /// nginx's `directive invalid value`.
    pub fn offset(self) -> Parsed<u64> {
        offset(&self.arg.text())
            .ok_or_else(|| self.invalid("a size is a number of bytes, `8k`, `1m` or `1g`"))
    }

    /// A number, see [`number`].
    ///
    /// # Errors
    /// nginx's `directive invalid number`.
    pub fn number(self) -> Parsed<u64> {
        let message = || self.error(format!("\"{}\" directive invalid number", self.directive.name.text()));
        number(&self.arg.text()).ok_or_else(message)
    }

    /// A time in milliseconds, see [`milliseconds`].
    ///
    /// # Errors
    /// nginx's `directive invalid value`.
    pub fn milliseconds(self) -> Parsed<u64> {
        milliseconds(&self.arg.text()).ok_or_else(|| self.invalid(TIME_HELP))
    }

    /// A time, see [`milliseconds`].
    ///
    /// # Errors
    /// nginx's `directive invalid value`.
    pub fn millis(self) -> Parsed<Millis> {
        self.milliseconds().map(Millis)
    }

    /// A size that fits the memory, see [`size`].
    ///
    /// # Errors
    /// nginx's `directive invalid value`.
    pub fn bytes(self) -> Parsed<usize> {
        let bytes = self.size()?;
        usize::try_from(bytes).map_err(|_| self.invalid("the size is too large"))
    }

    /// A number of things in memory, see [`number`].
    ///
    /// # Errors
    /// nginx's `directive invalid number`.
    pub fn count(self) -> Parsed<usize> {
        let count = self.number()?;
        usize::try_from(count).map_err(|_| self.invalid("the number is too large"))
    }

    /// A number of at most 32 bits, see [`number`].
    ///
    /// # Errors
    /// nginx's `directive invalid number`.
    pub fn number_u32(self) -> Parsed<u32> {
        let number = self.number()?;
        u32::try_from(number).map_err(|_| self.invalid("the number is too large"))
    }

    /// A time in seconds, see [`seconds`].
    ///
    /// # Errors
    /// nginx's `directive invalid value`.
    pub fn seconds(self) -> Parsed<u64> {
        seconds(&self.arg.text()).ok_or_else(|| self.invalid(TIME_HELP))
    }

    /// `on` or `off`.
    ///
    /// # Errors
    /// nginx's `invalid value … it must be "on" or "off"`.
    pub fn flag(self) -> Parsed<bool> {
        let (value, name) = (self.arg.text(), self.directive.name.text());
        let message =
            || format!("invalid value \"{value}\" in \"{name}\" directive, it must be \"on\" or \"off\"");
        flag(&value).ok_or_else(|| self.error(message()))
    }

    /// One of a fixed set of words, compared in any case as nginx does.
    ///
    /// # Errors
    /// nginx's `invalid value "X"`, with the nearest word or the whole set as a suggestion.
    pub fn choice<T: Copy>(self, choices: &[(&str, T)]) -> Parsed<T> {
        let value = self.arg.text();
        let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(&value));
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let mut diagnostic = self.error(format!("invalid value \"{value}\""));
            let names = choices.iter().map(|(name, _)| *name);
            match nearest(&value, names.clone()) {
                Some(name) => diagnostic.help(format!("did you mean \"{name}\"?")),
                None => diagnostic.help(format!("one of: {}", names.collect::<Vec<_>>().join(", "))),
            };
            diagnostic
        })
    }
}

const TIME_HELP: &str =
    "a time is a number of seconds or parts from large to small, as in `1h30m` or `500ms`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table: &[(&str, Option<u64>, Option<u64>)] = &[
            ("0", Some(0), Some(0)),
            ("1k", Some(1024), Some(1024)),
            ("8M", Some(8 << 20), Some(8 << 20)),
            ("1g", None, Some(1 << 30)),
            ("", None, None),
            ("k", None, None),
            ("-1", None, None),
            ("1kk", None, None),
            ("1 k", None, None),
            ("9223372036854775807", Some(i64::MAX as u64), Some(i64::MAX as u64)),
            ("9223372036854775808", None, None),
            ("9007199254740992k", None, None),
        ];
        for (text, expected_size, expected_offset) in table {
            assert_eq!((size(text), offset(text)), (*expected_size, *expected_offset), "{text}");
        }
    }

    #[test]
    fn times() {
        let table: &[(&str, Option<u64>, Option<u64>)] = &[
            ("60", Some(60_000), Some(60)),
            ("0", Some(0), Some(0)),
            ("500ms", Some(500), None),
            ("1h30m", Some(5_400_000), Some(5400)),
            ("1h 30m", Some(5_400_000), Some(5400)),
            ("1m30", Some(90_000), Some(90)),
            ("1d", Some(86_400_000), Some(86_400)),
            ("1M", None, Some(30 * 86_400)),
            ("1w", Some(7 * 86_400_000), Some(7 * 86_400)),
            ("1m", Some(60_000), Some(60)),
            ("1y", None, Some(365 * 86_400)),
            ("1y 6M", None, Some(545 * 86_400)),
            ("60 ", Some(60_000), Some(60)),
            ("30 m", None, None),
            ("1s30", Some(31_000), Some(31)),
            ("1s500ms", Some(1500), None),
            ("30m1h", None, None),
            ("1m1m", None, None),
            ("1x", None, None),
            ("s", None, None),
            ("", None, None),
            ("-1", None, None),
            ("1.5s", None, None),
            ("99999999999999999999", None, None),
        ];
        for (text, ms, s) in table {
            assert_eq!((milliseconds(text), seconds(text)), (*ms, *s), "{text}");
        }
    }
}
