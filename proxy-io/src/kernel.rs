//! Everything in the driver that is `unsafe`: memory that the kernel reads and writes, and a few system calls that no
//! library offers safely.
//!
//! The rule for memory is that it stays where it is, and alive, until the kernel has said that it is done. Both follow
//! from how it is owned: an operation of monoio owns the value it was given until its completion arrives (a dropped
//! one leaves it with the runtime until then), and every type here keeps its bytes behind a pointer that does not move
//! with it: a pool's block, a chunk's memory, a vector's heap.

#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;

use monoio::BufResult;
use monoio::buf::{IoBuf, IoBufMut, IoVecBuf};
use monoio::io::{AsyncReadRent as _, AsyncWriteRent as _};
use monoio::net::UnixStream;
use proxy_core::buf::{Buf, Chain, Chunk};
use socket2::{SockRef, Socket as StdSocket};

/// How many slices one vectored write takes; the kernel's own bound is 1024.
pub(crate) const SLICES_MAX: usize = 64;

/// Counts the values of a kind that the kernel holds.
#[derive(Clone, Default)]
pub(crate) struct Held(Rc<Cell<usize>>);

impl Held {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.get()
    }

    fn one(&self) -> Hold {
        self.0.set(self.0.get() + 1);
        Hold(self.clone())
    }
}

/// One of them; it is counted until it is dropped.
struct Hold(Held);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}

/// A buffer that the kernel fills, at most `len` bytes of its room.
pub(crate) struct Filling {
    buf: Buf,
    len: usize,
    _hold: Hold,
}

impl Filling {
    /// Lends `buf` out.
    pub(crate) fn new(buf: Buf, len_max: usize, held: &Held) -> Self {
        let len = buf.spare().min(len_max);
        Self { buf, len, _hold: held.one() }
    }

    /// The buffer, with what was read.
    pub(crate) fn into_buf(self) -> Buf {
        self.buf
    }
}

// SAFETY: the pointer leads into a pool's block, which is heap memory of fixed size that only this `Buf` refers to, so
// it is writable, stays where it is when `self` moves, and lives as long as `self`. `len` is at most the room behind it.
unsafe impl IoBufMut for Filling {
    fn write_ptr(&mut self) -> *mut u8 {
        self.buf.spare_mut().as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.len
    }

    unsafe fn set_init(&mut self, pos: usize) {
        self.buf.advance(pos.min(self.len));
    }
}

/// A chunk that the kernel reads from `start` on.
pub(crate) struct Reading {
    chunk: Chunk,
    start: usize,
    _hold: Hold,
}

impl Reading {
    /// Lends `chunk` out.
    pub(crate) fn new(chunk: Chunk, start: usize, held: &Held) -> Self {
        Self { chunk, start, _hold: held.one() }
    }
}

// SAFETY: a chunk's bytes never change and do not move with it; `self` keeps them alive.
unsafe impl IoBuf for Reading {
    fn read_ptr(&self) -> *const u8 {
        self.chunk.get(self.start..).unwrap_or_default().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.chunk.len().saturating_sub(self.start)
    }
}

/// A chain of which the kernel reads the first chunk.
struct SendOne {
    chain: Chain,
    _hold: Hold,
}

// SAFETY: as for `Reading`; the chain is not touched while the kernel has it.
unsafe impl IoBuf for SendOne {
    fn read_ptr(&self) -> *const u8 {
        self.chain.chunks().first().map_or(std::ptr::dangling(), |chunk| chunk.as_ptr())
    }

    fn bytes_init(&self) -> usize {
        self.chain.chunks().first().map_or(0, |chunk| chunk.len())
    }
}

/// The list of a vectored write's slices. Its memory serves one write after the other.
#[derive(Default)]
pub(crate) struct Slices(Vec<libc::iovec>);

/// A chain whose first chunks the kernel reads.
struct SendMany {
    chain: Chain,
    slices: Slices,
    _hold: Hold,
}

impl SendMany {
    fn new(chain: Chain, mut slices: Slices, held: &Held) -> Self {
        slices.0.clear();
        slices.0.extend(
            chain.chunks().iter().take(SLICES_MAX).map(|chunk| libc::iovec {
                iov_base: chunk.as_ptr().cast_mut().cast(),
                iov_len: chunk.len(),
            }),
        );
        Self { chain, slices, _hold: held.one() }
    }
}

// SAFETY: the list is on the vector's heap, which does not move with `self`; each entry describes a chunk of `chain`,
// whose bytes do not move either, and the chain is not touched while the kernel has it. The kernel only reads.
unsafe impl IoVecBuf for SendMany {
    fn read_iovec_ptr(&self) -> *const libc::iovec {
        self.slices.0.as_ptr()
    }

    fn read_iovec_len(&self) -> usize {
        self.slices.0.len()
    }
}

/// A connected socket, read by one future and written by another.
///
/// monoio's operations are the same for every stream socket; its `UnixStream` is the type that keeps nothing beside the
/// descriptor.
pub(crate) struct Socket {
    stream: UnsafeCell<UnixStream>,
}

impl Socket {
    /// Takes a connected socket over, of datagrams too: they are read and written like a stream. The driver's epoll mode wants it nonblocking, io_uring blocking.
    pub(crate) fn new(socket: StdSocket) -> io::Result<Self> {
        let stream = UnixStream::from_std(StdStream::from(OwnedFd::from(socket)))?;
        Ok(Self { stream: UnsafeCell::new(stream) })
    }

    /// Takes it away from monoio. No operation may be in flight on it.
    pub(crate) fn into_std(self) -> StdSocket {
        let fd = self.stream.into_inner().into_raw_fd();
        // SAFETY: monoio has just given the descriptor up.
        StdSocket::from(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    #[allow(clippy::mut_from_ref)]
    fn stream(&self) -> &mut UnixStream {
        // SAFETY: monoio's `Split` promise for this type: its reads and writes only clone the counted descriptor before
        // they return their future, which does not keep the reference. Everything is on one thread, and no reference
        // made here outlives the statement that asked for it.
        unsafe { &mut *self.stream.get() }
    }

    /// For socket options and addresses.
    pub(crate) fn options(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    /// Waits until there is something to read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.stream().readable(false).await
    }

    /// Waits until there is room to write, which for a connecting socket is the end of connecting.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.stream().writable(false).await
    }

    /// Reads once.
    pub(crate) async fn recv(&self, memory: Filling) -> BufResult<usize, Filling> {
        self.stream().read(memory).await
    }

    /// Writes the first chunk of `chain`, or a part of it.
    pub(crate) async fn send_one(&self, chain: Chain, held: &Held) -> (io::Result<usize>, Chain) {
        let (result, sent) = self.stream().write(SendOne { chain, _hold: held.one() }).await;
        (result, sent.chain)
    }

    /// Writes the first [`SLICES_MAX`] chunks of `chain`, or a part of them.
    pub(crate) async fn send_many(
        &self,
        chain: Chain,
        slices: Slices,
        held: &Held,
    ) -> (io::Result<usize>, Chain, Slices) {
        let (result, sent) = self.stream().writev(SendMany::new(chain, slices, held)).await;
        (result, sent.chain, sent.slices)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream owns the descriptor and closes it only when it is dropped, with `self`.
        unsafe { BorrowedFd::borrow_raw(self.stream().as_raw_fd()) }
    }
}

/// This thread's number in the kernel, for log lines.
pub(crate) fn thread_id() -> i32 {
    thread_local!(static TID: i32 = {
        // SAFETY: takes nothing and cannot fail.
        unsafe { libc::gettid() }
    });
    TID.with(|tid| *tid)
}

/// The local time's fields at `unix_s`, and its offset from UTC in seconds.
pub(crate) struct LocalTime {
    pub(crate) year: i32,
    pub(crate) month: i32,
    pub(crate) day: i32,
    pub(crate) hour: i32,
    pub(crate) minute: i32,
    pub(crate) second: i32,
    pub(crate) utc_offset_s: i32,
}

/// `localtime_r(3)`
pub(crate) fn local_time(unix_s: u64) -> LocalTime {
    let time = libc::time_t::try_from(unix_s).unwrap_or_default();
    // SAFETY: an all-zero `tm` is a valid one (its zone name is a null pointer, which nobody reads).
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers lead to live values of the right type.
    unsafe { libc::localtime_r(&raw const time, &raw mut tm) };
    LocalTime {
        year: tm.tm_year + 1900,
        month: tm.tm_mon + 1,
        day: tm.tm_mday,
        hour: tm.tm_hour,
        minute: tm.tm_min,
        second: tm.tm_sec,
        utc_offset_s: i32::try_from(tm.tm_gmtoff).unwrap_or_default(),
    }
}

/// Takes over a descriptor that this process was started with.
pub(crate) fn adopt(number: RawFd) -> io::Result<StdSocket> {
    // SAFETY: takes numbers only; it fails for one that is not open. Programs that this one starts do not get it.
    let status = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and whoever started this process says that it is for us; the caller asks once for each.
    Ok(StdSocket::from(unsafe { OwnedFd::from_raw_fd(number) }))
}

/// Clears `O_NONBLOCK`.
pub(crate) fn set_blocking(file: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: takes numbers only; the descriptor is open as long as the borrow.
    let status = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, 0) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `TCP_DEFER_ACCEPT`: a connection is accepted when its first bytes are there (`listen … deferred`).
pub(crate) fn set_defer_accept(socket: &StdSocket) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT)
}

/// `IPV6_TRANSPARENT`: the socket may bind to an address that is not this machine's.
pub(crate) fn set_transparent_v6(socket: &StdSocket) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT)
}

/// `IP_BIND_ADDRESS_NO_PORT`: binding to port 0 leaves the choice of a port to `connect`.
pub(crate) fn set_bind_address_no_port(socket: &StdSocket) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT)
}

/// Sets an option that takes an `int` to 1.
fn set_option(socket: &StdSocket, level: libc::c_int, name: libc::c_int) -> io::Result<()> {
    let value: libc::c_int = 1;
    let len = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or_default();
    // SAFETY: the descriptor is open, and the value is an `int` of the length given.
    let status = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
