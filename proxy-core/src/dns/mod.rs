//! A stub resolver without a socket: questions go out to name servers, answers are checked and remembered.
//!
//! What it is: nginx's `resolver` (A and AAAA in parallel, SRV with the addresses of its targets, CNAME chains, UDP with
//! TCP behind a truncated answer, rotation over the name servers, `valid=`, `ipv4=`, `ipv6=`). What it is not: a
//! recursive resolver, a validator, or a reader of `/etc/hosts`; names that no `resolver` covers are the driver's.
//!
//! ```text
//!  lookup ─► [`resolver`] ─ cached ────────────────────────────────► answer
//!               │ not cached                                           ▲
//!               └─► query ─► wire (UDP) ─ answer ─► cache ─► [`lookup`]┘ ─► next question: alias, target of a service
//!                     ▲         ├ truncated ──────► wire (TCP)
//!                     └─────────┴ refused, silent ► next name server
//! ```
//! - [`name`] and [`message`]: RFC 1035, with the parts of RFC 3596 (AAAA), 2782 (SRV) and 2308 (negative answers) that
//!   a stub needs. Our own and not a library's: the `no_std` ones bring a calendar or a whole resolver along for the
//!   four record types that are read here.
//! - [`cache`]: what was answered, for as long as it may be believed.
//! - [`query`]: one question on its way, and the wires that it is on.
//! - [`lookup`]: what somebody wants to know, which may take several questions.
//! - [`resolver`]: the machine that owns all of these.
//!
//! **Against forged answers** (RFC 5452): each try has a socket of its own, connected to one name server, so that the
//! kernel picks its port at random and drops what comes from elsewhere; its id comes from a keyed generator whose state
//! no output reveals ([`Secret`]); an answer must repeat id and question; only records of the question's own chain of
//! names are taken, and only from the answer section, so that nothing unasked enters the cache. What does not fit is
//! dropped and the wire goes on waiting, so that a forgery cannot end a question either. One question is only on its way
//! once, so that many requests for a name do not add up to many chances for a forger.

pub mod cache;
mod failure;
pub mod lookup;
pub mod message;
pub mod name;
pub mod query;
pub mod resolver;
mod secret;

pub use failure::Failure;
pub use lookup::{Found, Resolved, Subject};
pub use message::{Answer, Kind, Question, Record, Service};
pub use name::Name;
pub use resolver::{Action, Resolver, WireId};
pub use secret::Secret;
