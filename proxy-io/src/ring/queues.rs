//! The ring itself: its two queues, the system call, and the eventfd that wakes the thread out of monoio's wait.
//!
//! With `DEFER_TASKRUN` the kernel finishes an operation only inside our own system call. When one is ready to be
//! finished it sets a flag that we can read ([`Queues::is_due`]), and writes to the eventfd, unless we forbade that
//! because we are looking anyway ([`Queues::quiet`]).

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering, fence};

use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, squeue, types};

use super::buffers::{Group, Sending};

/// Submission entries: how many operations may be started before the kernel must be called early.
const SUBMISSION_ENTRIES: u32 = 1024;
/// Completion entries: how many completions fit before the kernel must set them aside.
const COMPLETION_ENTRIES: u32 = 8192;
/// `IORING_ENTER_GETEVENTS`
const GET_EVENTS: u32 = 1;
/// `IORING_CQ_EVENTFD_DISABLED`
const EVENTFD_DISABLED: u32 = 1;
/// `IORING_OFF_CQ_RING`
const COMPLETION_RING: libc::off_t = 0x800_0000;
const _: () = assert!(size_of::<Entry>() == 64);
/// The name of operations whose completion nobody waits for.
pub(super) const NOBODY: u64 = u64::MAX;

/// What became of an operation.
pub(super) struct Done {
    /// The name that it was given.
    pub(super) name: u64,
    /// Its result, or a negative error number.
    pub(super) result: i32,
    /// The provided buffer that it took.
    pub(super) buffer: Option<u16>,
    /// More could have been read.
    pub(super) more: bool,
    /// The operation goes on: this was not its last completion.
    pub(super) goes_on: bool,
}

/// A ring of this thread.
pub(crate) struct Queues {
    ring: IoUring,
    event: File,
    flags: Flags,
    /// What the queue had no room for, in its order.
    backlog: VecDeque<Entry>,
}

impl Queues {
    /// A ring for this thread; an error where this kernel or its rules do not allow one.
    pub(crate) fn new() -> io::Result<Self> {
        let mut setup = IoUring::builder();
        setup.setup_cqsize(COMPLETION_ENTRIES).setup_single_issuer().setup_defer_taskrun();
        setup.setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
        let ring = setup.build(SUBMISSION_ENTRIES)?;
        let flags = Flags::of(&ring)?;
        // SAFETY: takes numbers only.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it for us.
        let event = File::from(unsafe { OwnedFd::from_raw_fd(event) });
        ring.submitter().register_eventfd(event.as_raw_fd())?;
        Ok(Self { ring, event, flags, backlog: VecDeque::new() })
    }

    /// The eventfd; a blocking one.
    pub(super) const fn event(&self) -> &File {
        &self.event
    }

    /// Lets the kernel take buffers from `group`, which lives until [`Queues::revoke`].
    pub(super) fn provide(&self, group: &Group) -> io::Result<()> {
        // SAFETY: the group's memory is aligned to a page, has that many entries and stays where it is. Its owner
        // revokes it before it drops it.
        unsafe { self.ring.submitter().register_buf_ring(group.address(), group.entries(), group.id()) }
    }

    /// Ends it.
    pub(super) fn revoke(&self, group: &Group) -> io::Result<()> {
        self.ring.submitter().unregister_buf_ring(group.id())
    }

    /// Starts to read into a buffer of `group`. `drained` is for a socket that is known to have nothing yet: the kernel
    /// waits first and does not try in vain.
    pub(super) fn recv(&mut self, socket: BorrowedFd<'_>, group: &Group, drained: bool, name: u64) {
        let fd = types::Fd(socket.as_raw_fd());
        let entry = opcode::Recv::new(fd, std::ptr::null_mut(), 0).buf_group(group.id()).build();
        let mut entry = entry.flags(squeue::Flags::BUFFER_SELECT).user_data(name);
        if drained {
            set_priority(&mut entry, POLL_FIRST);
        }
        self.push(&entry);
    }

    /// Starts to read again and again, with a completion and a buffer of `group` each time, until it is cancelled, the
    /// stream ends or the group runs out.
    pub(super) fn recv_on(&mut self, socket: BorrowedFd<'_>, group: &Group, name: u64) {
        let fd = types::Fd(socket.as_raw_fd());
        let mut entry = opcode::RecvMulti::new(fd, group.id()).build().user_data(name);
        set_priority(&mut entry, POLL_FIRST | RECV_MULTISHOT);
        self.push(&entry);
    }

    /// Starts to write. Whoever calls keeps `sending` untouched until its completion is in.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, sending: &Sending, name: u64) {
        let fd = types::Fd(socket.as_raw_fd());
        let entry = match sending.message() {
            Some(message) => {
                opcode::SendMsg::new(fd, message).flags(libc::MSG_NOSIGNAL.cast_unsigned()).build()
            }
            None => {
                let bytes = sending.first();
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                opcode::Send::new(fd, bytes.as_ptr(), len).flags(libc::MSG_NOSIGNAL).build()
            }
        };
        self.push(&entry.user_data(name));
    }

    /// Asks for the end of the operation with this name.
    pub(super) fn cancel(&mut self, name: u64) {
        self.push(&opcode::AsyncCancel::new(name).build().user_data(NOBODY));
    }

    fn push(&mut self, entry: &Entry) {
        if self.backlog.is_empty() && self.try_push(entry) {
            return;
        }
        // The queue is full: hand it over once. Where the kernel takes nothing now (no memory, completions to be read
        // first), the entry waits in its turn; there are at most a few for each connection.
        self.backlog.push_back(entry.clone());
        let _ = self.enter();
        self.push_backlog();
    }

    fn try_push(&mut self, entry: &Entry) -> bool {
        // SAFETY: what the entry points to is a group's or a `Sending`'s memory, which stays where it is until the
        // completion is in.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    fn push_backlog(&mut self) {
        while let Some(entry) = self.backlog.pop_front() {
            if !self.try_push(&entry) {
                return self.backlog.push_front(entry);
            }
        }
    }

    /// Whether a system call would bring anything about.
    pub(super) fn is_due(&mut self) -> bool {
        let submission = self.ring.submission();
        !self.backlog.is_empty() || !submission.is_empty() || submission.taskrun() || submission.cq_overflow()
    }

    /// Whether completions are there to be taken.
    pub(super) fn is_done(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    /// Hands the kernel what was started and lets it finish what is ready, without waiting.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        self.push_backlog();
        let len = u32::try_from(self.ring.submission().len()).unwrap_or(u32::MAX);
        // SAFETY: no signal set is passed, and the entries were checked when they were pushed.
        let result = unsafe { self.ring.submitter().enter::<libc::sigset_t>(len, 0, GET_EVENTS, None) };
        result.map(drop)
    }

    /// Takes what is done.
    pub(super) fn take(&mut self, into: &mut Vec<Done>) {
        into.extend(self.ring.completion().map(|entry| Done {
            name: entry.user_data(),
            result: entry.result(),
            buffer: io_uring::cqueue::buffer_select(entry.flags()),
            more: io_uring::cqueue::sock_nonempty(entry.flags()),
            goes_on: io_uring::cqueue::more(entry.flags()),
        }));
    }

    /// Whether the eventfd stays silent.
    pub(super) fn quiet(&self, quiet: bool) {
        self.flags.0.store(if quiet { EVENTFD_DISABLED } else { 0 }, Ordering::Relaxed);
        // The kernel announces work first and reads the flag then; we write the flag first and look for work then.
        fence(Ordering::SeqCst);
    }
}

/// `IORING_RECVSEND_POLL_FIRST`
const POLL_FIRST: u16 = 1;
/// `IORING_RECV_MULTISHOT`
const RECV_MULTISHOT: u16 = 2;

/// Sets `ioprio`, for which the library has no setter on these operations.
fn set_priority(entry: &mut Entry, flags: u16) {
    const PRIORITY_OFFSET: usize = 2;
    // SAFETY: an entry is the kernel's `io_uring_sqe`, 64 bytes aligned to 8, with two bytes of `ioprio` at this place.
    unsafe { (&raw mut *entry).byte_add(PRIORITY_OFFSET).cast::<u16>().write(flags) };
}

/// The completion queue's flags, the one word of it that the library does not let us write.
struct Flags(&'static AtomicU32, *mut libc::c_void, usize);

impl Flags {
    fn of(ring: &IoUring) -> io::Result<Self> {
        let offset = offset_of_flags()?;
        let len = offset + size_of::<u32>();
        // SAFETY: asks for a new mapping and leaves the others alone.
        let place = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_SHARED, ring.as_raw_fd(), COMPLETION_RING)
        };
        if place == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel says that the word is there, aligned; it is inside the mapping, which stays until `self` is
        // dropped, and both sides write it only whole.
        let word = unsafe { AtomicU32::from_ptr(place.byte_add(offset).cast()) };
        Ok(Self(word, place, len))
    }
}

impl Drop for Flags {
    fn drop(&mut self) {
        // SAFETY: our mapping, and nobody refers to it any more.
        unsafe { libc::munmap(self.1, self.2) };
    }
}

/// Where the kernel keeps that word, which it tells whoever makes a ring: `io_uring_params.cq_off.flags`.
fn offset_of_flags() -> io::Result<usize> {
    const PARAMS_WORDS: usize = 30;
    const CQ_OFF_FLAGS: usize = 26;
    let mut params = [0_u32; PARAMS_WORDS];
    // SAFETY: the parameters are 120 bytes, zeroed, and live across the call.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made it for us.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    let offset = params.get(CQ_OFF_FLAGS).copied().unwrap_or_default() as usize;
    if offset == 0 || !offset.is_multiple_of(size_of::<u32>()) {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    Ok(offset)
}
