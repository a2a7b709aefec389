//! Targets and hosts; locations and server names against the rules spelled out.
//!
//! The control byte: 0 and 1 take the rest as a target (1 merges slashes), 2 as locations and 3 as server names, in
//! the words of `tests/golden/route/*.txt`: declarations line by line, and `? …` asks.

use proxy_core::buf::Chunk;
use proxy_core::config::{LocationId, LocationKind, ServerId};
use proxy_core::http::{Host, Span};
use proxy_core::route::{
    LocationTree, LocationTreeBuilder, NameKind, Normalised, Regex, ServerNamesBuilder, escape_args,
    escape_refresh, escape_uri, normalise,
};

/// Longer patterns are left to the `conf` target.
const PATTERN_BYTES_MAX: usize = 40;
/// So many declarations of one input are taken.
const DECLARATIONS_MAX: usize = 40;

/// See the module.
pub fn run(input: &[u8]) {
    let Some((control, bytes)) = input.split_first() else { return };
    match control % 4 {
        2 => locations(&String::from_utf8_lossy(bytes)),
        3 => names(&String::from_utf8_lossy(bytes)),
        merge => {
            target(bytes, merge == 1);
            host(bytes);
            escapes(bytes);
        }
    }
}

fn target(bytes: &[u8], merge_slashes: bool) {
    let target = Chunk::from_vec(bytes.to_vec());
    let Ok(normalised) = normalise(&target, merge_slashes) else { return };
    check_path(&normalised, merge_slashes);
    assert!(normalised.path.len() <= target.len() + 1);
    if normalised.unchanged {
        assert!(target.windows(normalised.path.len()).any(|part| *part == *normalised.path));
    }
    if normalised.path.as_slice() == b"*" {
        return;
    }
    // What is sent on escaped means the same to whoever normalises it next; and a second look changes nothing.
    let mut escaped = Vec::new();
    escape_uri(&normalised.path, &mut escaped);
    let again = normalise(&Chunk::from_vec(escaped.clone()), merge_slashes).expect("an escaped path");
    assert_eq!(again.path, normalised.path, "escaped: {:?}", escaped.escape_ascii().to_string());
    assert!(!again.has_args_mark);
    if normalised.raw_is_valid {
        let raw = normalise(&normalised.raw, merge_slashes).expect("what was sent");
        assert_eq!((raw.path, raw.args), (normalised.path.clone(), normalised.args.clone()));
    }
}

fn check_path(normalised: &Normalised, merge_slashes: bool) {
    let path = normalised.path.as_slice();
    assert!(path.first() == Some(&b'/') || path == b"*");
    assert!(!path.contains(&0), "a NUL in a path");
    assert!(!merge_slashes || !path.windows(2).any(|two| two == b"//"));
    let mut segments = path.split(|byte| *byte == b'/');
    assert!(!segments.any(|segment| matches!(segment, b"." | b"..")), "{:?}", normalised.path);
    let clean = |bytes: &[u8]| !bytes.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f | b'#'));
    assert!(clean(&normalised.args) && clean(&normalised.raw));
    assert!(normalised.has_args_mark || normalised.args.is_empty());
    assert!(!normalised.raw_is_valid || normalised.raw.first() == Some(&b'/') || path == b"*");
    if let Some(absolute) = &normalised.absolute {
        assert!(!absolute.scheme.is_empty() && !absolute.authority.is_empty());
    }
}

fn host(bytes: &[u8]) {
    let head = Chunk::from_vec(bytes.to_vec());
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let Some(host) = Host::parse(&head, Span { start: 0, len }) else { return };
    let name = host.name.as_slice();
    assert!(!name.is_empty() && !name.ends_with(b"."));
    assert!(
        !name.iter().any(|byte| matches!(byte, 0..=b' ' | b'/' | b'?' | b'#' | b'@' | b',' | b'A'..=b'Z'))
    );
    let whole = Span { start: 0, len: host.name.len() as u32 };
    let again = Host::parse(&host.name, whole).expect("a host's name is a host");
    assert_eq!((again.name, again.port), (host.name.clone(), None));
}

fn escapes(bytes: &[u8]) {
    for escape in [escape_uri, escape_args, escape_refresh] {
        let mut out = Vec::new();
        escape(bytes, &mut out);
        assert!(out.iter().all(|byte| byte.is_ascii_graphic()));
        assert!((bytes.len()..=3 * bytes.len()).contains(&out.len()));
    }
    let mut out = Vec::new();
    escape_args(bytes, &mut out);
    assert_eq!(unescape(&out), bytes);
}

fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        if *byte == b'%' {
            let digits = std::str::from_utf8(&tail[..2]).unwrap();
            out.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &tail[2..];
        } else {
            out.push(*byte);
            rest = tail;
        }
    }
    out
}

struct Entry {
    kind: LocationKind,
    text: Vec<u8>,
    regex: Option<Regex>,
    id: u32,
    auto_redirect: bool,
    nested: Vec<Self>,
}

impl Entry {
    fn has_text(&self, text: &[u8], exact: bool) -> bool {
        self.regex.is_none() && (self.kind == LocationKind::Exact) == exact && self.text == text
    }
}

fn locations(text: &str) {
    let mut lines = text.lines().filter(|line| !line.starts_with('?')).take(DECLARATIONS_MAX);
    let mut next_id = 0;
    let level = read_level(&mut lines, &mut next_id, 0);
    let tree = build(&level);
    for uri in text.lines().filter_map(|line| line.strip_prefix("? ")) {
        let found = tree.find(&Chunk::from_vec(uri.as_bytes().to_vec()));
        let got = (found.location.map(|id| id.0), found.add_slash.map(|id| id.0));
        let mut expected = (None, None);
        search(&level, uri.as_bytes(), &mut expected);
        assert_eq!(got, expected, "{uri:?} among\n{text}");
    }
}

/// One level, up to its closing brace.
fn read_level(lines: &mut dyn Iterator<Item = &str>, next_id: &mut u32, depth: usize) -> Vec<Entry> {
    let mut level: Vec<Entry> = Vec::new();
    while let Some(line) = lines.next().filter(|line| *line != "}") {
        let opens = line.strip_suffix(" {");
        let line = opens.unwrap_or(line);
        let (line, auto_redirect) = line.strip_suffix(" auto").map_or((line, false), |line| (line, true));
        let nested =
            if opens.is_some() && depth < 4 { read_level(lines, next_id, depth + 1) } else { Vec::new() };
        let (kind, pattern) = match line.split_once(' ') {
            Some(("=", pattern)) => (LocationKind::Exact, pattern),
            Some(("^~", pattern)) => (LocationKind::PrefixNoRegex, pattern),
            Some(("~", pattern)) => (LocationKind::Regex, pattern),
            Some(("~*", pattern)) => (LocationKind::RegexNoCase, pattern),
            _ => (LocationKind::Prefix, line),
        };
        let is_regex = matches!(kind, LocationKind::Regex | LocationKind::RegexNoCase);
        let short = is_regex && pattern.len() <= PATTERN_BYTES_MAX;
        let regex = short.then(|| Regex::new(pattern, kind == LocationKind::RegexNoCase).ok()).flatten();
        let taken = level.iter().any(|e| e.has_text(pattern.as_bytes(), kind == LocationKind::Exact));
        if is_regex && regex.is_none() || !is_regex && taken {
            continue;
        }
        let (id, text) = (*next_id, pattern.as_bytes().to_vec());
        *next_id += 1;
        level.push(Entry { kind, text, regex, id, auto_redirect, nested });
    }
    level
}

fn build(level: &[Entry]) -> LocationTree {
    let mut builder = LocationTreeBuilder::default();
    for entry in level {
        let (id, nested) = (LocationId(entry.id), build(&entry.nested));
        match &entry.regex {
            Some(regex) => builder.add_regex(regex.clone(), id, nested).unwrap(),
            None => {
                builder.add_text(entry.kind, &entry.text, id, entry.auto_redirect, nested).unwrap();
            }
        }
    }
    builder.build()
}

/// nginx's search, without any thought of speed. `true` once it is decided.
fn search(level: &[Entry], uri: &[u8], found: &mut (Option<u32>, Option<u32>)) -> bool {
    let text = |text: &[u8], exact| level.iter().find(|entry| entry.has_text(text, exact));
    if let Some(entry) = text(uri, true) {
        found.0 = Some(entry.id);
        return true;
    }
    let longer = [uri, b"/"].concat();
    let candidates = [text(&longer, true), text(&longer, false)];
    if text(uri, false).is_none() && candidates.iter().flatten().any(|entry| entry.auto_redirect) {
        let id = candidates.iter().flatten().next().map(|entry| entry.id);
        *found = (id, id);
        return true;
    }
    let is_prefix =
        |e: &&Entry| e.regex.is_none() && e.kind != LocationKind::Exact && uri.starts_with(&e.text);
    let longest = level.iter().filter(is_prefix).max_by_key(|entry| entry.text.len());
    if let Some(entry) = longest {
        found.0 = Some(entry.id);
        if search(&entry.nested, uri, found) {
            return true;
        }
    }
    longest.is_none_or(|entry| entry.kind != LocationKind::PrefixNoRegex) && search_regexes(level, uri, found)
}

fn search_regexes(level: &[Entry], uri: &[u8], found: &mut (Option<u32>, Option<u32>)) -> bool {
    let matches = |entry: &&Entry| entry.regex.as_ref().is_some_and(|regex| regex.is_match(uri));
    let Some(entry) = level.iter().find(matches) else { return false };
    found.0 = Some(entry.id);
    search_regexes(&entry.nested, uri, found);
    true
}

/// `N: NAME…` declares server N; the names are those that a configuration's check lets through.
fn names(text: &str) {
    let mut builder = ServerNamesBuilder::default();
    let mut taken: Vec<(NameKind, u32)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('?')).take(DECLARATIONS_MAX) {
        let Some((server, rest)) = line.split_once(": ") else { continue };
        let Ok(server) = server.parse() else { continue };
        for name in rest.split(' ').take(DECLARATIONS_MAX) {
            let Some(kind) = classify(name) else { continue };
            if builder.add(kind.clone(), ServerId(server)) {
                taken.push((kind, server));
            }
        }
    }
    let names = builder.build();
    for host in text.lines().filter_map(|line| line.strip_prefix("? ")) {
        let host = host.to_ascii_lowercase();
        let found = names.find(&Chunk::from_vec(host.as_bytes().to_vec())).map(|(server, _)| server.0);
        assert_eq!(found, ask(&taken, host.as_bytes()), "{host:?} among\n{text}");
    }
}

fn classify(name: &str) -> Option<NameKind> {
    let name = name.trim_start_matches('!').trim_matches('"').to_ascii_lowercase();
    if let Some(pattern) = name.strip_prefix('~') {
        let short = pattern.len() <= PATTERN_BYTES_MAX;
        return short.then(|| Regex::new(pattern, true).ok()).flatten().map(NameKind::Regex);
    }
    let text = |text: &str| -> Option<Box<[u8]>> { (!text.is_empty()).then(|| text.as_bytes().into()) };
    if let Some(rest) = name.strip_prefix("*.") {
        text(rest).map(NameKind::Suffix)
    } else if let Some(rest) = name.strip_prefix('.') {
        text(rest).map(NameKind::SuffixOrSelf)
    } else if let Some(rest) = name.strip_suffix(".*") {
        text(rest).map(NameKind::Prefix)
    } else {
        Some(NameKind::Exact(name.into_bytes().into()))
    }
}

/// The exact name, the longest name at the end, the longest at the beginning, the first regex.
fn ask(taken: &[(NameKind, u32)], host: &[u8]) -> Option<u32> {
    let longest = |of: fn(&NameKind, &[u8]) -> Option<usize>| {
        let fits = taken.iter().filter_map(|(kind, server)| Some((of(kind, host)?, *server)));
        fits.max_by_key(|(len, _)| *len).map(|(_, server)| server)
    };
    let exact = longest(|kind, host| match kind {
        NameKind::Exact(name) | NameKind::SuffixOrSelf(name) => (**name == *host).then_some(0),
        NameKind::Suffix(_) | NameKind::Prefix(_) | NameKind::Regex(_) => None,
    });
    let suffix = || {
        longest(|kind, host| match kind {
            NameKind::Suffix(name) | NameKind::SuffixOrSelf(name) => {
                host.strip_suffix(&**name)?.ends_with(b".").then_some(name.len())
            }
            NameKind::Exact(_) | NameKind::Prefix(_) | NameKind::Regex(_) => None,
        })
    };
    let prefix = || {
        longest(|kind, host| match kind {
            NameKind::Prefix(name) => host.strip_prefix(&**name)?.starts_with(b".").then_some(name.len()),
            NameKind::Exact(_) | NameKind::Suffix(_) | NameKind::SuffixOrSelf(_) | NameKind::Regex(_) => None,
        })
    };
    let by_regex = || {
        let matches = |kind: &NameKind| matches!(kind, NameKind::Regex(regex) if regex.is_match(host));
        taken.iter().find(|(kind, _)| !host.is_empty() && matches(kind)).map(|(_, server)| *server)
    };
    exact.or_else(suffix).or_else(prefix).or_else(by_regex)
}
