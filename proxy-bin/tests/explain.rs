//! `ringgate explain`: what is told about requests, as files in `tests/golden/explain`.
//!
//! A file is a configuration, and behind it questions with what is answered: `$ GET http://host/ -H 'Name: value'`, then
//! the lines that come. `@FILES@` stands for the directory of certificates and password files that the tests share.
//! `GOLDEN_BLESS=1` writes what comes into the files.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, in its helpers too")]

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use proxy_core::time::{Instant, Now};
use ringgate::cli::{self, Action};
use ringgate::explain::{Failure, explain};
use ringgate::site::ConfSource;

/// One second before the year 2030.
const NOW: Now = Now { instant: Instant::from_micros(0), unix_ms: 1_893_455_999_000, utc_offset_s: 0 };

#[test]
fn what_is_told_is_what_the_files_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut failures = String::new();
    let mut count = 0;
    for entry in fs::read_dir(root.join("tests/golden/explain")).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.extension().is_some_and(|found| found == "txt"), "{} is none of ours", path.display());
        let text = fs::read_to_string(&path).unwrap();
        let files = fs::canonicalize(root.join("tests/e2e/tls")).unwrap().display().to_string();
        let (conf, asks) = text.split_once("\n$ ").unwrap();
        let mut blessed = conf.to_owned();
        for ask in asks.split("\n$ ") {
            count += 1;
            let (question, expected) = ask.split_once('\n').unwrap_or((ask, ""));
            let said = answer(&conf.replace("@FILES@", &files), question).replace(&files, "@FILES@");
            let said = said.trim_end();
            if said != expected.trim_end() {
                writeln!(failures, "{}: {question}\n{said}\n", path.display()).unwrap();
            }
            write!(blessed, "\n$ {question}\n{said}\n").unwrap();
        }
        if std::env::var_os("GOLDEN_BLESS").is_some() {
            fs::write(&path, blessed).unwrap();
            failures.clear();
        }
    }
    assert!(count >= 24, "{count} questions");
    assert!(failures.is_empty(), "\n{failures}");
}

fn answer(conf: &str, question: &str) -> String {
    let arguments: Vec<OsString> =
        ["explain".to_owned()].into_iter().chain(words(question)).map(OsString::from).collect();
    let Ok(Action::Explain { ask, json, .. }) = cli::parse(&arguments) else {
        return format!("{:?}", cli::parse(&arguments));
    };
    match explain(ConfSource::from_text("nginx.conf", conf.to_owned()), &ask, NOW) {
        Ok(story) if json => story.json(),
        Ok(story) => story.human(Path::new("/")),
        Err(Failure::Configuration(remarks)) => remarks.report,
        Err(Failure::Question(message)) => message,
    }
}

/// Words between blanks, those in single quotes as one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
