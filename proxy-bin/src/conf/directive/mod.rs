//! The directive table: one [`Entry`] for each directive, and the walk that checks a tree against it.
//!
//! An entry says all that there is to say about a directive: its name, where it may stand, how many arguments it
//! takes, whether it opens a block, whether it may be repeated, what it is for, and what it does. Each family of
//! directives is one file with one table; [`known`] holds those that nginx has and ringgate does not. A name may have
//! several entries for different contexts (`server` in `http` and in `upstream`).

mod access;
mod cache;
mod check;
mod files;
mod filter;
mod gateway;
mod grpc;
mod grpc_ssl;
mod headers;
mod health;
mod http2;
mod http_core;
mod known;
mod limits;
mod log;
mod map;
mod mirror;
mod process;
mod proxy;
mod proxy_ssl;
mod resolver;
mod rewrite;
mod shape;
mod tls;
mod upstream;
mod visitor;

use std::collections::HashMap;
use std::sync::LazyLock;

pub use check::{Checked, check};
use proxy_core::config::AccessLog;
pub use shape::{Arity, Contexts};

use super::lower::access::AccessLevel;
use super::lower::context::Call;
use super::lower::core::CoreLevel;
use super::lower::filter::FilterLevel;
use super::lower::gateway::Family;
use super::lower::level::Own;
use super::lower::limits::LimitLevel;
use super::lower::mirror::MirrorLevel;
use super::lower::process::ProcessLevel;
use super::lower::proxy::ProxyLevel;
use super::lower::real_ip::RealIpLevel;
use super::lower::server::ServerLevel;
use super::lower::upstream::UpstreamLevel;
use super::lower::vetting::VettingLevel;
use super::value::Parsed;

/// One directive in the contexts that give it one meaning.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Where it may stand.
    pub contexts: Contexts,
    /// How many arguments it takes.
    pub arity: Arity,
    /// What its block holds, if it opens one.
    pub body: Body,
    /// Whether it may stand more than once in a block.
    pub repeats: bool,
    /// What it is for and its default, in a line.
    pub doc: &'static str,
    /// How far ringgate honours it.
    pub support: Support,
    /// What it does.
    pub effect: Effect,
}

/// What a directive does: it stores its value in the raw settings of its family, for the level at which it stands.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// Nothing: it is accepted, or it is not supported.
    Nothing,
    /// It makes a level or an object of its own; the lowering of the block around it knows it by name.
    Structure,
    /// The top level and `events`.
    Process(Store<ProcessLevel>),
    /// The core and headers modules.
    Core(Store<CoreLevel>),
    /// What changes the bodies of replies.
    Filter(Store<FilterLevel>),
    /// Copies of requests.
    Mirror(Store<MirrorLevel>),
    /// Whole servers.
    Server(Store<ServerLevel>),
    /// What a level does not hand on: content, rewrites, names.
    Own(Store<Own>),
    /// Who may ask.
    Access(Store<AccessLevel>),
    /// Who the client is.
    RealIp(Store<RealIpLevel>),
    /// What judges a request.
    Vetting(Store<VettingLevel>),
    /// Access logs.
    Log(Store<Option<Vec<AccessLog>>>),
    /// The proxy module.
    Proxy(Store<ProxyLevel>),
    /// FastCGI, SCGI or uwsgi.
    Gateway(Family, Store<ProxyLevel>),
    /// The gRPC module, which has the proxy module's settings.
    Grpc(Store<ProxyLevel>),
    /// Limits on requests and connections.
    Limit(Store<LimitLevel>),
    /// A group of servers.
    Upstream(Store<UpstreamLevel>),
    /// Something that all levels share.
    Shared(fn(&mut Call<'_, '_>) -> Parsed<()>),
}

/// Stores a directive's value.
pub type Store<Level> = fn(&mut Level, &mut Call<'_, '_>) -> Parsed<()>;

/// Stores a parsed value, or hands on what is wrong with it.
pub fn store<T>(slot: &mut Option<T>, value: Parsed<T>) -> Parsed<()> {
    *slot = Some(value?);
    Ok(())
}

/// What stands between a directive's braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// It has no block.
    None,
    /// Directives of this context.
    Block(Contexts),
    /// Lines of its own kind, as in `types` and `map`.
    Free,
}

/// How far ringgate honours a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does what it says.
    Works,
    /// Accepted without effect; said once.
    Tunes,
    /// An error: without it the configuration would mean something else.
    Unsupported,
    /// As `Unsupported`, unless it says `off` or 0.
    OffOnly,
}

impl Entry {
    /// A directive without a block that may stand once in a block.
    const fn new(name: &'static str, contexts: Contexts, arity: Arity, doc: &'static str) -> Self {
        Self {
            name,
            contexts,
            arity,
            body: Body::None,
            repeats: false,
            doc,
            support: Support::Works,
            effect: Effect::Nothing,
        }
    }

    /// With a block.
    const fn with_body(self, body: Body) -> Self {
        Self { body, ..self }
    }

    /// It may be repeated.
    const fn repeats(self) -> Self {
        Self { repeats: true, ..self }
    }

    const fn effect(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }

    const fn structure(self) -> Self {
        self.effect(Effect::Structure)
    }

    const fn process(self, store: Store<ProcessLevel>) -> Self {
        self.effect(Effect::Process(store))
    }

    const fn core(self, store: Store<CoreLevel>) -> Self {
        self.effect(Effect::Core(store))
    }

    const fn filter(self, store: Store<FilterLevel>) -> Self {
        self.effect(Effect::Filter(store))
    }

    const fn mirror(self, store: Store<MirrorLevel>) -> Self {
        self.effect(Effect::Mirror(store))
    }

    const fn server(self, store: Store<ServerLevel>) -> Self {
        self.effect(Effect::Server(store))
    }

    const fn own(self, store: Store<Own>) -> Self {
        self.effect(Effect::Own(store))
    }

    const fn access(self, store: Store<AccessLevel>) -> Self {
        self.effect(Effect::Access(store))
    }

    const fn real_ip(self, store: Store<RealIpLevel>) -> Self {
        self.effect(Effect::RealIp(store))
    }

    const fn vetting(self, store: Store<VettingLevel>) -> Self {
        self.effect(Effect::Vetting(store))
    }

    const fn log(self, store: Store<Option<Vec<AccessLog>>>) -> Self {
        self.effect(Effect::Log(store))
    }

    const fn proxy(self, store: Store<ProxyLevel>) -> Self {
        self.effect(Effect::Proxy(store))
    }

    const fn gateway(self, family: Family, store: Store<ProxyLevel>) -> Self {
        self.effect(Effect::Gateway(family, store))
    }

    const fn grpc(self, store: Store<ProxyLevel>) -> Self {
        self.effect(Effect::Grpc(store))
    }

    const fn limit(self, store: Store<LimitLevel>) -> Self {
        self.effect(Effect::Limit(store))
    }

    const fn upstream(self, store: Store<UpstreamLevel>) -> Self {
        self.effect(Effect::Upstream(store))
    }

    const fn shared(self, apply: fn(&mut Call<'_, '_>) -> Parsed<()>) -> Self {
        self.effect(Effect::Shared(apply))
    }
}

/// The tables of what works.
const TABLES: &[&[Entry]] = &[
    process::ENTRIES,
    http_core::ENTRIES,
    http2::ENTRIES,
    files::ENTRIES,
    headers::ENTRIES,
    health::ENTRIES,
    limits::ENTRIES,
    access::ENTRIES,
    filter::ENTRIES,
    mirror::ENTRIES,
    log::ENTRIES,
    map::ENTRIES,
    resolver::ENTRIES,
    rewrite::ENTRIES,
    upstream::ENTRIES,
    visitor::ENTRIES,
    proxy::ENTRIES,
    gateway::FASTCGI,
    gateway::SCGI,
    gateway::UWSGI,
    gateway::ENTRIES,
    grpc::ENTRIES,
    grpc_ssl::ENTRIES,
    cache::ENTRIES,
    proxy_ssl::ENTRIES,
    tls::ENTRIES,
];

static BY_NAME: LazyLock<HashMap<&'static str, Vec<&'static Entry>>> = LazyLock::new(|| {
    let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
    for entry in all() {
        by_name.entry(entry.name).or_default().push(entry);
    }
    by_name
});

/// Every directive, those that work first.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    TABLES.iter().chain(known::TABLES).flat_map(|table| table.iter())
}

/// The entries of this name.
pub fn lookup(name: &str) -> &'static [&'static Entry] {
    BY_NAME.get(name).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_has_two_meanings_in_one_context() {
        for entry in all() {
            let same = lookup(entry.name).iter().filter(|other| other.contexts.intersects(entry.contexts));
            assert_eq!(same.count(), 1, "{}", entry.name);
            assert_eq!(entry.support == Support::Works, !entry.doc.is_empty(), "{}", entry.name);
        }
        assert!(BY_NAME.len() > 630, "{}", BY_NAME.len());
    }
}
