//! Variables about both ends of the connection, the clock and the process.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::sync::atomic::{AtomicU64, Ordering};

use super::{Answer, Env, always, number, seconds, text};
use crate::command::Address;
use crate::config::Variable;
use crate::exchange::Facts;
use crate::http::date;

/// The version of nginx whose behaviour this is (`$nginx_version`).
const NGINX_VERSION: &str = "1.31.5";

impl Facts {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other families have the rest")]
    pub(super) fn connection_value(&self, variable: &Variable, env: &Env<'_>, out: &mut Vec<u8>) -> Answer {
        let conn = &*self.conn;
        let counters = &env.shared.counters;
        let counter = |counter: &AtomicU64, out: &mut Vec<u8>| number(counter.load(Ordering::Relaxed), out);
        Some(match variable {
            Variable::RemoteAddr => always(&conn.client_text, out),
            Variable::TimeLocal => {
                date::write_log_time(out, env.now);
                true
            }
            Variable::TimeIso8601 => {
                date::write_iso8601(out, env.now);
                true
            }
            Variable::Msec => seconds(env.now.unix_ms, out),
            Variable::Scheme => always(if conn.tls.is_some() { b"https" } else { b"http" }, out),
            Variable::Https => always(if conn.tls.is_some() { b"on" } else { b"" }, out),
            Variable::ServerName => always(self.server_name(env), out),
            Variable::ServerPort => port(&conn.peer.local, out),
            Variable::ServerAddr => match &conn.peer.local {
                Address::Ip(address) => ip(address.ip(), out),
                Address::Unix(path) => always(b"unix:", out) && always(path.as_bytes(), out),
            },
            Variable::RemotePort => port(&conn.peer.client, out),
            Variable::BinaryRemoteAddr => match &conn.peer.client {
                Address::Ip(address) => match address.ip().to_canonical() {
                    IpAddr::V4(address) => always(&address.octets(), out),
                    IpAddr::V6(address) => always(&address.octets(), out),
                },
                Address::Unix(_) => always(&conn.client_text, out),
            },
            Variable::Connection => number(conn.number, out),
            Variable::ConnectionRequests => number(self.conn_requests, out),
            Variable::ConnectionTime => seconds(env.now.instant.millis_since(conn.accepted), out),
            Variable::ConnectionsActive => counter(&counters.active, out),
            Variable::ConnectionsReading => counter(&counters.reading, out),
            Variable::ConnectionsWriting => counter(&counters.writing, out),
            Variable::ConnectionsWaiting => counter(&counters.waiting, out),
            Variable::Hostname => always(env.config.hostname.as_bytes(), out),
            Variable::NginxVersion => always(NGINX_VERSION.as_bytes(), out),
            Variable::Pid => number(u64::from(env.shared.pid()), out),
            // The kernel's estimate would be a question for the driver; no request is worth it.
            Variable::TcpInfoRtt => false,
            _ => return self.proxied_value(variable, out),
        })
    }

    /// What is known of the client besides the address that counts.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other families have the rest")]
    fn proxied_value(&self, variable: &Variable, out: &mut Vec<u8>) -> Answer {
        let conn = &*self.conn;
        let header = conn.proxy.as_deref();
        Some(match variable {
            Variable::RealipRemoteAddr => match &conn.replaced {
                Some(replaced) => always(&replaced.text, out),
                None => always(&conn.client_text, out),
            },
            Variable::RealipRemotePort => match &conn.replaced {
                Some(replaced) if replaced.port > 0 => number(u64::from(replaced.port), out),
                Some(_) => true,
                None => port(&conn.peer.client, out),
            },
            Variable::ProxyProtocolAddr => text(header.map(|proxy| &*proxy.source), out),
            Variable::ProxyProtocolPort => {
                header.is_some_and(|proxy| number(u64::from(proxy.source_port), out))
            }
            Variable::ProxyProtocolServerAddr => text(header.map(|proxy| &*proxy.server), out),
            Variable::ProxyProtocolServerPort => {
                header.is_some_and(|proxy| number(u64::from(proxy.server_port), out))
            }
            Variable::ProxyProtocolTlv(tlv) => header.is_some_and(|proxy| proxy.write_tlv(*tlv, out)),
            _ => return None,
        })
    }
}

/// Nothing for a Unix socket.
fn port(address: &Address, out: &mut Vec<u8>) -> bool {
    match address {
        Address::Ip(address) if address.port() > 0 => number(u64::from(address.port()), out),
        Address::Ip(_) | Address::Unix(_) => true,
    }
}

fn ip(address: IpAddr, out: &mut Vec<u8>) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => write_ipv4(address, out),
        IpAddr::V6(address) => out.extend_from_slice(alloc::format!("{address}").as_bytes()),
    }
    true
}

/// Four numbers: the standard library's formatting would be most of what a log line costs.
pub(super) fn write_ipv4(address: Ipv4Addr, out: &mut Vec<u8>) {
    for (place, byte) in address.octets().into_iter().enumerate() {
        if place > 0 {
            out.push(b'.');
        }
        number(u64::from(byte), out);
    }
}
