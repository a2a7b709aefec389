//! Log lines as datagrams to a syslog server (RFC 3164, as nginx writes it): over UDP or a Unix socket.
//!
//! Nobody waits for a log server: a datagram that cannot be sent at once is lost, and a socket that fails is made anew for
//! the next line.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};

use proxy_core::command::{Address, Level};
use proxy_core::config::Syslog;

use crate::clock::unix_ms;
use crate::control::lock;
use crate::kernel::local_time;

/// What is longer is cut, in bytes: nginx's bound.
const DATAGRAM_BYTES_MAX: usize = 2048 + 160;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A syslog server.
pub(crate) struct Peer {
    to: Syslog,
    hostname: Arc<str>,
    socket: Mutex<Option<Socket>>,
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Peer {
    pub(crate) fn new(to: Syslog, hostname: Arc<str>) -> Self {
        Self { to, hostname, socket: Mutex::new(None) }
    }

    /// Sends whole lines, each as one message of the severity that the configuration says.
    pub(crate) fn send_lines(&self, lines: &[u8]) {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.send(self.to.severity, line);
        }
    }

    /// Sends a line of an error log: its level is the severity.
    pub(crate) fn send_error(&self, level: Level, line: &[u8]) {
        self.send(severity(level), line.strip_suffix(b"\n").unwrap_or(line));
    }

    fn send(&self, severity: u8, line: &[u8]) {
        let mut datagram = self.header(severity);
        datagram.extend_from_slice(line);
        datagram.truncate(DATAGRAM_BYTES_MAX);
        let mut socket = lock(&self.socket);
        if socket.is_none() {
            *socket = Socket::open(&self.to.server).ok();
        }
        let Some(open) = socket.as_ref() else { return };
        match open.send(&datagram) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => *socket = None,
            Ok(_) | Err(_) => {}
        }
    }

    /// `<190>Nov  1 08:05:09 host tag: `
    fn header(&self, severity: u8) -> Vec<u8> {
        let now = local_time(unix_ms() / 1000);
        let month = usize::try_from(now.month).ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
        let priority = u32::from(self.to.facility) * 8 + u32::from(severity);
        let (month, day) = (month.copied().unwrap_or_default(), now.day);
        let mut text =
            format!("<{priority}>{month} {day:2} {:02}:{:02}:{:02} ", now.hour, now.minute, now.second);
        if !self.to.without_hostname {
            text.push_str(&self.hostname);
            text.push(' ');
        }
        text.push_str(&self.to.tag);
        text.push_str(": ");
        text.into_bytes()
    }
}

impl Socket {
    fn open(server: &Address) -> io::Result<Self> {
        match server {
            Address::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                socket.connect(&**path)?;
                Ok(Self::Unix(socket))
            }
            Address::Ip(address) => {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                socket.connect(address)?;
                Ok(Self::Udp(socket))
            }
        }
    }

    fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send(datagram),
            Self::Unix(socket) => socket.send(datagram),
        }
    }
}

/// The severities are the levels, in their order.
const fn severity(level: Level) -> u8 {
    match level {
        Level::Emerg => 0,
        Level::Alert => 1,
        Level::Crit => 2,
        Level::Error => 3,
        Level::Warn => 4,
        Level::Notice => 5,
        Level::Info => 6,
        Level::Debug => 7,
    }
}
