//! How a group chooses its servers: the methods, `sticky`, `queue`, and ringgate's own `retry_budget` and
//! `outlier_ejection`.

use std::sync::Arc;

use proxy_core::config::{
    Balance, BudgetLimits, CookieExpires, LeastTime, Measure, Outliers, Queue, RandomTwo, Sticky,
    StickyCookie, StickyKind, StickyLearn, Template,
};
use proxy_core::time::Millis;

use super::context::Call;
use super::template::{compile_bytes, compile_text, has_variables};
use super::upstream::UpstreamLevel;
use crate::conf::value::{Field, Parsed, milliseconds, number, seconds, size};

/// The memory of one session, by which nginx's zone sizes are translated: 8,000 in a megabyte.
const SESSION_BYTES: u64 = 131;

/// The smallest zone: eight pages.
const ZONE_BYTES_MIN: u64 = 8 * 4096;

/// Sets the method, unless it is set; nginx lets the later one win, with a warning.
fn method(level: &mut UpstreamLevel, call: &mut Call<'_, '_>, balance: Balance) {
    if level.balance.is_some() {
        call.warn("load balancing method redefined");
    }
    level.balance = Some(balance);
}

/// `least_conn;`
///
/// # Errors
/// None.
pub fn least_conn(level: &mut UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    method(level, call, Balance::LeastConn);
    Ok(())
}

/// `ip_hash;`
///
/// # Errors
/// None.
pub fn ip_hash(level: &mut UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    method(level, call, Balance::IpHash);
    Ok(())
}

/// `hash key [consistent];`
///
/// # Errors
/// nginx's `invalid parameter`, or those of variables.
pub fn hash(level: &mut UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let key = call.template(0)?;
    let balance = match call.args().get(1) {
        None => Balance::Hash,
        Some(word) if word.is("consistent") => Balance::HashConsistent,
        Some(_) => return Err(call.arg(1).error(format!("invalid parameter \"{}\"", call.text(1)))),
    };
    method(level, call, balance);
    level.policy.key = Some(key);
    Ok(())
}

/// `random [two [least_conn | least_time=header | least_time=last_byte]];`
///
/// # Errors
/// nginx's `invalid parameter`.
pub fn random(level: &mut UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let invalid = |n: usize| call.arg(n).error(format!("invalid parameter \"{}\"", call.text(n)));
    let by = |measure| RandomTwo::LeastTime(LeastTime { measure, inflight: false });
    let two = match (call.args().first(), call.args().get(1)) {
        (None, _) => None,
        (Some(word), _) if !word.is("two") => return Err(invalid(0)),
        (Some(_), None) => Some(RandomTwo::LeastConn),
        (Some(_), Some(word)) => Some(match &*word.text() {
            "least_conn" => RandomTwo::LeastConn,
            "least_time=header" => by(Measure::Header),
            "least_time=last_byte" => by(Measure::LastByte),
            _ => return Err(invalid(1)),
        }),
    };
    method(level, call, Balance::Random(two));
    Ok(())
}

/// `least_time header | last_byte [inflight];`
///
/// # Errors
/// nginx's `invalid value`, `invalid parameter`.
pub fn least_time(level: &mut UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let measure = call.first().choice(&[("header", Measure::Header), ("last_byte", Measure::LastByte)])?;
    let inflight = call.args().get(1);
    if inflight.is_some_and(|word| !word.is("inflight")) {
        return Err(call.arg(1).error(format!("invalid parameter \"{}\"", call.text(1))));
    }
    method(level, call, Balance::LeastTime(LeastTime { measure, inflight: inflight.is_some() }));
    Ok(())
}

/// `zone name [size];` ringgate's workers share every group's state, so it only has to be right.
///
/// # Errors
/// nginx's `invalid zone name`, `invalid zone size`, `zone … is too small`.
pub fn zone(level: &mut UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let name = call.text(0);
    if name.is_empty() {
        return Err(call.first().error("invalid zone name \"\""));
    }
    if call.args().len() > 1 {
        let bytes = size(&call.text(1));
        let bytes =
            bytes.ok_or_else(|| call.arg(1).error(format!("invalid zone size \"{}\"", call.text(1))))?;
        if bytes < ZONE_BYTES_MIN {
            return Err(call.arg(1).error(format!("zone \"{name}\" is too small")));
        }
    }
    level.zone = Some(name.into());
    Ok(())
}

/// `queue number [timeout=time];`
///
/// # Errors
/// nginx's `invalid number`, `invalid parameter`.
pub fn queue(level: &mut UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let waiting_max = call.first().number_u32()?;
    let mut timeout = Millis::from_secs(60);
    for n in 1..call.args().len() {
        let text = call.text(n);
        let value = text.strip_prefix("timeout=").and_then(milliseconds);
        timeout = Millis(value.ok_or_else(|| call.arg(n).error(format!("invalid parameter \"{text}\"")))?);
    }
    level.policy.queue = Some(Queue { waiting_max, timeout });
    Ok(())
}

/// `retry_budget share% [min=number];`
///
/// # Errors
/// A share that is no percentage, an unknown parameter.
pub fn retry_budget(level: &mut UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let percent = percentage(&call.text(0)).ok_or_else(|| call.first().invalid(PERCENT_HELP))?;
    let mut min = 3;
    for n in 1..call.args().len() {
        let text = call.text(n);
        let value = text.strip_prefix("min=").and_then(number).and_then(|n| u32::try_from(n).ok());
        min = value.ok_or_else(|| call.arg(n).error(format!("invalid parameter \"{text}\"")))?;
    }
    level.policy.retry_budget = Some(BudgetLimits { percent, min });
    Ok(())
}

/// `outlier_ejection [consecutive_5xx=number] [latency=time] [time=time] [max_ejected=share%];`
///
/// # Errors
/// An unknown parameter or a value that is none.
pub fn outlier_ejection(level: &mut UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let mut outliers = Outliers {
        consecutive_5xx: 5,
        latency: Millis(0),
        time: Millis::from_secs(30),
        max_ejected_percent: 50,
    };
    for n in 0..call.args().len() {
        let text = call.text(n);
        let invalid = || call.arg(n).error(format!("invalid parameter \"{text}\""));
        let (name, value) = text.split_once('=').ok_or_else(invalid)?;
        match name {
            "consecutive_5xx" => {
                let count = number(value).and_then(|n| u32::try_from(n).ok());
                outliers.consecutive_5xx = count.ok_or_else(invalid)?;
            }
            "latency" => outliers.latency = milliseconds(value).map(Millis).ok_or_else(invalid)?,
            "time" => {
                let time = milliseconds(value).filter(|ms| *ms > 0).map(Millis);
                outliers.time = time.ok_or_else(invalid)?;
            }
            "max_ejected" => outliers.max_ejected_percent = percentage(value).ok_or_else(invalid)?,
            _ => return Err(invalid()),
        }
    }
    level.policy.outliers = Some(outliers);
    Ok(())
}

const PERCENT_HELP: &str = "a share is a whole number from 0 to 100 with a percent sign: `20%`";

fn percentage(text: &str) -> Option<u32> {
    let percent = text.strip_suffix('%').and_then(number)?;
    u32::try_from(percent).ok().filter(|percent| *percent <= 100)
}

/// `sticky cookie …; sticky route …; sticky learn …;`
///
/// # Errors
/// As nginx's.
pub fn sticky(level: &mut UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let sticky = match &*call.text(0) {
        "cookie" => cookie(call)?,
        "route" => route(call)?,
        "learn" => learn(level, call)?,
        other => return Err(call.first().error(format!("unknown parameter \"{other}\""))),
    };
    level.policy.sticky = Some(sticky);
    Ok(())
}

fn failed<T>(call: &Call<'_, '_>, message: &str) -> Parsed<T> {
    Err(call.error(format!("\"sticky\" directive {message}")))
}

fn cookie(call: &mut Call<'_, '_>) -> Parsed<Sticky> {
    let name = call.text(1).into_owned();
    if name.is_empty() {
        return failed(call, "empty cookie name");
    }
    let mut cookie = StickyCookie {
        name: name.as_bytes().into(),
        expires_s: None,
        domain: None,
        path: None,
        http_only: false,
        secure: false,
        same_site: None,
    };
    for n in 2..call.args().len() {
        cookie_parameter(&mut cookie, call, n)?;
    }
    let lookup = compile_text(&mut call.cx.variables, None, format!("$cookie_{name}").as_bytes());
    let lookup = lookup.map_err(|error| call.arg(1).error(error))?;
    Ok(Sticky { lookup: [lookup].into(), kind: StickyKind::Cookie(cookie) })
}

fn cookie_parameter(cookie: &mut StickyCookie, call: &mut Call<'_, '_>, n: usize) -> Parsed<()> {
    let field = call.arg(n);
    let text = call.text(n).into_owned();
    let (name, value) = text.split_once('=').map_or((&*text, None), |(name, value)| (name, Some(value)));
    let (given, known) = match (name, value) {
        ("domain", Some(_)) => (cookie.domain.is_some(), true),
        ("path", Some(_)) => (cookie.path.is_some(), true),
        ("expires", Some(_)) => (cookie.expires_s.is_some(), true),
        ("samesite", Some(_)) => (cookie.same_site.is_some(), true),
        ("httponly", None) => (cookie.http_only, true),
        ("secure", None) => (cookie.secure, true),
        _ => (false, false),
    };
    if !known {
        return Err(field.error(format!("unknown parameter \"{text}\"")));
    }
    if given {
        return failed(call, &format!("parameter \"{name}\" is duplicate"));
    }
    let value = value.unwrap_or_default();
    match name {
        "domain" | "path" if value.is_empty() => return failed(call, &format!("no value for \"{name}\"")),
        "domain" => cookie.domain = Some(compile_bytes(call.cx, field, value.as_bytes())?),
        "path" => cookie.path = Some(value.as_bytes().into()),
        "expires" if value == "max" => cookie.expires_s = Some(CookieExpires::Max),
        "expires" => match seconds(value) {
            Some(seconds) => cookie.expires_s = Some(CookieExpires::Seconds(seconds)),
            None => return failed(call, "invalid \"expires\" parameter value"),
        },
        "samesite" => {
            let known = ["strict", "lax", "none"].iter().any(|known| known.eq_ignore_ascii_case(value));
            if !known && !has_variables(value.as_bytes()) {
                return failed(call, "invalid \"samesite\" parameter value");
            }
            cookie.same_site = Some(compile_bytes(call.cx, field, value.as_bytes())?);
        }
        "httponly" => cookie.http_only = true,
        _ => cookie.secure = true,
    }
    Ok(())
}

fn route(call: &mut Call<'_, '_>) -> Parsed<Sticky> {
    let mut lookup = Vec::new();
    for n in 1..call.args().len() {
        let text = call.text(n);
        if !text.starts_with('$') {
            return Err(call.arg(n).error(format!("invalid variable name \"{text}\"")));
        }
        lookup.push(call.template(n)?);
    }
    Ok(Sticky { lookup: lookup.into(), kind: StickyKind::Route })
}

fn learn(level: &UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<Sticky> {
    let (mut create, mut lookup): (Vec<Template>, Vec<Template>) = Default::default();
    let mut zone = None;
    let mut timeout = None;
    let mut header = false;
    for n in 1..call.args().len() {
        let field = call.arg(n);
        let text = call.text(n).into_owned();
        match text.split_once('=') {
            Some(("zone", _)) if zone.is_some() => return failed(call, "duplicate zone"),
            Some(("zone", value)) => zone = Some(session_zone(call, value)?),
            Some(("timeout", _)) if timeout.is_some() => return failed(call, "duplicate timeout"),
            Some(("timeout", value)) => match milliseconds(value).filter(|ms| *ms > 0) {
                Some(ms) => timeout = Some(Millis(ms)),
                None => return failed(call, "invalid timeout"),
            },
            Some((name @ ("create" | "lookup"), value)) => {
                if !value.starts_with('$') {
                    return failed(call, &format!("missing variable in the \"{name}\" parameter"));
                }
                let list = if name == "create" { &mut create } else { &mut lookup };
                list.push(compile_bytes(call.cx, field, value.as_bytes())?);
            }
            None if text == "header" => header = true,
            None if text == "sync" => return Err(no_sync(field)),
            _ => return Err(field.error(format!("unknown parameter \"{text}\""))),
        }
    }
    let missing = |name: &str| failed(call, &format!("\"{name}\" parameter is not specified"));
    if lookup.is_empty() {
        return missing("lookup");
    }
    if create.is_empty() {
        return missing("create");
    }
    let Some((zone, sessions_max)) = zone else { return missing("zone") };
    if let Some(other) = call.cx.upstreams.learns_in(&zone) {
        let message = format!("sticky zone \"{zone}\" is already used in upstream \"{other}\"");
        return Err(call.error(message));
    }
    call.cx.upstreams.note_zone(&zone, &level.name);
    let timeout = timeout.unwrap_or(Millis::from_secs(600));
    let learn =
        StickyLearn { create: create.into(), zone: zone.as_str().into(), sessions_max, timeout, header };
    Ok(Sticky { lookup: lookup.into(), kind: StickyKind::Learn(learn) })
}

fn no_sync(field: Field<'_>) -> Box<crate::conf::diagnostic::Diagnostic> {
    let mut diagnostic = field.error("parameter \"sync\" is known to nginx but ringgate does not support it");
    diagnostic.help("sessions are shared by all workers of a process, not by several machines");
    diagnostic
}

fn session_zone(call: &Call<'_, '_>, value: &str) -> Parsed<(String, usize)> {
    let Some((name, bytes)) = value.split_once(':') else {
        return failed(call, "zone size is not specified");
    };
    if name.is_empty() {
        return failed(call, "zone name is not specified");
    }
    let Some(bytes) = size(bytes) else { return failed(call, "invalid zone size") };
    if bytes < ZONE_BYTES_MIN {
        return failed(call, "zone is too small");
    }
    Ok((name.into(), usize::try_from(bytes / SESSION_BYTES).unwrap_or(usize::MAX)))
}

/// What a level says, for its group.
pub fn finish(level: &mut UpstreamLevel) -> (Balance, Arc<proxy_core::config::Policy>) {
    (level.balance.unwrap_or_default(), Arc::new(std::mem::take(&mut level.policy)))
}
