//! The configuration front end against golden files.
//!
//! An input is a configuration file, or several in the form in which `-T` prints them (`# configuration file PATH:`
//! before each; the first is the main one). Beside it stands what is expected:
//! - `tests/golden/conf/tree/NAME.conf` → `NAME.tree`: the tree, then the syntax errors;
//! - `tests/golden/conf/check/NAME.conf` → `NAME.report`: the whole report;
//! - `tests/golden/conf/oracle/cases.txt`: what `nginx -t` says of small texts, asked anew where nginx is installed.
//!
//! `UPDATE_GOLDEN=1` writes the expectations anew; read the diff before you commit it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ringgate::conf::diagnostic::{Severity, arrange, render};
use ringgate::conf::include::{Memory, load};
use ringgate::conf::lower::{Environment, Resolve};
use ringgate::conf::tree::dump;
use ringgate::conf::{Compiled, compile};

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

fn compare(folder: &str, extension: &str, make: impl Fn(&Memory, &Path) -> String) {
    let mut wrong = String::new();
    for input in golden(folder) {
        let files = files(&std::fs::read(&input).unwrap());
        let main = files.files.first().map_or(Path::new(MAIN), |(path, _)| path.as_path());
        let actual = make(&files, main);
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
    compare("tree", "tree", |files, main| {
        let mut loaded = load(files, main, None);
        arrange(&mut loaded.diagnostics);
        dump(&loaded.tree) + &render(&loaded.diagnostics, &loaded.sources, false)
    });
}

struct Names;

impl Resolve for Names {
    fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        match host {
            "localhost" => Ok(vec![IpAddr::from([127, 0, 0, 1])]),
            _ => Err("unknown".into()),
        }
    }
}

fn compile_golden(files: &Memory, main: &Path) -> Compiled {
    let env = Environment {
        prefix: Path::new("/etc/nginx"),
        error_log: Path::new("logs/error.log"),
        access_log: Path::new("logs/access.log"),
        pid: Path::new("logs/nginx.pid"),
        client_body_temp: Path::new("client_body_temp"),
        proxy_temp: Path::new("proxy_temp"),
        root: true,
        unresolved_is_fatal: true,
        hostname: "host.test",
        generation: 1,
        name_servers: &[],
        resolve: &Names,
    };
    compile(files, main, None, &env)
}

/// One case of `oracle/cases.txt`.
struct Case {
    level: String,
    text: String,
    verdict: String,
    ask_nginx: bool,
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/conf/oracle/cases.txt");
    let all = std::fs::read_to_string(path).unwrap();
    let parse = |case: &str| {
        let (level, rest) = case.split_once('\n').unwrap();
        let (text, verdict) = rest.split_once("\n--- ").unwrap();
        let verdict = verdict.trim();
        let ours = verdict.strip_prefix('!');
        Case {
            level: level.into(),
            text: text.into(),
            verdict: ours.unwrap_or(verdict).into(),
            ask_nginx: ours.is_none(),
        }
    };
    all.split("\n=== ").skip(1).map(parse).collect()
}

fn wrap(case: &Case) -> String {
    let (before, after) = match case.level.as_str() {
        "main" => return format!("{}\nevents {{}}\n", case.text),
        "http" => ("", "}"),
        "server" => ("server { ", "}}"),
        _ => ("server { location / { ", "}}}"),
    };
    format!("events {{}} http {{ {before}{}\n{after}\n", case.text)
}

/// Our first error in the form of the cases' verdicts.
fn our_verdict(case: &Case) -> String {
    let files = Memory { files: vec![(MAIN.into(), wrap(case).into_bytes())] };
    let compiled = compile_golden(&files, Path::new(MAIN));
    let error = compiled.diagnostics.iter().find(|d| d.severity == Severity::Emerg);
    error.map_or("ok".into(), |error| short(&format!("emerg {}", error.headline(&compiled.sources))))
}

/// `… in FILE:LINE` as `… @LINE`.
fn short(said: &str) -> String {
    match said.rsplit_once(" in /").and_then(|(message, place)| Some((message, place.rsplit_once(':')?.1))) {
        Some((message, line)) if line.bytes().all(|b| b.is_ascii_digit()) => format!("{message} @{line}"),
        _ => said.into(),
    }
}

#[test]
fn verdicts_are_those_of_nginx() {
    let mut wrong = String::new();
    for case in cases() {
        let ours = our_verdict(&case);
        // Where nginx has no line, ours is better.
        let expected = case.verdict.strip_suffix(" @None").unwrap_or(&case.verdict);
        let same = ours == expected || case.verdict.ends_with(" @None") && ours.starts_with(expected);
        if !same {
            let _ = writeln!(wrong, "{}\n  expected {}\n  actual   {ours}", case.text, case.verdict);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Asks the nginx on this machine, if there is one, whether the recorded verdicts are still its own.
#[test]
fn recorded_verdicts_are_true() {
    let folder = std::env::temp_dir().join(format!("ringgate-oracle-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("logs")).unwrap();
    let conf = folder.join("nginx.conf");
    let mut wrong = String::new();
    for case in cases().iter().filter(|case| case.ask_nginx) {
        std::fs::write(&conf, wrap(case)).unwrap();
        let mut command = std::process::Command::new("nginx");
        command.arg("-t").arg("-p").arg(&folder).arg("-c").arg(&conf).arg("-e").arg(folder.join("error.log"));
        let Ok(output) = command.output() else { break };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let error = said.lines().find_map(|line| line.strip_prefix("nginx: [emerg] "));
        let verdict = error.map_or("ok".into(), |error| short(&format!("emerg {error}")));
        if verdict != case.verdict.strip_suffix(" @None").unwrap_or(&case.verdict) {
            let _ = writeln!(wrong, "{}\n  recorded {}\n  nginx    {verdict}", case.text, case.verdict);
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn reports() {
    compare("check", "report", |files, main| {
        let compiled = compile_golden(files, main);
        render(&compiled.diagnostics, &compiled.sources, false)
    });
}

/// Any prefix of any input gives a tree and, where it ends inside something, an error; never a panic.
#[test]
fn prefixes_are_survived() {
    for input in golden("tree") {
        let bytes = std::fs::read(&input).unwrap();
        for end in 0..bytes.len() {
            let files = files(bytes.get(..end).unwrap());
            let compiled = compile_golden(&files, Path::new(MAIN));
            assert!(!render(&compiled.diagnostics, &compiled.sources, true).is_empty());
        }
    }
}
