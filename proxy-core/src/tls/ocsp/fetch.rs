//! One question to a responder: a connection of its own, one request of HTTP/1.0, one reply.
//!
//! ```text
//! Connecting ─► Head ─► Body ─► answered
//!     └───────────┴───────┴─ failed, or timed out; the next address, where it was the connection
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::buf::Chunk;
use crate::command::{Address, CloseHow, Command, Completion, ConnId, ConnectOptions, Room};
use crate::conn::Link;
use crate::conn::link::Ended;
use crate::error::UpstreamError;
use crate::exchange::context::{Conn, Context};
use crate::h1::body::{BodyDecoder, Decoded};
use crate::h1::{Parsed, ResponseLimits, parse_response};
use crate::http::framing::response_framing;
use crate::http::{HeaderId, Method, Status};
use crate::time::Millis;
use crate::timer::Reason;

/// How long a responder has for all of it: nginx's bound for each step.
pub(super) const TIMEOUT: Millis = Millis::from_secs(60);
/// How large an answer may be, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How large its head may be, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const FIELDS_MAX: usize = 100;
/// What an answer is sent as.
const CONTENT_TYPE: &[u8] = b"application/ocsp-response";

/// Whom to ask, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Responder {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    /// From the first slash on.
    pub(crate) path: Box<str>,
}

impl Responder {
    /// The responder of a URL.
    ///
    /// # Errors
    /// nginx's words for what is wrong with it.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        let head = url.get(.."http://".len()).filter(|head| head.eq_ignore_ascii_case("http://"));
        let rest = head.and_then(|head| url.get(head.len()..)).ok_or("invalid URL prefix")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| "invalid port")?),
            _ => (authority, 80),
        };
        let bad = |byte: u8| byte <= b' ' || byte >= 0x7f;
        if host.is_empty() || url.bytes().any(bad) || port == 0 {
            return Err("invalid host");
        }
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { host: host.into(), port, path: path.into() })
    }

    /// A question for it: GET, as nginx asks, so that caches on the way may answer.
    fn request(&self, question: &[u8]) -> Vec<u8> {
        let mut out = b"GET ".to_vec();
        out.extend_from_slice(self.path.as_bytes());
        if !self.path.ends_with('/') {
            out.push(b'/');
        }
        for byte in BASE64.encode(question).bytes() {
            match byte {
                b'+' => out.extend_from_slice(b"%2B"),
                b'/' => out.extend_from_slice(b"%2F"),
                b'=' => out.extend_from_slice(b"%3D"),
                byte => out.push(byte),
            }
        }
        out.extend_from_slice(b" HTTP/1.0\r\nHost: ");
        out.extend_from_slice(self.host.as_bytes());
        if self.port != 80 {
            out.extend_from_slice(format!(":{}", self.port).as_bytes());
        }
        out.extend_from_slice(b"\r\n\r\n");
        out
    }
}

/// A question under way.
pub(crate) struct Fetch {
    link: Link,
    request: Vec<u8>,
    /// Where else it may be asked, the next one last.
    others: Vec<Address>,
    /// Whom the present attempt is at.
    pub(super) peer: Address,
    has_head: bool,
    decoder: BodyDecoder,
    answer: Vec<u8>,
}

/// How a question ended: with an answer, or with words for why not.
pub(super) type Outcome = Result<Vec<u8>, String>;

impl Fetch {
    /// Asks the first of these addresses that can be reached. Returns the connection's key.
    pub(super) fn begin(
        responder: &Responder,
        question: &[u8],
        mut addresses: Vec<Address>,
        ctx: &mut Context,
    ) -> Option<ConnId> {
        addresses.reverse();
        let peer = addresses.pop()?;
        Some(Self::connect(responder.request(question), peer, addresses, ctx))
    }

    fn connect(request: Vec<u8>, peer: Address, others: Vec<Address>, ctx: &mut Context) -> ConnId {
        let id = ConnId(ctx.conns.insert(Conn::Driven));
        let (address, options) = (peer.clone(), ConnectOptions::default());
        ctx.commands.push_back(Command::Connect { conn: id, address, options });
        let (decoder, answer) = (BodyDecoder::Ended, Vec::new());
        let mut fetch =
            Box::new(Self { link: Link::new(id), request, others, peer, has_head: false, decoder, answer });
        fetch.link.set_deadline(TIMEOUT, Reason::Staple, ctx);
        if let Some(slot) = ctx.conns.get_mut(id.0) {
            *slot = Conn::Fetch(fetch);
        }
        id
    }

    /// The connection was of no use: asks at the next address, if there is one. Returns the new key.
    pub(super) fn next(&mut self, ctx: &mut Context) -> Option<ConnId> {
        let peer = self.others.pop().filter(|_| !self.has_head)?;
        let (request, others) = (core::mem::take(&mut self.request), core::mem::take(&mut self.others));
        Some(Self::connect(request, peer, others, ctx))
    }

    /// Something happened to the connection. How it ended, if it did.
    pub(super) fn handle_completion(&mut self, completion: Completion, ctx: &mut Context) -> Option<Outcome> {
        match completion {
            Completion::Connect { result: Err(error), .. } => {
                return Some(Err(UpstreamError::Connect(error).to_string()));
            }
            Completion::Connect { result: Ok(_), .. } => {
                self.link.queue(Chunk::from_vec(self.request.clone()));
            }
            Completion::Recv { result, .. } => self.link.handle_recv(result, ctx),
            Completion::Send { chain, result, .. } => self.link.handle_sent(chain, result),
            Completion::OpenFile { .. }
            | Completion::ReadFile { .. }
            | Completion::WriteFile { .. }
            | Completion::Verify { .. }
            | Completion::ListDirectory { .. }
            | Completion::RenameFile { .. }
            | Completion::FreeSpace { .. }
            | Completion::Resolve { .. } => {}
        }
        self.link.flush(ctx);
        let read = if self.has_head { Ok(()) } else { self.read_head() };
        let ended = read.and_then(|()| if self.has_head { self.read_body() } else { self.look_for_end() });
        match ended {
            Err(error) => Some(Err(error)),
            Ok(true) => Some(Ok(core::mem::take(&mut self.answer))),
            Ok(false) => {
                self.link.want_recv(Room::Large, ctx);
                None
            }
        }
    }

    /// Whether its time is over.
    pub(super) fn is_late(&mut self, ctx: &mut Context) -> bool {
        let id = self.link.id;
        self.link.deadline.fired(&mut ctx.timers, id, ctx.now.instant).is_some()
    }

    pub(super) fn close(&mut self, ctx: &mut Context) {
        self.link.close(CloseHow::Graceful, ctx);
    }

    fn look_for_end(&self) -> Result<bool, String> {
        match self.link.ended() {
            None => Ok(false),
            Some(Ended::Eof) => Err("OCSP responder prematurely closed connection".into()),
            Some(Ended::Failed(error)) => Err(UpstreamError::Recv(error).to_string()),
        }
    }

    fn read_head(&mut self) -> Result<(), String> {
        let limits = ResponseLimits { total_bytes_max: HEAD_BYTES_MAX, fields_max: FIELDS_MAX };
        let Some(mut bytes) = self.link.take_head_input() else { return Ok(()) };
        let mut fields = Vec::new();
        let head = match parse_response(&bytes, &mut fields, &limits) {
            Err(_) => return Err("OCSP responder sent invalid response".into()),
            Ok(Parsed::Partial) => {
                self.link.gather(&bytes);
                return Ok(());
            }
            Ok(Parsed::Complete { head, len }) => {
                bytes.advance(len);
                self.link.put_back(bytes);
                head
            }
        };
        if head.status != Some(Status::OK) {
            let status = head.status.map_or(0, |status| status.0);
            return Err(format!("OCSP responder sent invalid \"Status\": {status}"));
        }
        let kind = head.value(HeaderId::ContentType).unwrap_or_default();
        if !kind.eq_ignore_ascii_case(CONTENT_TYPE) {
            let kind = kind.escape_ascii();
            return Err(format!("OCSP responder sent invalid \"Content-Type\" header: \"{kind}\""));
        }
        let meta = response_framing(&head, Method::Get).map_err(|error| error.to_string())?;
        self.decoder = BodyDecoder::new(meta.framing);
        self.has_head = true;
        Ok(())
    }

    /// Reads more of the answer. Returns whether that is all.
    fn read_body(&mut self) -> Result<bool, String> {
        // Bounded by the bytes at hand.
        loop {
            match self.decoder.decode(self.link.inbox()) {
                Err(_) => return Err("OCSP responder sent invalid response".into()),
                Ok(Decoded::End(_)) => return Ok(true),
                Ok(Decoded::NeedMore) => break,
                Ok(Decoded::Data(data)) => {
                    self.answer.extend_from_slice(&data);
                    if self.answer.len() > ANSWER_BYTES_MAX {
                        return Err("OCSP responder sent too large response".into());
                    }
                    if self.decoder.is_ended() {
                        return Ok(true);
                    }
                }
            }
        }
        if self.decoder.ends_with_connection() && self.link.ended() == Some(Ended::Eof) {
            return Ok(true);
        }
        self.look_for_end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_responders() {
        let parts =
            |url| Responder::parse(url).map(|found| format!("{} {} {}", found.host, found.port, found.path));
        assert_eq!(parts("http://a.test"), Ok("a.test 80 /".into()));
        assert_eq!(parts("HTTP://a.test:8080/ocsp"), Ok("a.test 8080 /ocsp".into()));
        assert_eq!(parts("http://[::1]:81/x/"), Ok("[::1] 81 /x/".into()));
        assert_eq!(parts("http://[::1]"), Ok("[::1] 80 /".into()));
        assert_eq!(parts("https://a.test"), Err("invalid URL prefix"));
        assert_eq!(parts("http://a:b"), Err("invalid port"));
        assert_eq!(parts("http:///x"), Err("invalid host"));
        assert_eq!(parts("http://a b/"), Err("invalid host"));
    }

    #[test]
    fn a_question_goes_into_the_path() {
        let responder = Responder::parse("http://a.test:81/ocsp").unwrap();
        let text = String::from_utf8(responder.request(&[0xfb, 0xff, 1])).unwrap();
        assert_eq!(text, "GET /ocsp/%2B%2F8B HTTP/1.0\r\nHost: a.test:81\r\n\r\n");
    }
}
