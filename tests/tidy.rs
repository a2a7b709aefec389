//! What lints cannot check: the sizes, names and shapes of the tree itself.
//!
//! Each test walks the sources below the workspace's root and lists every offence at once, with its place, so that one
//! run tells everything. The limits are STYLE's: nobody is to learn them from a review.
//!
//! The conventions that this file enforces on others:
//! - a golden file `tests/golden/NAME/…` is run by a source below `tests/golden/NAME`, by `tests/golden/NAME.rs` or by
//!   `PACKAGE/tests/NAME.rs`: one of them names the file, or else the directory `golden/NAME` and the extension;
//! - the README holds one fenced block that begins with `proxy-core/` and lists folders, one a line, each name with a
//!   slash at its end, indented names below the name above them.

#![allow(clippy::indexing_slicing, clippy::nonminimal_bool, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// No source file has more lines than this, blank ones aside.
const FILE_LINES_MAX: usize = 600;
/// Half of a crate's files have no more lines than this, blank ones aside.
const MEDIAN_FILE_LINES_MAX: usize = 220;

const CRATES: [&str; 3] = ["proxy-core", "proxy-io", "proxy-bin"];

/// What the core must not name, because it could then reach past its arguments.
const BANNED_IN_CORE: &[&str] =
    &["std::", "extern crate std", "Instant::now", "SystemTime", "println!", "unsafe"];

/// Whom each package must not know, in either kind of dependency.
const BANNED_DEPENDENCIES: &[(&str, &[&str])] = &[
    (
        "proxy-core",
        &["proxy-io", "ringgate", "monoio", "socket2", "libc", "io-uring", "core_affinity", "tokio", "mio"],
    ),
    ("proxy-io", &["ringgate", "httparse", "hpack", "regex", "fancy-regex", "rustls"]),
    ("proxy-bin", &["httparse", "monoio", "io-uring", "socket2"]),
];

/// Hosts that no manifest or script may name, written in two halves so that this file does not name them either.
const BANNED_HOSTS: &[(&str, &str)] = &[
    ("crates", ".io"),
    ("github", ".com"),
    ("githubusercontent", ".com"),
    ("gitlab", ".com"),
    ("codeberg", ".org"),
    ("npmjs", ".org"),
    ("pypi", ".org"),
    ("proxy.golang", ".org"),
];

#[test]
fn no_file_is_too_long() {
    let offences = sources("").into_iter().filter_map(|source| {
        let lines = source.lines();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines, at most {FILE_LINES_MAX}", source.name))
    });
    report(offences);
}

#[test]
fn the_median_file_is_short() {
    let offences = CRATES.iter().filter_map(|package| {
        let mut sizes: Vec<usize> = sources(&format!("{package}/src")).iter().map(Source::lines).collect();
        sizes.sort_unstable();
        let median = *sizes.get(sizes.len() / 2)?;
        (median > MEDIAN_FILE_LINES_MAX)
            .then(|| format!("{package}: median {median} lines, at most {MEDIAN_FILE_LINES_MAX}"))
    });
    report(offences);
}

#[test]
fn every_module_opens_by_teaching() {
    let offences = sources("").into_iter().filter_map(|source| {
        let first = source.text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!"));
        let taught = first.is_some_and(|line| line.strip_prefix("//! ").is_some_and(|text| text.len() > 10));
        (!taught).then(|| format!("{}: does not open with a `//!` sentence", source.name))
    });
    report(offences);
}

#[test]
fn the_core_names_nothing_that_it_must_not_know() {
    report(sources("proxy-core/src").iter().flat_map(|source| source.find(BANNED_IN_CORE)));
}

#[test]
fn nothing_is_left_to_be_done() {
    let unfinished = ["todo!", "unimplemented!"];
    let sources = sources("").into_iter().filter(|source| !source.name.starts_with("tests/"));
    report(sources.flat_map(|source| source.find(&unfinished)));
}

#[test]
fn dependencies_point_inwards() {
    let offences = BANNED_DEPENDENCIES.iter().flat_map(|(package, banned)| {
        let manifest = read(&root().join(package).join("Cargo.toml"));
        let named = dependencies(&manifest);
        banned
            .iter()
            .filter(move |name| named.contains(**name))
            .map(move |name| format!("{package}/Cargo.toml: depends on {name}"))
    });
    report(offences);
}

#[test]
fn no_manifest_or_script_names_a_forge() {
    let files = files(&root()).into_iter().filter(|path| {
        let script = path.starts_with(root().join(".ci")) || has_extension(path, &["toml", "sh"]);
        script || path.file_name().is_some_and(|name| name == "Makefile" || name == "justfile")
    });
    let offences = files.flat_map(|path| {
        let text = read(&path);
        let found = BANNED_HOSTS.iter().map(|(front, back)| format!("{front}{back}"));
        let found = found.filter(move |host| text.contains(host.as_str()));
        found.map(move |host| format!("{}: names {host}", relative(&path))).collect::<Vec<_>>()
    });
    report(offences);
}

#[test]
fn every_golden_file_is_run() {
    let golden = root().join("tests/golden");
    let data = files(&golden).into_iter().filter(|path| !has_extension(path, &["rs", "md"]));
    report(
        data.filter(|path| golden_orphan(path))
            .map(|path| format!("{}: no runner names it", relative(&path))),
    );
}

/// Whether no runner of its family picks this golden file up.
fn golden_orphan(path: &Path) -> bool {
    let inside = path.strip_prefix(root().join("tests/golden")).expect("a golden file");
    let family = inside.iter().next().and_then(|name| name.to_str()).unwrap_or_default();
    let text = |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).unwrap_or("?").to_owned();
    let (name, extension) = (text(path.file_name()), text(path.extension()));
    let runs = |source: &Source| {
        let runner = format!("tests/{family}.rs");
        let ours = source.name.starts_with(&format!("tests/golden/{family}/"))
            || source.name == format!("tests/golden/{family}.rs")
            || CRATES.iter().any(|package| source.name == format!("{package}/{runner}"));
        let walks = source.text.contains(&format!("golden/{family}")) && source.text.contains(&extension);
        ours && (source.text.contains(&name) || walks)
    };
    !sources("").iter().any(runs)
}

#[test]
fn every_fuzz_target_can_be_built() {
    // The fuzz project is outside of the workspace: nothing else reads its manifest here.
    let manifest = read(&root().join("fuzz/Cargo.toml"));
    let targets = files(&root().join("fuzz/fuzz_targets"));
    let names = targets.iter().filter_map(|path| path.file_stem()?.to_str());
    let block =
        |name: &str| format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\ntest = false\n");
    report(
        names
            .filter(|name| !manifest.contains(&block(name)))
            .map(|name| format!("fuzz/Cargo.toml: no target {name}")),
    );
    assert_eq!(manifest.matches("[[bin]]").count(), targets.len());
}

#[test]
fn the_readme_has_a_true_map() {
    let path = root().join("README.md");
    // The README lands last; from then on its map is checked.
    if !path.exists() {
        return;
    }
    let listed = readme_folders(&read(&path));
    assert!(!listed.is_empty(), "README.md has no fenced block that begins with proxy-core/");
    let missing = listed.iter().filter(|folder| !root().join(folder).is_dir());
    let missing = missing.map(|folder| format!("README.md: lists {folder}, which is no folder"));
    let unlisted = folders_worth_listing().into_iter().filter(|folder| !listed.contains(folder));
    report(missing.chain(unlisted.map(|folder| format!("README.md: does not list {folder}"))));
}

/// The folders of the README's map as paths from the root, without a slash at the end.
fn readme_folders(readme: &str) -> BTreeSet<String> {
    let fenced = readme.split("```").skip(1).step_by(2);
    let map = fenced.map(|block| block.split_once('\n').map_or("", |(_, body)| body));
    let Some(map) = map.into_iter().find(|block| block.trim_start().starts_with("proxy-core/")) else {
        return BTreeSet::new();
    };
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut folders = BTreeSet::new();
    for line in map.lines() {
        let indent = line.len() - line.trim_start().len();
        let Some(name) = line.split_whitespace().next().and_then(|word| word.strip_suffix('/')) else {
            continue;
        };
        above.retain(|(outer, _)| *outer < indent);
        let folder = above.last().map_or(name.to_owned(), |(_, outer)| format!("{outer}/{name}"));
        above.push((indent, folder.clone()));
        folders.insert(folder);
    }
    folders
}

/// The folders that a newcomer must find in the map: those at the top and the modules of each crate.
fn folders_worth_listing() -> BTreeSet<String> {
    let paths = sources("").into_iter().map(|source| source.name);
    let folders = paths.flat_map(|name| {
        let parts: Vec<&str> = name.split('/').collect();
        let top = (parts.len() > 1).then(|| parts[0].to_owned());
        let module = (parts.len() > 3 && parts[1] == "src").then(|| parts[..3].join("/"));
        top.into_iter().chain(module)
    });
    folders.collect()
}

/// The names in any of a manifest's dependency tables.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[') {
            inside = table.trim_end().trim_end_matches(']').ends_with("dependencies");
        } else if inside && let Some((name, _)) = line.split_once(['=', '.']) {
            names.insert(name.trim().to_owned());
        }
    }
    names
}

/// A Rust file: its path from the root and its text.
struct Source {
    name: String,
    text: String,
}

impl Source {
    fn lines(&self) -> usize {
        self.text.lines().filter(|line| !line.trim().is_empty()).count()
    }

    /// Where the code, comments aside, names one of `words` as a word of its own.
    fn find(&self, words: &[&str]) -> Vec<String> {
        let numbered = self.text.lines().enumerate();
        let code = numbered.map(|(n, line)| (n + 1, line.split("//").next().unwrap_or_default()));
        let found = code.flat_map(|(n, line)| {
            let named = words.iter().filter(|word| names_word(line, word));
            named.map(|word| format!("{}:{n}: names `{word}`", self.name)).collect::<Vec<_>>()
        });
        found.collect()
    }
}

/// Whether `word` stands in `line` and is not the tail or (where it ends in a letter) the front of a longer name.
fn names_word(line: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    let whole_end = word.ends_with(part_of_name);
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part_of_name) && !(whole_end && after.is_some_and(part_of_name))
    })
}

fn sources(below: &str) -> Vec<Source> {
    let paths = files(&root().join(below)).into_iter().filter(|path| has_extension(path, &["rs"]));
    paths.map(|path| Source { name: relative(&path), text: read(&path) }).collect()
}

/// Every file below `folder`, build results and hidden folders (but `.ci`) aside.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("a readable directory").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            let skipped =
                ["target", "corpus", "artifacts"].contains(&name) || (name.starts_with('.') && name != ".ci");
            if !skipped {
                found.extend(files(&path));
            }
        } else if !name.starts_with('.') {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().and_then(|extension| extension.to_str()).is_some_and(|e| extensions.contains(&e))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Text, or nothing for bytes that are none: golden files may be binary.
fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).expect("a readable file")).into_owned()
}

fn report(offences: impl Iterator<Item = String>) {
    let offences: Vec<String> = offences.collect();
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn the_checks_see_what_they_are_for() {
    assert!(names_word("let now = Instant::now();", "Instant::now"));
    assert!(names_word("use std::fmt;", "std::") && !names_word("use my_std::fmt;", "std::"));
    assert!(!names_word("forbid(unsafe_code)", "unsafe") && names_word("unsafe { }", "unsafe"));
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = \"1\"\n[lints]\nc = 1\n";
    assert_eq!(dependencies(manifest), BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    let readme = "# X\n```sh\nrun it\n```\n```text\nproxy-core/  the core\n  src/h1/  codec\nfuzz/\n```\n";
    let folders = ["proxy-core", "proxy-core/src/h1", "fuzz"].map(str::to_owned);
    assert_eq!(readme_folders(readme), BTreeSet::from(folders));
    assert!(golden_orphan(&root().join("tests/golden/no-such-family/no-such-file.none")));
}
