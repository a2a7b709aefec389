//! What a worker notes of its decisions when it is asked to, for `ringgate explain`.
//!
//! A worker that serves does not trace: each hook is one test of an `Option` that is none, beside work that is a request's
//! own. A trace is told in the order in which things were decided, with the messages of the error log among them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::command::{Address, Level, ListenerId};
use crate::config::{LocationId, MapId, Origin, ServerId, ZoneId};
use crate::http::Status;

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A request's server is known.
    Server {
        /// The socket that it came to.
        listener: ListenerId,
        /// The host that it names, as it is looked up; empty for none.
        host: Vec<u8>,
        /// The server.
        server: ServerId,
        /// How its name was found.
        by: NamedBy,
    },
    /// A location was looked for.
    Location {
        /// The normalised URI.
        uri: Vec<u8>,
        /// What was looked at, in this order.
        considered: Vec<Considered>,
        /// What was found; the server's own level where nothing matches.
        location: LocationId,
        /// The URI lacks only the slash at the location's end.
        add_slash: bool,
    },
    /// `set_real_ip_from` and its kin replaced the client's address.
    RealIp {
        /// What the connection says.
        from: Address,
        /// What is believed.
        to: Address,
    },
    /// A directive of the rewrite module ran.
    Ran {
        /// Where it stands.
        origin: Origin,
        /// What came of it.
        outcome: Outcome,
    },
    /// A map was looked up.
    Map {
        /// The map.
        map: MapId,
        /// The string.
        source: Vec<u8>,
        /// What it says.
        value: Vec<u8>,
        /// The line that says so; the default one where there is none.
        origin: Origin,
    },
    /// A limit's key was evaluated; an empty one is not counted.
    LimitKey {
        /// The zone.
        zone: ZoneId,
        /// The key.
        key: Vec<u8>,
    },
    /// The limits have had their say.
    Limit(LimitOutcome),
    /// A check of the access phase has answered.
    Access {
        /// Which directives it stands for.
        check: AccessCheck,
        /// The client's address as they see it.
        client: Address,
        /// What it says.
        verdict: AccessOutcome,
        /// The location that asks.
        location: LocationId,
    },
    /// Nobody objects: the content of this location is asked for.
    Content {
        /// The location whose settings hold, an `if` block's perhaps.
        location: LocationId,
        /// The URI as it is now.
        uri: Vec<u8>,
    },
    /// An internal redirect: the phases begin again.
    Redirect {
        /// Where to: a URI, with its arguments.
        uri: Vec<u8>,
    },
    /// The request goes on in a named location.
    Named {
        /// Its name, without the at sign.
        name: Vec<u8>,
        /// The location.
        location: LocationId,
    },
    /// `error_page` takes the place of a status.
    ErrorPage {
        /// The status.
        status: Status,
        /// The location that says so.
        location: LocationId,
    },
    /// A subrequest begins: what follows may be about it.
    Subrequest {
        /// What for.
        purpose: &'static str,
        /// What it asks for.
        uri: Vec<u8>,
    },
    /// A server of an upstream group was chosen.
    Peer {
        /// The group's name.
        group: Vec<u8>,
        /// The server's address; none where no server is left.
        address: Option<Address>,
        /// The location that asks.
        location: LocationId,
    },
    /// A message for the error log.
    Message {
        /// How bad.
        level: Level,
        /// Without what is said of the request.
        text: Vec<u8>,
    },
    /// A client's request is over.
    Ended {
        /// The status for the log.
        status: Status,
        /// The location that answered.
        location: LocationId,
    },
}

/// How a server's name was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// The very same name.
    Exact,
    /// A wildcard at the beginning: `*.example.com`.
    Suffix,
    /// A wildcard at the end: `www.example.*`.
    Prefix,
    /// The first regex that matches.
    Regex,
    /// No name matches: the default server of the socket.
    Default,
}

/// A location that a search looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Considered {
    /// The location.
    pub location: LocationId,
    /// What was found out.
    pub found: Match,
}

/// What a search finds out about a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It is the URI itself.
    Exact,
    /// It begins the URI.
    Prefix,
    /// It begins the URI, and is longer than those before: regexes and nested locations may still decide otherwise.
    Longest,
    /// As [`Longest`](Self::Longest), and says that regexes are not asked (`^~`).
    NoRegex,
    /// Its regex matches, or its variable holds.
    Holds,
    /// Its regex does not match, or its variable does not hold.
    Fails,
}

/// What came of a directive of the rewrite module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `rewrite` did not match.
    NoMatch,
    /// `rewrite` changed the URI.
    Rewritten {
        /// The new one.
        uri: Vec<u8>,
        /// The new arguments.
        args: Vec<u8>,
    },
    /// `rewrite` or `return` answers with a redirect or a text.
    Answered(Status),
    /// `set` gave a variable this value.
    Set(Vec<u8>),
    /// The condition of `if` holds, or does not.
    If(bool),
    /// `if` asks whether this file exists.
    Asks(Vec<u8>),
    /// `break`
    Break,
}

/// What `limit_req` or `limit_conn` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitOutcome {
    /// The request may go on.
    Pass,
    /// It waits so many milliseconds.
    Delay(u64),
    /// It ends with this status.
    Refuse(Status),
}

/// A check of the access phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessCheck {
    /// `allow` and `deny`
    Address,
    /// `auth_basic`
    Password,
    /// `auth_request`
    Request,
}

/// What a check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessOutcome {
    /// It has nothing to say.
    Declined,
    /// The request may go on.
    Allowed,
    /// It may not.
    Denied(Status),
    /// The answer comes later.
    Pending,
}

/// Where steps go while a worker traces.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    steps: RefCell<Vec<Step>>,
}

/// A worker's trace: none for a worker that serves.
pub(crate) type Tracing = Option<Box<Trace>>;

impl Trace {
    pub(crate) fn push(&self, step: Step) {
        self.steps.borrow_mut().push(step);
    }

    pub(crate) fn take(&self) -> Vec<Step> {
        self.steps.take()
    }
}

/// Watches a search for a location. The one for requests that are not traced does nothing and costs nothing.
pub(crate) trait Watch {
    /// A location was looked at.
    fn saw(&mut self, location: LocationId, found: Match);
}

impl Watch for () {
    fn saw(&mut self, _: LocationId, _: Match) {}
}

impl Watch for Vec<Considered> {
    fn saw(&mut self, location: LocationId, found: Match) {
        self.push(Considered { location, found });
    }
}
