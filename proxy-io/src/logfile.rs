//! Log files: opened once for the process, appended to with one `write(2)` for many lines, opened again when asked.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use proxy_core::command::Level;
use proxy_core::config::{Config, LogId, LogSink};
use proxy_core::time::Instant;

use crate::clock::unix_ms;
use crate::control::lock;
use crate::errno;
use crate::kernel::{local_time, thread_id};
use crate::syslog;

/// How many files of computed names a worker keeps open (`open_log_file_cache`).
const PATHS_KEPT_MAX: usize = 16;

/// The error and access log files of a configuration, shared by all workers.
pub struct Logs {
    errors: Vec<(Target, Level)>,
    access: Vec<AccessFile>,
}

struct AccessFile {
    target: Target,
    buffer_bytes: usize,
    flush_ms: Option<u64>,
    gzip_level: Option<u8>,
}

enum Target {
    Stderr,
    File { path: Box<str>, file: Mutex<Arc<File>> },
    Syslog(syslog::Peer),
}

/// A log file that could not be opened.
#[derive(Debug)]
pub struct LogError {
    path: Box<str>,
    error: io::Error,
}

impl fmt::Display for LogError {
    /// In nginx's words: `open() "/var/log/x.log" failed (13: Permission denied)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "open() \"{}\" failed ({})", self.path, errno::text(&self.error))
    }
}

impl std::error::Error for LogError {}

impl Logs {
    /// Opens every log file of `config`, and makes those that do not exist.
    ///
    /// # Errors
    /// The first file that could not be opened.
    pub fn open(config: &Config) -> Result<Self, LogError> {
        let mut errors = Vec::new();
        for log in &config.error_logs {
            errors.push((Target::open(&log.sink, config)?, log.level));
        }
        let mut access = Vec::new();
        for log in &config.logs {
            let flush_ms = log.flush.map(|span| span.0);
            access.push(AccessFile {
                target: Target::open(&log.sink, config)?,
                buffer_bytes: log.buffer_bytes,
                flush_ms,
                gzip_level: log.gzip_level,
            });
        }
        Ok(Self { errors, access })
    }

    /// Opens every file again, after the old ones were renamed (`SIGUSR1`). A file that cannot be opened keeps its old
    /// descriptor.
    ///
    /// # Errors
    /// Every file that could not be opened.
    pub fn reopen(&self) -> Result<(), Vec<LogError>> {
        let targets = self.errors.iter().map(|log| &log.0).chain(self.access.iter().map(|log| &log.target));
        let failed: Vec<_> = targets.filter_map(|target| target.reopen().err()).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }

    /// Writes one line to an error log, unless it is less severe than what the log wants. `log` is a place in
    /// [`Config::error_logs`]; 0, the main one, stands in for a place that does not exist.
    pub fn write_error(&self, log: u32, level: Level, message: &str) {
        self.write_error_bytes(log, level, message.as_bytes());
    }

    pub(crate) fn write_error_bytes(&self, log: u32, level: Level, message: &[u8]) {
        let Some((target, wanted)) = self.errors.get(log as usize).or_else(|| self.errors.first()) else {
            return;
        };
        if level > *wanted {
            return;
        }
        let now = local_time(unix_ms() / 1000);
        let mut line = format!(
            "{:04}/{:02}/{:02} {:02}:{:02}:{:02} [{}] {}#{}: ",
            now.year,
            now.month,
            now.day,
            now.hour,
            now.minute,
            now.second,
            level.name(),
            std::process::id(),
            thread_id(),
        )
        .into_bytes();
        line.extend_from_slice(message);
        line.push(b'\n');
        match target {
            Target::Syslog(peer) => peer.send_error(level, &line),
            Target::Stderr | Target::File { .. } => target.append(&line),
        }
    }
}

impl Target {
    fn open(sink: &LogSink, config: &Config) -> Result<Self, LogError> {
        match sink {
            LogSink::Stderr => Ok(Self::Stderr),
            LogSink::Syslog(to) => {
                Ok(Self::Syslog(syslog::Peer::new((**to).clone(), Arc::clone(&config.hostname))))
            }
            LogSink::File(path) => {
                let file = append_to(Path::new(&**path));
                let file = file.map_err(|error| LogError { path: path.clone(), error })?;
                Ok(Self::File { path: path.clone(), file: Mutex::new(Arc::new(file)) })
            }
        }
    }

    fn reopen(&self) -> Result<(), LogError> {
        if let Self::File { path, file } = self {
            let new = append_to(Path::new(&**path));
            *lock(file) = Arc::new(new.map_err(|error| LogError { path: path.clone(), error })?);
        }
        Ok(())
    }

    /// A log that cannot be written to must not stop the proxy, and there is nowhere else to say so.
    fn append(&self, bytes: &[u8]) {
        match self {
            Self::Stderr => drop(io::stderr().lock().write_all(bytes)),
            Self::Syslog(peer) => peer.send_lines(bytes),
            Self::File { file, .. } => {
                let file = Arc::clone(&lock(file));
                drop((&*file).write_all(bytes));
            }
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// What one worker has to write to access logs and has not written yet.
pub(crate) struct Pending {
    logs: Arc<Logs>,
    /// In the order of [`Config::logs`].
    buffers: Vec<Buffer>,
    /// The files of computed names, the one used last in front.
    paths: VecDeque<(Box<[u8]>, File)>,
}

#[derive(Default)]
struct Buffer {
    lines: Vec<u8>,
    /// When the first line was put in, for `flush=`.
    since: Instant,
}

impl Pending {
    pub(crate) fn new(logs: Arc<Logs>) -> Self {
        let buffers = logs.access.iter().map(|_| Buffer::default()).collect();
        Self { logs, buffers, paths: VecDeque::new() }
    }

    pub(crate) fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Takes lines for a log.
    pub(crate) fn add(&mut self, log: LogId, lines: &[u8], now: Instant) {
        let place = log.0 as usize;
        let (Some(buffer), Some(file)) = (self.buffers.get_mut(place), self.logs.access.get(place)) else {
            return;
        };
        // As nginx: what does not fit any more makes what is there go first.
        if file.buffer_bytes > 0 && buffer.lines.len() + lines.len() > file.buffer_bytes {
            buffer.write(file);
        }
        if buffer.lines.is_empty() {
            buffer.since = now;
        }
        buffer.lines.extend_from_slice(lines);
        if file.buffer_bytes > 0 && buffer.lines.len() > file.buffer_bytes {
            buffer.write(file);
        }
    }

    /// Writes lines to the file of a computed name.
    pub(crate) fn add_path(&mut self, path: Box<[u8]>, lines: &[u8]) {
        use std::os::unix::ffi::OsStrExt as _;
        let known = self.paths.iter().position(|(known, _)| *known == path);
        let entry = match known.and_then(|place| self.paths.remove(place)) {
            Some(entry) => entry,
            None => match append_to(Path::new(std::ffi::OsStr::from_bytes(&path))) {
                Ok(file) => (path, file),
                Err(error) => {
                    let name = String::from_utf8_lossy(&path);
                    let message = format!("open() \"{name}\" failed ({})", errno::text(&error));
                    self.logs.write_error(0, Level::Crit, &message);
                    return;
                }
            },
        };
        drop((&entry.1).write_all(lines));
        self.paths.push_front(entry);
        self.paths.truncate(PATHS_KEPT_MAX);
    }

    /// The turn is over: what is not to be buffered goes out, and what has waited long enough.
    pub(crate) fn end_turn(&mut self, now: Instant) {
        for (buffer, file) in self.buffers.iter_mut().zip(&self.logs.access) {
            let due = file.buffer_bytes == 0
                || file.flush_ms.is_some_and(|ms| now.millis_since(buffer.since) >= ms);
            if due {
                buffer.write(file);
            }
        }
    }

    /// When the next buffer has waited long enough.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let waiting =
            self.buffers.iter().zip(&self.logs.access).filter(|(buffer, _)| !buffer.lines.is_empty());
        let due = |(buffer, file): (&Buffer, &AccessFile)| {
            file.flush_ms.map(|ms| buffer.since + proxy_core::time::Millis(ms))
        };
        waiting.filter_map(due).min()
    }

    /// Writes everything out.
    pub(crate) fn flush(&mut self) {
        for (buffer, file) in self.buffers.iter_mut().zip(&self.logs.access) {
            buffer.write(file);
        }
    }

    /// Everything is written out, and the files of computed names are opened again at their next line.
    pub(crate) fn reopen(&mut self) {
        self.flush();
        self.paths.clear();
    }
}

impl Buffer {
    fn write(&mut self, file: &AccessFile) {
        if self.lines.is_empty() {
            return;
        }
        match file.gzip_level {
            None => file.target.append(&self.lines),
            // One member after the other: zcat reads them as one file.
            Some(level) => {
                let mut packed = GzEncoder::new(Vec::new(), Compression::new(u32::from(level)));
                let whole = packed.write_all(&self.lines).and_then(|()| packed.finish());
                whole.iter().for_each(|packed| file.target.append(packed));
            }
        }
        self.lines.clear();
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::config::LogFile;
    use proxy_core::time::Millis;

    use super::*;

    #[test]
    fn a_buffer_goes_out_whole_when_it_is_full_or_old() {
        let dir = std::env::temp_dir().join(format!("ringgate-log-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let name = dir.join("access.log").to_str().unwrap().to_owned();
        let sink = LogSink::File(name.clone().into());
        let mut config = Config::default();
        config.logs.push(LogFile { sink, buffer_bytes: 10, flush: Some(Millis(50)), gzip_level: None });
        let mut pending = Pending::new(Arc::new(Logs::open(&config).unwrap()));
        let at = Instant::from_micros;
        let steps: [(&[u8], u64, &str); 6] = [
            (b"one\n", 0, ""),
            (b"two\n", 10_000, ""),
            (b"four\n", 20_000, "one\ntwo\n"),
            (b"", 69_999, "one\ntwo\n"),
            (b"", 70_000, "one\ntwo\nfour\n"),
            (b"a longer line\n", 80_000, "one\ntwo\nfour\na longer line\n"),
        ];
        for (lines, us, written) in steps {
            if !lines.is_empty() {
                pending.add(LogId(0), lines, at(us));
            }
            pending.end_turn(at(us));
            assert_eq!(std::fs::read_to_string(&name).unwrap(), written, "at {us}");
        }
        assert_eq!(pending.next_deadline(), None);
        pending.add(LogId(0), b"x\n", at(90_000));
        assert_eq!(pending.next_deadline(), Some(at(140_000)));
        pending.add(LogId(7), b"nowhere\n", at(90_000));

        let path: Box<[u8]> = dir.join("host.log").to_str().unwrap().as_bytes().into();
        pending.add_path(path.clone(), b"1\n");
        pending.add_path(path, b"2\n");
        pending.add_path(dir.join("none/host.log").to_str().unwrap().as_bytes().into(), b"lost\n");
        assert_eq!(std::fs::read_to_string(dir.join("host.log")).unwrap(), "1\n2\n");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
