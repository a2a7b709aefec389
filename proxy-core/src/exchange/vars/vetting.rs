//! `geo`, `split_clients`, `$invalid_referer`, `$secure_link`: variables that judge a request.
//!
//! Reference: nginx's ngx_http_geo_module, ngx_http_split_clients_module, ngx_http_referer_module and
//! ngx_http_secure_link_module.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use md5::{Digest as _, Md5};

use super::{Env, always, text};
use crate::access::murmur::murmur_hash2;
use crate::access::table::parse_ip;
use crate::buf::Chunk;
use crate::command::Address;
use crate::config::{Geo, GeoId, Referers, SecureLink, SplitId, Vetting};
use crate::exchange::Facts;
use crate::exchange::facts::Nested;
use crate::http::HeaderId;

/// nginx's decoder stops at the padding, and does without it.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// The longest host of a Referer, in bytes.
const REFERER_HOST_BYTES_MAX: usize = 256;
/// How long sixteen bytes are in base64, padding included.
const HASH_TEXT_BYTES_MAX: usize = 24;

impl Facts {
    /// Writes what a `geo` block says.
    pub(super) fn geo_value(&self, id: GeoId, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        let Some(geo) = env.config.geos.get(id.0 as usize) else { return false };
        let address = self.geo_address(geo, id, env, out).unwrap_or(NO_ADDRESS);
        let found = geo.table.find(address).and_then(|place| geo.values.get(place as usize));
        always(found.unwrap_or(&geo.default), out)
    }

    /// The address to look up; nothing where there is none of a kind that the block knows.
    fn geo_address(&self, geo: &Geo, id: GeoId, env: &Env<'_>, out: &mut Vec<u8>) -> Option<IpAddr> {
        let own = match &geo.source {
            None => self.conn.peer.client.clone(),
            Some(source) => {
                let start = out.len();
                self.nest(Nested::Geo(id), || source.write(self, env, out));
                let text = core::str::from_utf8(out.get(start..).unwrap_or_default()).ok().and_then(parse_ip);
                out.truncate(start);
                Address::Ip((text?, 0).into())
            }
        };
        let head = &self.head;
        let proxied = geo.proxies.as_ref().and_then(|proxies| {
            let fields = head.fields.iter().filter(|field| field.id == HeaderId::XForwardedFor);
            proxies.client_of(&own, fields.map(|field| field.value.of(&head.bytes)), geo.recursive)
        });
        let address = match (proxied, own) {
            (Some(address), _) | (None, Address::Ip(address)) => address.ip().to_canonical(),
            (None, Address::Unix(_)) => return None,
        };
        (address.is_ipv4() || !geo.ranges).then_some(address)
    }

    /// Writes the part that this request is in.
    pub(super) fn split_value(&self, id: SplitId, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        let Some(split) = env.config.splits.get(id.0 as usize) else { return false };
        let start = out.len();
        if !self.nest(Nested::Split(id), || split.source.write(self, env, out)) {
            return false;
        }
        let hash = murmur_hash2(out.get(start..).unwrap_or_default());
        out.truncate(start);
        let part = split.parts.iter().find(|(below, _)| below.is_none_or(|below| hash < below));
        always(part.map(|(_, value)| &**value).unwrap_or_default(), out)
    }

    pub(super) fn vetting<'a>(&self, env: &Env<'a>) -> Option<&'a Vetting> {
        env.config.location(self.location)?.vetting.as_deref()
    }

    /// `$invalid_referer`: "1", or empty where all is well.
    pub(super) fn invalid_referer(&self, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        let referers = self.vetting(env).and_then(|vetting| vetting.referers.as_ref());
        let valid = referers.is_none_or(|referers| self.referer_is_valid(referers));
        always(if valid { b"" } else { b"1" }, out)
    }

    fn referer_is_valid(&self, referers: &Referers) -> bool {
        let Some(referer) = self.head.value(HeaderId::Referer) else { return referers.none };
        let Some(rest) = behind_scheme(referer) else { return referers.blocked };
        let end = memchr::memchr2(b'/', b':', rest).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        if host.len() > REFERER_HOST_BYTES_MAX {
            return false;
        }
        let host = host.to_ascii_lowercase();
        if let Some(begins) = referers.host(&host) {
            let path = memchr::memchr(b'/', path).and_then(|slash| path.get(slash..)).unwrap_or_default();
            return path.starts_with(begins);
        }
        let matches = |regexes: &[crate::route::Regex], text: &[u8]| {
            regexes.iter().any(|regex| match regex.captures(&Chunk::from_vec(text.to_vec())) {
                Some(captures) => {
                    self.set_captures(regex, captures);
                    true
                }
                None => false,
            })
        };
        matches(&referers.hosts, &host) || matches(&referers.regexes, rest)
    }

    /// `$secure_link`: "1", "0" for a link that has expired, nothing for one that is not ours; with a secret the link.
    pub(super) fn secure_link(&self, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        match self.vetting(env).and_then(|vetting| vetting.secure_link.as_ref()) {
            None => false,
            Some(SecureLink::Secret(secret)) => text(secret_link(&self.raw, secret), out),
            Some(SecureLink::Md5 { link, text: hashed }) => {
                let start = out.len();
                let mut verdict = None;
                self.nest(Nested::SecureLink, || {
                    link.write(self, env, out);
                    let claim = Claim::parse(out.get(start..).unwrap_or_default());
                    out.truncate(start);
                    let Some(claim) = claim else { return };
                    hashed.write(self, env, out);
                    let ours = *Md5::digest(out.get(start..).unwrap_or_default()) == claim.hash;
                    out.truncate(start);
                    let now_s = env.now.unix_ms / 1000;
                    let expired = claim.expires_s.is_some_and(|expires_s| expires_s < now_s);
                    verdict = ours.then_some(if expired { b"0".as_slice() } else { b"1" });
                });
                text(verdict, out)
            }
        }
    }

    /// `$secure_link_expires`: as it stands in the link.
    pub(super) fn secure_link_expires(&self, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        let Some(SecureLink::Md5 { link, .. }) =
            self.vetting(env).and_then(|vetting| vetting.secure_link.as_ref())
        else {
            return false;
        };
        let start = out.len();
        self.nest(Nested::SecureLink, || link.write(self, env, out));
        let found = out.get(start..).unwrap_or_default();
        let comma = memchr::memchr(b',', found);
        let good = comma.and_then(|comma| found.get(comma + 1..)).is_some_and(|text| seconds(text).is_some());
        match comma {
            Some(comma) if good => {
                out.drain(start..=start + comma);
                true
            }
            Some(_) | None => {
                out.truncate(start);
                false
            }
        }
    }
}

/// What nginx looks up where there is no address: it is nobody's.
const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

/// What stands behind `http://` or `https://`; nginx has a bound below which nothing is a URL.
fn behind_scheme(referer: &[u8]) -> Option<&[u8]> {
    if referer.len() < b"http://i.ru".len() {
        return None;
    }
    let behind = |scheme: &[u8]| {
        let (start, rest) = referer.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    behind(b"http://").or_else(|| behind(b"https://"))
}

impl Referers {
    /// How the path must begin for a host that is known.
    fn host(&self, host: &[u8]) -> Option<&[u8]> {
        let longer = |mask: &[u8]| host.len() > mask.len();
        let suffix = || self.suffixes.iter().find(|(mask, _)| longer(mask) && host.ends_with(mask));
        let prefix = || self.prefixes.iter().find(|(mask, _)| longer(mask) && host.starts_with(mask));
        let masked = || suffix().or_else(prefix).map(|(_, begins)| begins);
        self.exact.get(host).or_else(masked).map(|begins| &**begins)
    }
}

/// What a link says about itself.
struct Claim {
    hash: [u8; 16],
    expires_s: Option<u64>,
}

impl Claim {
    fn parse(text: &[u8]) -> Option<Self> {
        let comma = memchr::memchr(b',', text);
        let (hash, expires_s) = match comma {
            Some(comma) => (text.get(..comma)?, Some(seconds(text.get(comma + 1..)?)?)),
            None => (text, None),
        };
        if hash.len() > HASH_TEXT_BYTES_MAX {
            return None;
        }
        let end = memchr::memchr(b'=', hash).unwrap_or(hash.len());
        let mut bytes = [0; 24];
        let len = BASE64_URL.decode_slice(hash.get(..end)?, &mut bytes).ok().filter(|len| *len == 16)?;
        Some(Self { hash: bytes.get(..len)?.try_into().ok()?, expires_s })
    }
}

/// A positive number.
fn seconds(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = core::str::from_utf8(text).ok().filter(|_| digits)?.parse::<i64>().ok()?;
    u64::try_from(number).ok().filter(|number| *number > 0)
}

/// The link behind `/prefix/hash/`, if the hash is one over it and the secret.
fn secret_link<'a>(target: &'a [u8], secret: &[u8]) -> Option<&'a [u8]> {
    let rest = target.get(1..)?;
    let rest = rest.get(memchr::memchr(b'/', rest)? + 1..)?;
    let (hash, link) = rest.split_at(memchr::memchr(b'/', rest)?);
    let link = link.get(1..).filter(|link| !link.is_empty() && hash.len() == 32)?;
    let expected = Md5::new().chain_update(link).chain_update(secret).finalize();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let same = hash.as_chunks::<2>().0.iter().zip(expected).all(|([high, low], byte)| {
        digit(*high).zip(digit(*low)).is_some_and(|(high, low)| high << 4 | low == u32::from(byte))
    });
    same.then_some(link)
}
