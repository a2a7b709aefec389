//! The words between the core and its driver: commands out, completions in, reports to whom it may concern.
//!
//! A [`Command`] is shaped like a submission-queue entry and a [`Completion`] like a completion-queue entry, so one
//! turn of a driver is: hand in what completed, drain [`Command`]s, submit them all, wait once.
//!
//! The rules that hold on both sides:
//! - Each command but [`Command::Close`], [`Command::Shutdown`], [`Command::CloseFile`] and [`Command::RemoveFile`] gets
//!   exactly one completion, unless its connection was closed first; then the driver may deliver it late or never, and the core ignores it.
//! - At most one `Recv` and one `Send` are in flight per connection, and one operation per file.
//! - `Close` ends everything: the driver cancels what is in flight, *awaits* it, and then closes the descriptor. The key
//!   may be given to another connection at once, with a new generation.
//! - A graceful `Close` right behind a `Send` that was not in flight before: what the socket takes at once is delivered.
//! - `CloseFile` may come while an operation on that file is in flight; its completion is then ignored.
//! - A driver never looks inside a buffer, and a core never waits.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::buf::{Buf, Chain};
use crate::config::LogId;
use crate::slab::Key;

/// A client's or an upstream's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub Key);

/// An open (or opening) file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub Key);

/// A name being resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResolveId(pub Key);

/// A password being compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VerifyId(pub Key);

/// A listening socket: its place in [`Config::listeners`](crate::config::Config).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u32);

/// The address of a stream socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// IPv4 or IPv6 with a port.
    Ip(SocketAddr),
    /// A Unix socket's path. Empty for the unnamed end of a connection.
    Unix(Arc<str>),
}

impl fmt::Display for Address {
    /// As nginx prints it: `127.0.0.1:80`, `[::1]:80`, `unix:/run/app.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// Both ends of an accepted connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address.
    pub client: Address,
    /// Our own address that the client connected to (`$server_addr`, `$server_port`).
    pub local: Address,
}

/// Which of the worker's pools a read should use; a hint about how much is likely to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// A few KiB: request heads. A driver may wait for readiness first, so that idle connections pin no memory.
    Small,
    /// A large block: bodies and upstream replies.
    Large,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseHow {
    /// `close(2)`: what was sent is delivered.
    Graceful,
    /// With a reset (`SO_LINGER` 0): nothing more is delivered and no state stays behind.
    Reset,
}

/// How a file is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; `path` is the file.
    Read,
    /// For reading, with a look at the symbolic links on the way (`disable_symlinks`).
    ReadChecked(SymlinkCheck),
    /// An unnamed temporary file for writing and reading, made below the directory `path` with mode 0600.
    Temp,
    /// A new file with the name `path` for writing and reading, with mode 0600; the directories above it are made.
    New {
        /// Whether it stays when it is closed; otherwise it is removed.
        stays: bool,
    },
    /// A file that exists, for reading and writing.
    Update,
}

/// What a file is like that others are to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFinish {
    /// Its permission bits; who may read it may enter the directories that are made for it.
    pub mode: u32,
    /// When it was changed, in seconds since the Unix epoch; none leaves that to the system.
    pub modified_s: Option<i64>,
}

/// Which symbolic links a path may lead through; another one is `ELOOP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymlinkCheck {
    /// How many bytes of the path are not looked at; a slash follows them, or they are the whole path.
    pub from: usize,
    /// Whether a link is fine that belongs to the owner of what it leads to.
    pub same_owner: bool,
}

/// Socket options of an outgoing connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The local address to bind to first (`proxy_bind`); port 0 lets the system choose.
    pub bind: Option<SocketAddr>,
    /// That address need not be one of this machine's (`IP_TRANSPARENT`).
    pub transparent: bool,
    /// `SO_KEEPALIVE` (`proxy_socket_keepalive`).
    pub keepalive: bool,
    /// `SO_SNDBUF` in bytes (`proxy_socket_sndbuf`).
    pub send_buffer_bytes: Option<usize>,
    /// `SO_RCVBUF` in bytes (`proxy_socket_rcvbuf`).
    pub recv_buffer_bytes: Option<usize>,
    /// A datagram socket instead of a stream: each `Send` is one datagram and each `Recv` brings one, cut to the room
    /// that there is. Only what comes from `address` itself is received, and the local port is one that nobody can
    /// guess.
    pub datagram: bool,
}

/// What the core wants done.
#[derive(Debug)]
pub enum Command {
    /// Open a connection. Answered by [`Completion::Connect`].
    Connect {
        /// The key the connection shall have.
        conn: ConnId,
        /// Where to.
        address: Address,
        /// Socket options.
        options: ConnectOptions,
    },
    /// Read once into memory of the driver's choice. Answered by [`Completion::Recv`].
    Recv {
        /// From where.
        conn: ConnId,
        /// How much memory is worth offering.
        room: Room,
    },
    /// Write once, as much of `chain` as the socket takes. Answered by [`Completion::Send`].
    Send {
        /// Where to.
        conn: ConnId,
        /// What; never empty.
        chain: Chain,
    },
    /// Half-close: no more will be sent. No completion; ordered behind the `Send` before it, which has completed.
    Shutdown {
        /// Which connection.
        conn: ConnId,
    },
    /// End the connection and forget the key.
    Close {
        /// Which connection.
        conn: ConnId,
        /// Gracefully or not.
        how: CloseHow,
    },
    /// Open a file. Answered by [`Completion::OpenFile`].
    OpenFile {
        /// The key the file shall have.
        file: FileId,
        /// The file, or the directory of a temporary one. Absolute.
        path: Arc<[u8]>,
        /// What for.
        mode: OpenMode,
    },
    /// Read once at `offset`, at most `len` bytes, into a large block. Answered by [`Completion::ReadFile`].
    ReadFile {
        /// Which file.
        file: FileId,
        /// From where, in bytes.
        offset: u64,
        /// How much at most, in bytes.
        len: usize,
    },
    /// Write all of `chain` at `offset`. Answered by [`Completion::WriteFile`].
    WriteFile {
        /// Which file.
        file: FileId,
        /// Where to, in bytes.
        offset: u64,
        /// What; never empty.
        chain: Chain,
    },
    /// List the files in a directory. The key is a file's, and is closed as one, before or after the answer. Answered
    /// by [`Completion::ListDirectory`].
    ListDirectory {
        /// The key.
        file: FileId,
        /// The directory. Absolute.
        path: Arc<[u8]>,
    },
    /// Give the file `from`, which is open by this key, the name `to`, in the place of whatever has that name; the
    /// directories above it are made, and where it lies on another file system it is copied. Answered by
    /// [`Completion::RenameFile`].
    RenameFile {
        /// Which file.
        file: FileId,
        /// Its name. Absolute.
        from: Arc<[u8]>,
        /// The name that it gets. Absolute.
        to: Arc<[u8]>,
        /// What it shall be like then; none leaves it as it was made, in directories that only we may enter.
        finish: Option<FileFinish>,
    },
    /// Remove a file. Nobody waits for it, and one that is not there is as good as removed.
    RemoveFile {
        /// Its name. Absolute.
        path: Arc<[u8]>,
    },
    /// Ask how many bytes are free on the file system of `path`. The key is a file's, and is closed as one. Answered by
    /// [`Completion::FreeSpace`].
    FreeSpace {
        /// The key.
        file: FileId,
        /// A directory. Absolute.
        path: Arc<[u8]>,
    },
    /// Close the file and forget the key; a temporary file is gone then.
    CloseFile {
        /// Which file.
        file: FileId,
    },
    /// Call [`password::matches`](crate::access::password::matches), which takes long, on a thread that may be held up.
    /// Answered by [`Completion::Verify`].
    Verify {
        /// The question's key.
        id: VerifyId,
        /// What the client says.
        password: Box<[u8]>,
        /// What the password file says.
        stored: Box<[u8]>,
    },
    /// Look a host name up. Answered by [`Completion::Resolve`].
    Resolve {
        /// The question's key.
        id: ResolveId,
        /// The name, without a port.
        name: Arc<str>,
    },
}

/// What became of a command.
#[derive(Debug)]
pub enum Completion {
    /// The connection stands, or the reason why not.
    Connect {
        /// Which connection.
        conn: ConnId,
        /// Our own address on success.
        result: Result<Address, IoError>,
    },
    /// Bytes arrived. An empty buffer is the end of the stream, or an empty datagram.
    Recv {
        /// On which connection.
        conn: ConnId,
        /// The bytes.
        result: Result<Buf, IoError>,
    },
    /// One write is done.
    Send {
        /// On which connection.
        conn: ConnId,
        /// The chain as it was handed out: the core drops what was sent.
        chain: Chain,
        /// How many bytes the socket took; at least one.
        result: Result<usize, IoError>,
    },
    /// The file is open, or the reason why not.
    OpenFile {
        /// Which file.
        file: FileId,
        /// What kind of file it is.
        result: Result<FileInfo, IoError>,
    },
    /// Bytes of the file. An empty buffer is its end.
    ReadFile {
        /// Which file.
        file: FileId,
        /// The bytes.
        result: Result<Buf, IoError>,
    },
    /// All bytes are written, or the reason why not.
    WriteFile {
        /// Which file.
        file: FileId,
        /// The chain as it was handed out.
        chain: Chain,
        /// Nothing, on success.
        result: Result<(), IoError>,
    },
    /// The passwords were compared.
    Verify {
        /// The question's key.
        id: VerifyId,
        /// Whether it is the password; nothing if there was no thread for it.
        matches: Option<bool>,
    },
    /// What is in the directory, in no order, or the reason why that is not known.
    ListDirectory {
        /// The key.
        file: FileId,
        /// One entry for each file, the hidden ones left out.
        result: Result<Vec<DirectoryEntry>, IoError>,
    },
    /// The file has its new name, or the reason why not.
    RenameFile {
        /// Which file.
        file: FileId,
        /// Nothing, on success.
        result: Result<(), IoError>,
    },
    /// How many bytes are free.
    FreeSpace {
        /// The key.
        file: FileId,
        /// The number of bytes.
        result: Result<u64, IoError>,
    },
    /// The name's addresses, or the reason why there are none.
    Resolve {
        /// The question's key.
        id: ResolveId,
        /// The addresses; not empty on success.
        result: Result<Vec<IpAddr>, ResolveError>,
    },
}

/// What `fstat` said of an opened file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// File, directory or neither.
    pub kind: FileKind,
    /// Its size in bytes.
    pub size: u64,
    /// Its modification time in seconds since the Unix epoch.
    pub mtime_s: i64,
    /// Whether its owner may execute it (`S_IXUSR`).
    pub executable: bool,
}

/// A file in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its name.
    pub name: Box<[u8]>,
    /// What it is, links followed where they lead anywhere.
    pub kind: FileKind,
    /// Its size in bytes.
    pub size: u64,
    /// Its modification time in seconds since the Unix epoch.
    pub mtime_s: i64,
}

/// The kinds of files that matter when serving them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A device, a socket, a pipe.
    Other,
}

/// An `errno`: the driver passes the number on and the core says what it means for the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoError {
    /// The system's error number, positive.
    pub errno: i32,
}

impl IoError {
    /// `ENOENT`
    pub const NOT_FOUND: Self = Self { errno: 2 };
    /// `EACCES`
    pub const ACCESS: Self = Self { errno: 13 };
    /// `EEXIST`
    pub const EXISTS: Self = Self { errno: 17 };
    /// `ENOTDIR`
    pub const NOT_DIRECTORY: Self = Self { errno: 20 };
    /// `EMFILE`
    pub const TOO_MANY_FILES: Self = Self { errno: 24 };
    /// `EPIPE`
    pub const BROKEN_PIPE: Self = Self { errno: 32 };
    /// `ELOOP`
    pub const LOOP: Self = Self { errno: 40 };
    /// `ENAMETOOLONG`
    pub const NAME_TOO_LONG: Self = Self { errno: 36 };
    /// `EPROTO`
    pub const PROTOCOL: Self = Self { errno: 71 };
    /// `ECONNRESET`
    pub const RESET: Self = Self { errno: 104 };
    /// `ETIMEDOUT`
    pub const TIMED_OUT: Self = Self { errno: 110 };
    /// `ECONNREFUSED`
    pub const REFUSED: Self = Self { errno: 111 };
    /// `ECANCELED`
    pub const CANCELED: Self = Self { errno: 125 };

    /// Whether it says that there is no such file.
    #[must_use]
    pub const fn is_absence(self) -> bool {
        matches!(self, Self::NOT_FOUND | Self::NOT_DIRECTORY | Self::NAME_TOO_LONG)
    }

    /// Whether it says that the other end of a connection, or the way there, is at fault: nginx's list.
    #[must_use]
    pub const fn is_from_peer(self) -> bool {
        // ENETDOWN, ENETUNREACH, ECONNRESET, ETIMEDOUT, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH
        matches!(self.errno, 100 | 101 | 104 | 110 | 111 | 112 | 113)
    }

    /// The C library's text for the numbers that a proxy meets; `Unknown error` otherwise.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self.errno {
            1 => "Operation not permitted",
            2 => "No such file or directory",
            4 => "Interrupted system call",
            5 => "Input/output error",
            9 => "Bad file descriptor",
            11 => "Resource temporarily unavailable",
            12 => "Cannot allocate memory",
            13 => "Permission denied",
            17 => "File exists",
            20 => "Not a directory",
            21 => "Is a directory",
            22 => "Invalid argument",
            23 => "Too many open files in system",
            24 => "Too many open files",
            27 => "File too large",
            28 => "No space left on device",
            30 => "Read-only file system",
            32 => "Broken pipe",
            36 => "File name too long",
            40 => "Too many levels of symbolic links",
            71 => "Protocol error",
            91 => "Protocol wrong type for socket",
            97 => "Address family not supported by protocol",
            98 => "Address already in use",
            99 => "Cannot assign requested address",
            100 => "Network is down",
            101 => "Network is unreachable",
            103 => "Software caused connection abort",
            104 => "Connection reset by peer",
            105 => "No buffer space available",
            107 => "Transport endpoint is not connected",
            110 => "Connection timed out",
            111 => "Connection refused",
            112 => "Host is down",
            113 => "No route to host",
            125 => "Operation canceled",
            _ => "Unknown error",
        }
    }
}

impl fmt::Display for IoError {
    /// As nginx prints it: `111: Connection refused`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.errno, self.text())
    }
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveError {
    /// The resolver's words, as nginx would print them behind the name.
    pub reason: String,
}

impl ResolveError {
    /// The words of a resolver that knows that there is no such name.
    pub const NOT_FOUND: &str = "3: Host not found";
}

/// The levels of nginx's error log, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The system is unusable.
    Emerg,
    /// Act now.
    Alert,
    /// The machine or ringgate is in trouble.
    Crit,
    /// A request failed that should not have.
    Error,
    /// Something to look at.
    Warn,
    /// Something to know.
    Notice,
    /// A client's doing.
    Info,
    /// For developers.
    Debug,
}

impl Level {
    /// The word inside the brackets of a log line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emerg => "emerg",
            Self::Alert => "alert",
            Self::Crit => "crit",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// What the core tells: log lines and milestones.
#[derive(Debug)]
pub enum Report {
    /// Whole lines for an access log, each with its line end. Give the vector back through
    /// [`Worker::recycle`](crate::worker::Worker::recycle) and no line costs an allocation.
    Access {
        /// Which log.
        log: LogId,
        /// The lines.
        lines: Vec<u8>,
    },
    /// Lines for an access log whose file name is computed for each request (`access_log /var/log/$host.log`).
    AccessPath {
        /// The file's name.
        path: Box<[u8]>,
        /// The lines.
        lines: Vec<u8>,
    },
    /// A message for the error log. The driver writes date, level, process and thread in front of it.
    Error {
        /// Which error log: an index into [`Config::error_logs`](crate::config::Config).
        log: u32,
        /// How bad.
        level: Level,
        /// The text behind `PID#TID: `, connection number included, without a line end.
        message: Vec<u8>,
    },
    /// What a file shall hold from now on (a group's `state`): replaced as a whole. An older one that comes late, by its
    /// `serial`, is dropped.
    Save {
        /// The file. Absolute.
        path: Arc<[u8]>,
        /// Counts the contents of this file.
        serial: u64,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// The last connection is gone after a shutdown: the worker's thread may end.
    Drained,
}
