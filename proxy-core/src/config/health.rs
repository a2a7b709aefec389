//! Active health checks: `health_check` and `match`.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::{LocationId, Proxy, ServerId, Variable};
use crate::http::Status;
use crate::route::Regex;
use crate::time::Millis;

/// One `health_check`, with the settings of the location that it stands in.
#[derive(Debug)]
pub struct HealthCheck {
    /// All that it says, and where its requests go: what is known of the servers stays under this key.
    pub key: Arc<str>,
    /// The server that the location belongs to.
    pub server: ServerId,
    /// The location.
    pub location: LocationId,
    /// The location's `proxy_pass` and all that belongs to it.
    pub proxy: Arc<Proxy>,
    /// What is done to a server.
    pub kind: CheckKind,
    /// `interval=`: between two checks of a server.
    pub interval: Millis,
    /// `jitter=`: up to so much later, at random.
    pub jitter: Millis,
    /// `fails=`: so many failures in a row make a server unhealthy.
    pub fails: u32,
    /// `passes=`: so many passes in a row make it healthy.
    pub passes: u32,
    /// `mandatory`: a new server gets nothing until it has passed.
    pub mandatory: bool,
    /// `persistent`: what was known before a reload stays.
    pub persistent: bool,
    /// `port=`: another port than the server's own.
    pub port: Option<u16>,
    /// `keepalive_time=`: how long a connection serves; none for a new one each time.
    pub keepalive_time: Option<Millis>,
}

impl HealthCheck {
    /// The name of its `match` block; empty without one.
    #[must_use]
    pub fn match_name(&self) -> &str {
        match &self.kind {
            CheckKind::Http { conditions: Some(conditions), .. } => &conditions.name,
            CheckKind::Http { conditions: None, .. } | CheckKind::Tcp | CheckKind::Grpc { .. } => "",
        }
    }
}

/// What a check does to a server.
#[derive(Clone, Debug)]
pub enum CheckKind {
    /// It sends a request and judges the reply.
    Http {
        /// `uri=`
        uri: Box<[u8]>,
        /// `match=`; without it a status 2xx or 3xx passes.
        conditions: Option<Arc<Match>>,
    },
    /// `type=tcp`: it connects.
    Tcp,
    /// `type=grpc`: it calls the gRPC health service.
    Grpc {
        /// `grpc_service=`: the service that is asked about; empty for the server as such.
        service: Box<[u8]>,
        /// `grpc_status=`: a status that is well, too.
        status: Option<u32>,
    },
}

/// A `match` block: what a reply must be like, all of it.
#[derive(Debug, Default)]
pub struct Match {
    /// Its name.
    pub name: Box<str>,
    /// `status`; none accepts every status.
    pub status: Option<StatusSet>,
    /// `header`
    pub headers: Box<[HeaderCondition]>,
    /// `body`
    pub bodies: Box<[BodyCondition]>,
    /// `require`: variables that must be neither empty nor 0.
    pub required: Box<[Variable]>,
}

/// `status [!] code | code-code …`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusSet {
    /// None of them may match, instead of one of them.
    pub negated: bool,
    /// From and to, both included.
    pub ranges: Box<[(u16, u16)]>,
}

impl StatusSet {
    /// Whether a status passes.
    #[must_use]
    pub fn accepts(&self, status: Status) -> bool {
        self.ranges.iter().any(|(from, to)| (*from..=*to).contains(&status.0)) != self.negated
    }
}

/// `header …`
#[derive(Debug)]
pub struct HeaderCondition {
    /// The field's name.
    pub name: Box<[u8]>,
    /// What is asked of it.
    pub test: HeaderTest,
}

/// What is asked of a header field.
#[derive(Debug)]
pub enum HeaderTest {
    /// `header name`: it is there.
    Present,
    /// `header ! name`: it is not.
    Absent,
    /// `header name = value`
    Is(Box<[u8]>),
    /// `header name != value`: it is there, with another value.
    IsNot(Box<[u8]>),
    /// `header name ~ regex`
    Matches(Regex),
    /// `header name !~ regex`: it is there, and does not match.
    MatchesNot(Regex),
}

/// `body ~ regex` or `body !~ regex`
#[derive(Debug)]
pub struct BodyCondition {
    /// What is looked for.
    pub regex: Regex,
    /// It must not be found.
    pub negated: bool,
}
