//! What a configuration compiles to: everything that a request needs, already decided.
//!
//! `proxy-bin` lowers an nginx.conf into these types; nothing here knows nginx's syntax, and everything uses nginx's
//! names. Inheritance is resolved: a [`Location`] holds its final settings, in groups behind `Arc`s so that the levels
//! that set nothing of their own share them. A [`Config`] never changes; a reload makes another one.

mod access;
mod access_log;
mod cache;
mod charset;
mod core_settings;
mod defaults;
mod endpoint;
mod files;
mod filter;
mod gateway;
mod health;
mod limits;
mod listen;
mod location;
mod map;
mod mirror;
mod process;
mod proxy;
mod resolver;
mod rewrite;
mod server;
mod template;
mod tls;
mod upstream;
mod variable;
mod vetting;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::ListenerId;

pub use crate::tls::ocsp::Stapling;
pub use access::{
    Access, AccessRules, AuthBasic, AuthRequest, LimitExcept, RealIp, RealIpHeader, UserFilePath,
};
pub use access_log::{AccessLog, Escape, LogFile, LogFormat, LogTarget};
pub use cache::{Cache, CacheBatch, CacheLock, CacheName, CacheValid, CacheZone, UseStale};
pub use charset::Charset;
pub use core_settings::{
    AddHeader, BodyInFile, ClientBody, CoreSettings, ErrorLogRef, ErrorPage, ErrorPageCode, ErrorPageTarget,
    Expires, IfModifiedSince, Keepalive, KeepaliveDisable, Linger, LingeringClose, MimeTypes, Root,
    ServerTokens,
};
pub use endpoint::{Endpoint, HTTP_PORT, HTTPS_PORT, port_number};
pub use files::{Autoindex, AutoindexFormat, FileServing, Symlinks};
pub use filter::{Addition, Filters, Gzip, GzipProxied, GzipStatic, Negotiation, Ssi, SubFilter, Types};
pub use gateway::{Gateway, GatewayParam, GatewayProtocol, ScriptName};
pub use health::{BodyCondition, CheckKind, HeaderCondition, HeaderTest, HealthCheck, Match, StatusSet};
pub use limits::{
    ConnectionLimit, ConnectionLimits, LimitKind, LimitZone, Limits, RequestLimit, RequestLimits,
};
pub use listen::Listener;
pub use location::{Content, Location, LocationKind, Origin, TryFallback, TryFiles};
pub use map::{Map, MapValue};
pub use mirror::Mirrors;
pub use process::{ErrorLogFile, LogSink, Process, Syslog, WorkerCount};
pub use proxy::{
    Bind, BindAddress, BodyBuffering, CookieFlags, CookieName, CookieRule, HIDDEN_BY_DEFAULT, IgnoreHeaders,
    NextUpstream, Proxy, ProxyHttpVersion, RedirectRule, SendProxyProtocol, SetHeader, SetHeaders, Store,
    Target, TargetUri, UpgradePolicy,
};
pub use resolver::Resolver;
pub use rewrite::{Condition, FileTest, Flag, RewriteLine, RewriteOp, SetTarget};
pub use server::Server;
pub use template::{Piece, Template};
pub use tls::{ClientVerify, ProxyTls, TlsServer, UpstreamTls};
pub use upstream::{
    Balance, BudgetLimits, CookieExpires, LeastTime, Measure, Outliers, Policy, Queue, RandomTwo, Sticky,
    StickyCookie, StickyKind, StickyLearn, Upstream, UpstreamName, UpstreamServer,
};
#[cfg(test)]
pub(crate) use variable::VARIABLES;
pub use variable::{Variable, VariableName};
pub use vetting::{
    BrowserFamily, Browsers, CookieLife, Geo, HostMask, Referers, SecureLink, SplitClients, UserId, Vetting,
};

macro_rules! index {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);)*
    };
}

index! {
    /// A place in [`Config::servers`].
    ServerId;
    /// A place in [`Config::locations`].
    LocationId;
    /// A place in [`Config::upstreams`].
    UpstreamId;
    /// A place in [`Config::logs`].
    LogId;
    /// A place in [`Config::limit_zones`].
    ZoneId;
    /// A place in [`Config::resolvers`].
    ResolverId;
    /// A place in [`Config::maps`].
    MapId;
    /// A place in [`Config::geos`].
    GeoId;
    /// A place in [`Config::splits`].
    SplitId;
    /// A place in [`Config::slots`]: a variable that a request may set (`set`, a named capture).
    SlotId;
}

/// One whole configuration.
#[derive(Debug, Default)]
pub struct Config {
    /// Counts the configurations of this process, from 1.
    pub generation: u64,
    /// The process-level settings.
    pub process: Process,
    /// The listening sockets. A [`ListenerId`](crate::command::ListenerId) is a place in this vector.
    pub listeners: Vec<Listener>,
    /// The virtual servers.
    pub servers: Vec<Server>,
    /// The locations of all servers, each server's own level and every `if` block included.
    pub locations: Vec<Location>,
    /// The upstream groups, named ones and those that a literal `proxy_pass` address stands for.
    pub upstreams: Vec<Upstream>,
    /// The `resolver` directives, each that says the same once.
    pub resolvers: Vec<Arc<Resolver>>,
    /// The certificates that are shown with what their responders say.
    pub staplings: Vec<Arc<Stapling>>,
    /// The access log files, each path once.
    pub logs: Vec<LogFile>,
    /// The error log files, each path once; the first is the main one.
    pub error_logs: Vec<ErrorLogFile>,
    /// The zones of `limit_req` and `limit_conn`.
    pub limit_zones: Vec<LimitZone>,
    /// The zones of `proxy_cache_path`.
    pub caches: Vec<Arc<CacheZone>>,
    /// Whether a `$connections_…` variable is asked for: the counters are up to date then for each request.
    pub reads_counters: bool,
    /// The `map` blocks.
    pub maps: Vec<Map>,
    /// The `geo` blocks.
    pub geos: Vec<Geo>,
    /// The `split_clients` blocks.
    pub splits: Vec<SplitClients>,
    /// Every charset that is named anywhere, for X-Accel-Charset.
    pub charsets: Vec<Box<[u8]>>,
    /// The names of the variables that a request may set, for messages.
    pub slots: Vec<Box<str>>,
    /// The host name of this machine (`$hostname`), lower case.
    pub hostname: Arc<str>,
}

impl Config {
    /// Whether a location is the control API: then it is counted what that tells.
    #[must_use]
    pub fn has_api(&self) -> bool {
        self.locations.iter().any(|location| matches!(location.content, Content::Api { .. }))
    }

    /// The server of this id.
    #[must_use]
    pub fn server(&self, id: ServerId) -> Option<&Server> {
        self.servers.get(id.0 as usize)
    }

    /// The location of this id.
    #[must_use]
    pub fn location(&self, id: LocationId) -> Option<&Location> {
        self.locations.get(id.0 as usize)
    }

    /// The TLS settings that hold for a server on a listener: its own, or those of the default server.
    #[must_use]
    pub fn tls_of(&self, id: ServerId, listener: ListenerId) -> Option<&TlsServer> {
        let own = self.server(id).and_then(|server| server.tls.as_deref());
        own.or_else(|| {
            let default = self.listeners.get(listener.0 as usize)?.default_server;
            self.server(default)?.tls.as_deref()
        })
    }

    /// The upstream group of this id.
    #[must_use]
    pub fn upstream(&self, id: UpstreamId) -> Option<&Upstream> {
        self.upstreams.get(id.0 as usize)
    }
}
