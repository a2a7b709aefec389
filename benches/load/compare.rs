//! The comparison: each shape with every proxy, in rounds A B C A B C …, so that the machine's moods hit all alike.

use std::path::PathBuf;
use std::time::Duration;

use crate::args::{Generator, Options};
use crate::client::{Client, Until};
use crate::proxies::{Kind, Proxy};
use crate::report::{Results, Sample};
use crate::shapes::{Security, Shape, Traffic};
use crate::upstream::Upstream;
use crate::{Result, bulk, cpu, h2load, launch, plot, syscalls, wrk};

/// Before each measurement, so that caches and pools are as the proxy likes them.
const WARM_UP: Duration = Duration::from_millis(150);
/// The run that counts system calls; bounded in time, since strace makes large bodies slow.
const COUNTED: Duration = Duration::from_secs(1);
/// Bulk shapes take long and vary little.
const BULK_ROUNDS_MAX: usize = 3;

/// Runs what `options` say and writes the results.
pub(crate) fn run(options: &Options) -> Result<()> {
    std::fs::create_dir_all(&options.out)?;
    launch::pin(launch::LOAD_CORE)?;
    launch::raise_open_files((options.idle + 8 * options.connections + 512) as u64)?;
    let programs = programs(options)?;
    let mut results = Results::default();
    for shape in &options.shapes {
        let programs: Vec<_> =
            programs.iter().filter(|(kind, _)| shape.haproxy || *kind != Kind::Haproxy).cloned().collect();
        if shape.is_rounds() {
            rounds(options, shape, &programs, &mut results)?;
        } else {
            bulk_rounds(options, shape, &programs, &mut results)?;
        }
        print!("{}", results.table(shape));
    }
    std::fs::write(options.out.join("samples.csv"), results.csv())?;
    let tables: String = options.shapes.iter().map(|shape| results.table(shape)).collect();
    std::fs::write(options.out.join("table.txt"), tables)?;
    plot::write(&options.out.join("load.svg"), &options.shapes, &results)?;
    println!("written: {}/{{table.txt,samples.csv,load.svg}}", options.out.display());
    Ok(())
}

/// The wanted proxies that are there; says which are not.
fn programs(options: &Options) -> Result<Vec<(Kind, PathBuf)>> {
    let mut found = Vec::new();
    for kind in &options.proxies {
        match kind.program(options.ringgate.as_deref()) {
            Some(program) => found.push((*kind, program)),
            None => println!("{} is not there: skipped", kind.name()),
        }
    }
    if found.is_empty() { Err("no proxy to measure".into()) } else { Ok(found) }
}

fn rounds(
    options: &Options,
    shape: &Shape,
    programs: &[(Kind, PathBuf)],
    results: &mut Results,
) -> Result<()> {
    let upstream = Upstream::start()?;
    let mut lanes = Vec::new();
    for (kind, program) in programs {
        let proxy = Proxy::start(*kind, program, upstream.address)?;
        let client = match shape.traffic {
            Traffic::Http2 => None,
            Traffic::KeepAlive | Traffic::Churn | Traffic::Idle | Traffic::Download | Traffic::Upload => {
                let address =
                    if shape.security == Security::Plain { proxy.address } else { proxy.tls_address };
                Some(Client::open(address, shape, options.connections)?)
            }
        };
        lanes.push((proxy, client));
    }
    for round in 0..options.rounds {
        for (proxy, client) in &mut lanes {
            if let Some(client) = client {
                client.run(Until::Elapsed(WARM_UP))?;
            }
            let sample = measure(options, shape, proxy, client.as_mut())?;
            results.samples.push(Sample { round, ..sample });
        }
    }
    for (proxy, client) in &mut lanes {
        let counted = syscalls::count(&proxy.pids(), || match client {
            Some(client) => Ok(client.run(Until::Elapsed(COUNTED))?.requests),
            None => Ok(h2load::run(proxy.h2_address, shape, COUNTED)?.requests),
        })?;
        results.calls.extend(counted.map(|calls| (shape.name, proxy.kind, calls)));
    }
    Ok(())
}

fn measure(options: &Options, shape: &Shape, proxy: &Proxy, client: Option<&mut Client>) -> Result<Sample> {
    let pids = proxy.pids();
    let before = cpu::read(&pids);
    let (requests, p50_us, p99_us) = match (options.generator, client) {
        (_, None) => {
            let said = h2load::run(proxy.h2_address, shape, options.length)?;
            (said.requests, said.p50_us, said.p99_us)
        }
        // wrk neither resumes sessions nor is told to.
        (Generator::Wrk, Some(_)) if shape.security == Security::Plain => {
            let said = wrk::run(proxy.address, shape, options.connections, options.length)?;
            (said.requests, said.p50_us, said.p99_us)
        }
        (Generator::Own | Generator::Wrk, Some(client)) => {
            let done = client.run(Until::Elapsed(options.length))?;
            (done.requests, done.latency_us(0.5), done.latency_us(0.99))
        }
    };
    let spent = cpu::read(&pids) - before;
    let resident_kib = cpu::resident_kib(&pids);
    Ok(Sample { p50_us, p99_us, ..Sample::new(shape.name, proxy.kind, spent, requests, resident_kib) })
}

/// Each measurement with a fresh proxy, since what it holds on to would hide what it grows by.
fn bulk_rounds(
    options: &Options,
    shape: &Shape,
    programs: &[(Kind, PathBuf)],
    results: &mut Results,
) -> Result<()> {
    for round in 0..options.rounds.min(BULK_ROUNDS_MAX) {
        for (kind, program) in programs {
            let upstream = Upstream::start()?;
            let proxy = Proxy::start(*kind, program, upstream.address)?;
            let passed = match shape.traffic {
                Traffic::Download => bulk::download(&proxy, shape, options.mebibytes)?,
                Traffic::Upload => bulk::upload(&proxy, shape, options.mebibytes)?,
                Traffic::Idle | Traffic::KeepAlive | Traffic::Churn | Traffic::Http2 => {
                    bulk::idle(&proxy, shape, options.idle)?
                }
            };
            let sample = Sample::new(shape.name, *kind, passed.spent, passed.units, passed.growth_kib);
            results.samples.push(Sample { round, ..sample });
        }
    }
    Ok(())
}
