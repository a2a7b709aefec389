//! ringgate beside nginx and HAProxy: the same work, one worker on one core, in alternating rounds.
//!
//! ```text
//! cargo bench -p ringgate-benches --bench load -- compare --shape small --rounds 9
//! cargo bench -p ringgate-benches --bench load -- --help
//! ```
//!
//! One machine, two cores: the proxy under test is pinned to core 0, the upstream and the load client share core 1. What
//! counts is the proxy's CPU time per request (the scheduler's own account of every thread) and its ratio to nginx in the
//! same round; requests per second on a shared loopback mostly measure the other core.
//!
//! Reading order: `shapes` (what is asked for), `proxies` (who is asked, with which configuration), `upstream` and
//! `client` (the two ends), `tls` (what may lie between client and proxy), `bulk` (connections that idle, and bodies of 1 GiB), `cpu` and `syscalls` (the meters),
//! `compare` (the rounds), `report` and `plot` (what comes out), `vs_nginx` (the same meters as criterion groups).
//!
//! Without a subcommand the criterion groups run.

#![allow(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

mod args;
mod bulk;
mod client;
mod compare;
mod cpu;
mod h2load;
mod launch;
mod plot;
mod proxies;
mod reply;
mod report;
mod shapes;
mod syscalls;
mod tls;
mod upstream;
mod vs_nginx;
mod wrk;

use std::process::ExitCode;

/// Nothing here recovers from an error: it is printed, the children are ended and the run fails.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    match args::parse()? {
        args::Mode::Help => println!("{}", args::HELP),
        args::Mode::Launch { core, command } => return Err(launch::become_program(core, &command)),
        args::Mode::Compare(options) => compare::run(&options)?,
        args::Mode::Criterion => vs_nginx::run()?,
    }
    Ok(())
}
