//! The top level and `events`.

use std::path::PathBuf;

use proxy_core::config::{ErrorLogRef, Process, WorkerCount};

use super::context::Call;
use crate::conf::value::{Parsed, number};

/// What the binary, not the core, needs to know of the top level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// `daemon`
    pub daemon: bool,
    /// `pid`, absolute.
    pub pid: PathBuf,
    /// `user`: the user and, if it was written, the group.
    pub user: Option<(String, Option<String>)>,
    /// `working_directory`
    pub working_directory: Option<PathBuf>,
    /// `env`: variables to keep (no value) or to set.
    pub env: Vec<(String, Option<String>)>,
}

/// What the top level says.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct ProcessLevel {
    pub daemon: Option<bool>,
    pub pid: Option<PathBuf>,
    pub user: Option<(String, Option<String>)>,
    pub working_directory: Option<PathBuf>,
    pub env: Vec<(String, Option<String>)>,
    pub error_logs: Vec<ErrorLogRef>,
    pub process: Process,
}

/// `worker_processes number|auto;`
///
/// # Errors
/// nginx's `invalid value "X"`.
pub fn worker_processes(level: &mut ProcessLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let text = call.text(0);
    if text == "auto" {
        level.process.workers = WorkerCount::Auto;
        return Ok(());
    }
    let count = number(&text).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    let count = count.ok_or_else(|| call.first().invalid("a number of at least 1, or `auto`"))?;
    level.process.workers = WorkerCount::Fixed(count);
    Ok(())
}

/// `user name [group];`
pub fn user(level: &mut ProcessLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let group = (call.args().len() > 1).then(|| call.text(1).into_owned());
    level.user = Some((call.text(0).into_owned(), group));
    Ok(())
}

/// `env NAME[=value];`
pub fn env(level: &mut ProcessLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let text = call.text(0);
    let (name, value) =
        text.split_once('=').map_or((&*text, None), |(name, value)| (name, Some(value.to_owned())));
    level.env.push((name.to_owned(), value));
    Ok(())
}

/// `load_module path;`: nothing is loaded, so the module must be built in.
///
/// # Errors
/// If it is not.
pub fn load_module(call: &mut Call<'_, '_>) -> Parsed<()> {
    /// Modules of nginx that some distributions build as shared objects and that are part of ringgate.
    const BUILT_IN: &[&str] = &["ngx_http_stub_status_module", "ngx_http_headers_module"];
    let path = call.text(0);
    let file = path.rsplit('/').next().unwrap_or(&path);
    let module = file.strip_suffix(".so").unwrap_or(file).to_owned();
    if BUILT_IN.contains(&module.as_str()) {
        call.notice(format!("module \"{module}\" is built in: \"load_module\" does nothing"));
        return Ok(());
    }
    let mut diagnostic = call.first().error(format!("module \"{module}\" is not supported by ringgate"));
    diagnostic.help(
        "ringgate loads no shared objects; remove the line if nothing in the configuration needs the module",
    );
    Err(diagnostic)
}
