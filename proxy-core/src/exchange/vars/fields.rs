//! Variables with a name inside their name: fields, cookies, arguments.

use alloc::vec::Vec;

use super::{Answer, text};
use crate::buf::Chunk;
use crate::config::Variable;
use crate::exchange::Facts;
use crate::http::{Field, HeaderId};

impl Facts {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other families have the rest")]
    pub(super) fn field_value(&self, variable: &Variable, out: &mut Vec<u8>) -> Answer {
        let upstream = self.upstream_head.as_ref();
        Some(match variable {
            Variable::Http(name) => joined(fields_named(&self.head.fields, &self.head.bytes, name), out),
            Variable::Arg(name) => text(argument(&self.args, name), out),
            Variable::Cookie(name) => text(self.cookie(name), out),
            Variable::SentHttp(name) => {
                let lines = sent_fields(&self.reply.head);
                let values = lines.filter(|(sent, _)| is_same_name(sent, name)).map(|(_, value)| value);
                joined((b", ", values), out)
            }
            Variable::UpstreamHttp(name) => {
                upstream.is_some_and(|head| joined(fields_named(&head.fields, &head.bytes, name), out))
            }
            Variable::UpstreamCookie(name) => {
                let found = upstream.and_then(|head| {
                    let cookies = head.fields.iter().filter(|field| field.id == HeaderId::SetCookie);
                    cookies.map(|field| field.value.of(&head.bytes)).find_map(|line| set_cookie(line, name))
                });
                text(found, out)
            }
            Variable::SentTrailer(name) => trailer(&self.reply.trailers, name, out),
            Variable::UpstreamTrailer(name) => trailer(&self.upstream_trailers, name, out),
            _ => return None,
        })
    }

    /// `$arg_NAME`
    pub(crate) fn argument(&self, name: &[u8]) -> Option<&[u8]> {
        argument(&self.args, name)
    }

    pub(super) fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        let head = &self.head;
        let lines = head.fields.iter().filter(|field| field.id == HeaderId::Cookie);
        lines.map(|field| field.value.of(&head.bytes)).find_map(|line| cookie(line, name))
    }
}

/// The values of all fields of a name, and what nginx puts between them. Of User-Agent only the first counts.
fn fields_named<'a>(
    fields: &'a [Field],
    bytes: &'a Chunk,
    name: &'a [u8],
) -> (&'static [u8], impl Iterator<Item = &'a [u8]>) {
    let id = HeaderId::from_token(name);
    let between: &[u8] = if id == HeaderId::Cookie { b"; " } else { b", " };
    let most = if id == HeaderId::UserAgent { 1 } else { usize::MAX };
    let matches = move |field: &&Field| {
        field.id == id && (id != HeaderId::Other || is_same_name(field.name.of(bytes), name))
    };
    (between, fields.iter().filter(matches).map(|field| field.value.of(bytes)).take(most))
}

fn joined<'a>((between, values): (&[u8], impl Iterator<Item = &'a [u8]>), out: &mut Vec<u8>) -> bool {
    let mut found = false;
    for value in values {
        if found {
            out.extend_from_slice(between);
        }
        found = true;
        out.extend_from_slice(value);
    }
    found
}

/// Whether a field's name is the one that a variable means: `wanted` is lower case, and has a dash where the variable
/// has an underscore, which stands for both.
fn is_same_name(name: &[u8], wanted: &[u8]) -> bool {
    let plain = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == wanted.len() && name.iter().zip(wanted).all(|(a, b)| plain(a) == *b)
}

/// The trailers of a name, and what nginx puts between them.
fn trailer(lines: &Chunk, name: &[u8], out: &mut Vec<u8>) -> bool {
    let found = fields_of(lines.as_slice().split(|byte| *byte == b'\n'));
    let values = found.filter(|(sent, _)| is_same_name(sent, name)).map(|(_, value)| value);
    joined((b", ", values), out)
}

/// The lines of a head that we wrote, as names and values.
fn sent_fields(head: &Chunk) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields_of(head.as_slice().split(|byte| *byte == b'\n').skip(1))
}

fn fields_of<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    lines.filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((line.get(..colon)?, line.get(colon + 1..)?.trim_ascii()))
    })
}

/// The first argument of this name that has a value: `a` alone is none.
fn argument<'a>(args: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if name.is_empty() {
        return None;
    }
    args.split(|byte| *byte == b'&').find_map(|pair| {
        let (start, rest) = pair.split_at_checked(name.len())?;
        if start.eq_ignore_ascii_case(name) { rest.strip_prefix(b"=") } else { None }
    })
}

/// The cookie of this name in one Cookie field. As nginx does, commas part cookies too.
fn cookie<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = line;
    while !rest.is_empty() {
        if let Some(value) = value_after(rest, name) {
            return Some(value);
        }
        let end = memchr::memchr2(b';', b',', rest)?;
        rest = skip_blanks(rest.get(end + 1..)?);
    }
    None
}

/// The value in one Set-Cookie field, if it sets the cookie of this name.
fn set_cookie<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    value_after(line, name)
}

/// `name = value` up to a semicolon; blanks may stand around the equals sign.
fn value_after<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(name.len())?;
    if !start.eq_ignore_ascii_case(name) {
        return None;
    }
    let value = skip_blanks(skip_blanks(rest).strip_prefix(b"=")?);
    value.split(|byte| *byte == b';').next()
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| **byte == b' ').count();
    text.get(blanks..).unwrap_or_default()
}
