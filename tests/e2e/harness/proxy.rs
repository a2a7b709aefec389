//! ringgate and nginx as child processes, each in a directory of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{eventually, free_port};

/// How often a start is tried anew when another process took a port meanwhile.
const ATTEMPTS: usize = 5;

/// A running proxy. Dropping it kills it and removes its directory.
///
/// In a configuration, `@PORT0@` to `@PORT9@` stand for ports that are free, `@DIR@` for the proxy's directory.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    program: PathBuf,
    dir: Directory,
    ports: Vec<u16>,
}

/// ringgate, the binary under test.
pub struct Ringgate;

impl Ringgate {
    /// Starts it in the foreground and waits until it serves.
    pub fn start(conf: &str) -> Proxy {
        start(binary(), conf, &[])
    }

    /// As [`Self::start`], with more directives for `-g`.
    pub fn start_with(conf: &str, globals: &str) -> Proxy {
        start(binary(), conf, &["-g", globals])
    }

    /// As [`Self::start`], on the driver of this name.
    pub fn start_with_driver(conf: &str, driver: &str) -> Proxy {
        start(binary(), conf, &["RINGGATE_DRIVER", driver])
    }

    /// Where the binary is.
    pub fn path() -> &'static Path {
        binary()
    }

    /// The binary with these arguments, not started.
    pub fn command(args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args);
        command
    }
}

/// The nginx of this machine, as an oracle.
pub struct Nginx;

impl Nginx {
    /// Starts it; nothing where nginx is not installed.
    pub fn start(conf: &str) -> Option<Proxy> {
        let installed = Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_ok();
        installed.then(|| start(Path::new("nginx"), conf, &[]))
    }
}

/// A directory that goes with its owner.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// A new, empty one.
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringgate-e2e-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary under test: built once, by the same cargo and in the same profile as this test. `RINGGATE_BIN` names
/// another one.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("RINGGATE_BIN") {
            return path.into();
        }
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "ringgate", "--bin", "ringgate"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_path_buf();
        let built =
            cargo.arg("--target-dir").arg(&target).current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
        assert!(built.success());
        target.join(if cfg!(debug_assertions) { "debug" } else { "release" }).join("ringgate")
    })
}

fn start(program: &Path, conf: &str, args: &[&str]) -> Proxy {
    for _ in 0..ATTEMPTS {
        let mut proxy = spawn(program, conf, args);
        let serves = eventually("the proxy serves or fails", || match proxy.child.try_wait().unwrap() {
            Some(_) => Some(false),
            None => proxy.pid_file().is_some().then_some(true),
        });
        if serves {
            return proxy;
        }
        let said = proxy.stderr();
        assert!(said.contains("98: Address already in use"), "{} did not start: {said}", program.display());
    }
    panic!("no port stayed free");
}

fn spawn(program: &Path, conf: &str, args: &[&str]) -> Proxy {
    let dir = Directory::new();
    let ports: Vec<u16> = (0..10).map(|_| free_port()).collect();
    let path = dir.path().join("nginx.conf");
    fs::write(&path, fill(conf, &ports, dir.path())).unwrap();
    // The tests may run as root: then the process stays root, so that it can use the directory.
    let own = format!("daemon off; pid {}/nginx.pid; ", dir.path().display());
    let more: String = args.iter().skip_while(|arg| **arg != "-g").skip(1).take(1).copied().collect();
    let user = if is_root() && !more.contains("user ") { "user root; " } else { "" };
    let mut command = Command::new(program);
    if let ["RINGGATE_DRIVER", driver] = args {
        command.env("RINGGATE_DRIVER", driver);
    }
    let child = command
        .arg("-p")
        .arg(dir.path())
        .arg("-c")
        .arg(&path)
        .arg("-e")
        .arg(dir.path().join("error.log"))
        .args(["-g", &format!("{own}{user}{more}")])
        .stdin(Stdio::null())
        .stdout(File::create(dir.path().join("stdout")).unwrap())
        .stderr(File::create(dir.path().join("stderr")).unwrap())
        .spawn()
        .unwrap();
    Proxy { child, program: program.to_path_buf(), dir, ports }
}

/// Whether this process is root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}

fn fill(conf: &str, ports: &[u16], dir: &Path) -> String {
    let mut text = conf.replace("@DIR@", &dir.display().to_string());
    for (number, port) in ports.iter().enumerate() {
        text = text.replace(&format!("@PORT{number}@"), &port.to_string());
    }
    text
}

impl Proxy {
    /// The port that `@PORTn@` stands for.
    pub fn port(&self, number: usize) -> u16 {
        self.ports[number]
    }

    /// Whether it is the oracle and not the binary under test.
    pub fn is_nginx(&self) -> bool {
        self.program == Path::new("nginx")
    }

    /// The proxy's directory.
    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// A file in the proxy's directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a file in the proxy's directory holds; nothing if it does not exist.
    pub fn read(&self, name: &str) -> String {
        fs::read(self.file(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// What it said on standard error.
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// The pid in its pid file, if the file is there and whole.
    pub fn pid_file(&self) -> Option<u32> {
        self.read("nginx.pid").strip_suffix('\n').and_then(|pid| pid.parse().ok())
    }

    /// The pid of the process that was started.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Replaces the configuration; the ports and the directory stay.
    pub fn rewrite(&self, conf: &str) {
        fs::write(self.file("nginx.conf"), fill(conf, &self.ports, self.dir.path())).unwrap();
    }

    /// Runs the same program on the same configuration with more arguments, as an administrator would.
    pub fn control(&self, args: &[&str]) -> std::process::Output {
        let pid = format!("pid {}/nginx.pid;", self.dir.path().display());
        let mut command = Command::new(&self.program);
        command.arg("-p").arg(self.dir.path()).arg("-c").arg(self.file("nginx.conf"));
        command.arg("-e").arg(self.file("error.log")).args(["-g", &pid]).args(args).output().unwrap()
    }

    /// Sends a signal by its name: `HUP`, `QUIT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the proxy exits", || self.child.try_wait().unwrap())
    }

    /// Waits until a file in its directory holds `text` so many times.
    pub fn wait_for(&self, name: &str, text: &str, times: usize) {
        eventually(&format!("{text:?} in {name}"), || {
            (self.read(name).matches(text).count() >= times).then_some(())
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.is_running() {
            // nginx's workers end with their master only if it can tell them.
            self.signal("TERM");
            let _ = eventually("the proxy ends", || self.child.try_wait().unwrap());
        }
    }
}
