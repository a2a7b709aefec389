//! The FastCGI codec, and what its cousins SCGI and uwsgi share with it.
//!
//! A web server asks a program by sending it the CGI variables (`SCRIPT_FILENAME`, `HTTP_HOST`, …) and the request's
//! body; it answers with a CGI head (`Status: 404 …`) and a body. The three protocols differ only in how that is packed:
//!
//! ```text
//! FastCGI   BEGIN_REQUEST  PARAMS … PARAMS(0)  STDIN … STDIN(0)   ─►   STDOUT and STDERR, mixed … END_REQUEST
//! SCGI      length:NAME\0value\0…,  body                          ─►   head and body until the connection closes
//! uwsgi     modifier length modifier  NAME value …  body          ─►   the same
//! ```
//! Nothing here keeps a connection. Read in this order: [`encode`] for the way out, [`reader`] for records on their way
//! in, [`head`] for the CGI head that all three have, [`records`] for the two put together.
//!
//! The FastCGI specification, version 1; RFC 3875 for the head; the specifications of SCGI and of the uwsgi protocol.

pub mod encode;
pub mod head;
pub mod reader;
pub mod records;

use core::fmt;

pub use head::{CgiLimits, parse_cgi_head};
pub use reader::{Event, Reader};
pub use records::{Found, Part, Records};

use crate::error::UpstreamError;

/// The version of the protocol, in each record's header.
pub const VERSION: u8 = 1;
/// The length of a record's header.
pub const HEADER_BYTES: usize = 8;

/// The types of records that are used here (section 8 of the specification).
pub mod kind {
    /// A request begins.
    pub const BEGIN_REQUEST: u8 = 1;
    /// The application is done with it.
    pub const END_REQUEST: u8 = 3;
    /// Parameters, up to an empty record.
    pub const PARAMS: u8 = 4;
    /// The request's body, up to an empty record.
    pub const STDIN: u8 = 5;
    /// The reply.
    pub const STDOUT: u8 = 6;
    /// What goes to the error log.
    pub const STDERR: u8 = 7;
}

/// What an application did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A record of another version of the protocol.
    Version(u8),
    /// A record that only a web server sends, or that nobody knows.
    Type(u8),
    /// A record of a request that there is not: the upper byte of its number.
    RequestIdHigh(u8),
    /// The same, the lower byte.
    RequestIdLow(u8),
    /// The request was ended before there was a head: the record's type.
    Unexpected(u8),
    /// Standard output was closed before the head or the announced body was whole.
    StdoutClosed,
    /// The request was ended before the announced body was whole.
    RequestClosed,
    /// `Status` begins with no number.
    Status,
    /// The parameters are more than uwsgi can announce, in bytes: our side's fault, in fact.
    RequestTooBig(usize),
    /// `fastcgi_catch_stderr` found what it looks for.
    Caught,
}

impl From<Fault> for UpstreamError {
    fn from(fault: Fault) -> Self {
        Self::Cgi(fault)
    }
}

impl fmt::Display for Fault {
    /// nginx's words for the error log, without what was being done.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(byte) => {
                write!(f, "upstream sent unsupported FastCGI protocol version: {byte}")
            }
            Self::Type(byte) => write!(f, "upstream sent invalid FastCGI record type: {byte}"),
            Self::RequestIdHigh(byte) => {
                write!(f, "upstream sent unexpected FastCGI request id high byte: {byte}")
            }
            Self::RequestIdLow(byte) => {
                write!(f, "upstream sent unexpected FastCGI request id low byte: {byte}")
            }
            Self::Unexpected(byte) => write!(f, "upstream sent unexpected FastCGI record: {byte}"),
            Self::StdoutClosed => f.write_str("upstream prematurely closed FastCGI stdout"),
            Self::RequestClosed => f.write_str("upstream prematurely closed FastCGI request"),
            Self::Status => f.write_str("upstream sent invalid status"),
            Self::RequestTooBig(bytes) => write!(f, "uwsgi request is too big: {bytes}"),
            Self::Caught => f.write_str("upstream sent what fastcgi_catch_stderr looks for"),
        }
    }
}
