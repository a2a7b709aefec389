//! `proxy_cache`: zones by name, and what each level says about them.

use std::sync::Arc;

use proxy_core::config::{
    Cache, CacheBatch, CacheLock, CacheName, CacheValid, CacheZone, NextUpstream, SetHeaders, Template,
    UseStale,
};
use proxy_core::http::{Method, Status};
use proxy_core::time::Millis;

use super::context::Call;
use super::core::inherit;
use super::proxy::ProxyLevel;
use super::template::has_variables;
use crate::conf::diagnostic::Diagnostic;
use crate::conf::span::Span;
use crate::conf::value::{Field, Parsed, milliseconds, number, offset, seconds, size};

/// The smallest zone: two of nginx's pages, in bytes.
const ZONE_BYTES_MIN: u64 = 2 * 4096;
/// `proxy_cache_valid` without statuses.
const VALID_DEFAULT: [u16; 3] = [200, 301, 302];
/// `proxy_cache_lock_timeout` and `_age` where nothing is said.
const LOCK_DEFAULT: Millis = Millis::from_secs(5);
/// `inactive`
const INACTIVE_DEFAULT: Millis = Millis::from_secs(600);
/// `manager_…` and `loader_…`
const BATCH_DEFAULT: CacheBatch = CacheBatch { files: 100, sleep: Millis(50) };

/// The zones of a configuration. A zone may be used before the line that defines it.
#[derive(Debug, Default)]
pub struct Caches {
    zones: Vec<(String, Option<Arc<CacheZone>>)>,
    uses: Vec<(usize, Span)>,
}

impl Caches {
    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.zones.iter().position(|(other, _)| other == name) {
            return place;
        }
        self.zones.push((name.to_owned(), None));
        self.zones.len() - 1
    }

    /// All zones in the order of their places; an error for each that is used and that no line defines.
    pub fn finish(self, diagnostics: &mut Vec<Diagnostic>) -> Vec<Arc<CacheZone>> {
        let mut said = Vec::new();
        for (place, span) in &self.uses {
            if let Some((name, None)) = self.zones.get(*place)
                && !said.contains(place)
            {
                said.push(*place);
                let mut diagnostic =
                    Diagnostic::emerg(*span, format!("\"proxy_cache\" zone \"{name}\" is unknown"));
                diagnostic
                    .help(format!("`proxy_cache_path PATH keys_zone={name}:10m;` in `http` defines it"));
                diagnostics.push(diagnostic);
            }
        }
        self.zones.into_iter().filter_map(|(_, zone)| zone).collect()
    }
}

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct CacheLevel {
    /// The inner `None` is `off`.
    pub zone: Option<Option<CacheName>>,
    pub key: Option<Template>,
    pub valid: Option<Vec<CacheValid>>,
    pub methods: Option<Vec<Method>>,
    pub convert_head: Option<bool>,
    pub bypass: Option<Vec<Template>>,
    pub no_cache: Option<Vec<Template>>,
    pub min_uses: Option<u32>,
    pub lock: Option<bool>,
    pub lock_timeout: Option<Millis>,
    pub lock_age: Option<Millis>,
    pub use_stale: Option<UseStale>,
    pub background_update: Option<bool>,
    pub revalidate: Option<bool>,
    pub max_range_offset: Option<u64>,
}

impl CacheLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; zone key valid methods convert_head bypass no_cache min_uses lock lock_timeout
            lock_age use_stale background_update revalidate max_range_offset);
    }

    /// What holds at this level, with nginx's defaults; none where nothing is kept.
    pub fn finish(&self, set_headers: &SetHeaders) -> Option<Arc<Cache>> {
        let zone = self.zone.clone().flatten()?;
        let lock = CacheLock {
            timeout: self.lock_timeout.unwrap_or(LOCK_DEFAULT),
            age: self.lock_age.unwrap_or(LOCK_DEFAULT),
        };
        Some(Arc::new(Cache {
            zone,
            key: self.key.clone(),
            valid: self.valid.clone().unwrap_or_default().into(),
            methods: self.methods.clone().unwrap_or_else(|| vec![Method::Get, Method::Head]).into(),
            convert_head: self.convert_head.unwrap_or(true),
            bypass: self.bypass.clone().unwrap_or_default().into(),
            no_cache: self.no_cache.clone().unwrap_or_default().into(),
            min_uses: self.min_uses.unwrap_or(1),
            lock: self.lock.unwrap_or(false).then_some(lock),
            use_stale: self.use_stale.clone().unwrap_or_else(no_stale),
            background_update: self.background_update.unwrap_or(false),
            revalidate: self.revalidate.unwrap_or(false),
            max_range_offset: self.max_range_offset,
            set_headers: Arc::new(set_headers.for_cache()),
        }))
    }
}

fn no_stale() -> UseStale {
    let failures = NextUpstream {
        error: false,
        timeout: false,
        invalid_header: false,
        non_idempotent: false,
        statuses: Box::default(),
        tries_max: 0,
        timeout_total: Millis(0),
    };
    UseStale { updating: false, failures }
}

/// `proxy_cache zone|off;`
pub fn cache(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let name = call.text(0);
    level.cache.zone = Some(if name == "off" {
        None
    } else if has_variables(name.as_bytes()) {
        Some(CacheName::Computed(call.template(0)?))
    } else {
        let place = call.cx.caches.place(&name);
        call.cx.caches.uses.push((place, call.first().arg.span));
        Some(CacheName::Zone(place))
    });
    Ok(())
}

/// `proxy_cache_valid [code …|any] time;`
pub fn valid(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let Some(last) = call.args().len().checked_sub(1) else { return Ok(()) };
    let field = call.arg(last);
    let time = seconds(&field.arg.text()).and_then(|seconds| i64::try_from(seconds).ok());
    let seconds = time.ok_or_else(|| bad(field, "time value"))?;
    let list = level.cache.valid.get_or_insert_default();
    if last == 0 {
        let statuses = VALID_DEFAULT.into_iter().map(Status);
        list.extend(statuses.map(|status| CacheValid { status: Some(status), seconds }));
    }
    for n in 0..last {
        let field = call.arg(n);
        let status = if field.arg.is("any") {
            None
        } else {
            let code = number(&field.arg.text()).and_then(|code| u16::try_from(code).ok());
            let code = code.filter(|code| (100..=599).contains(code));
            Some(Status(code.ok_or_else(|| bad(field, "status"))?))
        };
        list.push(CacheValid { status, seconds });
    }
    Ok(())
}

/// `proxy_cache_methods GET|HEAD|POST …;` GET and HEAD are always among them.
pub fn methods(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let words = [("GET", Method::Get), ("HEAD", Method::Head), ("POST", Method::Post)];
    let list = level.cache.methods.get_or_insert_with(|| vec![Method::Get, Method::Head]);
    for n in 0..call.args().len() {
        let method = call.arg(n).choice(&words)?;
        if !list.contains(&method) {
            list.push(method);
        }
    }
    Ok(())
}

/// `proxy_cache_bypass string …;` and `proxy_no_cache string …;`
pub fn predicates(slot: &mut Option<Vec<Template>>, call: &mut Call<'_, '_>) -> Parsed<()> {
    for n in 0..call.args().len() {
        let template = call.template(n)?;
        slot.get_or_insert_default().push(template);
    }
    Ok(())
}

/// `proxy_cache_use_stale error|timeout|… …;`
pub fn use_stale(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    #[derive(Clone, Copy)]
    enum Word {
        Error,
        Timeout,
        InvalidHeader,
        Updating,
        Status(u16),
        Off,
    }
    const WORDS: [(&str, Word); 12] = [
        ("error", Word::Error),
        ("timeout", Word::Timeout),
        ("invalid_header", Word::InvalidHeader),
        ("updating", Word::Updating),
        ("http_500", Word::Status(500)),
        ("http_502", Word::Status(502)),
        ("http_503", Word::Status(503)),
        ("http_504", Word::Status(504)),
        ("http_403", Word::Status(403)),
        ("http_404", Word::Status(404)),
        ("http_429", Word::Status(429)),
        ("off", Word::Off),
    ];
    let mut said = level.cache.use_stale.take().unwrap_or_else(no_stale);
    let mut statuses = said.failures.statuses.to_vec();
    let mut off = false;
    for n in 0..call.args().len() {
        match call.arg(n).choice(&WORDS)? {
            Word::Error => said.failures.error = true,
            Word::Timeout => said.failures.timeout = true,
            Word::InvalidHeader => said.failures.invalid_header = true,
            Word::Updating => said.updating = true,
            Word::Status(code) => statuses.push(Status(code)),
            Word::Off => off = true,
        }
    }
    said.failures.statuses = statuses.into();
    level.cache.use_stale = Some(if off { no_stale() } else { said });
    Ok(())
}

/// `proxy_cache_path path keys_zone=name:size [parameter=value …];`
///
/// # Errors
/// nginx's words.
pub fn cache_path(call: &mut Call<'_, '_>) -> Parsed<()> {
    let path = call.cx.path(call.text(0).trim_end_matches('/')).to_string_lossy().as_bytes().into();
    let mut zone = CacheZone {
        name: "".into(),
        path,
        levels: [0; 3],
        bytes: 0,
        inactive: INACTIVE_DEFAULT,
        bytes_max: None,
        free_bytes_min: 0,
        use_temp_path: true,
        manager: BATCH_DEFAULT,
        loader: BATCH_DEFAULT,
    };
    for n in 1..call.args().len() {
        let field = call.arg(n);
        let text = field.arg.text();
        let (name, value) = text.split_once('=').ok_or_else(|| bad(field, "parameter"))?;
        parameter(&mut zone, name, value, field)?;
        if name.ends_with("_threshold") {
            let text = format!(
                "\"{name}\" of \"proxy_cache_path\" has no effect: what is done at once is bounded by the number of files"
            );
            call.notice(text);
        }
    }
    if zone.name.is_empty() || zone.bytes == 0 {
        return Err(call.error("\"proxy_cache_path\" must have \"keys_zone\" parameter"));
    }
    let name = Arc::clone(&zone.name);
    let place = call.cx.caches.place(&name);
    match call.cx.caches.zones.get_mut(place) {
        Some((_, slot @ None)) => *slot = Some(Arc::new(zone)),
        Some((_, Some(_))) | None => return Err(call.error(format!("duplicate zone \"{name}\""))),
    }
    Ok(())
}

fn parameter(zone: &mut CacheZone, name: &str, value: &str, field: Field<'_>) -> Parsed<()> {
    let wrong = || bad(field, &format!("{name} value"));
    let files = || number(value).and_then(|files| usize::try_from(files).ok()).ok_or_else(wrong);
    let pause = || milliseconds(value).map(Millis).ok_or_else(wrong);
    match name {
        "levels" => zone.levels = levels(value).ok_or_else(|| bad(field, "\"levels\""))?,
        "use_temp_path" => {
            zone.use_temp_path = match value {
                "on" => true,
                "off" => false,
                _ => {
                    let text =
                        format!("invalid use_temp_path value \"{value}\", it must be \"on\" or \"off\"");
                    return Err(field.error(text));
                }
            }
        }
        "keys_zone" => {
            let (name, bytes) = value.split_once(':').ok_or_else(|| bad(field, "keys zone size"))?;
            let bytes = size(bytes).ok_or_else(|| bad(field, "keys zone size"))?;
            if bytes < ZONE_BYTES_MIN {
                return Err(field.error(format!("zone \"{name}\" is too small")));
            }
            zone.name = name.into();
            zone.bytes = usize::try_from(bytes).map_err(|_| bad(field, "keys zone size"))?;
        }
        "inactive" => {
            zone.inactive = Millis::from_secs(seconds(value).ok_or_else(wrong)?);
        }
        "max_size" => zone.bytes_max = Some(offset(value).ok_or_else(wrong)?),
        "min_free" => zone.free_bytes_min = offset(value).ok_or_else(wrong)?,
        "manager_files" => zone.manager.files = files()?,
        "manager_sleep" => zone.manager.sleep = pause()?,
        "loader_files" => zone.loader.files = files()?,
        "loader_sleep" => zone.loader.sleep = pause()?,
        "manager_threshold" | "loader_threshold" => {
            pause()?;
        }
        _ => return Err(bad(field, "parameter")),
    }
    Ok(())
}

fn bad(field: Field<'_>, what: &str) -> Box<Diagnostic> {
    field.error(format!("invalid {what} \"{}\"", field.arg.text()))
}

/// `1:2`: up to three levels of one or two digits.
fn levels(text: &str) -> Option<[u8; 3]> {
    let mut levels = [0; 3];
    let mut places = levels.iter_mut();
    for level in text.split(':') {
        *places.next()? = match level {
            "1" => 1,
            "2" => 2,
            _ => return None,
        };
    }
    Some(levels)
}
