//! Certificates whose names hold variables: known for each handshake only.
//!
//! The names are computed here; the files are read, and kept for a while, by whoever made the configuration.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::build::Certificate;
use crate::config::Template;
use crate::exchange::Facts;
use crate::exchange::vars::Env;

/// Who has the files.
pub trait CertificateFiles: Debug + Send + Sync {
    /// The certificate of this name with the key of that one.
    ///
    /// # Errors
    /// A whole sentence for the error log: `cannot load certificate "…": …`.
    fn load(&self, chain: &[u8], key: &[u8]) -> Result<Certificate, String>;
}

/// `ssl_certificate` and `ssl_certificate_key` with variables.
#[derive(Clone, Debug)]
pub struct Computed {
    /// Each certificate with its key.
    pub pairs: Box<[(Template, Template)]>,
    /// Where they are.
    pub files: Arc<dyn CertificateFiles>,
}

impl Computed {
    /// Computes the names.
    pub(crate) fn names(&self, facts: &Facts, env: &Env<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let name = |template: &Template| {
            let mut name = Vec::new();
            template.write(facts, env, &mut name);
            name
        };
        self.pairs.iter().map(|(chain, key)| (name(chain), name(key))).collect()
    }

    /// Loads what the names say; an empty name is no certificate.
    ///
    /// # Errors
    /// As [`CertificateFiles::load`].
    pub(crate) fn load(&self, names: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<Certificate>, String> {
        let named = names.iter().filter(|(chain, _)| !chain.is_empty());
        named.map(|(chain, key)| self.files.load(chain, key)).collect()
    }
}
