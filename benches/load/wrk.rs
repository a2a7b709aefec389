//! wrk as the load generator, for a second opinion: it reads and writes connection by connection, as many clients do.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use ringgate_benches::BROWSER_HEADERS;

use crate::Result;
use crate::launch::{self, LOAD_CORE};
use crate::shapes::{Shape, Traffic};

/// What a run of wrk says.
pub(crate) struct Said {
    /// Replies.
    pub(crate) requests: u64,
    /// Median latency, microseconds.
    pub(crate) p50_us: f64,
    /// 99th percentile, microseconds.
    pub(crate) p99_us: f64,
}

/// Runs wrk on the load core for `length`, rounded up to whole seconds.
pub(crate) fn run(address: SocketAddr, shape: &Shape, connections: usize, length: Duration) -> Result<Said> {
    let program = launch::find_program("wrk").ok_or("wrk is not installed")?;
    let seconds = length.as_secs_f64().ceil();
    let mut command = launch::command(LOAD_CORE, program)?;
    command.args(["-t1", "--latency"]).arg(format!("-c{connections}")).arg(format!("-d{seconds}s"));
    let connection = if shape.traffic == Traffic::Churn { "close" } else { "keep-alive" };
    for (name, value) in
        [("Host", "bench.local"), ("Connection", connection)].into_iter().chain(BROWSER_HEADERS)
    {
        command.arg("-H").arg(format!("{name}: {value}"));
    }
    let output =
        command.arg(format!("http://{address}{}", shape.target)).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("wrk met errors:\n{text}").into());
    }
    parse(&text).ok_or_else(|| format!("wrk said nothing useful:\n{text}").into())
}

fn parse(text: &str) -> Option<Said> {
    let latency = |share: &str| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(share))?;
        microseconds(line.trim())
    };
    let requests = text.lines().find_map(|line| line.trim_start().split_once(" requests in "))?.0;
    Some(Said { requests: requests.parse().ok()?, p50_us: latency("50%")?, p99_us: latency("99%")? })
}

/// `1.23ms` in microseconds; wrk writes us, ms and s.
pub(crate) fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    units.iter().find_map(|(unit, scale)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * scale))
}
