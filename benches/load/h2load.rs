//! h2load as the load generator for HTTP/2: a few connections with many requests under way on each.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use ringgate_benches::BROWSER_HEADERS;

use crate::Result;
use crate::launch::{self, LOAD_CORE};
use crate::shapes::Shape;
use crate::wrk::Said;

/// Connections, and requests under way on each.
const CONNECTIONS: u32 = 8;
const STREAMS: u32 = 16;

/// Runs h2load on the load core for `length`, rounded up to whole seconds. It tells no percentiles: the mean stands for
/// the median, the maximum for the 99th.
pub(crate) fn run(address: SocketAddr, shape: &Shape, length: Duration) -> Result<Said> {
    let program = launch::find_program("h2load").ok_or("h2load is not installed")?;
    let seconds = length.as_secs_f64().ceil();
    let mut command = launch::command(LOAD_CORE, program)?;
    command.arg(format!("-c{CONNECTIONS}")).arg(format!("-m{STREAMS}")).arg(format!("-D{seconds}"));
    for (name, value) in BROWSER_HEADERS {
        command.arg("-H").arg(format!("{}: {value}", name.to_ascii_lowercase()));
    }
    let url = format!("http://{address}{}", shape.target);
    let output = command.arg(url).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    parse(&text).ok_or_else(|| format!("h2load met errors:\n{text}").into())
}

/// Nothing where a request failed.
fn parse(text: &str) -> Option<Said> {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let counts = line("requests: ")?;
    let count = |word: &str| {
        let part = counts.split(", ").find_map(|part| part.strip_suffix(word))?;
        part.trim().parse::<u64>().ok()
    };
    let times: Vec<&str> = line("time for request:")?.split_whitespace().collect();
    let [_, most, mean, ..] = times.as_slice() else { return None };
    let failed = count("failed")? + count("errored")?;
    let (p50_us, p99_us) = (crate::wrk::microseconds(mean)?, crate::wrk::microseconds(most)?);
    (failed == 0).then_some(Said { requests: count("succeeded")?, p50_us, p99_us })
}
