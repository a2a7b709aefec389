//! The core, headers and index modules' settings of one level.

use alloc::boxed::Box;
use alloc::sync::Arc;

use hashbrown::HashMap;

use super::{Charset, FileServing, ResolverId, Template};
use crate::command::Level;
use crate::http::{HeaderId, Status};
use crate::time::Millis;

/// Everything that a level says about clients, files and headers.
#[derive(Clone, Debug)]
pub struct CoreSettings {
    /// `root` or `alias`
    pub root: Root,
    /// `index`: names, or absolute URIs for the last.
    pub index: Arc<[Template]>,
    /// `types`
    pub types: Arc<MimeTypes>,
    /// `default_type`
    pub default_type: Arc<[u8]>,
    /// `error_page`, in order of appearance.
    pub error_pages: Arc<[ErrorPage]>,
    /// `recursive_error_pages`
    pub recursive_error_pages: bool,
    /// `error_log`
    pub error_logs: Arc<[ErrorLogRef]>,
    /// Listings, compressed copies, symbolic links.
    pub files: Arc<FileServing>,
    /// `charset` and its kind, where any of them says something.
    pub charset: Option<Arc<Charset>>,
    /// `add_header`
    pub add_headers: Arc<[AddHeader]>,
    /// `add_trailer`
    pub add_trailers: Arc<[AddHeader]>,
    /// `expires`
    pub expires: Expires,
    /// The `client_body_*` family.
    pub client_body: ClientBody,
    /// `http2_chunk_size` in bytes.
    pub http2_chunk_bytes: usize,
    /// The `keepalive_*` family.
    pub keepalive: Keepalive,
    /// The `lingering_*` family.
    pub lingering: LingeringClose,
    /// `send_timeout`
    pub send_timeout: Millis,
    /// `reset_timedout_connection`
    pub reset_timedout_connection: bool,
    /// `server_tokens`
    pub server_tokens: ServerTokens,
    /// `msie_padding`: error pages for browsers that show their own instead of short ones are made longer.
    pub msie_padding: bool,
    /// `etag`
    pub etag: bool,
    /// `if_modified_since`: off, exact or before.
    pub if_modified_since: IfModifiedSince,
    /// `max_ranges`; none is no limit.
    pub ranges_max: Option<u32>,
    /// `chunked_transfer_encoding`
    pub chunked_transfer_encoding: bool,
    /// `absolute_redirect`
    pub absolute_redirect: bool,
    /// `server_name_in_redirect`
    pub server_name_in_redirect: bool,
    /// `port_in_redirect`
    pub port_in_redirect: bool,
    /// `log_not_found`
    pub log_not_found: bool,
    /// `log_subrequest`
    pub log_subrequest: bool,
    /// `rewrite_log`
    pub rewrite_log: bool,
    /// `uninitialized_variable_warn`
    pub uninitialized_variable_warn: bool,
    /// `limit_rate` in bytes per second; empty or 0 is no limit.
    pub limit_rate: Option<Template>,
    /// `limit_rate_after` in bytes.
    pub limit_rate_after: Option<Template>,
    /// `early_hints`: interim 103 replies are passed on where one of these is neither empty nor "0".
    pub early_hints: Arc<[Template]>,
    /// `resolver`; none leaves names to the system.
    pub resolver: Option<ResolverId>,
    /// `resolver_timeout`
    pub resolver_timeout: Millis,
}

/// `if_modified_since`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfModifiedSince {
    /// The header is ignored.
    Off,
    /// Only the very same time counts as unmodified.
    Exact,
    /// The same time or a later one.
    Before,
}

/// Where files are.
#[derive(Clone, Debug)]
pub enum Root {
    /// `root`: the URI is appended.
    Root(Template),
    /// `alias`: what its own location matched is replaced, also in the locations inside of it.
    Alias {
        /// What stands there instead.
        path: Template,
        /// How many bytes of the URI are replaced; none in a regex location, where `path` is all of it.
        replaces: Option<usize>,
    },
}

/// `types`: file name extensions (lower case) to media types.
#[derive(Clone, Debug, Default)]
pub struct MimeTypes {
    /// By extension, without the dot.
    pub by_extension: HashMap<Box<[u8]>, Arc<[u8]>>,
}

impl MimeTypes {
    /// The media type of a URI by the extension of its last segment.
    #[must_use]
    pub fn of_uri(&self, uri: &[u8]) -> Option<&Arc<[u8]>> {
        let name = uri.rsplit(|byte| *byte == b'/').next()?;
        let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0)?;
        let extension = name.get(dot + 1..)?;
        if extension.len() > EXTENSION_BYTES_MAX {
            return None;
        }
        if !extension.iter().any(u8::is_ascii_uppercase) {
            return self.by_extension.get(extension);
        }
        self.by_extension.get(&*extension.to_ascii_lowercase())
    }
}

/// Longer extensions are none.
const EXTENSION_BYTES_MAX: usize = 64;

/// One code of an `error_page` directive with its target.
#[derive(Clone, Debug)]
pub struct ErrorPage {
    /// The status that it answers.
    pub status: Status,
    /// The status that the client sees.
    pub code: ErrorPageCode,
    /// Where the request goes.
    pub target: ErrorPageTarget,
}

/// The `=` part of `error_page`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorPageCode {
    /// No `=`: the original status.
    Keep,
    /// `=200`: this one. Redirect targets take it as the redirect's status.
    Is(Status),
    /// `=`: whatever the new target says.
    FromTarget,
}

/// The last argument of `error_page`.
#[derive(Clone, Debug)]
pub enum ErrorPageTarget {
    /// A URI inside this server: an internal redirect with GET.
    Uri(Template),
    /// `@name`: an internal redirect that keeps method and URI.
    Named(Box<[u8]>),
    /// An absolute URL: a 302, or the `=` status if that is a redirect's.
    Redirect(Template),
}

/// One of a level's `error_log`s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorLogRef {
    /// A place in [`Config::error_logs`](super::Config).
    pub log: u32,
    /// The least severe level that goes there.
    pub level: Level,
}

/// One `add_header` or `add_trailer`.
#[derive(Clone, Debug)]
pub struct AddHeader {
    /// The name, classified.
    pub id: HeaderId,
    /// The name as written.
    pub name: Box<[u8]>,
    /// The value; an empty result adds nothing.
    pub value: Template,
    /// With every status, not only 200, 201, 204, 206, 301, 302, 303, 304, 307 and 308.
    pub always: bool,
}

/// `expires`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expires {
    /// Headers are left alone.
    Off,
    /// `epoch`: 1 January 1970 and `no-cache`.
    Epoch,
    /// `max`: the end of 2037 and ten years.
    Max,
    /// So many seconds after now; negative is `no-cache`.
    Access(i64),
    /// So many seconds after the file's modification.
    Modified(i64),
    /// `@15h30m`: the next time that it is this many seconds after midnight.
    Daily(u32),
    /// Known for each reply; what cannot be read leaves the headers alone.
    Computed {
        /// The text.
        value: Template,
        /// `modified`
        modified: bool,
    },
}

impl Expires {
    /// Reads what stands in an `expires` directive, behind `modified` if that is there.
    ///
    /// # Errors
    /// nginx's words.
    pub fn parse(text: &str, modified: bool) -> Result<Self, &'static str> {
        match (text, modified) {
            ("epoch", false) => return Ok(Self::Epoch),
            ("max", false) => return Ok(Self::Max),
            ("off", false) => return Ok(Self::Off),
            _ => {}
        }
        let seconds = |text: &str| {
            let seconds = crate::time::parse(text, true).and_then(|seconds| i64::try_from(seconds).ok());
            seconds.ok_or("invalid value")
        };
        if let Some(daily) = text.strip_prefix('@') {
            if modified {
                return Err("daily time cannot be used with \"modified\" parameter");
            }
            let second = u32::try_from(seconds(daily)?).ok().filter(|second| *second <= 86_400);
            return second.map(Self::Daily).ok_or("daily time value must be less than 24 hours");
        }
        let span_s = match text.strip_prefix('-') {
            Some(digits) => -seconds(digits)?,
            None => seconds(text.strip_prefix('+').unwrap_or(text))?,
        };
        Ok(if modified { Self::Modified(span_s) } else { Self::Access(span_s) })
    }
}

/// The `client_body_*` family.
#[derive(Clone, Debug)]
pub struct ClientBody {
    /// `client_max_body_size` in bytes; none is no limit (written as 0).
    pub bytes_max: Option<u64>,
    /// `client_body_buffer_size` in bytes.
    pub buffer_bytes: usize,
    /// `client_body_timeout`, between two reads.
    pub timeout: Millis,
    /// `client_body_temp_path`, absolute.
    pub temp_path: Arc<[u8]>,
    /// How many digits of a file's number name each of the directories below it.
    pub temp_levels: [u8; 3],
    /// `client_body_in_file_only`
    pub in_file: BodyInFile,
}

/// `client_body_in_file_only`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyInFile {
    /// Only where it does not fit in memory.
    No,
    /// Always, in a file that has a name (`$request_body_file`) and is removed after the request.
    Clean,
    /// Always, in a file that stays.
    Stays,
}

/// The `keepalive_*` family, towards clients.
#[derive(Clone, Debug)]
pub struct Keepalive {
    /// `keepalive_timeout`: zero closes after each reply.
    pub timeout: Millis,
    /// Its second parameter: the `Keep-Alive: timeout=` field's value in seconds.
    pub header_s: Option<u64>,
    /// `keepalive_requests`
    pub requests_max: u64,
    /// `keepalive_time`
    pub time_max: Millis,
    /// `keepalive_min_timeout`: for so long neither a shutdown nor a full worker ends an idle connection.
    pub timeout_min: Millis,
    /// `keepalive_disable`
    pub disable: KeepaliveDisable,
}

/// `keepalive_disable`: browsers whose connections are closed after each reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepaliveDisable {
    /// Old Internet Explorers after a POST.
    pub msie6: bool,
    /// Safari and those that look like it on macOS.
    pub safari: bool,
}

/// The `lingering_*` family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LingeringClose {
    /// `lingering_close`: never, where there may be more data, or always.
    pub when: Linger,
    /// `lingering_time`
    pub time: Millis,
    /// `lingering_timeout`
    pub timeout: Millis,
}

/// `lingering_close`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// `off`
    Never,
    /// `on`
    WhenUnread,
    /// `always`
    Always,
}

/// `server_tokens`: what the Server field and the error pages say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerTokens {
    /// Name and version.
    On,
    /// The name only.
    Off,
    /// This text; an empty one leaves the field out.
    Text(Template),
}
