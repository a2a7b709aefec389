//! `$uid_got`, `$uid_set`: the cookie that tells clients apart, and what is set in its place.
//!
//! Reference: nginx's ngx_http_userid_module.

use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::IpAddr;

use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};

use super::{Env, always};
use crate::command::Address;
use crate::config::UserId;
use crate::exchange::Facts;

/// The cookies of old have anything for padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// How many characters of the cookie's value are the identifier.
const TEXT_BYTES: usize = 22;

/// An identifier, as it stands in memory with nginx.
pub(crate) type Uid = [u8; 16];

/// What the client's cookie is worth.
pub(crate) enum UidCookie<'a> {
    /// There is none, or the value that nobody has.
    None,
    TooShort,
    Invalid,
    /// The identifier, and the cookie's whole value.
    Got(Uid, &'a [u8]),
}

impl Facts {
    /// What the client has sent.
    pub(crate) fn uid_cookie(&self, settings: &UserId) -> UidCookie<'_> {
        let Some(cookie) = self.cookie(&settings.name) else { return UidCookie::None };
        let Some(text) = cookie.get(..TEXT_BYTES) else { return UidCookie::TooShort };
        let mut uid = [0; 18];
        match BASE64.decode_slice(text, &mut uid) {
            Ok(16) => match uid.first_chunk::<16>() {
                Some(uid) if uid.last_chunk::<4>() != Some(&[0; 4]) => UidCookie::Got(*uid, cookie),
                Some(_) | None => UidCookie::None,
            },
            Ok(_) | Err(_) => UidCookie::Invalid,
        }
    }

    /// Whether the client's cookie may stay as it is.
    fn uid_is_marked(settings: &UserId, cookie: &[u8]) -> bool {
        settings.mark.is_none_or(|mark| cookie.get(TEXT_BYTES..TEXT_BYTES + 2) == Some(&[mark, b'=']))
    }

    /// The identifier that is set; none where the client's stays.
    pub(crate) fn uid_to_set(&self, settings: &UserId, env: &Env<'_>) -> Option<Uid> {
        match self.uid_cookie(settings) {
            _ if !settings.sets => None,
            UidCookie::Got(_, cookie) if Self::uid_is_marked(settings, cookie) => None,
            UidCookie::Got(uid, _) => Some(uid),
            UidCookie::None | UidCookie::TooShort | UidCookie::Invalid => Some(self.new_uid(settings, env)),
        }
    }

    /// An identifier that nobody else has: the request's own number stands for nginx's process and its sequence. It is
    /// the same as long as the request is.
    fn new_uid(&self, settings: &UserId, env: &Env<'_>) -> Uid {
        let age_ms = env.now.instant.millis_since(self.started);
        let began_s = (env.now.unix_ms.saturating_sub(age_ms) / 1000) as u32;
        let start = (self.request_id >> 64) as u32;
        let sequence = (self.request_id as u32) | 1;
        let service = settings.service.unwrap_or(match &self.conn.peer.local {
            Address::Ip(local) if !settings.v1 => match local.ip() {
                IpAddr::V4(ip) => u32::from(ip),
                IpAddr::V6(ip) => u128::from(ip) as u32,
            },
            Address::Ip(_) | Address::Unix(_) => 0,
        });
        let mut uid = [0; 16];
        for (place, word) in uid.as_chunks_mut::<4>().0.iter_mut().zip([service, began_s, start, sequence]) {
            *place = if settings.v1 { word.to_le_bytes() } else { word.to_be_bytes() };
        }
        uid
    }

    /// The value of the cookie with an identifier: what the client has is only marked anew.
    pub(crate) fn uid_text(&self, settings: &UserId, uid: &Uid, out: &mut Vec<u8>) {
        if let UidCookie::Got(_, cookie) = self.uid_cookie(settings) {
            out.extend_from_slice(cookie.get(..TEXT_BYTES).unwrap_or_default());
        } else {
            let text = BASE64.encode(uid);
            out.extend_from_slice(text.as_bytes().get(..TEXT_BYTES).unwrap_or_default());
        }
        out.extend_from_slice(&[settings.mark.unwrap_or(b'='), b'=']);
    }

    /// `$uid_got`
    pub(super) fn uid_got(&self, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        let settings = self.vetting(env).and_then(|vetting| vetting.user_id.as_ref());
        settings.is_some_and(|settings| match self.uid_cookie(settings) {
            UidCookie::Got(uid, _) => shown(settings, &uid, out),
            UidCookie::None | UidCookie::TooShort | UidCookie::Invalid => false,
        })
    }

    /// `$uid_set`
    pub(super) fn uid_set(&self, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        let settings = self.vetting(env).and_then(|vetting| vetting.user_id.as_ref());
        let set = settings.and_then(|settings| Some((settings, self.uid_to_set(settings, env)?)));
        set.is_some_and(|(settings, uid)| shown(settings, &uid, out))
    }
}

/// `name=` and four numbers, as a little-endian machine's nginx prints them.
fn shown(settings: &UserId, uid: &Uid, out: &mut Vec<u8>) -> bool {
    let mut text = alloc::string::String::new();
    for word in uid.as_chunks::<4>().0 {
        // A string takes whatever is written to it.
        let _ = write!(text, "{:08X}", u32::from_le_bytes(*word));
    }
    out.extend_from_slice(&settings.name);
    out.push(b'=');
    always(text.as_bytes(), out)
}
