//! Where a running process gets its configurations from, the first one and those of later reloads.

use std::path::PathBuf;

use proxy_core::command::Level;
use proxy_core::config::{Config, Content};

use crate::privilege::UserDirective;
use crate::say;
use crate::tls_files::Watched;

/// A configuration with what only the process obeys.
#[derive(Debug)]
pub struct Site {
    /// What the workers run.
    pub config: Config,
    /// What this process obeys.
    pub main: Main,
    /// What `-T` prints.
    pub dump: Vec<u8>,
    /// Warnings and notices.
    pub remarks: Remarks,
    /// Certificates with the files that they came from.
    pub certificates: Vec<Watched>,
}

/// The directives of the main level that only the process obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Main {
    /// `daemon`
    pub daemon: bool,
    /// `pid`, absolute; none writes no pid file.
    pub pid: Option<PathBuf>,
    /// `user`: a user, and a group where one is named.
    pub user: Option<(String, Option<String>)>,
}

impl Main {
    /// `user`, for [`identity`](crate::privilege::identity).
    #[must_use]
    pub fn user(&self) -> Option<UserDirective<'_>> {
        self.user.as_ref().map(|(user, group)| (user.as_str(), group.as_deref()))
    }
}

/// What loading had to say.
#[derive(Debug, Default)]
pub struct Remarks {
    /// One line each, for logs.
    pub lines: Vec<(Level, String)>,
    /// The same for people, with excerpts and suggestions; ends with a newline, or is empty.
    pub report: String,
}

impl Remarks {
    /// A single error without an excerpt.
    #[must_use]
    pub fn emerg(message: String) -> Self {
        let report = format!("nginx: [emerg] {message}\n");
        Self { lines: vec![(Level::Emerg, message)], report }
    }

    /// Says it to whoever sits at the terminal.
    pub fn print(&self) {
        if !self.report.is_empty() {
            say::error(self.report.trim_end_matches('\n'));
        }
    }
}

/// Gives configurations.
pub trait Source {
    /// Reads everything anew. `generation` counts from 1.
    ///
    /// # Errors
    /// Everything that is wrong.
    fn load(&self, generation: u64) -> Result<Site, Remarks>;
}

/// The temporary directories that a configuration uses, each once.
#[must_use]
pub fn temporary_directories(config: &Config) -> Vec<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let mut paths: Vec<_> = config.caches.iter().map(|zone| &zone.path).collect();
    for location in &config.locations {
        paths.push(&location.core.client_body.temp_path);
        if let Content::Proxy(proxy) = &location.content {
            paths.push(&proxy.buffering.temp_path);
        }
    }
    paths.sort();
    paths.dedup();
    paths.into_iter().map(|path| std::ffi::OsStr::from_bytes(path).into()).collect()
}
