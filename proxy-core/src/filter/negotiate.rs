//! Whether a client takes a reply compressed: `gzip_http_version`, `gzip_proxied`, `gzip_disable`, Accept-Encoding.
//!
//! Reference: nginx's ngx_http_gzip_ok.

use super::plan::Outlook;
use crate::config::{GzipProxied, Negotiation};
use crate::http::date::parse as parse_date;
use crate::http::{HeaderId, RequestHead};

/// What of a reply's head matters for a client behind another proxy.
pub(crate) trait ReplyFields {
    /// The value of Expires.
    fn expires(&self) -> Option<&[u8]>;
    /// The value of Date, where it is not ours.
    fn date(&self) -> Option<&[u8]>;
    /// Whether there is a Cache-Control field.
    fn has_cache_control(&self) -> bool;
    /// Whether a Cache-Control field has this directive.
    fn cache_control_says(&self, word: &[u8]) -> bool;
    /// Whether there is a Last-Modified field.
    fn has_last_modified(&self) -> bool;
    /// Whether there is an ETag field.
    fn has_etag(&self) -> bool;
}

impl Negotiation {
    /// Whether the client that sent `head` takes this reply compressed.
    pub(crate) fn takes_gzip(&self, head: &RequestHead, reply: &Outlook<'_>, now_s: i64) -> bool {
        let accepts = head.value(HeaderId::AcceptEncoding).is_some_and(accepts_gzip);
        if !accepts || head.version < self.version_min {
            return false;
        }
        let agent = head.value(HeaderId::UserAgent);
        if self.disable_msie6 && agent.is_some_and(is_msie6) {
            return false;
        }
        if head.value(HeaderId::Via).is_some() && !self.proxied.allows(head, reply, now_s) {
            return false;
        }
        !agent.is_some_and(|agent| self.disable.iter().any(|regex| regex.is_match(agent)))
    }
}

impl GzipProxied {
    fn allows(&self, head: &RequestHead, reply: &Outlook<'_>, now_s: i64) -> bool {
        if *self == Self::default() {
            return false;
        }
        if self.any || (self.auth && head.value(HeaderId::Authorization).is_some()) {
            return true;
        }
        if let Some(expires_s) = reply.expires_s {
            return self.expired && expires_s < now_s;
        }
        let reply = reply.fields;
        if let Some(expires) = reply.expires() {
            let date = reply.date().map_or(Some(now_s), parse_date);
            return self.expired
                && parse_date(expires).zip(date).is_some_and(|(expires, date)| expires < date);
        }
        if reply.has_cache_control() {
            return (self.no_cache && reply.cache_control_says(b"no-cache"))
                || (self.no_store && reply.cache_control_says(b"no-store"))
                || (self.private && reply.cache_control_says(b"private"));
        }
        !(self.no_last_modified && reply.has_last_modified() || self.no_etag && reply.has_etag())
    }
}

/// Whether an Accept-Encoding value takes gzip with a weight above 0 (RFC 9110, section 12.5.3), read as nginx does.
pub(crate) fn accepts_gzip(value: &[u8]) -> bool {
    let mut from = 0;
    while let Some(at) = find_gzip(value, from) {
        let before = at.checked_sub(1).and_then(|before| value.get(before));
        if matches!(before, None | Some(b',' | b' ')) {
            return weight_allows(value.get(at + b"gzip".len()..).unwrap_or_default());
        }
        from = at + b"gzip".len();
    }
    false
}

fn find_gzip(value: &[u8], from: usize) -> Option<usize> {
    let rest = value.get(from..)?;
    rest.windows(b"gzip".len()).position(|word| word.eq_ignore_ascii_case(b"gzip")).map(|at| from + at)
}

/// What stands behind the word: nothing, a comma, or a weight.
fn weight_allows(rest: &[u8]) -> bool {
    let rest = skip_blanks(rest);
    let rest = match rest.split_first() {
        None | Some((b',', _)) => return true,
        Some((b';', rest)) => skip_blanks(rest),
        Some(_) => return false,
    };
    match rest {
        [] => true,
        [b'q' | b'Q', b'=', weight @ ..] => weight_is_positive(weight),
        _ => false,
    }
}

fn weight_is_positive(weight: &[u8]) -> bool {
    let end = weight.iter().position(|byte| matches!(byte, b',' | b' ')).unwrap_or(weight.len());
    let (whole, fraction) = match weight.get(..end) {
        Some([whole @ (b'0' | b'1')]) => (*whole, &[][..]),
        Some([whole @ (b'0' | b'1'), b'.', fraction @ ..]) => (*whole, fraction),
        _ => return false,
    };
    let digits = fraction.iter().all(u8::is_ascii_digit) && fraction.len() <= 3;
    let some = fraction.iter().any(|digit| *digit != b'0');
    digits && ((whole == b'1') != some || (whole == b'0' && some))
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| **byte == b' ').count();
    text.get(blanks..).unwrap_or_default()
}

/// nginx's `msie6`: Internet Explorer 4 to 6, the latter without its second service pack.
fn is_msie6(agent: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(agent, b"MSIE ") else { return false };
    match agent.get(at + b"MSIE ".len()..) {
        Some([b'4' | b'5', b'.', ..]) => true,
        Some([b'6', b'.', rest @ ..]) => memchr::memmem::find(rest, b"SV1").is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_encoding_is_read_as_nginx_reads_it() {
        let table: &[(&str, bool)] = &[
            ("gzip", true),
            ("gzip, br", true),
            ("br, gzip", true),
            ("br,GZIP;q=1", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("gzip;q=0.001", true),
            ("gzip;q=1.000", true),
            ("gzip;q=1.001", false),
            ("gzip;q=0.0001", false),
            ("gzip;q=2", false),
            ("gzip;x=1", false),
            ("gzip ;q=0.5, br", true),
            ("x-gzip", false),
            ("x-gzip, gzip", true),
            ("gzipped", false),
            ("*", false),
            ("identity", false),
            ("", false),
        ];
        for (value, expected) in table {
            assert_eq!(accepts_gzip(value.as_bytes()), *expected, "{value}");
        }
    }

    #[test]
    fn old_explorers_are_known() {
        for (agent, expected) in [
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", true),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)", false),
            ("Mozilla/4.0 (compatible; MSIE 5.5; Windows)", true),
            ("Mozilla/4.0 (compatible; MSIE 7.0; Windows)", false),
            ("curl", false),
        ] {
            assert_eq!(is_msie6(agent.as_bytes()), expected, "{agent}");
        }
    }
}
