//! Why a name has no address, with nginx's numbers and words.

use core::fmt;

/// A lookup's failure: an RCODE of RFC 1035, 4.1.1, or the system's "timed out".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Failure(pub u16);

impl Failure {
    /// The name server did not understand the question.
    pub const FORMAT: Self = Self(1);
    /// The name server could not find out.
    pub const SERVER: Self = Self(2);
    /// There is no such name, or it has no record of this kind.
    pub const NOT_FOUND: Self = Self(3);
    /// The name server does not know this kind of question.
    pub const UNIMPLEMENTED: Self = Self(4);
    /// The name server does not want to answer.
    pub const REFUSED: Self = Self(5);
    /// Nobody answered in time.
    pub const TIMED_OUT: Self = Self(110);

    /// nginx's words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::FORMAT => "Format error",
            Self::SERVER => "Server failure",
            Self::NOT_FOUND => "Host not found",
            Self::UNIMPLEMENTED => "Unimplemented",
            Self::REFUSED => "Operation refused",
            Self::TIMED_OUT => "Operation timed out",
            Self(_) => "Unknown error",
        }
    }
}

impl fmt::Display for Failure {
    /// As nginx prints it: `3: Host not found`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.text())
    }
}
