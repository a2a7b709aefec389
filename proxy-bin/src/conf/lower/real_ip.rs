//! `set_real_ip_from`, `real_ip_header` and `real_ip_recursive`.

use std::sync::Arc;

use proxy_core::access::forwarded::Proxies;
use proxy_core::access::table::{AddressTableBuilder, Cidr};
use proxy_core::config::{RealIp, RealIpHeader};

use super::cidr;
use super::context::Call;
use super::core::inherit;
use crate::conf::value::Parsed;

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
pub struct RealIpLevel {
    /// `set_real_ip_from`; nothing stands for `unix:`.
    pub from: Option<Vec<Option<Cidr>>>,
    /// `real_ip_header`
    pub header: Option<RealIpHeader>,
    /// `real_ip_recursive`
    pub recursive: Option<bool>,
}

impl RealIpLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; from header recursive);
    }

    /// The settings; none where nobody is believed.
    pub fn finish(&self) -> Option<Arc<RealIp>> {
        let from = self.from.as_deref()?;
        let header =
            self.header.clone().unwrap_or_else(|| RealIpHeader::Field(b"x-real-ip".as_slice().into()));
        Some(Arc::new(RealIp { from: proxies(from), header, recursive: self.recursive.unwrap_or(false) }))
    }
}

/// Compiles a list of proxies.
pub fn proxies(list: &[Option<Cidr>]) -> Proxies {
    let mut addresses = AddressTableBuilder::default();
    list.iter().flatten().for_each(|network| addresses.insert(*network, Some(())));
    Proxies { addresses: addresses.build(), unix: list.contains(&None) }
}

/// `set_real_ip_from address | CIDR | hostname | unix:;`
///
/// # Errors
/// nginx's `host not found in set_real_ip_from "X"`.
pub fn from(level: &mut RealIpLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let text = call.text(0);
    let list = level.from.get_or_insert_default();
    if text == "unix:" {
        list.push(None);
        return Ok(());
    }
    if let Some(network) = cidr::parse(&text) {
        list.push(Some(network.masked()));
        if network.masked() != network {
            call.warn(format!("low address bits of {text} are meaningless"));
        }
        return Ok(());
    }
    if text.contains('/') {
        return Err(call.first().error(format!("invalid parameter \"{text}\"")));
    }
    let found = call.cx.env.resolve.resolve(&text).unwrap_or_default();
    if found.is_empty() {
        return Err(call.first().error(format!("host not found in set_real_ip_from \"{text}\"")));
    }
    list.extend(found.into_iter().map(|address| Some(Cidr::host(address))));
    Ok(())
}

/// `real_ip_header field | X-Real-IP | X-Forwarded-For | proxy_protocol;`
pub fn header(call: &Call<'_, '_>) -> RealIpHeader {
    let text = call.text(0);
    if text == "proxy_protocol" {
        RealIpHeader::ProxyProtocol
    } else if text.eq_ignore_ascii_case("x-forwarded-for") {
        RealIpHeader::XForwardedFor
    } else {
        RealIpHeader::Field(text.to_ascii_lowercase().into_bytes().into())
    }
}
