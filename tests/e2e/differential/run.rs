//! One case through one proxy.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::bytes::{from_lines, to_lines};
use super::case::{Case, File, Section};
use super::normal;
use super::scripted::Scripted;
use crate::harness::client::field;
use crate::harness::proxy::Proxy;
use crate::harness::{Client, DEADLINE, eventually, free_port};

/// What makes an older nginx behave as the present one does where that has a directive.
pub(super) const NGINX_AS_NOW: &str = "proxy_http_version 1.1;";

/// Who says nothing for so long will not say anything.
const SILENCE: Duration = Duration::from_secs(5);

/// What all cases of a file share.
pub(super) struct Bench {
    pub(super) upstream: Scripted,
    pub(super) dead: u16,
    /// Whether the configuration says itself what becomes of Connection.
    sets_connection: bool,
}

/// What came of a case.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    client: String,
    upstream: String,
    access: String,
    error: String,
}

impl Outcome {
    /// What was expected beside what came.
    pub(super) fn parts<'a>(&'a self, case: &'a Case) -> Vec<(&'static str, &'a str, &'a str)> {
        let mut parts = vec![
            ("the client", &*case.client, &*self.client),
            ("the upstream", &case.upstream, &self.upstream),
        ];
        parts.extend(case.access.as_ref().map(|access| ("the access log", &**access, &*self.access)));
        parts.extend(case.error.as_ref().map(|error| ("the error log", &**error, &*self.error)));
        parts
    }

    /// Makes this what is expected.
    pub(super) fn bless(&self, case: &mut Case) {
        case.client.clone_from(&self.client);
        case.upstream.clone_from(&self.upstream);
        case.access = case.access.take().map(|_| self.access.clone());
        case.error = case.error.take().map(|_| self.error.clone());
    }
}

impl Bench {
    pub(super) fn new(file: &File) -> Self {
        let sets_connection = file.config.contains("proxy_set_header Connection");
        Self { upstream: Scripted::start(), dead: free_port(), sets_connection }
    }

    /// The whole configuration; `more` goes into `http`.
    pub(super) fn conf(&self, file: &File, more: Option<&str>) -> String {
        let config = self.fill_upstreams(&file.config);
        let log = if file.config.contains("access_log") { "" } else { "access_log off;" };
        format!(
            "events {{}}\nerror_log @DIR@/error.log info;\nhttp {{\nclient_body_temp_path @DIR@/body;\n\
             proxy_temp_path @DIR@/proxy;\n{log}\n{}\n{config}\n}}\n",
            more.unwrap_or_default()
        )
    }

    fn fill_upstreams(&self, text: &str) -> String {
        let [up, up2] = self.upstream.ports;
        text.replace("@UP@", &format!("127.0.0.1:{up}"))
            .replace("@UP2@", &format!("127.0.0.1:{up2}"))
            .replace("@DEAD@", &format!("127.0.0.1:{}", self.dead))
            .replace("@TLS@", concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/tls"))
    }

    fn fill(&self, text: &str, proxy: &Proxy) -> String {
        self.fill_upstreams(text).replace("@PORT0@", &proxy.port(0).to_string())
    }

    /// Writes the file's own files, all with one time, their directories too.
    pub(super) fn place_files(&self, file: &File, proxy: &Proxy) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (name, content) in &file.files {
            let path = proxy.file(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let opened = fs::File::options().write(true).open(&path).unwrap();
            opened.set_modified(time).unwrap();
        }
        for (name, target) in &file.links {
            let target = target.trim_end().replace("@DIR@", &proxy.directory().display().to_string());
            std::os::unix::fs::symlink(target, proxy.file(name)).unwrap();
        }
        for (name, _) in file.files.iter().chain(&file.links) {
            let below = |path: &&Path| path.starts_with(proxy.directory()) && *path != proxy.directory();
            for directory in proxy.file(name).ancestors().skip(1).take_while(below) {
                fs::File::open(directory).unwrap().set_modified(time).unwrap();
            }
        }
    }

    /// Runs the case.
    pub(super) fn run(&self, case: &Case, proxy: &Proxy) -> Outcome {
        let logs_before = [proxy.read("access.log").len(), proxy.read("error.log").len()];
        let fill = |reply: &Section| Section { lines: self.fill(&reply.lines, proxy), ..reply.clone() };
        self.upstream.begin(&case.replies.iter().map(fill).collect::<Vec<_>>());
        let mut client = String::new();
        let mut connection: Option<Client> = None;
        for request in &case.requests {
            let port = request.value("port").map_or(0, |number| number.parse().unwrap());
            if request.has("new") {
                connection = None;
            }
            let open =
                connection.get_or_insert_with(|| Client::connect(proxy.port(port)).bear_silence(SILENCE));
            if self.exchange(open, request, proxy, &mut client) {
                connection = None;
            }
        }
        drop(connection);
        let upstream: String =
            self.upstream.requests().iter().map(|recorded| self.request_text(recorded, proxy)).collect();
        let access = new_lines(proxy, "access.log", logs_before[0], case.access.as_deref(), |line| {
            Some(format!("{line}\n"))
        });
        let error = new_lines(proxy, "error.log", logs_before[1], case.error.as_deref(), normal::error_line);
        Outcome {
            client: self.normal(&client, proxy),
            upstream: self.normal(&upstream, proxy),
            access: self.normal(&access, proxy),
            error: self.normal(&error, proxy),
        }
    }

    fn request_text(&self, recorded: &super::scripted::Recorded, proxy: &Proxy) -> String {
        let mut head = recorded.head.clone();
        if proxy.is_nginx() && !self.sets_connection && head.contains(" HTTP/1.1\r\n") {
            // Older ones always send it; the present one does not.
            head = head.replacen("Connection: close\r\n", "", 1);
        }
        to_lines(head.as_bytes()) + &to_lines(&recorded.body)
    }

    /// Sends one section and reads what it asks for. Returns whether the connection has ended.
    fn exchange(&self, client: &mut Client, request: &Section, proxy: &Proxy, text: &mut String) -> bool {
        let bytes = from_lines(&self.fill(&request.lines, proxy));
        // A proxy may refuse a request before it has read all of it.
        let _ = client.try_send(&bytes);
        if request.has("abort") {
            eventually("the request at the upstream", || self.upstream.requests().first().map(|_| ()));
            return true;
        }
        if request.has("half") {
            client.finish();
        }
        if request.has("interim") {
            let head = client.try_until(b"\r\n\r\n").unwrap_or_default();
            text.push_str(&to_lines(&head));
            return false;
        }
        let count = request.value("replies").map_or(1, |count| count.parse().unwrap());
        let method = String::from_utf8_lossy(&bytes).split(' ').next().unwrap().to_owned();
        for _ in 0..count {
            if !read_reply(client, &method, text) {
                text.push_str(if client.met_silence() { "[silent]\n" } else { "[closed]\n" });
                return true;
            }
        }
        false
    }
}

/// Reads one reply and writes it down. Returns whether another may come on the connection.
fn read_reply(client: &mut Client, method: &str, text: &mut String) -> bool {
    let Some(head) = client.try_until(b"\r\n\r\n") else {
        text.push_str(&to_lines(&client.rest()));
        return false;
    };
    let head = String::from_utf8_lossy(&head).into_owned();
    let status = head.get(9..12).unwrap_or_default().to_owned();
    if status.starts_with('1') && status != "101" {
        text.push_str(&to_lines(head.as_bytes()));
        return read_reply(client, method, text);
    }
    let (body, whole) = read_body(client, method, &status, &head);
    let (shown_head, shown_body) = normal::reply(&head, &body);
    text.push_str(&to_lines(shown_head.as_bytes()));
    text.push_str(&to_lines(&shown_body));
    if !whole {
        text.push_str("[cut short]\n");
        return false;
    }
    let ends = field(&head, "Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if ends {
        text.push_str(&to_lines(&client.rest()));
    }
    !ends
}

/// The body, and whether it came whole.
fn read_body(client: &mut Client, method: &str, status: &str, head: &str) -> (Vec<u8>, bool) {
    if method == "HEAD" || matches!(status, "101" | "204" | "304") {
        return (Vec::new(), true);
    }
    let mut body = Vec::new();
    if field(head, "Transfer-Encoding").is_some() {
        let whole = client.try_chunks(&mut body).is_some();
        if whole && !client.trailers.is_empty() {
            body.extend_from_slice(b"\n[trailers]\n");
            body.extend_from_slice(&client.trailers);
        }
        (body, whole)
    } else if let Some(length) = field(head, "Content-Length") {
        let whole = client.try_exactly(length.parse().unwrap(), &mut body).is_some();
        (body, whole)
    } else {
        (client.rest(), true)
    }
}

/// What was added to a log since, once it is as many lines as are expected.
fn new_lines(
    proxy: &Proxy,
    name: &str,
    since: usize,
    expected: Option<&str>,
    normal: impl Fn(&str) -> Option<String>,
) -> String {
    let Some(expected) = expected else { return String::new() };
    // What is to come is not known yet: take all that comes in a while.
    let bless = std::env::var_os("GOLDEN_BLESS").is_some();
    let count = if bless { usize::MAX } else { expected.lines().count() };
    let deadline = Instant::now() + if bless { Duration::from_millis(500) } else { DEADLINE };
    loop {
        let text = proxy.read(name);
        // The last line may still be on its way to the file.
        let whole = text.rfind('\n').map_or("", |end| text.get(since..end).unwrap_or_default());
        let lines: Vec<String> = whole.lines().filter_map(&normal).collect();
        if lines.len() >= count || Instant::now() > deadline {
            return lines.concat();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
