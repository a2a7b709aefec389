//! What is wrong with a request to the API, in NGINX Plus' words and shape.

use alloc::borrow::Cow;
use alloc::format;

use serde_json::json;

use super::Answer;
use crate::http::Status;

/// An error: its status, what a person reads, what a program reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: Status,
    text: Cow<'static, str>,
    code: &'static str,
}

impl ApiError {
    pub(super) const UNKNOWN_VERSION: Self = Self::new(404, "unknown version", "UnknownVersion");
    pub(super) const PATH_NOT_FOUND: Self = Self::new(404, "path not found", "PathNotFound");
    pub(super) const UPSTREAM_NOT_FOUND: Self = Self::new(404, "upstream not found", "UpstreamNotFound");
    pub(super) const SERVER_ID: Self = Self::new(400, "invalid server ID", "UpstreamBadServerId");
    pub(super) const METHOD_NOT_ALLOWED: Self = Self::new(405, "method not supported", "MethodNotAllowed");
    pub(super) const METHOD_DISABLED: Self = Self::new(405, "method disabled", "MethodDisabled");
    pub(super) const BODY_TOO_LARGE: Self = Self::new(413, "request body is too large", "BodyTooLarge");
    pub(super) const JSON: Self = Self::new(415, "JSON error", "JsonError");
    pub(super) const NO_SERVER: Self =
        Self::new(400, "missing \"server\" argument", "UpstreamConfFormatError");
    pub(super) const NESTED: Self = Self::new(400, "nested object or list", "UpstreamConfFormatError");
    pub(super) const BAD_ROUTE: Self = Self::new(400, "route is too long", "UpstreamBadRoute");
    pub(super) const NO_RESOLVER: Self = Self::new(
        400,
        "only an address can be added, not a name: names belong into the configuration, with \"resolve\"",
        "UpstreamConfNoResolver",
    );

    pub(super) const SLAB_NOT_FOUND: Self = Self::new(404, "slab not found", "SlabNotFound");
    pub(super) const SERVER_ZONE_NOT_FOUND: Self =
        Self::new(404, "server zone not found", "ServerZoneNotFound");
    pub(super) const LOCATION_ZONE_NOT_FOUND: Self =
        Self::new(404, "location zone not found", "LocationZoneNotFound");
    pub(super) const KEYVAL_NOT_FOUND: Self = Self::new(404, "keyval not found", "KeyvalNotFound");
    pub(super) const CACHE_NOT_FOUND: Self = Self::new(404, "cache not found", "CacheNotFound");
    pub(super) const LIMIT_REQ_NOT_FOUND: Self = Self::new(404, "limit_req not found", "LimitReqNotFound");
    pub(super) const LIMIT_CONN_NOT_FOUND: Self = Self::new(404, "limit_conn not found", "LimitConnNotFound");

    const fn new(status: u16, text: &'static str, code: &'static str) -> Self {
        Self { status: Status(status), text: Cow::Borrowed(text), code }
    }

    /// With a text that names what it is about.
    pub(super) const fn about(status: u16, text: alloc::string::String, code: &'static str) -> Self {
        Self { status: Status(status), text: Cow::Owned(text), code }
    }

    /// A value that is not what it should be.
    pub(super) fn bad(name: &str, code: &'static str) -> Self {
        Self::about(400, format!("invalid \"{name}\""), code)
    }

    pub(super) fn answer(self, request_id: u128) -> Answer {
        let body = json!({
            "error": { "status": self.status.0, "text": self.text, "code": self.code },
            "request_id": format!("{request_id:032x}"),
            "href": "https://nginx.org/en/docs/http/ngx_http_api_module.html",
        });
        Answer { status: self.status, body, location: None }
    }
}
