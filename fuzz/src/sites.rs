//! Configurations compiled from text, without a disk, a resolver or a machine below them.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use proxy_core::config::Config;
use ringgate::conf::include::Memory;
use ringgate::conf::lower::{Environment, Resolve};
use ringgate::conf::{Compiled, compile};

/// The names of the files beside the main one.
const INCLUDED: [&str; 4] = ["/c/mime.types", "/c/a.conf", "/c/d/1.conf", "/c/proxy_params"];

struct Names;

impl Resolve for Names {
    fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        match host.len() % 4 {
            0 => Err("unknown".into()),
            1 => Ok(vec![[10, 0, 0, 9].into(), "2001:db8::9".parse().unwrap()]),
            _ => Ok(vec![[10, 0, 0, 8].into()]),
        }
    }
}

/// Compiles a main file and those that it may include.
pub(crate) fn compiled(texts: &[&[u8]], globals: Option<&str>, fatal: bool) -> Compiled {
    let main = Path::new("/c/nginx.conf");
    let names = std::iter::once("/c/nginx.conf").chain(INCLUDED);
    let files = names.zip(texts).map(|(name, text)| (name.into(), text.to_vec()));
    let files = Memory { files: files.collect() };
    let env = Environment {
        prefix: Path::new("/p"),
        error_log: Path::new("logs/error.log"),
        access_log: Path::new("logs/access.log"),
        pid: Path::new("logs/nginx.pid"),
        client_body_temp: Path::new("client_body_temp"),
        proxy_temp: Path::new("proxy_temp"),
        root: fatal,
        unresolved_is_fatal: fatal,
        hostname: "host.test",
        generation: 1,
        name_servers: &[],
        resolve: &Names,
    };
    compile(&files, main, globals, &env)
}

/// The sites that a fuzzed worker serves, small in their buffers and short in their patience.
pub(crate) fn all() -> &'static [Arc<Config>] {
    static SITES: OnceLock<Vec<Arc<Config>>> = OnceLock::new();
    SITES.get_or_init(|| TEXTS.iter().map(|text| Arc::new(site(text))).collect())
}

/// The site that speaks HTTP/2.
pub(crate) fn http2() -> Arc<Config> {
    static SITE: OnceLock<Arc<Config>> = OnceLock::new();
    Arc::clone(SITE.get_or_init(|| Arc::new(site(HTTP2))))
}

/// The site whose upstreams are spoken to in HTTP/2.
pub(crate) fn http2_out() -> Arc<Config> {
    static SITE: OnceLock<Arc<Config>> = OnceLock::new();
    Arc::clone(SITE.get_or_init(|| Arc::new(site(HTTP2_OUT))))
}

fn site(text: &str) -> Config {
    let compiled = compiled(&[text.as_bytes()], None, true);
    let said: Vec<_> = compiled.diagnostics.iter().map(|d| d.headline(&compiled.sources)).collect();
    assert!(compiled.is_good(), "{said:?}");
    compiled.lowered.config
}

/// A site whose names are looked up at run time, by its own name servers and by the system.
pub(crate) fn names() -> &'static Arc<Config> {
    static SITE: OnceLock<Arc<Config>> = OnceLock::new();
    SITE.get_or_init(|| Arc::new(site(NAMES)))
}

const NAMES: &str = r#"
error_log logs/error.log info;
events {}
http {
    resolver 10.0.9.1 10.0.9.2 valid=2s; resolver_timeout 3s;
    upstream app { server n.test resolve; server 10.0.0.5 backup; }
    upstream svc { server n.test service=http resolve; resolver 10.0.9.3 ipv6=off; }
    server {
        listen 80; server_name a.test;
        location / { proxy_pass http://app; }
        location /strict/ { proxy_pass http://svc; }
        location /files/ { proxy_pass http://$host; }
        location /r/ { resolver 10.0.9.4; proxy_pass http://x.$host:81; }
    }
}"#;

const TEXTS: [&str; 4] = [BUFFERED, STREAMING, RULES, TIGHT];

/// Everything on: buffering with spills, a group with a pool and a backup, error pages, logs.
const BUFFERED: &str = r#"
worker_processes 1; error_log logs/error.log info;
events { worker_connections 64; }
http {
    log_format all '$remote_addr $connection $request_id [$time_local] "$request" $status $bytes_sent $request_time '
        '$upstream_addr $upstream_status $upstream_response_time $upstream_bytes_received "$http_user_agent" $host$uri$args';
    access_log logs/access.log all buffer=1k flush=1s;
    access_log logs/$host.log;
    upstream app {
        server 10.0.0.1:80 weight=2 max_fails=1 fail_timeout=2s; server 10.0.0.2:80; server 10.0.0.3:80 backup;
        keepalive 2; keepalive_requests 3; keepalive_timeout 4s;
    }
    server {
        listen 80; server_name a.test *.b.test; listen [::]:81;
        client_body_buffer_size 64; client_max_body_size 4k; client_body_timeout 2s; client_header_timeout 2s;
        send_timeout 2s; keepalive_timeout 5s; keepalive_requests 4; lingering_time 5s; lingering_timeout 1s;
        proxy_connect_timeout 1s; proxy_send_timeout 2s; proxy_read_timeout 3s;
        proxy_buffer_size 1k; proxy_buffers 2 1k; proxy_busy_buffers_size 1k; proxy_max_temp_file_size 16k; proxy_temp_file_write_size 1k;
        proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        error_page 502 504 /sorry.html; error_page 404 = @fallback;
        location / { proxy_pass http://app; proxy_next_upstream error timeout http_502 http_404 non_idempotent; proxy_next_upstream_tries 3; }
        location /strict/ { proxy_pass http://app/v1/; proxy_intercept_errors on; proxy_redirect default; proxy_hide_header X-Secret; add_header X-A $upstream_addr always; }
        location = /sorry.html { internal; root /srv; }
        location /files/ { root /srv; index index.html index.htm; }
        location @fallback { proxy_pass http://10.0.0.7; }
    }
}"#;

/// Nothing is held back, and nobody waits for a client's end.
const STREAMING: &str = r#"
events {}
http {
    access_log off;
    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    upstream pool { server unix:/run/app.sock; server 10.0.0.2:80 down; keepalive 8; }
    server {
        listen 80 default_server;
        client_max_body_size 0; proxy_request_buffering off; proxy_buffering off; proxy_buffer_size 1k;
        client_header_timeout 2s; client_body_timeout 2s; send_timeout 2s; proxy_read_timeout 3s; keepalive_timeout 5s;
        location / { proxy_pass http://pool; proxy_set_header Host $host; }
        location /ws/ { proxy_pass http://10.0.0.5:9000/; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; }
        location /old/ { proxy_pass http://10.0.0.6; proxy_http_version 1.0; proxy_ignore_client_abort on; }
        location /m/ { proxy_pass http://pool/x; proxy_method POST; proxy_pass_request_body off; proxy_set_header Content-Length ""; }
    }
}"#;

/// Rewrites, returns, conditions and files; no upstream but one.
const RULES: &str = r#"
error_log logs/error.log debug;
events {}
http {
    server {
        listen 80; listen 10.0.0.1:82; server_name a.test ~^(?<sub>.+)\.c\.test$;
        root /srv/$host; index index.html; merge_slashes off; underscores_in_headers on; max_headers 20;
        large_client_header_buffers 2 1k; client_header_buffer_size 256; keepalive_timeout 3s 2s;
        set $kind plain;
        if ($request_method = POST) { return 405; }
        if ($arg_x ~* ^(a+)b) { set $kind $1; }
        rewrite ^/r/(.*)$ /files/$1?k=$kind last;
        rewrite ^/loop /loop;
        error_page 403 404 /err/$status; error_page 405 =200 @named;
        location / { add_header X-Sub $sub; }
        location /files/ { alias /data/; }
        location /err/ { internal; return 200 "sorry $status $uri\n"; }
        location /go { return 301 https://$host$request_uri; }
        location ~ \.(gif|jpg)$ { rewrite ^ /files/$1 break; proxy_pass http://10.0.0.4; }
        location @named { return 204; }
        location /status { stub_status; }
        location /redirect/ { proxy_pass http://10.0.0.4; }
        location /drop { return 444; }
    }
}"#;

/// Limits that are reached at once.
const TIGHT: &str = r#"
events { worker_connections 3; }
http {
    access_log logs/access.log combined if=$arg_log;
    server {
        listen 80; listen 83;
        client_header_buffer_size 128; large_client_header_buffers 1 256; max_headers 5; client_max_body_size 16;
        client_header_timeout 1s; keepalive_timeout 0; lingering_close always; reset_timedout_connection on;
        proxy_buffer_size 512; proxy_buffers 2 512; proxy_busy_buffers_size 512; proxy_max_temp_file_size 0; proxy_read_timeout 1s;
        location / { proxy_pass http://10.0.0.1; client_body_buffer_size 8; proxy_ignore_headers X-Accel-Buffering; }
        location /exp/ { proxy_pass http://10.0.0.1/; proxy_set_header Host $http_host; proxy_set_header Connection ""; }
    }
}"#;

/// Streams in every direction, in small portions.
const HTTP2: &str = r#"
error_log logs/error.log info;
events { worker_connections 64; }
http {
    access_log logs/access.log combined;
    http2 on; http2_max_concurrent_streams 6; http2_body_preread_size 300; http2_chunk_size 100;
    server {
        listen 80; server_name a.test;
        client_body_buffer_size 64; client_max_body_size 4k; client_body_timeout 2s; client_header_timeout 2s;
        send_timeout 2s; keepalive_timeout 5s; keepalive_requests 40; lingering_time 5s; lingering_timeout 1s;
        proxy_connect_timeout 1s; proxy_send_timeout 2s; proxy_read_timeout 3s; proxy_pass_trailers on;
        proxy_buffer_size 1k; proxy_buffers 2 1k; proxy_busy_buffers_size 1k; proxy_max_temp_file_size 16k; proxy_temp_file_write_size 1k;
        location / { proxy_pass http://10.0.0.1; }
        location /stream { proxy_pass http://10.0.0.2; proxy_request_buffering off; proxy_buffering off; client_max_body_size 0; }
        location /ws/ { proxy_pass http://10.0.0.5:9000/; }
        location /files/ { root /srv; }
        location /go { return 301 /elsewhere; }
        location /drop { return 444; }
    }
}"#;

/// HTTP/2 on the far side: pooled and shared connections, small buffers, a second server.
const HTTP2_OUT: &str = r#"
error_log logs/error.log info;
events { worker_connections 64; }
http {
    access_log logs/access.log combined;
    upstream app { server 10.0.0.1 max_fails=0; server 10.0.0.2; keepalive 1; keepalive_requests 5; keepalive_timeout 4s; }
    server {
        listen 80; server_name a.test; http2 on; proxy_http_version 2;
        client_body_buffer_size 64; client_max_body_size 4k; client_body_timeout 2s; client_header_timeout 2s;
        send_timeout 2s; keepalive_timeout 5s; lingering_time 5s; lingering_timeout 1s;
        proxy_connect_timeout 1s; proxy_send_timeout 2s; proxy_read_timeout 3s; proxy_pass_trailers on;
        proxy_buffer_size 1k; proxy_buffers 2 1k; proxy_busy_buffers_size 1k; proxy_max_temp_file_size 16k; proxy_temp_file_write_size 1k;
        grpc_connect_timeout 1s; grpc_send_timeout 2s; grpc_read_timeout 3s;
        location / { proxy_pass http://app; }
        location /stream { proxy_pass http://app; proxy_request_buffering off; proxy_buffering off; client_max_body_size 0; }
        location /grpc { grpc_pass app; client_max_body_size 0; }
    }
}"#;
