//! System calls per request, from outside the proxy.
//!
//! perf counts at the tracepoint and leaves the proxy at full speed. strace stops it at each call, which lets work pile up
//! between calls; it is asked for which calls they are, and for the count only where perf may not look.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Result;
use crate::launch::{self, Guard, LOAD_CORE, TempDir};

/// How long a tool may take to print its summary.
const SUMMARY: Duration = Duration::from_secs(5);

/// The calls of one proxy in one shape.
pub(crate) struct Calls {
    /// Calls per request.
    pub(crate) per_request: f64,
    /// Who counted.
    pub(crate) by: &'static str,
    /// What strace saw per request, most frequent first; empty without strace.
    pub(crate) which: String,
}

/// Counts while `run` makes requests and says how many; `None` where neither tool can look.
pub(crate) fn count(pids: &[u32], mut run: impl FnMut() -> Result<u64>) -> Result<Option<Calls>> {
    let counted = with_perf(pids, &mut run)?;
    let traced = with_strace(pids, &mut run)?;
    let which = traced.as_deref().map(describe).unwrap_or_default();
    let sum = traced.map(|calls| calls.iter().map(|(_, per_request)| per_request).sum());
    Ok(match (counted, sum) {
        (Some(per_request), _) => Some(Calls { per_request, by: "perf", which }),
        (None, Some(per_request)) => Some(Calls { per_request, by: "strace", which }),
        (None, None) => None,
    })
}

fn describe(calls: &[(String, f64)]) -> String {
    let mut calls: Vec<_> = calls.iter().filter(|(_, per_request)| *per_request >= 0.005).collect();
    calls.sort_by(|one, other| other.1.total_cmp(&one.1));
    calls.iter().map(|(name, per_request)| format!("{per_request:.2} {name}")).collect::<Vec<_>>().join(", ")
}

/// perf counts for as long as its own child runs: a `cat` that ends with our end of its pipe.
fn with_perf(pids: &[u32], run: &mut impl FnMut() -> Result<u64>) -> Result<Option<f64>> {
    let Some(perf) = launch::find_program("perf") else { return Ok(None) };
    let directory = TempDir::new("perf")?;
    let summary = directory.path().join("summary");
    let pids = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let mut command = launch::command(LOAD_CORE, perf)?;
    command.args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", &pids, "-o"]).arg(&summary).arg("cat");
    let mut child =
        Guard(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let (Some(mut input), Some(mut output)) = (child.0.stdin.take(), child.0.stdout.take()) else {
        return Ok(None);
    };
    let mut echo = [0];
    // No echo: perf may not count here.
    if input.write_all(b"\n").and_then(|()| output.read_exact(&mut echo)).is_err() {
        return Ok(None);
    }
    let requests = run()?;
    drop(input);
    child.wait_until(Instant::now() + SUMMARY);
    let text = fs::read_to_string(summary).unwrap_or_default();
    let line = text.lines().find(|line| line.contains("raw_syscalls:sys_enter"));
    let calls = line.and_then(|line| line.split(',').next()?.parse::<f64>().ok());
    Ok(calls.map(|calls| calls / requests as f64))
}

fn with_strace(pids: &[u32], run: &mut impl FnMut() -> Result<u64>) -> Result<Option<Vec<(String, f64)>>> {
    let Some(strace) = launch::find_program("strace") else { return Ok(None) };
    let directory = TempDir::new("strace")?;
    let summary = directory.path().join("summary");
    let mut command = launch::command(LOAD_CORE, strace)?;
    command.args(["-c", "-f", "-o"]).arg(&summary);
    for pid in pids {
        command.arg("-p").arg(pid.to_string());
    }
    let mut child = Guard(command.stderr(Stdio::piped()).spawn()?);
    let Some(said) = child.0.stderr.take() else { return Ok(None) };
    let attached =
        BufReader::new(said).lines().map_while(|line| line.ok()).filter(|line| line.contains(" attached"));
    if attached.take(pids.len()).count() < pids.len() {
        return Ok(None);
    }
    let requests = run()?;
    child.signal(Signal::INT);
    child.wait_until(Instant::now() + SUMMARY);
    let text = fs::read_to_string(summary).unwrap_or_default();
    Ok(Some(
        text.lines().filter_map(parse_line).map(|(name, calls)| (name, calls / requests as f64)).collect(),
    ))
}

/// `% time, seconds, usecs/call, calls[, errors], syscall`
fn parse_line(line: &str) -> Option<(String, f64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let name = fields.last().filter(|name| **name != "total")?;
    Some(((*name).to_owned(), fields.get(3)?.parse().ok()?))
}
