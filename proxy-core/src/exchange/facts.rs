//! What is known about one exchange: the plain data that variables, templates and log lines read.
//!
//! The machine that moves an exchange forward is elsewhere; this is its memory. Everything that a variable may ask
//! for is here, and nothing here decides anything.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;

use rustls::pki_types::CertificateDer;
use smallvec::SmallVec;

use crate::access::proxy_protocol::ProxyHeader;
use crate::buf::Chunk;
use crate::cache::CacheStatus;
use crate::command::{Address, ListenerId, Peer};
use crate::config::{GeoId, LocationId, MapId, ServerId, SlotId, SplitId};
use crate::http::{RequestHead, ResponseHead, Status};
use crate::route::{Captures, Normalised, Regex};
use crate::time::Instant;
use crate::tls::hello::Hello;
use crate::tls::session::Agreed;

/// What stays the same for all exchanges of a client's connection.
#[derive(Clone, Debug)]
pub struct ConnFacts {
    /// Both ends.
    pub peer: Peer,
    /// `$remote_addr`: the client's address in text, without a port; `unix:` for a Unix socket.
    pub client_text: Box<[u8]>,
    /// `$connection`
    pub number: u64,
    /// The listening socket.
    pub listener: ListenerId,
    /// When it was accepted.
    pub accepted: Instant,
    /// Whether it came to a TLS port.
    pub tls_port: bool,
    /// What the PROXY protocol's header said.
    pub proxy: Option<Box<ProxyHeader>>,
    /// The client's own address, where realip has put another one in its place.
    pub replaced: Option<Box<Replaced>>,
    /// What TLS agreed on.
    pub tls: Option<Box<TlsFacts>>,
}

/// The address that a request came from, where that is a proxy's.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// `$realip_remote_addr`
    pub text: Box<[u8]>,
    /// `$realip_remote_port`; 0 for a Unix socket.
    pub port: u16,
}

/// What is known of a client's TLS once the handshake is complete.
#[derive(Clone, Debug, Default)]
pub struct TlsFacts {
    /// The server that the client named (`$ssl_server_name`); empty if it named none.
    pub server_name: Box<[u8]>,
    /// Whether a server has that name.
    pub named: bool,
    /// `$ssl_alpn_protocol`
    pub protocol: Box<[u8]>,
    /// The server whose certificate was shown, in the configuration of `generation`.
    pub server: ServerId,
    /// The configuration that the handshake began with.
    pub generation: u64,
    /// Whether the handshake was not complete when requests began to come (`$ssl_early_data`).
    pub early: bool,
    /// What the client offered.
    pub(crate) hello: Hello,
    /// What came of it.
    pub(crate) agreed: Option<Agreed>,
}

impl TlsFacts {
    /// The handshake has come this far.
    pub(crate) fn agree(&mut self, agreed: &Agreed) {
        self.protocol.clone_from(&agreed.protocol);
        self.agreed = Some(agreed.clone());
    }

    /// The client's certificates, its own first.
    pub(crate) fn peer_chain(&self) -> &[CertificateDer<'static>] {
        self.agreed.as_ref().map_or(&[], |agreed| &agreed.peer_chain)
    }
}

/// Everything known about one exchange.
#[derive(Debug)]
pub struct Facts {
    /// The client's connection.
    pub conn: Rc<ConnFacts>,
    /// What server side includes have set, for the request and all its subrequests.
    pub ssi: Option<Rc<RefCell<SsiState>>>,
    /// Whether it is a subrequest.
    pub is_sub: bool,
    /// It goes on as a GET because an error page or X-Accel-Redirect says so (`$request_method`).
    pub became_get: bool,
    /// `$connection_requests`: this exchange's number on its connection, from 1.
    pub conn_requests: u64,
    /// Whether it came together with the one before (`$pipe`).
    pub pipelined: bool,
    /// The request's head, as it was parsed. Empty where none was understood.
    pub head: RequestHead,
    /// The host that was asked for (`$host`): lower case, without a port; the target's authority before the Host field.
    /// Empty if there is none; `$host` is then the server's name.
    pub host: Chunk,
    /// The port behind the host, if one was sent (`$request_port`).
    pub request_port: Option<u16>,
    /// The normalised URI (`$uri`), as rewritten so far.
    pub uri: Chunk,
    /// The arguments (`$args`), without the question mark.
    pub args: Chunk,
    /// Whether the target had a question mark at all or arguments came by a rewrite.
    pub has_args_mark: bool,
    /// Whether `uri` is still what the client's target says: then the target may be forwarded unchanged.
    pub uri_unchanged: bool,
    /// The target as it was sent, without scheme and authority (`$request_uri`).
    pub raw: Chunk,
    /// Whether `raw` may be forwarded.
    pub raw_is_valid: bool,
    /// Whether the path had a `%XX`: only then is it escaped again where a part of it is forwarded.
    pub quoted: bool,
    /// Whether the path holds a plus sign.
    pub plus: bool,
    /// The server.
    pub server: ServerId,
    /// The location, or the server's own level, or an `if` block's.
    pub location: LocationId,
    /// The location that was found: `location` may be an `if` block inside of it.
    pub found: LocationId,
    /// Whether the URI still begins with what the location matched: not after `rewrite … break`.
    pub valid_location: bool,
    /// The captures of the regex that matched last.
    pub captures: RefCell<Option<Captures>>,
    /// The variables that this request has set.
    /// Subrequests share them.
    pub slots: Rc<RefCell<Slots>>,
    /// Those that were asked for before `set` gave them a value, until that is logged.
    pub uninitialized: RefCell<SmallVec<[SlotId; 2]>>,
    /// What the `map`s that were asked so far gave.
    pub maps: RefCell<MapMemo>,
    /// What is being evaluated, one inside the other, of all that may lead back to itself.
    pub nested: RefCell<SmallVec<[Nested; 2]>>,
    /// When the first byte of the request was read.
    pub started: Instant,
    /// The 128 random bits of `$request_id`.
    pub request_id: u128,
    /// Bytes of the request so far: request line, fields and body (`$request_length`).
    pub request_length: u64,
    /// The request body, where it is held whole in memory (`$request_body`): shared with whoever sends it.
    pub request_body: SmallVec<[Chunk; 1]>,
    /// The length of a request body whose head does not tell it, once it is known.
    pub request_body_bytes: Option<u64>,
    /// The rate that `set $limit_rate` or X-Accel-Limit-Rate asked for, in bytes per second.
    pub limit_rate: Option<u64>,
    /// The file that holds the request body, where it has a name (`$request_body_file`).
    pub request_body_file: Option<Arc<[u8]>>,
    /// What `limit_req` said (`$limit_req_status`).
    pub limit_req_status: Option<LimitStatus>,
    /// What `limit_conn` said (`$limit_conn_status`).
    pub limit_conn_status: Option<LimitStatus>,
    /// The target, where it was computed for this request.
    pub dynamic_target: Option<DynamicTarget>,
    /// What was sent, or is about to be.
    pub reply: Reply,
    /// Every server that was asked, in order.
    pub tries: SmallVec<[Try; 1]>,
    /// The upstream's reply head, if one came.
    pub upstream_head: Option<ResponseHead>,
    /// How many bytes of the reply were compressed, and to how many (`$gzip_ratio`).
    pub gzip_totals: Option<(u64, u64)>,
    /// What became of it at its cache; none where there is none.
    pub cache: Option<Box<CacheFacts>>,
    /// The lines behind the body of the upstream's reply, where they are passed on (`$upstream_trailer_…`).
    pub upstream_trailers: Chunk,
}

impl Facts {
    /// The facts of no request yet.
    #[must_use]
    pub fn blank(conn: Rc<ConnFacts>) -> Self {
        Self::blank_with(conn, Rc::default())
    }

    /// The facts of no request yet, with the memory for its variables.
    #[must_use]
    pub fn blank_with(conn: Rc<ConnFacts>, slots: Rc<RefCell<Slots>>) -> Self {
        Self {
            conn,
            is_sub: false,
            became_get: false,
            ssi: None,
            conn_requests: 0,
            pipelined: false,
            head: RequestHead::default(),
            host: Chunk::empty(),
            request_port: None,
            uri: Chunk::empty(),
            args: Chunk::empty(),
            has_args_mark: false,
            uri_unchanged: false,
            raw: Chunk::empty(),
            raw_is_valid: false,
            quoted: false,
            plus: false,
            server: ServerId::default(),
            location: LocationId::default(),
            found: LocationId::default(),
            valid_location: true,
            captures: RefCell::default(),
            slots,
            uninitialized: RefCell::default(),
            maps: RefCell::default(),
            nested: RefCell::default(),
            started: Instant::default(),
            request_id: 0,
            request_length: 0,
            request_body: SmallVec::new(),
            request_body_bytes: None,
            limit_rate: None,
            request_body_file: None,
            limit_req_status: None,
            limit_conn_status: None,
            dynamic_target: None,
            reply: Reply::default(),
            tries: SmallVec::new(),
            upstream_head: None,
            gzip_totals: None,
            cache: None,
            upstream_trailers: Chunk::empty(),
        }
    }

    /// What the target says.
    pub fn set_target(&mut self, target: Normalised) {
        // `OPTIONS *` asks about the server as a whole: the location of `/` answers, and `*` is what is passed on.
        let asterisk = target.path.as_slice() == b"*";
        self.uri = if asterisk { Chunk::from_static(b"/") } else { target.path };
        self.args = target.args;
        self.has_args_mark = target.has_args_mark;
        self.uri_unchanged = true;
        self.raw = target.raw;
        self.raw_is_valid = target.raw_is_valid;
        self.quoted = target.quoted;
        self.plus = target.plus;
    }

    /// A regex has matched: `$1` … and its named groups are set. A group that took no part is set to nothing.
    ///
    /// It may happen while a variable is looked up (a `map` with regexes), hence the shared reference.
    pub fn set_captures(&self, regex: &Regex, captures: Captures) {
        for (group, slot) in regex.slots() {
            self.set_slot(*slot, captures.group(*group).unwrap_or_default());
        }
        self.captures.replace(Some(captures));
    }

    /// Gives a variable of the request's own a value (`set`, a named capture).
    pub fn set_slot(&self, id: SlotId, value: &[u8]) {
        let mut slots = self.slots.borrow_mut();
        let place = id.0 as usize;
        if slots.len() <= place {
            slots.resize(place + 1, None);
        }
        if let Some(slot) = slots.get_mut(place) {
            *slot = Some(value.into());
        }
    }
}

/// A part of the configuration whose template may ask for the variable that is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nested {
    /// A `map`.
    Map(MapId),
    /// A `geo`.
    Geo(GeoId),
    /// A `split_clients`.
    Split(SplitId),
    /// `secure_link` or `secure_link_md5`
    SecureLink,
    /// `root` or `alias`.
    Root,
    /// `limit_rate`
    LimitRate,
}

/// What is known of a request at its cache.
#[derive(Clone, Debug)]
pub struct CacheFacts {
    /// `$upstream_cache_status`
    pub status: CacheStatus,
    /// `$upstream_cache_key`
    pub key: Chunk,
    /// `$upstream_cache_last_modified`, in seconds since the epoch: what an old entry says, where it is revalidated.
    pub last_modified_s: Option<i64>,
    /// `$upstream_cache_etag`, likewise.
    pub etag: Box<[u8]>,
}

impl Default for CacheFacts {
    fn default() -> Self {
        Self { status: CacheStatus::Miss, key: Chunk::empty(), last_modified_s: None, etag: Box::default() }
    }
}

/// What a limit said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitStatus {
    /// It went on.
    Passed,
    /// It had to wait.
    Delayed,
    /// It was refused.
    Rejected,
    /// It would have had to wait.
    DelayedDryRun,
    /// It would have been refused.
    RejectedDryRun,
}

impl LimitStatus {
    /// The variables' value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "PASSED",
            Self::Delayed => "DELAYED",
            Self::Rejected => "REJECTED",
            Self::DelayedDryRun => "DELAYED_DRY_RUN",
            Self::RejectedDryRun => "REJECTED_DRY_RUN",
        }
    }
}

/// The variables that a request has set, by [`SlotId`]; shorter than the table where nothing was set yet.
pub type Slots = Vec<Option<Box<[u8]>>>;

/// The values of `map`s that were looked up already: for one request a map keeps its first value.
pub type MapMemo = SmallVec<[(MapId, SmallVec<[u8; 24]>); 1]>;

/// A `proxy_pass` URL that was computed for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicTarget {
    /// `$proxy_host`
    pub host: Box<[u8]>,
    /// `$proxy_port`
    pub port: Box<[u8]>,
    /// What is asked for; empty for the request's own target.
    pub uri: Box<[u8]>,
    /// Whether it is asked over TLS.
    pub tls: bool,
}

/// The reply as the client sees it.
#[derive(Debug, Default)]
pub struct Reply {
    /// Its status (`$status`); 0 (`000` in logs) while nothing was decided.
    pub status: Status,
    /// The head as it was sent: the status line and every field line (`$sent_http_…`).
    pub head: Chunk,
    /// The lines behind the body (`$sent_trailer_…`).
    pub trailers: Chunk,
    /// Bytes sent, head included (`$bytes_sent`).
    pub bytes_sent: u64,
    /// Bytes sent, head excluded (`$body_bytes_sent`).
    pub body_bytes_sent: u64,
    /// Whether the whole reply was sent (`$request_completion`).
    pub complete: bool,
}

/// One attempt at one server (`$upstream_*`). Durations are in microseconds.
#[derive(Clone, Debug)]
pub struct Try {
    /// The server's address; none if no server could be chosen, and then `name` is the group's.
    pub address: Option<Address>,
    /// What to print where there is no address.
    pub name: Box<str>,
    /// Its reply's status; 0 (`-` in logs) if none came; 502 or 504 where nginx says so for a failed try.
    pub status: Option<Status>,
    /// When the try began.
    pub started: Instant,
    /// How long the request had waited for a server with room, if it did.
    pub queued_us: Option<u64>,
    /// How long the connection took; none if it was not made. Reused connections took 0.
    pub connect_us: Option<u64>,
    /// How long until the head was there.
    pub header_us: Option<u64>,
    /// How long until the end of the reply.
    pub response_us: Option<u64>,
    /// Bytes sent to it.
    pub bytes_sent: u64,
    /// Bytes received from it, head included.
    pub bytes_received: u64,
    /// Bytes of its body.
    pub response_length: u64,
    /// The next try went to another group (an internal redirect): logs print ` : ` instead of `, `.
    pub last_of_group: bool,
}

/// A name and its value.
pub type SsiVariable = (Box<[u8]>, Box<[u8]>);

/// What server side includes have set.
#[derive(Clone, Debug, Default)]
pub struct SsiState {
    /// Variables, by name in lower case.
    pub variables: Vec<SsiVariable>,
    /// Blocks that may stand in for an include without a body, by name.
    pub blocks: Vec<(Box<[u8]>, Chunk)>,
    /// `timefmt`
    pub time_format: Option<Box<[u8]>>,
}
