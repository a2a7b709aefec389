//! Locations: what happens to a request, with all inheritance resolved.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::{
    Access, AccessLog, CoreSettings, Filters, LimitExcept, Limits, Mirrors, Proxy, RealIp, RewriteLine,
    Template, Vetting,
};

/// Where something stands in the configuration text, for `explain`, logs and messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The file's path as it was named.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The byte in the file, from 0.
    pub offset: u32,
}

/// One `location` block, or another level that a request may be handled at.
#[derive(Debug)]
pub struct Location {
    /// How it is found.
    pub kind: LocationKind,
    /// The pattern as it stands in the file: `/api/`, `\.php$`, `name` for `@name`; empty for other levels.
    pub pattern: Box<[u8]>,
    /// `internal`: only internal redirects may enter.
    pub internal: bool,
    /// A prefix location that ends in a slash and is proxied: `/name` is redirected to `/name/` with 301.
    pub auto_redirect: bool,
    /// The rewrite directives of this level, in order.
    pub rewrite: Box<[RewriteLine]>,
    /// What the access phase asks; none where it asks nothing.
    pub access: Option<Arc<Access>>,
    /// Whose word is taken for who the client is.
    pub real_ip: Option<Arc<RealIp>>,
    /// What variables that judge a request go by.
    pub vetting: Option<Arc<Vetting>>,
    /// `limit_except`
    pub limit_except: Option<LimitExcept>,
    /// Who makes the reply.
    pub content: Content,
    /// `try_files`: the candidates, and what happens when none exists.
    pub try_files: Option<TryFiles>,
    /// The settings of the core and headers modules.
    pub core: Arc<CoreSettings>,
    /// `limit_req` and `limit_conn`; none where neither applies.
    pub limits: Option<Arc<Limits>>,
    /// What changes the body of replies; none where nothing does.
    pub filters: Option<Arc<Filters>>,
    /// `mirror`; none where nothing is copied.
    pub mirrors: Option<Arc<Mirrors>>,
    /// The access logs; empty for `off`.
    pub access_logs: Arc<[AccessLog]>,
    /// Where the block stands.
    pub origin: Origin,
}

/// `try_files`.
#[derive(Debug)]
pub struct TryFiles {
    /// The files to look for, and whether each must be a directory (its name ends in a slash).
    pub files: Box<[(Template, bool)]>,
    /// What to do when none exists.
    pub fallback: TryFallback,
}

/// The last argument of `try_files`.
#[derive(Debug)]
pub enum TryFallback {
    /// `=404`
    Status(u16),
    /// `@name`
    Named(Box<[u8]>),
    /// A URI for an internal redirect.
    Uri(Template),
}

/// How a location is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocationKind {
    /// The server's own level, or an `if` block's.
    Implicit,
    /// `= /uri`
    Exact,
    /// `/uri`
    Prefix,
    /// `^~ /uri`
    PrefixNoRegex,
    /// `~ pattern`
    Regex,
    /// `~* pattern`
    RegexNoCase,
    /// `$variable`: neither empty nor 0.
    Predicate,
    /// `@name`
    Named,
}

/// Who makes the reply.
#[derive(Clone, Debug)]
pub enum Content {
    /// Files below `root` or `alias`.
    Files,
    /// `proxy_pass`
    Proxy(Arc<Proxy>),
    /// `stub_status`
    StubStatus,
    /// `api`
    Api {
        /// Whether it may change anything (`write=on`).
        write: bool,
    },
    /// `empty_gif`
    EmptyGif,
}
