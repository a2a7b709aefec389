//! Records of an open connection (RFC 8446, section 5; RFC 5246, section 6), by rustls' ciphers.
//!
//! Once a handshake is complete, rustls hands out its keys and a [`KernelConnection`], which derives later ones. Doing
//! the framing here saves a copy and an allocation each way: a record is decrypted where it was received, and encrypted
//! from wherever its text lies into the memory that is sent.

use alloc::boxed::Box;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::ops::Range;

use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, ExtractedSecrets, HandshakeType,
    ProtocolVersion, SupportedCipherSuite,
};

/// A record's type, version and length, in bytes.
const HEADER_BYTES: usize = 5;
/// The largest text of one record, in bytes (RFC 8446, section 5.1).
pub(crate) const TEXT_BYTES_MAX: usize = 16 * 1024;
/// What encryption may add to it, in bytes (RFC 5246, section 6.2.3, the larger of both).
const EXPANSION_BYTES_MAX: usize = 2048;
/// How many records may come between two that carry text, before the peer is taken to waste our time.
const IDLE_RECORDS_MAX: u32 = 64;
/// The longest message that may come behind a handshake, in bytes: a session ticket.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Alerts that end the reading (RFC 8446, section 6).
const LEVEL_WARNING: u8 = 1;
const LEVEL_FATAL: u8 = 2;

/// What became of received bytes.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// Where their text lies now.
    pub(crate) text: Range<usize>,
    /// How many of them were whole records.
    pub(crate) used: usize,
    /// The peer has said that no more will come.
    pub(crate) closed: bool,
}

/// Why a connection is over; an alert for the peer, unless that was its own.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) reason: String,
    pub(crate) alert: Option<AlertDescription>,
}

/// The derivation of later keys.
pub(crate) enum Kernel {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// Both directions of an open connection.
pub(crate) struct Records {
    encrypter: Box<dyn MessageEncrypter>,
    encrypted: u64,
    decrypter: Box<dyn MessageDecrypter>,
    decrypted: u64,
    suite: SupportedCipherSuite,
    kernel: Kernel,
    /// Records since the last one with text.
    idle: u32,
    /// The beginning of a message that more records will complete.
    partial: Vec<u8>,
    /// The peer asked for a new key of ours.
    update_due: bool,
}

impl Records {
    /// Takes over from a handshake.
    pub(crate) fn new(
        suite: SupportedCipherSuite,
        secrets: ExtractedSecrets,
        kernel: Kernel,
    ) -> Option<Self> {
        let (encrypted, tx) = secrets.tx;
        let (decrypted, rx) = secrets.rx;
        let mut encrypter = encrypter(suite, tx)?;
        if encrypted > 0 {
            // AWS-LC refuses nonces that do not ascend, and learns from a key's first one which is number zero. What
            // this makes is seen by nobody, so no nonce is used twice.
            let (typ, version) = (ContentType::Alert, ProtocolVersion::TLSv1_2);
            encrypter
                .encrypt(OutboundPlainMessage { typ, version, payload: OutboundChunks::new_empty() }, 0)
                .ok()?;
        }
        Some(Self {
            encrypter,
            encrypted,
            decrypter: decrypter(suite, rx)?,
            decrypted,
            suite,
            kernel,
            idle: 0,
            partial: Vec::new(),
            update_due: false,
        })
    }

    /// Decrypts the whole records in `bytes`; their text is moved together.
    pub(crate) fn open(&mut self, bytes: &mut [u8]) -> Result<Opened, Broken> {
        let mut opened = Opened::default();
        // Each round takes a record off, or is the last.
        while !opened.closed
            && let Some(record) = whole_record(bytes.get_mut(opened.used..).unwrap_or_default())?
        {
            let start = opened.used;
            opened.used += HEADER_BYTES + record.payload.len();
            let (kind, place) = self.decrypt(record)?;
            let text = start + place.start..start + place.end;
            if kind == ContentType::ApplicationData {
                self.take_text(bytes, text, &mut opened)?;
            } else {
                self.idle += 1;
                self.check_idle()?;
                let text = bytes.get(text).unwrap_or_default();
                if kind == ContentType::Alert {
                    opened.closed = self.alert(text)?;
                } else if kind == ContentType::Handshake {
                    self.message(text)?;
                } else {
                    return Err(Broken::unexpected("an unexpected record"));
                }
            }
        }
        Ok(opened)
    }

    fn take_text(&mut self, bytes: &mut [u8], text: Range<usize>, opened: &mut Opened) -> Result<(), Broken> {
        if text.is_empty() {
            self.idle += 1;
            return self.check_idle();
        }
        self.idle = 0;
        if opened.text.is_empty() {
            opened.text = text;
            return Ok(());
        }
        let len = text.len();
        bytes.copy_within(text, opened.text.end);
        opened.text.end += len;
        Ok(())
    }

    fn check_idle(&self) -> Result<(), Broken> {
        if self.idle > IDLE_RECORDS_MAX {
            return Err(Broken::unexpected("too many records without data"));
        }
        Ok(())
    }

    /// Decrypts a record in its place: what it is, and where its text lies, from the record's beginning.
    fn decrypt(&mut self, record: Record<'_>) -> Result<(ContentType, Range<usize>), Broken> {
        let base = record.payload.as_ptr().addr();
        let message = InboundOpaqueMessage::new(record.kind, record.version, record.payload);
        let plain = self.decrypter.decrypt(message, self.decrypted).map_err(|error| Broken {
            reason: error.to_string(),
            alert: Some(AlertDescription::BadRecordMac),
        })?;
        self.decrypted += 1;
        let start = HEADER_BYTES + plain.payload.as_ptr().addr() - base;
        Ok((plain.typ, start..start + plain.payload.len()))
    }

    /// Whether the alert is the orderly end.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other alert says the same: it is over")]
    fn alert(&self, text: &[u8]) -> Result<bool, Broken> {
        let &[level, description] = text else { return Err(Broken::unexpected("a misshapen alert")) };
        let is_13 = self.version() == ProtocolVersion::TLSv1_3;
        match AlertDescription::from(description) {
            AlertDescription::CloseNotify => Ok(true),
            AlertDescription::UserCanceled => Ok(false),
            _ if level == LEVEL_WARNING && !is_13 => Ok(false),
            other => Err(Broken { reason: alloc::format!("alert received: {other:?}"), alert: None }),
        }
    }

    /// A message behind the handshake.
    fn message(&mut self, text: &[u8]) -> Result<(), Broken> {
        let mut all = core::mem::take(&mut self.partial);
        all.extend_from_slice(text);
        let mut rest = &*all;
        while let [kind, a, b, c, tail @ ..] = rest {
            let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if len > MESSAGE_BYTES_MAX {
                return Err(Broken::unexpected("a message that is too long"));
            }
            let Some((body, behind)) = tail.split_at_checked(len) else { break };
            self.handle_message(HandshakeType::from(*kind), body, behind.is_empty())?;
            rest = behind;
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    fn handle_message(&mut self, kind: HandshakeType, body: &[u8], last: bool) -> Result<(), Broken> {
        if self.version() != ProtocolVersion::TLSv1_3 {
            // Renegotiation is refused (as nginx does): HelloRequest may be ignored, ClientHello may not.
            return match (&self.kernel, kind) {
                (Kernel::Client(_), HandshakeType::HelloRequest) => Ok(()),
                _ => Err(Broken {
                    reason: "the peer tried to renegotiate".into(),
                    alert: Some(AlertDescription::NoRenegotiation),
                }),
            };
        }
        match (kind, &mut self.kernel) {
            // RFC 8446, section 5.1: nothing may share a record with a change of keys.
            (HandshakeType::KeyUpdate, _) if last && matches!(body, [0 | 1]) => {
                self.update_due |= body == [1];
                self.next_read_key()
            }
            (HandshakeType::NewSessionTicket, Kernel::Client(kernel)) => {
                // A ticket that cannot be used is no reason to end a connection that can.
                let _ = kernel.handle_new_session_ticket(body);
                Ok(())
            }
            _ => Err(Broken::unexpected("an unexpected handshake message")),
        }
    }

    fn next_read_key(&mut self) -> Result<(), Broken> {
        let secrets = match &mut self.kernel {
            Kernel::Server(kernel) => kernel.update_rx_secret(),
            Kernel::Client(kernel) => kernel.update_rx_secret(),
        };
        let next = secrets.ok().and_then(|(seq, secrets)| Some((seq, decrypter(self.suite, secrets)?)));
        let (seq, next) = next.ok_or_else(|| Broken::unexpected("no further keys"))?;
        self.decrypter = next;
        self.decrypted = seq;
        Ok(())
    }

    /// Announces a new key of ours and takes it into use.
    fn next_write_key(&mut self, out: &mut dyn FnMut(Vec<u8>)) -> bool {
        let update = [u8::from(HandshakeType::KeyUpdate), 0, 0, 1, 0];
        if !self.encrypt(ContentType::Handshake, OutboundChunks::Single(&update), out) {
            return false;
        }
        let secrets = match &mut self.kernel {
            Kernel::Server(kernel) => kernel.update_tx_secret(),
            Kernel::Client(kernel) => kernel.update_tx_secret(),
        };
        let next = secrets.ok().and_then(|(seq, secrets)| Some((seq, encrypter(self.suite, secrets)?)));
        let Some((seq, next)) = next else { return false };
        self.encrypter = next;
        self.encrypted = seq;
        true
    }

    /// Encrypts text into records of at most `record_bytes_max` bytes each. False when the keys are used up.
    pub(crate) fn seal(
        &mut self,
        mut text: OutboundChunks<'_>,
        record_bytes_max: usize,
        out: &mut dyn FnMut(Vec<u8>),
    ) -> bool {
        while !text.is_empty() {
            let is_13 = self.version() == ProtocolVersion::TLSv1_3;
            let used_up = self.encrypted >= self.confidentiality_limit();
            if used_up && !is_13
                || (used_up || core::mem::take(&mut self.update_due)) && !self.next_write_key(out)
            {
                return false;
            }
            let (part, rest) = text.split_at(record_bytes_max.clamp(1, TEXT_BYTES_MAX));
            if !self.encrypt(ContentType::ApplicationData, part, out) {
                return false;
            }
            text = rest;
        }
        true
    }

    /// Encrypts an alert.
    pub(crate) fn seal_alert(&mut self, alert: AlertDescription, out: &mut dyn FnMut(Vec<u8>)) {
        let level = if alert == AlertDescription::CloseNotify { LEVEL_WARNING } else { LEVEL_FATAL };
        let text = [level, u8::from(alert)];
        self.encrypt(ContentType::Alert, OutboundChunks::Single(&text), out);
    }

    fn encrypt(
        &mut self,
        typ: ContentType,
        payload: OutboundChunks<'_>,
        out: &mut dyn FnMut(Vec<u8>),
    ) -> bool {
        let plain = OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_2, payload };
        let Ok(record) = self.encrypter.encrypt(plain, self.encrypted) else { return false };
        self.encrypted += 1;
        out(record.encode());
        true
    }

    /// Whether the other end is a server.
    pub(super) const fn is_client(&self) -> bool {
        matches!(self.kernel, Kernel::Client(_))
    }

    fn version(&self) -> ProtocolVersion {
        match &self.kernel {
            Kernel::Server(kernel) => kernel.protocol_version(),
            Kernel::Client(kernel) => kernel.protocol_version(),
        }
    }

    const fn confidentiality_limit(&self) -> u64 {
        match self.suite {
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
        }
    }
}

impl Broken {
    fn unexpected(what: &str) -> Self {
        Self { reason: what.into(), alert: Some(AlertDescription::UnexpectedMessage) }
    }
}

struct Record<'a> {
    kind: ContentType,
    version: ProtocolVersion,
    payload: &'a mut [u8],
}

/// The record at the beginning, if it is all there.
fn whole_record(bytes: &mut [u8]) -> Result<Option<Record<'_>>, Broken> {
    let Some((&mut [kind, major, minor, high, low], rest)) = bytes.split_first_chunk_mut::<HEADER_BYTES>()
    else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if major != 3 || len > TEXT_BYTES_MAX + EXPANSION_BYTES_MAX {
        return Err(Broken {
            reason: "a record that is none".into(),
            alert: Some(if major == 3 {
                AlertDescription::RecordOverflow
            } else {
                AlertDescription::DecodeError
            }),
        });
    }
    let version = ProtocolVersion::from(u16::from_be_bytes([major, minor]));
    Ok(rest.get_mut(..len).map(|payload| Record { kind: ContentType::from(kind), version, payload }))
}

fn encrypter(
    suite: SupportedCipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Option<Box<dyn MessageEncrypter>> {
    let (key, iv) = key_and_iv(secrets)?;
    Some(match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
            let (fixed, explicit) = iv.as_ref().split_at_checked(fixed)?;
            suite.aead_alg.encrypter(key, fixed, explicit)
        }
    })
}

fn decrypter(
    suite: SupportedCipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Option<Box<dyn MessageDecrypter>> {
    let (key, iv) = key_and_iv(secrets)?;
    Some(match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.decrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
            suite.aead_alg.decrypter(key, iv.as_ref().get(..fixed)?)
        }
    })
}

fn key_and_iv(
    secrets: ConnectionTrafficSecrets,
) -> Option<(rustls::crypto::cipher::AeadKey, rustls::crypto::cipher::Iv)> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Some((key, iv)),
        _ => None,
    }
}
