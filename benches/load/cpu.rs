//! The meters: what the kernel says about a proxy's processes.

use std::fs;
use std::ops::Sub;
use std::time::{Duration, Instant};

/// The process `root` and everything that descends from it.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = parent_of(pid) {
            parents.push((pid, parent));
        }
    }
    let mut family = vec![root];
    let mut seen = 0;
    while let Some(&parent) = family.get(seen) {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        seen += 1;
    }
    family
}

/// The fourth field of `/proc/PID/stat`; the second may hold spaces and parentheses.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// CPU time and the wall clock, taken together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    cpu: Duration,
    at: Instant,
}

/// The difference of two readings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// CPU time of all threads.
    pub(crate) cpu: Duration,
    /// Wall-clock time.
    pub(crate) wall: Duration,
}

impl Sub for Reading {
    type Output = Spent;

    fn sub(self, earlier: Self) -> Spent {
        Spent { cpu: self.cpu.saturating_sub(earlier.cpu), wall: self.at - earlier.at }
    }
}

/// The run time of every thread of `pids`, kernel workers of io_uring included, as the scheduler accounts it
/// (`Documentation/scheduler/sched-stats.rst`). Exact while the threads sleep, which they do between rounds.
pub(crate) fn read(pids: &[u32]) -> Reading {
    let mut nanoseconds = 0;
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let run = fs::read_to_string(task.path().join("schedstat")).ok();
            nanoseconds += run.and_then(|text| text.split(' ').next()?.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Reading { cpu: Duration::from_nanos(nanoseconds), at: Instant::now() }
}

/// Resident memory of `pids` together, KiB. Pages that a master shares with its workers count for each.
pub(crate) fn resident_kib(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        })
        .sum()
}
