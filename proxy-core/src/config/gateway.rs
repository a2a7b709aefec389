//! What makes a location's upstream a program behind FastCGI, SCGI or uwsgi: `fastcgi_pass`, `scgi_pass`, `uwsgi_pass`.
//!
//! Everything else about such a location is in [`Proxy`](super::Proxy): servers, timeouts, buffers and the rest are one
//! machine for all upstreams.

use alloc::boxed::Box;

use super::Template;
use crate::route::Regex;

/// What an upstream gets instead of an HTTP request.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// How it is packed.
    pub protocol: GatewayProtocol,
    /// `fastcgi_param` and its kin, in order.
    pub params: Box<[GatewayParam]>,
    /// The request's fields that these stand for (`HTTP_X_REAL_IP`: `x_real_ip`), in lower case: they are not passed.
    pub own_fields: Box<[Box<[u8]>]>,
    /// `fastcgi_catch_stderr`
    pub catch_stderr: Box<[Box<[u8]>]>,
}

/// The protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayProtocol {
    /// FastCGI
    FastCgi {
        /// `fastcgi_keep_conn`
        keep_conn: bool,
    },
    /// SCGI
    Scgi,
    /// uwsgi
    Uwsgi {
        /// `uwsgi_modifier1` and `uwsgi_modifier2`
        modifiers: (u8, u8),
        /// `uwsgi_string`
        text: Box<[u8]>,
    },
}

impl GatewayProtocol {
    /// How nginx names it in URLs of log lines.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        match self {
            Self::FastCgi { .. } => "fastcgi",
            Self::Scgi => "scgi",
            Self::Uwsgi { .. } => "uwsgi",
        }
    }

    /// Whether the length of the request's body has to be known before it is asked.
    #[must_use]
    pub const fn needs_length(&self) -> bool {
        !matches!(self, Self::FastCgi { .. })
    }
}

/// One parameter.
#[derive(Clone, Debug)]
pub struct GatewayParam {
    /// Its name.
    pub name: Box<[u8]>,
    /// Its value.
    pub value: Template,
    /// `if_not_empty`
    pub unless_empty: bool,
}

/// What `$fastcgi_script_name` and `$fastcgi_path_info` go by.
#[derive(Clone, Debug, Default)]
pub struct ScriptName {
    /// `fastcgi_index`
    pub index: Box<[u8]>,
    /// `fastcgi_split_path_info`, with two captures.
    pub split: Option<Regex>,
}
