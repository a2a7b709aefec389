//! What the content handlers and the rewrite module answer, against `content/*.txt`: requests to the servers of
//! `content/site.conf`, the replies byte for byte, whether the connection was closed, and the error log.
//!
//! A small driver in memory stands for the world: it answers commands from a table of files. Every request comes whole
//! and byte by byte. What is expected was compared with a real nginx
//! (1.22); ours differs on purpose in three things: a path outside its directory is never opened (404), a 412 leaves the
//! connection open as its head says, and the pages name another product.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, in its helpers too")]

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use proxy_core::command::{
    Address, Command, Completion, ConnId, FileId, FileInfo, FileKind, IoError, ListenerId, Peer, Report,
};
use proxy_core::config::Config;
use proxy_core::shared::Shared;
use proxy_core::time::{Instant, Now};
use proxy_core::worker::{Pools, Worker};
use ringgate::conf::compile;
use ringgate::conf::include::Memory;
use ringgate::conf::lower::{Environment, Resolve};

use crate::cases::run;

/// When every file was changed: Sun, 06 Nov 1994 08:49:37 GMT.
const MTIME_S: i64 = 784_111_777;
/// The moment of every request: Sat, 21 Nov 2026 00:00:00 GMT.
const NOW_MS: u64 = 1_795_219_200_000;

static DISK: OnceLock<Disk> = OnceLock::new();

#[test]
fn replies_are_nginxs() {
    let config = config();
    run("golden/content", "txt", |case| {
        let whole = Driver::answer(&config, &[&case.input]);
        let bytes: Vec<&[u8]> = case.input.chunks(1).collect();
        assert_eq!(whole, Driver::answer(&config, &bytes), "{}: byte by byte", case.name);
        shown(&whole)
    });
}

/// A reply as lines: `.` is an empty one.
fn shown(answer: &str) -> String {
    let version = concat!("ringgate/", env!("CARGO_PKG_VERSION"));
    let lines = answer.replace("\r\n", "\n").replace(version, "ringgate/VERSION");
    lines.lines().map(|line| if line.is_empty() { "." } else { line }).collect::<Vec<_>>().join("\n")
}

struct Nobody;

impl Resolve for Nobody {
    fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, String> {
        Err("there is no network here".into())
    }
}

fn config() -> Arc<Config> {
    compiled(include_bytes!("content/site.conf"))
}

/// A configuration that is good.
pub(crate) fn compiled(text: &[u8]) -> Arc<Config> {
    let env = Environment {
        prefix: Path::new("/p"),
        error_log: Path::new("logs/error.log"),
        access_log: Path::new("logs/access.log"),
        pid: Path::new("logs/nginx.pid"),
        client_body_temp: Path::new("client_body_temp"),
        proxy_temp: Path::new("proxy_temp"),
        root: true,
        unresolved_is_fatal: true,
        hostname: "host.test",
        generation: 1,
        name_servers: &[],
        resolve: &Nobody,
    };
    let files = vec![("/c/n.conf".into(), text.to_vec())];
    let compiled = compile(&Memory { files }, Path::new("/c/n.conf"), None, &env);
    let said: Vec<_> = compiled.diagnostics.iter().map(|d| d.headline(&compiled.sources)).collect();
    assert!(compiled.is_good(), "{said:?}");
    Arc::new(compiled.lowered.config)
}

type Disk = HashMap<&'static [u8], Option<Vec<u8>>>;

/// The disk: paths and contents; none is a directory.
fn disk() -> Disk {
    let entry = |path: &'static str, text: &str| (path.as_bytes(), Some(text.as_bytes().to_vec()));
    let mut disk = HashMap::from([
        entry("/srv/www/index.html", "<p>index</p>\n"),
        entry("/srv/www/a.txt", "0123456789"),
        entry("/srv/www/empty.txt", ""),
        entry("/srv/www/404.html", "not here\n"),
        entry("/srv/www/run.sh", "#!/bin/sh\n"),
        entry("/srv/www/sub/index.html", "<p>sub</p>\n"),
        entry("/srv/www/try/there.txt", "there\n"),
        entry("/srv/other/x.txt", "other x\n"),
        entry("/srv/other/dir/index.html", "<p>dir</p>\n"),
        entry("/srv/secret.txt", "secret\n"),
        entry("/srv/www/secret/key", "secret\n"),
    ]);
    let large = (0..100_000_u32).flat_map(|n| format!("{n:07}\n").into_bytes()).collect();
    disk.insert(b"/srv/www/large.txt", Some(large));
    for directory in
        ["/srv/www", "/srv/www/bare", "/srv/www/sub", "/srv/www/try", "/srv/other", "/srv/other/dir"]
    {
        disk.insert(directory.as_bytes(), None);
    }
    disk
}

/// The world around a worker.
struct Driver {
    worker: Worker,
    pools: Pools,
    now: Now,
    disk: &'static Disk,
    open: HashMap<FileId, &'static [u8]>,
    input: Vec<Vec<u8>>,
    sent: Vec<u8>,
    log: String,
    closed: bool,
}

impl Driver {
    /// What a client gets for these reads, how its connection ends, and what the error log says.
    fn answer(config: &Arc<Config>, input: &[&[u8]]) -> String {
        let pools = Pools::standard();
        let now = Now { instant: Instant::from_micros(1_000_000), unix_ms: NOW_MS, utc_offset_s: 0 };
        let worker = Worker::new(Arc::clone(config), Arc::new(Shared::new()), pools.clone(), 7, now);
        let input = input.iter().rev().map(|part| part.to_vec()).collect();
        let mut driver = Self {
            worker,
            pools,
            now,
            disk: DISK.get_or_init(disk),
            open: HashMap::new(),
            input,
            sent: Vec::new(),
            log: String::new(),
            closed: false,
        };
        driver.run();
        let (text, closed) = (String::from_utf8_lossy(&driver.sent), driver.closed);
        let end = if closed { "(closed)\n" } else { "" };
        let line = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        format!("{text}{line}{end}{}", driver.log)
    }

    fn run(&mut self) {
        let address = |text: &str| Address::Ip(text.parse().unwrap());
        let peer = Peer { client: address("127.0.0.1:4000"), local: address("127.0.0.1:8080") };
        let client = self.worker.handle_accept(ListenerId(0), peer, self.now);
        while let Some(command) = self.worker.poll_command() {
            if !self.carry_out(client, command) {
                break;
            }
        }
        while let Some(report) = self.worker.poll_report() {
            if let Report::Error { message, .. } = report {
                let text = String::from_utf8(message).unwrap();
                self.log += &format!("log: {}\n", text.split(", client:").next().unwrap());
            }
        }
    }

    /// Carries a command out. Returns whether the exchange goes on.
    fn carry_out(&mut self, client: ConnId, command: Command) -> bool {
        let completion = match command {
            Command::Recv { conn, .. } => {
                assert_eq!(conn, client);
                let mut buf = self.pools.large.take();
                let Some(part) = self.input.pop() else { return true };
                assert!(buf.try_extend(&part));
                Completion::Recv { conn, result: Ok(buf) }
            }
            Command::Send { conn, chain } => {
                let taken = chain.len().min(50_000);
                self.sent.extend_from_slice(&chain.to_vec()[..taken]);
                Completion::Send { conn, chain, result: Ok(taken) }
            }
            Command::OpenFile { file, path, .. } => {
                let result = self.open(file, &path);
                Completion::OpenFile { file, result }
            }
            Command::ReadFile { file, offset, len } => {
                let mut buf = self.pools.large.take();
                let rest = &self.open[&file][usize::try_from(offset).unwrap()..];
                assert!(buf.try_extend(&rest[..len.min(rest.len())]));
                Completion::ReadFile { file, result: Ok(buf) }
            }
            Command::CloseFile { file } => {
                self.open.remove(&file);
                return true;
            }
            Command::Shutdown { .. } | Command::Close { .. } => {
                self.closed = true;
                return false;
            }
            other @ (Command::Connect { .. }
            | Command::WriteFile { .. }
            | Command::ListDirectory { .. }
            | Command::RenameFile { .. }
            | Command::RemoveFile { .. }
            | Command::FreeSpace { .. }
            | Command::Verify { .. }
            | Command::Resolve { .. }) => {
                panic!("nobody does {other:?} here")
            }
        };
        self.worker.handle_completion(completion, self.now);
        true
    }

    fn open(&mut self, file: FileId, path: &[u8]) -> Result<FileInfo, IoError> {
        assert!(!path.windows(4).any(|part| part == b"/../"), "{}", path.escape_ascii());
        if path.starts_with(b"/srv/www/secret") {
            return Err(IoError::ACCESS);
        }
        let merged = String::from_utf8_lossy(path).replace("//", "/").into_bytes();
        let path = merged.as_slice();
        let trimmed = path.strip_suffix(b"/").unwrap_or(path);
        let parent = trimmed.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let Some(entry) = self.disk.get(trimmed) else {
            let below_file = self.disk.get(&trimmed[..parent]).is_some_and(Option::is_some);
            return Err(if below_file { IoError::NOT_DIRECTORY } else { IoError::NOT_FOUND });
        };
        if entry.is_some() && path.ends_with(b"/") {
            return Err(IoError::NOT_DIRECTORY);
        }
        let kind = if entry.is_some() { FileKind::Regular } else { FileKind::Directory };
        let bytes = entry.as_deref().unwrap_or_default();
        let executable = entry.is_none() || path.ends_with(b".sh");
        let info = FileInfo { kind, size: bytes.len() as u64, mtime_s: MTIME_S, executable };
        self.open.insert(file, bytes);
        Ok(info)
    }
}
