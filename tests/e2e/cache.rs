//! A cache of the real binary: across a reload, a restart and a change of programs, with several workers, under a lock,
//! with broken files, and within its size.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::proxy::{Nginx, Proxy, Ringgate};
use crate::harness::upstream::Then;
use crate::harness::{Client, Upstream, eventually};

/// A cache in front of `port`; `more` goes into the location.
fn caching(port: u16, path: &str, parameters: &str, more: &str) -> String {
    format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log off; proxy_temp_path @DIR@/temp; \
         client_body_temp_path @DIR@/body; proxy_http_version 1.1; \
         proxy_cache_path {path} levels=1:2 keys_zone=one:1m inactive=1h {parameters}; \
         server {{ listen 127.0.0.1:@PORT0@; proxy_cache one; proxy_cache_valid any 1h; \
         proxy_cache_key $request_uri; add_header X-Cache $upstream_cache_status always; \
         location / {{ proxy_pass http://127.0.0.1:{port}; {more} }} }} }}\n"
    )
}

/// An upstream whose replies count, and are `bytes` long.
fn counting(bytes: usize) -> (Upstream, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let upstream = Upstream::start(move |request, stream| {
        let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
        let mut body = format!("{} {number} ", request.line()).into_bytes();
        body.resize(body.len().max(bytes), b'x');
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        Then::Keep
    });
    (upstream, count)
}

fn ask(proxy: &Proxy, target: &str) -> (String, Vec<u8>) {
    let reply = Client::fetch(proxy.port(0), target);
    (reply.field("X-Cache").unwrap_or_default().to_owned(), reply.body)
}

/// The entries below a directory.
fn entries(path: &Path) -> Vec<PathBuf> {
    let Ok(found) = fs::read_dir(path) else { return Vec::new() };
    let below = found.map(|entry| entry.unwrap().path());
    below.flat_map(|path| if path.is_dir() { entries(&path) } else { vec![path] }).collect()
}

#[test]
fn it_survives_a_reload_a_restart_and_a_broken_file() {
    let (upstream, count) = counting(100_000);
    let shared = crate::harness::proxy::Directory::new();
    let path = shared.path().join("cache");
    let conf = caching(upstream.port, &path.display().to_string(), "", "");
    let mut proxy = Ringgate::start_with(&conf, "worker_processes 2;");
    let (status, body) = ask(&proxy, "/a");
    assert_eq!(status, "MISS");
    assert_eq!(ask(&proxy, "/a"), ("HIT".to_owned(), body.clone()));
    proxy.signal("HUP");
    proxy.wait_for("error.log", "reconfigur", 1);
    assert_eq!(ask(&proxy, "/a"), ("HIT".to_owned(), body.clone()));
    proxy.signal("QUIT");
    assert!(proxy.wait().success());

    let [file] = entries(&path).try_into().unwrap();
    fs::write(path.join("foreign"), "x").unwrap();
    let mut proxy = Ringgate::start(&conf);
    assert_eq!(ask(&proxy, "/a"), ("HIT".to_owned(), body));
    eventually("the loader removes what is not a cache's", || (!path.join("foreign").exists()).then_some(()));
    proxy.signal("QUIT");
    assert!(proxy.wait().success());

    let whole = fs::read(&file).unwrap();
    for broken in [&whole[..100], &whole[..5000], b"foreign".repeat(100).as_slice()] {
        fs::write(&file, broken).unwrap();
        let mut proxy = Ringgate::start(&conf);
        let before = count.load(Ordering::Relaxed);
        assert_eq!(ask(&proxy, "/a").0, "MISS");
        assert_eq!(ask(&proxy, "/a").0, "HIT");
        assert_eq!(count.load(Ordering::Relaxed), before + 1);
        proxy.signal("QUIT");
        assert!(proxy.wait().success());
    }
}

#[test]
fn it_reads_what_nginx_has_written_and_the_other_way_round() {
    let (upstream, count) = counting(10);
    let shared = crate::harness::proxy::Directory::new();
    fs::set_permissions(shared.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let path = shared.path().join("cache");
    let conf = caching(upstream.port, &path.display().to_string(), "", "");
    let Some(mut nginx) = Nginx::start(&conf) else { return eprintln!("nginx is not installed") };
    let (status, by_nginx) = ask(&nginx, "/nginx");
    assert_eq!(status, "MISS");
    nginx.signal("QUIT");
    nginx.wait();
    let mut proxy = Ringgate::start(&conf);
    assert_eq!(ask(&proxy, "/nginx"), ("HIT".to_owned(), by_nginx));
    let (status, by_us) = ask(&proxy, "/us");
    assert_eq!(status, "MISS");
    proxy.signal("QUIT");
    proxy.wait();
    let nginx = Nginx::start(&conf).unwrap();
    assert_eq!(ask(&nginx, "/us"), ("HIT".to_owned(), by_us));
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[test]
fn one_request_fetches_and_the_others_wait() {
    let (arrived, arrivals) = channel();
    let (release, gate) = channel::<()>();
    let (arrived, gate) = (Mutex::new(arrived), Mutex::new(gate));
    let upstream = Upstream::start(move |_, stream| {
        arrived.lock().unwrap().send(()).unwrap();
        let _ = gate.lock().unwrap().recv();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nonce");
        Then::Keep
    });
    let conf =
        caching(upstream.port, "@DIR@/cache", "", "proxy_cache_lock on; proxy_cache_lock_timeout 50s;");
    let proxy = Ringgate::start_with(&conf, "worker_processes 2;");
    let port = proxy.port(0);
    let first = thread::spawn(move || Client::fetch(port, "/a"));
    arrivals.recv().unwrap();
    let others: Vec<_> = (0..20).map(|_| thread::spawn(move || Client::fetch(port, "/a"))).collect();
    // Another key is not held up.
    let free = thread::spawn(move || Client::fetch(port, "/b"));
    arrivals.recv().unwrap();
    release.send(()).unwrap();
    release.send(()).unwrap();
    assert_eq!(first.join().unwrap().field("X-Cache"), Some("MISS"));
    assert_eq!(free.join().unwrap().text(), "once");
    for other in others {
        let reply = other.join().unwrap();
        assert_eq!((reply.text(), reply.field("X-Cache")), ("once", Some("HIT")));
    }
    assert!(arrivals.try_recv().is_err(), "nobody else asked");
}

#[test]
fn a_client_that_leaves_its_reply_leaves_it_to_the_cache_and_no_lock() {
    let (upstream, _) = counting(3_000_000);
    let conf = caching(upstream.port, "@DIR@/cache", "", "proxy_cache_lock on; proxy_max_temp_file_size 0;");
    let proxy = Ringgate::start(&conf);
    let mut client = Client::connect(proxy.port(0));
    client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    let _ = client.until(b"\r\n\r\n");
    drop(client);
    let (status, body) = ask(&proxy, "/a");
    assert_eq!((status.as_str(), body.len()), ("HIT", 3_000_000));
}

#[test]
fn it_keeps_to_its_size() {
    let (upstream, _) = counting(40_000);
    let conf = caching(upstream.port, "@DIR@/cache", "max_size=200k", "");
    let proxy = Ringgate::start(&conf);
    for n in 0..20 {
        assert_eq!(ask(&proxy, &format!("/{n}")).0, "MISS");
    }
    let path = proxy.file("cache");
    eventually("the manager forgets the oldest", || (entries(&path).len() <= 5).then_some(()));
    assert_eq!(ask(&proxy, "/19").0, "HIT");
    assert_eq!(ask(&proxy, "/0").0, "MISS");
}

/// A generator good enough to choose keys and sizes: xorshift, seeded.
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 33).unwrap()
}

/// Few keys, renewed all the time, in a cache that is too small for them, asked for by many at once, some of whom leave.
#[test]
fn nobody_gets_bytes_of_another_key_or_of_two_replies() {
    const KEYS: usize = 12;
    let serial = AtomicUsize::new(0);
    let upstream = Upstream::start(move |request, stream| {
        let number = serial.fetch_add(1, Ordering::Relaxed);
        let target = request.line().split(' ').nth(1).unwrap().to_owned();
        let mut state = number as u64 * 7919 + 1;
        let size = if next(&mut state).is_multiple_of(3) { 150_000 } else { 20 };
        let line = format!("{target} {number}\n");
        let body = line.repeat(1 + next(&mut state) % size);
        let age =
            ["X-Accel-Expires: @1", "X-Accel-Expires: 60", "Cache-Control: no-store"][next(&mut state) % 3];
        let announced = body.len() + usize::from(next(&mut state).is_multiple_of(8));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {announced}\r\n{age}\r\n\r\n");
        let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
        if announced == body.len() { Then::Keep } else { Then::Close }
    });
    let more = "proxy_cache_lock on; proxy_cache_lock_timeout 1s; proxy_cache_use_stale updating error; \
                proxy_cache_background_update on; proxy_cache_bypass $arg_bypass;";
    let conf = caching(upstream.port, "@DIR@/cache", "max_size=2m manager_sleep=1ms", more);
    let proxy = Ringgate::start_with(&conf, "worker_processes 2;");
    let port = proxy.port(0);
    let askers = (1..=8_u64).map(|seed| {
        thread::spawn(move || {
            let mut state = seed * 0x9e37_79b9;
            let mut whole = 0;
            for _ in 0..150 {
                let key = format!("/{}", next(&mut state) % KEYS);
                let mut client = Client::connect(port);
                client.send(format!("GET {key} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
                if next(&mut state).is_multiple_of(10) {
                    continue;
                }
                let bytes = client.rest();
                let text = String::from_utf8(bytes).unwrap();
                let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
                let length: usize =
                    crate::harness::client::field(head, "Content-Length").unwrap().parse().unwrap();
                let line = body.split_inclusive('\n').next().unwrap_or_default();
                assert!(line.starts_with(&format!("{key} ")) || !body.contains('\n'), "{key}: {line}");
                assert!(body.split_inclusive('\n').all(|other| line.starts_with(other) || other == line));
                let hit = head.contains("X-Cache: HIT");
                assert!(!hit || body.len() == length, "a reply that was cut short was kept");
                whole += usize::from(body.len() == length);
            }
            whole
        })
    });
    let askers: Vec<_> = askers.collect();
    let whole: usize = askers.into_iter().map(|asker| asker.join().unwrap()).sum();
    assert!(whole > 400, "{whole}");
    assert!(!proxy.read("error.log").contains("[alert]"));
}
