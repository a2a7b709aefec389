//! The body filters' settings of one level: as written, inherited, finished with defaults.

use std::sync::Arc;

use proxy_core::config::{
    Addition, Filters, Gzip, GzipProxied, GzipStatic, Negotiation, Ssi, SubFilter, Template, Types,
};
use proxy_core::http::Version;
use proxy_core::route::Regex;

use super::context::Call;
use super::core::inherit;
use crate::conf::value::Parsed;

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct FilterLevel {
    pub gzip: Option<bool>,
    pub gzip_types: Option<Types>,
    pub gzip_comp_level: Option<u8>,
    pub gzip_min_length: Option<u64>,
    pub gzip_vary: Option<bool>,
    pub gzip_http_version: Option<Version>,
    pub gzip_proxied: Option<GzipProxied>,
    /// The expressions, and whether `msie6` is among them.
    pub gzip_disable: Option<(Vec<Regex>, bool)>,
    pub gunzip: Option<bool>,
    pub gzip_static: Option<GzipStatic>,
    pub sub_filter: Option<Vec<(Template, Template)>>,
    pub sub_filter_once: Option<bool>,
    pub sub_filter_types: Option<Types>,
    pub sub_filter_last_modified: Option<bool>,
    pub add_before_body: Option<Arc<[u8]>>,
    pub add_after_body: Option<Arc<[u8]>>,
    pub addition_types: Option<Types>,
    pub ssi: Option<bool>,
    pub ssi_types: Option<Types>,
    pub ssi_silent_errors: Option<bool>,
    pub ssi_value_length: Option<usize>,
    pub ssi_last_modified: Option<bool>,
}

impl FilterLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; gzip gzip_types gzip_comp_level gzip_min_length gzip_vary gzip_http_version
            gzip_proxied gzip_disable gunzip gzip_static sub_filter sub_filter_once sub_filter_types sub_filter_last_modified
            add_before_body add_after_body addition_types ssi ssi_types ssi_silent_errors ssi_value_length ssi_last_modified);
    }

    /// The filters; none where no body is ever changed.
    pub fn finish(&self) -> Option<Arc<Filters>> {
        let types = |types: &Option<Types>| Arc::new(types.clone().unwrap_or_default());
        let sub = self.sub_filter.as_ref().map(|pairs| SubFilter {
            pairs: pairs.as_slice().into(),
            once: self.sub_filter_once.unwrap_or(true),
            types: types(&self.sub_filter_types),
            last_modified: self.sub_filter_last_modified.unwrap_or(false),
        });
        let gzip = self.gzip.unwrap_or(false).then(|| Gzip {
            types: types(&self.gzip_types),
            level: self.gzip_comp_level.unwrap_or(1),
            length_min: self.gzip_min_length.unwrap_or(20),
        });
        let (before, after) = (self.add_before_body.clone(), self.add_after_body.clone());
        // An empty URI takes an inherited one back.
        let uri = |uri: Option<Arc<[u8]>>| uri.filter(|uri| !uri.is_empty());
        let addition =
            Addition { before: uri(before), after: uri(after), types: types(&self.addition_types) };
        let adds = addition.before.is_some() || addition.after.is_some();
        let ssi = self.ssi.unwrap_or(false).then(|| Ssi {
            types: types(&self.ssi_types),
            silent_errors: self.ssi_silent_errors.unwrap_or(false),
            value_bytes_max: self.ssi_value_length.unwrap_or(256),
            last_modified: self.ssi_last_modified.unwrap_or(false),
        });
        let gzip_static = self.gzip_static.unwrap_or_default();
        let filters = Filters {
            sub,
            addition: adds.then(|| Arc::new(addition)),
            ssi,
            gunzip: self.gunzip.unwrap_or(false),
            gzip,
            gzip_static,
            negotiation: self.negotiation(),
        };
        let some = filters.sub.is_some()
            || filters.addition.is_some()
            || filters.ssi.is_some()
            || filters.gunzip
            || filters.gzip.is_some()
            || gzip_static != GzipStatic::Off;
        some.then(|| Arc::new(filters))
    }

    fn negotiation(&self) -> Negotiation {
        let default = Negotiation::default();
        let (disable, disable_msie6) = self.gzip_disable.clone().unwrap_or_default();
        Negotiation {
            vary: self.gzip_vary.unwrap_or(default.vary),
            version_min: self.gzip_http_version.unwrap_or(default.version_min),
            proxied: self.gzip_proxied.unwrap_or(default.proxied),
            disable: disable.into(),
            disable_msie6,
        }
    }
}

/// `…_types text/css …|*;`: those, and text/html.
///
/// # Errors
/// None; a type that is named twice is a warning, as in nginx.
pub fn types(slot: &mut Option<Types>, call: &mut Call<'_, '_>) -> Parsed<()> {
    for n in 0..call.args().len() {
        let media = call.arg(n).arg.bytes.to_ascii_lowercase();
        match slot.get_or_insert_default() {
            Types::All => {}
            types if media == b"*" => *types = Types::All,
            Types::Of(types) => {
                if !types.insert(media.as_slice().into()) {
                    call.warn(format!("duplicate MIME type \"{}\"", call.text(n)));
                }
            }
        }
    }
    Ok(())
}

/// `gzip_comp_level 1…9;`
///
/// # Errors
/// nginx's `value must be between 1 and 9`.
pub fn comp_level(call: &Call<'_, '_>) -> Parsed<u8> {
    let level = call.first().number()?;
    let level = u8::try_from(level).ok().filter(|level| (1..=9).contains(level));
    level.ok_or_else(|| call.first().error("value must be between 1 and 9"))
}

/// `gzip_proxied off|expired|…;`
///
/// # Errors
/// nginx's `invalid value`.
pub fn proxied(level: &mut FilterLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let proxied = level.gzip_proxied.get_or_insert_default();
    for n in 0..call.args().len() {
        let word: fn(&mut GzipProxied) = call.arg(n).choice::<fn(&mut GzipProxied)>(&[
            ("off", |proxied| *proxied = GzipProxied::default()),
            ("expired", |proxied| proxied.expired = true),
            ("no-cache", |proxied| proxied.no_cache = true),
            ("no-store", |proxied| proxied.no_store = true),
            ("private", |proxied| proxied.private = true),
            ("no_last_modified", |proxied| proxied.no_last_modified = true),
            ("no_etag", |proxied| proxied.no_etag = true),
            ("auth", |proxied| proxied.auth = true),
            ("any", |proxied| proxied.any = true),
        ])?;
        word(proxied);
    }
    Ok(())
}

/// `gzip_disable regex …;`, `gzip_disable msie6;`
///
/// # Errors
/// The compiler's words.
pub fn disable(level: &mut FilterLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    for n in 0..call.args().len() {
        let (field, pattern) = (call.arg(n), call.text(n));
        let (regexes, msie6) = level.gzip_disable.get_or_insert_default();
        match &*pattern {
            "msie6" => *msie6 = true,
            pattern => regexes.push(call.cx.regex(field, pattern, true)?),
        }
    }
    Ok(())
}

/// `sub_filter string replacement;`
///
/// # Errors
/// nginx's `empty search pattern`.
pub fn sub_filter(level: &mut FilterLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    if call.first().arg.bytes.is_empty() {
        return Err(call.first().error("empty search pattern"));
    }
    let pair = (call.template(0)?, call.template(1)?);
    level.sub_filter.get_or_insert_default().push(pair);
    Ok(())
}
