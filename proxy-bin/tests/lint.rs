//! `ringgate lint`: each trap is found, and what avoids it is not spoken of.

use std::path::Path;

use ringgate::conf::include::{self, Memory};
use ringgate::lint;

/// The rules that speak about `conf`, in reading order, each with its line.
fn found(conf: &str) -> String {
    let path = Path::new("/nginx.conf");
    let files = Memory { files: vec![(path.to_path_buf(), conf.as_bytes().to_vec())] };
    let loaded = include::load(&files, path, None);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let words = lint::lint(&loaded.tree).into_iter().map(|finding| {
        let span = finding.diagnostic.span.expect("every finding has a place");
        format!("{}:{}", finding.rule, loaded.sources.start(span).line)
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A server with good manners around `body`, which begins on the second line.
fn server(body: &str) -> String {
    format!(
        "http {{ proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; server {{\n{body}\n}} }}"
    )
}

#[test]
fn every_trap_of_the_guides_is_found() {
    let table: &[(&str, &str)] = &[
        ("location / { proxy_pass http://a; }", ""),
        (
            "location / { proxy_pass http://a; proxy_set_header Upgrade $http_upgrade;\nproxy_read_timeout 1h; }",
            "missing-forwarding-headers:2 host-lost:2",
        ),
        ("location /api/ { proxy_pass http://a/; }", ""),
        ("location /api { proxy_pass http://a; }", ""),
        ("location /api/ { proxy_pass http://a/v1; }", "trailing-slash:2"),
        ("location /api { proxy_pass http://a/; }", "trailing-slash:2"),
        ("location /api/ { proxy_pass http://a; }\nlocation ~ ^/ { root /x; }", "catch-all:3"),
        ("location ^~ /api/ { proxy_pass http://a; }\nlocation ~ ^/ { root /x; }", ""),
        ("location /api/ { proxy_pass http://a; }\nlocation ~ \\.php$ { root /x; }", ""),
        ("proxy_http_version 1.1;\nproxy_set_header Connection \"upgrade\";", "unconditional-upgrade:3"),
        ("proxy_set_header Connection $connection_upgrade;", ""),
        ("location /ws/ { proxy_pass http://a; }", "short-stream-timeout:2"),
        ("location /ws/ {\nproxy_pass http://a;\nproxy_read_timeout 30s; }", "short-stream-timeout:4"),
        ("location /ws/ { proxy_pass http://a; proxy_read_timeout 1d; }", ""),
        ("location / { proxy_pass http://0.0.0.0:3000; }", "wildcard-backend:2"),
        ("add_header A a;\nlocation / { add_header B b; }", "lost-headers:3"),
        ("add_header A a;\nlocation / { add_header B b; add_header A a; }", ""),
        ("add_header A a;\nlocation / { add_header_inherit merge; add_header B b; }", ""),
        (
            "location / { proxy_pass http://a;\nadd_header Access-Control-Allow-Origin *; }",
            "duplicate-cors:3",
        ),
        (
            "location / { proxy_pass http://a; proxy_hide_header Access-Control-Allow-Origin;\nadd_header Access-Control-Allow-Origin *; }",
            "",
        ),
        (
            "add_header Access-Control-Allow-Origin a;\nadd_header Access-Control-Allow-Origin b;",
            "duplicate-cors:3",
        ),
        ("return 301 https://$host$uri;", "header-injection:2"),
        ("return 301 https://$host$request_uri;", ""),
        ("rewrite ^ https://b$uri permanent;", "header-injection:2"),
        ("rewrite ^/a$ /b$uri last;", ""),
        ("location /files { alias /srv/files/; }", "alias-traversal:2"),
        ("location /files/ { alias /srv/files/; }", ""),
        ("set_real_ip_from 0.0.0.0/0;\nset_real_ip_from 10.0.0.0/8;", "forged-address:2"),
        ("proxy_set_header X-Real-IP $http_x_forwarded_for;", "forged-address:2"),
        (
            "location / { proxy_pass http://a; proxy_cache c;\nproxy_ignore_headers Set-Cookie; }",
            "cached-authorization:2 cached-cookie:3",
        ),
        ("location / { proxy_pass http://a; proxy_cache c; proxy_cache_bypass $http_authorization; }", ""),
    ];
    for (body, expected) in table {
        assert_eq!(found(&server(body)), *expected, "{body}");
    }
    let zone = "http {\nlimit_req_zone $http_x_forwarded_for zone=a:1m rate=1r/s;\nupstream u { server 0.0.0.0:80; } }";
    assert_eq!(found(zone), "forged-address:2 wildcard-backend:3");
    assert_eq!(
        found("http { server { location / { proxy_pass http://a; } } }"),
        "missing-forwarding-headers:1 host-lost:1"
    );
}
