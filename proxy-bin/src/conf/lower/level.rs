//! One level of the `http` configuration (`http`, `server`, `location`, `if`) as it was written.

use proxy_core::config::{AccessLog, LimitExcept, RewriteLine, TryFallback, TryFiles};

use super::access::AccessLevel;
use super::context::Call;
use super::core::CoreLevel;
use super::filter::FilterLevel;
use super::health::RawCheck;
use super::limits::LimitLevel;
use super::listen::{Listen, Name};
use super::mirror::MirrorLevel;
use super::proxy::ProxyLevel;
use super::proxy_pass::Pass;
use super::real_ip::RealIpLevel;
use super::server::ServerLevel;
use super::vetting::VettingLevel;
use crate::conf::value::{Parsed, number};

/// A level: what is inherited by the levels inside it, and what is its own.
#[derive(Debug, Default)]
pub struct Level {
    /// The core and headers modules; `None` if this level says nothing about them.
    pub core: Option<CoreLevel>,
    /// The body filters, likewise.
    pub filter: Option<FilterLevel>,
    /// Mirrors, likewise.
    pub mirror: Option<MirrorLevel>,
    /// The proxy module, likewise.
    pub proxy: Option<ProxyLevel>,
    /// The gRPC module, likewise.
    pub grpc: Option<ProxyLevel>,
    /// Limits, likewise.
    pub limits: Option<LimitLevel>,
    /// Who may ask, likewise.
    pub access: Option<AccessLevel>,
    /// Who the client is, likewise.
    pub real_ip: Option<RealIpLevel>,
    /// What judges a request, likewise.
    pub vetting: Option<VettingLevel>,
    /// The access logs; an empty list is `off`.
    pub access_logs: Option<Vec<AccessLog>>,
    /// Limits on request heads.
    pub server: ServerLevel,
    /// What is not inherited.
    pub own: Own,
}

/// What a level does not hand on.
#[derive(Debug, Default)]
pub struct Own {
    /// The rewrite directives in order.
    pub rewrite: Vec<RewriteLine>,
    /// Who answers, unless files do.
    pub content: Option<OwnContent>,
    /// `internal`
    pub internal: bool,
    /// `limit_except`
    pub limit_except: Option<LimitExcept>,
    /// `try_files`
    pub try_files: Option<TryFiles>,
    /// `health_check`
    pub health_checks: Vec<RawCheck>,
    /// `listen`
    pub listens: Vec<Listen>,
    /// `server_name`
    pub names: Vec<Name>,
    /// A `listen` is written, even if it was refused: the default one must not stand in for it.
    pub listen_written: bool,
}

/// A directive that makes a location's content.
#[derive(Clone, Debug)]
pub enum OwnContent {
    /// `proxy_pass`
    Pass(Box<Pass>),
    /// `grpc_pass`
    Grpc(Box<Pass>),
    /// `stub_status`
    StubStatus,
    /// `api`
    Api {
        /// `write=on`
        write: bool,
    },
    /// `empty_gif`
    EmptyGif,
}

/// `api [write=on|off];`
///
/// # Errors
/// nginx's `invalid parameter`.
pub fn api(own: &mut Own, call: &mut Call<'_, '_>) -> Parsed<()> {
    let write = match call.args().first() {
        None => false,
        Some(word) if word.is("write=off") => false,
        Some(word) if word.is("write=on") => true,
        Some(_) => {
            let mut diagnostic = call.first().error(format!("invalid parameter \"{}\"", call.text(0)));
            diagnostic.help("`write=on` or `write=off`");
            return Err(diagnostic);
        }
    };
    own.content = Some(OwnContent::Api { write });
    Ok(())
}

/// `try_files file … uri|=code|@name;`
///
/// # Errors
/// nginx's `invalid code "X"`.
pub fn try_files(own: &mut Own, call: &mut Call<'_, '_>) -> Parsed<()> {
    let Some(last) = call.args().len().checked_sub(1) else { return Ok(()) };
    let mut files = Vec::with_capacity(last);
    for n in 0..last {
        let bytes = &call.arg(n).arg.bytes;
        let stem = bytes.strip_suffix(b"/");
        let template = super::template::compile_bytes(call.cx, call.arg(n), stem.unwrap_or(bytes))?;
        files.push((template, stem.is_some()));
    }
    let field = call.arg(last);
    let fallback = if let Some(code) = field.arg.strip("=") {
        let status = number(&code).and_then(|code| u16::try_from(code).ok()).filter(|code| *code <= 999);
        TryFallback::Status(status.ok_or_else(|| field.error(format!("invalid code \"={code}\"")))?)
    } else if let Some(name) = field.arg.bytes.strip_prefix(b"@") {
        TryFallback::Named(name.into())
    } else {
        TryFallback::Uri(call.template(last)?)
    };
    own.try_files = Some(TryFiles { files: files.into(), fallback });
    Ok(())
}
