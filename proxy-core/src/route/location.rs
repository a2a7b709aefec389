//! Locations: `=`, `^~`, `~`, `~*`, longest prefix, nested ones.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Captures, Regex};
use crate::config::{LocationId, LocationKind};

/// The locations of one server, ready to be searched.
#[derive(Debug, Default)]
pub struct LocationTree {
    entries: Vec<(LocationKind, Box<[u8]>, LocationId)>,
}

/// What a search ended with.
#[derive(Debug)]
pub struct Found<'a> {
    /// The location; none means the server's own level.
    pub location: Option<LocationId>,
    /// The regex that decided, with its captures.
    pub captures: Option<(&'a Regex, Captures)>,
    /// The URI lacks only the slash at the end of this proxied prefix location: redirect with 301.
    pub add_slash: Option<LocationId>,
}

/// Collects a server's (or, nested, a location's) locations.
#[derive(Debug, Default)]
pub struct LocationTreeBuilder {
    tree: LocationTree,
}

impl LocationTreeBuilder {
    /// Adds a location that is found by its text: exact or prefix. `auto_redirect` as in
    /// [`Location::auto_redirect`](crate::config::Location::auto_redirect); `nested` holds the locations inside it.
    ///
    /// # Errors
    /// The location that has the same kind of name already.
    pub fn add_text(
        &mut self,
        kind: LocationKind,
        pattern: &[u8],
        location: LocationId,
        auto_redirect: bool,
        nested: LocationTree,
    ) -> Result<(), LocationId> {
        let _ = (auto_redirect, nested);
        self.tree.entries.push((kind, pattern.into(), location));
        Ok(())
    }

    /// Adds a regex location; they are tried in the order of their addition.
    ///
    /// # Errors
    /// The regex compiler's words.
    pub fn add_regex(
        &mut self,
        regex: Regex,
        location: LocationId,
        nested: LocationTree,
    ) -> Result<(), String> {
        let _ = (regex, location, nested);
        Ok(())
    }

    /// The finished tree.
    #[must_use]
    pub fn build(self) -> LocationTree {
        self.tree
    }
}

impl LocationTree {
    /// Finds the location of a normalised URI by nginx's rules.
    #[must_use]
    pub fn find(&self, uri: &[u8]) -> Found<'_> {
        let best = self.entries.iter().filter(|(_, pattern, _)| uri.starts_with(pattern));
        let location = best.max_by_key(|(_, pattern, _)| pattern.len()).map(|entry| entry.2);
        Found { location, captures: None, add_slash: None }
    }
}
