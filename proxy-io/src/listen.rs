//! Listening sockets: made before the workers start (and before privileges are dropped), shared on reload.
//!
//! Every worker has a TCP socket of its own for each address (`SO_REUSEPORT`), so that the kernel spreads connections
//! without a lock. A Unix socket cannot be bound twice: its one socket is shared by all workers.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use proxy_core::command::{Address, ListenerId};
use proxy_core::config::{Config, Listener};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::kernel::set_defer_accept;

/// How often an address in use is tried, as in nginx.
const TRIES: u32 = 5;
/// How long to wait between two tries.
const TRY_PAUSE: Duration = Duration::from_millis(500);

/// The listening sockets of a configuration, per address and worker. Cloning it clones handles: a socket closes when
/// the last one is gone.
#[derive(Clone, Default)]
pub struct Bound {
    /// In the order of [`Config::listeners`].
    listeners: Vec<Vec<Arc<ListenSocket>>>,
    addresses: Vec<(Address, bool)>,
}

/// One listening socket.
pub(crate) struct ListenSocket {
    pub(crate) socket: Socket,
    /// A Unix socket's file, which goes with it.
    path: Option<PathBuf>,
    /// Another process listens on it too, and the file is its file now.
    pub(crate) handed_on: AtomicBool,
}

impl ListenSocket {
    /// A socket that another process has opened.
    fn inherited(socket: Socket) -> Self {
        let path = socket.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_path_buf));
        Self { socket, path, handed_on: AtomicBool::new(false) }
    }

    /// Whether every worker can have one of its own at this address.
    fn is_one_of_many(&self) -> bool {
        self.path.is_none() && self.socket.reuse_port().unwrap_or(false)
    }
}

impl Drop for ListenSocket {
    fn drop(&mut self) {
        if let Some(path) = self.path.as_ref().filter(|_| !*self.handed_on.get_mut()) {
            // It may be gone already, and there is nobody to tell.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What one worker needs of a listener.
#[derive(Clone)]
pub(crate) struct WorkerListener {
    pub(crate) id: ListenerId,
    pub(crate) address: Address,
    pub(crate) socket: Arc<ListenSocket>,
}

/// A listener that could not be opened.
#[derive(Debug)]
pub struct BindError {
    operation: &'static str,
    address: Address,
    error: io::Error,
}

impl BindError {
    fn is_in_use(&self) -> bool {
        self.error.kind() == io::ErrorKind::AddrInUse
    }

    /// The system's reason.
    #[must_use]
    pub const fn error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for BindError {
    /// In nginx's words: `bind() to 0.0.0.0:80 failed (98: Address already in use)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joint = if self.operation == "socket()" { "" } else { " to" };
        write!(f, "{}{joint} {} failed ({})", self.operation, self.address, crate::errno::text(&self.error))
    }
}

impl std::error::Error for BindError {}

/// Opens every listener of `config` for each of `workers` workers. Sockets that `reuse` has for the same address are
/// shared with it. An address in use is tried again for two seconds, as nginx does.
///
/// # Errors
/// The first listener that could not be opened.
pub fn bind(config: &Config, workers: usize, reuse: Option<&Bound>) -> Result<Bound, BindError> {
    let workers = workers.max(1);
    probe(config, reuse)?;
    let mut bound = Bound::default();
    for listener in &config.listeners {
        let mut sockets = reuse.map_or_else(Vec::new, |old| old.sockets(listener));
        sockets.truncate(workers);
        if let Some(first) = sockets.first() {
            // `backlog=` may have changed; the kernel takes a new one at any time.
            let _ = first.socket.listen(backlog(listener));
        }
        while sockets.len() < workers {
            let socket = match (&listener.address, sockets.first()) {
                // Port 0 is the system's choice, which all workers share.
                (Address::Ip(_), Some(first)) if first.is_one_of_many() => {
                    let chosen = local_address(&first.socket);
                    match open(listener, &chosen, true) {
                        // The first was opened by another user: root, before this process gave it up.
                        Err(error) if error.is_in_use() => Arc::clone(first),
                        other => other?,
                    }
                }
                (Address::Ip(_) | Address::Unix(_), Some(first)) => Arc::clone(first),
                (Address::Ip(_) | Address::Unix(_), None) => {
                    patiently(|| open(listener, &listener.address, true))?
                }
            };
            sockets.push(socket);
        }
        bound.addresses.push((listener.address.clone(), listener.dual_stack));
        bound.listeners.push(sockets);
    }
    Ok(bound)
}

/// Whether [`bind`] could open every listener, as `-t` wants to know. That an address is in use is no error: the
/// server that the test is for runs.
///
/// # Errors
/// The first listener that could not be opened.
pub fn check(config: &Config) -> Result<(), BindError> {
    for listener in &config.listeners {
        match open(listener, &listener.address, false) {
            Err(error) if error.is_in_use() => {}
            other => drop(other?),
        }
    }
    Ok(())
}

impl Bound {
    /// The addresses that are listened on, with the ports that the system chose where the configuration said 0.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<Address> {
        let first = self.listeners.iter().filter_map(|sockets| sockets.first());
        first.map(|listen| local_address(&listen.socket)).collect()
    }

    /// Sockets that another process has opened and listens on.
    pub(crate) fn inherited(sockets: impl IntoIterator<Item = Socket>) -> Self {
        let mut bound = Self::default();
        for socket in sockets {
            let address = local_address(&socket);
            let is_v6 = matches!(address, Address::Ip(ip) if ip.is_ipv6());
            let key = (address, is_v6 && !socket.only_v6().unwrap_or(true));
            let place = bound.addresses.iter().position(|known| *known == key).unwrap_or_else(|| {
                bound.addresses.push(key);
                bound.listeners.push(Vec::new());
                bound.listeners.len() - 1
            });
            if let Some(same) = bound.listeners.get_mut(place) {
                same.push(Arc::new(ListenSocket::inherited(socket)));
            }
        }
        bound
    }

    /// Each socket once.
    pub(crate) fn each(&self) -> impl Iterator<Item = &ListenSocket> {
        let all = self.listeners.iter().flat_map(|sockets| {
            let first = sockets.first();
            let others = sockets.iter().skip(1);
            first
                .into_iter()
                .chain(others.filter(move |other| first.is_some_and(|first| !Arc::ptr_eq(first, other))))
        });
        all.map(|socket| &**socket)
    }

    /// For how many workers there are sockets.
    pub(crate) fn workers(&self) -> Option<usize> {
        self.listeners.iter().map(Vec::len).min()
    }

    /// The sockets of worker number `worker`.
    pub(crate) fn of_worker(&self, worker: usize) -> Vec<WorkerListener> {
        let mut own = Vec::with_capacity(self.listeners.len());
        for (place, sockets) in self.listeners.iter().enumerate() {
            if let (Some(socket), Ok(id)) = (sockets.get(worker), u32::try_from(place)) {
                let address = local_address(&socket.socket);
                own.push(WorkerListener { id: ListenerId(id), address, socket: Arc::clone(socket) });
            }
        }
        own
    }

    fn sockets(&self, listener: &Listener) -> Vec<Arc<ListenSocket>> {
        let same =
            |(address, dual): &(Address, bool)| *address == listener.address && *dual == listener.dual_stack;
        let place = self.addresses.iter().position(same);
        place.and_then(|place| self.listeners.get(place)).cloned().unwrap_or_default()
    }

    fn has_port(&self, port: u16) -> bool {
        self.addresses.iter().any(|(address, _)| matches!(address, Address::Ip(ip) if ip.port() == port))
    }
}

/// `SO_REUSEPORT` would let two instances of one user share a port without a word. So every new address is first bound
/// without it, all of them before the first real one, and let go.
fn probe(config: &Config, reuse: Option<&Bound>) -> Result<(), BindError> {
    for listener in &config.listeners {
        let Address::Ip(ip) = &listener.address else { continue };
        if ip.port() != 0 && !reuse.is_some_and(|old| old.has_port(ip.port())) {
            patiently(|| open(listener, &listener.address, false))?;
        }
    }
    Ok(())
}

fn patiently(
    mut open: impl FnMut() -> Result<Arc<ListenSocket>, BindError>,
) -> Result<Arc<ListenSocket>, BindError> {
    for _ in 1..TRIES {
        match open() {
            Err(error) if error.is_in_use() => std::thread::sleep(TRY_PAUSE),
            other => return other,
        }
    }
    open()
}

/// A bound socket, which listens if it is a real one.
fn open(listener: &Listener, at: &Address, real: bool) -> Result<Arc<ListenSocket>, BindError> {
    let failed = |operation| {
        let address = at.clone();
        move |error| BindError { operation, address, error }
    };
    let (domain, address, path) = match at {
        Address::Ip(ip) => (Domain::for_address(*ip), SockAddr::from(*ip), None),
        Address::Unix(path) => {
            let address = SockAddr::unix(&**path).map_err(failed("bind()"))?;
            (Domain::UNIX, address, Some(PathBuf::from(&**path)))
        }
    };
    let socket = Socket::new(domain, Type::STREAM, None).map_err(failed("socket()"))?;
    set_options(&socket, listener, domain, real).map_err(failed("setsockopt()"))?;
    if let Some(path) = &path {
        remove_stale(path);
    }
    socket.bind(&address).map_err(failed("bind()"))?;
    if real {
        if let Some(path) = &path {
            let permissions = std::fs::Permissions::from_mode(0o666);
            std::fs::set_permissions(path, permissions).map_err(failed("chmod()"))?;
        }
        socket.listen(backlog(listener)).map_err(failed("listen()"))?;
    }
    Ok(Arc::new(ListenSocket { socket, path, handed_on: AtomicBool::new(false) }))
}

fn set_options(socket: &Socket, listener: &Listener, domain: Domain, real: bool) -> io::Result<()> {
    // Accepting is tried until nothing is left, so it must not wait; accepted sockets do not inherit this.
    socket.set_nonblocking(true)?;
    if let Some(bytes) = listener.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    if let Some(bytes) = listener.send_buffer_bytes {
        socket.set_send_buffer_size(bytes as usize)?;
    }
    if domain == Domain::UNIX {
        return Ok(());
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(real)?;
    // These three are inherited by the sockets accepted.
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(listener.keepalive)?;
    if listener.deferred {
        set_defer_accept(socket)?;
    }
    if domain == Domain::IPV6 {
        socket.set_only_v6(!listener.dual_stack)?;
    }
    Ok(())
}

fn backlog(listener: &Listener) -> i32 {
    i32::try_from(listener.backlog).unwrap_or(i32::MAX)
}

/// A socket file that nobody listens on any more, after a crash.
fn remove_stale(path: &Path) {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).err().is_some_and(refused) {
        // If it cannot be removed, bind says why not.
        let _ = std::fs::remove_file(path);
    }
}

/// The address that a socket is bound to.
pub(crate) fn local_address(socket: &Socket) -> Address {
    socket.local_addr().map_or_else(|_| Address::Unix(Arc::from("")), |address| to_address(&address))
}

/// The core's words for a socket address; anything that is neither IP nor a named Unix socket has no name.
pub(crate) fn to_address(address: &SockAddr) -> Address {
    match address.as_socket() {
        Some(ip) => Address::Ip(ip),
        None => Address::Unix(address.as_pathname().and_then(Path::to_str).unwrap_or_default().into()),
    }
}

/// Sockets by identity, to find out which of them a worker has already.
pub(crate) fn by_identity(listeners: Vec<WorkerListener>) -> HashMap<*const ListenSocket, WorkerListener> {
    listeners.into_iter().map(|listener| (Arc::as_ptr(&listener.socket), listener)).collect()
}
