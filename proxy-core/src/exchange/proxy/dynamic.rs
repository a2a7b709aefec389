//! `proxy_pass` whose URL holds variables: the server is only known when the request is there.
//!
//! ```text
//! URL ─► endpoint ─┬─ a group of the configuration has this name ──────────┐
//!                  ├─ this worker knows its addresses ─────────────────────┤
//!                  ├─ it is an address ────────────────────────────────────┼─► group ─► next_attempt
//!                  └─ Resolving ─┬─ answer ────────────────────────────────┘
//!                                └─ failure, resolver_timeout ─► 502
//! ```
//! The order is nginx's (`ngx_http_proxy_eval`, `ngx_http_upstream_init_request`). The URL is evaluated before the
//! request's body is read, the name is looked up after it: by the location's `resolver`, or by the system where there
//! is none.

use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::Phase;
use crate::command::{Address, Command, ConnId, Level, ResolveId};
use crate::config::{Endpoint, HTTP_PORT, HTTPS_PORT, Proxy, Target};
use crate::conn::Link;
use crate::conn::name_server::SharedResolver;
use crate::dns::{Failure, Name, Subject};
use crate::exchange::context::{Context, Generation};
use crate::exchange::proxy::attempt::retire;
use crate::exchange::{DynamicTarget, Exchange};
use crate::http::Status;
use crate::time::{Instant, Millis};
use crate::timer::Reason;
use crate::upstream::names::{Answer, Asked, SharedGroup};

const HTTP_SCHEME: &[u8] = b"http://";
const GRPC_SCHEME: &[u8] = b"grpc://";
const GRPCS_SCHEME: &[u8] = b"grpcs://";
const HTTPS_SCHEME: &[u8] = b"https://";

/// An exchange's place among those who wait for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    id: ResolveId,
    /// Whom it was put to.
    serial: u32,
    client: ConnId,
    /// When it gives up.
    pub(super) until: Instant,
}

impl Exchange {
    /// Evaluates the URL, if it holds variables. Returns whether the exchange goes on.
    pub(super) fn evaluate_target(&mut self, link: &mut Link, ctx: &mut Context) -> bool {
        let generation = Rc::clone(&self.generation);
        let Some(Proxy { target: Target::Dynamic(url), is_grpc, .. }) = self.proxy_settings(&generation)
        else {
            return true;
        };
        let url = self.evaluate(url, &generation, ctx);
        match if *is_grpc { parse_grpc(&url) } else { parse(&url) } {
            Ok((endpoint, uri, tls)) => {
                let default_port = default_port(tls);
                let (host, port) = endpoint.proxy_host_and_port(default_port);
                let target = DynamicTarget { host: boxed(host), port: boxed(port), uri, tls };
                self.facts.dynamic_target = Some(target);
                self.proxy.endpoint = Some(endpoint);
                true
            }
            Err(message) => {
                self.log_error(Level::Error, &message, ctx);
                self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
                false
            }
        }
    }

    /// The servers to choose from; none where the exchange waits for them, or has failed.
    pub(super) fn find_group(
        &mut self,
        proxy: &Proxy,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) -> Option<SharedGroup> {
        if let Some(group) = &self.proxy.group {
            return Some(Rc::clone(group));
        }
        let group = match &proxy.target {
            Target::Upstream(id) => generation.group(*id).cloned(),
            Target::Dynamic(_) => self.find_dynamic_group(generation, link, ctx),
        };
        self.proxy.group.clone_from(&group);
        group
    }

    fn find_dynamic_group(
        &mut self,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) -> Option<SharedGroup> {
        let endpoint = self.proxy.endpoint.clone()?;
        if let Some(group) = generation.group_of(&endpoint, self.default_port()) {
            return Some(Rc::clone(group));
        }
        let default_port = self.default_port();
        let authority = endpoint.authority(default_port).to_ascii_lowercase();
        let now = ctx.now.instant;
        if let Some(address) = endpoint.literal(default_port) {
            let known = ctx.names.find(0, &authority, now);
            return known.or_else(|| Some(keep(0, &authority, &[address], None, ctx)));
        }
        let Endpoint::Host { host, .. } = &endpoint else { return None };
        let core = self.core(generation)?;
        let resolver = core.resolver.and_then(|id| generation.resolver(id));
        let serial = serial(resolver);
        ctx.names.find(serial, &authority, now).or_else(|| {
            let timeout = core.resolver_timeout;
            self.resolve(host, resolver, timeout, link, ctx)
                .and_then(|answer| self.take_answer(&answer, serial, link, ctx))
        })
    }

    /// The port of an evaluated URL without one.
    fn default_port(&self) -> u16 {
        default_port(self.facts.dynamic_target.as_ref().is_some_and(|target| target.tls))
    }

    /// Looks a name up. The answer, where it is known at once.
    fn resolve(
        &mut self,
        host: &str,
        resolver: Option<&SharedResolver>,
        timeout: Millis,
        link: &mut Link,
        ctx: &mut Context,
    ) -> Option<Answer> {
        let name: Arc<str> = host.to_ascii_lowercase().into();
        let serial = serial(resolver);
        let id = match ctx.names.ask(link.id, serial, &name) {
            Asked::First(id) => match resolver {
                None => {
                    ctx.commands.push_back(Command::Resolve { id, name });
                    id
                }
                Some(resolver) => {
                    let result = match Name::from_text(&name) {
                        Some(name) => resolver.lookup(id, Subject::Host(name), timeout, ctx),
                        None => Some(Err(Failure::NOT_FOUND)),
                    };
                    if let Some(result) = result {
                        ctx.names.answered(id);
                        return Some(Answer::of_resolver(&result));
                    }
                    id
                }
            },
            Asked::Again(id) => id,
            Asked::Refused => return Some(Answer(Err("too many names are being resolved".to_owned()))),
        };
        let until = ctx.now.instant + timeout;
        self.proxy.phase = Phase::Resolving(Waiting { id, serial, client: link.id, until });
        None
    }

    /// The servers that an answer names; none where there are none, which is the end of the exchange.
    fn take_answer(
        &mut self,
        answer: &Answer,
        serial: u32,
        link: &mut Link,
        ctx: &mut Context,
    ) -> Option<SharedGroup> {
        let Some(endpoint @ Endpoint::Host { port, .. }) = &self.proxy.endpoint else { return None };
        match &answer.0 {
            Ok((ips, until)) => {
                let port = port.unwrap_or(self.default_port());
                let authority = endpoint.authority(self.default_port()).to_ascii_lowercase();
                let address = |ip: &IpAddr| Address::Ip(SocketAddr::new(*ip, port));
                let addresses: Vec<_> = ips.iter().map(address).collect();
                Some(keep(serial, &authority, &addresses, Some(*until), ctx))
            }
            Err(reason) => {
                self.fail_resolve(reason, link, ctx);
                None
            }
        }
    }

    /// A name was looked up.
    pub(crate) fn handle_resolved(
        &mut self,
        id: ResolveId,
        answer: &Answer,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        let Phase::Resolving(waiting) = self.proxy.phase else { return };
        if waiting.id != id {
            return;
        }
        self.proxy.phase = Phase::Idle;
        link.deadline.clear_if(Reason::Resolve);
        self.proxy.group = self.take_answer(answer, waiting.serial, link, ctx);
    }

    /// The name was waited for long enough.
    pub(crate) fn handle_resolve_timeout(&mut self, link: &mut Link, ctx: &mut Context) {
        if matches!(self.proxy.phase, Phase::Resolving(_)) {
            self.fail_resolve(&Failure::TIMED_OUT.to_string(), link, ctx);
        }
    }

    /// The exchange has no use for the name any more.
    pub(super) fn stop_resolving(&mut self, ctx: &mut Context) {
        if let Phase::Resolving(waiting) = self.proxy.phase {
            ctx.names.leave(waiting.id, waiting.client);
            self.proxy.phase = Phase::Idle;
        }
    }

    fn fail_resolve(&mut self, reason: &str, link: &mut Link, ctx: &mut Context) {
        let host = match &self.proxy.endpoint {
            Some(Endpoint::Host { host, .. }) => host.as_str(),
            Some(Endpoint::Unix(_)) | None => "",
        };
        let message = format!("{host} could not be resolved ({reason})");
        self.log_error(Level::Error, &message, ctx);
        self.fail_status(Status::BAD_GATEWAY, link, ctx);
    }
}

impl Generation {
    /// The group that an evaluated URL names: an `upstream` block by its bare name, or the same literal address as
    /// another location's.
    fn group_of(&self, endpoint: &Endpoint, default_port: u16) -> Option<&SharedGroup> {
        let Endpoint::Host { host, port } = endpoint else { return None };
        let authority = endpoint.authority(default_port);
        let place = self.config.upstreams.iter().position(|upstream| {
            if upstream.explicit {
                port.is_none() && upstream.name.eq_ignore_ascii_case(host)
            } else {
                !upstream.servers.is_empty() && upstream.name.eq_ignore_ascii_case(&authority)
            }
        })?;
        self.groups.get(place)
    }
}

/// Keeps a group, and lets go of the one that it replaces.
fn keep(
    serial: u32,
    authority: &str,
    addresses: &[Address],
    until: Option<Instant>,
    ctx: &mut Context,
) -> SharedGroup {
    let (group, gone) = ctx.names.keep(serial, authority, addresses, until, ctx.now.instant);
    if let Some(gone) = gone {
        retire(&gone, ctx);
    }
    group
}

/// A resolver's number; 0 for the system's.
fn serial(resolver: Option<&SharedResolver>) -> u32 {
    resolver.map_or(0, |resolver| resolver.serial)
}

/// Splits an evaluated URL into who is asked, what for (empty for the request's own target), and whether over TLS.
///
/// # Errors
/// nginx's words for the error log.
fn parse(url: &[u8]) -> Result<(Endpoint, Box<[u8]>, bool), String> {
    let behind = |known: &[u8]| {
        let (scheme, rest) = url.split_at_checked(known.len())?;
        (scheme.eq_ignore_ascii_case(known) && !rest.is_empty()).then_some(rest)
    };
    let plain = behind(HTTP_SCHEME);
    let tls = plain.is_none();
    let Some(rest) = plain.or_else(|| behind(HTTPS_SCHEME)) else {
        return Err(format!("invalid URL prefix in \"{}\"", String::from_utf8_lossy(url)));
    };
    let (endpoint, at) = Endpoint::split(rest)
        .map_err(|error| format!("{error} in upstream \"{}\"", String::from_utf8_lossy(rest)))?;
    let mut uri = rest.get(at..).unwrap_or_default().to_vec();
    if uri.first() == Some(&b'?') {
        uri.insert(0, b'/');
    }
    Ok((endpoint, uri.into(), tls))
}

/// The port of a URL without one.
const fn default_port(tls: bool) -> u16 {
    if tls { HTTPS_PORT } else { HTTP_PORT }
}

/// As [`parse`], for `grpc_pass`: there need not be a scheme, and there must not be a URI.
///
/// # Errors
/// nginx's words for the error log.
fn parse_grpc(url: &[u8]) -> Result<(Endpoint, Box<[u8]>, bool), String> {
    let schemes = [(GRPC_SCHEME, false), (GRPCS_SCHEME, true)];
    let (rest, tls) = schemes
        .into_iter()
        .find_map(|(scheme, tls)| {
            let (start, rest) = url.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some((rest, tls))
        })
        .unwrap_or((url, false));
    let refused = |error: &str| format!("{error} in upstream \"{}\"", String::from_utf8_lossy(rest));
    let (endpoint, at) = Endpoint::split(rest).map_err(refused)?;
    if at < rest.len() { Err(refused("invalid host")) } else { Ok((endpoint, Box::default(), tls)) }
}

fn boxed(text: String) -> Box<[u8]> {
    text.into_bytes().into()
}
