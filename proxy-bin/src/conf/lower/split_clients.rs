//! `split_clients string $variable { … }`

use proxy_core::config::{SplitClients, Template};

use super::context::{Call, Context, Place};
use crate::conf::tree::Directive;
use crate::conf::value::{Field, Parsed};

/// All of it, in hundredths of a percent.
const WHOLE: u64 = 10_000;

/// Compiles a block; its lines' mistakes are recorded one by one.
pub fn split_clients(cx: &mut Context<'_>, directive: &Directive) -> Option<SplitClients> {
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
    let (mut parts, mut sum, mut below) = (Vec::new(), 0_u64, 0_u32);
    for line in directive.children() {
        let (percent, value) = match part(line) {
            Ok(part) => part,
            Err(error) => {
                call.cx.record(Err(error));
                continue;
            }
        };
        sum = percent.map_or(WHOLE, |percent| sum + percent);
        if sum > WHOLE {
            let error = call.error("percent total is greater than 100%");
            call.cx.record(Err(error));
            return None;
        }
        // nginx adds up the rounded parts; so the bounds are the very same.
        let bound = percent.map(|percent| {
            let part = percent * u64::from(u32::MAX) / WHOLE;
            below = below.wrapping_add(u32::try_from(part).unwrap_or(u32::MAX));
            below
        });
        parts.push((bound, value));
    }
    Some(SplitClients { name: name.to_ascii_lowercase().into(), source, parts })
}

/// Hundredths of a percent, or nothing for `*`; and the value.
fn part(line: &Directive) -> Parsed<(Option<u64>, Box<[u8]>)> {
    let key = Field::new(line, &line.name);
    let text = key.arg.text();
    let ([value], None) = (line.args.as_slice(), &line.block) else {
        return Err(key.error("invalid number of the split_clients parameters"));
    };
    let value = value.bytes.as_slice().into();
    if text == "*" {
        return Ok((None, value));
    }
    let percent = text.strip_suffix('%').and_then(hundredths).filter(|percent| *percent > 0);
    let percent = percent.ok_or_else(|| key.error(format!("invalid percent value \"{text}\"")))?;
    Ok((Some(percent), value))
}

/// `12.34` as 1234: at most two digits behind the point.
fn hundredths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if text.is_empty() || whole.len() > 6 || fraction.len() > 2 || !digits(whole) || !digits(fraction) {
        return None;
    }
    format!("{whole}{fraction:0<2}").parse().ok()
}
