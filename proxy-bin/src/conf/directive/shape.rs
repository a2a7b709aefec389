//! Where directives may stand and how many arguments they take, in nginx's own terms.

use std::fmt::Write as _;

/// A set of contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contexts(u16);

impl Contexts {
    /// The top level.
    pub const MAIN: Self = Self(1);
    /// `events`
    pub const EVENTS: Self = Self(1 << 1);
    /// `http`
    pub const HTTP: Self = Self(1 << 2);
    /// `server` in `http`
    pub const SERVER: Self = Self(1 << 3);
    /// `location`
    pub const LOCATION: Self = Self(1 << 4);
    /// `upstream` in `http`
    pub const UPSTREAM: Self = Self(1 << 5);
    /// `if` in `server`
    pub const SERVER_IF: Self = Self(1 << 6);
    /// `if` in `location`
    pub const LOCATION_IF: Self = Self(1 << 7);
    /// `limit_except`
    pub const LIMIT_EXCEPT: Self = Self(1 << 8);
    /// `stream`
    pub const STREAM: Self = Self(1 << 9);
    /// `server` in `stream`
    pub const STREAM_SERVER: Self = Self(1 << 10);
    /// `upstream` in `stream`
    pub const STREAM_UPSTREAM: Self = Self(1 << 11);
    /// `mail`
    pub const MAIL: Self = Self(1 << 12);
    /// `server` in `mail`
    pub const MAIL_SERVER: Self = Self(1 << 13);

    /// `http` and `server`
    pub const HS: Self = Self::HTTP.or(Self::SERVER);
    /// `http`, `server` and `location`
    pub const HSL: Self = Self::HS.or(Self::LOCATION);
    /// `http`, `server`, `location` and `if` in `location`
    pub const HSL_IF: Self = Self::HSL.or(Self::LOCATION_IF);
    /// Where the rewrite module's directives stand.
    pub const REWRITE: Self = Self::SERVER.or(Self::LOCATION).or(Self::SERVER_IF).or(Self::LOCATION_IF);
    /// `stream` and its `server`
    pub const STREAM_ALL: Self = Self::STREAM.or(Self::STREAM_SERVER);
    /// `mail` and its `server`
    pub const MAIL_ALL: Self = Self::MAIL.or(Self::MAIL_SERVER);

    /// Everywhere.
    pub const ALL: Self = Self((1 << 14) - 1);

    const NAMES: [(Self, &'static str); 14] = [
        (Self::MAIN, "the top level"),
        (Self::EVENTS, "events"),
        (Self::HTTP, "http"),
        (Self::SERVER, "server"),
        (Self::LOCATION, "location"),
        (Self::UPSTREAM, "upstream"),
        (Self::SERVER_IF, "if in server"),
        (Self::LOCATION_IF, "if in location"),
        (Self::LIMIT_EXCEPT, "limit_except"),
        (Self::STREAM, "stream"),
        (Self::STREAM_SERVER, "server in stream"),
        (Self::STREAM_UPSTREAM, "upstream in stream"),
        (Self::MAIL, "mail"),
        (Self::MAIL_SERVER, "server in mail"),
    ];

    /// Both sets together.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the sets share a context.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The contexts by name, for people.
    pub fn names(self) -> String {
        let names = Self::NAMES.iter().filter(|(context, _)| context.intersects(self));
        names.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// How many arguments a directive takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arity {
    /// Bit n: n arguments are fine.
    counts: u8,
    /// This many or more are fine.
    at_least: Option<u8>,
    flag: bool,
}

impl Arity {
    /// None.
    pub const NONE: Self = Self::take(&[0]);
    /// One.
    pub const ONE: Self = Self::take(&[1]);
    /// Two.
    pub const TWO: Self = Self::take(&[2]);
    /// One or two.
    pub const ONE_TWO: Self = Self::take(&[1, 2]);
    /// Two or three.
    pub const TWO_THREE: Self = Self::take(&[2, 3]);
    /// One to three.
    pub const ONE_TO_THREE: Self = Self::take(&[1, 2, 3]);
    /// One to four.
    pub const ONE_TO_FOUR: Self = Self::take(&[1, 2, 3, 4]);
    /// Any number.
    pub const ANY: Self = Self { counts: 0, at_least: Some(0), flag: false };
    /// One or more.
    pub const MORE1: Self = Self { counts: 0, at_least: Some(1), flag: false };
    /// Two or more.
    pub const MORE2: Self = Self { counts: 0, at_least: Some(2), flag: false };
    /// Exactly one, `on` or `off`.
    pub const FLAG: Self = Self { counts: 1 << 1, at_least: None, flag: true };

    /// Any of these counts.
    pub const fn take(counts: &[u8]) -> Self {
        let mut bits = 0;
        let mut rest = counts;
        while let [count, tail @ ..] = rest {
            bits |= 1 << *count;
            rest = tail;
        }
        Self { counts: bits, at_least: None, flag: false }
    }

    /// Whether so many arguments are fine.
    pub fn accepts(self, count: usize) -> bool {
        let listed =
            u32::try_from(count).is_ok_and(|n| u32::from(self.counts).checked_shr(n).unwrap_or(0) & 1 == 1);
        listed || self.at_least.is_some_and(|least| count >= usize::from(least))
    }

    /// Whether the argument is `on` or `off`.
    pub fn is_flag(self) -> bool {
        self.flag
    }

    /// For people: `1 or 2 arguments`.
    pub fn describe(self) -> String {
        if self.flag {
            return "`on` or `off`".into();
        }
        let mut out = String::new();
        if self.at_least == Some(0) {
            return "any number of arguments".into();
        }
        if let Some(least) = self.at_least {
            let _ = write!(out, "at least {least} argument{}", if least == 1 { "" } else { "s" });
            return out;
        }
        let counts: Vec<String> = (0..8).filter(|n| self.accepts(*n)).map(|n| n.to_string()).collect();
        match counts.as_slice() {
            [one] if one == "0" => out.push_str("no arguments"),
            [one] if one == "1" => out.push_str("1 argument"),
            several => {
                let _ = write!(out, "{} arguments", several.join(" or "));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arities_count() {
        let accepted = |arity: Arity| (0..12).filter(|n| arity.accepts(*n)).collect::<Vec<_>>();
        assert_eq!(accepted(Arity::ONE_TO_FOUR), [1, 2, 3, 4]);
        assert_eq!(accepted(Arity::take(&[1, 3])), [1, 3]);
        assert_eq!(accepted(Arity::MORE2), (2..12).collect::<Vec<_>>());
        assert_eq!(Arity::TWO_THREE.describe(), "2 or 3 arguments");
        assert_eq!(Arity::NONE.describe(), "no arguments");
    }
}
