//! The `ringgate` binary as a library, so that tests can reach its parts.
//!
//! Read in this order: [`cli`] (what was asked) → [`paths`] (where things are) → [`conf`] (nginx.conf) → [`load`] and
//! [`site`] (what a process needs of it) → [`run`] (from a loaded configuration to a serving process) → [`signal`] and
//! [`reload`], [`upgrade`] (what happens to that process). [`lint`] only reads a configuration and gives advice; [`explain`] plays
//! one request on it. [`quick`] and [`demo`] need no configuration file: they write one and run it.

pub mod cli;
pub mod conf;
pub mod control;
pub mod daemon;
pub mod demo;
pub mod explain;
pub mod lint;
pub mod load;
pub mod paths;
pub mod pidfile;
pub mod privilege;
pub mod quick;
pub mod reload;
pub mod run;
pub mod say;
pub mod signal;
pub mod site;
pub mod test;
pub mod tls_cache;
pub mod tls_files;
mod tls_pem;
pub mod upgrade;
pub mod upstream;
pub mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use cli::{Action, Options};
use load::Source as _;
use run::Launch;
use site::ConfSource;

/// Carries out what the arguments behind the program's name ask for.
#[must_use]
pub fn main(args: &[OsString]) -> ExitCode {
    let action = match cli::parse(args) {
        Ok(action) => action,
        Err(message) => return failure(&message),
    };
    match action {
        Action::Version(version) => {
            say::error(version::text(version).trim_end_matches('\n'));
            ExitCode::SUCCESS
        }
        Action::Help => {
            say::output(version::SUBCOMMANDS.as_bytes());
            ExitCode::SUCCESS
        }
        Action::Test { options, dump, version } => test::test(&options, dump, version),
        Action::Lint { options, json } => lint::run(&options, json),
        Action::Explain { options, ask, json } => explain::run(&options, &ask, json),
        Action::Upstream(request) => upstream::run(&request),
        Action::Signal(options, signal) => send(&options, signal),
        Action::Serve(options) => {
            let source = ConfSource::from_options(&options);
            let early_log = source.early_log();
            run::run(Launch { source: Box::new(source), early_log, greeting: None })
        }
        Action::Proxy { listen, to, print_config } => {
            let listen = or_default(listen, quick::LISTEN);
            quick("proxy", &listen, &to, print_config, None)
        }
        Action::Demo { listen, print_config } => demo(or_default(listen, demo::LISTEN), print_config),
    }
}

fn failure(message: &str) -> ExitCode {
    say::nginx(message);
    ExitCode::FAILURE
}

fn or_default(listen: Vec<String>, default: &str) -> Vec<String> {
    if listen.is_empty() { vec![default.to_owned()] } else { listen }
}

/// `-s`: the configuration says where the pid file is.
fn send(options: &Options, signal: cli::Signal) -> ExitCode {
    let source = ConfSource::from_options(options);
    let site = match source.load(1) {
        Ok(site) => site,
        Err(remarks) => {
            run::report_early(&source.early_log(), &remarks);
            return ExitCode::FAILURE;
        }
    };
    let pid = site.main.pid.unwrap_or_else(|| paths::PID.into());
    match control::send(signal, &pid) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => failure(&message),
    }
}

/// Runs a configuration of ours in the foreground, or shows it.
fn quick(name: &str, listen: &[String], to: &[String], print: bool, greeting: Option<String>) -> ExitCode {
    let text = match quick::config(listen, to) {
        Ok(text) => text,
        Err(message) => return failure(&message),
    };
    if print {
        say::output(text.as_bytes());
        return ExitCode::SUCCESS;
    }
    let source = ConfSource::from_text(name, text);
    let early_log = source.early_log();
    let greeting =
        greeting.or_else(|| Some(format!("ringgate: {} -> {}\n", listen.join(", "), to.join(", "))));
    run::run(Launch { source: Box::new(source), early_log, greeting })
}

fn demo(listen: Vec<String>, print: bool) -> ExitCode {
    // The upstream's threads must not take signals from the thread that waits for them.
    let started = signal::block().and_then(|()| demo::upstream::start());
    let upstream = match started {
        Ok(address) => address.to_string(),
        Err(error) => return failure(&format!("the demo's upstream did not start ({})", say::errno(&error))),
    };
    let guide = listen.first().map(|listen| demo::guide(listen, &upstream));
    quick("demo", &listen, &[upstream], print, guide)
}
