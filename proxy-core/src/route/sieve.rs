//! Which of many patterns may match, told by one pass over the text.
//!
//! Nearly every pattern that a site has demands some literal text: `\.(png|jpe?g)$` one of three endings, `^/users/\d+` a
//! beginning. One automaton looks for the literals of all patterns at once, without memory of its own and without a lock;
//! where none occurs, none of the patterns is tried. A pattern that is nothing but the ending of a text (`\.php$`) is
//! decided by that alone.

use alloc::vec::Vec;

use aho_corasick::AhoCorasick;
use regex_automata::util::syntax;
use regex_syntax::hir::literal::{ExtractKind, Extractor, Seq};
use regex_syntax::hir::{Hir, HirKind, Look};
use smallvec::SmallVec;

use super::Regex;
use super::regex::syntax_config;

/// How many literals one pattern may have: more say little and cost much.
const LITERALS_MAX: usize = 64;
/// The shortest literal that tells texts apart, in bytes: every URI has a slash.
const LITERAL_BYTES_MIN: usize = 2;

/// The literals of many patterns.
#[derive(Debug)]
pub(super) struct Sieve {
    automaton: AhoCorasick,
    /// Whose each literal is, by its number in the automaton.
    literals: Vec<Literal>,
    /// The patterns that have no literal: they may always match.
    always: Marks,
}

#[derive(Debug)]
struct Literal {
    bytes: Vec<u8>,
    pattern: usize,
    at_start: bool,
    at_end: bool,
    /// Nothing else is to be looked for.
    decides: bool,
    no_case: bool,
}

/// What is demanded by one pattern.
struct Demand {
    literals: Vec<Vec<u8>>,
    at_start: bool,
    at_end: bool,
    decides: bool,
}

/// Marks on patterns, by their numbers. Those of 256 patterns fit without an allocation.
#[derive(Clone, Debug, Default)]
struct Marks(SmallVec<[u64; 4]>);

/// What a text has passed.
#[derive(Debug)]
pub(super) struct Passed {
    may: Marks,
    does: Marks,
}

/// Whether a pattern matches, as far as its literals tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It does not.
    No,
    /// It has to be tried.
    Maybe,
    /// It does.
    Yes,
}

impl Sieve {
    /// The sieve of these patterns; none where it would hold nothing back.
    pub(super) fn new<'a>(patterns: impl ExactSizeIterator<Item = &'a Regex>) -> Option<Self> {
        let mut always = Marks::of(patterns.len());
        let mut literals: Vec<Literal> = Vec::new();
        for (pattern, regex) in patterns.enumerate() {
            let Some((demand, no_case)) = demand(regex) else {
                always.set(pattern);
                continue;
            };
            let Demand { at_start, at_end, decides, .. } = demand;
            let whole = demand.literals.into_iter();
            literals.extend(whole.map(|bytes| Literal {
                bytes,
                pattern,
                at_start,
                at_end,
                decides,
                no_case,
            }));
        }
        if literals.is_empty() {
            return None;
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(literals.iter().any(|literal| literal.no_case))
            .build(literals.iter().map(|literal| &*literal.bytes))
            .ok()?;
        Some(Self { automaton, literals, always })
    }

    /// Whether it knows nothing of a pattern.
    pub(super) fn knows_nothing_of(&self, pattern: usize) -> bool {
        self.always.has(pattern)
    }

    /// What may match `text`; none if nothing may.
    pub(super) fn pass(&self, text: &[u8]) -> Option<Passed> {
        let mut passed: Option<Passed> = None;
        for found in self.automaton.find_overlapping_iter(text) {
            let Some(literal) = self.literals.get(found.pattern().as_usize()) else { continue };
            let off_end = literal.at_end && found.end() != text.len();
            let off_start = literal.at_start && found.start() != 0;
            let same = || text.get(found.range()) == Some(&*literal.bytes);
            if off_end || off_start || (!literal.no_case && !same()) {
                continue;
            }
            let passed = passed.get_or_insert_with(|| self.nothing_found());
            if literal.decides { &mut passed.does } else { &mut passed.may }.set(literal.pattern);
        }
        passed.or_else(|| (!self.always.is_empty()).then(|| self.nothing_found()))
    }

    fn nothing_found(&self) -> Passed {
        Passed { may: self.always.clone(), does: Marks(SmallVec::from_elem(0, self.always.0.len())) }
    }
}

impl Passed {
    /// What is known of this pattern.
    pub(super) fn verdict(&self, pattern: usize) -> Verdict {
        match (self.does.has(pattern), self.may.has(pattern)) {
            (true, _) => Verdict::Yes,
            (false, true) => Verdict::Maybe,
            (false, false) => Verdict::No,
        }
    }
}

impl Marks {
    fn of(patterns: usize) -> Self {
        Self(SmallVec::from_elem(0, patterns.div_ceil(64)))
    }

    fn set(&mut self, pattern: usize) {
        if let Some(word) = self.0.get_mut(pattern / 64) {
            *word |= 1 << (pattern % 64);
        }
    }

    fn has(&self, pattern: usize) -> bool {
        self.0.get(pattern / 64).is_some_and(|word| word >> (pattern % 64) & 1 == 1)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

/// The literals of which each match has one, and whether case does not matter.
fn demand(regex: &Regex) -> Option<(Demand, bool)> {
    let (translated, no_case) = regex.linear_source()?;
    if no_case && translated.unicode {
        // A letter may have another case outside of ASCII.
        return None;
    }
    let pattern = &translated.pattern;
    let hir = syntax::parse_with(pattern, &syntax_config(translated, false)).ok()?;
    let looks = hir.properties();
    let at_start = looks.look_set_prefix().contains(Look::Start);
    let at_end = looks.look_set_suffix().contains(Look::End);
    let bare = is_text_and_end(&hir) && !regex.has_groups();
    let prefixes = literals(&hir, ExtractKind::Prefix);
    let suffixes = literals(&hir, ExtractKind::Suffix);
    let shortest = |seq: &Option<Seq>| seq.as_ref().and_then(Seq::min_literal_len).unwrap_or(0);
    let demand = if shortest(&suffixes) >= shortest(&prefixes) {
        let seq = suffixes?;
        let decides = bare && seq.is_exact();
        Demand { literals: bytes(&seq), at_start: false, at_end, decides }
    } else {
        Demand { literals: bytes(&prefixes?), at_start, at_end: false, decides: false }
    };
    Some((demand, no_case))
}

/// Whether the end of the text is asked for, last, and beside that nothing but what stands there.
fn is_text_and_end(hir: &Hir) -> bool {
    let HirKind::Concat(parts) = hir.kind() else { return false };
    let Some((last, rest)) = parts.split_last() else { return false };
    *last.kind() == HirKind::Look(Look::End)
        && rest.iter().all(|part| part.properties().look_set().is_empty())
}

/// The literals that each match begins or ends with, if they are few and tell something.
fn literals(hir: &Hir, kind: ExtractKind) -> Option<Seq> {
    let mut extractor = Extractor::new();
    extractor.kind(kind).limit_total(LITERALS_MAX);
    let seq = extractor.extract(hir);
    let useful = seq.min_literal_len().is_some_and(|least| least >= LITERAL_BYTES_MIN);
    (useful && seq.is_finite()).then_some(seq)
}

fn bytes(seq: &Seq) -> Vec<Vec<u8>> {
    seq.literals().unwrap_or_default().iter().map(|literal| literal.as_bytes().to_vec()).collect()
}
