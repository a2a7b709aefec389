//! Choosing a server: among a thousand it shall cost no more than among three.

use criterion::{BenchmarkId, Criterion};
use proxy_core::config::{Balance, LeastTime, Measure, RandomTwo, Upstream, UpstreamServer};
use proxy_core::time::Instant;
use proxy_core::upstream::Chooser;

const METHODS: [(&str, Balance); 8] = [
    ("round_robin", Balance::RoundRobin),
    ("least_conn", Balance::LeastConn),
    ("least_time", Balance::LeastTime(LeastTime { measure: Measure::Header, inflight: false })),
    ("ip_hash", Balance::IpHash),
    ("hash", Balance::Hash),
    ("hash consistent", Balance::HashConsistent),
    ("random", Balance::Random(None)),
    ("random two", Balance::Random(Some(RandomTwo::LeastConn))),
];

pub(crate) fn run(criterion: &mut Criterion) {
    for (name, balance) in METHODS {
        let mut group = criterion.benchmark_group(format!("choose/{name}"));
        for servers in [3, 1000] {
            let mut chooser = Chooser::new(&upstream(balance, servers), 7);
            let now = Instant::from_micros(1_000_000);
            let mut n = 0_u32;
            group.bench_function(BenchmarkId::from_parameter(servers), |bencher| {
                bencher.iter(|| {
                    n = n.wrapping_add(0x9E37_79B9);
                    chooser.next(&n.to_be_bytes(), now).is_some()
                });
            });
        }
        group.finish();
    }
}

/// So many servers, of three weights.
fn upstream(balance: Balance, servers: u32) -> Upstream {
    let server = |n: u32| {
        let [_, _, high, low] = n.to_be_bytes();
        let address = proxy_core::command::Address::Ip(([10, 0, high, low], 80).into());
        UpstreamServer { weight: 1 + n % 3, ..UpstreamServer::new(address) }
    };
    Upstream { balance, ..Upstream::explicit("group", (0..servers).map(server)) }
}
