//! How a request finds its server and its location.
//!
//! Read in this order: [`normalise`] brings the target into the form that is matched; [`ServerNames`] finds the server,
//! [`LocationTree`] its location; [`Regex`] is what both try last. [`escape_uri`] and its kin are the way back.

mod escape;
mod location;
mod names;
mod ordered;
mod pcre;
mod prefix;
mod regex;
mod sieve;
mod uri;

pub use escape::{escape_args, escape_refresh, escape_uri};
pub use location::{Found, LocationTree, LocationTreeBuilder};
pub use names::{NameKind, ServerNames, ServerNamesBuilder};
pub use regex::{Captures, Regex};
pub use uri::{Absolute, Normalised, normalise};
