//! From a target and a host to a location, on a site with many of each.

use std::fmt::Write;
use std::hint::black_box;

use criterion::Criterion;
use proxy_core::buf::Chunk;
use proxy_core::route::normalise;

use crate::site;

/// Forty servers, and one of them with forty prefixes and six regexes.
fn text() -> String {
    let mut text = String::from("events {} http {");
    for number in 0..40 {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "server {{ listen 127.0.0.1:8080; server_name s{number}.example.com *.w{number}.example; "
        );
        if number == 7 {
            for place in 0..40 {
                let _ = write!(text, "location /section{place}/ {{ return 204; }}");
            }
            for suffix in ["php", "cgi", "jpe?g", "css", "js", "(?<name>woff2?)"] {
                let _ = write!(text, r"location ~ \.{suffix}$ {{ return 204; }}");
            }
        }
        text.push('}');
    }
    text.push('}');
    text
}

pub(crate) fn run(criterion: &mut Criterion) {
    let config = site::compile(&text());
    let listener = config.listeners.first().expect("a listener");
    let mut group = criterion.benchmark_group("route");
    for (name, target) in [
        ("normalise plain", "/section33/page?x=1"),
        ("normalise dots and escapes", "/a/../section33//%70age/./x%20y?x=1"),
    ] {
        let target = Chunk::from_static(target.as_bytes());
        group.bench_function(name, |bencher| {
            bencher.iter(|| normalise(black_box(&target), true).expect("valid"))
        });
    }
    for (name, host) in [("server exact", "s7.example.com"), ("server wildcard", "a.b.w33.example")] {
        let host = Chunk::from_static(host.as_bytes());
        assert!(listener.names.find(&host).is_some());
        group.bench_function(name, |bencher| bencher.iter(|| listener.names.find(black_box(&host))));
    }
    let (server, _) = listener.names.find(&Chunk::from_static(b"s7.example.com")).expect("the server");
    let server = config.servers.get(server.0 as usize).expect("the server");
    for (name, uri) in [
        ("location prefix beside regexes", "/section33/page"),
        ("location regex", "/section33/picture.jpeg"),
        ("location regex with captures", "/section33/font.woff2"),
    ] {
        let uri = Chunk::from_static(uri.as_bytes());
        assert!(server.tree.find(&uri).location.is_some());
        group.bench_function(name, |bencher| bencher.iter(|| server.tree.find(black_box(&uri)).location));
    }
    group.finish();
}
