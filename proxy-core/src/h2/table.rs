//! HPACK's tables (RFC 7541, section 2.3 and appendix A).
//!
//! What a field's name and value are worth is found out once, when they enter a table: whoever refers to an entry gets
//! the verdict with it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use crate::http::HeaderId;

/// What an entry of the dynamic table costs beside its bytes (RFC 7541, section 4.1).
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// How many entries the static table has.
pub(super) const STATIC_LEN: usize = LINES.len();

/// What a field's name is (RFC 9113, section 8.2.1, and nginx's `ignore_invalid_headers`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameClass {
    /// `:name`
    Pseudo,
    /// Lower-case letters, digits and hyphens.
    Plain,
    /// As `Plain`, with underscores.
    Underscored,
    /// A token of other characters.
    Odd,
    /// No name that HTTP/2 allows: empty, upper case, control characters, blanks, colons.
    Bad,
}

/// A decoded field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The name's id; [`HeaderId::Other`] where it has none.
    pub id: HeaderId,
    /// What kind of name it is.
    pub class: NameClass,
    /// Whether the value can stand in a header line: no CR, LF or NUL, no blanks at its edges.
    pub value_is_clean: bool,
    /// The name.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

impl<'a> Line<'a> {
    /// Judges a name and a value.
    #[must_use]
    pub fn judge(name: &'a [u8], value: &'a [u8]) -> Self {
        let class = classify(name);
        let id = if class == NameClass::Plain { HeaderId::from_token(name) } else { HeaderId::Other };
        Self { id, class, value_is_clean: is_clean(value), name, value }
    }

    /// As [`judge`](Self::judge), where the name was judged before.
    #[must_use]
    pub fn with_value(self, value: &'a [u8]) -> Self {
        Self { value, value_is_clean: is_clean(value), ..self }
    }

    /// What it counts in a table and against SETTINGS_MAX_HEADER_LIST_SIZE, in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.name.len() + self.value.len() + ENTRY_OVERHEAD_BYTES
    }
}

fn classify(name: &[u8]) -> NameClass {
    let (name, pseudo) = match name {
        [b':', rest @ ..] => (rest, true),
        _ => (name, false),
    };
    let mut class = if name.is_empty() { NameClass::Bad } else { NameClass::Plain };
    for byte in name {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => {}
            b'_' if class == NameClass::Plain => class = NameClass::Underscored,
            b'_' => {}
            0..=b' ' | b':' | b'A'..=b'Z' | 0x7f.. => return NameClass::Bad,
            _ => class = NameClass::Odd,
        }
    }
    if pseudo && class != NameClass::Bad { NameClass::Pseudo } else { class }
}

fn is_clean(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    memchr::memchr3(b'\r', b'\n', 0, value).is_none() && !blank(value.first()) && !blank(value.last())
}

/// The dynamic table: first in, first out, and never larger than its bound.
#[derive(Debug)]
pub struct Table {
    /// The newest first.
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    text: Box<[u8]>,
    name_len: usize,
    id: HeaderId,
    class: NameClass,
    value_is_clean: bool,
}

impl Entry {
    fn line(&self) -> Line<'_> {
        let (name, value) = self.text.split_at_checked(self.name_len).unwrap_or_default();
        Line { id: self.id, class: self.class, value_is_clean: self.value_is_clean, name, value }
    }
}

impl Table {
    /// An empty table of at most `bytes_max` bytes.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// The bound in bytes.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Sets the bound; what does not fit any more is gone.
    pub fn resize(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.make_room(0);
    }

    /// Puts a field in front. One that is larger than the table empties it, and that is no error (section 4.4).
    pub fn insert(&mut self, line: Line<'_>) {
        let size = line.size();
        let text = [line.name, line.value].concat().into_boxed_slice();
        self.make_room(size);
        if size > self.bytes_max {
            return;
        }
        self.bytes += size;
        let (id, class, value_is_clean) = (line.id, line.class, line.value_is_clean);
        self.entries.push_front(Entry { text, name_len: line.name.len(), id, class, value_is_clean });
    }

    fn make_room(&mut self, size: usize) {
        while self.bytes + size > self.bytes_max
            && let Some(oldest) = self.entries.pop_back()
        {
            self.bytes -= oldest.line().size();
        }
    }

    /// The field at `index` of both tables: 1 is the static table's first, the dynamic one follows it.
    #[must_use]
    pub fn line(&self, index: usize) -> Option<Line<'_>> {
        match STATIC.get(index.checked_sub(1)?) {
            Some(line) => Some(*line),
            None => self.entries.get(index - 1 - STATIC_LEN).map(Entry::line),
        }
    }

    /// How many entries the dynamic table has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the dynamic table is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// An entry of the static table.
const fn line(name: &'static str, value: &'static str) -> Line<'static> {
    let name = name.as_bytes();
    let class = if matches!(name, [b':', ..]) { NameClass::Pseudo } else { NameClass::Plain };
    Line { id: id_of(name), class, value_is_clean: true, name, value: value.as_bytes() }
}

const fn id_of(name: &[u8]) -> HeaderId {
    let mut rest = HeaderId::ALL;
    while let [(id, known), tail @ ..] = rest {
        if same(name, known) {
            return *id;
        }
        rest = tail;
    }
    HeaderId::Other
}

const fn same(mut a: &[u8], mut b: &[u8]) -> bool {
    while let ([x, a_tail @ ..], [y, b_tail @ ..]) = (a, b) {
        if *x != *y {
            return false;
        }
        (a, b) = (a_tail, b_tail);
    }
    a.is_empty() && b.is_empty()
}

/// The static table's ids, for those who look names up while compiling.
pub(super) const STATIC_IDS: [HeaderId; 61] = ids();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time only")]
const fn ids() -> [HeaderId; 61] {
    let mut ids = [HeaderId::Other; 61];
    let mut place = 0;
    while place < ids.len() {
        ids[place] = LINES[place].id;
        place += 1;
    }
    ids
}

/// The static table; its first entry has index 1.
pub(super) static STATIC: [Line<'static>; 61] = LINES;

const LINES: [Line<'static>; 61] = [
    line(":authority", ""),
    line(":method", "GET"),
    line(":method", "POST"),
    line(":path", "/"),
    line(":path", "/index.html"),
    line(":scheme", "http"),
    line(":scheme", "https"),
    line(":status", "200"),
    line(":status", "204"),
    line(":status", "206"),
    line(":status", "304"),
    line(":status", "400"),
    line(":status", "404"),
    line(":status", "500"),
    line("accept-charset", ""),
    line("accept-encoding", "gzip, deflate"),
    line("accept-language", ""),
    line("accept-ranges", ""),
    line("accept", ""),
    line("access-control-allow-origin", ""),
    line("age", ""),
    line("allow", ""),
    line("authorization", ""),
    line("cache-control", ""),
    line("content-disposition", ""),
    line("content-encoding", ""),
    line("content-language", ""),
    line("content-length", ""),
    line("content-location", ""),
    line("content-range", ""),
    line("content-type", ""),
    line("cookie", ""),
    line("date", ""),
    line("etag", ""),
    line("expect", ""),
    line("expires", ""),
    line("from", ""),
    line("host", ""),
    line("if-match", ""),
    line("if-modified-since", ""),
    line("if-none-match", ""),
    line("if-range", ""),
    line("if-unmodified-since", ""),
    line("last-modified", ""),
    line("link", ""),
    line("location", ""),
    line("max-forwards", ""),
    line("proxy-authenticate", ""),
    line("proxy-authorization", ""),
    line("range", ""),
    line("referer", ""),
    line("refresh", ""),
    line("retry-after", ""),
    line("server", ""),
    line("set-cookie", ""),
    line("strict-transport-security", ""),
    line("transfer-encoding", ""),
    line("user-agent", ""),
    line("vary", ""),
    line("via", ""),
    line("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_classified() {
        for (name, class) in [
            (&b"x-y9"[..], NameClass::Plain),
            (b"x_y", NameClass::Underscored),
            (b"x_y!", NameClass::Odd),
            (b":path", NameClass::Pseudo),
            (b":", NameClass::Bad),
            (b"", NameClass::Bad),
            (b"Host", NameClass::Bad),
            (b"a b", NameClass::Bad),
            (b"a:", NameClass::Bad),
            (b"a\0", NameClass::Bad),
            (b"\xc3\xa4", NameClass::Bad),
            (b":Path", NameClass::Bad),
        ] {
            assert_eq!(classify(name), class, "{}", name.escape_ascii());
        }
        for (value, clean) in [
            (&b"a b\tc"[..], true),
            (b"", true),
            (b" a", false),
            (b"a\t", false),
            (b"a\nb", false),
            (b"\0", false),
            (b"\r", false),
        ] {
            assert_eq!(Line::judge(b"x", value).value_is_clean, clean, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn the_dynamic_table_keeps_to_its_bound() {
        let mut table = Table::new(100);
        table.insert(Line::judge(b"a", b"1"));
        table.insert(Line::judge(b"host", b"22"));
        assert_eq!(table.line(62).map(|line| (line.id, line.value)), Some((HeaderId::Host, &b"22"[..])));
        assert_eq!(table.line(63).map(|line| line.name), Some(&b"a"[..]));
        assert_eq!((table.line(0), table.line(64), table.line(usize::MAX)), (None, None, None));
        table.insert(Line::judge(b"b", b"3"));
        assert_eq!((table.len(), table.line(63).map(|line| line.name)), (2, Some(&b"host"[..])));
        table.resize(40);
        assert_eq!((table.len(), table.line(62).map(|line| line.name)), (1, Some(&b"b"[..])));
        table.insert(Line::judge(b"c", &[b'x'; 100]));
        assert!(table.is_empty() && table.bytes == 0);
    }
}
