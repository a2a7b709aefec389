//! Variables about the servers that were asked: lists with one entry for each try.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::connection::write_ipv4;
use super::{Answer, Env, always, number, seconds, text, unless_empty};
use crate::command::Address;
use crate::config::{Content, Proxy, Variable};
use crate::exchange::{Facts, Try};
use crate::http::date::write_imf;

impl Facts {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other families have the rest")]
    pub(super) fn upstream_value(&self, variable: &Variable, env: &Env<'_>, out: &mut Vec<u8>) -> Answer {
        Some(match variable {
            Variable::ProxyHost => {
                let fixed = || self.proxy(env).map(|proxy| &*proxy.proxy_host);
                text(self.dynamic_target.as_ref().map(|target| &*target.host).or_else(fixed), out)
            }
            Variable::ProxyPort => {
                let fixed = || self.proxy(env).map(|proxy| &*proxy.proxy_port);
                text(self.dynamic_target.as_ref().map(|target| &*target.port).or_else(fixed), out)
            }
            Variable::UpstreamAddr => self.list(out, |attempt, out| {
                attempt.write_address(out);
                true
            }),
            Variable::UpstreamStatus => self.list(out, |attempt, out| match attempt.status {
                Some(status) if status.0 > 0 => number(u64::from(status.0), out),
                Some(_) | None => always(b"-", out),
            }),
            Variable::UpstreamQueueTime => self.list(out, |attempt, out| duration(attempt.queued_us, out)),
            Variable::UpstreamConnectTime => self.list(out, |attempt, out| duration(attempt.connect_us, out)),
            Variable::UpstreamHeaderTime => self.list(out, |attempt, out| duration(attempt.header_us, out)),
            Variable::UpstreamResponseTime => {
                self.list(out, |attempt, out| duration(attempt.response_us, out))
            }
            Variable::UpstreamBytesSent => self.list(out, |attempt, out| number(attempt.bytes_sent, out)),
            Variable::UpstreamBytesReceived => {
                self.list(out, |attempt, out| number(attempt.bytes_received, out))
            }
            Variable::UpstreamResponseLength => {
                self.list(out, |attempt, out| number(attempt.response_length, out))
            }
            Variable::UpstreamCacheStatus => {
                text(self.cache.as_ref().map(|cache| cache.status.name().as_bytes()), out)
            }
            Variable::UpstreamCacheKey => text(self.cache.as_ref().map(|cache| cache.key.as_slice()), out),
            Variable::UpstreamCacheEtag => {
                unless_empty(self.cache.as_ref().map_or(&[], |cache| &*cache.etag), out)
            }
            Variable::UpstreamCacheLastModified => {
                let modified = self.cache.as_ref().and_then(|cache| cache.last_modified_s);
                modified.is_some_and(|modified| {
                    write_imf(out, modified);
                    true
                })
            }
            _ => return None,
        })
    }

    /// The proxy settings of the location that the exchange is in.
    pub(crate) fn proxy<'a>(&self, env: &Env<'a>) -> Option<&'a Proxy> {
        match &env.config.location(self.location)?.content {
            Content::Proxy(proxy) => Some(proxy),
            Content::Files | Content::StubStatus | Content::Api { .. } | Content::EmptyGif => None,
        }
    }

    /// Every try's value: `, ` between servers of one group, ` : ` where another group follows.
    fn list(&self, out: &mut Vec<u8>, mut write: impl FnMut(&Try, &mut Vec<u8>) -> bool) -> bool {
        let mut between: &[u8] = b"";
        for attempt in &self.tries {
            out.extend_from_slice(between);
            write(attempt, out);
            between = if attempt.last_of_group { b" : " } else { b", " };
        }
        !self.tries.is_empty()
    }
}

fn duration(us: Option<u64>, out: &mut Vec<u8>) -> bool {
    match us {
        Some(us) => seconds(us / 1000, out),
        None => always(b"-", out),
    }
}

impl Try {
    /// The address as nginx prints it, or what stands for it.
    pub(crate) fn write_address(&self, out: &mut Vec<u8>) {
        match &self.address {
            Some(Address::Ip(SocketAddr::V4(address))) => {
                write_ipv4(*address.ip(), out);
                out.push(b':');
                number(u64::from(address.port()), out);
            }
            Some(address) => out.extend_from_slice(alloc::format!("{address}").as_bytes()),
            None => out.extend_from_slice(self.name.as_bytes()),
        }
    }
}
