//! The top level and `events`: the process, its workers, its log.

use super::store;
use super::{Arity as A, Body, Contexts as C, Entry};
use crate::conf::lower;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "include",
        C::ALL,
        A::ONE,
        "Includes a file, or all files that match a pattern, as if their text stood here.",
    )
    .repeats(),
    Entry::new("daemon", C::MAIN, A::FLAG, "Whether the process goes to the background. Default: on.")
        .process(|level, call| store(&mut level.daemon, call.first().flag())),
    Entry::new(
        "master_process",
        C::MAIN,
        A::FLAG,
        "Accepted: ringgate is one process with worker threads. Default: on.",
    ),
    Entry::new(
        "pid",
        C::MAIN,
        A::ONE,
        "The file that holds the process id. Default: /run/nginx.pid, as built.",
    )
    .process(|level, call| {
        level.pid = Some(call.cx.path(&call.text(0)));
        Ok(())
    }),
    Entry::new(
        "worker_processes",
        C::MAIN,
        A::ONE,
        "How many worker threads, or `auto` for one per usable CPU. Default: 1.",
    )
    .process(lower::process::worker_processes),
    Entry::new(
        "user",
        C::MAIN,
        A::ONE_TWO,
        "The user and group to become once the sockets are bound, if started as root. Default: nobody.",
    )
    .process(lower::process::user),
    Entry::new(
        "error_log",
        C::MAIN,
        A::MORE1,
        "Where error lines of at least this level go. Default: logs/error.log error.",
    )
    .process(|level, call| {
        let log = lower::logs::error_log(call)?;
        level.error_logs.push(log);
        Ok(())
    })
    .repeats(),
    Entry::new(
        "worker_shutdown_timeout",
        C::MAIN,
        A::ONE,
        "How long a graceful shutdown may take. Default: no bound.",
    )
    .process(|level, call| store(&mut level.process.shutdown_timeout, call.first().millis())),
    Entry::new("worker_rlimit_nofile", C::MAIN, A::ONE, "The limit on open files. Default: as inherited.")
        .process(|level, call| store(&mut level.process.open_files_max, call.first().number())),
    Entry::new("working_directory", C::MAIN, A::ONE, "The directory to work in. Default: as started.")
        .process(|level, call| {
            level.working_directory = Some(call.cx.path(&call.text(0)));
            Ok(())
        }),
    Entry::new("env", C::MAIN, A::ONE, "Keeps or sets an environment variable. Default: TZ.")
        .process(lower::process::env)
        .repeats(),
    Entry::new(
        "load_module",
        C::MAIN,
        A::ONE,
        "Accepted with a notice where the module is built in; an error otherwise.",
    )
    .process(|_, call| lower::process::load_module(call))
    .repeats(),
    Entry::new("events", C::MAIN, A::NONE, "How connections are processed; must be there.")
        .structure()
        .with_body(Body::Block(C::EVENTS)),
    Entry::new(
        "worker_connections",
        C::EVENTS,
        A::ONE,
        "How many connections one worker may hold, those to upstreams included. Default: 512.",
    )
    .process(|level, call| {
        level.process.worker_connections = call.first().number_u32()?;
        Ok(())
    }),
    Entry::new(
        "multi_accept",
        C::EVENTS,
        A::FLAG,
        "Whether a worker accepts all waiting connections at once. Default: off.",
    )
    .process(|level, call| {
        level.process.multi_accept = call.first().flag()?;
        Ok(())
    }),
    Entry::new("http", C::MAIN, A::NONE, "The HTTP server.").structure().with_body(Body::Block(C::HTTP)),
];
