//! Upstream groups.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{HealthCheck, ResolverId, Template};
use crate::command::Address;
use crate::time::Millis;

/// A group of servers that a request may be passed to.
#[derive(Debug)]
pub struct Upstream {
    /// The group's name, or the `host:port` of a literal `proxy_pass`.
    pub name: Box<str>,
    /// Whether it comes from an `upstream` block.
    pub explicit: bool,
    /// How a server is chosen.
    pub balance: Balance,
    /// What else it does with its requests.
    pub policy: Arc<Policy>,
    /// The servers in their order. A name with several addresses stands here once for each of them.
    pub servers: Vec<UpstreamServer>,
    /// The `server` lines whose names are looked up at run time.
    pub names: Vec<Arc<UpstreamName>>,
    /// `zone`: its name.
    pub zone: Option<Box<str>>,
    /// `state`: the file that its servers are kept in.
    pub state: Option<Arc<[u8]>>,
    /// The active checks of its servers.
    pub checks: Vec<Arc<HealthCheck>>,
    /// `keepalive`: idle connections that each worker keeps; 0 keeps none.
    pub keepalive: usize,
    /// `keepalive_requests`
    pub keepalive_requests: u64,
    /// `keepalive_time`
    pub keepalive_time: Millis,
    /// `keepalive_timeout`
    pub keepalive_timeout: Millis,
    /// The group of the same name in the previous configuration keeps its state under this key.
    pub state_key: Arc<str>,
}

/// A `server` line whose name is looked up at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamName {
    /// The host.
    pub host: Box<str>,
    /// The port; of a service each server has its own.
    pub port: u16,
    /// `service=`
    pub service: Option<Box<str>>,
    /// What the line says of each address; its own address means nothing.
    pub server: UpstreamServer,
    /// Who is asked; none for the system.
    pub resolver: Option<ResolverId>,
    /// `resolver_timeout`
    pub timeout: Millis,
    /// Without `resolve`: the name was not found when the configuration was loaded, and is looked up until it is.
    pub once: bool,
}

impl UpstreamName {
    /// A line with nothing but a name in it.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            service: None,
            server: UpstreamServer { name: host.into(), ..UpstreamServer::new(Address::Unix("".into())) },
            resolver: None,
            timeout: Millis::from_secs(30),
            once: false,
        }
    }

    /// What tells the names of a group apart.
    #[must_use]
    pub fn key(&self) -> Box<str> {
        let service = self.service.as_deref().unwrap_or_default();
        alloc::format!("{} {} {service}", self.host, self.port).into()
    }

    /// The name of the SRV records: a plain service is one of TCP, one with a dot stands as it is (nginx's rule).
    #[must_use]
    pub fn service_name(&self) -> Option<String> {
        let service = self.service.as_deref()?;
        let host = &self.host;
        let dotted = service.contains('.');
        Some(if dotted {
            alloc::format!("{service}.{host}")
        } else {
            alloc::format!("_{service}._tcp.{host}")
        })
    }
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// nginx's smooth weighted round robin.
    #[default]
    RoundRobin,
    /// `least_conn`: the fewest requests under way.
    LeastConn,
    /// `least_time`: the least time for what is under way.
    LeastTime(LeastTime),
    /// `ip_hash`: by the client's address.
    IpHash,
    /// `hash key`, with the key in [`Policy::key`].
    Hash,
    /// `hash key consistent`
    HashConsistent,
    /// `random`, or the better of two.
    Random(Option<RandomTwo>),
}

impl Balance {
    /// What it measures of every reply, if it goes by times.
    #[must_use]
    pub const fn measures(self) -> Option<LeastTime> {
        match self {
            Self::LeastTime(by) | Self::Random(Some(RandomTwo::LeastTime(by))) => Some(by),
            Self::RoundRobin
            | Self::LeastConn
            | Self::IpHash
            | Self::Hash
            | Self::HashConsistent
            | Self::Random(_) => None,
        }
    }

    /// Whether a request has a key that names its server.
    #[must_use]
    pub const fn needs_key(self) -> bool {
        matches!(self, Self::IpHash | Self::Hash | Self::HashConsistent)
    }
}

/// What `least_time` goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeastTime {
    /// What is measured.
    pub measure: Measure,
    /// `inflight`: the time of requests that are not through yet counts, too.
    pub inflight: bool,
}

/// A time that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// `header`: until the head is there.
    Header,
    /// `last_byte`: until the reply has ended.
    LastByte,
}

/// Which of two is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RandomTwo {
    /// The one with fewer requests under way.
    LeastConn,
    /// The one that needs less time.
    LeastTime(LeastTime),
}

/// What else a group does with its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What `hash` hashes.
    pub key: Option<Template>,
    /// `sticky`
    pub sticky: Option<Sticky>,
    /// `queue`
    pub queue: Option<Queue>,
    /// `retry_budget`
    pub retry_budget: Option<BudgetLimits>,
    /// `outlier_ejection`
    pub outliers: Option<Outliers>,
}

impl Policy {
    /// What it learns sessions by, if it does.
    #[must_use]
    pub fn learns(&self) -> Option<&StickyLearn> {
        match &self.sticky.as_ref()?.kind {
            StickyKind::Learn(learn) => Some(learn),
            StickyKind::Cookie(_) | StickyKind::Route => None,
        }
    }

    /// Whether it keeps its sessions in this zone.
    #[must_use]
    pub fn learns_in(&self, zone: &str) -> bool {
        self.learns().is_some_and(|learn| &*learn.zone == zone)
    }
}

/// `queue number [timeout=time]`: what a request does for which there is no room at any server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many may wait, in the whole process.
    pub waiting_max: u32,
    /// How long one waits.
    pub timeout: Millis,
}

/// `retry_budget share% [min=number]`: how many requests may be at a second server at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetLimits {
    /// Of the requests under way, in percent.
    pub percent: u32,
    /// So many in any case.
    pub min: u32,
}

/// `outlier_ejection`: when a server is left out for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outliers {
    /// `consecutive_5xx=`: so many bad replies or failures in a row; 0 is off.
    pub consecutive_5xx: u32,
    /// `latency=`: an average time to the head above this; zero is off.
    pub latency: Millis,
    /// `time=`: for how long; each ejection that follows soon is longer.
    pub time: Millis,
    /// `max_ejected=`: at most this share of the servers at one time, in percent.
    pub max_ejected_percent: u32,
}

/// `sticky`: how a request finds the server that its session began with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// Where the request says it: the first of these that is not empty.
    pub lookup: Box<[Template]>,
    /// What the reply is given, or learnt from.
    pub kind: StickyKind,
}

/// The kinds of `sticky`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StickyKind {
    /// `sticky cookie`: the reply sets a cookie that names the server.
    Cookie(StickyCookie),
    /// `sticky route`: the request names the server.
    Route,
    /// `sticky learn`: the server's own session names are remembered.
    Learn(StickyLearn),
}

/// The cookie that `sticky cookie` sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickyCookie {
    /// Its name.
    pub name: Box<[u8]>,
    /// `expires=` in seconds, if it was given.
    pub expires_s: Option<CookieExpires>,
    /// `domain=`
    pub domain: Option<Template>,
    /// `path=`
    pub path: Option<Box<[u8]>>,
    /// `httponly`
    pub http_only: bool,
    /// `secure`
    pub secure: bool,
    /// `samesite=`
    pub same_site: Option<Template>,
}

/// When a cookie expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieExpires {
    /// `max`
    Max,
    /// After so many seconds.
    Seconds(u64),
}

/// `sticky learn`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickyLearn {
    /// `create=`: where the reply names a new session; the first that is not empty.
    pub create: Box<[Template]>,
    /// `zone=`: the name of the table.
    pub zone: Box<str>,
    /// How many sessions it holds.
    pub sessions_max: usize,
    /// `timeout=`: how long a session that is not used is remembered.
    pub timeout: Millis,
    /// `header`: learn when the head is there, not when the reply has ended.
    pub header: bool,
}

/// One address of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// The address.
    pub address: Address,
    /// The `server` parameter as written, for messages.
    pub name: Box<str>,
    /// `weight=`
    pub weight: u32,
    /// `max_fails=`; 0 never takes it out.
    pub max_fails: u32,
    /// `fail_timeout=`
    pub fail_timeout: Millis,
    /// `max_conns=`; 0 is no limit.
    pub max_conns: u32,
    /// `backup`
    pub backup: bool,
    /// `down`
    pub down: bool,
    /// `drain`: only requests that belong to it already (`sticky`) are passed to it.
    pub drain: bool,
    /// `slow_start=`; zero is off.
    pub slow_start: Millis,
    /// `route=`: what `sticky` calls it; empty for a digest of its address.
    pub route: Box<str>,
    /// The number of its `server` line in the block, from 0: the servers of a group stand in this order.
    pub line: u32,
}
