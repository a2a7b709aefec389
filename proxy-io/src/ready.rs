//! Who can go on: the wakers of everything that a worker polls by hand, and the list that they write to.
//!
//! A worker is one monoio task that polls many small futures itself. Each of them has a waker that is made once and
//! names it by a [`Token`]. Woken on its own thread (a completion of io_uring, a readiness of epoll, a timer) it puts
//! the token on this thread's list and wakes the task, once per turn. Woken by another thread it goes through the
//! worker's [`Mailbox`].

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use crate::control::{Mailbox, Message};

/// What a waker stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// The slot's reader, or its connecting future.
    Reader(u32),
    /// The slot's writer.
    Writer(u32),
    /// The acceptor at this place.
    Acceptor(u32),
    /// The job at this place: an operation on a file, a name being resolved.
    Job(u32),
    /// The worker's one timer.
    Timer,
    /// The sockets' ring.
    Bell,
}

#[derive(Default)]
struct Local {
    /// The mailbox of the worker that runs on this thread; 0 for none.
    home: Cell<u64>,
    ready: RefCell<Vec<Token>>,
    main: RefCell<Option<Waker>>,
    woken: Cell<bool>,
}

thread_local!(static LOCAL: Local = Local::default());

struct TokenWaker {
    token: Token,
    mailbox: Arc<Mailbox>,
}

impl Wake for TokenWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        LOCAL.with(|local| {
            if local.home.get() != self.mailbox.id() {
                self.mailbox.post(Message::Ready(self.token));
                return;
            }
            local.ready.borrow_mut().push(self.token);
            if !local.woken.replace(true)
                && let Some(main) = &*local.main.borrow()
            {
                main.wake_by_ref();
            }
        });
    }
}

/// A waker that stands for `token` of the worker that reads `mailbox`.
pub(crate) fn waker(token: Token, mailbox: &Arc<Mailbox>) -> Waker {
    Waker::from(Arc::new(TokenWaker { token, mailbox: Arc::clone(mailbox) }))
}

/// Makes this thread the home of the worker that reads `mailbox`; `cx` is its task's.
pub(crate) fn settle(mailbox: &Mailbox, cx: &Context<'_>) {
    LOCAL.with(|local| {
        local.home.set(mailbox.id());
        local.ready.borrow_mut().clear();
        *local.main.borrow_mut() = Some(cx.waker().clone());
    });
    mailbox.settle(cx.waker().clone());
}

/// The worker of this thread is gone.
pub(crate) fn leave(mailbox: &Mailbox) {
    LOCAL.with(|local| {
        local.home.set(0);
        local.ready.borrow_mut().clear();
        *local.main.borrow_mut() = None;
    });
    mailbox.leave();
}

/// A turn begins: from here on a waker wakes the task again.
pub(crate) fn begin_turn() {
    LOCAL.with(|local| local.woken.set(false));
}

/// Takes the list, leaving the memory of `into`, which must be empty, in its place.
pub(crate) fn take(into: &mut Vec<Token>) {
    debug_assert!(into.is_empty());
    LOCAL.with(|local| std::mem::swap(&mut *local.ready.borrow_mut(), into));
}

/// Whether the list is empty.
pub(crate) fn is_idle() -> bool {
    LOCAL.with(|local| local.ready.borrow().is_empty())
}
