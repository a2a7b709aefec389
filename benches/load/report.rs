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

/// How values are distributed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// The lowest decile: what the value is while the rest of the machine is quiet, as disturbance only adds CPU time.
    pub(crate) low: f64,
    /// The first quartile.
    pub(crate) first: f64,
    /// The median.
    pub(crate) median: f64,
    /// The third quartile.
    pub(crate) third: f64,
}

impl Spread {
    /// Of any number of values but none.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |tenths: usize| values.get((values.len() * tenths / 10).min(values.len() - 1)).copied();
        let quarter =
            |quarters: usize| values.get((values.len() * quarters / 4).min(values.len() - 1)).copied();
        values.first()?;
        Some(Self { low: at(1)?, first: quarter(1)?, median: quarter(2)?, third: quarter(3)? })
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

    /// One shape: a line for each proxy. Medians, except that `low` is the lowest decile.
    pub(crate) fn table(&self, shape: &Shape) -> String {
        let (unit, memory) = match shape.traffic {
            Traffic::KeepAlive | Traffic::Churn | Traffic::Http2 => ("request", "RSS MiB"),
            Traffic::Idle => ("connection", "growth MiB"),
            Traffic::Download | Traffic::Upload => ("MiB", "growth MiB"),
        };
        let (cpu, rate) = (format!("CPU us/{unit}"), format!("{unit}s/s"));
        let head = ["proxy", &cpu, "x nginx", "(quartiles)", "low", "x nginx", "core", &rate, "x nginx"];
        let mut text = format!("\n{}\n", shape.name);
        push_line(&mut text, head.into_iter().chain(["p50 us", "p99 us", memory, "syscalls"]));
        for cells in Kind::ALL.into_iter().filter_map(|proxy| self.cells(shape.name, proxy)) {
            push_line(&mut text, cells.iter().map(String::as_str));
        }
        for (_, proxy, calls) in self.calls.iter().filter(|(of, ..)| *of == shape.name) {
            let Calls { per_request, by, which } = calls;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {}: {per_request:.2} by {by}; strace: {which}", proxy.name());
        }
        text
    }

    fn cells(&self, shape: &str, proxy: Kind) -> Option<[String; 13]> {
        let spread = |value: fn(&Sample) -> f64| Spread::of(self.of(shape, proxy).map(value));
        let ratio = |value: fn(&Sample) -> f64| Spread::of(self.ratios(shape, proxy, value).into_iter());
        let show =
            |value: Option<f64>, digits: usize| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        let median =
            |value: fn(&Sample) -> f64, digits| show(spread(value).map(|spread| spread.median), digits);
        let cpu = spread(|sample| sample.cpu_us)?;
        let cpu_ratio = ratio(|sample| sample.cpu_us);
        let nginx_low =
            Spread::of(self.of(shape, Kind::Nginx).map(|sample| sample.cpu_us)).map(|spread| spread.low);
        let calls = self.calls.iter().find(|(of, kind, _)| *of == shape && *kind == proxy);
        Some([
            proxy.name().to_owned(),
            show(Some(cpu.median), 2),
            show(cpu_ratio.map(|ratio| ratio.median), 3),
            cpu_ratio.map_or("-".into(), |ratio| format!("{:.2}-{:.2}", ratio.first, ratio.third)),
            show(Some(cpu.low), 2),
            show(nginx_low.map(|low| cpu.low / low), 3),
            median(|sample| sample.busy, 2),
            median(|sample| sample.rate, 0),
            show(ratio(|sample| sample.rate).map(|ratio| ratio.median), 3),
            median(|sample| sample.p50_us, 0),
            median(|sample| sample.p99_us, 0),
            median(|sample| sample.memory_kib as f64 / 1024.0, 1),
            show(calls.map(|(.., calls)| calls.per_request), 2),
        ])
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

/// The widths of the columns of a table.
const WIDTHS: [usize; 13] = [9, 18, 9, 12, 8, 9, 6, 15, 9, 8, 8, 11, 9];

fn push_line<'a>(text: &mut String, cells: impl Iterator<Item = &'a str>) {
    for (cell, width) in cells.zip(WIDTHS) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{cell:>width$}");
    }
    text.push('\n');
}
