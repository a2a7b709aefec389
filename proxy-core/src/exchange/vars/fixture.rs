//! For tests: an exchange made from the text of a request, and templates made from text.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::Env;
use crate::buf::Chunk;
use crate::command::{Address, ListenerId, Peer};
use crate::config::{
    Config, Content, CoreSettings, Location, LocationId, LocationKind, Map, MapId, MapValue, Piece, Proxy,
    Root, Server, SlotId, Template, Variable, VariableName,
};
use crate::exchange::{ConnFacts, Facts, Try};
use crate::h1::{HeadLimits, Parsed, parse_request};
use crate::http::framing::request_framing;
use crate::http::{RequestHead, Status};
use crate::route::{Regex, normalise};
use crate::shared::Shared;
use crate::time::{Instant, Now};

/// The variables of the request's own, by their slots.
const SLOTS: [&str; 2] = ["grp", "myset"];

/// The places in the configuration's locations.
pub(crate) const ROOT: LocationId = LocationId(0);
pub(crate) const ALIAS: LocationId = LocationId(1);
pub(crate) const REGEX_ALIAS: LocationId = LocationId(2);
pub(crate) const PROXY: LocationId = LocationId(3);

/// An exchange with its surroundings.
pub(crate) struct Fixture {
    pub(crate) config: Config,
    shared: Shared,
    now: Now,
    pub(crate) facts: Facts,
}

impl Fixture {
    /// What an exchange knows once its head is understood, or refused.
    pub(crate) fn new(request: &str) -> Self {
        let peer = Peer {
            client: Address::Ip(([192, 0, 2, 7], 4711).into()),
            local: Address::Ip(([127, 0, 0, 1], 8080).into()),
        };
        let accepted = Instant::from_micros(1_000_000);
        let client_text = b"192.0.2.7".as_slice().into();
        let conn = ConnFacts {
            peer,
            client_text,
            number: 42,
            listener: ListenerId(0),
            accepted,
            tls_port: false,
            proxy: None,
            replaced: None,
            tls: None,
        };
        let mut facts = Facts::blank(Rc::new(conn));
        facts.started = Instant::from_micros(2_500_000);
        facts.conn_requests = 3;
        facts.request_id = 0x0123_4567_89ab_cdef_0000_0000_0000_00ff;
        facts.request_length = request.len() as u64;
        read_request(&mut facts, request);
        let now =
            Now { instant: Instant::from_micros(4_042_999), unix_ms: 1_795_236_300_007, utc_offset_s: 3600 };
        Self { config: config(), shared: Shared::new().with_pid(77), now, facts }
    }

    /// What evaluation may look at.
    pub(crate) fn env(&self) -> Env<'_> {
        Env { config: &self.config, shared: &self.shared, now: self.now, trace: None }
    }

    /// What `template` says.
    pub(crate) fn text(&self, template: &str) -> String {
        let mut out = Vec::new();
        self.template(template).write(&self.facts, &self.env(), &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Whether a variable has a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.facts.value(&self.variable(name), &self.env(), &mut Vec::new())
    }

    /// Compiles `text $name ${name}text`.
    pub(crate) fn template(&self, text: &str) -> Template {
        let mut parts = text.split('$');
        let literal = |text: &str| Piece::Literal(text.as_bytes().into());
        let mut pieces = vec![literal(parts.next().unwrap_or_default())];
        for part in parts {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
            pieces.push(Piece::Variable(self.variable(&part[..end])));
            pieces.push(literal(&part[end..]));
        }
        Template::new(pieces)
    }

    fn variable(&self, name: &str) -> Variable {
        let place = |found: Option<usize>| found.map(|place| u32::try_from(place).unwrap());
        match Variable::lookup(name) {
            VariableName::Known(variable) => variable,
            VariableName::Custom => {
                let map = place(self.config.maps.iter().position(|map| &*map.name == name));
                let slot = || place(SLOTS.iter().position(|slot| *slot == name));
                map.map(|map| Variable::Map(MapId(map)))
                    .or_else(|| slot().map(|slot| Variable::Slot(SlotId(slot))))
                    .unwrap_or_else(|| panic!("no variable ${name}"))
            }
        }
    }

    /// Adds a map: lines of `key value`, as in a configuration.
    pub(crate) fn add_map(&mut self, name: &str, source: &str, lines: &str) {
        let mut map = Map {
            name: name.into(),
            source: self.template(source),
            exact: hashbrown::HashMap::new(),
            suffixes: Vec::new(),
            prefixes: Vec::new(),
            hostnames: false,
            regexes: Vec::new(),
            default: MapValue::default(),
            volatile: false,
        };
        for line in lines.lines() {
            let (key, value) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            let bytes = |text: &str| -> Box<[u8]> { text.as_bytes().into() };
            let value = MapValue { value: self.template(value), ..MapValue::default() };
            match key {
                "hostnames" => map.hostnames = true,
                "volatile" => map.volatile = true,
                "default" => map.default = value,
                key if key.starts_with('~') => {
                    let regex = Regex::new(&key[1..], false).unwrap().bind(slot);
                    map.regexes.push((regex, value));
                }
                key if key.starts_with("*.") => map.suffixes.push((bytes(&key[1..]), value)),
                key if key.ends_with(".*") => map.prefixes.push((bytes(&key[..key.len() - 1]), value)),
                key => {
                    map.exact.insert(bytes(key), value);
                }
            }
        }
        self.config.maps.push(map);
    }

    /// A try at a server, as it is after its end.
    pub(crate) fn add_try(
        &mut self,
        address: Result<Address, &str>,
        status: u16,
        times_us: [Option<u64>; 3],
    ) {
        let [connect_us, header_us, response_us] = times_us;
        self.facts.tries.push(Try {
            name: address.as_ref().err().copied().unwrap_or_default().into(),
            address: address.ok(),
            status: Some(Status(status)),
            started: self.facts.started,
            queued_us: None,
            connect_us,
            header_us,
            response_us,
            bytes_sent: 100,
            bytes_received: 200,
            response_length: 50,
            last_of_group: false,
        });
    }
}

/// The slot of a named group.
pub(crate) fn slot(name: &str) -> Option<SlotId> {
    SLOTS.iter().position(|slot| *slot == name).map(|place| SlotId(u32::try_from(place).unwrap()))
}

fn read_request(facts: &mut Facts, request: &str) {
    let bytes = Chunk::from_vec(request.as_bytes().to_vec());
    let limits = HeadLimits {
        line_bytes_max: 8192,
        field_bytes_max: 8192,
        total_bytes_max: 32_768,
        fields_max: 100,
        ignore_invalid_headers: true,
        underscores: true,
    };
    let Ok(Parsed::Complete { head, .. }) = parse_request(&bytes, &mut Vec::new(), &limits) else {
        let len = u32::try_from(request.find('\r').unwrap_or(request.len())).unwrap();
        facts.head =
            RequestHead { bytes, line: crate::http::Span { start: 0, len }, ..RequestHead::default() };
        return;
    };
    facts.set_target(normalise(&head.bytes.slice(head.target.range()), true).unwrap());
    if let Ok(Some(host)) = request_framing(&head).map(|meta| meta.host) {
        facts.host = host.name.clone();
        facts.request_port = host.port;
    }
    facts.head = head;
}

fn config() -> Config {
    let core = |root| Arc::new(CoreSettings { root, ..CoreSettings::default() });
    let location = |kind, pattern: &str, root| Location {
        kind,
        pattern: pattern.as_bytes().into(),
        core: core(root),
        ..Location::default()
    };
    let root = || Root::Root(Template::literal(b"/srv"));
    let rest =
        Template::new([Piece::Literal(b"/files/".as_slice().into()), Piece::Variable(Variable::Capture(1))]);
    let proxy = Proxy {
        url: "http://backend".into(),
        proxy_host: b"backend:81".as_slice().into(),
        proxy_port: b"81".as_slice().into(),
        ..Proxy::default()
    };
    let locations = vec![
        location(LocationKind::Implicit, "", root()),
        location(
            LocationKind::Prefix,
            "/al/",
            Root::Alias { path: Template::literal(b"/files/"), replaces: Some(4) },
        ),
        location(LocationKind::Regex, "^/rx/(.*)$", Root::Alias { path: rest, replaces: None }),
        Location { content: Content::Proxy(Arc::new(proxy)), ..location(LocationKind::Prefix, "/", root()) },
    ];
    let server = Server { name: b"first.example".as_slice().into(), root: ROOT, ..Server::default() };
    let slots = SLOTS.map(Box::from).to_vec();
    // The other one is a regex's capture.
    let set_slots = SLOTS.iter().map(|name| *name == "myset").collect();
    Config {
        servers: vec![server],
        locations,
        slots,
        set_slots,
        hostname: "edge".into(),
        ..Config::default()
    }
}
