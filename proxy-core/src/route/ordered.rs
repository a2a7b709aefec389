//! Patterns that are tried in order, the first match wins: for the price of one search however many there are.

use alloc::vec::Vec;

use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind, PatternID, PatternSet, meta};

use super::regex::{COMPILED_BYTES_MAX, syntax_config};
use super::{Captures, Regex};
use crate::buf::Chunk;

/// From how many patterns on one combined search is cheaper than trying them one by one.
const COMBINED_FROM: usize = 2;

/// Patterns in their order, each with what it stands for.
#[derive(Debug)]
pub(super) struct OrderedRegexes<T> {
    entries: Vec<(Regex, T)>,
    combined: Option<Combined>,
}

/// One automaton for all patterns that it can hold.
#[derive(Debug)]
struct Combined {
    regex: meta::Regex,
    /// Each entry's place in `regex`; none where only backtracking can match it.
    places: Vec<Option<PatternID>>,
}

impl<T> OrderedRegexes<T> {
    pub(super) fn new(entries: Vec<(Regex, T)>) -> Self {
        let combined = if entries.len() < COMBINED_FROM { None } else { Combined::new(&entries) };
        Self { entries, combined }
    }

    /// The first pattern that matches, with its captures: none at all, not even group 0, if it has no groups.
    pub(super) fn first_match(&self, subject: &Chunk) -> Option<(&Regex, Captures, &T)> {
        self.first_match_watched(subject, |_, _| {})
    }

    /// As [`first_match`](Self::first_match); `saw` is told of each pattern that is tried, and whether it matches.
    pub(super) fn first_match_watched(
        &self,
        subject: &Chunk,
        mut saw: impl FnMut(&T, bool),
    ) -> Option<(&Regex, Captures, &T)> {
        let hits = self.combined.as_ref().map(|combined| combined.hits(subject));
        self.entries.iter().enumerate().find_map(|(at, (regex, what))| {
            let hit = hits.as_ref().and_then(|hits| hits.contains(at));
            let captures = match (hit, regex.has_groups()) {
                (Some(false), _) => None,
                (Some(true), false) => Some(Captures::default()),
                (None, false) => regex.is_match(subject).then(Captures::default),
                (Some(true) | None, true) => regex.captures(subject),
            };
            saw(what, captures.is_some());
            Some((regex, captures?, what))
        })
    }
}

impl<T> Default for OrderedRegexes<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), combined: None }
    }
}

impl Combined {
    fn new<T>(entries: &[(Regex, T)]) -> Option<Self> {
        let mut parsed = Vec::new();
        let mut places = Vec::new();
        for (regex, _) in entries {
            let source = regex.linear_source();
            places.push(if source.is_some() { Some(PatternID::new(parsed.len()).ok()?) } else { None });
            if let Some((translated, no_case)) = source {
                parsed
                    .push(syntax::parse_with(&translated.pattern, &syntax_config(translated, no_case)).ok()?);
            }
        }
        let config = meta::Config::new()
            .match_kind(MatchKind::All)
            .which_captures(WhichCaptures::None)
            .utf8_empty(false)
            .nfa_size_limit(Some(COMPILED_BYTES_MAX));
        let regex = meta::Builder::new().configure(config).build_many_from_hir(&parsed).ok()?;
        Some(Self { regex, places })
    }

    fn hits(&self, subject: &[u8]) -> Hits<'_> {
        // Most requests match none, and then nothing is allocated.
        let which = self.regex.is_match(subject).then(|| {
            let mut which = PatternSet::new(self.regex.pattern_len());
            self.regex.which_overlapping_matches(&Input::new(subject), &mut which);
            which
        });
        Hits { places: &self.places, which }
    }
}

struct Hits<'a> {
    places: &'a [Option<PatternID>],
    which: Option<PatternSet>,
}

impl Hits<'_> {
    /// Whether the entry at this place matches; none if that is not known yet.
    fn contains(&self, at: usize) -> Option<bool> {
        let place = (*self.places.get(at)?)?;
        Some(self.which.as_ref().is_some_and(|which| which.contains(place)))
    }
}
