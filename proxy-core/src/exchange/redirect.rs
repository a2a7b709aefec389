//! Where a redirect points: `absolute_redirect`, `proxy_redirect`.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::Exchange;
use super::context::{Context, Generation};
use crate::buf::Chunk;
use crate::command::Address;
use crate::config::{Proxy, RedirectRule, Template};
use crate::conn::Link;
use crate::h1::encode;
use crate::http::Status;

impl Exchange {
    /// `/name` lacks the slash of the proxied location `/name/`: 301, arguments and all.
    pub(crate) fn redirect_to_slash(&mut self, link: &mut Link, ctx: &mut Context) {
        let mut path = Vec::new();
        crate::route::escape_uri(&self.facts.uri, &mut path);
        path.push(b'/');
        if !self.facts.args.is_empty() {
            path.push(b'?');
            path.extend_from_slice(&self.facts.args);
        }
        self.meta.expect_continue = false;
        self.respond_redirect(Status::MOVED_PERMANENTLY, path, link, ctx);
    }

    /// A location that begins with a slash, with scheme, host and port in front; none where it stays as it is
    /// (`absolute_redirect`).
    pub(crate) fn absolute_location(&self, path: &[u8], generation: &Generation) -> Option<Vec<u8>> {
        let core = self.core(generation).filter(|core| core.absolute_redirect)?;
        if path.first() != Some(&b'/') {
            return None;
        }
        let mut url = Vec::with_capacity(path.len() + 32);
        url.extend_from_slice(b"http://");
        let server = generation.config.server(self.facts.server);
        let name = server.map(|server| &*server.name).unwrap_or_default();
        let local = &self.facts.conn.peer.local;
        if core.server_name_in_redirect && !name.is_empty() {
            url.extend_from_slice(name);
        } else if !self.facts.host.is_empty() {
            url.extend_from_slice(&self.facts.host);
        } else if let Address::Ip(address) = local {
            let text = match address.ip() {
                IpAddr::V4(ip) => alloc::format!("{ip}"),
                IpAddr::V6(ip) => alloc::format!("[{ip}]"),
            };
            url.extend_from_slice(text.as_bytes());
        }
        if let Address::Ip(address) = local
            && core.port_in_redirect
            && address.port() != 80
        {
            url.push(b':');
            encode::decimal(&mut url, u64::from(address.port()));
        }
        url.extend_from_slice(path);
        Some(url)
    }

    /// `proxy_redirect` on Location. None leaves it alone.
    pub(crate) fn rewrite_location(
        &mut self,
        value: &[u8],
        proxy: &Proxy,
        generation: &Generation,
        ctx: &Context,
    ) -> Option<Vec<u8>> {
        proxy.redirects.iter().find_map(|rule| self.apply_redirect(rule, value, generation, ctx))
    }

    /// `proxy_redirect` on Refresh: on what follows `url=`.
    pub(crate) fn rewrite_refresh(
        &mut self,
        value: &[u8],
        proxy: &Proxy,
        generation: &Generation,
        ctx: &Context,
    ) -> Option<Vec<u8>> {
        let lower = value.to_ascii_lowercase();
        let start = lower.windows(4).position(|window| window == b"url=")? + 4;
        let (before, url) = value.split_at_checked(start)?;
        let rewritten = self.rewrite_location(url, proxy, generation, ctx)?;
        Some([before, &rewritten].concat())
    }

    fn apply_redirect(
        &mut self,
        rule: &RedirectRule,
        value: &[u8],
        generation: &Generation,
        ctx: &Context,
    ) -> Option<Vec<u8>> {
        match rule {
            RedirectRule::Prefix { from, to } => {
                let from = self.evaluate(from, generation, ctx);
                let rest = value.strip_prefix(&*from)?;
                let mut new = self.evaluate(to, generation, ctx);
                new.extend_from_slice(rest);
                Some(new)
            }
            RedirectRule::Regex { regex, to } => {
                let captures = regex.captures(&Chunk::from_vec(value.to_vec()))?;
                self.facts.set_captures(regex, captures);
                Some(self.evaluate(to, generation, ctx))
            }
        }
    }

    /// A template's text now.
    pub(crate) fn evaluate(&self, template: &Template, generation: &Generation, ctx: &Context) -> Vec<u8> {
        let mut text = Vec::new();
        template.write(&self.facts, &ctx.env(generation), &mut text);
        text
    }
}
