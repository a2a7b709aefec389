//! The head of a `location` block: how it is found, and where it may stand.

use proxy_core::config::{LocationKind, Piece, Variable};
use proxy_core::route::Regex;

use super::context::{Call, Place};
use crate::conf::value::{Field, Parsed};

/// How a location is found.
#[derive(Debug)]
pub struct Head {
    /// The modifier.
    pub kind: LocationKind,
    /// What follows it.
    pub pattern: Vec<u8>,
    /// The compiled pattern of a regex location.
    pub regex: Option<Regex>,
    /// The variable of a predicate location.
    pub variable: Option<Variable>,
}

/// The modifiers; with one argument they may be glued to the pattern, the longer ones tried first.
const MODIFIERS: [(&str, LocationKind); 4] = [
    ("~*", LocationKind::RegexNoCase),
    ("^~", LocationKind::PrefixNoRegex),
    ("~", LocationKind::Regex),
    ("=", LocationKind::Exact),
];

/// Parses the head and checks it against the level around it.
///
/// # Errors
/// As nginx's.
pub fn head(call: &mut Call<'_, '_>) -> Parsed<Head> {
    let (kind, field, pattern) = split(call)?;
    let text = String::from_utf8_lossy(pattern);
    let regex = if is_regex(kind) {
        Some(call.cx.regex(field, &text, kind == LocationKind::RegexNoCase)?)
    } else {
        None
    };
    let variable = if kind == LocationKind::Predicate { Some(predicate(call)?) } else { None };
    nesting(call, kind, pattern)?;
    let pattern = if kind == LocationKind::Named { pattern.get(1..).unwrap_or_default() } else { pattern };
    Ok(Head { kind, pattern: pattern.to_vec(), regex, variable })
}

fn split<'c>(call: &Call<'c, '_>) -> Parsed<(LocationKind, Field<'c>, &'c [u8])> {
    let first = call.first();
    if call.args().len() == 2 {
        let modifier = first.arg.text();
        let found = MODIFIERS.iter().find(|(name, _)| *name == modifier);
        let (_, kind) = found.ok_or_else(|| {
            let mut diagnostic = first.error(format!("invalid location modifier \"{modifier}\""));
            diagnostic.help("modifiers: =, ^~, ~, ~*");
            diagnostic
        })?;
        return Ok((*kind, call.arg(1), &call.arg(1).arg.bytes));
    }
    let bytes = first.arg.bytes.as_slice();
    for (name, kind) in MODIFIERS {
        if let Some(rest) = bytes.strip_prefix(name.as_bytes()) {
            return Ok((kind, first, rest));
        }
    }
    let kind = match bytes.first() {
        Some(b'@') => LocationKind::Named,
        Some(b'$') => LocationKind::Predicate,
        Some(_) | None => LocationKind::Prefix,
    };
    Ok((kind, first, bytes))
}

/// The variable of `location $variable`, which is all of the pattern.
fn predicate(call: &mut Call<'_, '_>) -> Parsed<Variable> {
    let template = call.template(0)?;
    match template.pieces() {
        [Piece::Variable(variable)] => Ok(variable.clone()),
        _ => Err(call.first().error(format!("invalid variable name \"{}\"", call.text(0)))),
    }
}

/// nginx's rules about locations inside locations.
fn nesting(call: &Call<'_, '_>, kind: LocationKind, pattern: &[u8]) -> Parsed<()> {
    let Place { kind: outer, pattern: outer_pattern, .. } = call.place;
    let own = String::from_utf8_lossy(pattern);
    let outer_text = String::from_utf8_lossy(outer_pattern);
    let by_text = !is_regex(kind) && kind != LocationKind::Predicate;
    let outside = by_text && !pattern.starts_with(outer_pattern);
    let message = match outer {
        LocationKind::Implicit => return Ok(()),
        LocationKind::Exact => {
            format!("location \"{own}\" cannot be inside the exact location \"{outer_text}\"")
        }
        LocationKind::Named => {
            format!("location \"{own}\" cannot be inside the named location \"@{outer_text}\"")
        }
        LocationKind::Prefix
        | LocationKind::PrefixNoRegex
        | LocationKind::Predicate
        | LocationKind::Regex
        | LocationKind::RegexNoCase => {
            if kind == LocationKind::Named {
                format!("named location \"{own}\" can be on the server level only")
            } else if outside {
                format!("location \"{own}\" is outside location \"{outer_text}\"")
            } else {
                return Ok(());
            }
        }
    };
    Err(call.error(message))
}

fn is_regex(kind: LocationKind) -> bool {
    matches!(kind, LocationKind::Regex | LocationKind::RegexNoCase)
}
