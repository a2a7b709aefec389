//! Certificates whose names hold variables: read when a handshake names them, and kept as `ssl_certificate_cache` and
//! `proxy_ssl_certificate_cache` say.
//!
//! As in nginx, a file is read by the thread that needs it; without a cache, for each handshake.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use proxy_core::tls::build::{Certificate, Fault};
use proxy_core::tls::computed::CertificateFiles;

use crate::tls_files;

/// How many certificates are kept, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// `max`: beyond that, the one that was used longest ago goes.
    pub entries_max: usize,
    /// `inactive`: one that was not used for so long goes.
    pub inactive: Duration,
    /// `valid`: for so long nobody looks whether the files have changed.
    pub valid: Duration,
}

/// The files, and what is kept of them.
#[derive(Debug)]
pub struct CertificateCache {
    directory: PathBuf,
    passwords: Vec<Vec<u8>>,
    limits: Option<CacheLimits>,
    kept: Mutex<HashMap<Names, Kept>>,
}

/// A certificate's name and its key's.
type Names = (Vec<u8>, Vec<u8>);

#[derive(Debug)]
struct Kept {
    certificate: Certificate,
    changed: [Option<SystemTime>; 2],
    looked: Instant,
    used: Instant,
}

impl CertificateCache {
    /// Relative names begin at `directory`; keys may be opened by `passwords`.
    #[must_use]
    pub fn new(directory: PathBuf, passwords: Vec<Vec<u8>>, limits: Option<CacheLimits>) -> Self {
        Self { directory, passwords, limits, kept: Mutex::default() }
    }

    fn path(&self, name: &[u8]) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        self.directory.join(Path::new(std::ffi::OsStr::from_bytes(name)))
    }

    fn changed(&self, name: &[u8]) -> Option<SystemTime> {
        if name.starts_with(b"data:") {
            return None;
        }
        std::fs::metadata(self.path(name)).and_then(|found| found.modified()).ok()
    }

    fn text(&self, name: &[u8], what: &str) -> Result<Vec<u8>, String> {
        if let Some(data) = name.strip_prefix(b"data:") {
            return Ok(data.to_vec());
        }
        let path = self.path(name);
        tls_files::read(&path).map_err(|error| format!("cannot load {what} \"{}\" ({error})", path.display()))
    }

    fn read(&self, chain: &[u8], key: &[u8]) -> Result<Certificate, String> {
        let chain_text = self.text(chain, "certificate")?;
        let key_text = self.text(key, "certificate key")?;
        tls_files::certificate(&chain_text, &key_text, &self.passwords, None).map_err(|fault| {
            let (what, name, error) = match &fault {
                Fault::Certificate(error) => ("certificate", chain, error),
                Fault::Key(error) => ("certificate key", key, error),
            };
            format!("cannot load {what} \"{}\": {error}", self.path(name).display())
        })
    }

    fn load_at(&self, chain: &[u8], key: &[u8], now: Instant) -> Result<Certificate, String> {
        let Some(limits) = self.limits else { return self.read(chain, key) };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| now < kept.used + limits.inactive);
        let names = (chain.to_vec(), key.to_vec());
        if let Some(found) = kept.get_mut(&names) {
            found.used = now;
            let is_fresh = now < found.looked + limits.valid;
            if is_fresh || found.changed == [self.changed(chain), self.changed(key)] {
                if !is_fresh {
                    found.looked = now;
                }
                return Ok(found.certificate.clone());
            }
        }
        let changed = [self.changed(chain), self.changed(key)];
        let certificate = self.read(chain, key)?;
        if kept.len() >= limits.entries_max
            && !kept.contains_key(&names)
            && let Some(oldest) =
                kept.iter().min_by_key(|(_, kept)| kept.used).map(|(names, _)| names.clone())
        {
            kept.remove(&oldest);
        }
        kept.insert(names, Kept { certificate: certificate.clone(), changed, looked: now, used: now });
        Ok(certificate)
    }
}

impl CertificateFiles for CertificateCache {
    fn load(&self, chain: &[u8], key: &[u8]) -> Result<Certificate, String> {
        self.load_at(chain, key, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/tls");

    #[test]
    fn certificates_are_kept_while_they_are_used_and_their_files_are_the_same() {
        let directory = std::env::temp_dir().join(format!("ringgate-cache-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let put = |from: &str, to: &str| {
            for end in ["crt", "key"] {
                std::fs::copy(format!("{FILES}/{from}.{end}"), directory.join(format!("{to}.{end}")))
                    .unwrap();
            }
        };
        let seconds = Duration::from_secs;
        let limits = CacheLimits { entries_max: 2, inactive: seconds(10), valid: seconds(60) };
        let cache = CertificateCache::new(directory.clone(), Vec::new(), Some(limits));
        let start = Instant::now();
        let load = |name: &str, s: u64| {
            let key = format!("{name}.key");
            cache.load_at(format!("{name}.crt").as_bytes(), key.as_bytes(), start + seconds(s)).is_ok()
        };
        for name in ["a", "b", "c"] {
            put("ec", name);
        }
        assert!(load("a", 0) && !load("none", 0));
        std::fs::remove_file(directory.join("a.crt")).unwrap();
        assert!(load("a", 5) && load("a", 14), "nobody looks while it is valid");
        assert!(!load("a", 24), "it was not used for too long");
        put("ec", "a");
        assert!(load("a", 30) && load("b", 31) && load("c", 32));
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(
            load("b", 33) && load("c", 33) && !load("a", 33),
            "the one that was used longest ago has gone"
        );
        for s in [40, 49, 58, 67, 76, 85] {
            assert!(load("c", s));
        }
        assert!(!load("c", 94), "the files have gone");
    }
}
