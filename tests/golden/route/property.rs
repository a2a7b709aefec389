//! The fast location tree against nginx's rules spelled out, on generated location sets and URIs.

use proxy_core::buf::Chunk;
use proxy_core::config::{LocationId, LocationKind};
use proxy_core::route::{LocationTree, LocationTreeBuilder, Regex};

/// How many sets, and how many URIs each is asked for.
const SETS: u64 = 400;
const URIS: usize = 30;

#[test]
fn the_tree_agrees_with_the_rules() {
    for seed in 1..=SETS {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut next_id = 0;
        let level = Level::random(&mut random, &mut next_id, "", 2);
        let tree = level.build();
        for _ in 0..URIS {
            let uri = random.uri(6);
            let mut expected = (None, None);
            level.search(&uri, &mut expected);
            let found = tree.find(&Chunk::from_vec(uri.clone().into_bytes()));
            let got = (found.location.map(|id| id.0), found.add_slash.map(|id| id.0));
            assert_eq!(got, expected, "seed {seed}, {uri}, {level:#?}");
        }
    }
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % n
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn uri(&mut self, pieces: usize) -> String {
        let more = self.below(pieces);
        (0..more)
            .fold("/".to_owned(), |uri, _| uri + self.pick(&["a", "b", "ab", "/", "/", ".", "-", "\u{e9}"]))
    }
}

#[derive(Debug)]
struct Entry {
    kind: LocationKind,
    text: String,
    id: u32,
    auto_redirect: bool,
    nested: Level,
}

#[derive(Debug, Default)]
struct Level {
    entries: Vec<Entry>,
}

impl Level {
    fn random(random: &mut Random, next_id: &mut u32, inside: &str, depth: usize) -> Self {
        let mut level = Self::default();
        for _ in 0..random.below(8) {
            let kinds = [
                LocationKind::Exact,
                LocationKind::Prefix,
                LocationKind::Prefix,
                LocationKind::PrefixNoRegex,
            ];
            let mut kind = kinds[random.below(kinds.len())];
            let mut text = inside.to_owned() + &random.uri(4)[usize::from(!inside.is_empty())..];
            if random.below(3) == 0 {
                kind = LocationKind::Regex;
                text =
                    random.pick(&["b$", "^/a", "a.b", "/$", "(a)-?b", "^/(?!a)", "[.]", "ab|ba"]).to_owned();
            }
            let is_exact = kind == LocationKind::Exact;
            let taken = |e: &Entry| e.text == text && (e.kind == LocationKind::Exact) == is_exact;
            if kind != LocationKind::Regex && level.entries.iter().any(taken) {
                continue;
            }
            let id = *next_id;
            *next_id += 1;
            let may_nest = depth > 0 && !is_exact && random.below(3) == 0;
            let outer = if kind == LocationKind::Regex { "" } else { &*text };
            let nested =
                if may_nest { Self::random(random, next_id, outer, depth - 1) } else { Self::default() };
            let auto_redirect = kind != LocationKind::Regex && text.ends_with('/') && random.below(2) == 0;
            level.entries.push(Entry { kind, text, id, auto_redirect, nested });
        }
        level
    }

    fn build(&self) -> LocationTree {
        let mut builder = LocationTreeBuilder::default();
        for entry in &self.entries {
            let (id, nested) = (LocationId(entry.id), entry.nested.build());
            if entry.kind == LocationKind::Regex {
                builder.add_regex(Regex::new(&entry.text, false).unwrap(), id, nested).unwrap();
            } else {
                builder.add_text(entry.kind, entry.text.as_bytes(), id, entry.auto_redirect, nested).unwrap();
            }
        }
        builder.build()
    }

    /// nginx's search, without any thought of speed. `true` once it is decided.
    fn search(&self, uri: &str, found: &mut (Option<u32>, Option<u32>)) -> bool {
        let texts = || self.entries.iter().filter(|entry| entry.kind != LocationKind::Regex);
        let exact = |text: &str| texts().find(|e| e.kind == LocationKind::Exact && e.text == text);
        let prefix = |text: &str| texts().find(|e| e.kind != LocationKind::Exact && e.text == text);
        if let Some(entry) = exact(uri) {
            found.0 = Some(entry.id);
            return true;
        }
        let longer = format!("{uri}/");
        let candidates = [exact(&longer), prefix(&longer)];
        if prefix(uri).is_none() && candidates.iter().flatten().any(|entry| entry.auto_redirect) {
            let id = candidates.iter().flatten().next().map(|entry| entry.id);
            *found = (id, id);
            return true;
        }
        let prefixes = texts().filter(|e| e.kind != LocationKind::Exact && uri.starts_with(&e.text));
        let longest = prefixes.max_by_key(|entry| entry.text.len());
        if let Some(entry) = longest {
            found.0 = Some(entry.id);
            if entry.nested.search(uri, found) {
                return true;
            }
        }
        if longest.is_some_and(|entry| entry.kind == LocationKind::PrefixNoRegex) {
            return false;
        }
        self.search_regexes(uri, found)
    }

    fn search_regexes(&self, uri: &str, found: &mut (Option<u32>, Option<u32>)) -> bool {
        let mut regexes = self.entries.iter().filter(|entry| entry.kind == LocationKind::Regex);
        let Some(entry) = regexes.find(|e| Regex::new(&e.text, false).unwrap().is_match(uri.as_bytes()))
        else {
            return false;
        };
        found.0 = Some(entry.id);
        entry.nested.search_regexes(uri, found);
        true
    }
}
