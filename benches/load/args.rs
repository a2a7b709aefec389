//! The command line of the bench target. cargo appends `--bench`; criterion reads its own arguments.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::Result;
use crate::proxies::Kind;
use crate::shapes::{self, Shape};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: cargo bench -p ringgate-benches --bench load -- compare [options]
       cargo bench -p ringgate-benches --bench load -- [criterion options]

  --shape NAMES      comma-separated, or `all`        (default small,10k,64k)
                     small 10k 64k 1m chunked churn h2 tls tls100k tls-full tls-resumed logged idle download
                     upload
  --rounds N         alternating rounds per shape     (default 15)
  --seconds S        length of one measurement        (default 0.5; wrk rounds it up)
  --connections N    client connections               (default 64)
  --proxies NAMES    of ringgate,nginx,haproxy        (default: all three; a missing one is skipped)
  --ringgate PATH    the binary                       (default: target/release/ringgate)
  --generator G      own or wrk                       (default own)
  --idle N           connections of the idle shape    (default 10000)
  --mebibytes N      body of download and upload      (default 1024)
  --out DIR          for the SVG, CSV and table       (default benches/load/out)";

/// What this process was started to do.
pub(crate) enum Mode {
    /// Print the usage.
    Help,
    /// Pin to a core and become another program; see `launch`.
    Launch {
        /// The core.
        core: usize,
        /// Program and arguments.
        command: Vec<OsString>,
    },
    /// The alternating rounds.
    Compare(Options),
    /// The criterion groups.
    Criterion,
}

/// Who generates the load of the request shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generator {
    /// `client`.
    Own,
    /// The `wrk` program.
    Wrk,
}

/// The options of `compare`.
pub(crate) struct Options {
    pub(crate) shapes: Vec<&'static Shape>,
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
    pub(crate) connections: usize,
    pub(crate) proxies: Vec<Kind>,
    pub(crate) ringgate: Option<PathBuf>,
    pub(crate) generator: Generator,
    pub(crate) idle: usize,
    pub(crate) mebibytes: u64,
    pub(crate) out: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shapes: shapes::ALL.iter().filter(|shape| shape.default).collect(),
            rounds: 15,
            length: Duration::from_millis(500),
            connections: 64,
            proxies: Kind::ALL.to_vec(),
            ringgate: None,
            generator: Generator::Own,
            idle: 10_000,
            mebibytes: 1024,
            out: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/load/out")),
        }
    }
}

/// Reads the process's arguments.
pub(crate) fn parse() -> Result<Mode> {
    let mut words = std::env::args_os().skip(1);
    match words.next().as_deref().and_then(|word| word.to_str()) {
        Some("compare") => parse_options(lexopt::Parser::from_args(words)),
        Some("launch") => {
            let core =
                words.next().and_then(|core| core.to_str()?.parse().ok()).ok_or("launch: which core?")?;
            Ok(Mode::Launch { core, command: words.collect() })
        }
        Some("--help" | "-h") => Ok(Mode::Help),
        _ => Ok(Mode::Criterion),
    }
}

fn parse_options(mut parser: lexopt::Parser) -> Result<Mode> {
    let mut options = Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("bench") => {}
            Long("help") | Short('h') => return Ok(Mode::Help),
            Long("shape") => options.shapes = shapes::by_names(&parser.value()?.string()?)?,
            Long("rounds") => options.rounds = parser.value()?.parse::<usize>()?.clamp(1, 100),
            Long("seconds") => {
                options.length = Duration::from_secs_f64(parser.value()?.parse::<f64>()?.clamp(0.05, 60.0));
            }
            Long("connections") => options.connections = parser.value()?.parse::<usize>()?.clamp(1, 4096),
            Long("proxies") => options.proxies = Kind::by_names(&parser.value()?.string()?)?,
            Long("ringgate") => options.ringgate = Some(parser.value()?.into()),
            Long("idle") => options.idle = parser.value()?.parse::<usize>()?.clamp(1, 16_000),
            Long("mebibytes") => options.mebibytes = parser.value()?.parse::<u64>()?.clamp(1, 16_384),
            Long("out") => options.out = parser.value()?.into(),
            Long("generator") => {
                options.generator = match parser.value()?.string()?.as_str() {
                    "own" => Generator::Own,
                    "wrk" => Generator::Wrk,
                    other => return Err(format!("no generator is called {other}").into()),
                }
            }
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected().into()),
        }
    }
    Ok(Mode::Compare(options))
}
