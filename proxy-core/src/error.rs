//! Whose fault it was, said once: the party is in the type, the consequences are in one mapping each.

use core::fmt;

use crate::command::IoError;
use crate::fastcgi::Fault;
use crate::h2::ErrorCode;
use crate::http::Status;
use crate::tls::verify::Verdict;

/// What the client did wrong. Each knows its status and the words for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The bytes are no HTTP/1 request line.
    InvalidRequestLine,
    /// The method is no token of upper-case letters.
    InvalidMethod,
    /// The target cannot be a request target.
    InvalidUri,
    /// A version that we do not speak.
    InvalidVersion,
    /// A request without headers: HTTP/0.9.
    Http09,
    /// A pseudo-header field of HTTP/2 that is unknown, repeated, late or missing.
    InvalidPseudoHeader,
    /// A header line that is not `token: value`.
    InvalidHeader,
    /// No Host in HTTP/1.1.
    MissingHost,
    /// Two Hosts.
    DuplicateHost,
    /// A Host that cannot be one.
    InvalidHost,
    /// Two of a field of which nginx takes one.
    DuplicateHeader,
    /// Content-Length that is no number, or two that differ.
    InvalidContentLength,
    /// Content-Length and Transfer-Encoding together.
    LengthAndCoding,
    /// Transfer-Encoding that is not exactly one `chunked`.
    InvalidTransferEncoding,
    /// A transfer coding that we do not know.
    UnknownTransferEncoding,
    /// Chunked framing that is not strictly what the RFC says.
    InvalidChunk,
    /// A request line longer than one large header buffer.
    UriTooLong,
    /// A header line longer than one large header buffer, or more lines than fit in all of them.
    HeaderTooLarge,
    /// More header lines than `max_headers`.
    TooManyHeaders,
    /// A body larger than `client_max_body_size`.
    BodyTooLarge {
        /// What the client announced or had sent, in bytes.
        bytes: u64,
    },
    /// A method that this proxy refuses (CONNECT, TRACE).
    MethodNotAllowed,
    /// Plain HTTP came to a TLS port.
    PlainOnTls,
    /// The server asked for would have wanted another handshake.
    Misdirected,
    /// The client's certificate is no good.
    CertificateRefused(Verdict),
    /// The client showed no certificate.
    NoCertificate,
    /// Expect with anything but `100-continue`.
    ExpectationFailed,
    /// The head did not come in `client_header_timeout`, or the body stalled for `client_body_timeout`.
    Timeout,
    /// The client closed or reset before it had its reply.
    Closed,
}

impl ClientError {
    /// The status to answer with (499 and 494 are nginx's own, for the log).
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::UnknownTransferEncoding => Status::NOT_IMPLEMENTED,
            Self::InvalidVersion => Status::VERSION_NOT_SUPPORTED,
            Self::UriTooLong => Status::URI_TOO_LONG,
            Self::HeaderTooLarge | Self::TooManyHeaders => Status::REQUEST_HEADER_TOO_LARGE,
            Self::BodyTooLarge { .. } => Status::CONTENT_TOO_LARGE,
            Self::MethodNotAllowed => Status::METHOD_NOT_ALLOWED,
            Self::PlainOnTls => Status::TO_HTTPS,
            Self::Misdirected => Status::MISDIRECTED_REQUEST,
            Self::CertificateRefused(_) => Status::CERTIFICATE_ERROR,
            Self::NoCertificate => Status::NO_CERTIFICATE,
            Self::ExpectationFailed => Status::EXPECTATION_FAILED,
            Self::Timeout => Status::REQUEST_TIMEOUT,
            Self::Closed => Status::CLIENT_CLOSED_REQUEST,
            Self::InvalidRequestLine
            | Self::InvalidMethod
            | Self::InvalidUri
            | Self::Http09
            | Self::InvalidPseudoHeader
            | Self::InvalidHeader
            | Self::MissingHost
            | Self::DuplicateHost
            | Self::InvalidHost
            | Self::DuplicateHeader
            | Self::InvalidContentLength
            | Self::LengthAndCoding
            | Self::InvalidTransferEncoding
            | Self::InvalidChunk => Status::BAD_REQUEST,
        }
    }
}

impl ClientError {
    /// Whether it is the request line that is wrong: then there are no fields yet.
    #[must_use]
    pub const fn is_about_the_line(self) -> bool {
        matches!(
            self,
            Self::InvalidRequestLine
                | Self::InvalidMethod
                | Self::InvalidUri
                | Self::InvalidVersion
                | Self::Http09
                | Self::UriTooLong
        )
    }

    /// What was being read then, in nginx's words; nothing where it may have been any part.
    const fn doing(self) -> &'static str {
        match self {
            Self::InvalidRequestLine
            | Self::InvalidMethod
            | Self::InvalidUri
            | Self::InvalidVersion
            | Self::Http09
            | Self::UriTooLong => " while reading client request line",
            Self::InvalidHeader
            | Self::InvalidPseudoHeader
            | Self::MissingHost
            | Self::DuplicateHost
            | Self::InvalidHost
            | Self::DuplicateHeader
            | Self::InvalidContentLength
            | Self::LengthAndCoding
            | Self::InvalidTransferEncoding
            | Self::UnknownTransferEncoding
            | Self::HeaderTooLarge
            | Self::TooManyHeaders => " while reading client request headers",
            Self::InvalidChunk
            | Self::BodyTooLarge { .. }
            | Self::MethodNotAllowed
            | Self::PlainOnTls
            | Self::Misdirected
            | Self::CertificateRefused(_)
            | Self::NoCertificate
            | Self::ExpectationFailed
            | Self::Timeout
            | Self::Closed => "",
        }
    }
}

impl fmt::Display for ClientError {
    /// The words for the error log, nginx's where it has some.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidRequestLine => "client sent invalid request",
            Self::InvalidMethod => "client sent invalid method",
            Self::InvalidUri => "client sent invalid request",
            Self::InvalidVersion => "client sent invalid version",
            Self::Http09 => "client sent HTTP/0.9 request",
            Self::InvalidPseudoHeader => "client sent invalid pseudo-header field",
            Self::InvalidHeader => "client sent invalid header line",
            Self::MissingHost => "client sent HTTP/1.1 request without \"Host\" header",
            Self::DuplicateHost => "client sent duplicate host header",
            Self::InvalidHost => "client sent invalid host header",
            Self::DuplicateHeader => "client sent duplicate header line",
            Self::InvalidContentLength => "client sent invalid \"Content-Length\" header",
            Self::LengthAndCoding => {
                "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time"
            }
            Self::InvalidTransferEncoding => "client sent invalid \"Transfer-Encoding\" header",
            Self::UnknownTransferEncoding => "client sent unknown \"Transfer-Encoding\"",
            Self::InvalidChunk => "client sent invalid chunked body",
            Self::UriTooLong => "client sent too long URI",
            Self::HeaderTooLarge => "client sent too long header line",
            Self::TooManyHeaders => "client sent too many header lines",
            Self::BodyTooLarge { bytes } => {
                return write!(f, "client intended to send too large body: {bytes} bytes");
            }
            Self::MethodNotAllowed => "client sent a method that is not allowed",
            Self::PlainOnTls => "client sent plain HTTP request to HTTPS port",
            Self::Misdirected => {
                "client attempted to request the server name different from the one that was negotiated"
            }
            Self::CertificateRefused(Verdict(code, words)) => {
                return write!(f, "client SSL certificate verify error: ({code}:{words})");
            }
            Self::NoCertificate => "client sent no required SSL certificate",
            Self::ExpectationFailed => "client sent unknown \"Expect\" header",
            Self::Timeout => "client timed out (110: Connection timed out)",
            Self::Closed => "client prematurely closed connection",
        })?;
        f.write_str(self.doing())
    }
}

/// What an upstream did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// The connection could not be made.
    Connect(IoError),
    /// The connection was not made in `proxy_connect_timeout`.
    ConnectTimeout,
    /// TLS was not agreed on; why was said already.
    Handshake,
    /// TLS was not agreed on in `proxy_connect_timeout`.
    HandshakeTimeout,
    /// The request could not be written.
    Send(IoError),
    /// The request stalled for `proxy_send_timeout`.
    SendTimeout,
    /// The reply could not be read.
    Recv(IoError),
    /// Nothing came for `proxy_read_timeout`.
    RecvTimeout,
    /// The connection was closed before a whole head came.
    ClosedBeforeHead,
    /// The connection was closed inside the body.
    ClosedInBody,
    /// The status line or a header line is not HTTP/1.
    InvalidHeader,
    /// The head is larger than `proxy_buffer_size`.
    HeaderTooBig,
    /// The framing is ambiguous or broken.
    InvalidFraming,
    /// Bytes came that no request had asked for.
    Unasked,
    /// HTTP/2: the stream was refused with this error, before or while it was processed.
    Rejected(u32),
    /// HTTP/2: the stream was refused, and surely not processed.
    Refused,
    /// HTTP/2: GOAWAY came with this error, and the stream was surely not processed.
    GoneAway(u32),
    /// HTTP/2: a rule of the connection or of the stream was broken.
    Violation(ErrorCode),
    /// HTTP/2: the stream ended before its announced length.
    ShortBody,
    /// HTTP/2: more came than was announced.
    LongBody,
    /// HTTP/2: the lines behind the body are no header lines.
    InvalidTrailer,
    /// No server of the group is left to ask.
    NoLiveServers,
    /// Something that only FastCGI, SCGI or uwsgi have is wrong.
    Cgi(Fault),
}

impl UpstreamError {
    /// Whether it says that the request was surely not processed: it may be sent again, whatever it is.
    #[must_use]
    pub const fn is_unprocessed(self) -> bool {
        matches!(self, Self::Refused | Self::GoneAway(_))
    }

    /// The status that the client gets when no other server can be asked.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::ConnectTimeout | Self::HandshakeTimeout | Self::SendTimeout | Self::RecvTimeout => {
                Status::GATEWAY_TIMEOUT
            }
            Self::Cgi(Fault::RequestTooBig(_)) => Status::INTERNAL_SERVER_ERROR,
            Self::Connect(error) if error.errno == IoError::TIMED_OUT.errno => Status::GATEWAY_TIMEOUT,
            Self::Connect(_)
            | Self::Handshake
            | Self::Send(_)
            | Self::Recv(_)
            | Self::ClosedBeforeHead
            | Self::ClosedInBody
            | Self::InvalidHeader
            | Self::HeaderTooBig
            | Self::InvalidFraming
            | Self::Unasked
            | Self::Cgi(_)
            | Self::Rejected(_)
            | Self::Refused
            | Self::GoneAway(_)
            | Self::Violation(_)
            | Self::ShortBody
            | Self::LongBody
            | Self::InvalidTrailer
            | Self::NoLiveServers => Status::BAD_GATEWAY,
        }
    }
}

impl fmt::Display for UpstreamError {
    /// nginx's words, up to and including the phase (`while …`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "connect() failed ({error}) while connecting to upstream"),
            Self::ConnectTimeout => {
                write!(f, "upstream timed out ({}) while connecting to upstream", IoError::TIMED_OUT)
            }
            Self::Handshake => f.write_str("SSL_do_handshake() failed while SSL handshaking to upstream"),
            Self::HandshakeTimeout => {
                write!(f, "upstream timed out ({}) while SSL handshaking to upstream", IoError::TIMED_OUT)
            }
            Self::Send(error) => write!(f, "send() failed ({error}) while sending request to upstream"),
            Self::SendTimeout => {
                write!(f, "upstream timed out ({}) while sending request to upstream", IoError::TIMED_OUT)
            }
            Self::Recv(error) => {
                write!(f, "recv() failed ({error}) while reading response header from upstream")
            }
            Self::RecvTimeout => {
                write!(
                    f,
                    "upstream timed out ({}) while reading response header from upstream",
                    IoError::TIMED_OUT
                )
            }
            Self::ClosedBeforeHead => f.write_str(
                "upstream prematurely closed connection while reading response header from upstream",
            ),
            Self::ClosedInBody => {
                f.write_str("upstream prematurely closed connection while reading upstream")
            }
            Self::InvalidHeader => {
                f.write_str("upstream sent invalid header while reading response header from upstream")
            }
            Self::HeaderTooBig => {
                f.write_str("upstream sent too big header while reading response header from upstream")
            }
            Self::InvalidFraming => {
                f.write_str("upstream sent invalid framing while reading response header from upstream")
            }
            Self::Unasked => {
                f.write_str("upstream sent unsolicited data while reading response header from upstream")
            }
            Self::Rejected(code) => write!(f, "upstream rejected request with error {code}"),
            Self::Refused => {
                write!(f, "upstream rejected request with error {}", ErrorCode::RefusedStream as u32)
            }
            Self::GoneAway(code) => write!(f, "upstream sent goaway with error {code}"),
            Self::Violation(code) => f.write_str(violation(*code)),
            Self::ShortBody => f.write_str("upstream prematurely closed stream"),
            Self::LongBody => f.write_str("upstream sent response body larger than indicated content length"),
            Self::InvalidTrailer => f.write_str("upstream sent invalid trailer"),
            Self::NoLiveServers => f.write_str("no live upstreams while connecting to upstream"),
            Self::Cgi(fault) => write!(f, "{fault} while reading response header from upstream"),
        }
    }
}

/// What an upstream that speaks HTTP/2 did, by the error that it is told.
const fn violation(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::FlowControl => "upstream violated stream flow control",
        ErrorCode::Compression => "upstream sent invalid http2 header block",
        ErrorCode::FrameSize => "upstream sent http2 frame with invalid length",
        ErrorCode::EnhanceYourCalm => "upstream sent too many http2 frames",
        ErrorCode::StreamClosed => "upstream sent frame for closed stream",
        ErrorCode::NoError
        | ErrorCode::Protocol
        | ErrorCode::Internal
        | ErrorCode::SettingsTimeout
        | ErrorCode::RefusedStream
        | ErrorCode::Cancel
        | ErrorCode::Connect => "upstream sent unexpected http2 frame",
    }
}
