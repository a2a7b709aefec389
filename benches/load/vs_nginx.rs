//! The comparison as criterion groups, so that criterion's baselines and change detection work on it. The value that
//! criterion sees is not wall-clock time but the proxy's CPU time for the requests of an iteration.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, SamplingMode, Throughput};

use crate::client::{Client, Until};
use crate::proxies::{Kind, Proxy};
use crate::shapes::{self, Shape};
use crate::upstream::Upstream;
use crate::{Result, cpu, launch};

const CONNECTIONS: usize = 64;
/// One iteration: enough for each connection to take part, and for the clock's grain not to matter.
const REQUESTS: u64 = 1024;
const SHAPES: &str = "small,10k,64k,chunked,churn";

static WALL: WallTime = WallTime;

/// CPU time of another process, in nanoseconds; only `iter_custom` can supply it.
struct ProxyCpu;

impl Measurement for ProxyCpu {
    type Intermediate = ();
    type Value = Duration;

    fn start(&self) {}

    fn end(&self, (): ()) -> Duration {
        Duration::ZERO
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WALL.formatter()
    }
}

/// Runs a group for each shape with a function for each proxy that is there.
pub(crate) fn run() -> Result<()> {
    launch::pin(launch::LOAD_CORE)?;
    launch::raise_open_files(4096)?;
    let mut criterion = Criterion::default().with_measurement(ProxyCpu).configure_from_args();
    for shape in shapes::by_names(SHAPES)? {
        group(&mut criterion, shape)?;
    }
    criterion.final_summary();
    Ok(())
}

fn group(criterion: &mut Criterion<ProxyCpu>, shape: &Shape) -> Result<()> {
    let mut group = criterion.benchmark_group(format!("vs_nginx/{}", shape.name));
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .throughput(Throughput::Elements(REQUESTS));
    for kind in [Kind::Ringgate, Kind::Nginx] {
        let Some(program) = kind.program(None) else {
            println!("vs_nginx/{}: {} is not there: skipped", shape.name, kind.name());
            continue;
        };
        let upstream = Upstream::start()?;
        let proxy = Proxy::start(kind, &program, upstream.address)?;
        let mut client = Client::open(proxy.address, shape, CONNECTIONS)?;
        let pids = proxy.pids();
        let mut failure = None;
        group.bench_function(kind.name(), |bencher| {
            bencher.iter_custom(|iterations| {
                let before = cpu::read(&pids);
                if let Err(error) = client.run(Until::Requests(iterations * REQUESTS)) {
                    failure.get_or_insert(error);
                }
                (cpu::read(&pids) - before).cpu
            });
        });
        if let Some(error) = failure {
            return Err(error);
        }
    }
    group.finish();
    Ok(())
}
