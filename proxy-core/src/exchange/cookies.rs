//! Cookies that an upstream sets, on their way to the client: `proxy_cookie_domain`, `proxy_cookie_path`,
//! `proxy_cookie_flags`.
//!
//! A field that no rule touches is passed as it came. One that is changed is written anew, its attributes parted by a
//! semicolon and a blank, as nginx has it.

use alloc::vec::Vec;

use super::Exchange;
use super::context::{Context, Generation};
use crate::buf::Chunk;
use crate::config::{CookieFlags, CookieName, CookieRule, Proxy};

/// One part of a Set-Cookie field: the cookie itself, or an attribute. The value of a bare word is none.
struct Part<'a> {
    name: &'a [u8],
    value: Option<Vec<u8>>,
}

impl Exchange {
    /// The new value of a Set-Cookie field; none leaves it alone.
    pub(crate) fn rewrite_cookie(
        &mut self,
        value: &[u8],
        proxy: &Proxy,
        generation: &Generation,
        ctx: &Context,
    ) -> Option<Vec<u8>> {
        if proxy.cookie_domains.is_empty() && proxy.cookie_paths.is_empty() && proxy.cookie_flags.is_empty() {
            return None;
        }
        let mut parts: Vec<Part<'_>> = value.split(|byte| *byte == b';').map(Part::parse).collect();
        parts.first()?.value.as_ref()?;
        let mut changed = false;
        for part in parts.iter_mut().skip(1) {
            let is_path = part.is("path");
            let rules = match is_path {
                true => &proxy.cookie_paths,
                false if part.is("domain") => &proxy.cookie_domains,
                false => continue,
            };
            let Some(old) = &part.value else { continue };
            let new = rules.iter().find_map(|rule| self.apply_cookie(rule, old, is_path, generation, ctx));
            changed |= new.is_some();
            part.value = new.or(part.value.take());
        }
        let flags = self.cookie_flags(&parts, proxy, generation, ctx);
        if let Some(flags) = flags {
            flags.edit(&mut parts);
            changed = true;
        }
        changed.then(|| join(&parts))
    }

    fn apply_cookie(
        &mut self,
        rule: &CookieRule,
        old: &[u8],
        is_path: bool,
        generation: &Generation,
        ctx: &Context,
    ) -> Option<Vec<u8>> {
        match rule {
            CookieRule::Plain { from, to } => {
                let from = self.evaluate(from, generation, ctx);
                if is_path {
                    let rest = old.strip_prefix(&*from)?;
                    let mut new = self.evaluate(to, generation, ctx);
                    new.extend_from_slice(rest);
                    return Some(new);
                }
                // A leading dot is none of the name, and stays.
                let from = from.strip_prefix(b".").unwrap_or(&from);
                let plain = old.strip_prefix(b".").unwrap_or(old);
                let mut new = if plain.len() < old.len() { b".".to_vec() } else { Vec::new() };
                plain.eq_ignore_ascii_case(from).then(|| {
                    new.extend(self.evaluate(to, generation, ctx));
                    new
                })
            }
            CookieRule::Regex { regex, to } => {
                let captures = regex.captures(&Chunk::from_vec(old.to_vec()))?;
                self.facts.set_captures(regex, captures);
                Some(self.evaluate(to, generation, ctx))
            }
        }
    }

    /// What the first rule for this cookie asks for; none if there is no rule, or none of its flags says anything.
    fn cookie_flags(
        &mut self,
        parts: &[Part<'_>],
        proxy: &Proxy,
        generation: &Generation,
        ctx: &Context,
    ) -> Option<Flags> {
        let cookie = parts.first()?;
        let rule = proxy.cookie_flags.iter().find(|rule| match &rule.cookie {
            CookieName::Text(name) => self.evaluate(name, generation, ctx).eq_ignore_ascii_case(cookie.name),
            CookieName::Regex(regex) => {
                let Some(captures) = regex.captures(&Chunk::from_vec(cookie.name.to_vec())) else {
                    return false;
                };
                self.facts.set_captures(regex, captures);
                true
            }
        });
        let CookieFlags { flags, .. } = rule?;
        let mut said = Flags::default();
        for flag in flags {
            let word = self.evaluate(flag, generation, ctx);
            said.add(&word);
        }
        said.is_any().then_some(said)
    }
}

/// What `proxy_cookie_flags` says: on, off or nothing for each attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags {
    secure: Option<bool>,
    http_only: Option<bool>,
    /// An empty value takes the attribute away.
    same_site: Option<&'static [u8]>,
}

impl Flags {
    /// One word; what is not known says nothing, as with nginx. Of several that contradict each other, the one that
    /// adds wins, and of SameSite's values the strictest.
    fn add(&mut self, word: &[u8]) {
        let rank = |value: Option<&[u8]>| match value {
            None => 0,
            Some(b"") => 5,
            Some(b"None") => 1,
            Some(b"Lax") => 2,
            Some(_) => 3,
        };
        let mut same_site = |value: &'static [u8]| {
            if rank(Some(value)) > rank(self.same_site) {
                self.same_site = Some(value);
            }
        };
        match word.to_ascii_lowercase().as_slice() {
            b"secure" => self.secure = Some(true),
            b"nosecure" => self.secure = self.secure.or(Some(false)),
            b"httponly" => self.http_only = Some(true),
            b"nohttponly" => self.http_only = self.http_only.or(Some(false)),
            b"samesite=strict" => same_site(b"Strict"),
            b"samesite=lax" => same_site(b"Lax"),
            b"samesite=none" => same_site(b"None"),
            b"nosamesite" => same_site(b""),
            _ => {}
        }
    }

    fn is_any(self) -> bool {
        self != Self::default()
    }

    /// Takes attributes away, changes them, and puts those that are missing at the end.
    fn edit(mut self, parts: &mut Vec<Part<'_>>) {
        let mut place = 0;
        parts.retain_mut(|part| {
            place += 1;
            if place == 1 {
                return true;
            }
            if part.is("secure") {
                return keep_word(&mut self.secure);
            }
            if part.is("httponly") {
                return keep_word(&mut self.http_only);
            }
            if part.is("samesite") {
                match self.same_site {
                    None => {}
                    Some(b"") => return false,
                    Some(value) => {
                        self.same_site = None;
                        part.value = Some(value.to_vec());
                    }
                }
            }
            true
        });
        if self.secure == Some(true) {
            parts.push(Part { name: b"Secure", value: None });
        }
        if self.http_only == Some(true) {
            parts.push(Part { name: b"HttpOnly", value: None });
        }
        if let Some(value) = self.same_site.filter(|value| !value.is_empty()) {
            parts.push(Part { name: b"SameSite", value: Some(value.to_vec()) });
        }
    }
}

/// Whether a word that is there stays; one that was to be added need not be any more.
fn keep_word(wanted: &mut Option<bool>) -> bool {
    match *wanted {
        Some(true) => {
            *wanted = None;
            true
        }
        Some(false) => false,
        None => true,
    }
}

impl<'a> Part<'a> {
    fn parse(text: &'a [u8]) -> Self {
        match memchr::memchr(b'=', text).and_then(|at| text.split_at_checked(at)) {
            Some((name, value)) => {
                let value = blanks_off(value.get(1..).unwrap_or_default());
                Self { name: blanks_off(name), value: Some(value.to_vec()) }
            }
            None => Self { name: blanks_off(text), value: None },
        }
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

fn blanks_off(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

fn join(parts: &[Part<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        if !out.is_empty() {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(part.name);
        if let Some(value) = &part.value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    out
}
