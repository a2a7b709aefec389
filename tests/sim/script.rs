//! What a simulated client or upstream does, one act after the other.

use std::collections::VecDeque;

/// One act.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Writes all of this.
    Write(Vec<u8>),
    /// Waits so many microseconds.
    Pause(u64),
    /// A client waits until it has had so many final replies.
    AwaitReplies(usize),
    /// A client waits for a 100 to its nth request, for the reply, or for a while.
    AwaitContinue(usize),
    /// A client waits for the answer to its handshake; anything but a 101 ends the script.
    AwaitSwitch(usize),
    /// An upstream waits for the end of the request.
    AwaitRequest,
    /// An upstream echoes what comes, until its end.
    Echo,
    /// No more is written.
    Finish,
    /// Closes.
    Close,
    /// Closes with a reset.
    Reset,
    /// Does nothing any more, until the other side ends it.
    Hang,
}

/// A script being played.
pub(crate) struct Script {
    acts: VecDeque<Act>,
    /// When the pause that is being waited for ends.
    until_us: Option<u64>,
}

impl Script {
    pub(crate) fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        Self { acts: acts.into_iter().collect(), until_us: None }
    }

    /// The act that stands now.
    pub(crate) fn current(&mut self) -> Option<&mut Act> {
        self.acts.front_mut()
    }

    /// Goes to the next act.
    pub(crate) fn advance(&mut self) {
        self.acts.pop_front();
        self.until_us = None;
    }

    /// Forgets all that is left.
    pub(crate) fn stop(&mut self) {
        self.acts.clear();
        self.until_us = None;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.acts.is_empty()
    }

    /// How long the current act's wait of `span_us` still takes; the first call starts it.
    pub(crate) fn left_us(&mut self, now_us: u64, span_us: u64) -> u64 {
        let until_us = *self.until_us.get_or_insert(now_us + span_us);
        until_us.saturating_sub(now_us)
    }
}
