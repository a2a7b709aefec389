//! What a peer says and hears, whichever version of HTTP it speaks: heads, data, ends, by the number of the exchange.

use super::http1::Http1;
use super::http2::Http2;

/// Fields of a head; of a request those with a colon in front among them, of a reply `:status`.
pub(crate) type Fields = Vec<(String, String)>;

/// What came.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A head; interim ones are left out.
    Head(u32, Fields),
    Data(u32, Vec<u8>),
    /// The message is whole.
    End(u32),
    /// The other side gives the exchange up.
    Reset(u32),
    /// The other side takes no more exchanges behind this one.
    Goodbye(u32),
}

/// One end of a connection.
pub(crate) enum Speech {
    One(Http1),
    Two(Box<Http2>),
}

impl Speech {
    /// Takes what was read. Panics at the first byte that breaks a rule.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Heard> {
        match self {
            Self::One(one) => one.feed(bytes),
            Self::Two(two) => two.feed(bytes),
        }
    }

    /// The other side has ended the connection.
    pub(crate) fn ended(&mut self) -> Vec<Heard> {
        match self {
            Self::One(one) => one.ended(),
            Self::Two(_) => Vec::new(),
        }
    }

    /// Says a whole message, as fast as the other side takes it.
    pub(crate) fn say(&mut self, key: u32, fields: &Fields, body: &[u8]) {
        match self {
            Self::One(one) => one.say(fields, body),
            Self::Two(two) => two.say(key, fields, body),
        }
    }

    /// Says no more than so many bytes of the body of the message that was said last; nothing ends it.
    pub(crate) fn cut(&mut self, key: u32, bytes: usize) {
        match self {
            Self::One(one) => one.cut(bytes),
            Self::Two(two) => two.cut(key, bytes),
        }
    }

    /// What may be written now.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::One(one) => &mut one.out,
            Self::Two(two) => two.output(),
        }
    }

    /// Whether something waits for the other side to take it.
    pub(crate) fn has_unsaid(&self) -> bool {
        match self {
            Self::One(one) => !one.out.is_empty(),
            Self::Two(two) => two.has_unsaid(),
        }
    }
}

/// The value of a field that stands there once, or nothing.
pub(crate) fn value<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    let mut found = fields.iter().filter(|(known, _)| known == name);
    let first = found.next().map(|(_, value)| value.as_str());
    assert!(found.next().is_none(), "{name} stands there twice: {fields:?}");
    first
}
