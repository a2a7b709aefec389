//! TLS towards clients: curl and openssl ask ringgate and nginx the same things; the certificates are in `tls/`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::harness::proxy::{Directory, Proxy};
use crate::harness::{Client, Nginx, Ringgate, eventually};

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/tls");

const CONF: &str = r#"
events {}
error_log @DIR@/error.log info;
http {
    access_log off;
    ssl_session_cache shared:e2e:1m;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate @FILES@/ec.crt;
    ssl_certificate_key @FILES@/ec.enc.key;
    ssl_certificate @FILES@/rsa.crt;
    ssl_certificate_key @FILES@/rsa.key;
    ssl_password_file @FILES@/passwords;
    server {
        listen 127.0.0.1:@PORT0@ ssl default_server;
        server_name a.example;
        location / { return 200 "a $scheme $https $ssl_protocol $ssl_cipher $ssl_session_reused $ssl_server_name $ssl_client_verify $ssl_alpn_protocol\n"; }
        location /big { root @DIR@; }
        location /gone { return 444; }
        location /offer { return 200 "$ssl_ciphers\n$ssl_curves\n"; }
        location /put { proxy_pass http://127.0.0.1:@PORT1@; }
    }
    server {
        listen 127.0.0.1:@PORT0@ ssl;
        server_name *.wild.example ~^(?<who>r\d+)\.example$;
        return 200 "wild $host $who\n";
    }
    server {
        listen 127.0.0.1:@PORT0@ ssl;
        server_name m.example;
        ssl_verify_client on;
        ssl_client_certificate @FILES@/ca.crt;
        ssl_crl @FILES@/ca.crl;
        error_page 496 /none;
        location = /none { return 403 "show one\n"; }
        location / { return 200 "$ssl_client_verify|$ssl_client_s_dn|$ssl_client_i_dn|$ssl_client_s_dn_legacy|$ssl_client_serial|$ssl_client_fingerprint|$ssl_client_v_start|$ssl_client_v_end|$ssl_client_v_remain|$ssl_client_escaped_cert|$ssl_client_raw_cert\n"; }
    }
    server {
        listen 127.0.0.1:@PORT0@ ssl;
        server_name o.example;
        ssl_verify_client optional_no_ca;
        return 200 "$ssl_client_verify\n";
    }
    server {
        listen 127.0.0.1:@PORT0@ ssl;
        server_name no.example;
        ssl_reject_handshake on;
    }
    server { listen 127.0.0.1:@PORT1@; client_max_body_size 10m; location / { return 200 "$http_content_length\n"; } }
}
"#;

fn conf() -> String {
    CONF.replace("@FILES@", FILES)
}

fn is_installed(program: &str, version: &str) -> bool {
    let found = Command::new(program).arg(version).output().is_ok();
    if !found {
        eprintln!("{program} is not installed: skipped");
    }
    found
}

/// What curl says of `https://NAME:PORT/PATH`, and how it ends.
fn curl(proxy: &Proxy, name: &str, path: &str, more: &[&str]) -> (i32, String) {
    let port = proxy.port(0);
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "--http1.1", "--cacert", &format!("{FILES}/ca.crt")]);
    command.args([
        "--resolve",
        &format!("{name}:{port}:127.0.0.1"),
        "-w",
        "[%{http_code} %{ssl_verify_result}]",
    ]);
    let output = command.args(more).arg(format!("https://{name}:{port}{path}")).output().unwrap();
    // The words of the page differ in the product's name only.
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let plain = said.lines().filter(|line| !line.contains("<hr><center>")).collect::<Vec<_>>().join("\n");
    (output.status.code().unwrap_or(-1), plain)
}

/// A client's certificate, for curl.
fn shown(name: &str) -> [String; 4] {
    ["--cert".into(), format!("{FILES}/{name}.crt"), "--key".into(), format!("{FILES}/{name}.key")]
}

#[test]
fn curl_sees_what_nginx_shows() {
    if !is_installed("curl", "-V") {
        return;
    }
    let ringgate = Ringgate::start(&conf());
    let Some(nginx) = Nginx::start(&conf()) else { return };
    let big = "0123456789abcdef".repeat(20_000);
    for proxy in [&ringgate, &nginx] {
        std::fs::write(proxy.file("big"), &big).unwrap();
    }
    let upload = format!("@{}", ringgate.file("big").display());
    let asked: &[(&str, &str, &[&str])] = &[
        ("a.example", "/", &[]),
        ("a.example", "/", &["--tls-max", "1.2"]),
        ("a.example", "/", &["--tls-max", "1.2", "--ciphers", "ECDHE-RSA-AES128-GCM-SHA256"]),
        ("a.example", "/", &["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305"]),
        ("a.example", "/", &["--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"]),
        ("a.example", "/", &["--curves", "P-384"]),
        ("a.example", "/", &["--no-alpn"]),
        ("a.example", "/big", &[]),
        ("a.example", "/big", &["--tls-max", "1.2"]),
        ("a.example", "/big", &["--http1.0"]),
        ("a.example", "/offer", &[]),
        ("a.example", "/gone", &[]),
        ("a.example", "/put", &["--data-binary", &upload, "-H", "Content-Type:", "-A", "x", "-H", "Host: x"]),
        ("unknown.example", "/", &[]),
        ("x.wild.example", "/", &[]),
        ("r12.example", "/", &[]),
        ("a.example", "/", &["-H", "Host: r7.example"]),
        ("no.example", "/", &[]),
        ("m.example", "/", &[]),
        ("a.example", "/", &["-H", "Host: m.example"]),
        ("o.example", "/", &[]),
    ];
    for (name, path, more) in asked {
        let [ours, theirs] = [&ringgate, &nginx].map(|proxy| curl(proxy, name, path, more));
        assert_eq!(ours, theirs, "https://{name}{path} {more:?}");
    }
    for (name, certificate) in [
        ("m", "client"),
        ("m", "revoked"),
        ("m", "stranger"),
        ("o", "client"),
        ("o", "stranger"),
        ("a", "client"),
    ] {
        let shown = shown(certificate);
        let more = shown.each_ref().map(String::as_str);
        let [ours, theirs] =
            [&ringgate, &nginx].map(|proxy| curl(proxy, &format!("{name}.example"), "/", &more));
        assert_eq!(ours, theirs, "{certificate} to {name}");
    }
    let [ours, theirs] = [&ringgate, &nginx].map(|proxy| Client::fetch(proxy.port(0), "/"));
    assert_eq!((ours.status, ours.field("connection")), (theirs.status, theirs.field("connection")));
    assert!(ours.text().contains("The plain HTTP request was sent to HTTPS port"));
}

/// Whether a second handshake of openssl resumes what a first one left.
fn resumes(proxy: &Proxy, names: [&str; 2], version: &str) -> bool {
    let session = proxy.file("session").display().to_string();
    let talk = |name: &str, option: &str| {
        // With -ign_eof it reads until the server closes.
        let script = format!(
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -connect 127.0.0.1:{} -servername {name} \
             -ign_eof {version} {option} {session} 2>/dev/null",
            proxy.port(0)
        );
        String::from_utf8_lossy(&Command::new("sh").args(["-c", &script]).output().unwrap().stdout)
            .into_owned()
    };
    let [first, second] = names;
    assert!(talk(first, "-sess_out").contains("\nNew, "));
    let said = talk(second, "-sess_in");
    assert!(said.contains("\nNew, ") || said.contains("\nReused, "), "{said}");
    said.contains("\nReused, ")
}

#[test]
fn sessions_are_resumed_where_they_began() {
    if !is_installed("openssl", "version") {
        return;
    }
    for directives in ["", "ssl_session_tickets off;"] {
        let conf = conf().replace("access_log off;", &format!("access_log off; {directives}"));
        let ringgate = Ringgate::start_with(&conf, "worker_processes 4;");
        for version in ["-tls1_2", "-tls1_3"] {
            assert!(resumes(&ringgate, ["a.example", "a.example"], version), "{directives} {version}");
            // CVE-2025-23419
            assert!(!resumes(&ringgate, ["a.example", "m.example"], version), "{directives} {version}");
        }
    }
}

#[test]
fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    if !is_installed("curl", "-V") {
        return;
    }
    let live = Directory::new();
    let file = |name: &str| live.path().join(name);
    let copy = |name: &str| {
        std::fs::copy(format!("{FILES}/{name}.crt"), file("live.crt")).unwrap();
        std::fs::copy(format!("{FILES}/{name}.key"), file("live.key")).unwrap();
    };
    copy("ec");
    let conf = conf()
        .replace(&format!("{FILES}/ec.crt"), &file("live.crt").display().to_string())
        .replace(&format!("{FILES}/ec.enc.key"), &file("live.key").display().to_string());
    let ringgate = Ringgate::start(&conf);
    assert_eq!(curl(&ringgate, "a.example", "/gone", &[]).0, 52);
    std::fs::write(file("live.crt"), "no certificate").unwrap();
    ringgate.wait_for("error.log", "is no good, the old one stays in use", 1);
    assert_eq!(curl(&ringgate, "a.example", "/gone", &[]).0, 52);
    // Nobody trusts this one: curl says so.
    copy("stranger");
    eventually("the stranger's certificate", || {
        (curl(&ringgate, "a.example", "/", &[]).0 == 60).then_some(())
    });
}

/// certbot's `options-ssl-nginx.conf` and Debian's `snippets/snakeoil.conf`, as they are shipped.
const CERTBOT: &str = "\
ssl_session_cache shared:le_nginx_SSL:10m;
ssl_session_timeout 1440m;
ssl_session_tickets off;

ssl_protocols TLSv1.2 TLSv1.3;
ssl_prefer_server_ciphers off;

ssl_ciphers \"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:\
DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384\";
";

#[test]
fn stock_snippets_load_and_a_port_without_a_certificate_does_not() {
    let dir = Directory::new();
    let file = |name: &str| dir.path().join(name);
    std::fs::write(file("options-ssl-nginx.conf"), CERTBOT).unwrap();
    std::fs::write(file("ssl-dhparams.pem"), "-----BEGIN DH PARAMETERS-----\n").unwrap();
    let snakeoil = format!("ssl_certificate {FILES}/rsa.crt;\nssl_certificate_key {FILES}/rsa.key;\n");
    std::fs::write(file("snakeoil.conf"), snakeoil).unwrap();
    let port = crate::harness::free_port();
    let check = |server: &str| {
        let text = format!("events {{}} http {{ server {{ listen 127.0.0.1:{port} ssl; {server} }} }}\n");
        std::fs::write(file("nginx.conf"), text).unwrap();
        let (conf, root) = (file("nginx.conf"), dir.path().join(""));
        let globals = format!("pid {}; error_log stderr;", file("pid").display());
        let arguments = ["-t", "-c", conf.to_str().unwrap(), "-p", root.to_str().unwrap(), "-g", &globals];
        let output = Ringgate::command(&arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let included = "include snakeoil.conf; include options-ssl-nginx.conf; ssl_dhparam ssl-dhparams.pem;";
    let (good, said) = check(included);
    assert!(good && said.contains("DHE-RSA-AES128-GCM-SHA256, DHE-RSA-AES256-GCM-SHA384"), "{said}");
    assert_eq!(said.matches("[notice]").count(), 2, "{said}");
    let (good, said) = check("");
    let expected = format!(
        "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive in {}:1",
        file("nginx.conf").display()
    );
    assert!(!good && said.contains(&expected), "{said}");
    let (good, said) = check("include snakeoil.conf; ssl_verify_client on;");
    assert!(!good && said.contains("no ssl_client_certificate"), "{said}");
}

#[test]
fn early_data_is_answered_and_marked() {
    if !is_installed("openssl", "version") {
        return;
    }
    let conf = conf().replace("access_log off;", "access_log off; ssl_early_data on;").replace(
        "location /gone",
        "location /early { return 200 \"early=$ssl_early_data.\\n\"; } location /gone",
    );
    let ringgate = Ringgate::start(&conf);
    let file = |name: &str| ringgate.file(name).display().to_string();
    let request = "GET /early HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    std::fs::write(file("request"), request).unwrap();
    let talk = |more: &str| {
        let script = format!(
            "openssl s_client -connect 127.0.0.1:{1} -servername a.example -tls1_3 -ign_eof {more} <{0} 2>/dev/null",
            file("request"),
            ringgate.port(0)
        );
        String::from_utf8_lossy(&Command::new("sh").args(["-c", &script]).output().unwrap().stdout)
            .into_owned()
    };
    let first = talk(&format!("-sess_out {}", file("session")));
    assert!(first.contains("early=.") && !first.contains("early=1."), "{first}");
    let second = talk(&format!("-sess_in {} -early_data {}", file("session"), file("request")));
    assert!(second.contains("Early data was accepted") && second.contains("early=1."), "{second}");
    // A session's early data is taken once.
    let replayed = talk(&format!("-sess_in {} -early_data {}", file("session"), file("request")));
    assert!(replayed.contains("Early data was rejected") && !replayed.contains("early=1."), "{replayed}");
}

/// `$ssl_session_id` of a new session and of the same one resumed, and whether it was.
fn session_ids(proxy: &Proxy, port: usize, version: &str) -> [String; 2] {
    let file = proxy.file("session").display().to_string();
    let address = format!("127.0.0.1:{}", proxy.port(port));
    ["-sess_out", "-sess_in"].map(|how| {
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &address, version, "-ign_eof", how, &file])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _request = child.stdin.take().map(|mut input| input.write_all(b"GET / HTTP/1.0\r\n\r\n"));
        let said = child.wait_with_output().unwrap().stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        said.lines().find_map(|line| line.strip_prefix("id=")).unwrap_or("nothing").to_owned()
    })
}

#[test]
fn sessions_have_the_identifiers_that_nginx_tells() {
    if !is_installed("openssl", "version") {
        return;
    }
    let say = "return 200 \"id=$ssl_session_id $ssl_session_reused\\n\";";
    let conf = format!(
        "events {{}} error_log @DIR@/error.log; http {{ access_log off; ssl_protocols TLSv1.2 TLSv1.3; \
         ssl_certificate {FILES}/rsa.crt; ssl_certificate_key {FILES}/rsa.key; \
         server {{ listen 127.0.0.1:@PORT0@ ssl; ssl_session_cache shared:a:1m; ssl_session_tickets off; {say} }} \
         server {{ listen 127.0.0.1:@PORT1@ ssl; {say} }} }}"
    );
    let ringgate = Ringgate::start(&conf);
    let nginx = Nginx::start(&conf);
    for proxy in [Some(&ringgate), nginx.as_ref()].into_iter().flatten() {
        // In the cache: the same number each time.
        let [first, second] = session_ids(proxy, 0, "-tls1_2");
        let id = first.strip_suffix(" .").unwrap();
        assert!(
            id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
            "{first}"
        );
        assert_eq!(second, format!("{id} r"));
        // By ticket: the client's own number, once it comes back.
        let [first, second] = session_ids(proxy, 1, "-tls1_2");
        assert_eq!(first, " .");
        assert!(second.len() == 66 && second.ends_with(" r"), "{second}");
        // In TLS 1.3 each connection has its own.
        let [first, second] = session_ids(proxy, 0, "-tls1_3");
        assert!(first.len() == 66 && second.len() == 66 && first[..64] != second[..64], "{first} {second}");
    }
}
