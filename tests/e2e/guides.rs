//! Every configuration block of the user's own guides loads, in the surroundings that its text names.
//!
//! The guides are not part of this repository: `RINGGATE_GUIDES` names their directory, and without it (and without the
//! place where they usually lie) there is nothing to test. Blocks are named by guide and lines; what stands around a
//! block is made here, its own text is only moved to another root directory.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::proxy::{Directory, Ringgate};

/// What stands around a block.
#[derive(Clone, Copy, Debug)]
enum Level {
    /// It stands in `http`.
    Http,
    /// In `server`.
    Server,
    /// In `location`.
    Location,
    /// It has an `http` block of its own.
    Whole,
}

use Level::{Http, Location, Server, Whole};

/// The number of each block, its guide, its first and last line, and where it stands.
const BLOCKS: &[(u32, usize, usize, usize, Level)] = &[
    (1, 0, 34, 89, Http),
    (2, 0, 93, 93, Location),
    (3, 0, 97, 100, Location),
    (4, 0, 109, 112, Location),
    (5, 0, 116, 123, Server),
    (6, 0, 128, 137, Http),
    (7, 0, 140, 141, Location),
    (8, 0, 152, 155, Location),
    (9, 0, 172, 178, Server),
    (10, 0, 183, 188, Server),
    (11, 1, 65, 67, Location),
    (12, 1, 98, 133, Http),
    (13, 2, 38, 45, Http),
    (14, 2, 49, 74, Http),
    (15, 2, 81, 97, Server),
    (16, 2, 107, 133, Http),
    (17, 2, 137, 163, Http),
    (18, 2, 167, 202, Http),
    (19, 2, 206, 222, Http),
    (20, 2, 226, 257, Http),
    (21, 2, 263, 279, Http),
    (22, 2, 285, 309, Http),
    (23, 2, 313, 342, Http),
    (24, 2, 350, 400, Http),
    (25, 2, 404, 426, Http),
    (26, 2, 432, 464, Http),
    (27, 2, 470, 512, Whole),
    (28, 2, 526, 541, Server),
    (29, 2, 545, 562, Server),
    (30, 2, 566, 577, Server),
    (31, 2, 581, 605, Http),
    (32, 2, 609, 636, Whole),
    (33, 2, 645, 650, Server),
    (34, 2, 674, 681, Server),
    (35, 2, 689, 696, Server),
    (36, 2, 705, 724, Server),
    (37, 3, 20, 40, Http),
    (38, 3, 59, 84, Http),
    (39, 3, 94, 148, Http),
    (40, 3, 170, 171, Location),
    (41, 3, 177, 178, Location),
    (42, 3, 184, 213, Http),
    (43, 3, 229, 255, Http),
    (44, 3, 267, 278, Server),
    (45, 3, 282, 287, Http),
    (46, 3, 295, 302, Http),
    (47, 3, 306, 330, Http),
    (48, 3, 336, 341, Server),
    (49, 3, 347, 409, Http),
    (50, 3, 437, 439, Location),
    (51, 3, 447, 451, Server),
    (52, 3, 467, 467, Location),
    (53, 3, 473, 482, Http),
    (54, 3, 494, 501, Http),
    (55, 3, 509, 518, Http),
    (56, 4, 32, 39, Http),
    (57, 4, 47, 53, Server),
    (58, 4, 61, 81, Http),
    (59, 4, 87, 107, Http),
    (60, 4, 115, 128, Http),
    (61, 4, 136, 141, Server),
];

/// Blocks that show several ways to do one thing: as a whole nginx refuses them, too.
const REFUSED: &[u32] = &[9, 15];

/// Blocks with directives that ringgate does not have yet, and a part of what it says.
const NOT_YET: &[(u32, &str)] = &[];

#[test]
fn every_block_of_the_guides_loads() {
    let Some(guides) = guides() else { return eprintln!("there are no guides here") };
    let mut failures = String::new();
    for (number, guide, first, last, level) in BLOCKS {
        let text = fs::read_to_string(&guides[*guide]).unwrap();
        let lines: Vec<&str> = text.lines().skip(first - 1).take(last - first + 1).collect();
        let said = check(&lines.join("\n"), *level);
        let not_yet = NOT_YET.iter().find(|(other, _)| other == number).map(|(_, part)| *part);
        let right = match &said {
            Ok(()) => !REFUSED.contains(number) && not_yet.is_none(),
            Err(said) if REFUSED.contains(number) => said.contains("duplicate location"),
            Err(said) => not_yet.is_some_and(|part| said.contains(part)),
        };
        if !right {
            let _ = writeln!(failures, "block {number} (guide {guide}, line {first}): {said:?}\n");
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn guides() -> Option<Vec<PathBuf>> {
    let directory = std::env::var_os("RINGGATE_GUIDES").unwrap_or_else(|| "/work/shared/guides".into());
    let mut files: Vec<PathBuf> = fs::read_dir(directory).ok()?.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    (files.len() == 5).then_some(files)
}

/// Runs `ringgate -t` over the block; what it says if it refuses it.
fn check(block: &str, level: Level) -> Result<(), String> {
    let directory = Directory::new();
    let root = directory.path();
    place_files(root);
    let block = block.replace("/etc/", &format!("{}/etc/", root.display()));
    let conf = root.join("nginx.conf");
    fs::write(&conf, surround(&block, level, root)).unwrap();
    let mut command = Ringgate::command(&["-t", "-c", conf.to_str().unwrap(), "-p", root.to_str().unwrap()]);
    let said = command.output().unwrap();
    if !said.status.success() {
        return Err(String::from_utf8_lossy(&said.stderr).into_owned());
    }
    explains(&conf)
}

/// Whatever loads can be explained: a request meets a server and gets a reply, or its connection is closed.
fn explains(conf: &Path) -> Result<(), String> {
    for url in ["http://example.com/", "https://app.example.com/api/users?page=1"] {
        let said =
            Ringgate::command(&["explain", "-c", conf.to_str().unwrap(), "GET", url]).output().unwrap();
        let (told, why) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        let answered = told.contains("\nreply ") && told.contains("\nserver ");
        let no_socket = why.contains("nothing listens") || told.contains("tls        no connection");
        if !answered && !no_socket {
            return Err(format!("explain {url}: {told}{why}"));
        }
    }
    Ok(())
}

/// The whole configuration: with the groups and zones that the block uses and does not define.
fn surround(block: &str, level: Level, root: &Path) -> String {
    let log = format!("error_log {0}/error.log;\npid {0}/pid;\n", root.display());
    if matches!(level, Whole) {
        let events = if block.contains("events {") { "" } else { "events {}\n" };
        let groups = needed(block);
        let block = block.replacen("http {", &format!("http {{\n{groups}"), 1);
        return format!("{log}{events}{block}\n");
    }
    let inner = match level {
        Http | Whole => block.to_owned(),
        Server => format!("server {{\nlisten 127.0.0.1:8080;\n{block}\n}}"),
        Location => format!("server {{\nlisten 127.0.0.1:8080;\nlocation / {{\n{block}\n}}\n}}"),
    };
    let certificate = if block.contains("listen 443") && !block.contains("ssl_certificate ") {
        let live = root.join("etc/letsencrypt/live/example.com").display().to_string();
        format!("ssl_certificate {live}/fullchain.pem;\nssl_certificate_key {live}/privkey.pem;\n")
    } else {
        String::new()
    };
    format!("{log}events {{}}\nhttp {{\naccess_log off;\n{certificate}{}{inner}\n}}\n", needed(block))
}

fn needed(block: &str) -> String {
    let mut text = String::new();
    for group in ["backend", "api_backend", "auth_backend", "upload_backend", "ws_backend", "app_backend"] {
        if block.contains(&format!("http://{group}")) && !block.contains(&format!("upstream {group} ")) {
            let _ = writeln!(text, "upstream {group} {{ server 127.0.0.1:3000; }}");
        }
    }
    for zone in ["auth_limit", "general", "auth", "api", "login"] {
        if block.contains(&format!("limit_req zone={zone} "))
            && !block.contains(&format!("limit_req_zone $binary_remote_addr zone={zone}:"))
        {
            let _ = writeln!(text, "limit_req_zone $binary_remote_addr zone={zone}:10m rate=10r/s;");
        }
    }
    if block.contains("proxy_cache proxy_cache") && !block.contains("keys_zone=proxy_cache") {
        text.push_str("proxy_cache_path cache keys_zone=proxy_cache:10m;\n");
    }
    text
}

/// The files that the guides name: certificates, snippets, parameters.
fn place_files(root: &Path) {
    let (certificate, key) = certificate();
    let live = ["example.com", "app.example.com", "myvibeapp.com", "yourdomain.com", "api.example.com"];
    let mut pairs: Vec<(PathBuf, PathBuf)> = Vec::new();
    for name in live {
        let directory = root.join("etc/letsencrypt/live").join(name);
        pairs.push((directory.join("fullchain.pem"), directory.join("privkey.pem")));
    }
    let dummy = root.join("etc/nginx/ssl");
    pairs.push((dummy.join("dummy.crt"), dummy.join("dummy.key")));
    for (certificate_path, key_path) in pairs {
        write(&certificate_path, certificate);
        write(&key_path, key);
    }
    write(
        &root.join("etc/letsencrypt/options-ssl-nginx.conf"),
        "ssl_session_cache shared:le_nginx_SSL:10m;\nssl_session_timeout 1440m;\nssl_session_tickets off;\n\
         ssl_protocols TLSv1.2 TLSv1.3;\nssl_prefer_server_ciphers off;\n\
         ssl_ciphers \"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256\";\n",
    );
    write(&root.join("etc/letsencrypt/ssl-dhparams.pem"), DHPARAM);
    write(
        &root.join("etc/nginx/snippets/security-headers.conf"),
        "add_header X-Frame-Options DENY always;\n",
    );
    write(&root.join("snippets/security-headers.conf"), "add_header X-Frame-Options DENY always;\n");
    write(&root.join("fastcgi_params"), "fastcgi_param QUERY_STRING $query_string;\n");
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// ffdhe2048 (RFC 7919).
const DHPARAM: &str = "-----BEGIN DH PARAMETERS-----\n\
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz\n\
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a\n\
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7\n\
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi\n\
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD\n\
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==\n\
-----END DH PARAMETERS-----\n";

/// A certificate of the test's own, made once.
fn certificate() -> (&'static str, &'static str) {
    use std::sync::OnceLock;
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    let (certificate, key) = PAIR.get_or_init(|| {
        let directory = Directory::new();
        let (certificate, key) = (directory.path().join("crt"), directory.path().join("key"));
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "30", "-subj", "/CN=example.com", "-addext", "subjectAltName=DNS:example.com"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (fs::read_to_string(certificate).unwrap(), fs::read_to_string(key).unwrap())
    });
    (certificate, key)
}
