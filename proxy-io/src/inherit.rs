//! Listening sockets from one process to the next, as nginx hands them on at a change of its binary: by their numbers, in
//! the environment's variable `NGINX`. So ringgate can take over from a running nginx, and nginx from ringgate.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

use socket2::Socket;

use crate::kernel::adopt;
use crate::listen::Bound;

/// The variable's name.
pub const VARIABLE: &str = "NGINX";
/// More numbers than this are not looked at.
const SOCKETS_MAX: usize = 65_536;

/// The listening sockets that `numbers` names (`6;7;`), and what is wrong with the list. Not to be called twice with the
/// same numbers: the result owns the sockets.
#[must_use]
pub fn inherit(numbers: &str) -> (Bound, Option<String>) {
    let mut sockets: Vec<Socket> = Vec::new();
    let mut complaint = None;
    for word in numbers.split_terminator([';', ':']).take(SOCKETS_MAX) {
        let number = word.parse::<RawFd>().ok();
        // The first three are never sockets of this kind, and a number that comes twice has one owner already.
        let fresh = number.filter(|fd| *fd > 2 && sockets.iter().all(|known| known.as_raw_fd() != *fd));
        match fresh.and_then(|fd| adopt(fd).ok()).filter(|socket| socket.is_listener().unwrap_or(false)) {
            Some(socket) => sockets.push(socket),
            None => {
                let text = format!(
                    "invalid socket number \"{word}\" in {VARIABLE} environment variable, ignoring the rest"
                );
                complaint = Some(text);
                break;
            }
        }
    }
    (Bound::inherited(sockets), complaint)
}

/// Listening sockets as another program can inherit them; they close here when this is dropped.
pub struct Handover {
    numbers: Vec<OwnedFd>,
}

impl Handover {
    /// Copies of all sockets of `bound`. The files of Unix sockets are the successor's from now on, unless
    /// [`take_back`].
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn new(bound: &Bound) -> io::Result<Self> {
        let copy = |socket: &Socket| {
            // Unlike the original this one stays open in a program that is started.
            let copy = rustix::io::dup(socket.as_fd())?;
            Ok(copy)
        };
        let numbers = bound.each().map(|listen| copy(&listen.socket)).collect::<io::Result<_>>()?;
        bound.each().for_each(|listen| listen.handed_on.store(true, Ordering::Relaxed));
        Ok(Self { numbers })
    }

    /// The variable's value.
    #[must_use]
    pub fn numbers(&self) -> String {
        self.numbers.iter().map(|fd| format!("{};", fd.as_raw_fd())).collect()
    }
}

/// The successor is gone.
pub fn take_back(bound: &Bound) {
    bound.each().for_each(|listen| listen.handed_on.store(false, Ordering::Relaxed));
}
