//! Regular expressions as nginx's users write them (PCRE), on bytes.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Regex {
    inner: Arc<regex::bytes::Regex>,
}

/// The captures of the last match, as copies, so that they outlive what was matched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    groups: Vec<Option<Box<[u8]>>>,
}

impl Captures {
    /// Group `n`; group 0 is the whole match.
    #[must_use]
    pub fn group(&self, n: usize) -> Option<&[u8]> {
        self.groups.get(n)?.as_deref()
    }
}

impl Regex {
    /// Compiles `pattern`; `no_case` is nginx's `~*`.
    ///
    /// # Errors
    /// The compiler's words, where the pattern is none.
    pub fn new(pattern: &str, no_case: bool) -> Result<Self, String> {
        regex::bytes::RegexBuilder::new(pattern)
            .unicode(false)
            .case_insensitive(no_case)
            .build()
            .map(|inner| Self { inner: Arc::new(inner) })
            .map_err(|error| error.to_string())
    }

    /// Whether it matches anywhere in `text`.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.inner.is_match(text)
    }

    /// The captures of the leftmost match in `text`.
    #[must_use]
    pub fn captures(&self, text: &[u8]) -> Option<Captures> {
        let found = self.inner.captures(text)?;
        Some(Captures { groups: found.iter().map(|group| group.map(|g| g.as_bytes().into())).collect() })
    }

    /// The named groups with their numbers.
    pub fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        self.inner.capture_names().enumerate().filter_map(|(n, name)| Some((n, name?)))
    }
}
