//! The proxy module's settings of one level, as written; then inherited; then finished for one `proxy_pass`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proxy_core::config::{
    Bind, BindAddress, BodyBuffering, Cache, CookieFlags, CookieRule, Gateway, IgnoreHeaders, NextUpstream,
    Proxy, ProxyHttpVersion, RedirectRule, SendProxyProtocol, SetHeader, SetHeaders, Store, Template,
    UpgradePolicy,
};
use proxy_core::http::{HeaderId, HeaderSet};
use proxy_core::time::Millis;

use super::cache::CacheLevel;
use super::context::{Call, Context};
use super::core::inherit;
use super::gateway::{Family, GatewayLevel, hidden};
use super::proxy_pass::Pass;
use super::proxy_rules::Redirects;
use super::upstream_tls::{TlsPair, UpstreamTlsLevel};
use crate::conf::diagnostic::Diagnostic;
use crate::conf::span::Span;
use crate::conf::value::Parsed;

/// A value and where it was said.
pub type Said<T> = Option<(T, Span)>;

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct ProxyLevel {
    /// Whose settings they are.
    pub family: Family,
    /// What only FastCGI, SCGI and uwsgi have.
    pub gateway: GatewayLevel,
    pub method: Option<Template>,
    pub http_version: Option<ProxyHttpVersion>,
    pub set_headers: Option<Vec<SetHeader>>,
    pub set_body: Option<Template>,
    pub pass_request_headers: Option<bool>,
    pub pass_request_body: Option<bool>,
    pub request_buffering: Option<bool>,
    pub buffering: Option<bool>,
    pub buffer_size: Said<usize>,
    /// Number and size.
    pub buffers: Said<(usize, usize)>,
    pub busy_buffers_size: Said<usize>,
    pub max_temp_file_size: Said<u64>,
    pub temp_file_write_size: Said<usize>,
    pub temp_path: Option<Arc<[u8]>>,
    pub connect_timeout: Option<Millis>,
    pub send_timeout: Option<Millis>,
    pub read_timeout: Option<Millis>,
    pub hide_headers: Option<Vec<Box<[u8]>>>,
    pub pass_headers: Option<Vec<Box<[u8]>>>,
    pub ignore_headers: Option<IgnoreHeaders>,
    pub redirects: Option<Redirects>,
    pub cookie_domains: Option<Vec<CookieRule>>,
    pub cookie_paths: Option<Vec<CookieRule>>,
    pub cookie_flags: Option<Vec<CookieFlags>>,
    pub socket_sndbuf: Option<usize>,
    pub socket_rcvbuf: Option<usize>,
    pub next_upstream: Option<NextConditions>,
    pub next_upstream_tries: Option<u32>,
    pub next_upstream_timeout: Option<Millis>,
    pub intercept_errors: Option<bool>,
    pub ignore_client_abort: Option<bool>,
    pub socket_keepalive: Option<bool>,
    /// The inner `None` is `off`.
    pub proxy_protocol: Option<Option<SendProxyProtocol>>,
    /// The inner `None` is `off`.
    pub bind: Option<Option<Arc<Bind>>>,
    pub pass_trailers: Option<bool>,
    pub limit_rate: Option<Template>,
    pub force_ranges: Option<bool>,
    pub cache: CacheLevel,
    /// The inner `None` is `off`, and the innermost `on`.
    pub store: Option<Option<Option<Template>>>,
    pub store_access: Option<u32>,
    pub tls: UpstreamTlsLevel,
}

/// `proxy_store_access`, where nothing is said.
const STORE_MODE: u32 = 0o600;

impl ProxyLevel {
    const fn stores(&self) -> bool {
        matches!(self.store, Some(Some(_)))
    }

    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; method http_version set_headers set_body pass_request_headers pass_request_body
            request_buffering buffering buffer_size buffers busy_buffers_size max_temp_file_size
            temp_file_write_size temp_path connect_timeout send_timeout read_timeout hide_headers pass_headers
            ignore_headers redirects cookie_domains cookie_paths cookie_flags
            socket_sndbuf socket_rcvbuf next_upstream next_upstream_tries
            next_upstream_timeout intercept_errors ignore_client_abort socket_keepalive proxy_protocol bind pass_trailers
            limit_rate force_ranges store_access);
        if self.store.is_none() && self.cache.zone.is_none() {
            self.store.clone_from(&parent.store);
        } else if self.stores() {
            self.cache.zone = Some(None);
        }
        self.cache.inherit(&parent.cache);
        self.gateway.inherit(&parent.gateway);
        self.tls.inherit(&parent.tls);
    }

    /// The parts that do not depend on `proxy_pass`, with nginx's defaults where nothing was said.
    pub fn finish(&self, cx: &mut Context<'_>) -> ProxyShared {
        let buffering = self.body_buffering(cx);
        self.finish_with(buffering)
    }

    /// The same with these buffers.
    pub fn finish_with(&self, buffering: BodyBuffering) -> ProxyShared {
        let set_headers = Arc::new(SetHeaders::new(self.set_headers.clone().unwrap_or_default()));
        let named = |id| set_headers.names.contains_id(id);
        let configured = named(HeaderId::Upgrade) || named(HeaderId::Connection);
        let cache = self.cache.finish(&set_headers);
        ProxyShared {
            cache,
            upgrade: if configured { UpgradePolicy::Configured } else { UpgradePolicy::Forward },
            hide_headers: Arc::new(self.hidden()),
            gateway: self.gateway.finish(self.family),
            buffering,
            cookie_domains: self.cookie_domains.clone().unwrap_or_default().into(),
            cookie_paths: self.cookie_paths.clone().unwrap_or_default().into(),
            cookie_flags: self.cookie_flags.clone().unwrap_or_default().into(),
            set_headers,
        }
    }

    fn hidden(&self) -> HeaderSet {
        let mut hidden = hidden(self.family);
        for name in self.hide_headers.iter().flatten() {
            hidden.insert(name);
        }
        for name in self.pass_headers.iter().flatten() {
            hidden.remove(name);
        }
        hidden
    }

    /// The buffers, with nginx's rules about their sizes.
    fn body_buffering(&self, cx: &mut Context<'_>) -> BodyBuffering {
        let default = BodyBuffering::default();
        let page = default.head_bytes_max;
        let size = |said: Said<usize>| said.map(|(value, _)| value);
        let head = size(self.buffer_size).unwrap_or(page);
        let (count, each) = self.buffers.map_or((default.memory_bytes_max / page, page), |(value, _)| value);
        let largest = head.max(each);
        let memory = count.saturating_mul(each);
        let busy = size(self.busy_buffers_size).unwrap_or(2 * largest);
        let write = size(self.temp_file_write_size).unwrap_or(2 * largest);
        let file = self.max_temp_file_size.map_or(default.file_bytes_max, |(value, _)| value);
        let module = self.family.name();
        let of_both = format!(
            "the maximum of the value of \"{module}_buffer_size\" and one of the \"{module}_buffers\""
        );
        let place = |said: Said<usize>| {
            said.or(self.buffers.map(|(_, s)| (0, s))).or(self.buffer_size).map(|(_, s)| s)
        };
        let mut check = |wrong: bool, span: Option<Span>, message: String| {
            if wrong && let Some(span) = span {
                cx.diagnostics.push(Diagnostic::emerg(span, message));
            }
        };
        let too_few = format!("there must be at least 2 \"{module}_buffers\"");
        check(count < 2, self.buffers.map(|(_, s)| s), too_few);
        let message = format!("\"{module}_busy_buffers_size\" must be equal to or greater than {of_both}");
        check(busy < largest, place(self.busy_buffers_size), message);
        let message = format!(
            "\"{module}_busy_buffers_size\" must be less than the size of all \"{module}_buffers\" minus one buffer"
        );
        let all_but_one = memory.saturating_sub(each);
        check(count >= 2 && busy > all_but_one, place(self.busy_buffers_size), message);
        let message = format!("\"{module}_temp_file_write_size\" must be equal to or greater than {of_both}");
        check(write < largest, place(self.temp_file_write_size), message);
        let message = format!(
            "\"{module}_max_temp_file_size\" must be equal to zero to disable temporary files usage or must be equal to or greater than {of_both}"
        );
        check(file != 0 && file < largest as u64, self.max_temp_file_size.map(|(_, s)| s), message);
        let name =
            cx.env.proxy_temp.file_name().unwrap_or_default().to_string_lossy().replace("proxy", module);
        let path = cx.env.prefix.join(cx.env.proxy_temp.with_file_name(name));
        let temp = || path.to_string_lossy().as_bytes().into();
        BodyBuffering {
            on: self.buffering.unwrap_or(default.on),
            head_bytes_max: head,
            memory_bytes_max: memory,
            busy_bytes_max: busy,
            file_bytes_max: file,
            file_write_bytes: write,
            temp_path: self.temp_path.clone().unwrap_or_else(temp),
        }
    }

    /// The whole for one `proxy_pass`.
    pub fn proxy(&self, shared: &ProxyShared, pass: &Pass, tls: TlsPair) -> Proxy {
        let default = Proxy::default();
        Proxy {
            target: pass.target.clone(),
            uri: pass.uri.clone(),
            proxy_host: pass.proxy_host.clone(),
            proxy_port: pass.proxy_port.clone(),
            url: pass.url.clone(),
            gateway: shared.gateway.clone(),
            method: self.method.clone(),
            http_version: self.http_version.unwrap_or(default.http_version),
            set_headers: shared.set_headers.clone(),
            upgrade: shared.upgrade,
            body: self.set_body.clone(),
            pass_request_headers: self.pass_request_headers.unwrap_or(default.pass_request_headers),
            pass_request_body: self.pass_request_body.unwrap_or(default.pass_request_body),
            request_buffering: self.request_buffering.unwrap_or(default.request_buffering),
            buffering: shared.buffering.clone(),
            connect_timeout: self.connect_timeout.unwrap_or(default.connect_timeout),
            send_timeout: self.send_timeout.unwrap_or(default.send_timeout),
            read_timeout: self.read_timeout.unwrap_or(default.read_timeout),
            hide_headers: shared.hide_headers.clone(),
            ignore_headers: self.ignore_headers.unwrap_or_default(),
            redirects: self.redirect_rules(pass),
            cookie_domains: shared.cookie_domains.clone(),
            cookie_paths: shared.cookie_paths.clone(),
            cookie_flags: shared.cookie_flags.clone(),
            next_upstream: self.next(default.next_upstream),
            intercept_errors: self.intercept_errors.unwrap_or(default.intercept_errors),
            ignore_client_abort: self.ignore_client_abort.unwrap_or(default.ignore_client_abort),
            socket_keepalive: self.socket_keepalive.unwrap_or(default.socket_keepalive),
            proxy_protocol: self.proxy_protocol.flatten(),
            bind: self.bind.clone().flatten(),
            send_buffer_bytes: self.socket_sndbuf.filter(|bytes| *bytes > 0),
            recv_buffer_bytes: self.socket_rcvbuf.filter(|bytes| *bytes > 0),
            pass_trailers: self.pass_trailers.unwrap_or(default.pass_trailers),
            limit_rate: self.limit_rate.clone(),
            force_ranges: self.force_ranges.unwrap_or(default.force_ranges),
            cache: shared.cache.clone(),
            store: self
                .store
                .clone()
                .flatten()
                .map(|path| Arc::new(Store { path, mode: self.store_access.unwrap_or(STORE_MODE) })),
            is_grpc: false,
            tls: tls.0,
            upgrade_tls: tls.1,
        }
    }

    fn redirect_rules(&self, pass: &Pass) -> Arc<[RedirectRule]> {
        match &self.redirects {
            None => pass.default_redirect.iter().cloned().collect(),
            Some(redirects) => redirects.rules(pass.default_redirect.as_ref()).into(),
        }
    }

    fn next(&self, default: NextUpstream) -> NextUpstream {
        let tries_max = self.next_upstream_tries.unwrap_or(default.tries_max);
        let timeout_total = self.next_upstream_timeout.unwrap_or(default.timeout_total);
        let Some(said) = &self.next_upstream else {
            return NextUpstream { tries_max, timeout_total, ..default };
        };
        NextUpstream {
            error: said.error && !said.off,
            timeout: said.timeout && !said.off,
            invalid_header: said.invalid_header && !said.off,
            non_idempotent: said.non_idempotent && !said.off,
            statuses: if said.off { Box::default() } else { said.statuses.as_slice().into() },
            tries_max,
            timeout_total,
        }
    }
}

/// `proxy_next_upstream`
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the word of its name")]
#[expect(clippy::struct_excessive_bools, reason = "a set of independent words")]
pub struct NextConditions {
    pub error: bool,
    pub timeout: bool,
    pub invalid_header: bool,
    pub non_idempotent: bool,
    pub off: bool,
    pub statuses: Vec<proxy_core::http::Status>,
}

/// What all `proxy_pass` of the levels that say nothing of their own share.
#[derive(Clone, Debug)]
pub struct ProxyShared {
    set_headers: Arc<SetHeaders>,
    upgrade: UpgradePolicy,
    hide_headers: Arc<HeaderSet>,
    buffering: BodyBuffering,
    gateway: Option<Arc<Gateway>>,
    cookie_domains: Arc<[CookieRule]>,
    cookie_paths: Arc<[CookieRule]>,
    cookie_flags: Arc<[CookieFlags]>,
    cache: Option<Arc<Cache>>,
}

/// `proxy_set_header name value;`
pub fn set_header(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let name = call.first().arg.bytes.as_slice();
    let header = SetHeader { id: super::header_id(name), name: name.into(), value: call.template(1)? };
    level.set_headers.get_or_insert_default().push(header);
    Ok(())
}

/// `proxy_protocol on|v2|off;`
pub fn proxy_protocol(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let (v1, v2) = (Some(SendProxyProtocol::V1), Some(SendProxyProtocol::V2));
    level.proxy_protocol = Some(call.first().choice(&[("on", v1), ("v1", v1), ("v2", v2), ("off", None)])?);
    Ok(())
}

/// `proxy_buffers number size;`
pub fn buffers(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let count = call.first().count()?;
    let size = call.arg(1).bytes()?;
    if count == 0 || size == 0 {
        return Err(call.first().invalid("`proxy_buffers` takes a number and a size, as in `8 4k`"));
    }
    level.buffers = Some(((count, size), call.directive.span));
    Ok(())
}

/// `proxy_http_version 1.1;`
pub fn http_version(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let versions = [
        ("1.0", ProxyHttpVersion::Http10),
        ("1.1", ProxyHttpVersion::Http11),
        ("2", ProxyHttpVersion::Http2),
    ];
    level.http_version = Some(call.first().choice(&versions)?);
    Ok(())
}

/// `proxy_bind address [transparent]|off;`
pub fn bind(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let text = call.text(0);
    if text == "off" && call.args().len() == 1 {
        level.bind = Some(None);
        return Ok(());
    }
    let transparent = call.args().len() > 1;
    if transparent && !call.arg(1).arg.is("transparent") {
        return Err(call.arg(1).error(format!("invalid parameter \"{}\"", call.text(1))));
    }
    let address = if super::template::has_variables(text.as_bytes()) {
        BindAddress::Computed(call.template(0)?)
    } else {
        let alone = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let alone = alone.map(|ip| SocketAddr::new(ip, 0));
        let address = alone.or_else(|_| text.parse::<SocketAddr>());
        BindAddress::Fixed(address.map_err(|_| {
            let mut diagnostic = call.first().error(format!("invalid address \"{text}\""));
            diagnostic.help("an IP address, with or without a port, or `off`");
            diagnostic
        })?)
    };
    level.bind = Some(Some(Arc::new(Bind { address, transparent })));
    Ok(())
}
