//! The fuzz targets on their committed corpora: `golden/fuzz/TARGET.txt`, an input a line, with escapes.
//!
//! The bodies are those of `fuzz/`, invariants and all. Beside the corpora stands what once broke a rule, in
//! `regressions.txt`, with the target's name in front of each input.
//!
//! - `FUZZ_UNPACK=DIR cargo test -p ringgate-tests --test golden fuzz` writes each corpus to `DIR/TARGET/`, a file an
//!   input, for cargo-fuzz to start from.
//! - `FUZZ_PACK=DIR …` writes `golden/fuzz/TARGET.txt` from there.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, in its helpers too")]

#[expect(unreachable_pub, reason = "it is a library there and a module here")]
#[path = "../../fuzz/src/lib.rs"]
mod bodies;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A target by its name.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 12] = [
    ("h1_request", bodies::h1_request::run),
    ("h1_response", bodies::h1_response::run),
    ("h2_conn", bodies::h2_conn::run),
    ("h2_trunk", bodies::h2_trunk::run),
    ("h2_frames", bodies::h2_frames::run),
    ("hpack", bodies::hpack::run),
    ("chunked", bodies::chunked::run),
    ("uri", bodies::uri::run),
    ("conf", bodies::conf::run),
    ("dns", bodies::dns::run),
    ("fastcgi", bodies::fastcgi::run),
    ("worker", bodies::worker::run),
];

#[test]
fn the_corpora_break_no_rule() {
    for (name, run) in TARGETS {
        let path = corpus(name);
        if let Some(dir) = std::env::var_os("FUZZ_PACK") {
            pack(&Path::new(&dir).join(name), &path);
        }
        let inputs = inputs(&path);
        assert!(!inputs.is_empty(), "no inputs in {}", path.display());
        if let Some(dir) = std::env::var_os("FUZZ_UNPACK") {
            unpack(&inputs, &Path::new(&dir).join(name));
        }
        for (line, input) in inputs.iter().enumerate() {
            replay(&format!("{}:{}", path.display(), line + 1), run, input);
        }
    }
}

#[test]
fn what_once_broke_a_rule_breaks_none() {
    let path = corpus("regressions");
    for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
        let Some((name, input)) = line.split_once(": ").filter(|_| !line.starts_with('#')) else { continue };
        let (_, run) = TARGETS.iter().find(|(target, _)| *target == name).expect(name);
        replay(&format!("{}:{}", path.display(), number + 1), *run, &unescape(input));
    }
}

/// Runs one input; a panic is told which one it was.
fn replay(place: &str, run: fn(&[u8]), input: &[u8]) {
    let result = std::panic::catch_unwind(|| run(input));
    assert!(result.is_ok(), "{place}: {}", input.escape_ascii());
}

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/fuzz").join(name).with_extension("txt")
}

fn inputs(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(unescape).collect()
}

/// Undoes [`slice::escape_ascii`].
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'x') => {
                let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap();
                u8::try_from(digit() << 4 | digit()).unwrap()
            }
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(quoted @ (b'\\' | b'\'' | b'"')) => quoted,
            other => panic!("no such escape: {other:?} in {text}"),
        });
    }
    out
}

fn pack(dir: &Path, path: &Path) {
    let files = fs::read_dir(dir).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let mut inputs: Vec<Vec<u8>> = files.filter(|input| !input.is_empty()).collect();
    inputs.sort_by_key(|input| (input.len(), input.clone()));
    let mut text = String::new();
    for input in &inputs {
        writeln!(text, "{}", input.escape_ascii()).unwrap();
    }
    fs::write(path, text).unwrap();
}

fn unpack(inputs: &[Vec<u8>], dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    for (number, input) in inputs.iter().enumerate() {
        fs::write(dir.join(format!("{number:05}")), input).unwrap();
    }
}

#[test]
fn escapes_come_back() {
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(unescape(&all.escape_ascii().to_string()), all);
}
