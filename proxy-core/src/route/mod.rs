//! How a request finds its server and its location.

mod location;
mod names;
mod regex;

pub use location::{Found, LocationTree, LocationTreeBuilder};
pub use names::{NameKind, ServerNames, ServerNamesBuilder};
pub use regex::{Captures, Regex};
