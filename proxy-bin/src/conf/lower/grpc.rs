//! `grpc_pass` and its family: the proxy module's settings, kept apart, with what is always so for gRPC.
//!
//! Reference: ngx_http_grpc_module. Nothing is buffered, trailers are passed on, and the whole target is the client's.

use std::sync::Arc;

use proxy_core::config::{BodyBuffering, Endpoint, HTTP_PORT, Proxy, ProxyHttpVersion, Target, TargetUri};

use super::address;
use super::context::Call;
use super::proxy::{ProxyLevel, ProxyShared};
use super::proxy_pass::Pass;
use super::template::{compile, has_variables};
use super::upstream_tls::TlsPair;
use crate::conf::value::Parsed;

/// Compiles the directive.
///
/// # Errors
/// As nginx's.
pub fn grpc_pass(call: &mut Call<'_, '_>) -> Parsed<Pass> {
    let field = call.first();
    let url = field.arg.text();
    if has_variables(url.as_bytes()) {
        let secure = url.get(..6).is_none_or(|start| !start.eq_ignore_ascii_case("grpc:/"));
        let target = Target::Dynamic(compile(call.cx, field)?);
        let tls = secure.then_some(field.arg.span);
        return Ok(Pass { tls, ..pass(target, "", "", &url) });
    }
    let (rest, is_tls) = match url.split_once("://") {
        None => (&*url, false),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("grpc") => (rest, false),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("grpcs") => (rest, true),
        Some(_) => return Err(field.error(format!("invalid host in upstream \"{url}\""))),
    };
    let (endpoint, uri) =
        address::split(rest).map_err(|error| field.error(format!("{error} in upstream \"{rest}\"")))?;
    if !uri.is_empty() {
        return Err(field.error(format!("invalid host in upstream \"{rest}\"")));
    }
    if let Endpoint::Host { host, port: None } = &endpoint
        && !call.cx.upstreams.is_declared(host)
    {
        return Err(field.error(format!("no port in upstream \"{host}\"")));
    }
    let id = call.cx.upstreams.reference(
        call.cx.env,
        field,
        (&endpoint, HTTP_PORT),
        rest,
        &mut call.cx.diagnostics,
    )?;
    let (host, port) = endpoint.proxy_host_and_port(HTTP_PORT);
    let scheme = if is_tls { "grpcs" } else { "grpc" };
    Ok(Pass {
        tls: is_tls.then_some(field.arg.span),
        tls_name: Some(endpoint.tls_name().into()),
        ..pass(Target::Upstream(id), &host, &port, &format!("{scheme}://{rest}"))
    })
}

fn pass(target: Target, host: &str, port: &str, url: &str) -> Pass {
    Pass {
        target,
        uri: TargetUri::Unchanged,
        proxy_host: host.as_bytes().into(),
        proxy_port: port.as_bytes().into(),
        url: url.into(),
        tls: None,
        tls_name: None,
        default_redirect: None,
    }
}

impl ProxyLevel {
    /// As [`finish`](Self::finish), for the level's `grpc_*` directives.
    pub fn finish_grpc(&self) -> ProxyShared {
        let default = BodyBuffering::default();
        let head_bytes_max = self.buffer_size.map_or(default.head_bytes_max, |(bytes, _)| bytes);
        self.finish_with(BodyBuffering {
            on: false,
            head_bytes_max,
            memory_bytes_max: head_bytes_max,
            file_bytes_max: 0,
            ..default
        })
    }

    /// The whole for one `grpc_pass`.
    pub fn grpc(&self, shared: &ProxyShared, pass: &Pass, tls: TlsPair) -> Proxy {
        let mut proxy = self.proxy(shared, pass, tls);
        proxy.http_version = ProxyHttpVersion::Http2;
        proxy.is_grpc = true;
        proxy.request_buffering = false;
        proxy.pass_trailers = true;
        // nginx buffers no reply here, whatever the upstream says.
        proxy.ignore_headers.accel_buffering = true;
        proxy.redirects = Arc::new([]);
        proxy
    }
}
