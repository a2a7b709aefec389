//! The request target: taken apart and brought into the one form that locations are matched against.
//!
//! What nginx does with a target, byte for byte: `%XX` is decoded once, `.` and `..` segments are resolved, repeated
//! slashes are merged (`merge_slashes`), and what leaves the root is refused. A decoded slash or dot counts like a
//! literal one, a decoded `?`, `#` or `%` is an ordinary byte of the path. Everything else (`+`, `;`, `\`, any UTF-8
//! or none) stays as it is. The result is matched, logged and mapped to files; the target itself is forwarded only
//! where nothing asks for another URI.
//!
//! Unlike nginx, a fragment is refused: two parties would read it differently (RFC 9112, section 3.2, has none).
//!
//! Where a target is already in its final form, as almost all are, nothing is copied.

use alloc::vec::Vec;
use core::ops::Range;

use memchr::memrchr;

use crate::buf::Chunk;
use crate::error::ClientError;

/// A request target, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Normalised {
    /// The normalised path (`$uri`): begins with a slash, or is `*`. At most one byte longer than the target.
    pub path: Chunk,
    /// What stands behind the question mark (`$args`), as it was sent.
    pub args: Chunk,
    /// Whether there is a question mark, even with nothing behind it.
    pub has_args_mark: bool,
    /// The target without scheme and authority (`$request_uri`): what is forwarded where nothing asks for another URI.
    pub raw: Chunk,
    /// Whether `raw` may be forwarded: it begins with a slash (`http://host?a` has no path to send) or is `*`.
    pub raw_is_valid: bool,
    /// Whether `path` is byte for byte what the target has; then it shares the target's memory.
    pub unchanged: bool,
    /// Whether the path had a `%XX`: only then does nginx escape it again where it is forwarded with another prefix.
    pub quoted: bool,
    /// Whether the path holds a `+`, as it is or as `%2b`: with `quoted`, nginx's test for escaping captures that go
    /// into arguments or redirects.
    pub plus: bool,
    /// Scheme and authority of a target in absolute form.
    pub absolute: Option<Absolute>,
}

/// What stood before the path of a target in absolute form; as it was sent, in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absolute {
    /// The scheme without `://`.
    pub scheme: Chunk,
    /// The authority: host and port, not checked beyond being there.
    pub authority: Chunk,
}

/// Normalises the target of a request line.
///
/// # Errors
/// [`ClientError::InvalidUri`] for a target in no known form, control bytes and blanks, a fragment, `%` not followed by
/// two hex digits, `%00`, and a path that leaves the root.
pub fn normalise(target: &Chunk, merge_slashes: bool) -> Result<Normalised, ClientError> {
    if target.as_slice() == b"*" {
        let (path, raw) = (target.clone(), target.clone());
        return Ok(Normalised { path, raw, raw_is_valid: true, unchanged: true, ..Normalised::default() });
    }
    if target.first() == Some(&b'/') {
        return normalise_path(target, merge_slashes);
    }
    let (scheme, authority) = split_absolute(target).ok_or(ClientError::InvalidUri)?;
    let rest = target.slice(authority.end..target.len());
    let absolute = Absolute { scheme: target.slice(scheme), authority: target.slice(authority) };
    let mut normalised = match rest.first() {
        Some(b'/') => normalise_path(&rest, merge_slashes)?,
        Some(b'?') => {
            let args = rest.slice(1..rest.len());
            refuse_unprintable(&args)?;
            Normalised { path: root(), args, has_args_mark: true, raw: rest, ..Normalised::default() }
        }
        _ => Normalised { path: root(), raw: root(), raw_is_valid: true, ..Normalised::default() },
    };
    normalised.absolute = Some(absolute);
    Ok(normalised)
}

fn root() -> Chunk {
    Chunk::from_static(b"/")
}

/// The ranges of scheme and authority of `scheme://authority…`.
fn split_absolute(target: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    let is_scheme = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.');
    let scheme = target.iter().position(|c| !is_scheme(c))?;
    let rest = target.get(scheme..)?.strip_prefix(b"://")?;
    if !target.first()?.is_ascii_alphabetic() {
        return None;
    }
    let authority = rest.iter().position(|c| matches!(c, b'/' | b'?')).unwrap_or(rest.len());
    // RFC 9110, section 4.2.1: a recipient must reject an http URI with an empty host.
    let text = rest.get(..authority).filter(|text| !text.is_empty())?;
    refuse_unprintable(text).ok()?;
    let start = scheme + "://".len();
    Some((0..scheme, start..start + authority))
}

/// What a first look at the path says.
#[derive(Default)]
struct Look {
    /// Where the path ends: at the question mark or the end.
    path_len: usize,
    quoted: bool,
    plus: bool,
    /// It may change: a `%XX`, `//`, `/.` or `/..`.
    complex: bool,
}

fn normalise_path(raw: &Chunk, merge_slashes: bool) -> Result<Normalised, ClientError> {
    let bytes = raw.as_slice();
    let look = look_at(bytes, merge_slashes)?;
    let has_args_mark = look.path_len < bytes.len();
    let args = if has_args_mark { raw.slice(look.path_len + 1..raw.len()) } else { Chunk::empty() };
    refuse_unprintable(&args)?;
    let mut plus = look.plus;
    let mut path = raw.slice(0..look.path_len);
    let mut unchanged = true;
    if look.complex {
        let mut rewriting = Rewriting::new(path.len(), merge_slashes);
        rewriting.run(&path)?;
        plus |= rewriting.plus;
        unchanged = rewriting.out == path.as_slice();
        if !unchanged {
            path = Chunk::from_vec(rewriting.out);
        }
    }
    Ok(Normalised {
        path,
        args,
        has_args_mark,
        raw: raw.clone(),
        raw_is_valid: true,
        unchanged,
        quoted: look.quoted,
        plus,
        absolute: None,
    })
}

fn look_at(bytes: &[u8], merge_slashes: bool) -> Result<Look, ClientError> {
    let mut look = Look { path_len: bytes.len(), ..Look::default() };
    let mut after_slash = false;
    for (at, &byte) in bytes.iter().enumerate() {
        let before = after_slash;
        after_slash = false;
        match byte {
            b'/' => {
                look.complex |= before && merge_slashes;
                after_slash = true;
            }
            b'.' if before => look.complex |= is_dot_segment(bytes.get(at..).unwrap_or_default()),
            b'%' => {
                look.quoted = true;
                look.complex = true;
            }
            b'?' => {
                look.path_len = at;
                break;
            }
            b'+' => look.plus = true,
            0..=b' ' | 0x7f | b'#' => return Err(ClientError::InvalidUri),
            _ => {}
        }
    }
    Ok(look)
}

/// Whether `rest` begins with a whole segment `.` or `..`; `/.well-known` begins with neither. One that turns out to
/// be a dot segment only once its `%XX` are decoded is found by those.
fn is_dot_segment(rest: &[u8]) -> bool {
    let end = rest.strip_prefix(b"..").or_else(|| rest.strip_prefix(b"."));
    end.is_some_and(|end| matches!(end.first(), None | Some(b'/' | b'?')))
}

fn refuse_unprintable(bytes: &[u8]) -> Result<(), ClientError> {
    let refused = |byte: &u8| matches!(byte, 0..=b' ' | 0x7f | b'#');
    if bytes.iter().any(refused) { Err(ClientError::InvalidUri) } else { Ok(()) }
}

/// Writes the normalised path.
///
/// ```text
///            /          .            .
///  Usual ───────► Slash ────► Dot ────────► DotDot
///    ▲              │ ▲         │ /: drop     │ /: drop the segment
///    └── any other ─┘ └─────────┴─────────────┘
/// ```
struct Rewriting {
    out: Vec<u8>,
    state: State,
    merge_slashes: bool,
    plus: bool,
}

#[derive(Clone, Copy)]
enum State {
    /// Inside a segment.
    Usual,
    /// Behind a slash.
    Slash,
    /// Behind a slash and one dot.
    Dot,
    /// Behind a slash and two dots.
    DotDot,
}

impl Rewriting {
    fn new(len: usize, merge_slashes: bool) -> Self {
        Self { out: Vec::with_capacity(len), state: State::Usual, merge_slashes, plus: false }
    }

    fn run(&mut self, path: &[u8]) -> Result<(), ClientError> {
        let mut bytes = path.iter();
        while let Some(&byte) = bytes.next() {
            if byte != b'%' {
                self.step(byte)?;
                continue;
            }
            let mut digit = || bytes.next().and_then(|digit| char::from(*digit).to_digit(16));
            let (high, low) = digit().zip(digit()).ok_or(ClientError::InvalidUri)?;
            match u8::try_from(high << 4 | low).unwrap_or_default() {
                0 => return Err(ClientError::InvalidUri),
                decoded @ (b'%' | b'#' | b'?') => self.push(decoded),
                decoded => {
                    self.plus |= decoded == b'+';
                    self.step(decoded)?;
                }
            }
        }
        self.end_segment()
    }

    fn step(&mut self, byte: u8) -> Result<(), ClientError> {
        match (self.state, byte) {
            (State::Usual, b'/') => {
                self.out.push(b'/');
                self.state = State::Slash;
            }
            (State::Slash, b'/') => {
                if !self.merge_slashes {
                    self.out.push(b'/');
                }
            }
            (State::Dot | State::DotDot, b'/') => {
                self.end_segment()?;
                self.state = State::Slash;
            }
            (State::Slash, b'.') => {
                self.out.push(b'.');
                self.state = State::Dot;
            }
            (State::Dot, b'.') => {
                self.out.push(b'.');
                self.state = State::DotDot;
            }
            _ => self.push(byte),
        }
        Ok(())
    }

    fn push(&mut self, byte: u8) {
        self.out.push(byte);
        self.state = State::Usual;
    }

    /// Takes a dot segment that ends here back, and for `..` the segment before it as well.
    fn end_segment(&mut self) -> Result<(), ClientError> {
        let dots = match self.state {
            State::Usual | State::Slash => return Ok(()),
            State::Dot => 1,
            State::DotDot => 2,
        };
        self.out.truncate(self.out.len() - dots);
        if dots == 2 {
            let parent = self.out.split_last().and_then(|(_slash, before)| memrchr(b'/', before));
            self.out.truncate(parent.ok_or(ClientError::InvalidUri)? + 1);
        }
        Ok(())
    }
}
