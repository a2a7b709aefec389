//! What all workers know of the upstream groups: who belongs to them, who has failed, who is busy.
//!
//! nginx keeps this in a `zone`; here every group has it. A worker asks for a group's state once ([`Upstreams::adopt`])
//! and then looks at one number for each request, [`GroupState::version`]: as long as it stays the same, neither the
//! members nor anybody's fitness has changed, and nothing shared has to be read to choose a server.
//!
//! ```text
//!  config ──► adopt ─┐
//!  resolver ► replace├─► Members (Arc, swapped as a whole) ─┐
//!  control ─► add, remove, change ──────────────────────────┼─► version + 1 ─► workers look again
//!  health checks ──► set_health ────────────────────────────┤
//!  requests ──► failures, recoveries, full, ejected ────────┘
//! ```
//! - [`members`]: the list of servers, and how it changes.
//! - [`found`]: the part of the list that names stand for.
//! - [`server`]: one server's state.
//! - [`tally`]: what the control API tells of its replies.
//! - [`health`]: what active checks found out, and who does them.
//! - [`budget`]: how many retries a group may have under way.
//!
//! Locks are held for a pointer's copy or for a change of the list; no request takes one.

pub mod budget;
pub mod found;
pub mod health;
pub mod members;
mod ring;
pub mod server;
pub mod tally;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use spin::{Mutex, RwLock};

pub use budget::RetryBudget;
pub use members::{Member, Members, Source};
pub use ring::Ring;
pub use server::{Health, ServerState};

use crate::config::{Upstream, UpstreamName, UpstreamServer};
use crate::time::Instant;

/// All groups of the process that have a name of their own.
#[derive(Debug, Default)]
pub struct Upstreams {
    groups: Mutex<BTreeMap<Arc<str>, Arc<GroupState>>>,
}

impl Upstreams {
    /// The state of a group of a configuration: made now, or the one that it had before. What the configuration says
    /// about the servers is put in force if it is another than last time; servers that stay keep their state.
    pub fn adopt(&self, config: &Upstream, generation: u64, now: Instant) -> Arc<GroupState> {
        let mut groups = self.groups.lock();
        if let Some(group) = groups.get(&config.state_key) {
            let group = Arc::clone(group);
            drop(groups);
            group.adopt(config, generation, now);
            return group;
        }
        let group = Arc::new(GroupState::new(config, generation));
        groups.insert(Arc::clone(&config.state_key), Arc::clone(&group));
        group
    }

    /// The group of this name, if an `upstream` block has it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<GroupState>> {
        self.all().into_iter().find(|group| group.is_explicit() && &*group.name == name)
    }

    /// All groups, by their keys.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<GroupState>> {
        self.groups.lock().values().cloned().collect()
    }

    /// Forgets the groups that `config` does not have. Workers that still use one keep it alive.
    pub fn retain(&self, config: &[Upstream]) {
        self.groups.lock().retain(|key, _| config.iter().any(|upstream| upstream.state_key == *key));
    }
}

/// One group's state.
#[derive(Debug)]
pub struct GroupState {
    /// Its name.
    pub name: Arc<str>,
    explicit: bool,
    /// Counts whatever may change a choice.
    version: AtomicU64,
    members: RwLock<Arc<Members>>,
    /// What the configuration said last, and which configuration that was.
    config: Mutex<Written>,
    next_id: AtomicU64,
    names: Mutex<found::Names>,
    checks: Mutex<health::Checks>,
    /// A new server has a mandatory check to pass.
    must_pass: AtomicBool,
    /// Retries under way.
    pub budget: RetryBudget,
    /// Requests that wait for a server with room, of all workers.
    pub queued: AtomicU32,
    /// Requests that found the queue full.
    pub overflows: AtomicU64,
}

#[derive(Debug)]
struct Written {
    generation: u64,
    servers: Vec<UpstreamServer>,
    names: Vec<Arc<UpstreamName>>,
}

impl GroupState {
    /// The state of a group that nobody else will ask for.
    #[must_use]
    pub fn new(config: &Upstream, generation: u64) -> Self {
        let group = Self {
            name: Arc::from(&*config.name),
            explicit: config.explicit,
            version: AtomicU64::new(1),
            members: RwLock::default(),
            config: Mutex::new(Written {
                generation,
                servers: config.servers.clone(),
                names: config.names.clone(),
            }),
            next_id: AtomicU64::new(0),
            names: Mutex::default(),
            checks: Mutex::default(),
            must_pass: AtomicBool::new(false),
            budget: RetryBudget::default(),
            queued: AtomicU32::new(0),
            overflows: AtomicU64::new(0),
        };
        let servers = config.servers.iter().map(|server| group.member(server.clone(), Source::Config));
        let list = servers.collect();
        group.swap(&mut group.members.write(), list);
        group.adopt_checks(config, false, Instant::default());
        group
    }

    /// Whether an `upstream` block made it.
    #[must_use]
    pub const fn is_explicit(&self) -> bool {
        self.explicit
    }

    /// A number that changes whenever members or their fitness do.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The members as they are now.
    #[must_use]
    pub fn members(&self) -> Arc<Members> {
        Arc::clone(&self.members.read())
    }

    /// Counts everything anew that the control API tells.
    pub fn reset_totals(&self) {
        self.members().servers.iter().for_each(|member| member.state.reset_totals());
        self.overflows.store(0, Ordering::Relaxed);
        self.reset_checks();
    }

    /// Says that somebody's fitness has changed.
    pub fn touch(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Puts what a configuration says in force: what control API and resolver did stays as long as the `server` lines do.
    fn adopt(&self, config: &Upstream, generation: u64, now: Instant) {
        let mut written = self.config.lock();
        // A worker that is late with an older configuration changes nothing.
        if generation < written.generation {
            return;
        }
        let renewed = generation > written.generation;
        written.generation = generation;
        if written.names != config.names {
            written.names.clone_from(&config.names);
            self.adopt_names(config, now);
        }
        if written.servers != config.servers {
            written.servers.clone_from(&config.servers);
            self.adopt_servers(config, now);
        }
        if renewed {
            self.adopt_checks(config, true, now);
        }
    }

    fn adopt_servers(&self, config: &Upstream, now: Instant) {
        self.update(now, |old| {
            let found = old.servers.iter().filter(|member| member.source == Source::Found);
            let kept = found.cloned().collect::<Vec<_>>();
            let mut rest = old.servers.to_vec();
            let new = config.servers.iter().map(|server| self.take(&mut rest, server, Source::Config));
            let mut new = new.collect::<Vec<_>>();
            new.extend(kept);
            Some(new)
        });
    }
}
