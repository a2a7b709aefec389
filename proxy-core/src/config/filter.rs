//! What changes the body of a reply on its way out.
//!
//! Reference: nginx's ngx_http_gzip_filter_module, ngx_http_gunzip_filter_module, ngx_http_sub_filter_module.

use alloc::boxed::Box;
use alloc::sync::Arc;

use hashbrown::HashSet;

use super::Template;
use crate::http::Version;
use crate::route::Regex;

/// The body filters of one level. A level that has none has no `Filters` at all.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// `sub_filter`
    pub sub: Option<SubFilter>,
    /// `add_before_body`, `add_after_body`
    pub addition: Option<Arc<Addition>>,
    /// `ssi`
    pub ssi: Option<Ssi>,
    /// `gunzip`
    pub gunzip: bool,
    /// `gzip`
    pub gzip: Option<Gzip>,
    /// `gzip_static`
    pub gzip_static: GzipStatic,
    /// Which clients take gzip.
    pub negotiation: Negotiation,
}

/// `gzip_static`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GzipStatic {
    /// `off`
    #[default]
    Off,
    /// `on`: a file's `.gz` neighbour goes to clients that take it.
    On,
    /// `always`: it goes to everybody.
    Always,
}

/// Media types that a filter is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Types {
    /// `*`
    All,
    /// These, in lower case.
    Of(HashSet<Box<[u8]>>),
}

impl Types {
    /// Whether a reply with this Content-Type, parameters included, is one of them.
    #[must_use]
    pub fn has(&self, content_type: &[u8]) -> bool {
        let Self::Of(types) = self else { return true };
        let media = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
        if !media.iter().any(u8::is_ascii_uppercase) {
            return types.contains(media);
        }
        types.contains(&*media.to_ascii_lowercase())
    }
}

impl Default for Types {
    /// `text/html`
    fn default() -> Self {
        Self::Of(core::iter::once(b"text/html".as_slice().into()).collect())
    }
}

/// The `sub_filter` family.
#[derive(Clone, Debug)]
pub struct SubFilter {
    /// What is looked for and what stands there instead, in order of appearance.
    pub pairs: Arc<[(Template, Template)]>,
    /// `sub_filter_once`: each string is replaced once.
    pub once: bool,
    /// `sub_filter_types`
    pub types: Arc<Types>,
    /// `sub_filter_last_modified`: Last-Modified stays, and the ETag as a weak one.
    pub last_modified: bool,
}

/// The `gzip` family.
#[derive(Clone, Debug)]
pub struct Gzip {
    /// `gzip_types`
    pub types: Arc<Types>,
    /// `gzip_comp_level`, 1 to 9.
    pub level: u8,
    /// `gzip_min_length` in bytes; replies of an unknown length count as long.
    pub length_min: u64,
}

/// Which clients take gzip, and what caches are told about it.
#[derive(Clone, Debug)]
pub struct Negotiation {
    /// `gzip_vary`: replies say `Vary: Accept-Encoding`.
    pub vary: bool,
    /// `gzip_http_version`: the least version.
    pub version_min: Version,
    /// `gzip_proxied`: what of the replies to requests with a Via field.
    pub proxied: GzipProxied,
    /// `gzip_disable`: user agents that do not take it after all.
    pub disable: Arc<[Regex]>,
    /// `gzip_disable msie6`: those that say `MSIE 4.`, `MSIE 5.` or `MSIE 6.` without `SV1`.
    pub disable_msie6: bool,
}

impl Default for Negotiation {
    fn default() -> Self {
        Self {
            vary: false,
            version_min: Version::Http11,
            proxied: GzipProxied::default(),
            disable: Arc::new([]),
            disable_msie6: false,
        }
    }
}

/// `gzip_proxied`; all false is `off`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the directive")]
pub struct GzipProxied {
    /// Expires is in the past.
    pub expired: bool,
    /// `Cache-Control: no-cache`
    pub no_cache: bool,
    /// `Cache-Control: no-store`
    pub no_store: bool,
    /// `Cache-Control: private`
    pub private: bool,
    /// No Last-Modified.
    pub no_last_modified: bool,
    /// No ETag.
    pub no_etag: bool,
    /// The request has an Authorization field.
    pub auth: bool,
    /// All.
    pub any: bool,
}

/// `add_before_body` and `add_after_body`.
#[derive(Clone, Debug)]
pub struct Addition {
    /// Whose body comes first.
    pub before: Option<Arc<[u8]>>,
    /// Whose body comes last.
    pub after: Option<Arc<[u8]>>,
    /// `addition_types`
    pub types: Arc<Types>,
}

/// The `ssi` family.
#[derive(Clone, Debug)]
pub struct Ssi {
    /// `ssi_types`
    pub types: Arc<Types>,
    /// `ssi_silent_errors`: nothing stands where a command went wrong.
    pub silent_errors: bool,
    /// `ssi_value_length`: the longest value of a parameter, in bytes.
    pub value_bytes_max: usize,
    /// `ssi_last_modified`: Last-Modified stays, and the ETag as a weak one.
    pub last_modified: bool,
}
