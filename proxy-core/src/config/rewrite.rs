//! The rewrite module's directives as a program.

use alloc::boxed::Box;

use super::{LocationId, Origin, SlotId, Template};
use crate::http::Status;
use crate::route::Regex;

/// A directive with its place.
#[derive(Debug)]
pub struct RewriteLine {
    /// The directive.
    pub op: RewriteOp,
    /// Where it stands.
    pub origin: Origin,
}

/// One directive of the rewrite module.
#[derive(Debug)]
pub enum RewriteOp {
    /// `return`
    Return {
        /// The status; 444 closes without an answer.
        status: Status,
        /// The text, or the URL where the status is a redirect's (301, 302, 303, 307, 308).
        text: Option<Template>,
    },
    /// `rewrite`
    Rewrite {
        /// Matched against the normalised URI.
        regex: Regex,
        /// What replaces it.
        replacement: Template,
        /// A replacement that ends in `?` (which `replacement` no longer holds): the old arguments are dropped.
        drop_args: bool,
        /// What follows.
        flag: Flag,
    },
    /// `set`
    Set {
        /// The variable.
        target: SetTarget,
        /// Its new value.
        value: Template,
    },
    /// `if`
    If {
        /// The test.
        condition: Condition,
        /// The directives inside.
        body: Box<[RewriteLine]>,
        /// The block's own level: handles the request from here on when the test holds.
        location: LocationId,
    },
    /// `break`
    Break,
}

/// What `set` gives a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTarget {
    /// A variable of the configuration's own.
    Slot(SlotId),
    /// `$args`: the arguments of whatever the request asks for next.
    Args,
    /// `$limit_rate`, with nginx's suffixes.
    LimitRate,
}

/// The flag of `rewrite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// None: the next directive goes on.
    Continue,
    /// `last`: stop here and look for a location again.
    Last,
    /// `break`: stop here and stay in this location.
    Break,
    /// `redirect` (302), `permanent` (301), or a replacement that begins with a scheme.
    Redirect(Status),
}

/// The test of `if`.
#[derive(Debug)]
pub enum Condition {
    /// `$variable`: neither empty nor "0".
    Truthy(Template),
    /// `=`, or `!=` if `negated`.
    Equals {
        /// The variable.
        value: Template,
        /// What it is compared with.
        with: Template,
        /// `!=`
        negated: bool,
    },
    /// `~`, `~*`, `!~`, `!~*`
    Matches {
        /// The variable.
        value: Template,
        /// The pattern; its captures live on.
        regex: Regex,
        /// With `!`.
        negated: bool,
    },
    /// `-f`, `-d`, `-e`, `-x` and their negations.
    File {
        /// The path.
        path: Template,
        /// What is asked of it.
        test: FileTest,
        /// With `!`.
        negated: bool,
    },
}

/// What `if` asks of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileTest {
    /// `-f`
    Regular,
    /// `-d`
    Directory,
    /// `-e`
    Exists,
    /// `-x`
    Executable,
}
