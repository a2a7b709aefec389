//! nginx's variables, by what they ask for.

use alloc::boxed::Box;

use super::{GeoId, MapId, SlotId, SplitId};
use crate::access::proxy_protocol::Tlv;

macro_rules! variables {
    ($($id:ident = $name:literal;)*) => {
        /// A variable, resolved at load.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Variable {
            $(#[doc = concat!("`$", $name, "`")] $id,)*
            /// `$1` … `$9`: a capture of the regex that matched last; `$0` is not one.
            Capture(u8),
            /// A variable that the request sets: `set`, a named capture.
            Slot(SlotId),
            /// A `map`'s.
            Map(MapId),
            /// A `geo`'s.
            Geo(GeoId),
            /// A `split_clients`'.
            Split(SplitId),
            /// `$arg_NAME`: the first argument of this name, compared without regard to case; as it was sent.
            Arg(Box<[u8]>),
            /// `$cookie_NAME`
            Cookie(Box<[u8]>),
            /// `$proxy_protocol_tlv_NAME`
            ProxyProtocolTlv(Tlv),
            /// `$http_NAME`: a request field; the name in lower case with dashes.
            Http(Box<[u8]>),
            /// `$sent_http_NAME`: a field of the reply as the client gets it.
            SentHttp(Box<[u8]>),
            /// `$sent_trailer_NAME`
            SentTrailer(Box<[u8]>),
            /// `$upstream_http_NAME`: a field of the upstream's reply.
            UpstreamHttp(Box<[u8]>),
            /// `$upstream_cookie_NAME`: a cookie that the upstream set.
            UpstreamCookie(Box<[u8]>),
            /// `$upstream_trailer_NAME`
            UpstreamTrailer(Box<[u8]>),
        }

        /// The fixed names with what they mean.
        const FIXED: &[(&str, Variable)] = &[$(($name, Variable::$id),)*];

        /// Their names.
        #[cfg(test)]
        pub(crate) const VARIABLES: &[&str] = &[$($name,)*];
    };
}

variables! {
    AncientBrowser = "ancient_browser";
    Args = "args";
    BinaryRemoteAddr = "binary_remote_addr";
    BodyBytesSent = "body_bytes_sent";
    BytesSent = "bytes_sent";
    Connection = "connection";
    ConnectionRequests = "connection_requests";
    ConnectionTime = "connection_time";
    ConnectionsActive = "connections_active";
    ConnectionsReading = "connections_reading";
    ConnectionsWaiting = "connections_waiting";
    ConnectionsWriting = "connections_writing";
    ContentLength = "content_length";
    ContentType = "content_type";
    DateGmt = "date_gmt";
    DateLocal = "date_local";
    DocumentRoot = "document_root";
    DocumentUri = "document_uri";
    FastcgiPathInfo = "fastcgi_path_info";
    FastcgiScriptName = "fastcgi_script_name";
    GzipRatio = "gzip_ratio";
    Host = "host";
    Hostname = "hostname";
    Https = "https";
    InvalidReferer = "invalid_referer";
    IsArgs = "is_args";
    IsRequestPort = "is_request_port";
    LimitConnStatus = "limit_conn_status";
    LimitRate = "limit_rate";
    LimitReqStatus = "limit_req_status";
    ModernBrowser = "modern_browser";
    Msec = "msec";
    Msie = "msie";
    NginxVersion = "nginx_version";
    Pid = "pid";
    Pipe = "pipe";
    ProxyAddXForwardedFor = "proxy_add_x_forwarded_for";
    ProxyHost = "proxy_host";
    ProxyPort = "proxy_port";
    ProxyProtocolAddr = "proxy_protocol_addr";
    ProxyProtocolPort = "proxy_protocol_port";
    ProxyProtocolServerAddr = "proxy_protocol_server_addr";
    ProxyProtocolServerPort = "proxy_protocol_server_port";
    QueryString = "query_string";
    RealipRemoteAddr = "realip_remote_addr";
    RealipRemotePort = "realip_remote_port";
    RealpathRoot = "realpath_root";
    RemoteAddr = "remote_addr";
    RemotePort = "remote_port";
    RemoteUser = "remote_user";
    Request = "request";
    RequestBody = "request_body";
    RequestBodyFile = "request_body_file";
    RequestCompletion = "request_completion";
    RequestFilename = "request_filename";
    RequestId = "request_id";
    RequestLength = "request_length";
    RequestMethod = "request_method";
    RequestPort = "request_port";
    RequestTime = "request_time";
    RequestUri = "request_uri";
    Scheme = "scheme";
    SecureLink = "secure_link";
    SecureLinkExpires = "secure_link_expires";
    ServerAddr = "server_addr";
    ServerName = "server_name";
    ServerPort = "server_port";
    ServerProtocol = "server_protocol";
    Http2 = "http2";
    SslAlpnProtocol = "ssl_alpn_protocol";
    SslCipher = "ssl_cipher";
    SslCiphers = "ssl_ciphers";
    SslClientCert = "ssl_client_cert";
    SslClientEscapedCert = "ssl_client_escaped_cert";
    SslClientFingerprint = "ssl_client_fingerprint";
    SslClientIDn = "ssl_client_i_dn";
    SslClientIDnLegacy = "ssl_client_i_dn_legacy";
    SslClientRawCert = "ssl_client_raw_cert";
    SslClientSDn = "ssl_client_s_dn";
    SslClientSDnLegacy = "ssl_client_s_dn_legacy";
    SslClientSerial = "ssl_client_serial";
    SslClientSigalg = "ssl_client_sigalg";
    SslClientVEnd = "ssl_client_v_end";
    SslClientVRemain = "ssl_client_v_remain";
    SslClientVStart = "ssl_client_v_start";
    SslClientVerify = "ssl_client_verify";
    SslCurve = "ssl_curve";
    SslCurves = "ssl_curves";
    SslEchOuterServerName = "ssl_ech_outer_server_name";
    SslEchStatus = "ssl_ech_status";
    SslEarlyData = "ssl_early_data";
    SslProtocol = "ssl_protocol";
    SslServerName = "ssl_server_name";
    SslSessionId = "ssl_session_id";
    SslSessionReused = "ssl_session_reused";
    SslSigalg = "ssl_sigalg";
    Status = "status";
    TcpInfoRtt = "tcpinfo_rtt";
    TimeIso8601 = "time_iso8601";
    TimeLocal = "time_local";
    UidGot = "uid_got";
    UidSet = "uid_set";
    UpstreamAddr = "upstream_addr";
    UpstreamBytesReceived = "upstream_bytes_received";
    UpstreamBytesSent = "upstream_bytes_sent";
    UpstreamCacheEtag = "upstream_cache_etag";
    UpstreamCacheKey = "upstream_cache_key";
    UpstreamCacheLastModified = "upstream_cache_last_modified";
    UpstreamCacheStatus = "upstream_cache_status";
    UpstreamConnectTime = "upstream_connect_time";
    UpstreamHeaderTime = "upstream_header_time";
    UpstreamQueueTime = "upstream_queue_time";
    UpstreamResponseLength = "upstream_response_length";
    UpstreamResponseTime = "upstream_response_time";
    UpstreamStatus = "upstream_status";
    Uri = "uri";
}

/// What a name turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VariableName {
    /// One of nginx's own.
    Known(Variable),
    /// None of them: a `map`, a `set` or a named capture must define it.
    Custom,
}

impl Variable {
    /// Looks `name` (without the dollar sign) up among nginx's own variables.
    #[must_use]
    pub fn lookup(name: &str) -> VariableName {
        if let [digit @ b'1'..=b'9'] = name.as_bytes() {
            return VariableName::Known(Self::Capture(digit - b'0'));
        }
        if let Some((_, known)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
            return VariableName::Known(known.clone());
        }
        if let Some(tlv) = name.strip_prefix("proxy_protocol_tlv_").and_then(Tlv::by_name) {
            return VariableName::Known(Self::ProxyProtocolTlv(tlv));
        }
        Self::with_prefix(name).map_or(VariableName::Custom, VariableName::Known)
    }

    fn with_prefix(name: &str) -> Option<Self> {
        let field =
            |rest: &str| -> Box<[u8]> { rest.to_ascii_lowercase().replace('_', "-").into_bytes().into() };
        let exact = |rest: &str| -> Box<[u8]> { rest.as_bytes().into() };
        let (prefix, rest) = [
            "upstream_http_",
            "upstream_cookie_",
            "upstream_trailer_",
            "sent_http_",
            "sent_trailer_",
            "http_",
            "cookie_",
            "arg_",
        ]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix).map(|rest| (*prefix, rest)))?;
        Some(match prefix {
            "upstream_http_" => Self::UpstreamHttp(field(rest)),
            "upstream_cookie_" => Self::UpstreamCookie(exact(rest)),
            "upstream_trailer_" => Self::UpstreamTrailer(field(rest)),
            "sent_http_" => Self::SentHttp(field(rest)),
            "sent_trailer_" => Self::SentTrailer(field(rest)),
            "http_" => Self::Http(field(rest)),
            "cookie_" => Self::Cookie(exact(rest)),
            "arg_" => Self::Arg(exact(rest)),
            _ => return None,
        })
    }
}
