//! `fastcgi_pass`, `scgi_pass`, `uwsgi_pass` and their families: the proxy module's settings once more for each, and what
//! only these have.

use std::sync::Arc;

use proxy_core::config::{
    Endpoint, Gateway, GatewayParam, GatewayProtocol, HTTP_PORT, Piece, Proxy, ScriptName, Target, TargetUri,
    Template, Variable,
};
use proxy_core::http::HeaderSet;
use proxy_core::route::Regex;

use super::address;
use super::context::{Call, Context};
use super::core::inherit;
use super::proxy::{ProxyLevel, ProxyShared};
use super::proxy_pass::Pass;
use super::template::{compile_bytes, has_variables};
use crate::conf::value::Parsed;

/// Whose directives they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// `proxy_…`
    #[default]
    Proxy,
    /// `fastcgi_…`
    FastCgi,
    /// `scgi_…`
    Scgi,
    /// `uwsgi_…`
    Uwsgi,
}

impl Family {
    /// What its directives begin with.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::FastCgi => "fastcgi",
            Self::Scgi => "scgi",
            Self::Uwsgi => "uwsgi",
        }
    }
}

/// The reply fields that these families hide unless told otherwise; uwsgi does not hide Status.
pub const HIDDEN: &[&[u8]] = &[
    b"status",
    b"x-accel-expires",
    b"x-accel-redirect",
    b"x-accel-limit-rate",
    b"x-accel-buffering",
    b"x-accel-charset",
];

/// What a level says beyond the proxy module's settings; `None` is silence.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct GatewayLevel {
    pub params: Option<Vec<GatewayParam>>,
    pub index: Option<Box<[u8]>>,
    pub split_path_info: Option<Regex>,
    pub keep_conn: Option<bool>,
    pub catch_stderr: Option<Vec<Box<[u8]>>>,
    pub modifier1: Option<u8>,
    pub modifier2: Option<u8>,
    pub string: Option<Box<[u8]>>,
}

impl GatewayLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; params index split_path_info keep_conn catch_stderr modifier1 modifier2 string);
    }

    /// What an upstream of this family gets; none for the proxy module's own.
    pub fn finish(&self, family: Family) -> Option<Arc<Gateway>> {
        let protocol = match family {
            Family::Proxy => return None,
            Family::FastCgi => GatewayProtocol::FastCgi { keep_conn: self.keep_conn.unwrap_or(false) },
            Family::Scgi => GatewayProtocol::Scgi,
            Family::Uwsgi => GatewayProtocol::Uwsgi {
                modifiers: (self.modifier1.unwrap_or(0), self.modifier2.unwrap_or(0)),
                text: self.string.clone().unwrap_or_default(),
            },
        };
        let mut params = self.params.clone().unwrap_or_default();
        if !params.iter().any(|param| param.name.eq_ignore_ascii_case(b"HTTP_HOST")) {
            params.push(default_host());
        }
        let own_fields = params.iter().filter_map(|param| param.name.strip_prefix(b"HTTP_"));
        let own_fields = own_fields.filter(|name| !name.is_empty());
        let own_fields = own_fields.map(|name| name.to_ascii_lowercase().into()).collect();
        // A field's parameter that says nothing is there to keep the field from being passed.
        let silent =
            |param: &GatewayParam| param.name.starts_with(b"HTTP_") && param.value.pieces().is_empty();
        params.retain(|param| !silent(param));
        Some(Arc::new(Gateway {
            protocol,
            params: params.into(),
            own_fields,
            catch_stderr: self.catch_stderr.clone().unwrap_or_default().into(),
        }))
    }
}

/// `HTTP_HOST $host$is_request_port$request_port if_not_empty`, as nginx 1.31 has it where nothing else is said.
fn default_host() -> GatewayParam {
    let pieces = [Variable::Host, Variable::IsRequestPort, Variable::RequestPort].map(Piece::Variable);
    GatewayParam { name: b"HTTP_HOST".as_slice().into(), value: Template::new(pieces), unless_empty: true }
}

/// What one level says for each of the three families.
#[derive(Debug, Default)]
pub struct GatewayLevels([Option<Box<ProxyLevel>>; 3]);

impl GatewayLevels {
    /// The settings of a family, begun if there are none.
    pub fn level(&mut self, family: Family) -> &mut ProxyLevel {
        let [fastcgi, scgi, uwsgi] = &mut self.0;
        let slot = match family {
            Family::Proxy | Family::FastCgi => fastcgi,
            Family::Scgi => scgi,
            Family::Uwsgi => uwsgi,
        };
        slot.get_or_insert_with(|| Box::new(ProxyLevel { family, ..ProxyLevel::default() }))
    }
}

/// A family's settings at a level, all inheritance resolved.
#[derive(Clone, Debug)]
struct Resolved {
    level: Arc<ProxyLevel>,
    done: Arc<ProxyShared>,
}

/// All three.
#[derive(Clone, Debug)]
pub struct Gateways {
    families: [Resolved; 3],
    script: Option<Arc<ScriptName>>,
}

impl Gateways {
    /// At the `http` level.
    pub fn top(levels: GatewayLevels, cx: &mut Context<'_>) -> Self {
        let mut families = [Family::FastCgi, Family::Scgi, Family::Uwsgi].into_iter();
        let families = levels.0.map(|level| {
            let family = families.next().unwrap_or_default();
            let level = level.map_or_else(|| ProxyLevel { family, ..ProxyLevel::default() }, |level| *level);
            Resolved { done: Arc::new(level.finish(cx)), level: Arc::new(level) }
        });
        Self { script: script(&families[0].level), families }
    }

    /// At a level inside.
    pub fn descend(&mut self, levels: &mut GatewayLevels, cx: &mut Context<'_>) {
        for (resolved, level) in self.families.iter_mut().zip(&mut levels.0) {
            let Some(mut level) = level.take() else { continue };
            level.inherit(&resolved.level);
            *resolved = Resolved { done: Arc::new(level.finish(cx)), level: Arc::new(*level) };
        }
        let [fastcgi, ..] = &self.families;
        self.script = script(&fastcgi.level);
    }

    /// The whole for one `fastcgi_pass` or its kin.
    pub fn proxy(&self, family: Family, pass: &Pass) -> Proxy {
        let [fastcgi, scgi, uwsgi] = &self.families;
        let Resolved { level, done } = match family {
            Family::Proxy | Family::FastCgi => fastcgi,
            Family::Scgi => scgi,
            Family::Uwsgi => uwsgi,
        };
        level.proxy(done, pass, (None, None))
    }

    /// What `$fastcgi_script_name` goes by.
    pub fn script(&self) -> Option<Arc<ScriptName>> {
        self.script.clone()
    }
}

fn script(level: &ProxyLevel) -> Option<Arc<ScriptName>> {
    let GatewayLevel { index, split_path_info, .. } = &level.gateway;
    if index.is_none() && split_path_info.is_none() {
        return None;
    }
    let index = index.clone().unwrap_or_default();
    Some(Arc::new(ScriptName { index, split: split_path_info.clone() }))
}

/// `fastcgi_pass address;` and its kin.
///
/// # Errors
/// As nginx's.
pub fn pass(call: &mut Call<'_, '_>, family: Family) -> Parsed<Pass> {
    let field = call.first();
    let text = field.arg.text();
    let name = family.name();
    let made = |target| Pass {
        target,
        uri: TargetUri::Unchanged,
        proxy_host: Arc::default(),
        proxy_port: Arc::default(),
        url: format!("{name}://").into(),
        tls: None,
        tls_name: None,
        default_redirect: None,
    };
    let rest = match strip_scheme(&text, family) {
        Some(("suwsgi", _)) => {
            let mut diagnostic = field.error("suwsgi protocol requires SSL support");
            diagnostic.help("ringgate speaks uwsgi without TLS only");
            return Err(diagnostic);
        }
        Some((_, rest)) => rest,
        None => &text,
    };
    if has_variables(rest.as_bytes()) {
        return Ok(made(Target::Dynamic(compile_bytes(call.cx, field, rest.as_bytes())?)));
    }
    let error = |error: &str| field.error(format!("{error} in upstream \"{rest}\""));
    let (endpoint, uri) = address::split(rest).map_err(error)?;
    if !uri.is_empty() {
        return Err(error("invalid host"));
    }
    if let Endpoint::Host { host, port: None } = &endpoint
        && !call.cx.upstreams.is_declared(host)
    {
        let mut diagnostic = error("no port");
        diagnostic.help("the name of an `upstream`, an address with its port, or `unix:` and a path");
        return Err(diagnostic);
    }
    let upstream = call.cx.upstreams.reference(
        call.cx.env,
        field,
        (&endpoint, HTTP_PORT),
        rest,
        &mut call.cx.diagnostics,
    )?;
    Ok(made(Target::Upstream(upstream)))
}

/// `uwsgi_pass` alone may name its protocol.
fn strip_scheme(text: &str, family: Family) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://").filter(|_| family == Family::Uwsgi)?;
    ["uwsgi", "suwsgi"].contains(&scheme).then_some((scheme, rest))
}

/// `fastcgi_param name value [if_not_empty];`
pub fn param(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let unless_empty = call.args().len() > 2;
    if unless_empty && !call.arg(2).arg.is("if_not_empty") {
        return Err(call.arg(2).error(format!("invalid parameter \"{}\"", call.text(2))));
    }
    let name = call.first().arg.bytes.as_slice().into();
    let param = GatewayParam { name, value: call.template(1)?, unless_empty };
    level.gateway.params.get_or_insert_default().push(param);
    Ok(())
}

/// `fastcgi_split_path_info regex;`
pub fn split_path_info(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let pattern = call.text(0);
    let regex = call.cx.regex(call.first(), &pattern, false)?;
    if regex.groups() != 2 {
        return Err(call.first().error(format!("pattern \"{pattern}\" must have 2 captures")));
    }
    level.gateway.split_path_info = Some(regex);
    Ok(())
}

/// `fastcgi_catch_stderr string;`
pub fn catch_stderr(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let text = call.first().arg.bytes.as_slice().into();
    level.gateway.catch_stderr.get_or_insert_default().push(text);
    Ok(())
}

/// `uwsgi_modifier1 number;`
pub fn modifier(call: &Call<'_, '_>) -> Parsed<u8> {
    let number = call.first().count()?;
    u8::try_from(number).map_err(|_| call.first().error("value must be between 0 and 255"))
}

/// `fastcgi_next_upstream error timeout http_503 …;`
pub fn next_upstream(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    for n in 0..call.args().len() {
        let word = call.text(n);
        if matches!(&*word, "http_502" | "http_504") {
            return Err(call.arg(n).error(format!("invalid value \"{word}\"")));
        }
    }
    super::proxy_rules::next_upstream(level, call)
}

/// `fastcgi_cache zone|off;`
///
/// # Errors
/// For a zone: nothing is cached yet.
pub fn cache(call: &mut Call<'_, '_>) -> Parsed<()> {
    if call.first().arg.is("off") {
        return Ok(());
    }
    let name = call.directive.name.text();
    Err(call.error(format!("\"{name}\" directive is known to nginx but ringgate does not support it yet")))
}

/// What is hidden where nothing else is said.
pub fn hidden(family: Family) -> HeaderSet {
    let names = if family == Family::Proxy { proxy_core::config::HIDDEN_BY_DEFAULT } else { HIDDEN };
    let mut hidden = HeaderSet::new(names.iter().copied());
    if family == Family::Uwsgi {
        hidden.remove(b"status");
    }
    hidden
}
