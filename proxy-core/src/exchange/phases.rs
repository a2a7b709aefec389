//! nginx's phases up to the content handler, in its order:
//!
//! ```text
//! server rewrite ─► find location ─► rewrite ─► preaccess ─► access ─► try_files ─► content
//! ```
//! An internal redirect begins again with the server's rewrites, one to a named location with the location's. So the
//! preaccess and access phases run again in the location that a request ends up in; what `try_files` finds does not.

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::context::{Context, Generation};
use super::request_body::Mode;
use super::{Exchange, Stage};
use crate::command::Level;
use crate::config::{Content, Gateway, LocationId, ServerId, Variable};
use crate::conn::Link;
use crate::error::ClientError;
use crate::http::{BodyFraming, Status};
use crate::trace::{NamedBy, Step};

impl Exchange {
    /// Runs the phases from the server's rewrite directives on.
    pub(crate) fn run_phases(&mut self, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        self.enter_server_level(&generation);
        if !self.internal {
            self.find_real_ip(&generation, ctx);
        }
        self.facts.valid_location = true;
        self.rewrite_server(&generation, link, ctx);
    }

    /// The server's own settings apply until a location is found.
    pub(crate) fn enter_server_level(&mut self, generation: &Generation) {
        if let Some(server) = generation.config.server(self.facts.server) {
            self.facts.location = server.root;
            self.facts.found = server.root;
        }
    }

    /// Finds the location of the present URI and goes on in it.
    pub(crate) fn find_location(&mut self, generation: &Generation, link: &mut Link, ctx: &mut Context) {
        let Some(server) = generation.config.server(self.facts.server) else { return };
        let env = ctx.env(generation);
        let mut holds = |variable: &Variable| {
            let mut value = Vec::new();
            self.facts.value(variable, &env, &mut value);
            !value.is_empty() && value != b"0"
        };
        let found = match &ctx.trace {
            None => server.tree.find_where(&self.facts.uri, &mut holds),
            Some(trace) => {
                let mut considered = Vec::new();
                let found = server.tree.find_watched(&self.facts.uri, &mut holds, &mut considered);
                trace.push(Step::Location {
                    uri: self.facts.uri.to_vec(),
                    considered,
                    location: found.location.unwrap_or(server.root),
                    add_slash: found.add_slash.is_some(),
                });
                found
            }
        };
        self.facts.location = found.location.unwrap_or(server.root);
        self.facts.found = self.facts.location;
        if found.add_slash.is_some() {
            return self.redirect_to_slash(link, ctx);
        }
        if let Some((regex, captures)) = found.captures {
            self.facts.set_captures(regex, captures);
        }
        let internal_only = self.location(generation).is_some_and(|location| location.internal);
        if internal_only && !self.internal {
            self.fail_status(Status::NOT_FOUND, link, ctx);
            return;
        }
        if !self.check_body_size(generation, link, ctx) {
            return;
        }
        self.limit_methods(generation);
        if self.facts.location == server.root {
            // The server's own directives have run already.
            self.after_rewrite(generation, link, ctx);
        } else {
            self.rewrite_location_level(generation, link, ctx);
        }
    }

    /// Refuses a body that is announced to be larger than this location takes, before any of it is read.
    fn check_body_size(&mut self, generation: &Generation, link: &mut Link, ctx: &mut Context) -> bool {
        let announced = self.meta.framing.length().unwrap_or(0);
        let max = self.core(generation).and_then(|core| core.client_body.bytes_max);
        let too_large = max.is_some_and(|max| announced > max);
        if too_large && self.body.mode() == Mode::Untouched && self.error_status.is_none() {
            self.fail_client(ClientError::BodyTooLarge { bytes: announced }, link, ctx);
            return false;
        }
        true
    }

    /// `limit_except`: another method than those is handled by the level inside of the block, where none of the
    /// location's rewrite directives stands.
    fn limit_methods(&mut self, generation: &Generation) {
        let limit = self.location(generation).and_then(|location| location.limit_except.as_ref());
        if let Some(limit) = limit
            && !limit.methods.contains(&self.method)
        {
            self.facts.location = limit.location;
        }
    }

    /// The rewrite directives have had their say: the limits, then the access phase.
    pub(crate) fn after_rewrite(&mut self, generation: &Generation, link: &mut Link, ctx: &mut Context) {
        self.find_real_ip(generation, ctx);
        if self.run_preaccess(generation, link, ctx) {
            self.begin_access(generation, link, ctx);
        }
    }

    /// Nobody objects to the request: `try_files`, then the content.
    pub(crate) fn after_access(&mut self, generation: &Generation, link: &mut Link, ctx: &mut Context) {
        let tries = self.location(generation).is_some_and(|location| location.try_files.is_some());
        if tries {
            self.try_file(0, link, ctx);
        } else {
            self.run_content(link, ctx);
        }
    }

    /// Hands the request to whoever makes the reply.
    pub(crate) fn run_content(&mut self, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(location) = self.location(&generation) else { return };
        ctx.note(|| Step::Content { location: self.facts.location, uri: self.facts.uri.to_vec() });
        if let Some(mirrors) = &location.mirrors
            && !self.mirror(mirrors, link, ctx)
        {
            return;
        }
        match &location.content {
            Content::Proxy(proxy) => {
                // A body that is not sent on is still read first, as nginx does.
                let buffer = proxy.request_buffering || proxy.body.is_some() || !proxy.pass_request_body;
                let needs_length = |gateway: &Arc<Gateway>| {
                    gateway.protocol.needs_length() && self.meta.framing == BodyFraming::Chunked
                };
                let buffer = buffer || proxy.gateway.as_ref().is_some_and(needs_length);
                self.start_proxy(buffer, link, ctx);
            }
            Content::StubStatus => self.respond_stub_status(link, ctx),
            Content::Api { write } => self.respond_api(*write, link, ctx),
            Content::EmptyGif => self.respond_empty_gif(link, ctx),
            Content::Files => self.start_files(link, ctx),
        }
    }

    /// Nobody wants the request's body: what comes of it is dropped.
    pub(crate) fn drop_request_body(&mut self, ctx: &mut Context) {
        if self.body.mode() == Mode::Untouched {
            self.body.set_mode(Mode::Discard, ctx);
        }
    }

    /// The body is wanted.
    pub(crate) fn want_request_body(&mut self, mode: Mode, link: &mut Link, ctx: &mut Context) {
        if self.body.mode() != Mode::Untouched {
            return;
        }
        self.body.set_mode(mode, ctx);
        self.meet_expectation(link, ctx);
    }

    /// Tells a client that said `Expect: 100-continue` to go on: whether it waits or not, and once, as nginx does.
    pub(crate) fn meet_expectation(&mut self, link: &mut Link, ctx: &mut Context) {
        if core::mem::take(&mut self.meta.expect_continue) && !link.is_stream() {
            link.queue_head(crate::buf::Chunk::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"));
            link.flush(ctx);
        }
    }

    /// Restarts with another URI inside the same server. `arguments` replaces the old ones.
    pub(crate) fn redirect_internally(&mut self, link: &mut Link, ctx: &mut Context) {
        if self.redirects_left == 0 {
            self.log_cycle("internally redirecting to", ctx);
            self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
            return;
        }
        ctx.note(|| Step::Redirect { uri: self.present_target() });
        self.redirects_left -= 1;
        self.mirrored = false;
        self.internal = true;
        self.facts.uri_unchanged = false;
        self.add_uri_to_alias = false;
        self.forget_attempts(ctx);
        self.stage = Stage::Phases;
        self.run_phases(link, ctx);
    }

    /// The present URI with its arguments, for a trace.
    fn present_target(&self) -> Vec<u8> {
        let mark: &[u8] = if self.facts.args.is_empty() { b"" } else { b"?" };
        [&self.facts.uri, mark, &self.facts.args].concat()
    }

    /// Notes which server was chosen, and how.
    pub(crate) fn note_server(&self, ctx: &Context) {
        ctx.note(|| {
            let (listener, host) = (self.facts.conn.listener, &self.facts.host);
            let at = self.generation.config.listeners.get(listener.0 as usize);
            let by = at.map_or(NamedBy::Default, |at| at.names.how(host));
            Step::Server { listener, host: host.to_vec(), server: self.facts.server, by }
        });
    }

    /// Goes on in a named location; the URI stays as it is.
    pub(crate) fn enter_named(&mut self, name: &[u8], link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let named = generation.config.server(self.facts.server).and_then(|server| {
            server.named.iter().find(|(candidate, _)| **candidate == *name).map(|(_, location)| *location)
        });
        if self.redirects_left == 0 {
            self.log_cycle("redirect to named location", ctx);
            return self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
        }
        self.redirects_left -= 1;
        self.mirrored = false;
        let Some(location) = named else {
            let text = alloc::format!("could not find named location \"@{}\"", name.escape_ascii());
            self.log_error(Level::Error, &text, ctx);
            return self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
        };
        self.internal = true;
        self.forget_attempts(ctx);
        ctx.note(|| Step::Named { name: name.to_vec(), location });
        self.facts.location = location;
        self.facts.found = location;
        self.stage = Stage::Phases;
        self.limit_methods(&generation);
        self.rewrite_location_level(&generation, link, ctx);
    }
}

/// Chooses the server of a request by its host; the listener's default one where nobody has that name.
pub(crate) fn find_server(exchange: &mut Exchange, generation: &Generation, default: ServerId) {
    let listener = generation.config.listeners.get(exchange.facts.conn.listener.0 as usize);
    let host = exchange.facts.host.clone();
    let found = listener.and_then(|listener| listener.names.find(&host));
    exchange.facts.server = found.as_ref().map_or(default, |(server, _)| *server);
    if let Some((_, Some((regex, captures)))) = found {
        exchange.facts.set_captures(regex, captures);
    }
    exchange.facts.location =
        generation.config.server(exchange.facts.server).map_or(LocationId::default(), |server| server.root);
}
