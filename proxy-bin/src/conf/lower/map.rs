//! `map $source $variable { … }`

use std::collections::HashSet;

use proxy_core::config::{Map, MapValue, Template};

use super::context::{Call, Context, Place};
use super::template::compile_bytes;
use crate::conf::tree::{Arg, Directive};
use crate::conf::value::{Field, Parsed};

/// Compiles a map; its lines' mistakes are recorded one by one.
pub fn map(cx: &mut Context<'_>, directive: &Directive) -> Option<Map> {
    let mut call = Call { cx, directive, place: Place::NONE };
    let source = match call.template(0) {
        Ok(source) => source,
        Err(error) => {
            call.cx.record(Err(error));
            Template::default()
        }
    };
    let text = call.text(1);
    let Some(name) = text.strip_prefix('$').filter(|name| !name.is_empty()) else {
        let error = call.arg(1).error(format!("invalid variable name \"{text}\""));
        call.cx.record(Err(error));
        return None;
    };
    let flag =
        |name: &str| directive.children().iter().any(|line| line.args.is_empty() && line.name.is(name));
    let mut map = Map {
        name: name.to_ascii_lowercase().into(),
        source,
        exact: hashbrown::HashMap::new(),
        suffixes: Vec::new(),
        prefixes: Vec::new(),
        hostnames: flag("hostnames"),
        regexes: Vec::new(),
        default: MapValue::default(),
        volatile: flag("volatile"),
    };
    let mut seen = Seen::default();
    for line in directive.children() {
        let result = self::line(cx, &mut map, &mut seen, line);
        cx.record(result);
    }
    map.suffixes.sort_by_key(|(stem, _)| std::cmp::Reverse(stem.len()));
    map.prefixes.sort_by_key(|(stem, _)| std::cmp::Reverse(stem.len()));
    Some(map)
}

#[derive(Default)]
struct Seen {
    keys: HashSet<Vec<u8>>,
    default: bool,
}

fn line(cx: &mut Context<'_>, map: &mut Map, seen: &mut Seen, line: &Directive) -> Parsed<()> {
    let key = Field::new(line, &line.name);
    let special = line.args.is_empty() && ["hostnames", "volatile"].iter().any(|name| line.name.is(name));
    let value = match (line.args.as_slice(), &line.block) {
        ([], None) if special => return Ok(()),
        ([value], None) => Field::new(line, value),
        (_, Some(_)) => return Err(key.error("unexpected \"{\"")),
        _ => return Err(key.error("invalid number of the map parameters")),
    };
    let value = MapValue { value: compile_bytes(cx, value, &value.arg.bytes)?, origin: cx.origin(line.span) };
    let text = key.arg.text();
    if text == "default" {
        if std::mem::replace(&mut seen.default, true) {
            return Err(key.error("duplicate default map parameter"));
        }
        map.default = value;
        return Ok(());
    }
    if let Some(pattern) = text.strip_prefix('~') {
        let (pattern, no_case) = pattern.strip_prefix('*').map_or((pattern, false), |rest| (rest, true));
        map.regexes.push((cx.regex(key, pattern, no_case)?, value));
        return Ok(());
    }
    let bytes = unescaped(key.arg).to_ascii_lowercase();
    if !seen.keys.insert(bytes.clone()) {
        return Err(key.error(format!("conflicting parameter \"{text}\"")));
    }
    insert(map, key, &bytes, value)
}

/// A leading backslash takes the meaning from `default`, `hostnames` and `~`.
fn unescaped(key: &Arg) -> &[u8] {
    key.bytes.strip_prefix(b"\\").unwrap_or(&key.bytes)
}

fn insert(map: &mut Map, key: Field<'_>, bytes: &[u8], value: MapValue) -> Parsed<()> {
    if !map.hostnames || !bytes.contains(&b'*') && !bytes.starts_with(b".") {
        map.exact.insert(bytes.into(), value);
        return Ok(());
    }
    let stem: &[u8] = if let Some(stem) = bytes.strip_prefix(b"*.") {
        map.suffixes.push(([b".", stem].concat().into(), value));
        stem
    } else if let Some(stem) = bytes.strip_prefix(b".") {
        map.suffixes.push((bytes.into(), value.clone()));
        map.exact.insert(stem.into(), value);
        stem
    } else if let Some(stem) = bytes.strip_suffix(b"*").filter(|stem| stem.ends_with(b".")) {
        map.prefixes.push((stem.into(), value));
        stem
    } else {
        bytes
    };
    if stem.is_empty() || stem.contains(&b'*') {
        return Err(key.error(format!("invalid hostname or wildcard \"{}\"", key.arg.text())));
    }
    Ok(())
}
