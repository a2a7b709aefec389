//! HTTP/2 to upstreams, with other people's servers behind: nginx, with and without TLS, and nghttpd.

use std::process::{Child, Command, Stdio};

use crate::harness::client::Client;
use crate::harness::{Nginx, Ringgate, free_port};

/// An nginx that speaks HTTP/2 on its ports: plain, and with TLS if there is a certificate.
fn upstream_conf(tls: &str) -> String {
    format!(
        r#"events {{}} error_log @DIR@/error.log; http {{
            access_log off; client_max_body_size 0; client_body_temp_path @DIR@/body;
            server {{
                listen 127.0.0.1:@PORT0@ http2; {tls}
                location /say {{ return 200 "$request_method $request_uri $server_protocol $scheme $host $http_x_a|"; }}
                location /large {{ return 200 "{}"; }}
                location /none {{ return 204; }}
            }}
        }}"#,
        "x".repeat(3000)
    )
}

fn site(port: u16, scheme: &str) -> String {
    format!(
        r#"events {{}} error_log @DIR@/error.log info; http {{
            access_log @DIR@/access.log; client_max_body_size 0; client_body_temp_path @DIR@/body;
            proxy_temp_path @DIR@/proxy; proxy_http_version 2;
            upstream u {{ server 127.0.0.1:{port}; }}
            server {{
                listen 127.0.0.1:@PORT0@; http2 on;
                location / {{ proxy_pass {scheme}://u; proxy_set_header X-A "$uri"; }}
            }}
        }}"#
    )
}

fn ask(port: u16, target: &str) -> (u16, Vec<u8>) {
    let reply = Client::fetch(port, target);
    (reply.status, reply.body)
}

/// h2load without a failed request, if there is h2load.
fn load(port: u16, path: &str) {
    let url = format!("http://127.0.0.1:{port}{path}");
    let Ok(output) = Command::new("h2load").args(["-n", "1000", "-c", "4", "-m", "16", &url]).output() else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1000 succeeded, 0 failed, 0 errored, 0 timeout"), "{path}: {said}");
}

#[test]
fn nginx_is_asked_over_http2() {
    let Some(nginx) = Nginx::start(&upstream_conf("")) else { return };
    let proxy = Ringgate::start(&site(nginx.port(0), "http"));
    let port = proxy.port(0);
    assert_eq!(ask(port, "/say?a=b"), (200, b"GET /say?a=b HTTP/2.0 http u /say|".to_vec()));
    assert_eq!(ask(port, "/none").0, 204);
    assert_eq!(ask(port, "/large").1.len(), 3000);
    for path in ["/say", "/large"] {
        load(port, path);
    }
    let log = proxy.read("error.log");
    assert!(!log.contains("[error]") && !log.contains("[alert]"), "{log}");
}

/// Makes a certificate; nothing where there is no openssl.
fn certificate(proxy: &crate::harness::proxy::Directory) -> Option<String> {
    let file = |name: &str| proxy.path().join(name).to_string_lossy().into_owned();
    let (key, cert) = (file("key.pem"), file("cert.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-subj", "/CN=u", "-days", "2", "-keyout", &key, "-out", &cert])
        .stderr(Stdio::null())
        .status();
    made.ok()?.success().then(|| format!("ssl_certificate {cert}; ssl_certificate_key {key};"))
}

#[test]
fn tls_leads_to_http2_where_the_server_has_it() {
    let directory = crate::harness::proxy::Directory::new();
    let Some(files) = certificate(&directory) else { return };
    for (listen, version) in [("ssl http2", "HTTP/2.0"), ("ssl", "HTTP/1.1")] {
        let conf = upstream_conf(&files).replace("@PORT0@ http2", &format!("@PORT0@ {listen}"));
        let Some(nginx) = Nginx::start(&conf) else { return };
        let proxy = Ringgate::start(&site(nginx.port(0), "https"));
        let expected = format!("GET /say {version} https u /say|");
        for _ in 0..3 {
            assert_eq!(ask(proxy.port(0), "/say"), (200, expected.clone().into_bytes()));
        }
        load(proxy.port(0), "/large");
    }
}

/// A server that ends with its handle.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nghttpd_is_asked_over_http2() {
    let directory = crate::harness::proxy::Directory::new();
    std::fs::write(directory.path().join("file"), vec![b'y'; 200_000]).unwrap();
    let port = free_port();
    let started = Command::new("nghttpd")
        .args(["--no-tls", "-a", "127.0.0.1", "-d", &directory.path().to_string_lossy(), &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = started else { return };
    let _running = Running(child);
    let proxy = Ringgate::start(&site(port, "http"));
    let file = crate::harness::eventually("nghttpd answers", || {
        let (status, body) = ask(proxy.port(0), "/file");
        (status == 200).then_some(body)
    });
    assert_eq!(file.len(), 200_000);
    assert_eq!(ask(proxy.port(0), "/missing").0, 404);
    load(proxy.port(0), "/file");
}
