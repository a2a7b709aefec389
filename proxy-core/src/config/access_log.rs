//! Access logs.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::{LogId, LogSink, Template};
use crate::time::Millis;

/// One `access_log` of a level.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// Where lines go.
    pub target: LogTarget,
    /// What they say.
    pub format: Arc<LogFormat>,
    /// `if=`: no line where this is empty or "0".
    pub condition: Option<Template>,
}

/// Where lines go.
#[derive(Clone, Debug)]
pub enum LogTarget {
    /// A file that is known at load.
    File(LogId),
    /// A file whose name holds variables.
    Path(Template),
}

/// `log_format`. Variables are escaped as they are written; the text between them is not.
#[derive(Clone, Debug)]
pub struct LogFormat {
    /// Its name.
    pub name: Box<str>,
    /// `escape=`
    pub escape: Escape,
    /// The line, without its end.
    pub template: Template,
}

/// `escape=` of `log_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// `\xXX` for quotes, backslashes, control bytes and bytes above 126; `-` for a variable without a value.
    Default,
    /// As inside a JSON string; nothing for a variable without a value.
    Json,
    /// As they are.
    None,
}

/// An access log's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Where to.
    pub sink: LogSink,
    /// `buffer=` in bytes; 0 writes at the end of each turn.
    pub buffer_bytes: usize,
    /// `flush=`: how long a line may wait in the buffer.
    pub flush: Option<Millis>,
    /// `gzip=`: each full buffer is written compressed, 1 to 9; none is as it is.
    pub gzip_level: Option<u8>,
}
