//! nginx's documented defaults (1.31), in one place: lowering starts from these and so does every test.
//!
//! Paths are relative here; lowering puts the prefix in front of them. `proxy_redirect default` depends on the location
//! that it stands in, so [`Proxy::default`] holds no redirect rule; the same goes for what `proxy_pass` itself says.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;

use super::{
    BodyBuffering, BodyInFile, ClientBody, Content, CoreSettings, Expires, HIDDEN_BY_DEFAULT,
    IfModifiedSince, IgnoreHeaders, Keepalive, KeepaliveDisable, Linger, LingeringClose, Listener, Location,
    LocationId, LocationKind, MimeTypes, NextUpstream, Origin, Proxy, ProxyHttpVersion, Root, Server,
    ServerId, ServerTokens, SetHeaders, Target, TargetUri, Template, UpgradePolicy, Upstream, UpstreamId,
    UpstreamServer,
};
use crate::command::Address;
use crate::config::Balance;
use crate::http::HeaderSet;
use crate::route::{LocationTree, ServerNames};
use crate::time::Millis;

/// The page size of the machines that we run on: several of nginx's sizes are pages.
const PAGE_BYTES: usize = 4096;

impl Default for CoreSettings {
    fn default() -> Self {
        Self {
            root: Root::Root(Template::literal(b"html")),
            index: Arc::new([Template::literal(b"index.html")]),
            types: Arc::new(MimeTypes::default_types()),
            default_type: Arc::from(b"text/plain".as_slice()),
            error_pages: Arc::new([]),
            recursive_error_pages: false,
            error_logs: Arc::new([]),
            files: Arc::default(),
            charset: None,
            add_headers: Arc::new([]),
            add_trailers: Arc::new([]),
            expires: Expires::Off,
            client_body: ClientBody::default(),
            http2_chunk_bytes: 8 * 1024,
            keepalive: Keepalive::default(),
            lingering: LingeringClose::default(),
            send_timeout: Millis::from_secs(60),
            reset_timedout_connection: false,
            server_tokens: ServerTokens::On,
            msie_padding: true,
            etag: true,
            if_modified_since: IfModifiedSince::Exact,
            ranges_max: None,
            chunked_transfer_encoding: true,
            absolute_redirect: true,
            server_name_in_redirect: false,
            port_in_redirect: true,
            log_not_found: true,
            log_subrequest: false,
            limit_rate: None,
            limit_rate_after: None,
            early_hints: Arc::new([]),
            resolver: None,
            resolver_timeout: Millis::from_secs(30),
        }
    }
}

impl MimeTypes {
    /// The table where no `types` block stands: three media types.
    #[must_use]
    pub fn default_types() -> Self {
        let pairs: [(&[u8], &[u8]); 3] =
            [(b"html", b"text/html"), (b"gif", b"image/gif"), (b"jpg", b"image/jpeg")];
        let by_extension: HashMap<Box<[u8]>, Arc<[u8]>> =
            pairs.into_iter().map(|(extension, media)| (extension.into(), media.into())).collect();
        Self { by_extension }
    }
}

impl Default for ClientBody {
    fn default() -> Self {
        Self {
            bytes_max: Some(1024 * 1024),
            buffer_bytes: 4 * PAGE_BYTES,
            timeout: Millis::from_secs(60),
            temp_path: Arc::from(b"client_body_temp".as_slice()),
            temp_levels: [0; 3],
            in_file: BodyInFile::No,
        }
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            timeout: Millis::from_secs(75),
            header_s: None,
            requests_max: 1000,
            time_max: Millis::from_secs(3600),
            timeout_min: Millis(0),
            disable: KeepaliveDisable { msie6: true, safari: false },
        }
    }
}

impl Default for LingeringClose {
    fn default() -> Self {
        Self { when: Linger::WhenUnread, time: Millis::from_secs(30), timeout: Millis::from_secs(5) }
    }
}

impl Default for Listener {
    /// `listen *:80`, all servers being the first.
    fn default() -> Self {
        Self {
            address: Address::Ip(([0, 0, 0, 0], 80).into()),
            dual_stack: false,
            backlog: 511,
            receive_buffer_bytes: None,
            send_buffer_bytes: None,
            deferred: false,
            keepalive: false,
            http2: false,
            proxy_protocol: false,
            tls: false,
            default_server: ServerId(0),
            names: ServerNames::default(),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            name: Box::default(),
            root: LocationId(0),
            tree: LocationTree::default(),
            named: Vec::new(),
            rewrite: Box::default(),
            client_header_timeout: Millis::from_secs(60),
            client_header_buffer_bytes: 1024,
            large_client_header_buffers: (4, 8192),
            headers_max: 1000,
            ignore_invalid_headers: true,
            underscores_in_headers: false,
            merge_slashes: true,
            tls: None,
            http2: false,
            http2_streams_max: 128,
            http2_preread_bytes: 64 * 1024,
            origin: Origin::default(),
        }
    }
}

impl Default for Location {
    /// A level of its own that serves files and logs nothing.
    fn default() -> Self {
        Self {
            kind: LocationKind::Implicit,
            pattern: Box::default(),
            internal: false,
            auto_redirect: false,
            rewrite: Box::default(),
            access: None,
            real_ip: None,
            vetting: None,
            limit_except: None,
            content: Content::Files,
            script: None,
            try_files: None,
            core: Arc::default(),
            limits: None,
            filters: None,
            mirrors: None,
            access_logs: Arc::new([]),
            origin: Origin::default(),
        }
    }
}

impl Default for Proxy {
    /// `proxy_pass` to the first group with the request's own target.
    fn default() -> Self {
        Self {
            target: Target::Upstream(UpstreamId(0)),
            uri: TargetUri::Unchanged,
            proxy_host: Arc::new([]),
            proxy_port: Arc::from(b"80".as_slice()),
            url: Arc::from("http://"),
            gateway: None,
            method: None,
            http_version: ProxyHttpVersion::Http11,
            set_headers: Arc::new(SetHeaders::new(Vec::new())),
            upgrade: UpgradePolicy::Forward,
            body: None,
            pass_request_headers: true,
            pass_request_body: true,
            request_buffering: true,
            buffering: BodyBuffering::default(),
            connect_timeout: Millis::from_secs(60),
            send_timeout: Millis::from_secs(60),
            read_timeout: Millis::from_secs(60),
            hide_headers: Arc::new(HeaderSet::new(HIDDEN_BY_DEFAULT.iter().copied())),
            ignore_headers: IgnoreHeaders::default(),
            redirects: Arc::new([]),
            cookie_domains: Arc::new([]),
            cookie_paths: Arc::new([]),
            cookie_flags: Arc::new([]),
            next_upstream: NextUpstream::default(),
            intercept_errors: false,
            ignore_client_abort: false,
            socket_keepalive: false,
            proxy_protocol: None,
            bind: None,
            send_buffer_bytes: None,
            recv_buffer_bytes: None,
            pass_trailers: false,
            limit_rate: None,
            force_ranges: false,
            is_grpc: false,
            cache: None,
            store: None,
            tls: None,
            upgrade_tls: None,
        }
    }
}

impl Default for BodyBuffering {
    fn default() -> Self {
        Self {
            on: true,
            head_bytes_max: PAGE_BYTES,
            memory_bytes_max: 8 * PAGE_BYTES,
            busy_bytes_max: 2 * PAGE_BYTES,
            file_bytes_max: 1024 * 1024 * 1024,
            file_write_bytes: 2 * PAGE_BYTES,
            temp_path: Arc::from(b"proxy_temp".as_slice()),
        }
    }
}

impl Default for NextUpstream {
    fn default() -> Self {
        Self {
            error: true,
            timeout: true,
            invalid_header: false,
            non_idempotent: false,
            statuses: Box::default(),
            tries_max: 0,
            timeout_total: Millis(0),
        }
    }
}

impl Upstream {
    /// An `upstream` block of these servers with nothing else in it: since nginx 1.29.7 it keeps 32 connections.
    #[must_use]
    pub fn explicit(name: &str, servers: impl IntoIterator<Item = UpstreamServer>) -> Self {
        Self {
            name: name.into(),
            explicit: true,
            balance: Balance::RoundRobin,
            policy: Arc::default(),
            servers: servers.into_iter().collect(),
            names: Vec::new(),
            checks: Vec::new(),
            zone: None,
            state: None,
            keepalive: 32,
            keepalive_requests: 1000,
            keepalive_time: Millis::from_secs(3600),
            keepalive_timeout: Millis::from_secs(60),
            state_key: name.into(),
        }
    }
}

impl UpstreamServer {
    /// A `server` line with nothing but the address.
    #[must_use]
    pub fn new(address: Address) -> Self {
        let name = alloc::format!("{address}").into();
        Self {
            address,
            name,
            weight: 1,
            max_fails: 1,
            fail_timeout: Millis::from_secs(10),
            max_conns: 0,
            backup: false,
            down: false,
            drain: false,
            slow_start: Millis(0),
            route: "".into(),
            line: 0,
        }
    }
}
