//! Patterns that are tried in order, the first match wins: for the price of one search however many there are.
//!
//! A [`Sieve`] holds back what cannot match for want of a literal. Patterns without one are looked for by one automaton
//! together.

use alloc::vec::Vec;

use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind, PatternID, PatternSet, meta};

use super::regex::{COMPILED_BYTES_MAX, syntax_config};
use super::sieve::{Sieve, Verdict};
use super::{Captures, Regex};
use crate::buf::Chunk;

/// From how many patterns on one combined search is cheaper than trying them one by one.
const COMBINED_FROM: usize = 2;

/// Patterns in their order, each with what it stands for.
#[derive(Debug)]
pub(super) struct OrderedRegexes<T> {
    entries: Vec<(Regex, T)>,
    sieve: Option<Sieve>,
    combined: Option<Combined>,
}

/// One automaton for the patterns that the sieve knows nothing of.
#[derive(Debug)]
struct Combined {
    regex: meta::Regex,
    /// Each entry's place in `regex`; none where the sieve knows it, or only backtracking can match it.
    places: Vec<Option<PatternID>>,
}

impl<T> OrderedRegexes<T> {
    pub(super) fn new(entries: Vec<(Regex, T)>) -> Self {
        let sieve = Sieve::new(entries.iter().map(|(regex, _)| regex));
        let combined =
            Combined::new(&entries, |at| sieve.as_ref().is_none_or(|sieve| sieve.knows_nothing_of(at)));
        Self { entries, sieve, combined }
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
        let passed = self.sieve.as_ref().map(|sieve| sieve.pass(subject));
        if matches!(passed, Some(None)) {
            self.entries.iter().for_each(|(_, what)| saw(what, false));
            return None;
        }
        let passed = passed.flatten();
        let mut hits = None;
        self.entries.iter().enumerate().find_map(|(at, (regex, what))| {
            let hit = match passed.as_ref().map_or(Verdict::Maybe, |passed| passed.verdict(at)) {
                Verdict::No => Some(false),
                Verdict::Yes => Some(true),
                Verdict::Maybe => self.combined.as_ref().and_then(|combined| {
                    let place = combined.place(at)?;
                    Some(hits.get_or_insert_with(|| combined.hits(subject)).contains(place))
                }),
            };
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
        Self { entries: Vec::new(), sieve: None, combined: None }
    }
}

impl Combined {
    fn new<T>(entries: &[(Regex, T)], wants: impl Fn(usize) -> bool) -> Option<Self> {
        let mut parsed = Vec::new();
        let mut places = Vec::new();
        for (at, (regex, _)) in entries.iter().enumerate() {
            let source = regex.linear_source().filter(|_| wants(at));
            places.push(if source.is_some() { Some(PatternID::new(parsed.len()).ok()?) } else { None });
            if let Some((translated, no_case)) = source {
                parsed
                    .push(syntax::parse_with(&translated.pattern, &syntax_config(translated, no_case)).ok()?);
            }
        }
        if parsed.len() < COMBINED_FROM {
            return None;
        }
        let config = meta::Config::new()
            .match_kind(MatchKind::All)
            .which_captures(WhichCaptures::None)
            .utf8_empty(false)
            .nfa_size_limit(Some(COMPILED_BYTES_MAX));
        let regex = meta::Builder::new().configure(config).build_many_from_hir(&parsed).ok()?;
        Some(Self { regex, places })
    }

    /// Where in the automaton the entry at this place is.
    fn place(&self, at: usize) -> Option<PatternID> {
        *self.places.get(at)?
    }

    fn hits(&self, subject: &[u8]) -> Hits {
        // Most requests match none, and then nothing is allocated.
        Hits(self.regex.is_match(subject).then(|| {
            let mut which = PatternSet::new(self.regex.pattern_len());
            self.regex.which_overlapping_matches(&Input::new(subject), &mut which);
            which
        }))
    }
}

/// The patterns of the automaton that match.
struct Hits(Option<PatternSet>);

impl Hits {
    fn contains(&self, place: PatternID) -> bool {
        self.0.as_ref().is_some_and(|which| which.contains(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind of literal that the sieve may find, and patterns without one, with and without groups.
    const PATTERNS: [(&str, bool); 26] = [
        (r"\.php$", false),
        (r"\.php$", true),
        (r"\.(?:png|jpe?g)$", true),
        (r"\.(gif|ico)$", false),
        (r"^/users/\d+$", false),
        (r"^/users/(\d+)/(?<rest>.*)$", false),
        (r"^/api", false),
        (r"/admin", true),
        (r"^/[a-z]+$", false),
        (r"^/[a-z]+/x$", false),
        (r"\d\d\d", false),
        (r"^/(en|de)/", false),
        (r"(?i)\.asp$", false),
        (r"\.x$|\.yy$", false),
        (r"(?:\.x$|\.zz)$", false),
        (r"^/same$", false),
        (r"^(?!/no).*\.php$", false),
        (r"\.php\b", false),
        (r"(?m)^/line$", false),
        (r"^", false),
        (r"$", false),
        (r"a{3,}b$", false),
        (r"[^/]+\.(?:js|css)$", false),
        (r"(*UTF8)\.\x{e9}$", true),
        (r"(*UTF8)^/caf\x{e9}", false),
        (r"\.K$", true),
    ];

    const TEXTS: [&str; 36] = [
        "",
        "/",
        "/a.php",
        "/a.PHP",
        "/a.php/",
        "/a.php\n",
        "/a.php\n\n",
        "/a.phpx",
        "/no.php",
        "/x.jpeg",
        "/x.JPG",
        "/x.png?",
        "/x.gif",
        "/x.ico\n",
        "/users/12",
        "/users/12/",
        "/users/12/a",
        "/xusers/12",
        "/users/",
        "/api",
        "/apix",
        "/v/api",
        "/x/ADMIN/",
        "/abc",
        "/abc/x",
        "/1234",
        "/de/",
        "/x/de/",
        "/a.Asp",
        "/q.x",
        "/q.yy\n",
        "/q.zz\n\n",
        "/same",
        "/x\n/line\n",
        "/aaaab",
        "/s/main.css.k",
    ];

    #[test]
    fn the_first_that_matches_alone_is_the_first_that_matches_among_many() {
        let regex = |(pattern, no_case): (&str, bool)| Regex::new(pattern, no_case).expect(pattern);
        // Each pattern is the first once.
        for first in 0..PATTERNS.len() {
            let order: Vec<_> = PATTERNS.iter().cycle().skip(first).take(PATTERNS.len()).copied().collect();
            let many = OrderedRegexes::new(order.iter().map(|own| (regex(*own), *own)).collect());
            for text in TEXTS.iter().chain(&["/x.\u{e9}", "/x.\u{c9}", "/caf\u{e9}s"]) {
                let text = Chunk::from_vec(text.as_bytes().to_vec());
                let alone = order.iter().find(|own| regex(**own).is_match(&text));
                let found = many.first_match(&text);
                assert_eq!(found.as_ref().map(|(_, _, own)| *own), alone, "{}", text.escape_ascii());
                if let Some((regex, captures, _)) = found {
                    let expected = if regex.has_groups() { regex.captures(&text) } else { None };
                    assert_eq!(captures, expected.unwrap_or_default());
                }
            }
        }
    }

    #[test]
    fn a_text_without_any_of_the_literals_tries_nothing() {
        let regexes = [r"\.php$", r"\.(png|jpe?g)$", r"^/users/\d+"].map(|pattern| Regex::new(pattern, true));
        let regexes: Vec<_> = regexes.into_iter().map(|regex| (regex.expect("a pattern"), ())).collect();
        let sieve = Sieve::new(regexes.iter().map(|(regex, ())| regex)).expect("each has literals");
        let verdicts = |text: &str| {
            let passed = sieve.pass(text.as_bytes())?;
            Some([0, 1, 2].map(|at| passed.verdict(at)))
        };
        use Verdict::{Maybe, No, Yes};
        for text in ["/", "/php", "/a.php/", "/x/users/", "/a.png/b", "/users/me"] {
            assert_eq!(verdicts(text), None, "{text}");
        }
        assert_eq!(verdicts("/a.PhP"), Some([Yes, No, No]));
        assert_eq!(verdicts("/users/7.jpeg"), Some([No, Maybe, Maybe]));
    }
}
