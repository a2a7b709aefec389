//! The core and headers modules' settings of one level, as written; then inherited; then finished with defaults.

use std::collections::HashMap;
use std::sync::Arc;

use hashbrown::HashMap as CoreMap;
use proxy_core::config::{
    AddHeader, BodyInFile, ClientBody, CoreSettings, ErrorLogRef, ErrorPage, Expires, IfModifiedSince,
    Keepalive, KeepaliveDisable, Linger, LingeringClose, LocationKind, MimeTypes, ResolverId, Root,
    ServerTokens, Template,
};
use proxy_core::time::Millis;

use super::context::{Call, Environment};
use crate::conf::diagnostic::Diagnostic;
use crate::conf::value::Parsed;

/// Fills what `own` does not say from `parent`.
macro_rules! inherit {
    ($own:expr, $parent:expr; $($field:ident)*) => {
        $(if $own.$field.is_none() {
            $own.$field.clone_from(&$parent.$field);
        })*
    };
}
pub(super) use inherit;

/// How `add_header` treats those of the level above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderInherit {
    /// They count only if there are none here.
    On,
    /// They do not count.
    Off,
    /// They come first.
    Merge,
}

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct CoreLevel {
    pub root: Option<Root>,
    pub index: Option<Vec<Template>>,
    pub types: Option<HashMap<Vec<u8>, Arc<[u8]>>>,
    pub default_type: Option<Arc<[u8]>>,
    pub error_pages: Option<Vec<ErrorPage>>,
    pub recursive_error_pages: Option<bool>,
    pub error_logs: Option<Vec<ErrorLogRef>>,
    pub files: super::files::FilesLevel,
    pub charset: super::charset::CharsetLevel,
    pub add_headers: Option<Vec<AddHeader>>,
    pub add_trailers: Option<Vec<AddHeader>>,
    pub add_header_inherit: Option<HeaderInherit>,
    pub add_trailer_inherit: Option<HeaderInherit>,
    pub expires: Option<Expires>,
    /// 0 is no limit.
    pub client_max_body_size: Option<u64>,
    pub client_body_buffer_size: Option<usize>,
    pub client_body_timeout: Option<Millis>,
    /// The directory, and how the ones below it are named.
    pub client_body_temp_path: Option<(Arc<[u8]>, [u8; 3])>,
    pub client_body_in_file_only: Option<BodyInFile>,
    /// The timeout and the field's value in seconds.
    pub keepalive_timeout: Option<(Millis, Option<u64>)>,
    pub keepalive_min_timeout: Option<Millis>,
    pub keepalive_requests: Option<u64>,
    pub keepalive_time: Option<Millis>,
    pub keepalive_disable: Option<KeepaliveDisable>,
    pub lingering_close: Option<Linger>,
    pub lingering_time: Option<Millis>,
    pub lingering_timeout: Option<Millis>,
    pub send_timeout: Option<Millis>,
    pub reset_timedout_connection: Option<bool>,
    pub server_tokens: Option<ServerTokens>,
    pub msie_padding: Option<bool>,
    pub etag: Option<bool>,
    pub if_modified_since: Option<IfModifiedSince>,
    pub max_ranges: Option<u32>,
    pub chunked_transfer_encoding: Option<bool>,
    pub absolute_redirect: Option<bool>,
    pub server_name_in_redirect: Option<bool>,
    pub port_in_redirect: Option<bool>,
    pub log_not_found: Option<bool>,
    pub log_subrequest: Option<bool>,
    pub rewrite_log: Option<bool>,
    pub uninitialized_variable_warn: Option<bool>,
    pub limit_rate: Option<Template>,
    pub limit_rate_after: Option<Template>,
    pub early_hints: Option<Vec<Template>>,
    pub resolver: Option<ResolverId>,
    pub resolver_timeout: Option<Millis>,
    pub http2_chunk_size: Option<usize>,
}

fn inherit_headers(
    own: &mut Option<Vec<AddHeader>>,
    parent: Option<&Vec<AddHeader>>,
    how: Option<HeaderInherit>,
) {
    match (how.unwrap_or(HeaderInherit::On), own.as_mut(), parent) {
        (HeaderInherit::Merge, Some(own), Some(parent)) => {
            let rest = std::mem::replace(own, parent.clone());
            own.extend(rest);
        }
        (HeaderInherit::On | HeaderInherit::Merge, None, Some(parent)) => *own = Some(parent.clone()),
        _ => {}
    }
}

impl CoreLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; root index types default_type error_pages recursive_error_pages error_logs
            add_header_inherit add_trailer_inherit expires client_max_body_size client_body_buffer_size
            client_body_timeout client_body_temp_path client_body_in_file_only keepalive_timeout keepalive_min_timeout keepalive_requests
            keepalive_time keepalive_disable msie_padding lingering_close lingering_time lingering_timeout send_timeout
            reset_timedout_connection server_tokens etag if_modified_since max_ranges chunked_transfer_encoding
            absolute_redirect server_name_in_redirect port_in_redirect log_not_found log_subrequest rewrite_log uninitialized_variable_warn limit_rate
            limit_rate_after early_hints resolver resolver_timeout http2_chunk_size);
        self.files.inherit(&parent.files);
        self.charset.inherit(&parent.charset);
        inherit_headers(&mut self.add_headers, parent.add_headers.as_ref(), self.add_header_inherit);
        inherit_headers(&mut self.add_trailers, parent.add_trailers.as_ref(), self.add_trailer_inherit);
    }

    /// The settings with nginx's defaults where nothing was said; `main_logs` are the top level's error logs.
    pub fn finish(&self, env: &Environment<'_>, main_logs: &[ErrorLogRef]) -> CoreSettings {
        let default = CoreSettings::default();
        CoreSettings {
            root: self.root.clone().unwrap_or_else(|| default_root(env, default.root)),
            index: self.index.clone().map_or(default.index, Into::into),
            types: self.types.as_ref().map_or(default.types, |types| Arc::new(mime_types(types))),
            default_type: self.default_type.clone().unwrap_or(default.default_type),
            error_pages: self.error_pages.clone().map_or(default.error_pages, Into::into),
            recursive_error_pages: self.recursive_error_pages.unwrap_or(default.recursive_error_pages),
            error_logs: self.error_logs.as_deref().unwrap_or(main_logs).into(),
            files: Arc::new(self.files.finish()),
            charset: self.charset.finish(),
            add_headers: self.add_headers.clone().map_or(default.add_headers, Into::into),
            add_trailers: self.add_trailers.clone().map_or(default.add_trailers, Into::into),
            expires: self.expires.clone().unwrap_or(default.expires),
            client_body: self.client_body(env, default.client_body),
            http2_chunk_bytes: self.http2_chunk_size.unwrap_or(default.http2_chunk_bytes),
            keepalive: self.keepalive(default.keepalive),
            lingering: LingeringClose {
                when: self.lingering_close.unwrap_or(default.lingering.when),
                time: self.lingering_time.unwrap_or(default.lingering.time),
                timeout: self.lingering_timeout.unwrap_or(default.lingering.timeout),
            },
            send_timeout: self.send_timeout.unwrap_or(default.send_timeout),
            reset_timedout_connection: self
                .reset_timedout_connection
                .unwrap_or(default.reset_timedout_connection),
            server_tokens: self.server_tokens.clone().unwrap_or(default.server_tokens),
            msie_padding: self.msie_padding.unwrap_or(default.msie_padding),
            etag: self.etag.unwrap_or(default.etag),
            if_modified_since: self.if_modified_since.unwrap_or(default.if_modified_since),
            ranges_max: self.max_ranges.or(default.ranges_max),
            chunked_transfer_encoding: self
                .chunked_transfer_encoding
                .unwrap_or(default.chunked_transfer_encoding),
            absolute_redirect: self.absolute_redirect.unwrap_or(default.absolute_redirect),
            server_name_in_redirect: self.server_name_in_redirect.unwrap_or(default.server_name_in_redirect),
            port_in_redirect: self.port_in_redirect.unwrap_or(default.port_in_redirect),
            log_not_found: self.log_not_found.unwrap_or(default.log_not_found),
            log_subrequest: self.log_subrequest.unwrap_or(default.log_subrequest),
            rewrite_log: self.rewrite_log.unwrap_or(default.rewrite_log),
            uninitialized_variable_warn: self
                .uninitialized_variable_warn
                .unwrap_or(default.uninitialized_variable_warn),
            limit_rate: self.limit_rate.clone().or(default.limit_rate),
            limit_rate_after: self.limit_rate_after.clone().or(default.limit_rate_after),
            early_hints: self.early_hints.clone().map_or(default.early_hints, Into::into),
            resolver: self.resolver,
            resolver_timeout: self.resolver_timeout.unwrap_or(default.resolver_timeout),
        }
    }

    fn client_body(&self, env: &Environment<'_>, default: ClientBody) -> ClientBody {
        let temp = || (env.prefix.join(env.client_body_temp).to_string_lossy().as_bytes().into(), [0; 3]);
        let (temp_path, temp_levels) = self.client_body_temp_path.clone().unwrap_or_else(temp);
        // 0 is written where there is no limit.
        let bytes_max = self.client_max_body_size.map(|bytes| Some(bytes).filter(|bytes| *bytes > 0));
        ClientBody {
            bytes_max: bytes_max.unwrap_or(default.bytes_max),
            buffer_bytes: self.client_body_buffer_size.unwrap_or(default.buffer_bytes),
            timeout: self.client_body_timeout.unwrap_or(default.timeout),
            temp_path,
            temp_levels,
            in_file: self.client_body_in_file_only.unwrap_or(default.in_file),
        }
    }

    fn keepalive(&self, default: Keepalive) -> Keepalive {
        let (timeout, header_s) = self.keepalive_timeout.unwrap_or((default.timeout, default.header_s));
        Keepalive {
            timeout,
            header_s,
            requests_max: self.keepalive_requests.unwrap_or(default.requests_max),
            time_max: self.keepalive_time.unwrap_or(default.time_max),
            timeout_min: self.keepalive_min_timeout.unwrap_or(default.timeout_min),
            disable: self.keepalive_disable.unwrap_or(default.disable),
        }
    }
}

/// The default directory, below the prefix.
fn default_root(env: &Environment<'_>, default: Root) -> Root {
    let (Root::Root(template) | Root::Alias { path: template, .. }) = &default;
    match template.as_literal() {
        Some(name) => {
            let path = env.prefix.join(&*String::from_utf8_lossy(name));
            Root::Root(Template::literal(path.to_string_lossy().as_bytes()))
        }
        None => default,
    }
}

fn mime_types(own: &HashMap<Vec<u8>, Arc<[u8]>>) -> MimeTypes {
    let by_extension: CoreMap<Box<[u8]>, Arc<[u8]>> =
        own.iter().map(|(extension, kind)| (extension.as_slice().into(), kind.clone())).collect();
    MimeTypes { by_extension }
}

/// `types { text/html html htm; }`
pub fn types(level: &mut CoreLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let types = level.types.get_or_insert_default();
    for line in call.directive.children() {
        if line.block.is_some() {
            call.cx.diagnostics.push(Diagnostic::emerg(line.span, "unexpected \"{\""));
            continue;
        }
        let kind: Arc<[u8]> = line.name.bytes.as_slice().into();
        for extension in &line.args {
            let before = types.insert(extension.bytes.to_ascii_lowercase(), kind.clone());
            if let Some(before) = before.filter(|before| *before != kind) {
                let message = format!(
                    "duplicate extension \"{}\", content type: \"{}\", previous content type: \"{}\"",
                    extension.text(),
                    line.name.text(),
                    String::from_utf8_lossy(&before)
                );
                call.cx.diagnostics.push(Diagnostic::warn(extension.span, message));
            }
        }
    }
    Ok(())
}

/// `root path;`, `alias path;`
pub fn root(level: &mut CoreLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let name = call.directive.name.text();
    if let Some(earlier) = &level.root {
        let earlier = if matches!(earlier, Root::Root(_)) { "root" } else { "alias" };
        return Err(call.error(if earlier == name {
            format!("\"{name}\" directive is duplicate")
        } else {
            format!("\"{name}\" directive is duplicate, \"{earlier}\" directive was specified earlier")
        }));
    }
    let path = call.text(0);
    for variable in ["document_root", "realpath_root"] {
        if path.contains(&format!("${variable}")) || path.contains(&format!("${{{variable}}}")) {
            let message = format!("the ${variable} variable cannot be used in the \"{name}\" directive");
            return Err(call.first().error(message));
        }
    }
    if name == "alias" && call.place.kind == LocationKind::Named {
        return Err(call.error("the \"alias\" directive cannot be used inside the named location"));
    }
    // A path that begins with a variable is taken as it is; every other one starts at the prefix.
    let full = if path.starts_with('$') {
        call.first().arg.bytes.clone()
    } else {
        use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
        let path = std::ffi::OsStr::from_bytes(&call.first().arg.bytes);
        call.cx.env.prefix.join(path).into_os_string().into_vec()
    };
    let template = super::template::compile_bytes(call.cx, call.first(), &full)?;
    level.root = Some(if name == "alias" {
        let is_regex = matches!(
            call.place.kind,
            LocationKind::Regex | LocationKind::RegexNoCase | LocationKind::Predicate
        );
        Root::Alias { path: template, replaces: (!is_regex).then_some(call.place.pattern.len()) }
    } else {
        Root::Root(template)
    });
    Ok(())
}

/// `index file …;`
pub fn index(level: &mut CoreLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    for n in 0..call.args().len() {
        if call.arg(n).arg.bytes.is_empty() {
            return Err(call.arg(n).error("index \"\" in \"index\" directive is invalid"));
        }
        let template = call.template(n)?;
        level.index.get_or_insert_default().push(template);
    }
    Ok(())
}

/// `client_body_temp_path path [level1 [level2 [level3]]];`
pub fn client_body_temp_path(level: &mut CoreLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let mut levels = [0; 3];
    for (n, digits) in levels.iter_mut().enumerate().take(call.args().len() - 1) {
        let field = call.arg(n + 1);
        let number = field.number()?;
        let fits = u8::try_from(number).ok().filter(|number| (1..=10).contains(number));
        *digits = fits.ok_or_else(|| field.invalid("a level is a number of digits"))?;
    }
    level.client_body_temp_path = Some((call.path_bytes(), levels));
    Ok(())
}

/// `keepalive_timeout 75s [60s];`
pub fn keepalive_timeout(level: &mut CoreLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let timeout = call.first().millis()?;
    let header = if call.args().len() > 1 { Some(call.arg(1).seconds()?) } else { None };
    level.keepalive_timeout = Some((timeout, header.filter(|seconds| *seconds > 0)));
    Ok(())
}

/// `keepalive_disable none|msie6|safari …;`
pub fn keepalive_disable(level: &mut CoreLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let mut disable = KeepaliveDisable { msie6: false, safari: false };
    for n in 0..call.args().len() {
        match call.arg(n).choice(&[("none", 0), ("msie6", 1), ("safari", 2)])? {
            1 => disable.msie6 = true,
            2 => disable.safari = true,
            _ => {}
        }
    }
    level.keepalive_disable = Some(disable);
    Ok(())
}

/// `server_tokens on|off|build|text;`
pub fn server_tokens(level: &mut CoreLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let word = call.text(0).to_ascii_lowercase();
    level.server_tokens = Some(match &*word {
        // There is no build name.
        "on" | "build" => ServerTokens::On,
        "off" => ServerTokens::Off,
        _ => ServerTokens::Text(call.template(0)?),
    });
    Ok(())
}

/// `limit_rate 10k;`: a literal becomes a plain number of bytes, so that only variables are parsed at run time.
pub fn rate(call: &mut Call<'_, '_>) -> Parsed<Option<Template>> {
    let template = call.template(0)?;
    if template.as_literal().is_none() {
        return Ok(Some(template));
    }
    let bytes = call.first().size()?;
    Ok(Some(Template::literal(bytes.to_string().as_bytes())))
}

/// `add_header name value [always];`, `add_trailer …`
pub fn add_header(call: &mut Call<'_, '_>) -> Parsed<AddHeader> {
    let always = call.args().len() > 2;
    if always && !call.arg(2).arg.is("always") {
        let mut diagnostic = call.arg(2).error(format!("invalid parameter \"{}\"", call.text(2)));
        diagnostic.help("only `always` may follow the value; quote a value that holds spaces");
        return Err(diagnostic);
    }
    let name = call.first().arg.bytes.as_slice();
    Ok(AddHeader { id: super::header_id(name), name: name.into(), value: call.template(1)?, always })
}

/// `expires [modified] time;`, `expires epoch|max|off;`
pub fn expires(call: &mut Call<'_, '_>) -> Parsed<Expires> {
    let modified = call.args().len() > 1;
    if modified && !call.first().arg.is("modified") {
        return Err(call.first().error("invalid value"));
    }
    let field = call.arg(usize::from(modified));
    if super::template::has_variables(&field.arg.bytes) {
        return Ok(Expires::Computed { value: super::template::compile(call.cx, field)?, modified });
    }
    Expires::parse(&field.arg.text(), modified).map_err(|message| {
        let mut diagnostic = field.error(format!("\"expires\" directive {message}"));
        diagnostic.help("a time as `30d`, `-1`, `@15h30m`; `epoch`, `max` or `off`");
        diagnostic
    })
}
