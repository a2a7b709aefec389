//! TLS sessions that may be resumed: the keys of tickets, and the sessions that are kept here.
//!
//! Both are of the whole process and outlive a reload. What is resumed must be resumed where it began: tickets and
//! sessions are bound to a *context*, a digest of the certificates and of the rules for the client's, so that a
//! handshake with one server is no pass to another (CVE-2025-23419).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use hashbrown::HashMap;
use rustls::crypto::CryptoProvider;
use rustls::server::{ProducesTickets, StoresServerSessions};
use rustls::time_provider::TimeProvider;
use spin::Mutex;

/// What identifies the rules under which a session began.
pub type SessionContext = [u8; 32];

/// How many parts a store has, each with a lock of its own.
const SHARDS: usize = 16;
/// What a session takes besides its key and value, in bytes.
const SESSION_OVERHEAD_BYTES: usize = 128;
/// A ticket's key is recognised by its name.
const KEY_NAME_BYTES: usize = 16;
/// When the ticket was made, in seconds since the Unix epoch.
const ISSUED_BYTES: usize = 8;
/// How many keys that are not used for new tickets any more still open old ones.
const OLD_KEYS_MAX: usize = 2;

/// Sessions by their identifiers, `ssl_session_cache shared:name:size`.
pub struct SessionStore {
    shards: [Mutex<Shard>; SHARDS],
    /// Each shard's share of the size, in bytes.
    shard_bytes_max: usize,
}

#[derive(Default)]
struct Shard {
    sessions: HashMap<Vec<u8>, Stored>,
    /// Keys in the order in which they came, the oldest first; some may be gone.
    order: VecDeque<Vec<u8>>,
    bytes: usize,
}

struct Stored {
    value: Vec<u8>,
    until_s: u64,
}

impl SessionStore {
    /// A store of at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { shards: core::array::from_fn(|_| Mutex::default()), shard_bytes_max: bytes_max / SHARDS }
    }

    fn shard(&self, key: &[u8]) -> Option<&Mutex<Shard>> {
        // Identifiers are random: their last byte is as good as a hash.
        self.shards.get(usize::from(*key.last()?) % SHARDS)
    }

    fn put(&self, key: Vec<u8>, value: Vec<u8>, until_s: u64) -> bool {
        let Some(shard) = self.shard(&key) else { return false };
        let bytes = size(&key, &value);
        if bytes > self.shard_bytes_max {
            return false;
        }
        let mut shard = shard.lock();
        shard.remove(&key);
        while shard.bytes + bytes > self.shard_bytes_max
            && let Some(oldest) = shard.order.pop_front()
        {
            shard.remove(&oldest);
        }
        shard.bytes += bytes;
        shard.order.push_back(key.clone());
        shard.sessions.insert(key, Stored { value, until_s });
        shard.forget_gone();
        true
    }

    fn get(&self, key: &[u8], now_s: u64, take: bool) -> Option<Vec<u8>> {
        let mut shard = self.shard(key)?.lock();
        let stored = shard.sessions.get(key)?;
        let value = (stored.until_s > now_s).then(|| stored.value.clone());
        if take || value.is_none() {
            shard.remove(key);
        }
        value
    }
}

impl Shard {
    fn remove(&mut self, key: &[u8]) {
        if let Some(stored) = self.sessions.remove(key) {
            self.bytes -= size(key, &stored.value);
        }
    }

    /// Keeps the order from growing by sessions that were taken long ago.
    fn forget_gone(&mut self) {
        if self.order.len() > 2 * self.sessions.len() + SHARDS {
            let sessions = &self.sessions;
            self.order.retain(|key| sessions.contains_key(key));
        }
    }
}

const fn size(key: &[u8], value: &[u8]) -> usize {
    2 * key.len() + value.len() + SESSION_OVERHEAD_BYTES
}

/// The keys of tickets.
pub struct TicketKeys {
    ring: Mutex<Ring>,
    /// How long a random key makes new tickets, in seconds; none where the keys came from files.
    rotation_s: Option<u64>,
}

struct Ring {
    /// The first one makes new tickets.
    keys: VecDeque<Arc<TicketKey>>,
    since_s: u64,
}

struct TicketKey {
    name: [u8; KEY_NAME_BYTES],
    key: LessSafeKey,
}

impl TicketKey {
    /// From 48 or 80 bytes of secret: the first 16 name it.
    fn new(secret: &[u8]) -> Option<Self> {
        let (name, rest) = secret.split_first_chunk::<KEY_NAME_BYTES>()?;
        let mut material = b"ringgate ticket key".to_vec();
        material.extend_from_slice(rest);
        let key = UnboundKey::new(&AES_256_GCM, digest(&SHA256, &material).as_ref()).ok()?;
        Some(Self { name: *name, key: LessSafeKey::new(key) })
    }
}

impl TicketKeys {
    /// `ssl_session_ticket_key`: the first secret makes tickets, the others only open them. None if one is too short.
    #[must_use]
    pub fn from_secrets<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let keys: Option<VecDeque<_>> =
            secrets.into_iter().map(|secret| TicketKey::new(secret).map(Arc::new)).collect();
        Some(Self { ring: Mutex::new(Ring { keys: keys?, since_s: 0 }), rotation_s: None })
    }

    /// Random keys, a new one every `rotation_s` seconds.
    #[must_use]
    pub const fn random(rotation_s: u64) -> Self {
        Self { ring: Mutex::new(Ring { keys: VecDeque::new(), since_s: 0 }), rotation_s: Some(rotation_s) }
    }

    fn newest(&self, provider: &CryptoProvider, now_s: u64) -> Option<Arc<TicketKey>> {
        let mut ring = self.ring.lock();
        let is_due = self.rotation_s.is_some_and(|span| now_s.saturating_sub(ring.since_s) >= span);
        if is_due {
            let mut secret = [0; 48];
            provider.secure_random.fill(&mut secret).ok()?;
            ring.keys.push_front(Arc::new(TicketKey::new(&secret)?));
            ring.keys.truncate(1 + OLD_KEYS_MAX);
            ring.since_s = now_s;
        }
        ring.keys.front().cloned()
    }

    fn named(&self, name: &[u8]) -> Option<Arc<TicketKey>> {
        self.ring.lock().keys.iter().find(|key| key.name == name).cloned()
    }
}

/// How one server's sessions are resumed.
#[derive(Clone)]
pub struct Resumption {
    /// Tickets; none where `ssl_session_tickets` is off.
    pub tickets: Option<Arc<TicketKeys>>,
    /// Sessions kept here.
    pub store: Option<Arc<SessionStore>>,
    /// The rules under which they began.
    pub context: SessionContext,
    /// `ssl_session_timeout`, in seconds.
    pub timeout_s: u64,
    /// The clock.
    pub time: Arc<dyn TimeProvider>,
    /// Random numbers.
    pub provider: Arc<CryptoProvider>,
}

impl Resumption {
    fn now_s(&self) -> u64 {
        self.time.current_time().map_or(0, |now| now.as_secs())
    }

    fn bound(&self, key: &[u8]) -> Vec<u8> {
        [&self.context[..], key].concat()
    }
}

impl fmt::Debug for Resumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumption").field("timeout_s", &self.timeout_s).finish_non_exhaustive()
    }
}

impl ProducesTickets for Resumption {
    fn enabled(&self) -> bool {
        self.tickets.is_some()
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.timeout_s).unwrap_or(u32::MAX)
    }

    /// A key's name, a nonce, the time and `plain`, encrypted; bound to the context.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now_s = self.now_s();
        let key = self.tickets.as_ref()?.newest(&self.provider, now_s)?;
        let mut nonce = [0; NONCE_LEN];
        self.provider.secure_random.fill(&mut nonce).ok()?;
        let mut body = now_s.to_be_bytes().to_vec();
        body.extend_from_slice(plain);
        let aad = Aad::from(self.context);
        key.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body).ok()?;
        Some([&key.name[..], &nonce[..], &body].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(KEY_NAME_BYTES)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.tickets.as_ref()?.named(name)?;
        let mut body = sealed.to_vec();
        let aad = Aad::from(self.context);
        let plain = key.key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut body).ok()?;
        let (issued, plain) = plain.split_first_chunk::<ISSUED_BYTES>()?;
        let age_s = self.now_s().saturating_sub(u64::from_be_bytes(*issued));
        (age_s <= self.timeout_s).then(|| plain.to_vec())
    }
}

impl StoresServerSessions for Resumption {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let until_s = self.now_s() + self.timeout_s;
        self.store.as_ref().is_some_and(|store| store.put(self.bound(&key), value, until_s))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.store.as_ref()?.get(&self.bound(key), self.now_s(), false)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.store.as_ref()?.get(&self.bound(key), self.now_s(), true)
    }

    fn can_cache(&self) -> bool {
        self.store.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU64, Ordering};
    use rustls::pki_types::UnixTime;

    #[derive(Debug, Default)]
    struct Clock(AtomicU64);

    impl TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            let now = self.0.load(Ordering::Relaxed);
            Some(UnixTime::since_unix_epoch(core::time::Duration::from_secs(now)))
        }
    }

    fn resumption(tickets: Option<TicketKeys>, store: Option<usize>, clock: &Arc<Clock>) -> Resumption {
        Resumption {
            tickets: tickets.map(Arc::new),
            store: store.map(|bytes| Arc::new(SessionStore::new(bytes))),
            context: [1; 32],
            timeout_s: 300,
            time: Arc::clone(clock) as Arc<dyn TimeProvider>,
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        }
    }

    #[test]
    fn a_ticket_opens_in_its_own_context_and_time_only() {
        let clock = Arc::new(Clock(AtomicU64::new(1_000_000)));
        let secrets = [[1; 48].as_slice(), &[2; 80]];
        let made = resumption(TicketKeys::from_secrets(secrets), None, &clock);
        let ticket = made.encrypt(b"session").unwrap();
        assert_eq!(made.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        let rotated = resumption(TicketKeys::from_secrets([[3; 48].as_slice(), &[1; 48]]), None, &clock);
        assert!(rotated.decrypt(&ticket).is_some());
        assert!(Resumption { context: [2; 32], ..made.clone() }.decrypt(&ticket).is_none());
        for cut in 0..ticket.len() {
            assert!(made.decrypt(&ticket[..cut]).is_none());
        }
        clock.0.fetch_add(301, Ordering::Relaxed);
        assert!(made.decrypt(&ticket).is_none());
        assert!(TicketKeys::from_secrets([[1; 8].as_slice()]).is_none());
    }

    #[test]
    fn random_keys_rotate_and_are_forgotten() {
        let clock = Arc::new(Clock(AtomicU64::new(1_000_000)));
        let mut made = resumption(Some(TicketKeys::random(300)), None, &clock);
        made.timeout_s = 10_000;
        let first = made.encrypt(b"x").unwrap();
        for _ in 0..OLD_KEYS_MAX {
            clock.0.fetch_add(300, Ordering::Relaxed);
            let next = made.encrypt(b"x").unwrap();
            assert_ne!(next[..KEY_NAME_BYTES], first[..KEY_NAME_BYTES]);
            assert!(made.decrypt(&first).is_some());
        }
        clock.0.fetch_add(300, Ordering::Relaxed);
        made.encrypt(b"x").unwrap();
        assert!(made.decrypt(&first).is_none());
    }

    #[test]
    fn a_store_stays_in_its_bounds() {
        let clock = Arc::new(Clock::default());
        let kept = resumption(None, Some(SHARDS * 4096), &clock);
        for n in 0..10_000_u32 {
            assert!(kept.put(n.to_be_bytes().to_vec(), [0; 100].to_vec()));
        }
        let store = kept.store.as_ref().unwrap();
        for shard in &store.shards {
            let shard = shard.lock();
            assert!(shard.bytes <= 4096 && !shard.sessions.is_empty() && shard.order.len() < 100);
        }
        let last = 9_999_u32.to_be_bytes();
        assert!(kept.get(&last).is_some() && kept.take(&last).is_some() && kept.get(&last).is_none());
        let other = 9_998_u32.to_be_bytes();
        assert!(Resumption { context: [2; 32], ..kept.clone() }.get(&other).is_none());
        clock.0.fetch_add(300, Ordering::Relaxed);
        assert!(kept.get(&other).is_none());
        assert!(!kept.put(b"k".to_vec(), [0; 5000].to_vec()));
    }
}
