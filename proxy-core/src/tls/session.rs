//! One connection's TLS: the handshake by rustls' unbuffered state machine, then its [`Records`].
//!
//! ```text
//! Hello ─► Handshake ─► Early ─► Open ─► Closed
//!    │          └─────────┴───────┴───► Failed
//!    └─► (no TLS: the link forgets the session)
//! ```
//! `Early` is only entered where 0-RTT data came (RFC 8446, section 2.3): it may be answered before the client's part of
//! the handshake is there.

use alloc::boxed::Box;
use alloc::string::ToString as _;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::client::UnbufferedClientConnection;
use rustls::crypto::cipher::OutboundChunks;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeTlsData};
use rustls::{
    AlertDescription, ClientConfig, CommonState, Error, HandshakeKind, NamedGroup, ProtocolVersion,
    ServerConfig, SupportedCipherSuite,
};
use smallvec::SmallVec;

use super::client::Refusal;
use super::hello::{self, Greeting, Opening};
use super::records::{Broken, Kernel, Records, TEXT_BYTES_MAX};
use crate::buf::{Buf, Chain, Chunk};

/// One connection's TLS.
pub(crate) struct Session {
    stage: Stage,
    shaking: Option<Shaking>,
    records: Option<Box<Records>>,
    /// Received bytes that are no whole record yet.
    incoming: Vec<u8>,
    /// Records that wait to be sent.
    outgoing: Chain,
    /// Bytes of plain text in the records that wait or are being sent.
    sealed_bytes: usize,
    /// `ssl_buffer_size`: the most that one record carries, in bytes.
    record_bytes_max: usize,
    agreed: Option<Box<Agreed>>,
    /// What our ServerHello said, until the handshake is complete.
    greeting: Option<Box<Greeting>>,
}

/// Where a session stands; see the drawing above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waits for a ClientHello.
    Hello,
    /// Shakes hands.
    Handshake,
    /// 0-RTT data is at hand, and the handshake is not complete.
    Early,
    /// Records flow.
    Open,
    /// The peer has said that no more will come.
    Closed,
    /// It is over; why.
    Failed(Failure),
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// For the log.
    pub(crate) reason: Box<str>,
    /// Whether it is not the peer's doing.
    pub(crate) ours: bool,
    /// What is wrong with the server that was to be reached.
    pub(crate) refusal: Option<Refusal>,
}

/// What the handshake has led to.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) suite: Option<SupportedCipherSuite>,
    pub(crate) group: Option<NamedGroup>,
    pub(crate) protocol: Box<[u8]>,
    pub(crate) resumed: bool,
    pub(crate) peer_chain: Vec<CertificateDer<'static>>,
    /// What our ServerHello said.
    pub(crate) greeting: Option<Box<Greeting>>,
}

/// A handshake in progress.
enum Shaking {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// What one round of a handshake came to.
enum Step {
    More,
    Blocked,
    MaySend,
    Closed,
    Failed(Error),
}

/// What a record adds to its text at the most, in bytes: its header, a nonce or the inner type, the tag, with room.
const RECORD_OVERHEAD_BYTES: usize = 64;
/// How much plain text goes into the records of one send, in bytes.
pub(crate) const SEAL_BYTES_MAX: usize = 4 * TEXT_BYTES_MAX;
/// How much of a handshake may wait for its rest, in bytes: long chains of client certificates are 16 KiB.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;

impl Session {
    /// A session that waits for a client's first bytes.
    pub(crate) fn accepting() -> Self {
        Self {
            stage: Stage::Hello,
            shaking: None,
            records: None,
            incoming: Vec::new(),
            outgoing: Chain::new(),
            sealed_bytes: 0,
            record_bytes_max: TEXT_BYTES_MAX,
            agreed: None,
            greeting: None,
        }
    }

    /// A session with an upstream; it begins with a ClientHello in the outgoing records.
    pub(crate) fn connecting(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Self {
        let mut session = Self::accepting();
        match UnbufferedClientConnection::new(Arc::clone(config), name) {
            Ok(conn) => {
                session.shaking = Some(Shaking::Client(Box::new(conn)));
                session.stage = Stage::Handshake;
                // There are no bytes yet: no text either.
                session.advance(&mut Vec::new());
            }
            Err(error) => session.fail(&error),
        }
        session
    }

    /// Where it stands.
    pub(crate) const fn stage(&self) -> &Stage {
        &self.stage
    }

    /// What the first bytes are.
    pub(crate) fn opening(&self) -> Opening {
        let opening = hello::peek(&self.incoming);
        if opening == Opening::Partial && self.incoming.len() > HANDSHAKE_BYTES_MAX {
            return Opening::Strange;
        }
        opening
    }

    /// The bytes that are no TLS.
    pub(crate) fn take_plain(&mut self) -> Chunk {
        Chunk::from_vec(core::mem::take(&mut self.incoming))
    }

    /// The server is found: the handshake may begin.
    pub(crate) fn accept(&mut self, config: &Arc<ServerConfig>, record_bytes_max: usize) {
        self.record_bytes_max = record_bytes_max;
        match UnbufferedServerConnection::new(Arc::clone(config)) {
            Ok(conn) => {
                self.shaking = Some(Shaking::Server(Box::new(conn)));
                self.stage = Stage::Handshake;
            }
            Err(error) => self.fail(&error),
        }
    }

    /// The handshake is refused before it began.
    pub(crate) fn refuse(&mut self, alert: AlertDescription, reason: &str) {
        // RFC 8446, section 5.1: not encrypted, there are no keys.
        let record = [21, 3, 3, 0, 2, 2, u8::from(alert)];
        self.outgoing.push(Chunk::from_vec(record.to_vec()));
        self.stage = Stage::Failed(Failure::of(reason, false));
    }

    /// Bytes came. Gives the text in them.
    pub(crate) fn receive(&mut self, mut bytes: Buf) -> Chunk {
        let Some(records) = &mut self.records else {
            self.incoming.extend_from_slice(bytes.as_slice());
            let mut text = Vec::new();
            if self.stage != Stage::Hello {
                self.advance(&mut text);
            }
            return Chunk::from_vec(text);
        };
        if !self.incoming.is_empty() {
            self.incoming.extend_from_slice(bytes.as_slice());
            let all = core::mem::take(&mut self.incoming);
            return self.open_joined(all);
        }
        match records.open(bytes.as_mut_slice()) {
            Ok(opened) => {
                self.incoming.extend_from_slice(bytes.as_slice().get(opened.used..).unwrap_or_default());
                if opened.closed {
                    self.stage = Stage::Closed;
                }
                bytes.freeze().slice(opened.text)
            }
            Err(broken) => self.break_off(broken),
        }
    }

    /// Bytes of which the first came earlier.
    fn open_joined(&mut self, mut all: Vec<u8>) -> Chunk {
        let Some(records) = &mut self.records else { return Chunk::empty() };
        match records.open(&mut all) {
            Ok(opened) if opened.used == 0 => {
                self.incoming = all;
                Chunk::empty()
            }
            Ok(opened) => {
                self.incoming = all.get(opened.used..).unwrap_or_default().to_vec();
                if opened.closed {
                    self.stage = Stage::Closed;
                }
                Chunk::from_vec(all).slice(opened.text)
            }
            Err(broken) => self.break_off(broken),
        }
    }

    fn break_off(&mut self, broken: Broken) -> Chunk {
        if let (Some(alert), Some(records)) = (broken.alert, &mut self.records) {
            let outgoing = &mut self.outgoing;
            records.seal_alert(alert, &mut |record| outgoing.push(Chunk::from_vec(record)));
        }
        self.stage = Stage::Failed(Failure::of(&broken.reason, false));
        Chunk::empty()
    }

    /// Goes on with the handshake as far as the bytes at hand allow.
    pub(crate) fn advance(&mut self, text: &mut Vec<u8>) {
        let mut out = Vec::new();
        let mut used = 0;
        // Each round takes a record, makes a message, or is the last.
        while let Some(rest) = self.incoming.get_mut(used..) {
            let before = text.len();
            let (discard, step) = match &mut self.shaking {
                Some(Shaking::Server(conn)) => step_server(conn, rest, &mut out, text),
                Some(Shaking::Client(conn)) => step_client(conn, rest, &mut out, text),
                None => break,
            };
            let left = rest.len() - discard.min(rest.len());
            used += discard;
            if text.len() > before && self.stage == Stage::Handshake {
                self.stage = Stage::Early;
            }
            match step {
                Step::More => continue,
                Step::Blocked if left > HANDSHAKE_BYTES_MAX => {
                    self.fail(&Error::General("too long a handshake".into()));
                }
                Step::MaySend if self.take_keys() => self.stage = Stage::Open,
                Step::Blocked | Step::MaySend => {}
                Step::Closed => self.stage = Stage::Closed,
                Step::Failed(error) => {
                    self.fail(&error);
                    self.encode_alert(&mut out);
                }
            }
            break;
        }
        self.incoming.drain(..used.min(self.incoming.len()));
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        if let Some(greeting) = Greeting::peek(&out) {
            self.greeting = Some(Box::new(greeting));
        }
        self.outgoing.push(Chunk::from_vec(out));
    }

    fn fail(&mut self, error: &Error) {
        let ours = matches!(
            error,
            Error::General(_) | Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes
        );
        let refusal = Refusal::of(error);
        self.stage = Stage::Failed(Failure { refusal, ..Failure::of(&error.to_string(), ours) });
    }

    /// The alert that rustls has for the peer after a failure.
    fn encode_alert(&mut self, out: &mut Vec<u8>) {
        let mut text = Vec::new();
        if let Some(Shaking::Server(conn)) = &mut self.shaking {
            step_server(conn, &mut [], out, &mut text);
        } else if let Some(Shaking::Client(conn)) = &mut self.shaking {
            step_client(conn, &mut [], out, &mut text);
        }
    }

    /// Takes the keys over once the handshake is complete. Returns whether it is.
    fn take_keys(&mut self) -> bool {
        let common: &CommonState = match &self.shaking {
            Some(Shaking::Server(conn)) => conn,
            Some(Shaking::Client(conn)) => conn,
            None => return self.records.is_some(),
        };
        if common.is_handshaking() {
            return false;
        }
        self.agreed = Some(Box::new(Agreed { greeting: self.greeting.take(), ..Agreed::of(common) }));
        let Some(suite) = common.negotiated_cipher_suite() else { return false };
        let taken = match self.shaking.take() {
            Some(Shaking::Server(conn)) => conn
                .dangerous_into_kernel_connection()
                .map(|(secrets, kernel)| Records::new(suite, secrets, Kernel::Server(kernel))),
            Some(Shaking::Client(conn)) => conn
                .dangerous_into_kernel_connection()
                .map(|(secrets, kernel)| Records::new(suite, secrets, Kernel::Client(kernel))),
            None => return false,
        };
        match taken {
            Ok(records) => self.records = records.map(Box::new),
            Err(error) => self.fail(&error),
        }
        self.records.is_some()
    }

    /// Whether the handshake is complete and its owner, who has not heard of it yet, is the one to speak.
    pub(crate) fn has_first_word(&self) -> bool {
        self.agreed.is_some() && self.records.as_ref().is_some_and(|records| records.is_client())
    }

    /// What the handshake has led to; only once.
    pub(crate) const fn take_agreed(&mut self) -> Option<Box<Agreed>> {
        self.agreed.take()
    }

    /// What is known before the handshake is complete.
    pub(crate) fn agreed_early(&self) -> Option<Agreed> {
        match &self.shaking {
            Some(Shaking::Server(conn)) => {
                Some(Agreed { greeting: self.greeting.clone(), ..Agreed::of(conn) })
            }
            Some(Shaking::Client(_)) | None => None,
        }
    }

    /// Whether plain text may be sent.
    pub(crate) const fn may_seal(&self) -> bool {
        matches!(self.stage, Stage::Early | Stage::Open | Stage::Closed)
    }

    /// Encrypts `text` into records.
    pub(crate) fn seal(&mut self, text: &Chain) {
        self.sealed_bytes += text.len();
        let Some(records) = &mut self.records else { return self.seal_early(text) };
        let slices: SmallVec<[&[u8]; 8]> = text.chunks().iter().map(Chunk::as_slice).collect();
        let outgoing = &mut self.outgoing;
        let sealed = records.seal(OutboundChunks::new(&slices), self.record_bytes_max, &mut |record| {
            outgoing.push(Chunk::from_vec(record));
        });
        if !sealed {
            self.stage = Stage::Failed(Failure::of("the keys are used up", true));
        }
    }

    /// As [`seal`](Self::seal), before the handshake is complete.
    fn seal_early(&mut self, text: &Chain) {
        let Some(Shaking::Server(conn)) = &mut self.shaking else { return };
        let text = text.to_vec();
        let mut out = alloc::vec![0; text.len() + (text.len() / TEXT_BYTES_MAX + 1) * RECORD_OVERHEAD_BYTES];
        let mut written = 0;
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = conn.process_tls_records(&mut []).state {
            written = traffic.encrypt(&text, &mut out).unwrap_or(0);
        }
        out.truncate(written);
        self.outgoing.push(Chunk::from_vec(out));
    }

    /// Says that no more will be sent.
    pub(crate) fn seal_end(&mut self) {
        let Some(records) = &mut self.records else { return };
        let outgoing = &mut self.outgoing;
        records
            .seal_alert(AlertDescription::CloseNotify, &mut |record| outgoing.push(Chunk::from_vec(record)));
    }

    /// The records that wait to be sent.
    pub(crate) const fn outgoing(&mut self) -> &mut Chain {
        &mut self.outgoing
    }

    /// Plain text in the records that wait or are in flight, in bytes.
    pub(crate) const fn sealed_bytes(&self) -> usize {
        self.sealed_bytes
    }

    /// All records are sent: how much plain text that was, in bytes.
    pub(crate) const fn take_sealed(&mut self) -> usize {
        core::mem::replace(&mut self.sealed_bytes, 0)
    }
}

impl Failure {
    fn of(reason: &str, ours: bool) -> Self {
        Self { reason: reason.into(), ours, refusal: None }
    }
}

impl Agreed {
    fn of(common: &CommonState) -> Self {
        Self {
            version: common.protocol_version(),
            suite: common.negotiated_cipher_suite(),
            group: common.negotiated_key_exchange_group().map(|group| group.name()),
            protocol: common.alpn_protocol().unwrap_or_default().into(),
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
            peer_chain: common
                .peer_certificates()
                .map(|chain| chain.iter().map(|certificate| certificate.clone().into_owned()).collect())
                .unwrap_or_default(),
            greeting: None,
        }
    }
}

fn step_server(
    conn: &mut UnbufferedServerConnection,
    bytes: &mut [u8],
    out: &mut Vec<u8>,
    text: &mut Vec<u8>,
) -> (usize, Step) {
    let status = conn.process_tls_records(bytes);
    if let Ok(ConnectionState::ReadEarlyData(mut early)) = status.state {
        let mut discard = status.discard;
        while let Some(Ok(record)) = early.next_record() {
            discard += record.discard;
            text.extend_from_slice(record.payload);
        }
        return (discard, Step::More);
    }
    step(status.discard, status.state, out, text)
}

fn step_client(
    conn: &mut UnbufferedClientConnection,
    bytes: &mut [u8],
    out: &mut Vec<u8>,
    text: &mut Vec<u8>,
) -> (usize, Step) {
    let status = conn.process_tls_records(bytes);
    step(status.discard, status.state, out, text)
}

fn step<Data>(
    mut discard: usize,
    state: Result<ConnectionState<'_, '_, Data>, Error>,
    out: &mut Vec<u8>,
    text: &mut Vec<u8>,
) -> (usize, Step) {
    let step = match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            while let Some(Ok(record)) = traffic.next_record() {
                discard += record.discard;
                text.extend_from_slice(record.payload);
            }
            Step::More
        }
        Ok(ConnectionState::EncodeTlsData(data)) => {
            encode(data, out);
            Step::More
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Step::More
        }
        Ok(ConnectionState::BlockedHandshake) => Step::Blocked,
        Ok(ConnectionState::WriteTraffic(_)) => Step::MaySend,
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Step::Closed,
        Ok(_) => Step::Failed(Error::General("an unknown state".into())),
        Err(error) => Step::Failed(error),
    };
    (discard, step)
}

/// Appends one message of the handshake.
fn encode<Data>(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + TEXT_BYTES_MAX + RECORD_OVERHEAD_BYTES, 0);
    let written = data.encode(out.get_mut(at..).unwrap_or_default()).unwrap_or(0);
    out.truncate(at + written);
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session").field("stage", &self.stage).finish_non_exhaustive()
    }
}
