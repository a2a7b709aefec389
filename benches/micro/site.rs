//! An nginx.conf in memory, compiled by the binary's own front end.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proxy_core::config::Config;
use ringgate::conf::include::Memory;
use ringgate::conf::lower::{Environment, Resolve};

struct NoNames;

impl Resolve for NoNames {
    fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        Err(format!("{host}: no names in a benchmark"))
    }
}

/// The configuration that `text` stands for; it must be a good one.
pub(crate) fn compile(text: &str) -> Arc<Config> {
    let main = PathBuf::from("/nginx.conf");
    let files = Memory { files: vec![(main.clone(), text.as_bytes().to_vec())] };
    let root = Path::new("/");
    let environment = Environment {
        prefix: root,
        error_log: Path::new("/error.log"),
        access_log: Path::new("/access.log"),
        pid: Path::new("/pid"),
        client_body_temp: root,
        proxy_temp: root,
        root: false,
        unresolved_is_fatal: true,
        hostname: "bench",
        generation: 1,
        name_servers: &[],
        resolve: &NoNames,
    };
    let compiled = ringgate::conf::compile(&files, &main, None, &environment);
    assert!(compiled.is_good(), "{:?}", compiled.diagnostics);
    Arc::new(compiled.lowered.config)
}
