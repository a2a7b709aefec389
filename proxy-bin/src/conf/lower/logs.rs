//! `error_log`, `access_log`, `log_format`: which lines go to which files.

use std::collections::HashMap;
use std::sync::Arc;

use proxy_core::command::Level;
use proxy_core::config::{
    AccessLog, ErrorLogFile, ErrorLogRef, Escape, LogFile, LogFormat, LogId, LogSink, LogTarget,
};
use proxy_core::time::Millis;

use super::context::{Call, Context};
use super::template::{compile_bytes, compile_text, has_variables};
use crate::conf::value::{Field, Parsed, milliseconds, size};

/// The log files of a configuration, each path once.
#[derive(Debug, Default)]
pub struct Logs {
    /// Access logs.
    pub access: Vec<LogFile>,
    /// Error logs; the first is the main one.
    pub errors: Vec<ErrorLogFile>,
    /// Where in `access` a file is.
    by_sink: HashMap<Box<str>, usize>,
}

impl Logs {
    /// The error log at `sink`, which from now on takes lines of at least `level`.
    pub fn error(&mut self, sink: LogSink, level: Level) -> ErrorLogRef {
        let at = self.errors.iter().position(|file| file.sink == sink).unwrap_or_else(|| {
            self.errors.push(ErrorLogFile { sink, level });
            self.errors.len() - 1
        });
        if let Some(file) = self.errors.get_mut(at) {
            file.level = file.level.max(level);
        }
        ErrorLogRef { log: u32::try_from(at).unwrap_or(u32::MAX), level }
    }

    /// The access log at this path; `None` if it is buffered in another way elsewhere.
    pub fn access(&mut self, file: LogFile) -> Option<LogId> {
        let known = self.by_sink.get(path_of(&file.sink)).copied();
        let at = match known.and_then(|at| Some((at, self.access.get_mut(at)?))) {
            Some((at, _)) if file.buffer_bytes == 0 => at,
            Some((at, other)) if other.buffer_bytes == 0 => {
                *other = file;
                at
            }
            Some((at, other)) if *other == file => at,
            Some(_) => return None,
            None => {
                self.by_sink.insert(path_of(&file.sink).into(), self.access.len());
                self.access.push(file);
                self.access.len() - 1
            }
        };
        u32::try_from(at).ok().map(LogId)
    }
}

fn path_of(sink: &LogSink) -> &str {
    match sink {
        LogSink::Stderr => "stderr",
        LogSink::File(path) => path,
        LogSink::Syslog(to) => &to.text,
    }
}

fn sink(call: &Call<'_, '_>, field: Field<'_>) -> Parsed<LogSink> {
    let text = field.arg.text();
    if let Some(parameters) = text.strip_prefix("syslog:") {
        return super::syslog::sink(call, field, parameters);
    }
    if text.starts_with("memory:") {
        let message = format!("logging to \"{text}\" is known to nginx but ringgate does not support it yet");
        return Err(field.error(message));
    }
    Ok(LogSink::File(call.cx.path(&text).to_string_lossy().as_ref().into()))
}

/// `error_log file [level];`
///
/// # Errors
/// nginx's `invalid log level "X"`.
pub fn error_log(call: &mut Call<'_, '_>) -> Parsed<ErrorLogRef> {
    const LEVELS: [(&str, Level); 8] = [
        ("emerg", Level::Emerg),
        ("alert", Level::Alert),
        ("crit", Level::Crit),
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("notice", Level::Notice),
        ("info", Level::Info),
        ("debug", Level::Debug),
    ];
    let sink = if call.first().arg.is("stderr") { LogSink::Stderr } else { sink(call, call.first())? };
    let mut level = Level::Error;
    if call.args().len() > 1 {
        let word = call.text(1);
        let found = LEVELS.iter().find(|(name, _)| *name == word);
        level = found.map(|(_, level)| *level).ok_or_else(|| {
            let mut diagnostic = call.arg(1).error(format!("invalid log level \"{word}\""));
            diagnostic.help("one of: debug, info, notice, warn, error, crit, alert, emerg");
            diagnostic
        })?;
    }
    Ok(call.cx.logs.error(sink, level))
}

/// `log_format name [escape=…] string …;`
///
/// # Errors
/// As nginx's.
pub fn log_format(call: &mut Call<'_, '_>) -> Parsed<()> {
    let name = call.text(0);
    if call.cx.formats.iter().any(|format| *format.name == *name) || name == "combined" {
        return Err(call.first().error(format!("duplicate \"log_format\" name \"{name}\"")));
    }
    let mut escape = Escape::Default;
    let mut first = 1;
    if let Some(word) = call.arg(1).arg.strip("escape=") {
        escape = match &*word {
            "default" => Escape::Default,
            "json" => Escape::Json,
            "none" => Escape::None,
            other => return Err(call.arg(1).error(format!("unknown log format escaping \"{other}\""))),
        };
        first = 2;
    }
    let mut pieces = Vec::new();
    for n in first..call.args().len() {
        pieces.extend(call.template(n)?.pieces().iter().cloned());
    }
    let template = proxy_core::config::Template::new(pieces);
    call.cx.formats.push(Arc::new(LogFormat { name: name.as_ref().into(), escape, template }));
    Ok(())
}

/// nginx's predefined format.
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
                        \"$http_referer\" \"$http_user_agent\"";

/// The `combined` format.
pub fn combined(cx: &mut Context<'_>) -> Arc<LogFormat> {
    if let Some(format) = cx.formats.iter().find(|format| &*format.name == "combined") {
        return format.clone();
    }
    let template = compile_text(&mut cx.variables, None, COMBINED.as_bytes()).unwrap_or_default();
    let format = Arc::new(LogFormat { name: "combined".into(), escape: Escape::Default, template });
    cx.formats.push(format.clone());
    format
}

/// `access_log off;`, `access_log path [format [buffer=… flush=… if=…]];`
///
/// # Errors
/// As nginx's.
pub fn access_log(logs: &mut Option<Vec<AccessLog>>, call: &mut Call<'_, '_>) -> Parsed<()> {
    if call.first().arg.is("off") {
        if call.args().len() > 1 {
            return Err(call.arg(1).error(format!("invalid parameter \"{}\"", call.text(1))));
        }
        *logs = Some(Vec::new());
        return Ok(());
    }
    let format = format(call)?;
    let mut buffer: Option<usize> = None;
    let mut flush: Option<Millis> = None;
    let mut gzip_level = None;
    let mut condition = None;
    for n in 2..call.args().len() {
        let field = call.arg(n);
        let text = field.arg.text();
        match text.split_once('=') {
            Some(("buffer", value)) => {
                let bytes = size(value).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
                buffer = Some(bytes.ok_or_else(|| field.error(format!("invalid buffer size \"{value}\"")))?);
            }
            Some(("flush", value)) => {
                let time = milliseconds(value).filter(|ms| *ms > 0).map(Millis);
                flush = Some(time.ok_or_else(|| field.error(format!("invalid flush time \"{value}\"")))?);
            }
            Some(("if", value)) => condition = Some(compile_bytes(call.cx, field, value.as_bytes())?),
            _ if text == "gzip" || text.starts_with("gzip=") => {
                let level = text.strip_prefix("gzip=").map_or(Some(1), |level| level.parse().ok());
                gzip_level = Some(level.filter(|level| (1..=9_u8).contains(level)).ok_or_else(|| {
                    let level = text.strip_prefix("gzip=").unwrap_or_default();
                    field.error(format!("invalid compression level \"{level}\""))
                })?);
                buffer = buffer.or(Some(GZIP_BUFFER_BYTES));
            }
            _ => return Err(field.error(format!("invalid parameter \"{text}\""))),
        }
    }
    let target = target(call, buffer, flush, gzip_level)?;
    logs.get_or_insert_default().push(AccessLog { target, format, condition });
    Ok(())
}

fn format(call: &mut Call<'_, '_>) -> Parsed<Arc<LogFormat>> {
    if call.args().len() < 2 {
        return Ok(combined(call.cx));
    }
    let name = call.text(1);
    if name == "combined" {
        return Ok(combined(call.cx));
    }
    let found = call.cx.formats.iter().find(|format| *format.name == *name).cloned();
    found.ok_or_else(|| {
        let mut diagnostic = call.arg(1).error(format!("unknown log format \"{name}\""));
        let names = call.cx.formats.iter().map(|format| &*format.name);
        match crate::conf::diagnostic::nearest(&name, names) {
            Some(near) => diagnostic.help(format!("did you mean \"{near}\"?")),
            None => diagnostic.help("define it with `log_format` before it is used"),
        };
        diagnostic
    })
}

/// The buffer of a compressed log for which none is written.
const GZIP_BUFFER_BYTES: usize = 64 * 1024;

fn target(
    call: &mut Call<'_, '_>,
    buffer: Option<usize>,
    flush: Option<Millis>,
    gzip_level: Option<u8>,
) -> Parsed<LogTarget> {
    let field = call.first();
    if has_variables(&field.arg.bytes) {
        if buffer.is_some() || flush.is_some() {
            return Err(field.error("buffered logs cannot have variables in name"));
        }
        let full = if field.arg.bytes.starts_with(b"$") {
            field.arg.text().into_owned()
        } else {
            call.cx.path(&field.arg.text()).to_string_lossy().into_owned()
        };
        return Ok(LogTarget::Path(compile_bytes(call.cx, field, full.as_bytes())?));
    }
    if flush.is_some() && buffer.is_none() {
        return Err(call.error(format!("no buffer is defined for access_log \"{}\"", field.arg.text())));
    }
    let sink = sink(call, field)?;
    if buffer.is_some() && matches!(sink, LogSink::Syslog(_)) {
        return Err(call.error("logs to syslog cannot be buffered"));
    }
    let id = call.cx.logs.access(LogFile { sink, buffer_bytes: buffer.unwrap_or(0), flush, gzip_level });
    id.map(LogTarget::File).ok_or_else(|| {
        let path = field.arg.text();
        call.error(format!("access_log \"{path}\" already defined with conflicting parameters"))
    })
}
