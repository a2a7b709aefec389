//! What a worker waits for beside its sockets: files and names. One future for each operation in flight.
//!
//! Unlike a socket's, these are never dropped half-way: a file that was being opened when the core lost interest is
//! opened, and then closed.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proxy_core::access::password;
use proxy_core::buf::Chain;
use proxy_core::command::{Completion, FileFinish, FileId, FileInfo, IoError, OpenMode, ResolveId, VerifyId};

use crate::blocking::PASSWORDS;
use crate::conn::{BoxFuture, Shelf};
use crate::control::Mailbox;
use crate::directory;
use crate::file::{self, Handle};
use crate::place;
use crate::ready::{Token, waker};
use crate::resolve::resolve;

/// `EBADF`: an operation on a file that is not open.
const NOT_OPEN: IoError = IoError { errno: libc::EBADF };

/// The files of a worker and the operations on them.
pub(crate) struct Jobs {
    shelf: Rc<Shelf>,
    mailbox: Arc<Mailbox>,
    ring: bool,
    /// By the index of their key.
    files: Vec<Option<OpenFile>>,
    jobs: Vec<Job>,
    free: Vec<u32>,
}

struct OpenFile {
    id: FileId,
    /// None until it is open.
    handle: Option<Handle>,
}

struct Job {
    waker: Waker,
    future: Option<BoxFuture<Done>>,
}

enum Done {
    Opened { file: FileId, result: Result<(Handle, FileInfo), IoError> },
    Other(Completion),
    Nothing,
}

impl Jobs {
    pub(crate) const fn new(shelf: Rc<Shelf>, mailbox: Arc<Mailbox>, ring: bool) -> Self {
        Self { shelf, mailbox, ring, files: Vec::new(), jobs: Vec::new(), free: Vec::new() }
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.free.len() == self.jobs.len()
    }

    pub(crate) fn open(&mut self, id: FileId, path: Arc<[u8]>, mode: OpenMode) {
        let index = id.0.index as usize;
        if self.files.len() <= index {
            self.files.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.files.get_mut(index) {
            *slot = Some(OpenFile { id, handle: None });
        }
        let ring = self.ring;
        self.start(async move { Done::Opened { file: id, result: file::open(path, mode, ring).await } });
    }

    pub(crate) fn read(&mut self, id: FileId, offset: u64, len: usize) {
        let handle = self.handle(id);
        let shelf = Rc::clone(&self.shelf);
        self.start(async move {
            let result = match handle {
                Some(handle) => file::read(handle, offset, len, shelf).await,
                None => Err(NOT_OPEN),
            };
            Done::Other(Completion::ReadFile { file: id, result })
        });
    }

    pub(crate) fn write(&mut self, id: FileId, offset: u64, chain: Chain) {
        let handle = self.handle(id);
        let shelf = Rc::clone(&self.shelf);
        self.start(async move {
            let result = match handle {
                Some(handle) => file::write(handle, offset, &chain, &shelf.sending).await,
                None => Err(NOT_OPEN),
            };
            Done::Other(Completion::WriteFile { file: id, chain, result })
        });
    }

    pub(crate) fn list(&mut self, id: FileId, path: Arc<[u8]>) {
        self.start(async move {
            Done::Other(Completion::ListDirectory { file: id, result: directory::list(path).await })
        });
    }

    pub(crate) fn rename(&mut self, id: FileId, from: Arc<[u8]>, to: Arc<[u8]>, finish: Option<FileFinish>) {
        self.start(async move {
            Done::Other(Completion::RenameFile { file: id, result: place::rename(from, to, finish).await })
        });
    }

    pub(crate) fn remove(&mut self, path: Arc<[u8]>) {
        self.start(async move {
            place::remove(path).await;
            Done::Nothing
        });
    }

    pub(crate) fn free_space(&mut self, id: FileId, path: Arc<[u8]>) {
        self.start(async move {
            Done::Other(Completion::FreeSpace { file: id, result: place::free_space(path).await })
        });
    }

    /// Forgets the key; the descriptor closes with the last operation on it.
    pub(crate) fn close(&mut self, id: FileId) {
        if let Some(slot) = self.files.get_mut(id.0.index as usize)
            && slot.as_ref().is_some_and(|open| open.id == id)
        {
            *slot = None;
        }
    }

    pub(crate) fn verify(&mut self, id: VerifyId, password: Box<[u8]>, stored: Box<[u8]>) {
        self.start(async move {
            let matches = PASSWORDS.run(move || password::matches(&password, &stored)).await.ok();
            Done::Other(Completion::Verify { id, matches })
        });
    }

    pub(crate) fn resolve(&mut self, id: ResolveId, name: Arc<str>) {
        self.start(async move { Done::Other(Completion::Resolve { id, result: resolve(name).await }) });
    }

    /// Lets a job go on.
    pub(crate) fn poll(&mut self, index: u32) {
        let Some(job) = self.jobs.get_mut(index as usize) else { return };
        let Some(future) = &mut job.future else { return };
        let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&job.waker)) else { return };
        job.future = None;
        self.free.push(index);
        let completion = match done {
            Done::Nothing => return,
            Done::Other(completion) => completion,
            Done::Opened { file, result } => {
                let result = result.map(|(handle, info)| {
                    self.keep(file, handle);
                    info
                });
                Completion::OpenFile { file, result }
            }
        };
        self.shelf.complete(completion);
    }

    /// Lets every job go on, for the end of a worker.
    pub(crate) fn poll_all(&mut self) {
        for index in 0..u32::try_from(self.jobs.len()).unwrap_or(u32::MAX) {
            self.poll(index);
        }
    }

    fn start(&mut self, future: impl Future<Output = Done> + 'static) {
        let future: Option<BoxFuture<Done>> = Some(Box::pin(future));
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.jobs.len()).unwrap_or(u32::MAX);
                self.jobs.push(Job { waker: waker(Token::Job(index), &self.mailbox), future: None });
                index
            }
        };
        if let Some(job) = self.jobs.get_mut(index as usize) {
            job.future = future;
        }
        self.poll(index);
    }

    fn keep(&mut self, id: FileId, handle: Handle) {
        if let Some(Some(open)) = self.files.get_mut(id.0.index as usize)
            && open.id == id
        {
            open.handle = Some(handle);
        }
    }

    fn handle(&self, id: FileId) -> Option<Handle> {
        let open = self.files.get(id.0.index as usize)?.as_ref()?;
        if open.id == id { open.handle.clone() } else { None }
    }
}
