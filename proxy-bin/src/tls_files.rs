//! Certificates and keys on the disk: read, decrypted, and read again when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use proxy_core::tls::build::{self, Certificate, Fault};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::tls_pem;

/// The largest file that is taken for a certificate, a key or a list, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A pair of files, and what was read from them.
#[derive(Clone, Debug)]
pub struct Watched {
    chain: PathBuf,
    key: PathBuf,
    passwords: Vec<Vec<u8>>,
    ocsp: Option<Vec<u8>>,
    certificate: Certificate,
    seen: (Option<SystemTime>, Option<SystemTime>),
}

impl Watched {
    /// Watches the files of `certificate`.
    #[must_use]
    pub fn new(
        chain: PathBuf,
        key: PathBuf,
        passwords: Vec<Vec<u8>>,
        ocsp: Option<Vec<u8>>,
        certificate: Certificate,
    ) -> Self {
        let seen = (changed(&chain), changed(&key));
        Self { chain, key, passwords, ocsp, certificate, seen }
    }

    /// Reads the files again if they have changed: what to say about it, and whether it is an error. Files that do not
    /// fit each other leave the old certificate in use; they are looked at again when either changes.
    pub fn look(&mut self) -> Option<Result<String, String>> {
        let now = (changed(&self.chain), changed(&self.key));
        if now == self.seen {
            return None;
        }
        self.seen = now;
        let shown = self.chain.display().to_string();
        let load = || {
            let chain = read(&self.chain)?;
            let key = read(&self.key)?;
            certificate(&chain, &key, &self.passwords, self.ocsp.clone()).map_err(|fault| match fault {
                Fault::Certificate(error) | Fault::Key(error) => error,
            })
        };
        Some(match load() {
            Ok(newer) => {
                self.certificate.replace(&newer);
                Ok(format!("certificate \"{shown}\" has changed and is in use now"))
            }
            Err(error) => Err(format!(
                "certificate \"{shown}\" has changed and is no good, the old one stays in use: {error}"
            )),
        })
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|found| found.modified()).ok()
}

/// A whole file.
///
/// # Errors
/// The system's words, or that it is too large.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let words = |error: std::io::Error| crate::say::errno(&error);
    if fs::metadata(path).map_err(words)?.len() > FILE_BYTES_MAX {
        return Err("the file is too large".into());
    }
    fs::read(path).map_err(words)
}

/// The passphrases in a file, one a line.
#[must_use]
pub fn passwords(text: &[u8]) -> Vec<Vec<u8>> {
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

/// A chain with its key, which one of `passwords` may have to open.
///
/// # Errors
/// What is wrong with either.
pub fn certificate(
    chain: &[u8],
    key: &[u8],
    passwords: &[Vec<u8>],
    ocsp: Option<Vec<u8>>,
) -> Result<Certificate, Fault> {
    Certificate::new(chain, private_key(key, passwords).map_err(Fault::Key)?, ocsp)
}

/// A key, which one of `passwords` may have to open.
///
/// # Errors
/// What is wrong with it.
pub fn private_key(text: &[u8], passwords: &[Vec<u8>]) -> Result<PrivateKeyDer<'static>, String> {
    if contains(text, b"Proc-Type: 4,ENCRYPTED") {
        return tls_pem::open(text, passwords);
    }
    if !contains(text, b"BEGIN ENCRYPTED PRIVATE KEY") {
        return build::private_key(text);
    }
    let text = std::str::from_utf8(text).map_err(|_| "it is no PEM")?;
    let (_, der) = SecretDocument::from_pem(text).map_err(|error| error.to_string())?;
    let encrypted =
        EncryptedPrivateKeyInfoRef::try_from(der.as_bytes()).map_err(|error| error.to_string())?;
    if passwords.is_empty() {
        return Err("it is encrypted and there is no \"ssl_password_file\"".into());
    }
    let opened = passwords.iter().find_map(|password| encrypted.decrypt(password).ok());
    let opened = opened.ok_or("none of the passphrases opens it")?;
    Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(opened.as_bytes().to_vec())))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
