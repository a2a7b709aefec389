//! A whole worker, and completions in any order that the rules of `command.rs` allow.
//!
//! The first byte chooses the site, the rest is read action by action: who arrives, what completes and how, when the
//! clock jumps. [`rig`] holds the worker to the rules; in the end everything is closed and nothing may be left.

mod audience;
pub(crate) mod h2_client;
pub(crate) mod h2_server;
pub(crate) mod rig;

use std::sync::Arc;

use arbitrary::{Arbitrary, Result, Unstructured};
use proxy_core::command::{Completion, ConnId, DirectoryEntry, FileInfo, FileKind, IoError, ResolveError};

use proxy_core::config::Config;

use self::rig::{FileOp, Rig, Socket};
use super::sites;

/// So many actions are taken from one input.
const ACTIONS_MAX: usize = 200;
/// So many steps may be needed to end everything.
const ENDING_STEPS_MAX: usize = 3000;
/// So many clients may be connected at a time.
const SOCKETS_MAX: usize = 24;

/// What is done next. Choices count modulo what there is.
#[derive(Arbitrary, Debug)]
pub(crate) enum Action<'a> {
    Accept(u8),
    /// Words of [`WORDS`] arrive.
    Say(u8, [u8; 4]),
    /// The words of a whole message of [`MESSAGES`] arrive, as much as is said.
    Message(u8, u8, u16),
    /// Any bytes arrive; none are the end.
    Bytes(u8, &'a [u8]),
    End(u8),
    RecvError(u8, u8),
    Sent(u8, u16),
    AllSent,
    SendError(u8, u8),
    Connected(u8),
    ConnectError(u8, u8),
    FileDone(u8, u16),
    FileError(u8, u8),
    Resolved(u8, u8),
    Timeout,
    Pass(u16),
    Late(u8),
    Reload(u8),
    Shutdown,
}

/// See the module.
pub fn run(input: &[u8]) {
    let mut input = Unstructured::new(input);
    let Ok(choice) = input.arbitrary::<u8>() else { return };
    let mut rig = Rig::new(site(choice), u64::from(choice));
    rig.accept(choice);
    for _ in 0..ACTIONS_MAX {
        if input.is_empty() {
            break;
        }
        let action: Result<Action<'_>> = input.arbitrary();
        let Ok(action) = action else { break };
        rig.say(&action);
        act(&mut rig, &action);
    }
    end(rig);
}

/// The last sixteen choices are for the site whose names are looked up at run time.
fn site(choice: u8) -> Arc<Config> {
    let all = sites::all();
    if choice >= 0xf0 { sites::names().clone() } else { all[usize::from(choice) % all.len()].clone() }
}

/// The connection with number `choice` among those that this is true of.
pub(crate) fn pick(rig: &Rig, choice: u8, of: impl Fn(&Socket) -> bool) -> Option<ConnId> {
    let fitting: Vec<ConnId> =
        rig.sockets.iter().filter(|(_, socket)| of(socket)).map(|(id, _)| *id).collect();
    (!fitting.is_empty()).then(|| fitting[usize::from(choice) % fitting.len()])
}

fn error(choice: u8) -> IoError {
    const ERRORS: [IoError; 6] = [
        IoError::RESET,
        IoError::BROKEN_PIPE,
        IoError::REFUSED,
        IoError::TIMED_OUT,
        IoError::NOT_FOUND,
        IoError::TOO_MANY_FILES,
    ];
    ERRORS.get(usize::from(choice)).copied().unwrap_or(IoError { errno: i32::from(choice) })
}

pub(crate) fn act(rig: &mut Rig, action: &Action<'_>) {
    let receives = |socket: &Socket| socket.recv.is_some();
    let sends = |socket: &Socket| socket.send.is_some();
    let connects = |socket: &Socket| socket.connecting;
    match *action {
        Action::Accept(choice) if rig.sockets.len() < SOCKETS_MAX => rig.accept(choice),
        Action::Accept(_) => {}
        Action::Say(who, words) => receive(rig, who, &said(words)),
        Action::Message(who, which, len) => {
            let message = MESSAGES[usize::from(which) % MESSAGES.len()];
            let len = if usize::from(len) % 4 == 0 { message.len() } else { usize::from(len) };
            receive(rig, who, &message[..len.min(message.len())]);
        }
        Action::Bytes(who, bytes) => receive(rig, who, bytes),
        Action::End(who) => receive(rig, who, b""),
        Action::RecvError(who, why) => {
            if let Some(id) = pick(rig, who, receives) {
                rig.received(id, Err(error(why)));
            }
        }
        Action::Sent(who, bytes) => {
            if let Some(id) = pick(rig, who, sends) {
                rig.sent(id, Ok(usize::from(bytes)));
            }
        }
        Action::AllSent => send_all(rig),
        Action::SendError(who, why) => {
            if let Some(id) = pick(rig, who, sends) {
                rig.sent(id, Err(error(why)));
            }
        }
        Action::Connected(who) => {
            if let Some(id) = pick(rig, who, connects) {
                rig.connected(id, None);
            }
        }
        Action::ConnectError(who, why) => {
            if let Some(id) = pick(rig, who, connects) {
                rig.connected(id, Some(error(why)));
            }
        }
        Action::FileDone(which, how) => file(rig, which, Ok(how)),
        Action::FileError(which, why) => file(rig, which, Err(error(why))),
        Action::Resolved(which, how) => resolve(rig, which, how),
        Action::Timeout => {
            rig.timeout();
        }
        Action::Pass(ms) => rig.pass(u64::from(ms) * 1000),
        Action::Late(choice) => rig.late(usize::from(choice)),
        Action::Reload(choice) => {
            rig.reload(site(choice));
        }
        Action::Shutdown if !rig.shutdown => rig.shut_down(),
        Action::Shutdown => {}
    }
}

pub(crate) fn send_all(rig: &mut Rig) {
    for id in rig.sockets.keys().copied().collect::<Vec<_>>() {
        if rig.sockets.get(&id).is_some_and(|socket| socket.send.is_some()) {
            rig.sent(id, Ok(usize::MAX));
        }
    }
}

fn receive(rig: &mut Rig, who: u8, bytes: &[u8]) {
    if let Some(id) = pick(rig, who, |socket| socket.recv.is_some()) {
        rig.received(id, Ok(bytes));
    }
}

fn said(words: [u8; 4]) -> Vec<u8> {
    words.iter().flat_map(|word| WORDS[usize::from(*word) % WORDS.len()]).copied().collect()
}

fn file(rig: &mut Rig, which: u8, how: core::result::Result<u16, IoError>) {
    let busy: Vec<_> = rig.files.iter().filter(|(_, (_, op))| op.is_some()).map(|(id, _)| *id).collect();
    let Some(id) = (!busy.is_empty()).then(|| busy[usize::from(which) % busy.len()]) else { return };
    rig.file_done(id, |operation, pool| match operation {
        FileOp::Open { temporary } => {
            let result = how.map(|how| {
                let kinds = [FileKind::Regular, FileKind::Directory, FileKind::Other, FileKind::Regular];
                let kind = if temporary { FileKind::Regular } else { kinds[usize::from(how) % kinds.len()] };
                let size = if temporary || kind != FileKind::Regular { 0 } else { u64::from(how) };
                FileInfo { kind, size, mtime_s: i64::from(how), executable: how.is_multiple_of(8) }
            });
            Completion::OpenFile { file: id, result }
        }
        FileOp::Read { len } => {
            let result = how.map(|how| {
                let mut buf = pool.take();
                let len = len.min(buf.spare()).min(if how % 2 == 0 { len } else { usize::from(how) });
                assert!(buf.try_extend(&vec![b'f'; len]));
                buf
            });
            Completion::ReadFile { file: id, result }
        }
        FileOp::Write { chain } => Completion::WriteFile { file: id, chain, result: how.map(|_| ()) },
        FileOp::Rename => Completion::RenameFile { file: id, result: how.map(|_| ()) },
        FileOp::Free => Completion::FreeSpace { file: id, result: how.map(u64::from) },
        FileOp::List => {
            let entry = |number: u16| DirectoryEntry {
                name: number.to_be_bytes().into(),
                kind: if number.is_multiple_of(3) { FileKind::Directory } else { FileKind::Regular },
                size: u64::from(number),
                mtime_s: i64::from(number),
            };
            let result = how.map(|how| (0..how % 7).map(entry).collect());
            Completion::ListDirectory { file: id, result }
        }
    });
}

fn resolve(rig: &mut Rig, which: u8, how: u8) {
    let ids: Vec<_> = rig.resolving.iter().copied().collect();
    let Some(id) = (!ids.is_empty()).then(|| ids[usize::from(which) % ids.len()]) else { return };
    let result = if how.is_multiple_of(2) {
        Ok(vec![[10, 0, 0, how].into()])
    } else {
        Err(ResolveError { reason: "nobody knows".to_owned() })
    };
    rig.resolved(Completion::Resolve { id, result });
}

/// Everything comes to its end; nothing may be left.
pub(crate) fn end(mut rig: Rig) {
    if !rig.shutdown {
        rig.shut_down();
    }
    for _ in 0..ENDING_STEPS_MAX {
        if !end_one(&mut rig) {
            return rig.check_end();
        }
    }
    panic!("hang: {ENDING_STEPS_MAX} steps after the shutdown it goes on");
}

/// One completion of what is in flight; `false` when nothing is, and no deadline either.
fn end_one(rig: &mut Rig) -> bool {
    if let Some(id) = pick(rig, 0, |socket| socket.connecting) {
        rig.connected(id, Some(IoError::REFUSED));
    } else if let Some(id) = pick(rig, 0, |socket| socket.send.is_some()) {
        rig.sent(id, Ok(usize::MAX));
    } else if rig.files.values().any(|(_, operation)| operation.is_some()) {
        file(rig, 0, Err(IoError::NOT_FOUND));
    } else if !rig.resolving.is_empty() {
        resolve(rig, 0, 1);
    } else if let Some(id) = pick(rig, 0, |socket| socket.recv.is_some()) {
        // An empty datagram would be no end.
        let end = if rig.sockets[&id].datagram { Err(IoError::REFUSED) } else { Ok(&b""[..]) };
        rig.received(id, end);
    } else if !rig.strays.is_empty() {
        rig.late(0);
    } else {
        return rig.timeout();
    }
    true
}

/// What messages are made of; four of them are said at a time.
const WORDS: &[&[u8]] = &[
    b"",
    b"GET / HTTP/1.1\r\nHost: a.test\r\n",
    b"POST /strict/x HTTP/1.1\r\nHost: a.test\r\n",
    b"HEAD /files/ HTTP/1.1\r\nHost: x.b.test\r\n",
    b"GET /ws/ HTTP/1.1\r\nHost: a\r\n",
    b"PUT /old/ HTTP/1.0\r\n",
    b"GET /r/a.jpg?x=ab HTTP/1.1\r\nHost: s.c.test\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 404 Not Found\r\n",
    b"HTTP/1.0 502 Bad Gateway\r\n",
    b"HTTP/1.1 100 Continue\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 304 Not Modified\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 3000\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"X-Accel-Buffering: no\r\n",
    b"Location: http://app/v1/y\r\n",
    b"\r\n",
    b"hello",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"400\r\n",
    &[b'x'; 1024],
    b"\n",
    b"\x16\x03\x01",
    b"GET /go HTTP/1.1\r\nHost: a.test\r\n",
    b"GET /redirect HTTP/1.1\r\nHost: a.test:82\r\n",
    b"GET /x/%2e%2e//loop?x=aab HTTP/1.1\r\nHost: a.test\r\n",
    b"GET http://a.test/err/1 HTTP/1.1\r\nHost: z\r\n",
    b"POST /drop?x=Ab&log=1 HTTP/1.1\r\nHost: a.test\r\nX_y: 1\r\n",
    b"Refresh: 0; url=http://app/v1/z\r\nSet-Cookie: a=b; path=/v1/\r\n",
    b"GET /status HTTP/1.1\r\nHost: a.test\r\nAuthorization: Basic YTpi\r\nCookie: a=b\r\n",
    b"Content-Type: text/html\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: s\r\nX-Secret: s\r\n",
];

/// Whole messages, for a short way into the depths.
const MESSAGES: &[&[u8]] = &[
    b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"POST /b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /b HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"PUT /b HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 300\r\n\r\n",
    b"GET /ws/ HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET /files/a HTTP/1.1\r\nHost: a.test\r\n\r\nGET /b HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nearly",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"GET /r/a.jpg?x=aab HTTP/1.1\r\nHost: s.c.test\r\n\r\n",
    b"GET /redirect HTTP/1.1\r\nHost: a.test\r\n\r\nGET /go HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET /strict/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://app/v1/y\r\nRefresh: 1; url=/v1/\r\nContent-Length: 0\r\n\r\n",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The step that led from one upstream to another once said that nothing had moved, and nobody went on.
    #[test]
    fn a_refused_reply_is_answered_by_the_error_pages_upstream() {
        let mut rig = Rig::new(sites::all()[0].clone(), 0);
        rig.accept(0);
        receive(&mut rig, 0, b"GET /strict/x HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let first = pick(&rig, 0, |socket| socket.connecting).expect("an upstream is asked");
        rig.connected(first, None);
        send_all(&mut rig);
        rig.received(first, Ok(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"));
        assert!(pick(&rig, 0, |socket| socket.connecting).is_some(), "the fallback is asked");
        end(rig);
    }
}
