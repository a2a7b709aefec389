//! Routing: targets, server names and locations against `route/*.txt`.
//!
//! Every table says in its head what its columns mean. What they expect was compared with a real nginx, except where a
//! line says otherwise.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, in its helpers too")]

#[path = "route/find.rs"]
mod find;
#[path = "route/property.rs"]
mod property;

use proxy_core::buf::Chunk;
use proxy_core::error::ClientError;
use proxy_core::route::{Normalised, escape_args, escape_refresh, escape_uri, normalise};

/// `TARGET => RESULT` below section lines `[merge_slashes on|off]`.
#[test]
fn targets_are_normalised_as_nginx_does() {
    let mut merge_slashes = true;
    for line in table(include_str!("route/targets.txt")) {
        if let Some(section) = line.strip_prefix('[') {
            merge_slashes = section.contains("on");
            continue;
        }
        let (target, expected) = line.split_once("=>").expect(line);
        let target = Chunk::from_vec(unescape(target.trim()));
        let result = normalise(&target, merge_slashes);
        assert_eq!(describe(&result), expected.trim(), "{line}, merge_slashes {merge_slashes}");
        if let Ok(result) = result {
            check_invariants(&result, merge_slashes);
        }
    }
}

/// `SET BYTES => ESCAPED`
#[test]
fn escaping_is_nginxs() {
    for line in table(include_str!("route/escapes.txt")) {
        let (input, expected) = line.split_once("=>").expect(line);
        let (set, text) = input.trim().split_once(' ').expect(line);
        let mut out = Vec::new();
        match set {
            "uri" => escape_uri(&unescape(text), &mut out),
            "args" => escape_args(&unescape(text), &mut out),
            "refresh" => escape_refresh(&unescape(text), &mut out),
            _ => panic!("no such set: {line}"),
        }
        assert_eq!(String::from_utf8(out).unwrap(), expected.trim(), "{line}");
    }
}

fn describe(result: &Result<Normalised, ClientError>) -> String {
    let normalised = match result {
        Ok(normalised) => normalised,
        Err(error) => return error.status().0.to_string(),
    };
    let mut text = normalised.path.escape_ascii().to_string();
    if normalised.has_args_mark {
        text += &format!(" ?{}", normalised.args.escape_ascii());
    }
    if let Some(absolute) = &normalised.absolute {
        text += &format!(" at {}|{}", absolute.scheme.escape_ascii(), absolute.authority.escape_ascii());
    }
    let flags = [
        (normalised.unchanged, "same"),
        (normalised.quoted, "quoted"),
        (normalised.plus, "plus"),
        (!normalised.raw_is_valid, "no-raw"),
    ];
    flags.iter().filter(|(set, _)| *set).fold(text, |text, (_, flag)| text + " " + flag)
}

/// What must hold whatever came in: the result is a fixed point but for its literal percent signs.
fn check_invariants(normalised: &Normalised, merge_slashes: bool) {
    let path = normalised.path.as_slice();
    if path.iter().any(|byte| matches!(byte, b'%' | b'?' | b'#' | 0..=b' ' | 0x7f)) {
        return;
    }
    let again = normalise(&normalised.path, merge_slashes).unwrap();
    assert_eq!(again.path, normalised.path);
    assert!(again.unchanged);
}

/// The lines of a table without comments and empty lines.
fn table(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("# "))
}

/// Bytes that a table cannot hold are written `\xNN`, a backslash `\\`.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'x') => {
                let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap();
                out.push(u8::try_from(digit() << 4 | digit()).unwrap());
            }
            Some(byte) => out.push(byte),
            None => panic!("a lone backslash at the end of {text}"),
        }
    }
    out
}
