//! `valid_referers`, `secure_link`, `secure_link_md5` and `secure_link_secret`.

use std::cmp::Reverse;
use std::sync::Arc;

use proxy_core::config::{Referers, SecureLink, Template, Vetting};

use super::context::Call;
use super::core::inherit;
use super::listen::Name;
use crate::conf::value::{Field, Parsed};

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
pub struct VettingLevel {
    /// `valid_referers`, and whether the server's names belong to it.
    pub referers: Option<(Referers, bool)>,
    /// `secure_link`
    pub link: Option<Template>,
    /// `secure_link_md5`
    pub md5: Option<Template>,
    /// `secure_link_secret`
    pub secret: Option<Box<[u8]>>,
    /// The browser module's.
    pub browsers: super::visitor::BrowsersLevel,
    /// The userid module's.
    pub user_id: super::visitor::UserIdLevel,
}

impl VettingLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; referers link md5 secret);
        self.browsers.inherit(&parent.browsers);
        self.user_id.inherit(&parent.user_id);
    }

    /// The settings; none where nothing is said.
    pub fn finish(&self) -> Option<Arc<Vetting>> {
        let referers = self.referers.as_ref().map(|(referers, _)| {
            let mut referers = referers.clone();
            referers.suffixes.sort_by_key(|(stem, _)| Reverse(stem.len()));
            referers.prefixes.sort_by_key(|(stem, _)| Reverse(stem.len()));
            referers
        });
        let secure_link = match (&self.secret, &self.link, &self.md5) {
            (Some(secret), ..) => Some(SecureLink::Secret(secret.clone())),
            (None, Some(link), Some(text)) => {
                Some(SecureLink::Md5 { link: link.clone(), text: text.clone() })
            }
            (None, ..) => None,
        };
        let (browsers, user_id) = (self.browsers.finish(), self.user_id.finish());
        let says = referers.is_some() || secure_link.is_some() || browsers.is_some() || user_id.is_some();
        says.then(|| Arc::new(Vetting { referers, secure_link, browsers, user_id }))
    }

    /// `server_names`: the names of the server that this level is in, once all of them are known.
    pub fn add_server_names(&mut self, names: &[Name]) {
        if let Some((referers, with_names)) = &mut self.referers
            && std::mem::take(with_names)
        {
            names.iter().for_each(|name| name.refer(referers));
        }
    }
}

/// `valid_referers none | blocked | server_names | string …;`
///
/// # Errors
/// As nginx's.
pub fn valid_referers(level: &mut VettingLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let (referers, with_names) = level.referers.get_or_insert_default();
    for n in 0..call.args().len() {
        let field = call.arg(n);
        let text = field.arg.text();
        match &*text {
            "none" => referers.none = true,
            "blocked" => referers.blocked = true,
            "server_names" => *with_names = true,
            _ => match text.strip_prefix('~') {
                Some(pattern) => referers.regexes.push(call.cx.regex(field, pattern, true)?),
                None => add(referers, field, &text)?,
            },
        }
    }
    let hosts = referers.exact.len() + referers.suffixes.len() + referers.prefixes.len();
    if (referers.none || referers.blocked) && hosts == 0 && !*with_names {
        return Err(call.error(
            "the \"none\" or \"blocked\" referers are specified in the \"valid_referers\" directive without any \
             valid referer",
        ));
    }
    Ok(())
}

fn add(referers: &mut Referers, field: Field<'_>, text: &str) -> Parsed<()> {
    let (host, path) = text.find('/').map_or((text, ""), |slash| text.split_at(slash));
    insert(referers, host, path.as_bytes()).map_err(|problem| field.error(format!("{problem} \"{host}\"")))
}

/// Adds a host, or a wildcard for hosts.
///
/// # Errors
/// nginx's words for what it is not.
pub fn insert(referers: &mut Referers, host: &str, path: &[u8]) -> Result<(), &'static str> {
    let host = host.to_ascii_lowercase();
    let bytes = |text: &str| -> Box<[u8]> { text.as_bytes().into() };
    let stem = host.trim_start_matches("*.").trim_start_matches('.').trim_end_matches(".*");
    if stem.is_empty() || stem.contains('*') {
        return Err("invalid hostname or wildcard");
    }
    if let Some(stem) = host.strip_prefix('*') {
        referers.suffixes.push((bytes(stem), path.into()));
    } else if let Some(stem) = host.strip_prefix('.') {
        referers.suffixes.push((bytes(&host), path.into()));
        referers.exact.insert(bytes(stem), path.into());
    } else if let Some(stem) = host.strip_suffix('*') {
        referers.prefixes.push((bytes(stem), path.into()));
    } else if referers.exact.insert(bytes(&host), path.into()).is_some() {
        return Err("conflicting parameter");
    }
    Ok(())
}
