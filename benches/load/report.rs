//! The results: samples, their medians and ratios to nginx, as text and as CSV.

use std::fmt::Write;

use crate::cpu::Spent;
use crate::proxies::Kind;
use crate::shapes::{Shape, Traffic};
use crate::syscalls::Calls;

/// One measurement of one proxy. A unit is a request, a connection or a MiB, by the shape.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) shape: &'static str,
    pub(crate) proxy: Kind,
    pub(crate) round: usize,
    /// CPU time per unit, microseconds.
    pub(crate) cpu_us: f64,
    /// The share of its core that the proxy used, 0 to 1.
    pub(crate) busy: f64,
    /// Units per second.
    pub(crate) rate: f64,
    /// Median latency, microseconds; 0 where nothing is timed.
    pub(crate) p50_us: f64,
    /// 99th percentile.
    pub(crate) p99_us: f64,
    /// Resident memory, or by how much it grew, KiB.
    pub(crate) memory_kib: u64,
}

impl Sample {
    /// A sample of round 0 without latencies.
    pub(crate) fn new(shape: &'static str, proxy: Kind, spent: Spent, units: u64, memory_kib: u64) -> Self {
        let (cpu, wall, units) = (spent.cpu.as_secs_f64(), spent.wall.as_secs_f64(), units as f64);
        Self {
            shape,
            proxy,
            round: 0,
            cpu_us: cpu * 1e6 / units,
            busy: cpu / wall,
            rate: units / wall,
            p50_us: 0.0,
            p99_us: 0.0,
            memory_kib,
        }
    }
}

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) samples: Vec<Sample>,
    pub(crate) calls: Vec<(&'static str, Kind, Calls)>,
}

/// Median and extremes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of any number of values but none.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = if values.len() % 2 == 0 { *values.get(middle - 1)? } else { upper };
        Some(Self { median: (lower + upper) / 2.0, least: *values.first()?, most: *values.last()? })
    }
}

impl Results {
    /// The samples of one proxy in one shape.
    pub(crate) fn of<'a>(&'a self, shape: &'a str, proxy: Kind) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.shape == shape && sample.proxy == proxy)
    }

    /// A proxy's values divided by nginx's of the same round.
    pub(crate) fn ratios(&self, shape: &str, proxy: Kind, value: impl Fn(&Sample) -> f64) -> Vec<f64> {
        let nginx = |round| self.of(shape, Kind::Nginx).find(|sample| sample.round == round);
        self.of(shape, proxy)
            .filter_map(|sample| Some(value(sample) / value(nginx(sample.round)?)))
            .filter(|ratio| ratio.is_finite())
            .collect()
    }

    /// The medians of one shape, a line for each proxy.
    pub(crate) fn table(&self, shape: &Shape) -> String {
        let (unit, memory) = match shape.traffic {
            Traffic::KeepAlive | Traffic::Churn => ("request", "RSS MiB"),
            Traffic::Idle => ("connection", "growth MiB"),
            Traffic::Download | Traffic::Upload => ("MiB", "growth MiB"),
        };
        let mut text = format!(
            "\n{}\n{:<10}{:>14}{:>9}{:>14}{:>7}{:>14}{:>9}{:>9}{:>9}{:>12}{:>10}\n",
            shape.name,
            "proxy",
            format!("CPU us/{unit}"),
            "x nginx",
            "(range)",
            "core",
            format!("{unit}s/s"),
            "x nginx",
            "p50 us",
            "p99 us",
            memory,
            "syscalls"
        );
        for proxy in Kind::ALL {
            // Writing to a String cannot fail.
            let _ = self.row(&mut text, shape.name, proxy);
        }
        for (_, proxy, calls) in self.calls.iter().filter(|(of, ..)| *of == shape.name) {
            let _ = writeln!(
                text,
                "  {}: {:.2} by {}; strace: {}",
                proxy.name(),
                calls.per_request,
                calls.by,
                calls.which
            );
        }
        text
    }

    fn row(&self, text: &mut String, shape: &str, proxy: Kind) -> std::fmt::Result {
        let median = |value: fn(&Sample) -> f64| {
            Spread::of(self.of(shape, proxy).map(value)).map(|spread| spread.median)
        };
        let Some(cpu) = median(|sample| sample.cpu_us) else { return Ok(()) };
        let or_zero = |value: fn(&Sample) -> f64| median(value).unwrap_or(0.0);
        write!(text, "{:<10}{cpu:>14.2}", proxy.name())?;
        match Spread::of(self.ratios(shape, proxy, |sample| sample.cpu_us).into_iter()) {
            Some(spread) => {
                let range = format!("({:.2}-{:.2})", spread.least, spread.most);
                write!(text, "{:>9.3}{range:>14}", spread.median)?;
            }
            None => write!(text, "{:>9}{:>14}", "-", "-")?,
        }
        write!(
            text,
            "{:>6.0}%{:>14.0}",
            100.0 * or_zero(|sample| sample.busy),
            or_zero(|sample| sample.rate)
        )?;
        match Spread::of(self.ratios(shape, proxy, |sample| sample.rate).into_iter()) {
            Some(spread) => write!(text, "{:>9.3}", spread.median)?,
            None => write!(text, "{:>9}", "-")?,
        }
        write!(text, "{:>9.0}{:>9.0}", or_zero(|sample| sample.p50_us), or_zero(|sample| sample.p99_us))?;
        write!(text, "{:>12.1}", or_zero(|sample| sample.memory_kib as f64 / 1024.0))?;
        match self.calls.iter().find(|(of, kind, _)| *of == shape && *kind == proxy) {
            Some((.., calls)) => writeln!(text, "{:>10.2}", calls.per_request),
            None => writeln!(text, "{:>10}", "-"),
        }
    }

    /// Every sample.
    pub(crate) fn csv(&self) -> String {
        let mut text = String::from(
            "shape,proxy,round,cpu_us_per_unit,core_share,units_per_s,p50_us,p99_us,memory_kib\n",
        );
        for sample in &self.samples {
            let Sample { shape, proxy, round, cpu_us, busy, rate, p50_us, p99_us, memory_kib } = sample;
            let _ = writeln!(
                text,
                "{shape},{},{round},{cpu_us:.3},{busy:.4},{rate:.1},{p50_us:.1},{p99_us:.1},{memory_kib}",
                proxy.name()
            );
        }
        text
    }
}
