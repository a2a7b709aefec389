//! Networks as directives write them: `10.0.0.0/8`, `::1`, as nginx's `ngx_ptocidr`.

use std::net::{Ipv4Addr, Ipv6Addr};

use proxy_core::access::table::{Cidr, parse_ip};

/// Every address.
pub const ALL: [Cidr; 2] = [Cidr::V4(Ipv4Addr::UNSPECIFIED, 0), Cidr::V6(Ipv6Addr::UNSPECIFIED, 0)];

/// An address or a network; the bits that do not count are as they were written.
pub fn parse(text: &str) -> Option<Cidr> {
    let (address, prefix) =
        text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let host = Cidr::host(parse_ip(address)?);
    let Some(prefix) = prefix else { return Some(host) };
    let prefix = super::super::value::number(prefix).and_then(|prefix| u8::try_from(prefix).ok())?;
    match host {
        _ if prefix > host.prefix() => None,
        Cidr::V4(address, _) => Some(Cidr::V4(address, prefix)),
        Cidr::V6(address, _) => Some(Cidr::V6(address, prefix)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (text, expected) in [
            ("10.1.2.3", Some(Cidr::V4([10, 1, 2, 3].into(), 32))),
            ("10.1.2.3/8", Some(Cidr::V4([10, 1, 2, 3].into(), 8))),
            ("010.001.2.3/08", Some(Cidr::V4([10, 1, 2, 3].into(), 8))),
            ("0.0.0.0/0", Some(ALL[0])),
            ("::/0", Some(ALL[1])),
            ("::ffff:1.2.3.4/128", Some(Cidr::V6("::ffff:1.2.3.4".parse().unwrap(), 128))),
            ("10.1.2.3/33", None),
            ("::1/129", None),
            ("10.1.2.3/", None),
            ("10.1.2.3/-1", None),
            ("10.1.2", None),
            ("10.1.2.3.4", None),
            ("10.1.2.256", None),
            ("10.1..3", None),
            ("+1.1.1.1", None),
            ("[::1]", None),
            ("localhost", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
