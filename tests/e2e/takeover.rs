//! Root given up and what remains of it, and one binary that takes over from another.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::harness::proxy::{Directory, Proxy, is_root};
use crate::harness::{Client, Ringgate, eventually, free_port};

fn saying(text: &str) -> String {
    format!(
        "worker_processes 2; events {{}} error_log @DIR@/error.log notice; http {{ access_log @DIR@/access.log; \
         server {{ listen 127.0.0.1:@PORT0@; listen unix:@DIR@/socket; location / {{ return 200 {text}; }} }} }}\n"
    )
}

/// The capabilities of each thread of a process: permitted and effective.
fn capabilities(pid: u32) -> Vec<(u64, u64)> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    let status = threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).ok());
    status.map(|status| (of(&status, "CapPrm:"), of(&status, "CapEff:"))).collect()
}

/// A port below 1024 that nobody has.
fn low_port() -> Option<u16> {
    (600..1024).rev().find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
}

#[test]
fn without_root_a_reload_still_does_what_only_root_may() {
    let Some(low) = low_port().filter(|_| is_root()) else { return };
    let conf = "worker_processes 2; events {} error_log @DIR@/error.log notice; http { access_log @DIR@/access.log; \
                include @DIR@/secret[.]conf; }\n";
    let secret = |proxy: &Proxy, listen: &str, text: &str| {
        let path = proxy.file("secret.conf");
        fs::write(&path, format!("server {{ {listen} location / {{ return 200 {text}; }} }}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let mut proxy = Ringgate::start_with(conf, "user nobody;");
    fs::set_permissions(proxy.directory(), fs::Permissions::from_mode(0o755)).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    assert!(!status.lines().any(|line| line.starts_with("Uid:") && line.contains("\t0")), "{status}");
    // A file that is root's alone, and a port that only root may bind.
    secret(&proxy, &format!("listen 127.0.0.1:{low};"), "secret");
    proxy.signal("HUP");
    proxy.wait_for("error.log", "is in force", 1);
    assert_eq!(Client::fetch(low, "/").text(), "secret");
    // A log in a directory that is root's.
    proxy.wait_for("access.log", "GET / HTTP/1.1", 1);
    fs::rename(proxy.file("access.log"), proxy.file("access.log.1")).unwrap();
    proxy.signal("USR1");
    eventually("a new log", || proxy.file("access.log").exists().then_some(()));
    assert_eq!(Client::fetch(low, "/").text(), "secret");
    proxy.wait_for("access.log", "GET / HTTP/1.1", 1);
    // In the meantime nobody holds any power, and only the main thread has some that it could take up.
    eventually("the reload's powers rest", || {
        let threads = capabilities(proxy.pid());
        let able = threads.iter().filter(|(permitted, _)| *permitted != 0).count();
        (threads.len() > 3 && able == 1 && threads.iter().all(|(_, effective)| *effective == 0)).then_some(())
    });
    assert_eq!(proxy.pid_file(), Some(proxy.pid()));
    proxy.signal("QUIT");
    assert!(proxy.wait().success());
    assert_eq!(proxy.pid_file(), None);
}

/// Asks on new connections until it is told to stop; counts what was answered, and panics at the first failure.
fn keep_asking(port: u16, stop: &Arc<AtomicBool>) -> (thread::JoinHandle<()>, Arc<AtomicUsize>) {
    let (stop, answered) = (Arc::clone(stop), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&answered);
    let asking = thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            assert_eq!(Client::fetch(port, "/").status, 200);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    (asking, answered)
}

/// A process that is not our child.
struct Other(u32);

impl Other {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.0.to_string()]).status();
        assert!(sent.unwrap().success());
    }

    fn is_running(&self) -> bool {
        // One that has ended and that its parent has not asked for yet is a zombie.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        if self.is_running() {
            self.signal("TERM");
            eventually("the other process ends", || (!self.is_running()).then_some(()));
        }
    }
}

/// Waits until another process than `old` holds the pid file.
fn successor(proxy: &Proxy, old: u32) -> Other {
    Other(eventually("a new process holds the pid file", || proxy.pid_file().filter(|pid| *pid != old)))
}

fn old_pid(proxy: &Proxy) -> Option<u32> {
    proxy.read("nginx.pid.oldbin").trim().parse().ok()
}

fn ask_socket(path: PathBuf) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_new_binary_takes_over_without_a_lost_request() {
    for user in ["", "user nobody;"] {
        if !user.is_empty() && !is_root() {
            return;
        }
        let mut proxy = Ringgate::start_with(&saying("old"), user);
        let stop = Arc::default();
        let (asking, answered) = keep_asking(proxy.port(0), &stop);
        proxy.rewrite(&saying("new"));
        proxy.signal("USR2");
        let new = successor(&proxy, proxy.pid());
        assert_eq!(old_pid(&proxy), Some(proxy.pid()));
        // A second one is not started, by neither of the two.
        proxy.signal("USR2");
        new.signal("USR2");
        proxy.wait_for("error.log", "taking over already", 2);
        proxy.signal("QUIT");
        assert!(proxy.wait().success());
        assert_eq!((old_pid(&proxy), proxy.pid_file()), (None, Some(new.0)));
        assert_eq!(Client::fetch(proxy.port(0), "/").text(), "new");
        assert!(ask_socket(proxy.file("socket")).ends_with("new"), "the socket's file is still there");
        let before = answered.load(Ordering::Relaxed);
        eventually("more answers", || (answered.load(Ordering::Relaxed) > before).then_some(()));
        stop.store(true, Ordering::Relaxed);
        asking.join().unwrap();
        // The next one, whose starter is gone.
        new.signal("USR2");
        let newer = successor(&proxy, new.0);
        new.signal("QUIT");
        eventually("the old one ends", || (!new.is_running()).then_some(()));
        assert_eq!(Client::fetch(proxy.port(0), "/").text(), "new");
        drop(newer);
        assert_eq!(proxy.pid_file(), None);
    }
}

#[test]
fn a_new_binary_that_does_not_start_changes_nothing() {
    let proxy = Ringgate::start(&saying("old"));
    proxy.rewrite("nonsense;");
    proxy.signal("USR2");
    proxy.wait_for("error.log", "exited with code 1", 1);
    eventually("the pid file is back", || (proxy.pid_file() == Some(proxy.pid())).then_some(()));
    assert_eq!(old_pid(&proxy), None);
    // The new one serves, is found wanting, and the old one accepts again.
    proxy.rewrite(&saying("new"));
    proxy.signal("USR2");
    let new = successor(&proxy, proxy.pid());
    proxy.signal("WINCH");
    eventually("only the new one answers", || {
        (0..8).all(|_| Client::fetch(proxy.port(0), "/").text() == "new").then_some(())
    });
    proxy.rewrite(&saying("old"));
    drop(new);
    eventually("the pid file is back", || (proxy.pid_file() == Some(proxy.pid())).then_some(()));
    assert_eq!(Client::fetch(proxy.port(0), "/").text(), "old");
    assert!(ask_socket(proxy.file("socket")).ends_with("old"));
}

fn nginx() -> Option<PathBuf> {
    ["/usr/sbin/nginx", "/usr/local/sbin/nginx"].into_iter().map(PathBuf::from).find(|path| path.exists())
}

fn point(link: &Path, to: &Path) {
    let _ = fs::remove_file(link);
    symlink(to, link).unwrap();
}

#[test]
fn nginx_is_replaced_while_it_runs_and_comes_back() {
    let Some(nginx) = nginx() else { return };
    let directory = Directory::new();
    let (link, pid_path) = (directory.path().join("server"), directory.path().join("nginx.pid"));
    let (port, shown) = (free_port(), directory.path().display());
    let user = if is_root() { "user root;" } else { "" };
    let conf = directory.path().join("nginx.conf");
    let text = format!(
        "{user} pid {shown}/nginx.pid; error_log {shown}/error.log; events {{}} http {{ access_log off; \
         server {{ listen 127.0.0.1:{port}; location / {{ return 200 $pid; }} }} }}\n"
    );
    fs::write(&conf, text).unwrap();
    point(&link, &nginx);
    // nginx changes its binary only if it has let go of its starter.
    let args = ["-p".as_ref(), directory.path().as_os_str(), "-c".as_ref(), conf.as_os_str()];
    assert!(Command::new(&link).args(args).status().unwrap().success());
    let pid = || fs::read_to_string(&pid_path).ok().and_then(|pid| pid.trim().parse().ok());
    let serving = |than: u32| Other(eventually("another process", || pid().filter(|pid| *pid != than)));
    let server = || {
        let reply = Client::fetch(port, "/");
        reply.field("Server").unwrap().split('/').next().unwrap().to_owned()
    };
    let mut old = serving(0);
    assert_eq!(server(), "nginx");
    let stop = Arc::default();
    let (asking, _) = keep_asking(port, &stop);
    for (program, name) in [(Ringgate::path(), "ringgate"), (&*nginx, "nginx")] {
        point(&link, program);
        old.signal("USR2");
        let new = serving(old.0);
        old.signal("QUIT");
        eventually("the old one ends", || (!old.is_running()).then_some(()));
        assert_eq!(server(), name);
        old = new;
    }
    stop.store(true, Ordering::Relaxed);
    asking.join().unwrap();
}
