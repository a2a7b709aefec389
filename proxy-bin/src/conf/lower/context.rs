//! What all directives of one load share, and what one directive is told when it takes effect.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proxy_core::config::{
    LocationKind, LogFormat, Match, Origin, Resolver, RewriteLine, RewriteOp, Stapling, Template, UpstreamTls,
};
use proxy_core::route::Regex;

use super::cache::Caches;
use super::limits::Zones;
use super::logs::Logs;
use super::resolve::Resolve;
use super::template;
use super::upstream::Upstreams;
use super::variables::Variables;
use crate::conf::diagnostic::Diagnostic;
use crate::conf::span::{FileId, Sources, Span};
use crate::conf::tree::{Arg, Directive};
use crate::conf::value::{Field, Parsed};
use crate::tls_files::Watched;

/// What a configuration depends on besides its text.
pub struct Environment<'e> {
    /// Where relative paths start (`-p`).
    pub prefix: &'e Path,
    /// The error log where the configuration names none (`-e`).
    pub error_log: &'e Path,
    /// The access log where the configuration names none.
    pub access_log: &'e Path,
    /// The pid file where the configuration names none.
    pub pid: &'e Path,
    /// Where request bodies go that do not fit the memory.
    pub client_body_temp: &'e Path,
    /// Where replies go that do not fit the memory.
    pub proxy_temp: &'e Path,
    /// Whether ports below 1024 can be bound: decides the port of a server without `listen`.
    pub root: bool,
    /// A name of an upstream that does not resolve is an error (`-t`) or disables its locations (start, reload).
    pub unresolved_is_fatal: bool,
    /// This machine's name, lower case.
    pub hostname: &'e str,
    /// The number of this configuration.
    pub generation: u64,
    /// The system's name servers, for names that it cannot look up itself.
    pub name_servers: &'e [SocketAddr],
    /// Host names.
    pub resolve: &'e dyn Resolve,
}

/// What all directives of one load share.
pub struct Context<'e> {
    /// The world outside.
    pub env: &'e Environment<'e>,
    /// The texts.
    pub sources: &'e Sources,
    /// What was found.
    pub diagnostics: Vec<Diagnostic>,
    /// Variables by name.
    pub variables: Variables,
    /// Log files.
    pub logs: Logs,
    /// Log formats, in their order.
    pub formats: Vec<Arc<LogFormat>>,
    /// Every charset that is named anywhere.
    pub charsets: Vec<Box<[u8]>>,
    /// The `match` blocks.
    pub matches: HashMap<String, Arc<Match>>,
    /// Upstream groups.
    pub upstreams: Upstreams,
    /// Limit zones.
    pub zones: Zones,
    /// The zones of caches.
    pub caches: Caches,
    /// The resolvers, each that says the same once.
    pub resolvers: Vec<Arc<Resolver>>,
    /// A server's TLS settings could not be made.
    pub tls_failed: bool,
    /// Certificates with the files that they came from.
    pub certificates: Vec<Watched>,
    /// Certificates that are shown with what their responders say.
    pub staplings: Vec<Arc<Stapling>>,
    /// TLS towards upstreams by what is said of it; none for what was refused.
    pub upstream_tls: HashMap<String, Option<Arc<UpstreamTls>>>,
    /// The files' names, each made once.
    pub file_names: HashMap<FileId, Arc<str>>,
}

impl<'e> Context<'e> {
    /// Nothing found yet.
    pub fn new(env: &'e Environment<'e>, sources: &'e Sources) -> Self {
        Self {
            env,
            sources,
            diagnostics: Vec::new(),
            variables: Variables::default(),
            logs: Logs::default(),
            formats: Vec::new(),
            charsets: Vec::new(),
            matches: HashMap::new(),
            upstreams: Upstreams::default(),
            zones: Zones::default(),
            caches: Caches::default(),
            resolvers: Vec::new(),
            tls_failed: false,
            certificates: Vec::new(),
            staplings: Vec::new(),
            upstream_tls: HashMap::new(),
            file_names: HashMap::new(),
        }
    }

    /// Records an error, if it is one.
    pub fn record(&mut self, result: Parsed<()>) {
        if let Err(diagnostic) = result {
            self.diagnostics.push(*diagnostic);
        }
    }

    /// An absolute path: relative ones start at the prefix.
    pub fn path(&self, name: &str) -> PathBuf {
        self.env.prefix.join(name)
    }

    /// An absolute path: relative ones start at the directory of the main configuration file.
    pub fn conf_path(&self, name: &str) -> PathBuf {
        let main = self.sources.files().find_map(|file| file.path());
        main.and_then(Path::parent).unwrap_or(self.env.prefix).join(name)
    }

    /// Where something stands, for the core.
    pub fn origin(&mut self, span: Span) -> Origin {
        let path = || self.sources.file(span.file).and_then(|file| file.path());
        let name =
            || path().map_or_else(|| "command line".into(), |path| path.to_string_lossy().as_ref().into());
        let file = self.file_names.entry(span.file).or_insert_with(name).clone();
        let line = u32::try_from(self.sources.line(span)).unwrap_or(u32::MAX);
        Origin { file, line, offset: span.start }
    }

    /// Compiles a regular expression; its named captures become variables.
    ///
    /// # Errors
    /// The compiler's words.
    pub fn regex(&mut self, field: Field<'_>, pattern: &str, no_case: bool) -> Parsed<Regex> {
        let regex = Regex::new(pattern, no_case).map_err(|error| {
            let mut diagnostic = field.error(format!("invalid regular expression \"{pattern}\""));
            diagnostic.help(error);
            diagnostic
        })?;
        Ok(regex.bind(|name| self.variables.define(name)))
    }
}

/// The level at which a directive stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// What kind of location it is; `Implicit` for `http`, `server` and `if`.
    pub kind: LocationKind,
    /// The location's pattern.
    pub pattern: &'a [u8],
    /// Whether it is an `if` block.
    pub is_if: bool,
}

impl Place<'_> {
    /// A level that is no location.
    pub const NONE: Self = Self { kind: LocationKind::Implicit, pattern: b"", is_if: false };
}

/// One directive taking effect.
pub struct Call<'c, 'e> {
    /// What is shared.
    pub cx: &'c mut Context<'e>,
    /// The directive.
    pub directive: &'c Directive,
    /// Where it stands.
    pub place: Place<'c>,
}

impl<'c> Call<'c, '_> {
    /// All arguments.
    pub fn args(&self) -> &'c [Arg] {
        &self.directive.args
    }

    /// Argument `n` from 0; the name if there are fewer, which the table's arity excludes.
    pub fn arg(&self, n: usize) -> Field<'c> {
        Field::new(self.directive, self.directive.args.get(n).unwrap_or(&self.directive.name))
    }

    /// The first argument.
    pub fn first(&self) -> Field<'c> {
        self.arg(0)
    }

    /// Argument `n` as text.
    pub fn text(&self, n: usize) -> Cow<'c, str> {
        self.arg(n).arg.text()
    }

    /// The first argument as an absolute path.
    pub fn path_bytes(&self) -> Arc<[u8]> {
        self.cx.path(&self.text(0)).to_string_lossy().as_bytes().into()
    }

    /// Where the directive stands, for the core.
    pub fn origin(&mut self) -> Origin {
        self.cx.origin(self.directive.span)
    }

    /// A directive of the rewrite module with its place.
    pub fn line(&mut self, op: RewriteOp) -> RewriteLine {
        RewriteLine { op, origin: self.origin() }
    }

    /// Argument `n` as a string with variables.
    ///
    /// # Errors
    /// As nginx's script compiler.
    pub fn template(&mut self, n: usize) -> Parsed<Template> {
        template::compile(self.cx, self.arg(n))
    }

    /// A warning about this directive.
    pub fn warn(&mut self, message: impl Into<String>) {
        let mut diagnostic = Diagnostic::warn(self.directive.name.span, message);
        diagnostic.anchor(self.directive.terminator());
        self.cx.diagnostics.push(diagnostic);
    }

    /// A notice about this directive.
    pub fn notice(&mut self, message: impl Into<String>) {
        let mut diagnostic = Diagnostic::notice(self.directive.name.span, message);
        diagnostic.anchor(self.directive.terminator());
        self.cx.diagnostics.push(diagnostic);
    }

    /// An error about the directive as a whole.
    pub fn error(&self, message: impl Into<String>) -> Box<Diagnostic> {
        let mut diagnostic = Diagnostic::emerg(self.directive.name.span, message);
        diagnostic.anchor(self.directive.terminator());
        Box::new(diagnostic)
    }
}
