//! `error_page 404 =200 /page;`

use proxy_core::config::{ErrorPage, ErrorPageCode, ErrorPageTarget, Piece, Template};
use proxy_core::http::Status;

use super::context::Call;
use super::core::CoreLevel;
use crate::conf::value::{Parsed, number};

/// Adds one entry for each code.
pub fn error_page(level: &mut CoreLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let Some(last) = call.args().len().checked_sub(1) else { return Ok(()) };
    let equals = last.checked_sub(1).filter(|n| call.arg(*n).arg.bytes.starts_with(b"="));
    let code = match equals {
        Some(n) => overwrite(call, n)?,
        None => ErrorPageCode::Keep,
    };
    let target = target(call, last)?;
    for n in 0..equals.unwrap_or(last) {
        let status = status(call, n)?;
        let code = match (code, status.0) {
            // What the TLS layer refuses is 400 to the client.
            (ErrorPageCode::Keep, 494..=497) => ErrorPageCode::Is(Status(400)),
            (code, _) => code,
        };
        level.error_pages.get_or_insert_default().push(ErrorPage { status, code, target: target.clone() });
    }
    Ok(())
}

fn overwrite(call: &Call<'_, '_>, n: usize) -> Parsed<ErrorPageCode> {
    let text = call.text(n);
    let digits = text.get(1..).unwrap_or_default();
    let code = number(digits).and_then(|code| u16::try_from(code).ok());
    match code {
        _ if n == 0 => Err(call.arg(n).error(format!("invalid value \"{text}\""))),
        _ if digits.is_empty() => Ok(ErrorPageCode::FromTarget),
        Some(code) if code <= 999 => Ok(ErrorPageCode::Is(Status(code))),
        _ => Err(call.arg(n).error(format!("invalid value \"{text}\""))),
    }
}

fn status(call: &Call<'_, '_>, n: usize) -> Parsed<Status> {
    let text = call.text(n);
    let code = number(&text).and_then(|code| u16::try_from(code).ok()).filter(|code| *code != 499);
    let code = code.ok_or_else(|| call.arg(n).error(format!("invalid value \"{text}\"")))?;
    if !(300..=599).contains(&code) {
        return Err(call.arg(n).error(format!("value \"{text}\" must be between 300 and 599")));
    }
    Ok(Status(code))
}

fn target(call: &mut Call<'_, '_>, n: usize) -> Parsed<ErrorPageTarget> {
    let bytes = &call.arg(n).arg.bytes;
    if let Some(name) = bytes.strip_prefix(b"@") {
        return Ok(ErrorPageTarget::Named(name.into()));
    }
    let template = call.template(n)?;
    Ok(if is_url(&template) { ErrorPageTarget::Redirect(template) } else { ErrorPageTarget::Uri(template) })
}

/// Whether the target is elsewhere: anything that does not begin with a slash, unless only a variable can tell and no
/// scheme follows it.
fn is_url(template: &Template) -> bool {
    match template.pieces().first() {
        Some(Piece::Literal(bytes)) => !bytes.starts_with(b"/"),
        Some(Piece::Variable(_)) => {
            matches!(template.pieces().get(1), Some(Piece::Literal(b)) if b.starts_with(b"://"))
        }
        None => false,
    }
}
