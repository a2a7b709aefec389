//! `syslog:server=address[,facility=…][,tag=…][,severity=…][,nohostname]` of `error_log` and `access_log`.

use std::sync::Arc;

use proxy_core::config::{LogSink, Syslog};

use super::address;
use super::context::Call;
use crate::conf::value::{Field, Parsed};

/// The facilities by their numbers.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv", "ftp",
    "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// The severities by their numbers.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];

/// `local7`
const FACILITY: u8 = 23;
/// `info`
const SEVERITY: u8 = 6;
/// The port of syslog over UDP.
const PORT: u16 = 514;
const TAG_BYTES_MAX: usize = 32;

/// Reads the parameters behind `syslog:`.
///
/// # Errors
/// As nginx's.
pub fn sink(call: &Call<'_, '_>, field: Field<'_>, parameters: &str) -> Parsed<LogSink> {
    let mut server = None;
    let (mut facility, mut severity, mut tag) = (None, None, None);
    let mut without_hostname = false;
    let duplicate = |name: &str| field.error(format!("duplicate syslog \"{name}\""));
    for parameter in parameters.split(',') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "server" if server.is_some() => return Err(duplicate("server")),
            "server" => server = Some(endpoint(call, field, value)?),
            "facility" if facility.is_some() => return Err(duplicate("facility")),
            "facility" => {
                facility = Some(
                    place(&FACILITIES, value)
                        .ok_or_else(|| field.error(format!("unknown syslog facility \"{value}\"")))?,
                );
            }
            "severity" if severity.is_some() => return Err(duplicate("severity")),
            "severity" => {
                severity = Some(
                    place(&SEVERITIES, value)
                        .ok_or_else(|| field.error(format!("unknown syslog severity \"{value}\"")))?,
                );
            }
            "tag" if tag.is_some() => return Err(duplicate("tag")),
            "tag" if value.len() > TAG_BYTES_MAX => {
                return Err(field.error("syslog tag length exceeds 32"));
            }
            "tag" if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
                let message = "syslog \"tag\" only allows alphanumeric characters and underscore";
                return Err(field.error(message));
            }
            "tag" => tag = Some(value),
            "nohostname" if value.is_empty() => without_hostname = true,
            _ => return Err(field.error(format!("unknown syslog parameter \"{parameter}\""))),
        }
    }
    let server = server.ok_or_else(|| field.error("no syslog server specified"))?;
    Ok(LogSink::Syslog(Arc::new(Syslog {
        text: field.arg.text().as_ref().into(),
        server,
        facility: facility.unwrap_or(FACILITY),
        severity: severity.unwrap_or(SEVERITY),
        tag: tag.unwrap_or("nginx").into(),
        without_hostname,
    })))
}

fn place(names: &[&str], name: &str) -> Option<u8> {
    let place = names.iter().position(|known| *known == name)?;
    u8::try_from(place).ok()
}

fn endpoint(call: &Call<'_, '_>, field: Field<'_>, text: &str) -> Parsed<proxy_core::command::Address> {
    let wrong = |reason: &str| field.error(format!("{reason} in syslog server \"{text}\""));
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(proxy_core::command::Address::Unix(path.into()));
    }
    let (endpoint, _) = address::split(text).map_err(wrong)?;
    let addresses = address::resolve(&endpoint, PORT, call.cx.env.resolve).map_err(wrong)?;
    addresses.into_iter().next().ok_or_else(|| wrong("host not found"))
}
