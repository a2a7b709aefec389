//! Regular expressions as nginx's users write them (PCRE), on bytes.
//!
//! Nearly every pattern runs on an engine whose time grows with the text alone. The few that need more (look-around,
//! backreferences, atomic groups, possessive quantifiers) run on a backtracking one with a bound on its steps.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use fancy_regex::BytesMode;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::util::syntax;
use regex_automata::{Input, PatternID, meta};
use smallvec::SmallVec;

use super::pcre::{self, Translated};
use crate::buf::Chunk;
use crate::config::SlotId;
use crate::http::Span;

/// How many steps a backtracking match may take; one that needs more counts as none.
const BACKTRACK_STEPS_MAX: usize = 100_000;

/// How large a compiled pattern may be, in bytes: `(a{1000}){1000}` is an error, not gigabytes.
pub(super) const COMPILED_BYTES_MAX: usize = 10 << 20;

/// A compiled pattern.
#[derive(Clone)]
pub struct Regex {
    inner: Arc<Inner>,
    /// Which variables the named groups set.
    slots: Arc<[(usize, SlotId)]>,
}

struct Inner {
    engine: Engine,
    /// As it stands in the configuration.
    written: Box<str>,
    translated: Translated,
    no_case: bool,
    /// With group 0.
    groups: usize,
    names: Vec<(usize, Box<str>)>,
}

enum Engine {
    Linear(meta::Regex),
    Backtracking(fancy_regex::Regex),
}

/// The captures of the last match: what was matched, shared, and where its groups lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    subject: Chunk,
    spans: SmallVec<[Option<Span>; 4]>,
}

impl Captures {
    /// Group `n`; group 0 is the whole match.
    #[must_use]
    pub fn group(&self, n: usize) -> Option<&[u8]> {
        let span = (*self.spans.get(n)?)?;
        Some(span.of(&self.subject))
    }
}

impl Regex {
    /// Compiles `pattern`; `no_case` is nginx's `~*`.
    ///
    /// # Errors
    /// The compiler's words, where the pattern is none.
    pub fn new(pattern: &str, no_case: bool) -> Result<Self, String> {
        let translated = pcre::translate(pattern);
        let engine = match linear(&translated, no_case) {
            Some(engine) => Engine::Linear(engine),
            None => Engine::Backtracking(backtracking(&translated, no_case)?),
        };
        let (groups, names) = match &engine {
            Engine::Linear(regex) => {
                (regex.group_info().all_group_len(), named(regex.group_info().pattern_names(PatternID::ZERO)))
            }
            Engine::Backtracking(regex) => (regex.captures_len(), named(regex.capture_names())),
        };
        let is_twice = |(at, (_, name)): (usize, &(usize, Box<str>))| {
            names.iter().skip(at + 1).any(|(_, other)| other == name)
        };
        if names.iter().enumerate().any(is_twice) {
            return Err("two named subpatterns have the same name".to_string());
        }
        let inner = Inner { engine, written: pattern.into(), translated, no_case, groups, names };
        Ok(Self { inner: Arc::new(inner), slots: Arc::default() })
    }

    /// The pattern as it stands in the configuration.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.inner.written
    }

    /// The same pattern, its named groups bound to the variables that `slot` knows under their names.
    #[must_use]
    pub fn bind(self, mut slot: impl FnMut(&str) -> Option<SlotId>) -> Self {
        let slots = self.names().filter_map(|(group, name)| Some((group, slot(name)?))).collect();
        Self { slots, ..self }
    }

    /// The groups that were bound, by number, with their variables.
    #[must_use]
    pub fn slots(&self) -> &[(usize, SlotId)] {
        &self.slots
    }

    /// Whether it matches anywhere in `text`.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        match &self.inner.engine {
            Engine::Linear(regex) => regex.is_match(text),
            Engine::Backtracking(regex) => regex.is_match(text).unwrap_or(false),
        }
    }

    /// The captures of the leftmost match in `subject`, whose memory they share.
    #[must_use]
    pub fn captures(&self, subject: &Chunk) -> Option<Captures> {
        let spans = match &self.inner.engine {
            Engine::Linear(regex) => {
                let mut slots: SmallVec<[Option<NonMaxUsize>; 20]> = SmallVec::new();
                slots.resize(2 * self.inner.groups, None);
                regex.search_slots(&Input::new(subject.as_slice()), &mut slots)?;
                slots
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|[start, end]| Some(span(start.as_ref()?.get(), end.as_ref()?.get())))
                    .collect()
            }
            Engine::Backtracking(regex) => {
                let found = regex.captures(subject.as_slice()).ok()??;
                let group = |n| found.get(n).map(|group| span(group.start(), group.end()));
                (0..found.len()).map(group).collect()
            }
        };
        Some(Captures { subject: subject.clone(), spans })
    }

    /// The named groups with their numbers.
    pub fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        self.inner.names.iter().map(|(n, name)| (*n, &**name))
    }

    /// How many groups there are beside group 0.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.inner.groups.saturating_sub(1)
    }

    /// Whether there are groups beside group 0. Where there are none, [`is_match`](Self::is_match) says it all.
    #[must_use]
    pub fn has_groups(&self) -> bool {
        self.inner.groups > 1
    }

    /// What a combined engine needs to match this pattern with others; none if only backtracking can.
    pub(super) fn linear_source(&self) -> Option<(&Translated, bool)> {
        match self.inner.engine {
            Engine::Linear(_) => Some((&self.inner.translated, self.inner.no_case)),
            Engine::Backtracking(_) => None,
        }
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tilde = if self.inner.no_case { "~*" } else { "~" };
        write!(f, "{tilde} {}", self.inner.translated.pattern)
    }
}

fn span(start: usize, end: usize) -> Span {
    let number = |n| u32::try_from(n).unwrap_or(u32::MAX);
    Span { start: number(start), len: number(end - start) }
}

fn named<'a>(names: impl Iterator<Item = Option<&'a str>>) -> Vec<(usize, Box<str>)> {
    names.enumerate().filter_map(|(n, name)| Some((n, name?.into()))).collect()
}

/// The syntax of a pattern for the linear engine.
pub(super) fn syntax_config(translated: &Translated, no_case: bool) -> syntax::Config {
    syntax::Config::new().unicode(translated.unicode).utf8(false).case_insensitive(no_case)
}

fn linear(translated: &Translated, no_case: bool) -> Option<meta::Regex> {
    if translated.backtracks {
        return None;
    }
    meta::Builder::new()
        .configure(meta::Config::new().utf8_empty(false).nfa_size_limit(Some(COMPILED_BYTES_MAX)))
        .syntax(syntax_config(translated, no_case))
        .build(&translated.pattern)
        .ok()
}

fn backtracking(translated: &Translated, no_case: bool) -> Result<fancy_regex::Regex, String> {
    let mode = if translated.unicode { BytesMode::Unicode } else { BytesMode::Ascii };
    fancy_regex::RegexBuilder::new(&translated.pattern)
        .bytes_mode(mode)
        .case_insensitive(no_case)
        .backtrack_limit(BACKTRACK_STEPS_MAX)
        .delegate_size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| error.to_string())
}
