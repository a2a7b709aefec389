//! Real programs behind FastCGI and uwsgi: PHP-FPM by the guides' front controller and Debian's snippet, a CGI script by
//! fcgiwrap, a Python application by uwsgi. Each test ends early where its program is not installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::proxy::{Directory, Proxy, is_root};
use crate::harness::{Client, Nginx, Ringgate, eventually};

/// A program that ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // PHP-FPM and uwsgi end their children on SIGQUIT or SIGTERM; a killed master would leave them.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

impl Program {
    /// Starts it and waits until it listens at `socket`.
    fn start(command: &mut Command, socket: &Path) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let program = Self(child);
        eventually("the program's socket", || UnixStream::connect(socket).ok());
        program
    }
}

/// Where an executable is.
fn find(names: &[&str]) -> Option<PathBuf> {
    let directories = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let paths = names.iter().flat_map(|name| directories.map(|directory| Path::new(directory).join(name)));
    paths.into_iter().find(|path| path.exists())
}

fn both(conf: &str) -> Vec<Proxy> {
    let drivers = ["", "monoio", "epoll"].map(|driver| match driver {
        "" => Ringgate::start(conf),
        driver => Ringgate::start_with_driver(conf, driver),
    });
    drivers.into_iter().chain(Nginx::start(conf)).collect()
}

const PHP: &str = "<?php
if (isset($_GET['warn'])) { error_log('a warning of ours'); }
if (isset($_GET['status'])) { http_response_code(418); }
if (isset($_GET['to'])) { header('Location: /elsewhere'); exit; }
if (isset($_GET['big'])) { header('Content-Type: text/plain'); echo str_repeat('0123456789', 300000); exit; }
header('Content-Type: text/plain');
header('X-Script: ' . $_SERVER['SCRIPT_NAME']);
$body = file_get_contents('php://input');
foreach (['REQUEST_METHOD', 'REQUEST_URI', 'QUERY_STRING', 'PATH_INFO', 'DOCUMENT_URI', 'HTTP_HOST', 'HTTP_X_A',
    'CONTENT_LENGTH', 'CONTENT_TYPE', 'SERVER_PROTOCOL', 'REQUEST_SCHEME'] as $name) {
    echo $name, '=', $_SERVER[$name] ?? '-', \"\\n\";
}
echo strlen($body), ' ', md5($body), \"\\n\";
";

#[test]
fn php_fpm_answers_as_behind_nginx() {
    let Some(fpm) = find(&["php-fpm8.2", "php-fpm8.4", "php-fpm8.3", "php-fpm"]) else {
        return eprintln!("PHP-FPM is not installed");
    };
    if !Path::new("/etc/nginx/snippets/fastcgi-php.conf").exists() {
        return eprintln!("Debian's snippets are not installed");
    }
    let directory = Directory::new();
    let root = directory.path();
    let socket = root.join("fpm.sock");
    fs::create_dir_all(root.join("www/sub")).unwrap();
    for name in ["index.php", "sub/info.php"] {
        fs::write(root.join("www").join(name), PHP).unwrap();
    }
    // A client of its own user must be able to get to the socket and the scripts.
    for path in [root.to_path_buf(), root.join("www"), root.join("www/sub")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let shown = root.display();
    let user = if is_root() { "user = www-data\ngroup = www-data\n" } else { "" };
    fs::write(
        root.join("fpm.conf"),
        format!(
            "[global]\nerror_log = {shown}/fpm.log\ndaemonize = no\n[www]\n{user}listen = {}\nlisten.mode = 0666\n\
             pm = static\npm.max_children = 2\ncatch_workers_output = no\nphp_admin_flag[log_errors] = on\n",
            socket.display()
        ),
    )
    .unwrap();
    let mut command = Command::new(fpm);
    command.arg("-n").arg("-F").arg("-y").arg(root.join("fpm.conf"));
    if is_root() {
        command.arg("-R");
    }
    let _fpm = Program::start(&mut command, &socket);
    let socket = socket.display();
    for name in ["fastcgi.conf", "fastcgi_params"] {
        fs::copy(Path::new("/etc/nginx").join(name), root.join(name)).unwrap();
    }
    let conf = format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log off; upstream php {{ server unix:{socket}; keepalive 2; }} \
         client_body_temp_path @DIR@/body; fastcgi_temp_path @DIR@/fastcgi; client_max_body_size 0; server {{ \
         listen 127.0.0.1:@PORT0@; root {shown}/www; index index.php; \
         location / {{ try_files $uri $uri/ /index.php?$query_string; }} \
         location ~ [^/]\\.php(/|$) {{ fastcgi_split_path_info ^(.+?\\.php)(/.*)$; try_files $fastcgi_script_name =404; \
         set $path_info $fastcgi_path_info; fastcgi_param PATH_INFO $path_info; fastcgi_index index.php; \
         include {shown}/fastcgi.conf; fastcgi_pass unix:{socket}; }} \
         location /kept/ {{ include {shown}/fastcgi_params; fastcgi_param SCRIPT_FILENAME {shown}/www/index.php; \
         fastcgi_keep_conn on; fastcgi_request_buffering off; fastcgi_pass php; }} }} }}\n"
    );
    let mut said: Vec<Vec<String>> = Vec::new();
    for proxy in both(&conf) {
        said.push(ask_php(&proxy));
    }
    assert!(said[0][0].contains("REQUEST_URI=/any/where?a=b"), "{}", said[0][0]);
    for other in &said[1..] {
        assert_eq!(&said[0], other);
    }
}

/// What PHP says by way of a proxy.
fn ask_php(proxy: &Proxy) -> Vec<String> {
    let mut said = Vec::new();
    let mut client = Client::connect(proxy.port(0));
    let mut ask = |method: &str, target: &str, more: &str, body: &[u8]| {
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: a.example\r\nX-A: 1\r\n{more}\r\n"));
        client.send(body);
        let reply = client.reply(method);
        let script = reply.field("X-Script").unwrap_or("-").to_owned();
        let location = reply.field("Location").unwrap_or("-").to_owned();
        // The pages of errors are the proxies' own.
        let text = if reply.status == 404 || reply.body.len() > 5000 { "" } else { reply.text() };
        let is_page = reply.status == 404;
        let sum: u64 = reply.body.iter().map(|byte| u64::from(*byte)).sum();
        let sum = if is_page { 0 } else { sum };
        said.push(format!("{} {script} {location} {sum}\n{text}", reply.status));
    };
    ask("GET", "/any/where?a=b", "", b"");
    ask("GET", "/sub/info.php/more?q", "", b"");
    ask("GET", "/index.php?status", "", b"");
    ask("GET", "/index.php?to", "", b"");
    ask("GET", "/none.php", "", b"");
    ask("HEAD", "/index.php", "", b"");
    ask("GET", "/index.php?warn", "", b"");
    ask("GET", "/index.php?big", "", b"");
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    ask("POST", "/index.php", "Content-Type: a/b\r\nContent-Length: 300000\r\n", &body);
    let mut chunks = Vec::new();
    for part in body.chunks(70_000) {
        chunks.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        chunks.extend_from_slice(part);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    ask("POST", "/index.php", "Transfer-Encoding: chunked\r\n", &chunks);
    for _ in 0..5 {
        ask("GET", "/kept/", "", b"");
        ask("POST", "/kept/", "Content-Length: 300000\r\n", &body);
    }
    proxy.wait_for("error.log", "FastCGI sent in stderr: \"", 1);
    proxy.wait_for("error.log", "a warning of ours", 1);
    said
}

#[test]
fn fcgiwrap_answers_as_behind_nginx() {
    let Some(fcgiwrap) = find(&["fcgiwrap"]) else { return eprintln!("fcgiwrap is not installed") };
    let directory = Directory::new();
    let root = directory.path();
    let socket = root.join("cgi.sock");
    let script = root.join("script");
    let text = "#!/bin/sh\nprintf 'Status: 203 Made\\nContent-Type: text/plain\\n\\n%s %s ' \"$REQUEST_METHOD\" \"$HTTP_X_A\"\n\
                echo oops >&2\nwc -c\n";
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(fcgiwrap);
    let _program =
        Program::start(command.arg("-f").arg("-s").arg(format!("unix:{}", socket.display())), &socket);
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    let conf = format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log off; server {{ listen 127.0.0.1:@PORT0@; \
         fastcgi_param SCRIPT_FILENAME {0}/script; fastcgi_param REQUEST_METHOD $request_method; \
         fastcgi_param CONTENT_LENGTH $content_length; fastcgi_pass_request_body on; \
         location / {{ fastcgi_pass unix:{0}/cgi.sock; }} }} }}\n",
        root.display()
    );
    for proxy in both(&conf) {
        let mut client = Client::connect(proxy.port(0));
        client.send("POST /x HTTP/1.1\r\nHost: a\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello");
        let reply = client.reply("POST");
        assert_eq!((reply.status, reply.text()), (203, "POST b 5\n"));
        assert!(reply.head.starts_with("HTTP/1.1 203 Made\r\n"), "{}", reply.head);
        proxy.wait_for("error.log", "FastCGI sent in stderr: \"oops\"", 1);
    }
}

#[test]
fn uwsgi_answers_as_behind_nginx() {
    let Some(uwsgi) = find(&["uwsgi_python3"]) else { return eprintln!("uwsgi is not installed") };
    let directory = Directory::new();
    let root = directory.path();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(
        root.join("app.py"),
        "def application(env, start):\n    body = env['wsgi.input'].read()\n    start('201 Made', [('Content-Type', 'text/plain')])\n    \
         return [('%s %s %s %d' % (env['REQUEST_METHOD'], env['PATH_INFO'], env['HTTP_X_A'], len(body))).encode()]\n",
    )
    .unwrap();
    let mut programs = Vec::new();
    for (option, name) in [("--uwsgi-socket", "u.sock"), ("--scgi-socket", "s.sock")] {
        let socket = root.join(name);
        let mut command = Command::new(&uwsgi);
        command.arg(option).arg(&socket).args(["--chmod-socket=666", "--die-on-term", "--wsgi-file"]);
        programs.push(Program::start(command.arg(root.join("app.py")), &socket));
    }
    let params = |family: &str| {
        [
            "REQUEST_METHOD $request_method",
            "PATH_INFO $document_uri",
            "CONTENT_LENGTH $content_length",
            "QUERY_STRING $query_string",
            "SERVER_PROTOCOL $server_protocol",
            "SERVER_NAME $server_name",
            "SERVER_PORT $server_port",
        ]
        .map(|param| format!("{family}_param {param};"))
        .concat()
        .replace(if family == "scgi" { "scgi_param CONTENT_LENGTH $content_length;" } else { "none" }, "")
    };
    let conf = format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log off; client_body_temp_path @DIR@/body; server {{ \
         listen 127.0.0.1:@PORT0@; location /u {{ {} uwsgi_pass unix:{root}/u.sock; }} \
         location /s {{ {} scgi_param SCGI 1; scgi_pass unix:{root}/s.sock; }} }} }}\n",
        params("uwsgi"),
        params("scgi"),
        root = root.display()
    );
    for proxy in both(&conf) {
        for target in ["/u/x", "/s/x"] {
            let mut client = Client::connect(proxy.port(0));
            client.send(format!(
                "POST {target} HTTP/1.1\r\nHost: a\r\nX-A: b\r\nContent-Length: 50000\r\n\r\n"
            ));
            client.send(vec![b'x'; 50_000]);
            let reply = client.reply("POST");
            assert_eq!((reply.status, reply.text()), (201, &*format!("POST {target} b 50000")));
        }
    }
}
