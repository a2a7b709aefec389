//! One connection's TLS: handshake and records, by rustls' unbuffered state machine.
//!
//! ```text
//! Hello ─► Handshake ─► Open ─► Closed
//!    │          └──────── └───► Failed
//!    └─► (no TLS: the link forgets the session)
//! ```

use alloc::boxed::Box;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeTlsData};

use super::hello::{self, Opening};
use crate::buf::{Buf, Chain, Chunk};

/// One connection's TLS.
pub(crate) struct Session {
    stage: Stage,
    conn: Option<Box<UnbufferedServerConnection>>,
    /// Received bytes that are no whole record yet.
    incoming: Vec<u8>,
    /// Records that wait to be sent.
    outgoing: Vec<u8>,
    /// Bytes of plain text in the records that are being sent.
    sealed_bytes: usize,
}

/// Where a session stands; see the drawing above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waits for a ClientHello.
    Hello,
    /// Shakes hands.
    Handshake,
    /// Records flow.
    Open,
    /// The peer has said that no more will come.
    Closed,
    /// It is over; why.
    Failed(String),
}

/// The largest text of one record, in bytes (RFC 8446, section 5.1).
const RECORD_TEXT_BYTES_MAX: usize = 16 * 1024;
/// What a record adds to its text at the most, in bytes: its header, a nonce or the inner type, the tag, with room.
const RECORD_OVERHEAD_BYTES: usize = 64;
/// How much plain text goes into the records of one send, in bytes.
pub(crate) const SEAL_BYTES_MAX: usize = 4 * RECORD_TEXT_BYTES_MAX;
/// How much may come before a handshake is complete, in bytes: long chains of client certificates are 16 KiB.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;

impl Session {
    /// A session that waits for a client's first bytes.
    pub(crate) const fn accepting() -> Self {
        Self { stage: Stage::Hello, conn: None, incoming: Vec::new(), outgoing: Vec::new(), sealed_bytes: 0 }
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
    pub(crate) fn accept(&mut self, config: &Arc<ServerConfig>) {
        match UnbufferedServerConnection::new(Arc::clone(config)) {
            Ok(conn) => {
                self.conn = Some(Box::new(conn));
                self.stage = Stage::Handshake;
            }
            Err(error) => self.stage = Stage::Failed(error.to_string()),
        }
    }

    /// Bytes came. What they decrypt to is appended to `text`.
    pub(crate) fn receive(&mut self, bytes: &Buf, text: &mut Vec<u8>) {
        self.incoming.extend_from_slice(bytes.as_slice());
        if self.stage != Stage::Hello {
            self.advance(text);
        }
    }

    /// Handles every whole record that is at hand.
    pub(crate) fn advance(&mut self, text: &mut Vec<u8>) {
        let Some(conn) = &mut self.conn else { return };
        let mut done = 0;
        // Bounded: each round takes a record, sends a message, or is the last.
        while let Some(rest) = self.incoming.get_mut(done..) {
            let status = conn.process_tls_records(rest);
            let mut discard = status.discard;
            match status.state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        discard += record.discard;
                        text.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::ReadEarlyData(mut early)) => {
                    while let Some(Ok(record)) = early.next_record() {
                        discard += record.discard;
                        text.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.outgoing),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::BlockedHandshake) => {
                    if rest.len() > HANDSHAKE_BYTES_MAX {
                        self.stage = Stage::Failed("too many bytes in the handshake".into());
                    }
                    done += discard;
                    break;
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    if self.stage == Stage::Handshake {
                        self.stage = Stage::Open;
                    }
                    done += discard;
                    break;
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.stage = Stage::Closed;
                    done += discard;
                    break;
                }
                Ok(_) => break,
                Err(error) => {
                    self.stage = Stage::Failed(error.to_string());
                    break;
                }
            }
            done += discard;
        }
        self.incoming.drain(..done.min(self.incoming.len()));
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        if matches!(self.stage, Stage::Failed(_)) {
            self.flush_alert();
        }
    }

    /// The alert that rustls has for the peer after a failure.
    fn flush_alert(&mut self) {
        let Some(conn) = &mut self.conn else { return };
        if let Ok(ConnectionState::EncodeTlsData(data)) = conn.process_tls_records(&mut []).state {
            encode(data, &mut self.outgoing);
        }
    }

    /// Whether plain text may be sent.
    pub(crate) const fn may_seal(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Closed)
    }

    /// Encrypts `text` into records.
    pub(crate) fn seal(&mut self, text: &Chain) {
        let Some(conn) = &mut self.conn else { return };
        let all = text.to_vec();
        let records = all.len() / RECORD_TEXT_BYTES_MAX + 1;
        let at = self.outgoing.len();
        self.outgoing.resize(at + all.len() + records * RECORD_OVERHEAD_BYTES, 0);
        let room = self.outgoing.get_mut(at..).unwrap_or_default();
        let mut written = 0;
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = conn.process_tls_records(&mut []).state {
            written = traffic.encrypt(&all, room).unwrap_or(0);
        }
        self.outgoing.truncate(at + written);
        self.sealed_bytes += all.len();
    }

    /// Says that no more will be sent.
    pub(crate) fn seal_end(&mut self) {
        let Some(conn) = &mut self.conn else { return };
        let at = self.outgoing.len();
        self.outgoing.resize(at + 2 * RECORD_OVERHEAD_BYTES, 0);
        let room = self.outgoing.get_mut(at..).unwrap_or_default();
        let mut written = 0;
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = conn.process_tls_records(&mut []).state {
            written = traffic.queue_close_notify(room).unwrap_or(0);
        }
        self.outgoing.truncate(at + written);
    }

    /// The records that wait to be sent.
    pub(crate) fn take_outgoing(&mut self) -> Chunk {
        Chunk::from_vec(core::mem::take(&mut self.outgoing))
    }

    /// Whether records wait to be sent.
    pub(crate) const fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Plain text in the records that were taken, in bytes; they are all sent now.
    pub(crate) const fn take_sealed(&mut self) -> usize {
        core::mem::replace(&mut self.sealed_bytes, 0)
    }

    /// Plain text in the records that wait or are in flight, in bytes.
    pub(crate) const fn sealed_bytes(&self) -> usize {
        self.sealed_bytes
    }

    /// The protocol that was agreed on (ALPN).
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.conn.as_ref()?.alpn_protocol()
    }
}

/// Appends one message of the handshake.
fn encode<Data>(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + RECORD_TEXT_BYTES_MAX + RECORD_OVERHEAD_BYTES, 0);
    let written = data.encode(out.get_mut(at..).unwrap_or_default()).unwrap_or(0);
    out.truncate(at + written);
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session").field("stage", &self.stage).finish_non_exhaustive()
    }
}
