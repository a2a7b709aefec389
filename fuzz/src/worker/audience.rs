//! A client that reads its first reply's head, interim replies aside.

use proxy_core::buf::Chunk;
use proxy_core::h1::Parsed;

use super::super::h1_response::Responses;
use super::super::message::Side as _;
use proxy_core::http::Method;

/// What a client has read.
#[derive(Default)]
pub(crate) struct FirstReply {
    bytes: Vec<u8>,
    done: bool,
    /// What was said before anything was heard, as far as it may be HTTP/2's preface.
    said: Vec<u8>,
}

impl FirstReply {
    /// The client says something. Returns all of it once it is HTTP/2's preface, and what follows.
    pub(crate) fn preface(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        if !self.bytes.is_empty() || self.done || self.said.len() >= PREFACE.len() {
            return None;
        }
        self.said.extend_from_slice(bytes);
        self.said.starts_with(PREFACE).then(|| std::mem::take(&mut self.said))
    }

    /// More bytes: asserts that they may begin a reply and are framed without doubt.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        if self.done {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        // The method does not matter for what is checked here: that there is one framing, and no more.
        let mut side = Responses::unlimited(Method::Get);
        while !self.done && !self.bytes.is_empty() {
            let chunk = Chunk::from_vec(self.bytes.clone());
            let text = || self.bytes.escape_ascii().to_string();
            let (head, len) = match side.parse(&chunk) {
                Ok(Parsed::Partial) => return,
                Ok(Parsed::Complete { head, len }) => (head, len),
                Err(error) => panic!("a client reads no reply: {error:?}, {}", text()),
            };
            if let Err(error) = side.decide(&head, len) {
                panic!("a client reads an ambiguous reply: {error:?}, {}", text());
            }
            let status = head.status.expect("a parsed head has one");
            self.done = !status.is_interim() || status.0 == 101;
            self.bytes.drain(..len);
        }
    }
}
