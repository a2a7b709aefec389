//! Whole requests over HTTP/2: sixteen streams at a time on one connection, each to an upstream connection of its own,
//! and what completes together is handed in together, as the driver does.

use std::sync::Arc;

use criterion::{Criterion, Throughput};
use proxy_core::command::{Address, Command, Completion, ConnId, ListenerId, Peer, Report};
use proxy_core::h2::encode::{Encoder, Scheme};
use proxy_core::h2::frame::{
    FrameHead, HEAD_BYTES, Kind, PREFACE, WINDOW_DEFAULT, WINDOW_MAX, flag, write_client_settings,
    write_window_update,
};
use proxy_core::http::HeaderId;
use proxy_core::shared::Shared;
use proxy_core::time::{Instant, Now};
use proxy_core::worker::{Pools, Worker};
use ringgate_benches::{BROWSER_HEADERS, UPSTREAM_HEAD};

use crate::site;
use crate::worker::{CONF, filled};

/// Streams under way.
const STREAMS: u32 = 16;
const BODY_BYTES: usize = 128;

pub(crate) fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("worker");
    group.throughput(Throughput::Elements(u64::from(STREAMS)));
    let mut load = Load::new();
    group.bench_function("h2 small", |bencher| bencher.iter(|| load.round()));
    group.finish();
}

/// Sends so many requests, or a few more, and nothing else.
pub(crate) fn requests(count: u64) {
    let mut load = Load::new();
    for _ in 0..count.div_ceil(u64::from(STREAMS)) {
        load.round();
    }
}

/// A worker with a client that keeps asking and an upstream that keeps answering.
struct Load {
    worker: Worker,
    pools: Pools,
    now: Now,
    client: ConnId,
    encoder: Encoder,
    next_stream: u32,
    request: Vec<u8>,
    reply: Vec<u8>,
    client_reads: bool,
    /// Upstream connections that were asked.
    asked: Vec<ConnId>,
    /// Streams that have ended.
    ended: u32,
    done: Vec<Completion>,
}

impl Load {
    fn new() -> Self {
        let now =
            Now { instant: Instant::from_micros(1_000_000), unix_ms: 1_717_243_200_000, utc_offset_s: 0 };
        let pools = Pools::standard();
        let conf = CONF.replace("listen 127.0.0.1:8080;", "listen 127.0.0.1:8080; http2 on;");
        let mut worker = Worker::new(site::compile(&conf), Arc::new(Shared::new()), pools.clone(), 1, now);
        let address = |text: &str| Address::Ip(text.parse().expect("an address"));
        let peer = Peer { client: address("127.0.0.1:50000"), local: address("127.0.0.1:8080") };
        let client = worker.handle_accept(ListenerId(0), peer, now);
        let mut reply = format!("{UPSTREAM_HEAD}Content-Length: {BODY_BYTES}\r\n\r\n").into_bytes();
        reply.resize(reply.len() + BODY_BYTES, b'x');
        let mut request = PREFACE.to_vec();
        write_client_settings(WINDOW_DEFAULT, &mut request);
        write_window_update(0, WINDOW_MAX - WINDOW_DEFAULT, &mut request);
        let mut load = Self {
            worker,
            pools,
            now,
            client,
            encoder: Encoder::default(),
            next_stream: 1,
            request,
            reply,
            client_reads: false,
            asked: Vec::new(),
            ended: 0,
            done: Vec::new(),
        };
        load.settle();
        load
    }

    /// A request on each stream, and its whole reply.
    fn round(&mut self) {
        for _ in 0..STREAMS {
            self.ask();
        }
        assert!(std::mem::take(&mut self.client_reads), "the worker waits for requests");
        let bytes = filled(self.pools.large.take(), &self.request);
        self.request.clear();
        self.ended = 0;
        self.done.push(Completion::Recv { conn: self.client, result: Ok(bytes) });
        self.settle();
        for conn in std::mem::take(&mut self.asked) {
            let reply = filled(self.pools.large.take(), &self.reply);
            self.done.push(Completion::Recv { conn, result: Ok(reply) });
        }
        self.settle();
        assert!(self.ended == STREAMS, "the client has all replies");
    }

    /// Adds a request's HEADERS to what the client sends next.
    fn ask(&mut self) {
        let start = self.request.len();
        self.request.extend_from_slice(&[0; HEAD_BYTES]);
        self.encoder.request(b"GET", Scheme::Http, b"bench.local", b"/page?x=1", &mut self.request);
        for (name, value) in BROWSER_HEADERS {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            self.encoder.field(HeaderId::from_token(name), name, value, &mut self.request);
        }
        let len = self.request.len() - start - HEAD_BYTES;
        let flags = flag::END_STREAM | flag::END_HEADERS;
        let head = FrameHead { len, kind: Kind::Headers, flags, stream: self.next_stream };
        let place = self.request.get_mut(start..start + HEAD_BYTES).expect("it was put there");
        place.copy_from_slice(&head.to_bytes());
        self.next_stream += 2;
    }

    /// Hands in what is done and carries out what is wanted until neither is left.
    fn settle(&mut self) {
        loop {
            for completion in std::mem::take(&mut self.done) {
                self.worker.handle_completion(completion, self.now);
            }
            while let Some(command) = self.worker.poll_command() {
                self.obey(command);
            }
            while let Some(report) = self.worker.poll_report() {
                if let Report::Access { lines, .. } = report {
                    self.worker.recycle(lines);
                }
            }
            if self.done.is_empty() {
                return;
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Connect { conn, address, .. } => {
                self.done.push(Completion::Connect { conn, result: Ok(address) });
            }
            Command::Recv { conn, .. } if conn == self.client => self.client_reads = true,
            Command::Recv { conn, .. } => self.asked.push(conn),
            Command::Send { conn, chain } => {
                if conn == self.client {
                    let bytes = chain.to_vec();
                    self.ended += ends(&bytes);
                }
                let sent = chain.len();
                self.done.push(Completion::Send { conn, chain, result: Ok(sent) });
            }
            other @ (Command::Shutdown { .. }
            | Command::Close { .. }
            | Command::OpenFile { .. }
            | Command::ReadFile { .. }
            | Command::WriteFile { .. }
            | Command::ListDirectory { .. }
            | Command::RenameFile { .. }
            | Command::RemoveFile { .. }
            | Command::FreeSpace { .. }
            | Command::CloseFile { .. }
            | Command::Verify { .. }
            | Command::Resolve { .. }) => unreachable!("{other:?} in plain proxying"),
        }
    }
}

/// How many streams end in these whole frames.
fn ends(mut bytes: &[u8]) -> u32 {
    let mut ends = 0;
    while let Some(head) = FrameHead::parse(bytes) {
        ends += u32::from(matches!(head.kind, Kind::Headers | Kind::Data) && head.has(flag::END_STREAM));
        bytes = bytes.get(HEAD_BYTES + head.len..).unwrap_or_default();
    }
    ends
}
