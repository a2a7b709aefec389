//! The format of the golden files, and the loop over them.
//!
//! ```text
//! # a comment
//! == the case's name | option=value option=value
//! input, its lines joined without a line end; \r \n \t \0 \\ \xNN are escapes, \{COUNT,TEXT} repeats
//! => the first line of what is expected
//! its further lines, up to an empty line
//! ```

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, in its helpers too")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// One case of a golden file.
#[derive(Debug, Default)]
pub(crate) struct Case {
    /// What it is about.
    pub(crate) name: String,
    /// The words behind the name.
    pub(crate) options: HashMap<String, String>,
    /// The input, without escapes.
    pub(crate) input: Vec<u8>,
    /// What is expected, its lines with a line end between them.
    expected: String,
    /// Everything in front of the arrow, as it stands in the file.
    source: String,
}

impl Case {
    /// The number that option `name` gives.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.options.get(name).map(|value| value.parse().unwrap())
    }

    /// Whether option `name` is `on`, if it is given.
    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        self.options.get(name).map(|value| value == "on")
    }
}

/// Runs all cases in the files of `tests/DIR`, which all have this extension, and compares what comes out.
pub(crate) fn run(dir: &str, extension: &str, outcome: impl Fn(&Case) -> String) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let bless = std::env::var_os("GOLDEN_BLESS").is_some();
    let mut failures = String::new();
    let mut count = 0;
    for path in files(&dir) {
        assert!(
            path.extension().is_some_and(|found| found == extension),
            "{} is none of ours",
            path.display()
        );
        let mut blessed = String::new();
        for case in parse(&fs::read_to_string(&path).unwrap()) {
            count += 1;
            let outcome = outcome(&case).lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
            if outcome != case.expected {
                let (name, expected) = (&case.name, &case.expected);
                writeln!(
                    failures,
                    "{}: {name}\n--- expected\n{expected}\n--- came\n{outcome}\n",
                    path.display()
                )
                .unwrap();
            }
            write!(blessed, "{}=> {outcome}\n\n", case.source).unwrap();
        }
        if bless {
            fs::write(&path, blessed.trim_end().to_owned() + "\n").unwrap();
        }
    }
    assert!(count > 0, "no cases in {}", dir.display());
    assert!(bless || failures.is_empty(), "\n{failures}");
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    // A family may keep the configuration that its cases are about beside them.
    files.retain(|path| path.extension().is_none_or(|extension| extension != "conf"));
    files.sort();
    files
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = Case::default();
    let mut in_expected = false;
    for line in text.lines().chain([""]) {
        if in_expected && line.is_empty() {
            in_expected = false;
            cases.push(std::mem::take(&mut case));
        } else if in_expected {
            case.expected += "\n";
            case.expected += line;
        } else if let Some(expected) = line.strip_prefix("=>") {
            in_expected = true;
            case.expected = expected.trim_start().to_owned();
        } else {
            case.source += line;
            case.source += "\n";
            if let Some(title) = line.strip_prefix("== ") {
                let (name, options) = title.split_once('|').unwrap_or((title, ""));
                case.name = name.trim().to_owned();
                let pairs = options.split_whitespace().map(|option| option.split_once('=').unwrap());
                case.options = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            } else if !line.starts_with('#') {
                unescape(line.as_bytes(), &mut case.input);
            }
        }
    }
    cases
}

fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (b'\\', [b'{', tail @ ..]) => {
                let end = tail.iter().position(|byte| *byte == b'}').unwrap();
                let (count, part) = std::str::from_utf8(&tail[..end]).unwrap().split_once(',').unwrap();
                let mut once = Vec::new();
                unescape(part.as_bytes(), &mut once);
                out.extend(once.repeat(count.parse().unwrap()));
                &tail[end + 1..]
            }
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digits = [*high, *low];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                tail
            }
            (b'\\', [escape, tail @ ..]) => {
                out.push(match escape {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'0' => 0,
                    b'\\' => b'\\',
                    other => panic!("unknown escape \\{}", char::from(*other)),
                });
                tail
            }
            _ => {
                out.push(*byte);
                tail
            }
        };
    }
}
