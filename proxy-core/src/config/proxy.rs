//! The proxy module's settings of one location.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{Cache, Gateway, Piece, ProxyTls, Template, UpstreamId, Variable};
use crate::http::{HeaderId, HeaderSet, Status};
use crate::route::Regex;
use crate::time::Millis;

/// `proxy_pass` and all that belongs to it.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Who is asked.
    pub target: Target,
    /// What is asked for.
    pub uri: TargetUri,
    /// `$proxy_host`: the host (and the port, unless it is the scheme's) of the `proxy_pass` URL.
    pub proxy_host: Arc<[u8]>,
    /// `$proxy_port`
    pub proxy_port: Arc<[u8]>,
    /// The `proxy_pass` URL's scheme and host as written, for log lines: `http://backend`.
    pub url: Arc<str>,
    /// What the upstream gets instead of an HTTP request, where it does not speak HTTP.
    pub gateway: Option<Arc<Gateway>>,
    /// `proxy_method`
    pub method: Option<Template>,
    /// `proxy_http_version`
    pub http_version: ProxyHttpVersion,
    /// `proxy_set_header`, with the default Host and Connection already in it unless overridden: build it with
    /// [`SetHeaders::new`].
    pub set_headers: Arc<SetHeaders>,
    /// Whether a handshake is forwarded where no `proxy_set_header` names Upgrade or Connection.
    pub upgrade: UpgradePolicy,
    /// `proxy_set_body`
    pub body: Option<Template>,
    /// `proxy_pass_request_headers`
    pub pass_request_headers: bool,
    /// `proxy_pass_request_body`
    pub pass_request_body: bool,
    /// `proxy_request_buffering`
    pub request_buffering: bool,
    /// `proxy_buffering` and the sizes around it.
    pub buffering: BodyBuffering,
    /// `proxy_connect_timeout`
    pub connect_timeout: Millis,
    /// `proxy_send_timeout`, between two writes.
    pub send_timeout: Millis,
    /// `proxy_read_timeout`, between two reads.
    pub read_timeout: Millis,
    /// Reply fields that are not passed on: the defaults ([`HIDDEN_BY_DEFAULT`]) and `proxy_hide_header` less
    /// `proxy_pass_header`.
    pub hide_headers: Arc<HeaderSet>,
    /// `proxy_ignore_headers`
    pub ignore_headers: IgnoreHeaders,
    /// `proxy_redirect`, in order; empty for `off`.
    pub redirects: Arc<[RedirectRule]>,
    /// `proxy_cookie_domain`
    pub cookie_domains: Arc<[CookieRule]>,
    /// `proxy_cookie_path`
    pub cookie_paths: Arc<[CookieRule]>,
    /// `proxy_cookie_flags`
    pub cookie_flags: Arc<[CookieFlags]>,
    /// `proxy_next_upstream` with `_tries` and `_timeout`.
    pub next_upstream: NextUpstream,
    /// `proxy_intercept_errors`
    pub intercept_errors: bool,
    /// `proxy_ignore_client_abort`
    pub ignore_client_abort: bool,
    /// `proxy_socket_keepalive`
    pub socket_keepalive: bool,
    /// `proxy_protocol`: what each connection begins with.
    pub proxy_protocol: Option<SendProxyProtocol>,
    /// `proxy_bind`
    pub bind: Option<Arc<Bind>>,
    /// `proxy_socket_sndbuf` in bytes; none leaves the size to the system.
    pub send_buffer_bytes: Option<usize>,
    /// `proxy_socket_rcvbuf` in bytes; none leaves the size to the system.
    pub recv_buffer_bytes: Option<usize>,
    /// `proxy_pass_trailers`
    pub pass_trailers: bool,
    /// `proxy_limit_rate` in bytes per second.
    pub limit_rate: Option<Template>,
    /// `proxy_force_ranges`
    pub force_ranges: bool,
    /// It is a `grpc_pass`: its URL has another scheme, and `te: trailers` is passed on.
    pub is_grpc: bool,
    /// `proxy_cache`
    pub cache: Option<Arc<Cache>>,
    /// `proxy_store`; none is `off`.
    pub store: Option<Arc<Store>>,
    /// `proxy_ssl_*`; none where the URL's scheme is `http`.
    pub tls: Option<Box<ProxyTls>>,
    /// The same for upgrades, where `proxy_http_version` is 2: those need HTTP/1.1.
    pub upgrade_tls: Option<Box<ProxyTls>>,
}

/// `proxy_store` with `proxy_store_access`: whole replies become files.
#[derive(Clone, Debug)]
pub struct Store {
    /// Where a reply goes; none is `on`: to the file that `root` or `alias` names for the URI.
    pub path: Option<Template>,
    /// The files' permission bits.
    pub mode: u32,
}

/// Whether a handshake passes where the configuration says nothing about Upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradePolicy {
    /// A client's handshake (never h2c) is forwarded.
    Forward,
    /// `proxy_set_header` says what is sent, and nothing is added.
    Configured,
}

/// The versions of the PROXY protocol's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendProxyProtocol {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Who is asked.
#[derive(Clone, Debug)]
pub enum Target {
    /// A group, or a literal address, which is a group of its own.
    Upstream(UpstreamId),
    /// `proxy_pass http://$name…`: the whole URL, known for each request.
    Dynamic(Template),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub enum TargetUri {
    /// `proxy_pass http://host;`: the request's target, as the client sent it unless it was rewritten.
    Unchanged,
    /// `proxy_pass http://host/path/;`: replaces the part of the normalised URI that the location matched.
    Replace(Arc<[u8]>),
    /// `proxy_pass http://host/path$variable;`: this is the whole target.
    Template(Template),
}

/// `proxy_http_version`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHttpVersion {
    /// 1.0
    Http10,
    /// 1.1
    Http11,
    /// 2
    Http2,
}

/// The reply fields that are hidden unless `proxy_pass_header` names them.
pub const HIDDEN_BY_DEFAULT: &[&[u8]] = &[
    b"date",
    b"server",
    b"x-pad",
    b"x-accel-expires",
    b"x-accel-redirect",
    b"x-accel-limit-rate",
    b"x-accel-buffering",
    b"x-accel-charset",
];

/// The fields that `proxy_set_header` sends, and the names among the client's fields that they replace.
#[derive(Clone, Debug, Default)]
pub struct SetHeaders {
    /// The fields in the order in which they are sent.
    pub fields: Box<[SetHeader]>,
    /// Their names: the client's fields of these names are not passed.
    pub names: HeaderSet,
}

impl SetHeaders {
    /// Puts the default `Host: $proxy_host` behind `fields` unless these name it. Nothing is said about Connection by
    /// default (nginx 1.29.7).
    #[must_use]
    pub fn new(mut fields: Vec<SetHeader>) -> Self {
        let names = HeaderSet::new(fields.iter().map(|field| &*field.name));
        if !names.contains_id(HeaderId::Host) {
            let value = Template::new([Piece::Variable(Variable::ProxyHost)]);
            fields.push(SetHeader { id: HeaderId::Host, name: b"Host".as_slice().into(), value });
        }
        let mut names = names;
        names.insert_id(HeaderId::Host);
        Self { fields: fields.into(), names }
    }

    /// The same for a reply that may be kept: the client's conditions and ranges do not go with it, and those of an old
    /// entry do, where nothing else is said.
    #[must_use]
    pub fn for_cache(&self) -> Self {
        let mut fields = self.fields.to_vec();
        let mut names = self.names.clone();
        let asks = [
            (HeaderId::IfModifiedSince, &b"If-Modified-Since"[..], Variable::UpstreamCacheLastModified),
            (HeaderId::IfNoneMatch, &b"If-None-Match"[..], Variable::UpstreamCacheEtag),
        ];
        for (id, name, variable) in asks {
            if !names.contains_id(id) {
                let value = Template::new([Piece::Variable(variable)]);
                fields.push(SetHeader { id, name: name.into(), value });
            }
        }
        let silent = [HeaderId::IfMatch, HeaderId::IfUnmodifiedSince, HeaderId::Range, HeaderId::IfRange];
        let asked = [HeaderId::IfModifiedSince, HeaderId::IfNoneMatch];
        asked.into_iter().chain(silent).for_each(|id| names.insert_id(id));
        Self { fields: fields.into(), names }
    }
}

/// One field of the request that is sent upstream.
#[derive(Clone, Debug)]
pub struct SetHeader {
    /// The name, classified.
    pub id: HeaderId,
    /// The name as written.
    pub name: Box<[u8]>,
    /// The value; an empty result sends no field.
    pub value: Template,
}

/// `proxy_buffering` and the sizes around it.
#[derive(Clone, Debug)]
pub struct BodyBuffering {
    /// `proxy_buffering`
    pub on: bool,
    /// `proxy_buffer_size` in bytes: how large a reply's head may be.
    pub head_bytes_max: usize,
    /// `proxy_buffers`: number × size, in bytes: how much of a body is kept in memory.
    pub memory_bytes_max: usize,
    /// `proxy_busy_buffers_size` in bytes.
    pub busy_bytes_max: usize,
    /// `proxy_max_temp_file_size` in bytes; 0 never uses a file.
    pub file_bytes_max: u64,
    /// `proxy_temp_file_write_size` in bytes.
    pub file_write_bytes: usize,
    /// `proxy_temp_path`, absolute.
    pub temp_path: Arc<[u8]>,
}

/// `proxy_ignore_headers`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of independent names")]
pub struct IgnoreHeaders {
    /// X-Accel-Redirect
    pub accel_redirect: bool,
    /// X-Accel-Expires
    pub accel_expires: bool,
    /// X-Accel-Limit-Rate
    pub accel_limit_rate: bool,
    /// X-Accel-Buffering
    pub accel_buffering: bool,
    /// X-Accel-Charset
    pub accel_charset: bool,
    /// Expires
    pub expires: bool,
    /// Cache-Control
    pub cache_control: bool,
    /// Set-Cookie
    pub set_cookie: bool,
    /// Vary
    pub vary: bool,
}

/// One `proxy_redirect`, tried in order on Location and Refresh.
#[derive(Clone, Debug)]
pub enum RedirectRule {
    /// A prefix, compared as it is (evaluated if it holds variables), and its replacement.
    Prefix {
        /// What the field must begin with.
        from: Template,
        /// What stands there instead.
        to: Template,
    },
    /// A regex and its replacement.
    Regex {
        /// What must match.
        regex: Regex,
        /// The whole new value; captures are at hand.
        to: Template,
    },
}

/// One `proxy_cookie_domain` or `proxy_cookie_path`.
#[derive(Clone, Debug)]
pub enum CookieRule {
    /// The attribute's value (for a path: what it begins with) and its replacement.
    Plain {
        /// What it must be.
        from: Template,
        /// What stands there instead.
        to: Template,
    },
    /// A regex and its replacement.
    Regex {
        /// What must match.
        regex: Regex,
        /// The whole new value.
        to: Template,
    },
}

/// One `proxy_cookie_flags`.
#[derive(Clone, Debug)]
pub struct CookieFlags {
    /// Which cookies.
    pub cookie: CookieName,
    /// `secure`, `nosecure`, `httponly`, `nohttponly`, `samesite=strict`, `=lax`, `=none`, `nosamesite`; what turns out
    /// to be another word says nothing.
    pub flags: Box<[Template]>,
}

/// How `proxy_cookie_flags` names cookies.
#[derive(Clone, Debug)]
pub enum CookieName {
    /// The whole name, in any case.
    Text(Template),
    /// A regex, which takes no notice of case.
    Regex(Regex),
}

/// `proxy_bind`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The address.
    pub address: BindAddress,
    /// Whether it need not be one of this machine's (`transparent`).
    pub transparent: bool,
}

/// The address of `proxy_bind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindAddress {
    /// Known at load; port 0 lets the system choose.
    Fixed(SocketAddr),
    /// Known for each request; an empty one binds to nothing.
    Computed(Template),
}

/// `proxy_next_upstream` with `_tries` and `_timeout`.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a set of independent conditions")]
pub struct NextUpstream {
    /// `error`
    pub error: bool,
    /// `timeout`
    pub timeout: bool,
    /// `invalid_header`
    pub invalid_header: bool,
    /// `non_idempotent`
    pub non_idempotent: bool,
    /// `http_500` … `http_429`
    pub statuses: Box<[Status]>,
    /// `proxy_next_upstream_tries`; 0 is no limit.
    pub tries_max: u32,
    /// `proxy_next_upstream_timeout`; zero is no limit.
    pub timeout_total: Millis,
}
