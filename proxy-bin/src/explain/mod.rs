//! `ringgate explain`: what would happen to this request, and which line of the configuration says so.
//!
//! The configuration is compiled as for `-t`, and the real core runs on it: one [`Worker`](proxy_core::worker::Worker)
//! with its trace on ([`rig`]), without a socket. What it decides, asks for and sends is told in order ([`tell`]), each
//! thing with its place in the text ([`places`]), for people or as JSON ([`story`]).
//!
//! What is played: upstreams speak what the configuration says they speak, but in the clear (that there would be TLS is
//! told), and answer `200` (`--answer`) without a body, names that are looked up at run time have an
//! address of nobody's, and no other request is under way, so that a limit never bites. Files are the machine's own,
//! read with the rights of whoever asks.

pub mod ask;
mod cgi;
mod client;
mod dns;
mod files;
mod h2;
mod heads;
pub mod places;
pub mod rig;
mod rules;
pub mod story;
mod tell;

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use proxy_core::config::{Config, Content};
use proxy_core::time::{Instant, Now};

use crate::cli::Options;
use crate::conf::include::Loaded;
use crate::conf::lower::Resolve;
use crate::load::{Remarks, Source as _};
use crate::say;
use crate::site::{ConfSource, System};
use ask::Ask;
use places::Places;
use story::Story;

/// Why there is nothing to tell.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is wrong.
    Configuration(Remarks),
    /// The question is.
    Question(String),
}

/// Answers on the command line.
#[must_use]
pub fn run(options: &Options, ask: &Ask, json: bool) -> ExitCode {
    let source = ConfSource::from_options(options);
    let main = source.main().to_path_buf();
    match explain(source, ask, clock()) {
        Ok(story) => {
            let base = main.parent().unwrap_or(Path::new("/"));
            let text = if json { story.json() } else { story.human(base) };
            say::output(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(Failure::Configuration(remarks)) => {
            remarks.print();
            say::nginx(&format!("configuration file {} test failed", main.display()));
            ExitCode::FAILURE
        }
        Err(Failure::Question(message)) => {
            say::nginx(&format!("explain: {message}"));
            ExitCode::FAILURE
        }
    }
}

/// What would happen to the request at this time.
///
/// # Errors
/// The configuration or the question is wrong.
pub fn explain(source: ConfSource, ask: &Ask, now: Now) -> Result<Story, Failure> {
    let source = source.resolving(Box::new(Imagined));
    let site = source.load(1).map_err(Failure::Configuration)?;
    let Loaded { sources, tree, .. } = source.read();
    let mut config = site.config;
    clear(&mut config);
    let config = Arc::new(config);
    let request = ask.request(&config).map_err(Failure::Question)?;
    let account = rig::play(Arc::clone(&config), request, ask.answer, now);
    let places = Places::new(&sources, &tree, &config);
    Ok(tell::tell(account, &config, &places))
}

/// Upstreams are played in the clear, and nobody checks their health meanwhile.
fn clear(config: &mut Config) {
    config.upstreams.iter_mut().for_each(|upstream| upstream.checks.clear());
    for location in &mut config.locations {
        if let Content::Proxy(proxy) = &mut location.content {
            let proxy = Arc::make_mut(proxy);
            (proxy.tls, proxy.upgrade_tls) = (None, None);
        }
    }
}

fn clock() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_ms = u64::try_from(since.as_millis()).unwrap_or(0);
    Now { instant: Instant::from_micros(0), unix_ms, utc_offset_s: 0 }
}

/// The system's resolver; a name that it does not know has an address of nobody's, so that a configuration can be
/// explained on another machine than its own.
struct Imagined;

impl Resolve for Imagined {
    fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        System.resolve(host).or_else(|_| Ok(vec![rig::STAND_IN.into()]))
    }
}
