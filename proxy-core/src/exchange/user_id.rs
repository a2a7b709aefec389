//! `userid`: replies set a cookie that tells clients apart.

use super::Exchange;
use super::context::{Context, Generation};
use super::vars::UidCookie;
use crate::command::Level;
use crate::config::{CookieLife, UserId};
use crate::h1::encode;
use crate::http::{HeaderId, date};

/// 31 December 2037, 23:55:55, in seconds since the Unix epoch.
const LAST_S: i64 = 2_145_916_555;

impl Exchange {
    /// The Set-Cookie field of the location's `userid`, if it has any and the client needs one.
    pub(super) fn user_id_fields(&mut self, generation: &Generation, ctx: &mut Context) {
        let vetting = self.location(generation).and_then(|location| location.vetting.as_ref());
        let Some(settings) = vetting.and_then(|vetting| vetting.user_id.as_ref()) else { return };
        if !settings.sets || self.is_sub() {
            return;
        }
        self.log_bad_uid(settings, ctx);
        let Some(uid) = self.facts.uid_to_set(settings, &ctx.env(generation)) else { return };
        let mut cookie = settings.name.to_vec();
        cookie.push(b'=');
        self.facts.uid_text(settings, &uid, &mut cookie);
        let expires_s = match settings.expires {
            CookieLife::Session => None,
            CookieLife::Max => Some(LAST_S),
            CookieLife::Seconds(seconds) => {
                Some((ctx.now.unix_ms / 1000).saturating_add(seconds).cast_signed())
            }
        };
        if let Some(unix_s) = expires_s {
            cookie.extend_from_slice(b"; expires=");
            date::write_cookie_time(&mut cookie, unix_s);
        }
        cookie.extend_from_slice(&settings.attributes);
        // A name or a domain with a line end is the configuration's fault; the field is not sent.
        let _ = encode::computed_field(&mut ctx.scratch, b"Set-Cookie", &cookie);
        if let Some(p3p) = &settings.p3p {
            let _ = encode::computed_field(&mut ctx.scratch, b"P3P", p3p);
        }
    }

    fn log_bad_uid(&self, settings: &UserId, ctx: &mut Context) {
        let what = match self.facts.uid_cookie(settings) {
            UidCookie::TooShort => "too short",
            UidCookie::Invalid => "invalid",
            UidCookie::None | UidCookie::Got(..) => return,
        };
        let field = self.facts.head.value(HeaderId::Cookie).unwrap_or_default();
        let field = crate::content::files::shown(field);
        self.log_error(Level::Error, &format_args!("client sent {what} userid cookie \"{field}\""), ctx);
    }
}
