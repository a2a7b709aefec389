//! What the core's parts cost without a kernel beneath them, and one whole request through a [`Worker`].
//!
//! ```text
//! cargo bench -p ringgate-benches --bench micro
//! cargo bench -p ringgate-benches --bench micro -- worker     one group
//! ```
//!
//! A noisy machine spoils times but not counts. `requests N` sends N requests through a worker and ends, for valgrind, and
//! `h2 N` does so over HTTP/2; the difference of two runs is free of the start's cost:
//!
//! ```text
//! MICRO=$(cargo bench -p ringgate-benches --bench micro --no-run 2>&1 | sed -n 's/.*(\(.*\))/\1/p')
//! valgrind --tool=callgrind $MICRO requests 20000     instructions, by function: callgrind_annotate
//! valgrind --tool=dhat $MICRO requests 20000          allocations, by place
//! ```
//!
//! `choose`, `heads` and `routes` are the leaf parts, `site` compiles an nginx.conf as the binary would, `worker` and `h2` are the
//! drivers of the whole-request group, `scale` asks whether a large configuration costs a request more.
//!
//! [`Worker`]: proxy_core::worker::Worker

mod choose;
mod h2;
mod heads;
mod routes;
mod scale;
mod site;
mod worker;

use criterion::Criterion;

fn main() {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let mut count = || words.next().and_then(|count| count.parse().ok()).unwrap_or(10_000);
    match &*command {
        "requests" => worker::requests(count()),
        "h2" => h2::requests(count()),
        "site" => {
            let count = count();
            scale::requests(count, &words.collect::<Vec<_>>().join(" "));
        }
        _ => measure(),
    }
}

fn measure() {
    let mut criterion = Criterion::default().configure_from_args();
    choose::run(&mut criterion);
    heads::run(&mut criterion);
    routes::run(&mut criterion);
    worker::run(&mut criterion);
    h2::run(&mut criterion);
    scale::run(&mut criterion);
    criterion.final_summary();
}
