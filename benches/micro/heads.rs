//! The HTTP/1 codec: heads in, heads out, chunked bodies.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use proxy_core::buf::Chunk;
use proxy_core::h1::encode;
use proxy_core::h1::{ChunkedDecoder, HeadLimits, Parsed, ResponseLimits, parse_request, parse_response};
use proxy_core::http::{BodyEvent, RequestHead, Version};
use ringgate_benches::{UPSTREAM_HEAD, browser_request};

/// nginx's defaults.
const REQUEST_LIMITS: HeadLimits = HeadLimits {
    line_bytes_max: 8192,
    field_bytes_max: 8192,
    total_bytes_max: 32 * 1024,
    fields_max: 1000,
    ignore_invalid_headers: true,
    underscores: false,
};
const RESPONSE_LIMITS: ResponseLimits = ResponseLimits { total_bytes_max: 4096, fields_max: 1000 };

pub(crate) fn run(criterion: &mut Criterion) {
    parse(criterion);
    re_encode(criterion);
    chunked(criterion);
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head_parse");
    let plain = Chunk::from_static(b"GET / HTTP/1.1\r\nHost: bench.local\r\n\r\n");
    let browser = Chunk::from_vec(browser_request("GET", "/articles/2024/some-page?ref=home&page=2", ""));
    for (name, bytes) in [("plain request", plain), ("browser request", browser)] {
        let mut fields = Vec::new();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let parsed = parse_request(black_box(&bytes), &mut fields, &REQUEST_LIMITS);
                fields = whole(parsed).fields;
            });
        });
    }
    let bytes = Chunk::from_vec(format!("{UPSTREAM_HEAD}Content-Length: 128\r\n\r\n").into_bytes());
    let mut fields = Vec::new();
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("response", |bencher| {
        bencher.iter(|| {
            let parsed = parse_response(black_box(&bytes), &mut fields, &RESPONSE_LIMITS);
            fields = whole(parsed).fields;
        });
    });
    group.finish();
}

fn whole<T, E: std::fmt::Debug>(parsed: Result<Parsed<T>, E>) -> T {
    match parsed.expect("a valid head") {
        Parsed::Complete { head, .. } => head,
        Parsed::Partial => unreachable!("the head is whole"),
    }
}

fn re_encode(criterion: &mut Criterion) {
    let bytes = Chunk::from_vec(browser_request("GET", "/articles/2024/some-page?ref=home&page=2", ""));
    let head: RequestHead = whole(parse_request(&bytes, &mut Vec::new(), &REQUEST_LIMITS));
    let mut out = Vec::with_capacity(4096);
    let mut group = criterion.benchmark_group("re_encode");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("browser request", |bencher| {
        bencher.iter(|| {
            out.clear();
            let text = black_box(&head).bytes.as_slice();
            encode::request_line(&mut out, head.method_text.of(text), head.target.of(text), Version::Http11);
            for field in &head.fields {
                encode::field(&mut out, field.name.of(text), field.value.of(text));
            }
            out.extend_from_slice(b"\r\n");
            black_box(out.len())
        });
    });
    group.finish();
}

fn chunked(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chunked");
    for (name, size, count) in [("10 x 1 KiB", 1024, 10), ("64 x 16 B", 16, 64)] {
        let mut bytes = Vec::new();
        for _ in 0..count {
            encode::chunk_size(&mut bytes, size);
            bytes.resize(bytes.len() + size, b'x');
            bytes.extend_from_slice(b"\r\n");
        }
        encode::last_chunk(&mut bytes, b"");
        let bytes = Chunk::from_vec(bytes);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (mut input, mut decoder) = (black_box(&bytes).clone(), ChunkedDecoder::new());
                let mut data = 0;
                while let Some(BodyEvent::Data(part)) = decoder.decode(&mut input).expect("valid chunks") {
                    data += part.len();
                }
                assert!(decoder.is_done());
                data
            });
        });
    }
    group.finish();
}
