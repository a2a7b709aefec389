//! Locations: `=`, `^~`, `~`, `~*`, longest prefix, nested ones.
//!
//! On each level, as nginx does it: the longest text is looked for; an exact one ends the search, a prefix descends into
//! its nested locations. If that ends without an exact match or a regex, the level's own regexes are tried, unless its
//! prefix is a `^~` one: so the innermost level's regexes come first and the outermost's last. A regex that matches
//! descends into the regexes nested in it, and that is the end. Where no regex of a level matches, its predicates
//! (`location $variable`) have their turn in the same way, whatever is found there. Text locations nested in a
//! regex location are never found: nginx loads them and never looks at them, and a site that has one is served so.

use alloc::string::String;
use alloc::vec::Vec;

use super::ordered::OrderedRegexes;
use super::prefix::{Ends, PrefixTree};
use super::{Captures, Regex};
use crate::buf::Chunk;
use crate::config::{LocationId, LocationKind, Variable};
use crate::trace::{Match, Watch};

/// The locations of one server, or those nested in one location, ready to be searched.
#[derive(Debug, Default)]
pub struct LocationTree {
    texts: PrefixTree,
    by_text: Vec<ByText>,
    regexes: OrderedRegexes<ByRegex>,
    predicates: Vec<ByPredicate>,
}

#[derive(Debug)]
struct ByText {
    location: LocationId,
    no_regex: bool,
    auto_redirect: bool,
    nested: LocationTree,
}

#[derive(Debug)]
struct ByRegex {
    location: LocationId,
    nested: LocationTree,
}

#[derive(Debug)]
struct ByPredicate {
    variable: Variable,
    location: LocationId,
    nested: LocationTree,
}

/// Whether a variable holds for the present request.
type Holds<'h> = dyn FnMut(&Variable) -> bool + 'h;

/// What a search ended with.
#[derive(Debug, Default)]
pub struct Found<'a> {
    /// The location; none means the server's own level.
    pub location: Option<LocationId>,
    /// The regex that decided, with its captures: none at all, not even group 0, if it has no groups.
    pub captures: Option<(&'a Regex, Captures)>,
    /// The URI lacks only the slash at the end of this proxied location: redirect with 301. `location` is the same.
    pub add_slash: Option<LocationId>,
}

/// Collects a server's (or, nested, a location's) locations.
#[derive(Debug, Default)]
pub struct LocationTreeBuilder {
    tree: LocationTree,
    regexes: Vec<(Regex, ByRegex)>,
}

impl LocationTreeBuilder {
    /// Adds a location that is found by its text: [exact](LocationKind::Exact), or any other kind as a prefix.
    /// `auto_redirect` as in [`Location::auto_redirect`](crate::config::Location::auto_redirect); `nested` holds the
    /// locations inside it.
    ///
    /// # Errors
    /// The location that has the same name already; `^~` makes no other name.
    pub fn add_text(
        &mut self,
        kind: LocationKind,
        pattern: &[u8],
        location: LocationId,
        auto_redirect: bool,
        nested: LocationTree,
    ) -> Result<(), LocationId> {
        let tree = &mut self.tree;
        let ends = tree.texts.entry(pattern);
        let end = if kind == LocationKind::Exact { &mut ends.exact } else { &mut ends.prefix };
        if let Some(taken) = end.and_then(|at| tree.by_text.get(at as usize)) {
            return Err(taken.location);
        }
        *end = u32::try_from(tree.by_text.len()).ok();
        let no_regex = kind == LocationKind::PrefixNoRegex;
        tree.by_text.push(ByText { location, no_regex, auto_redirect, nested });
        Ok(())
    }

    /// Adds a regex location; they are tried in the order of their addition. Of `nested`, only the regex locations can
    /// be found.
    ///
    /// # Errors
    /// None today: the pattern is compiled already. Kept for a bound on the patterns of one level.
    pub fn add_regex(
        &mut self,
        regex: Regex,
        location: LocationId,
        nested: LocationTree,
    ) -> Result<(), String> {
        self.regexes.push((regex, ByRegex { location, nested }));
        Ok(())
    }

    /// Adds a location for requests for which a variable holds; they are tried in the order of their addition, where no
    /// regex of the level matches (nginx 1.31.5).
    pub fn add_predicate(&mut self, variable: Variable, location: LocationId, nested: LocationTree) {
        self.tree.predicates.push(ByPredicate { variable, location, nested });
    }

    /// The finished tree.
    #[must_use]
    pub fn build(self) -> LocationTree {
        LocationTree { regexes: OrderedRegexes::new(self.regexes), ..self.tree }
    }
}

/// How the search of one level ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is decided: an exact match, a regex, or a redirect.
    Decided,
    /// Nothing or a prefix: regexes of the levels above may still decide.
    Open,
}

impl LocationTree {
    /// Finds the location of a normalised URI by nginx's rules.
    #[must_use]
    pub fn find(&self, uri: &Chunk) -> Found<'_> {
        self.find_where(uri, &mut |_| false)
    }

    /// As [`find`](Self::find); `holds` says which variables hold.
    #[must_use]
    pub fn find_where(&self, uri: &Chunk, holds: &mut Holds<'_>) -> Found<'_> {
        self.find_watched(uri, holds, &mut ())
    }

    /// As [`find_where`](Self::find_where); `watch` is told of every location that is looked at.
    pub(crate) fn find_watched(
        &self,
        uri: &Chunk,
        holds: &mut Holds<'_>,
        watch: &mut impl Watch,
    ) -> Found<'_> {
        let mut found = Found::default();
        self.search(uri, holds, &mut found, watch);
        found
    }

    /// Nesting is as deep as the configuration's, which its parser bounds.
    fn search<'a>(
        &'a self,
        uri: &Chunk,
        holds: &mut Holds<'_>,
        found: &mut Found<'a>,
        watch: &mut impl Watch,
    ) -> End {
        let walk = self.texts.walk(uri, |shorter| {
            self.text(Some(shorter)).into_iter().for_each(|text| watch.saw(text.location, Match::Prefix));
        });
        if let Some(exact) = self.text(walk.whole.exact) {
            found.location = Some(exact.location);
            watch.saw(exact.location, Match::Exact);
            return End::Decided;
        }
        if walk.whole.prefix.is_none()
            && let Some(missing_slash) = self.redirect(walk.with_slash)
        {
            found.location = Some(missing_slash);
            found.add_slash = Some(missing_slash);
            watch.saw(missing_slash, Match::Exact);
            return End::Decided;
        }
        let mut no_regex = false;
        if let Some(prefix) = self.text(walk.longest) {
            found.location = Some(prefix.location);
            no_regex = prefix.no_regex;
            watch.saw(prefix.location, if no_regex { Match::NoRegex } else { Match::Longest });
            if prefix.nested.search(uri, holds, found, watch) == End::Decided {
                return End::Decided;
            }
        }
        if no_regex { End::Open } else { self.search_ordered(uri, holds, found, watch) }
    }

    /// Regexes first, then predicates, and what is nested in the one that is found.
    fn search_ordered<'a>(
        &'a self,
        uri: &Chunk,
        holds: &mut Holds<'_>,
        found: &mut Found<'a>,
        watch: &mut impl Watch,
    ) -> End {
        let first = self.regexes.first_match_watched(uri, |entry, matches| {
            watch.saw(entry.location, if matches { Match::Holds } else { Match::Fails });
        });
        if let Some((regex, captures, entry)) = first {
            found.location = Some(entry.location);
            found.captures = Some((regex, captures));
            entry.nested.search_ordered(uri, holds, found, watch);
            return End::Decided;
        }
        let mut asked = |entry: &&ByPredicate| {
            let held = holds(&entry.variable);
            watch.saw(entry.location, if held { Match::Holds } else { Match::Fails });
            held
        };
        let Some(entry) = self.predicates.iter().find(&mut asked) else {
            return End::Open;
        };
        found.location = Some(entry.location);
        entry.nested.search_ordered(uri, holds, found, watch);
        End::Decided
    }

    fn text(&self, at: Option<u32>) -> Option<&ByText> {
        self.by_text.get(at? as usize)
    }

    /// The location to redirect to, if either of those with the longer name wants it; nginx names the exact one.
    fn redirect(&self, with_slash: Ends) -> Option<LocationId> {
        let exact = self.text(with_slash.exact);
        let prefix = self.text(with_slash.prefix);
        let wanted = [exact, prefix].into_iter().flatten().any(|entry| entry.auto_redirect);
        exact.or(prefix).filter(|_| wanted).map(|entry| entry.location)
    }
}
