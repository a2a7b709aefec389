//! `limit_req` and `limit_conn`: how much of the same is too much.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::{Template, ZoneId};
use crate::command::Level;
use crate::http::Status;

/// `limit_req_zone` or `limit_conn_zone`. Its state lives in [`shared`](crate::shared).
#[derive(Clone, Debug)]
pub struct LimitZone {
    /// The name.
    pub name: Arc<str>,
    /// The size of its state in bytes, as nginx counts them.
    pub bytes: usize,
    /// What is counted together; requests with an empty one are not counted.
    pub key: Template,
    /// The key as it stands in the file.
    pub key_text: Box<str>,
    /// What is counted.
    pub kind: LimitKind,
}

/// What a zone counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// Requests in time.
    Requests {
        /// How many, in thousandths of a request per second.
        rate: u64,
    },
    /// Requests at the same time.
    Connections,
}

/// What a level says about both.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// `limit_req`
    pub requests: Option<RequestLimits>,
    /// `limit_conn`
    pub connections: Option<ConnectionLimits>,
}

/// `limit_req` and what belongs to it.
#[derive(Clone, Debug)]
pub struct RequestLimits {
    /// One for each directive, in order.
    pub limits: Box<[RequestLimit]>,
    /// `limit_req_log_level`, for refusals.
    pub level: Level,
    /// One level less severe, for delays.
    pub delay_level: Level,
    /// `limit_req_status`
    pub status: Status,
    /// `limit_req_dry_run`
    pub dry_run: bool,
}

/// One `limit_req`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimit {
    /// The zone.
    pub zone: ZoneId,
    /// `burst`, in thousandths of a request.
    pub burst: u64,
    /// `delay`, in thousandths of a request; without bound for `nodelay`.
    pub delay: u64,
}

/// `limit_conn` and what belongs to it.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// One for each directive, in order.
    pub limits: Box<[ConnectionLimit]>,
    /// `limit_conn_log_level`
    pub level: Level,
    /// `limit_conn_status`
    pub status: Status,
    /// `limit_conn_dry_run`
    pub dry_run: bool,
}

/// One `limit_conn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimit {
    /// The zone.
    pub zone: ZoneId,
    /// How many requests of one key are served at the same time.
    pub most: u32,
}
