//! Tables of server names and of locations.

use proxy_core::buf::Chunk;
use proxy_core::config::{LocationId, LocationKind, ServerId};
use proxy_core::route::{
    Captures, LocationTree, LocationTreeBuilder, NameKind, Regex, ServerNames, ServerNamesBuilder,
};

use super::{table, unescape};

/// `N: NAME…` declares server N, `HOST => N` asks; `-` is the default server, `""` the empty host or name.
#[test]
fn hosts_find_their_server() {
    let mut builder = ServerNamesBuilder::default();
    let mut names: Option<ServerNames> = None;
    for line in table(include_str!("names.txt")) {
        if line.starts_with('[') {
            (builder, names) = (ServerNamesBuilder::default(), None);
        } else if let Some((host, expected)) = line.split_once(" => ") {
            let names = names.get_or_insert_with(|| std::mem::take(&mut builder).build());
            let host = Chunk::from_vec(host.trim_matches('"').as_bytes().to_vec());
            let found = names.find(&host).map_or("-".to_owned(), |(server, regex)| {
                server.0.to_string() + &show_captures(regex.map(|(_, captures)| captures).as_ref())
            });
            assert_eq!(found, expected, "{line}");
        } else {
            let (server, rest) = line.split_once(": ").expect(line);
            for name in rest.split(' ') {
                let (name, is_new) = name.strip_prefix('!').map_or((name, true), |name| (name, false));
                let added = builder.add(classify(name), ServerId(server.parse().unwrap()));
                assert_eq!(added, is_new, "{name} in {line}");
            }
        }
    }
}

fn classify(name: &str) -> NameKind {
    let bytes = |text: &str| text.as_bytes().into();
    if let Some(pattern) = name.strip_prefix('~') {
        NameKind::Regex(Regex::new(pattern, true).unwrap())
    } else if let Some(rest) = name.strip_prefix("*.") {
        NameKind::Suffix(bytes(rest))
    } else if let Some(rest) = name.strip_prefix('.') {
        NameKind::SuffixOrSelf(bytes(rest))
    } else if let Some(rest) = name.strip_suffix(".*") {
        NameKind::Prefix(bytes(rest))
    } else {
        NameKind::Exact(bytes(name.trim_matches('"')))
    }
}

/// Location blocks without a body but for nested ones; `auto` stands for `proxy_pass`. `? URI => LOCATION` asks.
#[test]
fn uris_find_their_location() {
    check_locations(include_str!("locations.txt"));
}

/// The same, of location sets that a generator made and nginx answered.
#[test]
fn uris_find_their_location_in_generated_sets() {
    check_locations(include_str!("locations_generated.txt"));
}

fn check_locations(text: &'static str) {
    let mut case = Vec::new();
    let mut built: Option<(LocationTree, Vec<String>)> = None;
    for line in table(text) {
        if line.starts_with("[set") {
            (case, built) = (Vec::new(), None);
        } else if let Some(question) = line.strip_prefix("? ") {
            let (tree, lines) = built.get_or_insert_with(|| {
                let mut lines = Vec::new();
                let tree = build(&mut case.drain(..), &mut lines);
                (tree, lines)
            });
            let (uri, expected) = question.split_once(" => ").expect(line);
            assert_eq!(ask(tree, lines, uri), expected, "{line} among {lines:?}");
        } else {
            case.push(line);
        }
    }
}

fn ask(tree: &LocationTree, lines: &[String], uri: &str) -> String {
    let uri = Chunk::from_vec(unescape(uri));
    let found = tree.find(&uri);
    let location = found.location.map_or("-", |id| lines[id.0 as usize].as_str());
    let slash = if found.add_slash.is_some() { " (add slash)" } else { "" };
    assert!(found.add_slash.is_none() || found.add_slash == found.location);
    location.to_owned() + slash + &show_captures(found.captures.map(|(_, captures)| captures).as_ref())
}

fn show_captures(captures: Option<&Captures>) -> String {
    let group = |n| Some(format!(" ${n}={}", captures?.group(n)?.escape_ascii()));
    (1..=9).filter_map(group).collect()
}

/// Builds one level up to its closing brace. `lines` gets each location's text at its id.
fn build(input: &mut dyn Iterator<Item = &'static str>, lines: &mut Vec<String>) -> LocationTree {
    let mut builder = LocationTreeBuilder::default();
    while let Some(line) = input.next().filter(|line| *line != "}") {
        let opens = line.strip_suffix(" {");
        let (text, auto) =
            opens.unwrap_or(line).strip_suffix(" auto").map_or((opens.unwrap_or(line), false), |t| (t, true));
        let id = LocationId(u32::try_from(lines.len()).unwrap());
        lines.push(text.to_owned());
        let nested = if opens.is_some() { build(input, lines) } else { LocationTree::default() };
        let (kind, pattern) = match text.split_once(' ') {
            Some(("=", pattern)) => (LocationKind::Exact, pattern),
            Some(("^~", pattern)) => (LocationKind::PrefixNoRegex, pattern),
            Some(("~", pattern)) => (LocationKind::Regex, pattern),
            Some(("~*", pattern)) => (LocationKind::RegexNoCase, pattern),
            _ => (LocationKind::Prefix, text),
        };
        if matches!(kind, LocationKind::Regex | LocationKind::RegexNoCase) {
            let regex = Regex::new(pattern, kind == LocationKind::RegexNoCase).unwrap();
            builder.add_regex(regex, id, nested).unwrap();
        } else {
            builder.add_text(kind, pattern.as_bytes(), id, auto, nested).unwrap();
        }
    }
    builder.build()
}

#[test]
fn a_second_location_of_the_same_name_names_the_first() {
    let mut builder = LocationTreeBuilder::default();
    let mut add = |kind, text: &str, id| {
        builder.add_text(kind, text.as_bytes(), LocationId(id), false, LocationTree::default())
    };
    assert_eq!(add(LocationKind::Prefix, "/a", 1), Ok(()));
    assert_eq!(add(LocationKind::Exact, "/a", 2), Ok(()));
    assert_eq!(add(LocationKind::PrefixNoRegex, "/a", 3), Err(LocationId(1)));
    assert_eq!(add(LocationKind::Exact, "/a", 4), Err(LocationId(2)));
    assert_eq!(add(LocationKind::Prefix, "/a/", 5), Ok(()));
}

/// `PATTERN` or `~*PATTERN`, then `TEXT => GROUPS`, or `-` where it does not match.
#[test]
fn patterns_mean_what_they_mean_in_pcre() {
    let mut regex = None;
    for line in table(include_str!("patterns.txt")) {
        if let Some((text, expected)) = line.split_once(" => ") {
            let regex: &Regex = regex.as_ref().expect(line);
            let subject = Chunk::from_vec(unescape(text));
            let captures = regex.captures(&subject);
            let whole =
                |c: &Captures| format!("{}{}", c.group(0).unwrap().escape_ascii(), show_captures(Some(c)));
            assert_eq!(captures.as_ref().map_or("-".to_owned(), whole), expected, "{line} with {regex:?}");
            assert_eq!(regex.is_match(&subject), captures.is_some());
        } else {
            let (pattern, no_case) = line.strip_prefix("~*").map_or((line, false), |pattern| (pattern, true));
            regex = Some(Regex::new(pattern, no_case).expect(line));
        }
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_words() {
    for pattern in ["(", "a)", "[a", "*a", r"a\", "(?<n>a)(?<n>b)", "(a{1000}){1000}{1000}", "(?<a"] {
        let words = Regex::new(pattern, false).map(|_| ()).expect_err(pattern);
        assert!(!words.is_empty());
    }
}

#[test]
fn a_backtracking_match_is_bounded() {
    let regex = Regex::new(r"^(?=(a|aa)+(a|aa)+(a|aa)+$)\1", false).unwrap();
    let text = vec![b'a'; 5_000].into_iter().chain(*b"b").collect::<Vec<_>>();
    assert!(!regex.is_match(&text));
}

#[test]
fn named_groups_are_listed() {
    for pattern in [r"(?<user>\w+)-(\d)(?P<id>.)", r"(?'user'\w++)-(\d)(?<id>.)"] {
        let regex = Regex::new(pattern, false).unwrap();
        assert_eq!(regex.names().collect::<Vec<_>>(), [(1, "user"), (3, "id")]);
        assert!(regex.has_groups());
    }
}

#[test]
fn a_config_may_be_shared_between_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<(LocationTree, ServerNames, Regex)>();
}
