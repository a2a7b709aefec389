//! `allow` and `deny` as they are written: does one hold an address?

use std::net::IpAddr;

use proxy_core::command::Address;

/// Whether `rule` (`all`, `unix:`, `10.0.0.0/8`, `::1`) holds the client.
pub(super) fn holds(rule: &str, client: &Address) -> bool {
    match (rule, client) {
        ("all", _) => true,
        ("unix:", client) => matches!(client, Address::Unix(_)),
        (_, Address::Unix(_)) => false,
        (rule, Address::Ip(client)) => {
            let (network, bits) = rule.split_once('/').map_or((rule, None), |(net, bits)| (net, Some(bits)));
            let Ok(network) = network.parse::<IpAddr>() else { return false };
            match (network, client.ip().to_canonical()) {
                (IpAddr::V4(net), IpAddr::V4(ip)) => {
                    let bits = bits.map_or(Some(32), |bits| bits.parse().ok());
                    bits.is_some_and(|bits: u32| same(net.to_bits().into(), ip.to_bits().into(), 32, bits))
                }
                (IpAddr::V6(net), IpAddr::V6(ip)) => {
                    let bits = bits.map_or(Some(128), |bits| bits.parse().ok());
                    bits.is_some_and(|bits: u32| same(net.to_bits(), ip.to_bits(), 128, bits))
                }
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
            }
        }
    }
}

/// Whether the first `bits` of `width` are the same.
fn same(a: u128, b: u128, width: u32, bits: u32) -> bool {
    let rest = width.saturating_sub(bits);
    (a ^ b).checked_shr(rest).unwrap_or(0) == 0
}
