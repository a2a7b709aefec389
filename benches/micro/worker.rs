//! Whole requests through a worker, with the least driver there can be: one client connection, one upstream connection,
//! and every command completed at once and in full. What is left is the core's own cost.

use std::sync::Arc;

use criterion::{Criterion, Throughput};
use proxy_core::buf::Buf;
use proxy_core::command::{Address, Command, Completion, ConnId, ListenerId, Peer, Report};
use proxy_core::shared::Shared;
use proxy_core::time::{Instant, Now};
use proxy_core::worker::{Pools, Worker};
use ringgate_benches::{UPSTREAM_HEAD, browser_request};

use crate::site;

/// The settings that the load comparison uses, too.
pub(crate) const CONF: &str = r#"
events {}
http {
    access_log off;
    keepalive_requests 1000000000;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    upstream backend { server 127.0.0.1:8081; keepalive 64; keepalive_requests 1000000000; }
    server {
        listen 127.0.0.1:8080;
        server_name bench.local;
        location / { proxy_pass http://backend; }
        location /logged/ { access_log /access.log combined; proxy_pass http://backend; }
    }
}"#;

pub(crate) fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("worker");
    group.throughput(Throughput::Elements(1));
    for (name, target, bytes) in
        [("small", "/page?x=1", 128), ("10k", "/page?x=1", 10 * 1024), ("small, logged", "/logged/page", 128)]
    {
        let mut pair = Pair::new(CONF, target, bytes);
        pair.exchange();
        group.bench_function(name, |bencher| bencher.iter(|| pair.exchange()));
    }
    group.finish();
}

/// Sends `count` requests with small replies, and nothing else.
pub(crate) fn requests(count: u64) {
    let mut pair = Pair::new(CONF, "/page?x=1", 128);
    for _ in 0..count {
        pair.exchange();
    }
}

/// A worker with a client that keeps asking and an upstream that keeps answering.
pub(crate) struct Pair {
    worker: Worker,
    pools: Pools,
    now: Now,
    client: ConnId,
    request: Vec<u8>,
    reply: Vec<u8>,
    client_reads: bool,
    upstream_reads: Option<ConnId>,
    /// Bytes of the reply that the client has got.
    received: usize,
}

impl Pair {
    /// A pair on the configuration `conf`, in which `bench.local` passes `target` on.
    pub(crate) fn new(conf: &str, target: &str, body_bytes: usize) -> Self {
        let now =
            Now { instant: Instant::from_micros(1_000_000), unix_ms: 1_717_243_200_000, utc_offset_s: 0 };
        let pools = Pools::standard();
        let mut worker = Worker::new(site::compile(conf), Arc::new(Shared::new()), pools.clone(), 1, now);
        let address = |text: &str| Address::Ip(text.parse().expect("an address"));
        let peer = Peer { client: address("127.0.0.1:50000"), local: address("127.0.0.1:8080") };
        let client = worker.handle_accept(ListenerId(0), peer, now);
        let mut reply = format!("{UPSTREAM_HEAD}Content-Length: {body_bytes}\r\n\r\n").into_bytes();
        reply.resize(reply.len() + body_bytes, b'x');
        let request = browser_request("GET", target, "");
        let mut pair = Self {
            worker,
            pools,
            now,
            client,
            request,
            reply,
            client_reads: false,
            upstream_reads: None,
            received: 0,
        };
        pair.obey();
        pair
    }

    /// One request and its whole reply.
    pub(crate) fn exchange(&mut self) {
        assert!(self.client_reads, "the worker waits for a request");
        self.client_reads = false;
        self.received = 0;
        let request = filled(self.pools.small.take(), &self.request);
        self.complete(Completion::Recv { conn: self.client, result: Ok(request) });
        self.obey();
        let upstream = self.upstream_reads.take().expect("the worker waits for a reply");
        let reply = filled(self.pools.large.take(), &self.reply);
        self.complete(Completion::Recv { conn: upstream, result: Ok(reply) });
        self.obey();
        // The proxy's head differs from the upstream's, but a body is a body.
        assert!(self.received + 256 > self.reply.len(), "the client has the reply");
    }

    fn complete(&mut self, completion: Completion) {
        self.worker.handle_completion(completion, self.now);
    }

    fn obey(&mut self) {
        loop {
            let Some(command) = self.worker.poll_command() else {
                let Some(report) = self.worker.poll_report() else { return };
                if let Report::Access { lines, .. } = report {
                    self.worker.recycle(lines);
                }
                continue;
            };
            match command {
                Command::Connect { conn, address, .. } => {
                    self.complete(Completion::Connect { conn, result: Ok(address) });
                }
                Command::Recv { conn, .. } if conn == self.client => self.client_reads = true,
                Command::Recv { conn, .. } => self.upstream_reads = Some(conn),
                Command::Send { conn, chain } => {
                    let sent = chain.len();
                    if conn == self.client {
                        self.received += sent;
                    }
                    self.complete(Completion::Send { conn, chain, result: Ok(sent) });
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
}

/// The buffer with these bytes in it.
pub(crate) fn filled(mut buffer: Buf, bytes: &[u8]) -> Buf {
    assert!(buffer.try_extend(bytes), "a buffer holds a message");
    buffer
}
