//! A [`Source`] that reads nginx.conf: from the disk, or a text that ringgate wrote itself.

use std::io::IsTerminal;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use proxy_core::command::Level;
use proxy_core::config::{Config, LogSink};

use crate::cli::Options;
use crate::conf;
use crate::conf::diagnostic::{self, Diagnostic, Severity};
use crate::conf::include::{self, Disk, Files, Loaded, Memory};
use crate::conf::lower::resolve::name_servers;
use crate::conf::lower::{Environment, Lowered, ProcessSettings, Resolve};
use crate::conf::span::Sources;
use crate::load::{Main, Remarks, Site, Source};
use crate::paths;

/// Where the system's name servers stand.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where a configuration comes from, and what the command line adds to it.
pub struct ConfSource {
    files: Box<dyn Files>,
    main: PathBuf,
    prefix: PathBuf,
    error_log: PathBuf,
    globals: Option<String>,
    temporary: (PathBuf, PathBuf),
    quick: bool,
    strict: bool,
    resolve: Box<dyn Resolve>,
}

impl ConfSource {
    /// nginx's files, as the command line says.
    #[must_use]
    pub fn from_options(options: &Options) -> Self {
        let prefix = paths::prefix(options.prefix.as_deref());
        let error_log = options.error_log.as_deref().unwrap_or(Path::new(paths::ERROR_LOG)).to_path_buf();
        Self {
            files: Box::new(Disk),
            main: paths::absolute(&prefix, options.conf.as_deref().unwrap_or(Path::new(paths::CONF))),
            prefix,
            error_log,
            globals: options.globals.as_ref().map(|text| text.to_string_lossy().into_owned()),
            temporary: (paths::CLIENT_BODY_TEMP.into(), paths::PROXY_TEMP.into()),
            quick: false,
            strict: false,
            resolve: Box::new(System),
        }
    }

    /// A text of ours: it runs in the foreground and leaves no pid file. `name` stands for the file in messages.
    #[must_use]
    pub fn from_text(name: &str, text: String) -> Self {
        let main = Path::new("/").join(name);
        Self {
            files: Box::new(Memory { files: vec![(main.clone(), text.into_bytes())] }),
            main,
            error_log: "stderr".into(),
            temporary: paths::own_temporary(),
            quick: true,
            ..Self::from_options(&Options::default())
        }
    }

    /// For a test of the configuration: a name that is not found is an error, and not only the end of its locations.
    #[must_use]
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Asks `resolve` about names instead of the system.
    #[must_use]
    pub fn resolving(self, resolve: Box<dyn Resolve>) -> Self {
        Self { resolve, ..self }
    }

    /// The main configuration file.
    #[must_use]
    pub fn main(&self) -> &Path {
        &self.main
    }

    /// Reads the files without compiling them.
    #[must_use]
    pub fn read(&self) -> Loaded {
        include::load(&*self.files, &self.main, self.globals.as_deref())
    }

    /// Where errors go that come before the configuration's own log is known.
    #[must_use]
    pub fn early_log(&self) -> LogSink {
        if self.error_log.as_os_str() == "stderr" {
            return LogSink::Stderr;
        }
        LogSink::File(paths::absolute(&self.prefix, &self.error_log).to_string_lossy().as_ref().into())
    }

    fn main_settings(&self, process: ProcessSettings) -> Main {
        Main {
            daemon: process.daemon && !self.quick,
            pid: Some(process.pid).filter(|_| !self.quick),
            user: process.user,
        }
    }
}

impl Source for ConfSource {
    fn load(&self, generation: u64) -> Result<Site, Remarks> {
        let hostname = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().to_lowercase();
        let name_servers = name_servers(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default());
        let environment = Environment {
            prefix: &self.prefix,
            error_log: &self.error_log,
            access_log: Path::new(paths::ACCESS_LOG),
            pid: Path::new(paths::PID),
            client_body_temp: &self.temporary.0,
            proxy_temp: &self.temporary.1,
            root: nix::unistd::geteuid().is_root(),
            unresolved_is_fatal: self.strict,
            hostname: &hostname,
            generation,
            name_servers: &name_servers,
            resolve: &*self.resolve,
        };
        let globals = self.globals.as_deref();
        let compiled = conf::compile(&*self.files, &self.main, globals, &environment);
        let remarks = remarks(&compiled.diagnostics, &compiled.sources);
        if !compiled.is_good() {
            return Err(remarks);
        }
        let Lowered { mut config, process, certificates } = compiled.lowered;
        name_standard_error(&mut config);
        Ok(Site {
            config,
            main: self.main_settings(process),
            dump: compiled.sources.dump(),
            remarks,
            certificates,
        })
    }
}

fn remarks(diagnostics: &[Diagnostic], sources: &Sources) -> Remarks {
    let level = |severity| match severity {
        Severity::Emerg => Level::Emerg,
        Severity::Warn => Level::Warn,
        Severity::Notice => Level::Notice,
    };
    Remarks {
        lines: diagnostics.iter().map(|found| (level(found.severity), found.headline(sources))).collect(),
        report: diagnostic::render(diagnostics, sources, std::io::stderr().is_terminal()),
    }
}

/// `/dev/stderr` cannot be opened where standard error is a socket (a service manager's journal): it is already open.
fn name_standard_error(config: &mut Config) {
    let sinks = config.logs.iter_mut().map(|log| &mut log.sink);
    for sink in sinks.chain(config.error_logs.iter_mut().map(|log| &mut log.sink)) {
        if matches!(sink, LogSink::File(path) if **path == *"/dev/stderr") {
            *sink = LogSink::Stderr;
        }
    }
}

/// The system's resolver: it blocks, but nobody waits while a configuration is loaded.
pub struct System;

impl Resolve for System {
    fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let found = (host, 0).to_socket_addrs().map_err(|error| crate::say::errno(&error))?;
        let mut addresses = Vec::new();
        for address in found.map(|address| address.ip()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }
}
