//! The configuration front end against golden files.
//!
//! An input is a configuration file, or several in the form in which `-T` prints them (`# configuration file PATH:`
//! before each; the first is the main one). Beside it stands what is expected:
//! - `tests/golden/conf/tree/NAME.conf` → `NAME.tree`: the tree, then the syntax errors;
//! - `tests/golden/conf/check/NAME.conf` → `NAME.report`: the whole report.
//!
//! `UPDATE_GOLDEN=1` writes the expectations anew; read the diff before you commit it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ringgate::conf::diagnostic::{arrange, render};
use ringgate::conf::directive::check;
use ringgate::conf::include::{Loaded, Memory, load};
use ringgate::conf::tree::dump;

const MAIN: &str = "/etc/nginx/nginx.conf";

fn golden(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/conf").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "conf"))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty());
    inputs
}

/// Splits a `-T` dump into its files.
fn files(bytes: &[u8]) -> Memory {
    const MARK: &[u8] = b"# configuration file ";
    let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(MARK).and_then(|rest| rest.trim_ascii_end().strip_suffix(b":")) {
            Some(path) => files.push((String::from_utf8_lossy(path).into_owned().into(), Vec::new())),
            None if files.is_empty() => files.push((MAIN.into(), line.to_vec())),
            None => files.last_mut().unwrap().1.extend_from_slice(line),
        }
    }
    Memory { files }
}

fn load_golden(input: &Path) -> Loaded {
    let files = files(&std::fs::read(input).unwrap());
    let main = files.files.first().map_or(PathBuf::from(MAIN), |(path, _)| path.clone());
    load(&files, &main, None)
}

fn compare(folder: &str, extension: &str, make: impl Fn(Loaded) -> String) {
    let mut wrong = String::new();
    for input in golden(folder) {
        let actual = make(load_golden(&input));
        let expected_path = input.with_extension(extension);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected_path, &actual).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if actual != expected {
            let _ = writeln!(wrong, "== {}\n-- expected\n{expected}\n-- actual\n{actual}", input.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn trees() {
    compare("tree", "tree", |mut loaded| {
        arrange(&mut loaded.diagnostics);
        dump(&loaded.tree) + &render(&loaded.diagnostics, &loaded.sources, false)
    });
}

#[test]
fn reports() {
    compare("check", "report", |loaded| {
        let mut diagnostics = loaded.diagnostics;
        check(&loaded.tree, &loaded.sources, &mut diagnostics);
        arrange(&mut diagnostics);
        render(&diagnostics, &loaded.sources, false)
    });
}

/// Any prefix of any input gives a tree and, where it ends inside something, an error; never a panic.
#[test]
fn prefixes_are_survived() {
    for input in golden("tree") {
        let bytes = std::fs::read(&input).unwrap();
        for end in 0..bytes.len() {
            let files = files(bytes.get(..end).unwrap());
            let loaded = load(&files, Path::new(MAIN), None);
            let mut diagnostics = loaded.diagnostics;
            check(&loaded.tree, &loaded.sources, &mut diagnostics);
            assert!(!render(&diagnostics, &loaded.sources, true).is_empty());
        }
    }
}
