//! `limit_req` and `limit_conn`: zones by name, and what each level says about them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use proxy_core::command::Level as LogLevel;
use proxy_core::config::{
    ConnectionLimit, ConnectionLimits, LimitKind, LimitZone, Limits, RequestLimit, RequestLimits, Template,
    ZoneId,
};
use proxy_core::http::Status;

use super::context::Call;
use super::core::inherit;
use crate::conf::diagnostic::Diagnostic;
use crate::conf::span::Span;
use crate::conf::value::{Field, Parsed, number, size};

/// The smallest zone: nginx's eight pages, in bytes.
const ZONE_BYTES_MIN: u64 = 8 * 4096;

/// What one request, one connection … counts in nginx's thousandths.
const THOUSAND: u64 = 1000;

/// The zones of a configuration. A zone may be used before the line that defines it.
#[derive(Debug, Default)]
pub struct Zones {
    zones: Vec<(String, Option<LimitZone>)>,
    by_name: HashMap<String, ZoneId>,
    /// Where zones are used, and whether requests in time are meant.
    uses: Vec<(ZoneId, Span, bool)>,
}

impl Zones {
    fn id(&mut self, name: &str) -> ZoneId {
        *self.by_name.entry(name.to_owned()).or_insert_with(|| {
            self.zones.push((name.to_owned(), None));
            ZoneId(u32::try_from(self.zones.len() - 1).unwrap_or(u32::MAX))
        })
    }

    fn slot(&mut self, name: &str) -> Option<&mut Option<LimitZone>> {
        let id = self.id(name);
        self.zones.get_mut(id.0 as usize).map(|(_, zone)| zone)
    }

    /// All zones in the order of their ids; an error for each that no line defines, and for each use of one that counts
    /// something else.
    pub fn finish(self, diagnostics: &mut Vec<Diagnostic>) -> Vec<LimitZone> {
        let mut missing = HashSet::new();
        for (id, span, in_time) in &self.uses {
            let Some((name, zone)) = self.zones.get(id.0 as usize) else { continue };
            match zone {
                None if missing.insert(*id) => {
                    let message = format!("zero size shared memory zone \"{name}\"");
                    let mut diagnostic = Diagnostic::emerg(*span, message);
                    let define =
                        if *in_time { "limit_req_zone KEY zone=" } else { "limit_conn_zone KEY zone=" };
                    let rate = if *in_time { " rate=10r/s" } else { "" };
                    diagnostic.help(format!(
                        "no zone has this name; `{define}{name}:1m{rate};` in `http` defines it"
                    ));
                    diagnostics.push(diagnostic);
                }
                Some(zone) if matches!(zone.kind, LimitKind::Requests { .. }) != *in_time => {
                    diagnostics.push(Diagnostic::emerg(*span, other_use(name)));
                }
                None | Some(_) => {}
            }
        }
        self.zones.into_iter().filter_map(|(_, zone)| zone).collect()
    }
}

fn other_use(name: &str) -> String {
    format!("the shared memory zone \"{name}\" is already declared for a different use")
}

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct LimitLevel {
    pub limit_req: Option<Vec<RequestLimit>>,
    pub limit_req_log_level: Option<LogLevel>,
    pub limit_req_status: Option<u16>,
    pub limit_req_dry_run: Option<bool>,
    pub limit_conn: Option<Vec<ConnectionLimit>>,
    pub limit_conn_log_level: Option<LogLevel>,
    pub limit_conn_status: Option<u16>,
    pub limit_conn_dry_run: Option<bool>,
}

impl LimitLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; limit_req limit_req_log_level limit_req_status limit_req_dry_run limit_conn
            limit_conn_log_level limit_conn_status limit_conn_dry_run);
    }

    /// The limits in force, with nginx's defaults; none where there are none.
    pub fn finish(&self) -> Option<Arc<Limits>> {
        let status = |written: Option<u16>| Status(written.unwrap_or(503));
        let requests = self.limit_req.as_ref().map(|limits| {
            let level = self.limit_req_log_level.unwrap_or(LogLevel::Error);
            RequestLimits {
                limits: limits.as_slice().into(),
                level,
                delay_level: less_severe(level),
                status: status(self.limit_req_status),
                dry_run: self.limit_req_dry_run.unwrap_or(false),
            }
        });
        let connections = self.limit_conn.as_ref().map(|limits| ConnectionLimits {
            limits: limits.as_slice().into(),
            level: self.limit_conn_log_level.unwrap_or(LogLevel::Error),
            status: status(self.limit_conn_status),
            dry_run: self.limit_conn_dry_run.unwrap_or(false),
        });
        let any = requests.is_some() || connections.is_some();
        any.then(|| Arc::new(Limits { requests, connections }))
    }
}

/// The level of a delay, where refusals have this one.
const fn less_severe(level: LogLevel) -> LogLevel {
    match level {
        LogLevel::Emerg | LogLevel::Alert | LogLevel::Crit | LogLevel::Error => LogLevel::Warn,
        LogLevel::Warn => LogLevel::Notice,
        LogLevel::Notice | LogLevel::Info | LogLevel::Debug => LogLevel::Info,
    }
}

/// `limit_req_zone key zone=name:size rate=rate;`
///
/// # Errors
/// nginx's words.
pub fn limit_req_zone(call: &mut Call<'_, '_>) -> Parsed<()> {
    let mut zone = None;
    let mut rate = THOUSAND;
    for n in 1..call.args().len() {
        let field = call.arg(n);
        if let Some(text) = field.arg.strip("zone=") {
            zone = Some(zone_size(field, &text)?);
        } else if let Some(text) = field.arg.strip("rate=") {
            rate = parse_rate(&text).ok_or_else(|| bad(field, "rate"))?;
        } else {
            return Err(bad(field, "parameter"));
        }
    }
    define(call, zone, LimitKind::Requests { rate })
}

/// `limit_conn_zone key zone=name:size;`
///
/// # Errors
/// nginx's words.
pub fn limit_conn_zone(call: &mut Call<'_, '_>) -> Parsed<()> {
    let field = call.arg(1);
    let text = field.arg.strip("zone=").ok_or_else(|| bad(field, "parameter"))?;
    let zone = zone_size(field, &text)?;
    define(call, Some(zone), LimitKind::Connections)
}

fn bad(field: Field<'_>, what: &str) -> Box<Diagnostic> {
    field.error(format!("invalid {what} \"{}\"", field.arg.text()))
}

/// `name:size`
fn zone_size(field: Field<'_>, text: &str) -> Parsed<(String, usize)> {
    let (name, bytes) = text.split_once(':').ok_or_else(|| bad(field, "zone size"))?;
    let bytes = size(bytes).ok_or_else(|| bad(field, "zone size"))?;
    let fits = usize::try_from(bytes).ok().filter(|_| bytes >= ZONE_BYTES_MIN);
    let bytes = fits.ok_or_else(|| {
        let mut diagnostic = field.error(format!("zone \"{}\" is too small", field.arg.text()));
        diagnostic.help("a zone has at least 32k");
        diagnostic
    })?;
    Ok((name.to_owned(), bytes))
}

/// `10r/s`, `30r/m`; a bare number is per second.
fn parse_rate(text: &str) -> Option<u64> {
    let (digits, seconds) = match (text.strip_suffix("r/s"), text.strip_suffix("r/m")) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 60),
        (None, None) => (text, 1),
    };
    let rate = number(digits).filter(|rate| *rate > 0)?;
    Some(rate.checked_mul(THOUSAND)? / seconds)
}

fn define(call: &mut Call<'_, '_>, zone: Option<(String, usize)>, kind: LimitKind) -> Parsed<()> {
    let directive = call.directive.name.text();
    let Some((name, bytes)) = zone.filter(|(name, _)| !name.is_empty()) else {
        return Err(call.error(format!("\"{directive}\" must have \"zone\" parameter")));
    };
    let key: Template = call.template(0)?;
    let key_text: Box<str> = call.text(0).into();
    let Some(slot) = call.cx.zones.slot(&name) else { return Ok(()) };
    let message = match slot {
        None => {
            *slot = Some(LimitZone { name: name.into(), bytes, key, key_text, kind });
            return Ok(());
        }
        Some(other) if std::mem::discriminant(&other.kind) != std::mem::discriminant(&kind) => {
            other_use(&name)
        }
        Some(other) if other.bytes != bytes => {
            format!(
                "the size {bytes} of shared memory zone \"{name}\" conflicts with already declared size {}",
                other.bytes
            )
        }
        Some(other) => format!("{directive} \"{name}\" is already bound to key \"{}\"", other.key_text),
    };
    Err(call.error(message))
}

/// The zone of this name, used here.
fn used(call: &mut Call<'_, '_>, name: &str, in_time: bool) -> ZoneId {
    let id = call.cx.zones.id(name);
    call.cx.zones.uses.push((id, call.directive.span, in_time));
    id
}

/// `limit_req zone=name [burst=number] [nodelay|delay=number];`
///
/// # Errors
/// nginx's words.
pub fn limit_req(level: &mut LimitLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let (mut zone, mut burst, mut delay) = (None, 0, 0);
    for n in 0..call.args().len() {
        let field = call.arg(n);
        let positive = |text: &str| number(text).filter(|number| *number > 0)?.checked_mul(THOUSAND);
        if let Some(name) = field.arg.strip("zone=") {
            zone = Some(used(call, &name, true));
        } else if let Some(text) = field.arg.strip("burst=") {
            burst = positive(&text).ok_or_else(|| bad(field, "burst value"))?;
        } else if let Some(text) = field.arg.strip("delay=") {
            delay = positive(&text).ok_or_else(|| bad(field, "delay value"))?;
        } else if field.arg.is("nodelay") {
            delay = u64::MAX;
        } else {
            return Err(bad(field, "parameter"));
        }
    }
    let zone = zone.ok_or_else(|| call.error("\"limit_req\" must have \"zone\" parameter"))?;
    let limits = level.limit_req.get_or_insert_default();
    if limits.iter().any(|other| other.zone == zone) {
        return Err(call.error("\"limit_req\" directive is duplicate"));
    }
    limits.push(RequestLimit { zone, burst, delay });
    Ok(())
}

/// `limit_conn zone number;`
///
/// # Errors
/// nginx's words.
pub fn limit_conn(level: &mut LimitLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let zone = used(call, &call.text(0), false);
    let limits = level.limit_conn.get_or_insert_default();
    if limits.iter().any(|other| other.zone == zone) {
        return Err(call.error("\"limit_conn\" directive is duplicate"));
    }
    let field = call.arg(1);
    let most = number(&field.arg.text()).filter(|most| *most > 0);
    let most = most.ok_or_else(|| bad(field, "number of connections"))?;
    if most > 65_535 {
        return Err(field.error("connection limit must be less 65536"));
    }
    limits.push(ConnectionLimit { zone, most: u32::try_from(most).unwrap_or(u32::MAX) });
    Ok(())
}

/// `limit_req_status code;`, `limit_conn_status code;`
///
/// # Errors
/// nginx's words.
pub fn status(call: &Call<'_, '_>) -> Parsed<u16> {
    let code = call.first().number()?;
    let code = u16::try_from(code).ok().filter(|code| (400..=599).contains(code));
    code.ok_or_else(|| call.first().error("value must be between 400 and 599"))
}

/// `limit_req_log_level level;`, `limit_conn_log_level level;`
///
/// # Errors
/// nginx's words.
pub fn log_level(call: &Call<'_, '_>) -> Parsed<LogLevel> {
    call.first().choice(&[
        ("info", LogLevel::Info),
        ("notice", LogLevel::Notice),
        ("warn", LogLevel::Warn),
        ("error", LogLevel::Error),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let table = [
            ("10r/s", Some(10_000)),
            ("1r/m", Some(16)),
            ("30r/m", Some(500)),
            ("7", Some(7000)),
            ("0r/s", None),
            ("-1r/s", None),
            ("r/s", None),
            ("1r/h", None),
            ("9223372036854775807r/s", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_rate(text), expected, "{text}");
        }
    }
}
