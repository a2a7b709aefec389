//! The Content-Type field, with the charset that `charset` or X-Accel-Charset asks for.
//!
//! nginx takes the charset off an upstream's type and puts one of its own there. A charset is only ever named, never
//! changed: where the upstream says another one than the configuration, the upstream knows better.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Exchange;
use super::context::{Context, Generation};
use crate::command::Level;
use crate::config::{Charset, CoreSettings};
use crate::h1::encode;

impl Exchange {
    /// Writes the field for a type that is ours.
    pub(super) fn write_content_type(
        &self,
        value: &[u8],
        charset: Option<&Arc<Charset>>,
        generation: &Generation,
        ctx: &mut Context,
    ) {
        let name = charset.filter(|charset| charset.covers(value)).and_then(|charset| charset.name.as_ref());
        let name = name.map(|name| self.evaluate(name, generation, ctx)).unwrap_or_default();
        write(&mut ctx.scratch, value, value, &name);
    }

    /// A type of ours with its charset, for a part of several.
    pub(crate) fn append_charset(&self, content_type: &mut Vec<u8>, generation: &Generation, ctx: &Context) {
        let charset = self.core(generation).and_then(|core| core.charset.as_ref());
        let name =
            charset.filter(|charset| charset.covers(content_type)).and_then(|charset| charset.name.as_ref());
        let name = name.map(|name| self.evaluate(name, generation, ctx)).unwrap_or_default();
        if !name.is_empty() && encode::is_clean(&name) {
            content_type.extend_from_slice(b"; charset=");
            content_type.extend_from_slice(&name);
        }
    }

    /// Writes the field for an upstream's type; `accel` is X-Accel-Charset.
    pub(super) fn pass_content_type(
        &self,
        value: &[u8],
        accel: Option<&[u8]>,
        core: &CoreSettings,
        generation: &Generation,
        ctx: &mut Context,
    ) {
        if core.charset.is_none() && accel.is_none() {
            return encode::field(&mut ctx.scratch, b"Content-Type", value);
        }
        let (media_type, own) = split(value);
        let wanted = match accel {
            Some(accel) => self.known_charset(accel, generation, ctx),
            None => core.charset.as_ref().and_then(|charset| {
                let applies = own.map_or_else(|| charset.covers(media_type), |_| charset.override_charset);
                let name = charset.name.as_ref().filter(|_| applies)?;
                Some(self.evaluate(name, generation, ctx))
            }),
        };
        let mut wanted = wanted.unwrap_or_default();
        if let Some(own) = own.filter(|own| !wanted.is_empty() && !own.eq_ignore_ascii_case(&wanted)) {
            let (own, to) = (own.escape_ascii(), wanted.escape_ascii());
            let message = format!(
                "no \"charset_map\" between the charsets \"{own}\" and \"{to}\" while reading response header from upstream"
            );
            self.log_error(Level::Error, &message, ctx);
            wanted.clear();
        }
        write(&mut ctx.scratch, value, media_type, &wanted);
    }

    /// X-Accel-Charset, if the configuration names that charset anywhere.
    fn known_charset(&self, name: &[u8], generation: &Generation, ctx: &mut Context) -> Option<Vec<u8>> {
        if generation.config.charsets.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Some(name.to_vec());
        }
        let name = name.escape_ascii();
        let message =
            format!("unknown charset \"{name}\" to override while reading response header from upstream");
        self.log_error(Level::Error, &message, ctx);
        None
    }
}

/// Writes the field: `value`, or if a charset is to be named `media_type` with it.
fn write(out: &mut Vec<u8>, value: &[u8], media_type: &[u8], charset: &[u8]) {
    if charset.is_empty() || !encode::is_clean(charset) {
        return encode::field(out, b"Content-Type", value);
    }
    out.extend_from_slice(b"Content-Type: ");
    out.extend_from_slice(media_type);
    out.extend_from_slice(b"; charset=");
    out.extend_from_slice(charset);
    out.extend_from_slice(b"\r\n");
}

/// A media type and the charset behind it.
fn split(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut from = 0;
    // Each turn takes one semicolon.
    while let Some(at) = value.get(from..).and_then(|rest| memchr::memchr(b';', rest)).map(|at| from + at) {
        let blanks = value.get(at + 1..).unwrap_or_default();
        let parameter = blanks.trim_ascii_start();
        let (name, charset) = parameter.split_at_checked(CHARSET.len()).unwrap_or_default();
        if name.eq_ignore_ascii_case(CHARSET) {
            let charset = charset.strip_prefix(b"\"").unwrap_or(charset);
            let charset = charset.strip_suffix(b"\"").unwrap_or(charset);
            return (value.get(..at).unwrap_or_default(), Some(charset));
        }
        from = at + 1;
    }
    (value, None)
}

const CHARSET: &[u8] = b"charset=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charset_is_found_behind_its_type() {
        for (value, media_type, charset) in [
            (&b"text/html"[..], &b"text/html"[..], None),
            (b"text/html; charset=utf-8", b"text/html", Some(&b"utf-8"[..])),
            (b"text/html;CHARSET=\"koi8-r\"", b"text/html", Some(b"koi8-r")),
            (b"text/html; a=b; charset=x", b"text/html; a=b", Some(b"x")),
            (b"text/html;", b"text/html;", None),
            (b"text/html; charset", b"text/html; charset", None),
        ] {
            assert_eq!(split(value), (media_type, charset), "{}", value.escape_ascii());
        }
    }
}
