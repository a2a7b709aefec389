//! The proxy module's lists of words and rules: `proxy_redirect`, `proxy_cookie_*`, `proxy_next_upstream`,
//! `proxy_ignore_headers`.

use proxy_core::config::{CookieFlags, CookieName, CookieRule, IgnoreHeaders, RedirectRule};
use proxy_core::http::Status;

use super::context::Call;
use super::proxy::{NextConditions, ProxyLevel};
use super::template::{compile_bytes, has_variables};
use crate::conf::value::Parsed;

/// `proxy_redirect` of one level.
#[derive(Clone, Debug, Default)]
pub struct Redirects {
    /// `off`
    off: bool,
    /// The rules in order; `None` is `default`.
    rules: Vec<Option<RedirectRule>>,
}

impl Redirects {
    /// The rules with `default` filled in.
    pub fn rules(&self, default: Option<&RedirectRule>) -> Vec<RedirectRule> {
        self.rules.iter().filter_map(|rule| rule.as_ref().or(default)).cloned().collect()
    }
}

/// A leading `~` or `~*` makes the pattern a regex.
fn regex_of(pattern: &str) -> Option<(&str, bool)> {
    let rest = pattern.strip_prefix('~')?;
    Some(rest.strip_prefix('*').map_or((rest, false), |rest| (rest, true)))
}

/// `proxy_redirect off|default|from to;`
pub fn redirect(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let redirects = level.redirects.get_or_insert_default();
    if redirects.off {
        return Err(call.error("\"proxy_redirect\" directive is duplicate"));
    }
    if call.args().len() == 1 {
        match &*call.text(0) {
            "off" if redirects.rules.is_empty() => redirects.off = true,
            "default" => redirects.rules.push(None),
            "off" => return Err(call.error("\"proxy_redirect\" directive is duplicate")),
            other => return Err(call.first().error(format!("invalid parameter \"{other}\""))),
        }
        return Ok(());
    }
    let pattern = call.text(0);
    let rule = match regex_of(&pattern) {
        Some((pattern, no_case)) => RedirectRule::Regex {
            regex: call.cx.regex(call.first(), pattern, no_case)?,
            to: call.template(1)?,
        },
        None => RedirectRule::Prefix { from: call.template(0)?, to: call.template(1)? },
    };
    redirects.rules.push(Some(rule));
    Ok(())
}

/// `proxy_cookie_domain off|from to;`, `proxy_cookie_path …`: the rules, or an empty list for `off`.
pub fn cookie(rules: &mut Option<Vec<CookieRule>>, call: &mut Call<'_, '_>, strip_dot: bool) -> Parsed<()> {
    // `off` is an empty list, and stands alone.
    let duplicate = || call.error(format!("\"{}\" directive is duplicate", call.directive.name.text()));
    if rules.as_ref().is_some_and(Vec::is_empty) {
        return Err(duplicate());
    }
    if call.args().len() == 1 {
        if !call.first().arg.is("off") {
            return Err(call.first().error(format!("invalid parameter \"{}\"", call.text(0))));
        }
        return if rules.replace(Vec::new()).is_some() { Err(duplicate()) } else { Ok(()) };
    }
    let pattern = call.text(0);
    let rule = match regex_of(&pattern) {
        // nginx matches domains without regard to case.
        Some((pattern, no_case)) => CookieRule::Regex {
            regex: call.cx.regex(call.first(), pattern, no_case || strip_dot)?,
            to: call.template(1)?,
        },
        None => {
            let bytes = call.first().arg.bytes.as_slice();
            let bytes = bytes.strip_prefix(b".").filter(|_| strip_dot).unwrap_or(bytes);
            CookieRule::Plain { from: compile_bytes(call.cx, call.first(), bytes)?, to: call.template(1)? }
        }
    };
    rules.get_or_insert_default().push(rule);
    Ok(())
}

/// `proxy_cookie_flags off|cookie [flag …];`: the rules, or an empty list for `off`.
pub fn cookie_flags(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    const WORDS: [(&str, ()); 8] = [
        ("secure", ()),
        ("nosecure", ()),
        ("httponly", ()),
        ("nohttponly", ()),
        ("samesite=strict", ()),
        ("samesite=lax", ()),
        ("samesite=none", ()),
        ("nosamesite", ()),
    ];
    let duplicate = || call.error("\"proxy_cookie_flags\" directive is duplicate");
    if level.cookie_flags.as_ref().is_some_and(Vec::is_empty) {
        return Err(duplicate());
    }
    if call.args().len() == 1 {
        if call.first().arg.is("off") {
            return if level.cookie_flags.replace(Vec::new()).is_some() { Err(duplicate()) } else { Ok(()) };
        }
        return Err(call.first().error(format!("invalid parameter \"{}\"", call.text(0))));
    }
    let mut flags = Vec::new();
    for n in 1..call.args().len() {
        if !has_variables(&call.arg(n).arg.bytes) {
            call.arg(n).choice(&WORDS)?;
        }
        flags.push(call.template(n)?);
    }
    let pattern = call.text(0);
    let cookie = match pattern.strip_prefix('~') {
        Some(pattern) => CookieName::Regex(call.cx.regex(call.first(), pattern, true)?),
        None => CookieName::Text(call.template(0)?),
    };
    level.cookie_flags.get_or_insert_default().push(CookieFlags { cookie, flags: flags.into() });
    Ok(())
}

/// `proxy_next_upstream error timeout http_502 …;`
pub fn next_upstream(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    #[derive(Clone, Copy)]
    enum Word {
        Error,
        Timeout,
        InvalidHeader,
        NonIdempotent,
        Status(u16),
        Denied,
        Off,
    }
    const WORDS: [(&str, Word); 13] = [
        ("error", Word::Error),
        ("timeout", Word::Timeout),
        ("invalid_header", Word::InvalidHeader),
        ("non_idempotent", Word::NonIdempotent),
        ("http_500", Word::Status(500)),
        ("http_502", Word::Status(502)),
        ("http_503", Word::Status(503)),
        ("http_504", Word::Status(504)),
        ("http_403", Word::Status(403)),
        ("http_404", Word::Status(404)),
        ("http_429", Word::Status(429)),
        ("denied", Word::Denied),
        ("off", Word::Off),
    ];
    let mut said: NextConditions = level.next_upstream.take().unwrap_or_default();
    for n in 0..call.args().len() {
        match call.arg(n).choice(&WORDS)? {
            Word::Error => said.error = true,
            Word::Timeout => said.timeout = true,
            Word::InvalidHeader => said.invalid_header = true,
            Word::NonIdempotent => said.non_idempotent = true,
            Word::Status(code) => said.statuses.push(Status(code)),
            // No connection is ever denied here: there is no proxy_allow_upstream that could.
            Word::Denied => {}
            Word::Off => said.off = true,
        }
    }
    level.next_upstream = Some(said);
    Ok(())
}

/// `proxy_ignore_headers Cache-Control …;`
pub fn ignore_headers(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    type Pick = fn(&mut IgnoreHeaders) -> &mut bool;
    const WORDS: [(&str, Pick); 9] = [
        ("X-Accel-Redirect", |h| &mut h.accel_redirect),
        ("X-Accel-Expires", |h| &mut h.accel_expires),
        ("X-Accel-Limit-Rate", |h| &mut h.accel_limit_rate),
        ("X-Accel-Buffering", |h| &mut h.accel_buffering),
        ("X-Accel-Charset", |h| &mut h.accel_charset),
        ("Expires", |h| &mut h.expires),
        ("Cache-Control", |h| &mut h.cache_control),
        ("Set-Cookie", |h| &mut h.set_cookie),
        ("Vary", |h| &mut h.vary),
    ];
    let mut said = level.ignore_headers.unwrap_or_default();
    for n in 0..call.args().len() {
        *call.arg(n).choice(&WORDS)?(&mut said) = true;
    }
    level.ignore_headers = Some(said);
    Ok(())
}
