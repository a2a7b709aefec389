//! A server's end of a connection that an active check has made: it answers as the server's state of health has it.

use crate::net::PeerEnd;
use crate::pipe::End;
use crate::plan::Plan;
use crate::sickness::Trouble;

const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell";

/// What the core must have asked, less the fields that the site sets.
const LINE: &str = "GET /health HTTP/1.";

/// One connection.
pub(crate) struct Checked {
    server: usize,
    asked: Vec<u8>,
    unsent: Vec<u8>,
    /// What is done when all is sent, or at this time.
    then: Then,
    pub(crate) done: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Read,
    Reply(u64),
    Reset,
    Hang,
}

impl Checked {
    pub(crate) fn new(server: usize) -> Self {
        Self { server, asked: Vec::new(), unsent: Vec::new(), then: Then::Read, done: false }
    }

    /// Does what can be done now.
    pub(crate) fn step(&mut self, end: &mut PeerEnd<'_>, plan: &Plan) {
        if self.done {
            return;
        }
        let bytes = end.read(usize::MAX);
        self.asked.extend(bytes);
        if self.then == Then::Read && self.asked.ends_with(b"\r\n\r\n") {
            self.answer(end, plan);
        }
        if let Then::Reply(at_us) = self.then {
            match at_us.checked_sub(end.clock.now_us()).filter(|left| *left > 0) {
                Some(left_us) => end.wake_in(left_us),
                None => (self.unsent, self.then) = (REPLY.to_vec(), Then::Read),
            }
        }
        let sent = end.write(&self.unsent);
        self.unsent.drain(..sent);
        if self.then == Then::Reset && self.unsent.is_empty() {
            end.reset();
            self.done = true;
        } else if end.end() != End::Open {
            end.close();
            self.done = true;
        }
    }

    fn answer(&mut self, end: &PeerEnd<'_>, plan: &Plan) {
        assert!(self.asked.starts_with(LINE.as_bytes()), "a check asks for {}", self.asked.escape_ascii());
        let fields = std::mem::take(&mut self.asked);
        let host = format!("\r\nHost: {}\r\n", crate::config::HOST);
        let text = String::from_utf8_lossy(&fields);
        assert!(text.contains(&host) && !text.contains("X-Real-IP"), "a check's fields: {text}");
        let now_us = end.clock.now_us();
        self.then = match plan.sickness[self.server].now(now_us) {
            Some(Trouble::Dead) => Then::Reset,
            Some(Trouble::Hangs) => Then::Hang,
            Some(Trouble::Resets(bytes)) => {
                self.unsent = REPLY[..bytes.min(REPLY.len() - 1)].to_vec();
                Then::Reset
            }
            Some(Trouble::Refuses) => {
                self.unsent = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_vec();
                Then::Read
            }
            Some(Trouble::Slow(us)) => Then::Reply(now_us + us),
            None => Then::Reply(now_us),
        };
    }
}
