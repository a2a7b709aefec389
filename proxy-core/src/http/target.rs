//! The request target (RFC 9112, section 3.2), taken apart but not decoded.

use memchr::{memchr, memchr2};

use super::Span;

/// The forms of a target that this proxy takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://authority/path?query`
    Absolute,
    /// `*`, for OPTIONS
    Asterisk,
}

/// A target's parts, as ranges into the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Its form.
    pub form: TargetForm,
    /// Host and port of an absolute target.
    pub authority: Option<Span>,
    /// The path as it was sent. Empty where an absolute target has none: that means `/`.
    pub path: Span,
    /// What is behind the question mark, if there is one.
    pub query: Option<Span>,
}

impl Target {
    /// Takes the target at `span` of `bytes` apart. That it is one of the forms above was checked while parsing.
    #[must_use]
    pub fn split(bytes: &[u8], span: Span) -> Self {
        let text = span.of(bytes);
        match text {
            [b'/', ..] => Self::from_path(text, span, 0, TargetForm::Origin, None),
            b"*" => Self { form: TargetForm::Asterisk, path: span, ..Self::default() },
            _ => Self::absolute(text, span),
        }
    }

    fn absolute(text: &[u8], span: Span) -> Self {
        let start = memchr(b':', text).map_or(0, |colon| colon + "://".len());
        let rest = text.get(start..).unwrap_or_default();
        let len = memchr2(b'/', b'?', rest).unwrap_or(rest.len());
        let authority = sub(span, start, len);
        Self::from_path(text, span, start + len, TargetForm::Absolute, Some(authority))
    }

    fn from_path(text: &[u8], span: Span, at: usize, form: TargetForm, authority: Option<Span>) -> Self {
        let rest = text.get(at..).unwrap_or_default();
        let mark = memchr(b'?', rest);
        let query = mark.map(|mark| sub(span, at + mark + 1, rest.len() - mark - 1));
        Self { form, authority, path: sub(span, at, mark.unwrap_or(rest.len())), query }
    }
}

/// `len` bytes at `start` of `span`; a target is far below 4 GiB.
const fn sub(span: Span, start: usize, len: usize) -> Span {
    Span { start: span.start + start as u32, len: len as u32 }
}
