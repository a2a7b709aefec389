//! Variables by name: nginx's own, those of `map`, and those that a request sets.
//!
//! A name may be used before the place that defines it, as in nginx; so a name that is neither nginx's nor a map's gets
//! a slot at once, and at the end every slot must have been defined by a `set` or by a named capture.

use std::collections::{HashMap, HashSet};

use proxy_core::config::{GeoId, MapId, SlotId, SplitId, Variable, VariableName};

use crate::conf::diagnostic::{Diagnostic, nearest};
use crate::conf::span::Span;
use crate::conf::tree::Directive;

/// Variables of nginx's modules that ringgate does not have yet.
const NOT_YET: &[&str] = &[
    "ancient_browser",
    "date_gmt",
    "date_local",
    "fastcgi_path_info",
    "fastcgi_script_name",
    "gzip_ratio",
    "http3",
    "memcached_key",
    "modern_browser",
    "msie",
    "quic",
    "slice_range",
    "tcpinfo_rcv_space",
    "tcpinfo_rttvar",
    "tcpinfo_snd_cwnd",
    "uid_got",
    "uid_reset",
    "uid_set",
    "upstream_last_server_name",
];

/// nginx's variables that people write most, for suggestions.
const COMMON: &[&str] = &[
    "args",
    "binary_remote_addr",
    "body_bytes_sent",
    "bytes_sent",
    "connection",
    "content_length",
    "content_type",
    "document_root",
    "document_uri",
    "host",
    "hostname",
    "http_host",
    "http_origin",
    "http_referer",
    "http_upgrade",
    "http_user_agent",
    "http_x_forwarded_for",
    "https",
    "is_args",
    "msec",
    "proxy_add_x_forwarded_for",
    "proxy_host",
    "proxy_port",
    "query_string",
    "remote_addr",
    "remote_port",
    "remote_user",
    "request",
    "request_body",
    "request_filename",
    "request_id",
    "request_length",
    "request_method",
    "request_time",
    "request_uri",
    "scheme",
    "server_addr",
    "server_name",
    "server_port",
    "server_protocol",
    "status",
    "time_iso8601",
    "time_local",
    "upstream_addr",
    "upstream_cache_etag",
    "upstream_cache_key",
    "upstream_cache_last_modified",
    "upstream_cache_status",
    "upstream_connect_time",
    "upstream_header_time",
    "upstream_response_length",
    "upstream_response_time",
    "upstream_status",
    "uri",
];

/// Names that begin like this belong to modules that ringgate does not have yet.
const NOT_YET_PREFIXES: &[&str] = &["geoip_", "jwt_", "acme_"];

#[derive(Debug)]
struct Slot {
    name: Box<str>,
    defined: bool,
    /// By `set`.
    set: bool,
    first_use: Option<Span>,
}

/// The variables of one configuration.
#[derive(Debug, Default)]
pub struct Variables {
    maps: HashMap<String, MapId>,
    geos: HashMap<String, GeoId>,
    splits: HashMap<String, SplitId>,
    slots: Vec<Slot>,
    by_name: HashMap<String, SlotId>,
    /// Names that an unsupported directive would have defined: no second error about them.
    muted: HashSet<String>,
    /// A `$connections_…` variable is asked for.
    pub reads_counters: bool,
}

impl Variables {
    /// Learns what the `http` blocks will define, before anything is compiled.
    pub fn declare(&mut self, http: &Directive) {
        let mut maps = 0;
        for directive in http.children() {
            let name = directive.name.text();
            let last =
                directive.args.last().and_then(|arg| arg.strip("$")).map(|name| name.to_ascii_lowercase());
            match (&*name, last) {
                ("map", Some(variable)) if directive.args.len() == 2 => {
                    self.maps.entry(variable).or_insert_with(|| {
                        maps += 1;
                        MapId(maps - 1)
                    });
                }
                ("geo", Some(variable)) => {
                    let next = GeoId(u32::try_from(self.geos.len()).unwrap_or(u32::MAX));
                    self.geos.entry(variable).or_insert(next);
                }
                ("split_clients", Some(variable)) => {
                    let next = SplitId(u32::try_from(self.splits.len()).unwrap_or(u32::MAX));
                    self.splits.entry(variable).or_insert(next);
                }
                _ => {}
            }
        }
        self.mute_sets(http);
    }

    /// `auth_request_set`, `perl_set` and `json_set` define variables, too.
    fn mute_sets(&mut self, directive: &Directive) {
        for child in directive.children() {
            let sets = ["auth_request_set", "perl_set", "json_set"];
            if sets.iter().any(|name| child.name.is(name))
                && let Some(name) = child.args.first().and_then(|arg| arg.strip("$"))
            {
                self.muted.insert(name.to_ascii_lowercase());
            }
            self.mute_sets(child);
        }
    }

    /// The number that a `map` of this name has.
    pub fn map(&self, name: &str) -> Option<MapId> {
        self.maps.get(&name.to_ascii_lowercase()).copied()
    }

    /// The number that a `geo` of this name has.
    pub fn geo(&self, name: &str) -> Option<GeoId> {
        self.geos.get(&name.to_ascii_lowercase()).copied()
    }

    /// The number that a `split_clients` of this name has.
    pub fn split(&self, name: &str) -> Option<SplitId> {
        self.splits.get(&name.to_ascii_lowercase()).copied()
    }

    /// What `$name` stands for.
    pub fn resolve(&mut self, name: &str, span: Option<Span>) -> Variable {
        let name = name.to_ascii_lowercase();
        if let Some(map) = self.maps.get(&name) {
            return Variable::Map(*map);
        }
        if let Some(geo) = self.geos.get(&name) {
            return Variable::Geo(*geo);
        }
        if let Some(split) = self.splits.get(&name) {
            return Variable::Split(*split);
        }
        if let VariableName::Known(variable) = Variable::lookup(&name) {
            self.reads_counters |= name.starts_with("connections_");
            return variable;
        }
        let id = self.slot(&name);
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            slot.first_use = slot.first_use.or(span);
        }
        Variable::Slot(id)
    }

    fn slot(&mut self, name: &str) -> SlotId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = SlotId(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.slots.push(Slot { name: name.into(), defined: false, set: false, first_use: None });
        self.by_name.insert(name.into(), id);
        id
    }

    /// A `set` or a named capture defines `name`; `None` if nginx has a variable of that name that cannot be set.
    pub fn define(&mut self, name: &str) -> Option<SlotId> {
        let name = name.to_ascii_lowercase();
        if matches!(Variable::lookup(&name), VariableName::Known(_)) || self.is_block(&name) {
            return None;
        }
        let id = self.slot(&name);
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            slot.defined = true;
        }
        Some(id)
    }

    /// As [`define`](Self::define), by `set`.
    pub fn define_by_set(&mut self, name: &str) -> Option<SlotId> {
        let id = self.define(name)?;
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            slot.set = true;
        }
        Some(id)
    }

    /// Which slots `set` gives values.
    pub fn set_slots(&self) -> Vec<bool> {
        self.slots.iter().map(|slot| slot.set).collect()
    }

    /// Whether a block of its own makes this variable.
    fn is_block(&self, name: &str) -> bool {
        self.maps.contains_key(name) || self.geos.contains_key(name) || self.splits.contains_key(name)
    }

    /// The slots' names, and an error for each variable that nothing defines.
    pub fn finish(self, diagnostics: &mut Vec<Diagnostic>) -> Vec<Box<str>> {
        let unknown = self.slots.iter().filter(|slot| !slot.defined && !self.muted.contains(&*slot.name));
        for slot in unknown {
            let Some(span) = slot.first_use else { continue };
            let diagnostic =
                diagnostics.push_mut(Diagnostic::emerg(span, format!("unknown \"{}\" variable", slot.name)));
            let defined = self.slots.iter().filter(|slot| slot.defined).map(|slot| &*slot.name);
            let own = defined.chain(self.maps.keys().map(String::as_str)).chain(COMMON.iter().copied());
            if NOT_YET.contains(&&*slot.name) || NOT_YET_PREFIXES.iter().any(|p| slot.name.starts_with(p)) {
                diagnostic.help("nginx has this variable, but ringgate does not support it yet");
            } else if let Some(suggestion) = nearest(&slot.name, own) {
                diagnostic.help(format!("did you mean \"${suggestion}\"?"));
            }
        }
        self.slots.into_iter().map(|slot| slot.name).collect()
    }
}
