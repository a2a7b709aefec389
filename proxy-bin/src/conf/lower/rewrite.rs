//! The rewrite module: `return`, `rewrite`, `set`, the conditions of `if`.

use proxy_core::config::{Condition, FileTest, Flag, Piece, RewriteOp, SetTarget, Template, Variable};
use proxy_core::http::Status;

use super::context::Call;
use super::template::compile_bytes;
use crate::conf::tree::Arg;
use crate::conf::value::{Field, Parsed, number};

/// What makes a string the URL of a redirect.
fn is_url(text: &str) -> bool {
    ["http://", "https://", "$scheme"].iter().any(|prefix| text.starts_with(prefix))
}

/// `return code [text|URL];`, `return URL;`
///
/// # Errors
/// nginx's `invalid return code "X"`.
pub fn return_directive(call: &mut Call<'_, '_>) -> Parsed<RewriteOp> {
    let text = call.text(0);
    let Some(code) = number(&text) else {
        if call.args().len() == 1 && is_url(&text) {
            return Ok(RewriteOp::Return { status: Status(302), text: Some(call.template(0)?) });
        }
        return Err(call.first().error(format!("invalid return code \"{text}\"")));
    };
    let code = u16::try_from(code).ok().filter(|code| *code <= 999);
    let status = code.ok_or_else(|| call.first().error(format!("invalid return code \"{text}\"")))?;
    let text = if call.args().len() > 1 { Some(call.template(1)?) } else { None };
    Ok(RewriteOp::Return { status: Status(status), text })
}

/// `rewrite regex replacement [flag];`
///
/// # Errors
/// As nginx's.
pub fn rewrite(call: &mut Call<'_, '_>) -> Parsed<RewriteOp> {
    let regex = call.cx.regex(call.first(), &call.text(0), false)?;
    let field = call.arg(1);
    let replacement = field.arg.bytes.as_slice();
    let redirects = is_url(&field.arg.text());
    let mut flag = if redirects { Flag::Redirect(Status(302)) } else { Flag::Continue };
    if call.args().len() > 2 {
        let flags = [
            ("last", Flag::Last),
            ("break", Flag::Break),
            ("redirect", Flag::Redirect(Status(302))),
            ("permanent", Flag::Redirect(Status(301))),
        ];
        let third = call.arg(2);
        let word = third.arg.text();
        let found = flags.iter().find(|(name, _)| *name == word);
        let named = found.map(|(_, flag)| *flag).ok_or_else(|| {
            let mut diagnostic = third.error(format!("invalid parameter \"{word}\""));
            diagnostic.help("one of: last, break, redirect, permanent");
            diagnostic
        })?;
        // A URL is a redirect even with `last` or `break`.
        if !redirects || matches!(named, Flag::Redirect(_)) {
            flag = named;
        }
    }
    let (replacement, drop_args) = match replacement.strip_suffix(b"?") {
        Some(replacement) => (replacement, true),
        None => (replacement, false),
    };
    let replacement = compile_bytes(call.cx, field, replacement)?;
    Ok(RewriteOp::Rewrite { regex, replacement, drop_args, flag })
}

/// `set $name value;`
///
/// # Errors
/// As nginx's.
pub fn set(call: &mut Call<'_, '_>) -> Parsed<RewriteOp> {
    let text = call.text(0);
    let name = text.strip_prefix('$').filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| call.first().error(format!("invalid variable name \"{text}\"")))?;
    let target = match name.to_ascii_lowercase().as_str() {
        "args" => SetTarget::Args,
        "limit_rate" => SetTarget::LimitRate,
        name => SetTarget::Slot(
            call.cx
                .variables
                .define_by_set(name)
                .ok_or_else(|| call.first().error(format!("the duplicate \"{name}\" variable")))?,
        ),
    };
    Ok(RewriteOp::Set { target, value: call.template(1)? })
}

/// The parenthesised condition of `if`, cut into words without its parentheses.
///
/// # Errors
/// nginx's `invalid condition "X"`.
pub fn condition(call: &mut Call<'_, '_>) -> Parsed<Condition> {
    let mut words: Vec<Arg> = call.args().to_vec();
    let directive = call.directive;
    let invalid =
        |arg: &Arg| Field::new(directive, arg).error(format!("invalid condition \"{}\"", arg.text()));
    let (Some(first), Some(last)) = (directive.args.first(), directive.args.last()) else {
        return Err(call.error("invalid condition"));
    };
    if first.bytes.first() != Some(&b'(') {
        return Err(invalid(first));
    }
    if last.bytes.last() != Some(&b')') {
        let mut shown = last.clone();
        if directive.args.len() == 1 {
            shown.bytes.remove(0);
        }
        return Err(invalid(&shown));
    }
    if let Some(word) = words.first_mut() {
        word.bytes.remove(0);
    }
    if let Some(word) = words.last_mut() {
        word.bytes.pop();
    }
    // A parenthesis may be a word of its own; a quoted empty string is not one.
    if first.bytes.len() == 1 {
        words.remove(0);
    }
    if last.bytes.len() == 1 {
        words.pop();
    }
    match words.as_slice() {
        [value] if starts_variable(value) => Ok(Condition::Truthy(variable(call, value)?)),
        [value, operator, with] if starts_variable(value) => comparison(call, value, operator, with),
        [test, path] => file_test(call, test, path),
        [word, ..] => Err(invalid(word)),
        [] => Err(invalid(first)),
    }
}

fn starts_variable(word: &Arg) -> bool {
    word.bytes.len() > 1 && word.bytes.first() == Some(&b'$')
}

fn template(call: &mut Call<'_, '_>, word: &Arg) -> Parsed<Template> {
    compile_bytes(call.cx, Field::new(call.directive, word), &word.bytes)
}

/// The whole word is one variable's name, and a capture has none here.
fn variable(call: &mut Call<'_, '_>, word: &Arg) -> Parsed<Template> {
    let template = template(call, word)?;
    match template.pieces() {
        [Piece::Variable(Variable::Capture(_))] | [_, _, ..] | [Piece::Literal(_)] => {
            let name = word.text();
            let name = name.trim_start_matches('$');
            Err(Field::new(call.directive, word).error(format!("unknown \"{name}\" variable")))
        }
        [] | [Piece::Variable(_)] => Ok(template),
    }
}

fn comparison(call: &mut Call<'_, '_>, value: &Arg, operator: &Arg, with: &Arg) -> Parsed<Condition> {
    let value = variable(call, value)?;
    let sign = operator.text();
    let negated = sign.starts_with('!');
    match sign.trim_start_matches('!') {
        "=" if sign.len() <= 2 => Ok(Condition::Equals { value, with: template(call, with)?, negated }),
        kind @ ("~" | "~*") if sign.len() - kind.len() <= 1 => {
            let regex = call.cx.regex(Field::new(call.directive, with), &with.text(), kind == "~*")?;
            Ok(Condition::Matches { value, regex, negated })
        }
        _ => {
            let mut diagnostic =
                Field::new(call.directive, operator).error(format!("unexpected \"{sign}\" in condition"));
            diagnostic.help("operators: =, !=, ~, ~*, !~, !~*");
            Err(diagnostic)
        }
    }
}

fn file_test(call: &mut Call<'_, '_>, test: &Arg, path: &Arg) -> Parsed<Condition> {
    let text = test.text();
    let (negated, letter) = text.strip_prefix('!').map_or((false, &*text), |rest| (true, rest));
    let test = match letter {
        "-f" => FileTest::Regular,
        "-d" => FileTest::Directory,
        "-e" => FileTest::Exists,
        "-x" => FileTest::Executable,
        _ => return Err(Field::new(call.directive, test).error(format!("invalid condition \"{text}\""))),
    };
    Ok(Condition::File { path: template(call, path)?, test, negated })
}
