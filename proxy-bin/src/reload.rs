//! A new configuration for a process that serves: all of it, or nothing and the reasons in the log.
//!
//! Everything that can fail happens before the workers hear of it: the configuration is read and checked, its logs are
//! opened, its directories made, its new listeners bound. Connections and their exchanges go on throughout.

use std::sync::Arc;

use proxy_core::command::Level;
use proxy_core::config::Config;
use proxy_io::Logs;

use crate::load::Remarks;
use crate::privilege;
use crate::run::Process;

/// Reloads; says in the log how it went.
pub fn reload(process: &mut Process) {
    match attempt(process) {
        Ok(remarks) => {
            process.log_all(&remarks);
            process.log(Level::Notice, &format!("generation {} is in force", process.generation()));
        }
        Err(remarks) => {
            process.log_all(&remarks);
            process.log(Level::Error, "the reload failed; the configuration that was in force still is");
        }
    }
}

fn attempt(process: &mut Process) -> Result<Remarks, Remarks> {
    let mut site = process.source.load(process.generation() + 1)?;
    site.config.generation = process.generation() + 1;
    note_what_cannot_change(process, &site.config, &mut site.remarks);
    let config = Arc::new(site.config);
    let emerg = |error: &dyn std::fmt::Display| Remarks::emerg(error.to_string());
    privilege::make_directories(&crate::load::temporary_directories(&config), None)
        .map_err(Remarks::emerg)?;
    let logs = Arc::new(Logs::open(&config).map_err(|error| emerg(&error))?);
    let bound = proxy_io::bind(&config, process.workers, Some(&process.fleet.bound()));
    let bound = bound.map_err(|error| emerg(&error))?;
    process.fleet.reload(Arc::clone(&config), bound, Arc::clone(&logs)).map_err(|error| emerg(&error))?;
    process.adopt(config, logs);
    process.accepting = true;
    process.certificates = site.certificates;
    Ok(site.remarks)
}

/// Threads are started once; everything else follows the new configuration.
fn note_what_cannot_change(process: &Process, new: &Config, remarks: &mut Remarks) {
    let wanted = proxy_io::worker_count(new);
    if wanted != process.workers {
        let line =
            format!("\"worker_processes\" is {wanted} now, but {} run until a restart", process.workers);
        remarks.lines.push((Level::Notice, line));
    }
}
