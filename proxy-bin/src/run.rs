//! From a loaded configuration to a process that serves, and to its end.
//!
//! The order is the point: what can fail or needs root comes first, while there is one thread and nobody is served;
//! then the fork to the background, then root is given up, then the threads start, and only when every listener
//! accepts does the pid file appear.

use std::io;
use std::path::PathBuf;
use std::process::{Child, ExitCode};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use proxy_core::command::Level;
use proxy_core::config::{Config, ErrorLogFile, LogSink};
use proxy_core::shared::Shared;
use proxy_io::{Bound, Fleet, Logs, powers};

use crate::daemon::{self, Ready};
use crate::load::{Remarks, Site, Source, temporary_directories};
use crate::pidfile::PidFile;
use crate::privilege::{self, Identity};
use crate::say;
use crate::signal::{self, Request};
use crate::tls_files::Watched;
use crate::upgrade::{self, Heritage};

/// How often the files of certificates are looked at.
const CERTIFICATES_TICK: Duration = Duration::from_secs(5);
/// While it drains, the process looks for signals this often.
const DRAIN_TICK: Duration = Duration::from_millis(50);

/// What to run.
pub struct Launch {
    /// Where configurations come from.
    pub source: Box<dyn Source>,
    /// Where errors go that come before the configuration's own log is known (`-e`).
    pub early_log: LogSink,
    /// What to print once every listener accepts.
    pub greeting: Option<String>,
}

/// Runs until a signal ends it.
#[must_use]
pub fn run(launch: Launch) -> ExitCode {
    if let Err(error) = signal::block() {
        say::nginx(&format!("[emerg] sigprocmask() failed ({})", say::errno(&error)));
        return ExitCode::FAILURE;
    }
    let site = match launch.source.load(1) {
        Ok(site) => site,
        Err(remarks) => {
            report_early(&launch.early_log, &remarks);
            return ExitCode::FAILURE;
        }
    };
    site.remarks.print();
    let error_log = site.config.error_logs.first().map_or(&launch.early_log, |log| &log.sink).clone();
    let greeting = launch.greeting;
    let served = start(site, launch.source).and_then(|(process, pid)| serve(process, pid, greeting));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            report_early(&error_log, &Remarks::emerg(message));
            ExitCode::FAILURE
        }
    }
}

/// Says on standard error, and in the log, why there will be no service.
pub fn report_early(sink: &LogSink, remarks: &Remarks) {
    remarks.print();
    if *sink == LogSink::Stderr {
        return;
    }
    let log = ErrorLogFile { sink: sink.clone(), level: Level::Debug };
    match Logs::open(&Config { error_logs: vec![log], ..Config::default() }) {
        Ok(logs) => remarks.lines.iter().for_each(|(level, line)| logs.write_error(0, *level, line)),
        Err(error) => say::nginx(&format!("[alert] could not open error log file: {error}")),
    }
}

/// A process that serves.
pub struct Process {
    /// Where configurations come from.
    pub source: Box<dyn Source>,
    /// The worker threads.
    pub fleet: Fleet,
    /// How many they are.
    pub workers: usize,
    /// Certificates with the files that they came from.
    pub certificates: Vec<Watched>,
    /// The pid file, which goes when this goes.
    pub pid_file: Option<PidFile>,
    /// Not after `WINCH`, until a reload.
    pub accepting: bool,
    /// What came from the process that this one replaces.
    pub heritage: Heritage,
    /// The process that will replace this one.
    pub successor: Option<Child>,
    config: Arc<Config>,
    logs: Arc<Logs>,
}

/// What must happen between the first thread and the first greeting.
struct Publish {
    pid: Option<PathBuf>,
    ready: Option<Ready>,
}

/// Does all that needs root or one thread, then starts the workers.
fn start(site: Site, source: Box<dyn Source>) -> Result<(Process, Publish), String> {
    let Site { mut config, main, remarks, dump: _, certificates } = site;
    config.generation = 1;
    let identity = privilege::identity(main.user())?;
    let open_files = privilege::raise_open_files(config.process.open_files_max);
    privilege::make_directories(&temporary_directories(&config), identity.as_ref())?;
    let workers = proxy_io::worker_count(&config);
    let mut heritage = Heritage::take();
    let inherited = heritage.bound.take();
    let bound = proxy_io::bind(&config, workers, inherited.as_ref()).map_err(|error| error.to_string())?;
    let logs = Logs::open(&config).map_err(|error| error.to_string())?;
    hand_over_logs(&config, identity.as_ref())?;
    let ready = if main.daemon && inherited.is_none() { Some(detach()?) } else { None };
    let pid = main.pid;
    if let (Some(identity), Some(pid)) = (&identity, &pid) {
        PidFile::prepare(pid, identity)?;
    }
    match &identity {
        Some(identity) => privilege::become_user(identity)?,
        None => powers::rest(),
    }
    let (config, logs) = (Arc::new(config), Arc::new(logs));
    let fleet = start_fleet(&config, bound, &logs)?;
    let complaint = heritage.complaint.take();
    let (pid_file, successor) = (None, None);
    let accepting = true;
    let process = Process {
        source,
        fleet,
        workers,
        certificates,
        pid_file,
        accepting,
        heritage,
        successor,
        config,
        logs,
    };
    process.log_all(&remarks);
    if let Some(complaint) = complaint {
        process.log(Level::Emerg, &complaint);
    }
    if let Err(message) = open_files {
        process.log(Level::Alert, &message);
    }
    Ok((process, Publish { pid, ready }))
}

/// The logs will be reopened by the user that the process becomes.
fn hand_over_logs(config: &Config, identity: Option<&Identity>) -> Result<(), String> {
    let Some(identity) = identity else { return Ok(()) };
    let sinks = config.logs.iter().map(|log| &log.sink).chain(config.error_logs.iter().map(|log| &log.sink));
    for sink in sinks {
        if let LogSink::File(path) = sink {
            privilege::hand_over((**path).as_ref(), identity)?;
        }
    }
    Ok(())
}

fn detach() -> Result<Ready, String> {
    daemon::detach()
        .map_err(|error| format!("fork() failed while spawning a daemon ({})", say::errno(&error)))
}

fn start_fleet(config: &Arc<Config>, bound: Bound, logs: &Arc<Logs>) -> Result<Fleet, String> {
    let shared = Arc::new(Shared::new().with_pid(std::process::id()));
    Fleet::start(Arc::clone(config), shared, bound, Arc::clone(logs))
        .map_err(|error| format!("the workers did not start ({})", say::errno(&error)))
}

/// Makes it known that this process serves, then does what signals say until one says to end.
fn serve(mut process: Process, publish: Publish, greeting: Option<String>) -> Result<(), String> {
    let failed = |error: io::Error| format!("the signals' thread did not start ({})", say::errno(&error));
    let signals = signal::listen().map_err(failed)?;
    let Publish { pid, ready } = publish;
    process.pid_file = pid.map(|path| PidFile::write(&path)).transpose()?;
    let version = env!("CARGO_PKG_VERSION");
    let (workers, driver) = (process.workers, process.fleet.driver());
    process.log(Level::Notice, &format!("ringgate/{version}: {workers} worker threads, driver {driver}"));
    if let Some(ready) = ready {
        ready
            .tell()
            .map_err(|error| format!("the standard streams were not let go ({})", say::errno(&error)))?;
    }
    if let Some(text) = greeting {
        say::output(text.as_bytes());
    }
    if process.answer(&signals) == Request::Quit {
        process.drain(&signals);
    }
    process.log(Level::Notice, "exit");
    Ok(())
}

impl Process {
    /// The number of the configuration in force.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.config.generation
    }

    /// Takes note of the configuration that the workers run now.
    pub fn adopt(&mut self, config: Arc<Config>, logs: Arc<Logs>) {
        (self.config, self.logs) = (config, logs);
    }

    /// Writes a line to the main error log.
    pub fn log(&self, level: Level, line: &str) {
        self.logs.write_error(0, level, line);
    }

    /// Writes all lines to the main error log.
    pub fn log_all(&self, remarks: &Remarks) {
        remarks.lines.iter().for_each(|(level, line)| self.log(*level, line));
    }

    /// Answers signals until one of them ends the service.
    fn answer(&mut self, signals: &Receiver<(nix::sys::signal::Signal, Request)>) -> Request {
        // The thread on the other side never ends; if it did, nobody could end us gracefully any more.
        loop {
            let (signal, request) = match signals.recv_timeout(CERTIFICATES_TICK) {
                Ok(received) => received,
                Err(RecvTimeoutError::Timeout) => {
                    self.look_at_certificates();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Request::Quit,
            };
            self.log(Level::Notice, &signal::describe(signal, request));
            match request {
                Request::Reload => powers::with(|| crate::reload::reload(self)),
                Request::Reopen => powers::with(|| self.fleet.reopen_logs()),
                Request::StopAccepting => {
                    self.accepting = false;
                    self.fleet.stop_accepting(self.successor.is_some());
                }
                Request::Upgrade => upgrade::upgrade(self),
                Request::Reap => upgrade::look_at_successor(self),
                Request::Quit | Request::Stop => return request,
            }
        }
    }

    /// Takes renewed certificates into use.
    fn look_at_certificates(&mut self) {
        if self.certificates.is_empty() {
            return;
        }
        powers::with(|| {
            for watched in &mut self.certificates {
                match watched.look() {
                    Some(Ok(line)) => self.logs.write_error(0, Level::Notice, &line),
                    Some(Err(line)) => self.logs.write_error(0, Level::Error, &line),
                    None => {}
                }
            }
        });
    }

    /// Waits until everything in flight is done, `worker_shutdown_timeout` is over, or a signal says to stop.
    fn drain(&self, signals: &Receiver<(nix::sys::signal::Signal, Request)>) {
        let bound = self.config.process.shutdown_timeout;
        let deadline = bound.map(|bound| Instant::now() + Duration::from_millis(bound.0));
        self.fleet.shutdown();
        while !self.fleet.wait(Some(DRAIN_TICK)) {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.log(Level::Notice, "worker_shutdown_timeout is over, closing what is left");
                return;
            }
            if signals.try_iter().any(|(_, request)| request == Request::Stop) {
                return;
            }
        }
    }
}
