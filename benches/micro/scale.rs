//! Whether a large configuration costs a request more than a small one: 1,000 servers with 100 locations each, of which
//! one has 20 regexes more, beside a single server with a single location.
//!
//! The bound is 1.1 of the small one's cost. Times are for reading; `site N small` sends N requests for valgrind,
//! whose instruction counts do not depend on the machine's mood:
//!
//! ```text
//! for site in small large; do valgrind --tool=callgrind $MICRO site 20000 $site; done
//! ```
//! (and the same with another N: the difference of two runs is free of the start's cost).

use std::fmt::Write;

use criterion::{Criterion, Throughput};

use crate::worker::Pair;

/// How many servers the large site has.
const SERVERS: usize = 1000;
/// How many locations each of them has.
const LOCATIONS: usize = 100;
/// How many regexes the one server has beside them.
const REGEXES: usize = 20;
/// The server with the regexes: in the middle of the others.
const ASKED: usize = 500;

/// What both sites say.
const COMMON: &str = r#"
    access_log off;
    keepalive_requests 1000000000;
    proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    upstream backend { server 127.0.0.1:8081; keepalive 64; keepalive_requests 1000000000; }
"#;

/// The sites by name, and the requests that are sent to each.
pub(crate) const SITES: [(&str, &str); 3] = [
    ("small", "/section50/page?x=1"),
    ("large", "/section50/page?x=1"),
    ("large, by a regex", "/x/page.suffix19"),
];

fn text(site: &str) -> String {
    let mut text = format!("events {{}} http {{ {COMMON}");
    if site == "small" {
        text.push_str("server { listen 127.0.0.1:8080; server_name bench.local; location / { proxy_pass http://backend; } } }");
        return text;
    }
    for server in 0..SERVERS {
        let name = if server == ASKED { "bench.local".to_owned() } else { format!("s{server}.example.com") };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "server {{ listen 127.0.0.1:8080; server_name {name}; ");
        for location in 0..LOCATIONS {
            let _ = writeln!(text, "location /section{location}/ {{ proxy_pass http://backend; }} ");
        }
        for regex in (0..REGEXES).filter(|_| server == ASKED) {
            let _ = writeln!(text, r"location ~ \.suffix{regex}$ {{ proxy_pass http://backend; }} ");
        }
        text.push('}');
    }
    text.push('}');
    text
}

pub(crate) fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scale");
    group.throughput(Throughput::Elements(1));
    for (name, target) in SITES {
        let mut pair = Pair::new(&text(name), target, 128);
        pair.exchange();
        group.bench_function(name, |bencher| bencher.iter(|| pair.exchange()));
    }
    group.finish();
}

/// Sends `count` requests to the site of this name, and nothing else.
pub(crate) fn requests(count: u64, site: &str) {
    let target = SITES.iter().find(|(name, _)| *name == site).map_or("/", |(_, target)| target);
    let mut pair = Pair::new(&text(site), target, 128);
    for _ in 0..count {
        pair.exchange();
    }
}
