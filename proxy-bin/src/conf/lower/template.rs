//! Strings with variables: nginx's script compiler.

use proxy_core::config::{Piece, Template, Variable};

use super::context::Context;
use super::variables::Variables;
use crate::conf::span::Span;
use crate::conf::value::{Field, Parsed};

/// Compiles an argument.
///
/// # Errors
/// A `$` without a name, or a `${` that is never closed.
pub fn compile(cx: &mut Context<'_>, field: Field<'_>) -> Parsed<Template> {
    compile_bytes(cx, field, &field.arg.bytes)
}

/// Compiles `bytes`, which are a part of the argument.
///
/// # Errors
/// As [`compile`].
pub fn compile_bytes(cx: &mut Context<'_>, field: Field<'_>, bytes: &[u8]) -> Parsed<Template> {
    compile_text(&mut cx.variables, Some(field.arg.span), bytes).map_err(|message| {
        let mut diagnostic = field.error(message);
        diagnostic.help("a \"$\" begins a variable: `$name` or `${name}`");
        diagnostic
    })
}

/// Compiles `bytes`, which stand at `span` or nowhere.
///
/// # Errors
/// nginx's message.
pub fn compile_text(variables: &mut Variables, span: Option<Span>, bytes: &[u8]) -> Result<Template, String> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
        let (literal, tail) = rest.split_at(at);
        pieces.push(Piece::Literal(literal.into()));
        let (variable, taken) = variable(variables, span, tail)?;
        pieces.push(Piece::Variable(variable));
        rest = tail.get(taken..).unwrap_or_default();
    }
    pieces.push(Piece::Literal(rest.into()));
    Ok(Template::new(pieces))
}

/// Whether a string holds variables.
pub fn has_variables(bytes: &[u8]) -> bool {
    bytes.contains(&b'$')
}

/// The variable at the start of `tail` (which begins with `$`) and how many bytes it takes.
fn variable(variables: &mut Variables, span: Option<Span>, tail: &[u8]) -> Result<(Variable, usize), String> {
    if let [b'$', digit @ b'1'..=b'9', ..] = tail {
        return Ok((Variable::Capture(digit - b'0'), 2));
    }
    let bracket = tail.get(1) == Some(&b'{');
    let start = if bracket { 2 } else { 1 };
    let name = tail.get(start..).unwrap_or_default();
    let length = name.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let name = String::from_utf8_lossy(name.get(..length).unwrap_or_default());
    if bracket && tail.get(start + length) != Some(&b'}') {
        return Err(format!("the closing bracket in \"{name}\" variable is missing"));
    }
    if name.is_empty() {
        return Err("invalid variable name".into());
    }
    let taken = start + length + usize::from(bracket);
    Ok((variables.resolve(&name, span), taken))
}
