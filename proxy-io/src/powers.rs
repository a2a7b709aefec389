//! What of root's power outlives root: capabilities, which on Linux each thread has for itself.
//!
//! A site's keys are often readable by root alone, its logs lie in a directory of root's, and a reload may add
//! `listen 443`. nginx keeps a master process that stays root for this. Here the main thread, which never touches a
//! peer's bytes, keeps two capabilities that lie idle ([`keep`]) except while it works on a reload and the like
//! ([`with`]). Every other thread gives up all it has when it starts ([`give_up`]) and cannot get it back.

use std::io;

use proxy_core::config::{Config, Content};
use rustix::process::geteuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, set_capabilities, set_keep_capabilities,
};

use crate::errno;

/// What the main thread keeps, where it has it: files of other users, ports below 1024, and what
/// `proxy_bind … transparent` needs, for the workers that it starts.
const KEPT: CapabilitySet =
    CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::NET_BIND_SERVICE).union(CapabilitySet::NET_RAW);

/// Runs `change`, which gives up root, and keeps the capabilities of this module over it, idle.
///
/// # Errors
/// What `change` says, or the system to the capabilities.
pub fn keep(change: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let failed =
        |error| format!("the capabilities could not be kept ({})", errno::text(&io::Error::from(error)));
    let had = capabilities(None).map_err(failed)?;
    set_keep_capabilities(true).map_err(failed)?;
    change()?;
    set_keep_capabilities(false).map_err(failed)?;
    set_capabilities(None, idle(had.permitted & KEPT)).map_err(failed)
}

/// Lays what this thread has to rest until [`with`] needs it: for a process that was started without root but with
/// capabilities.
pub fn rest() {
    if geteuid().is_root() {
        return;
    }
    if let Ok(had) = capabilities(None) {
        let _ = clear_ambient_capability_set();
        let _ = set_capabilities(None, idle(had.permitted & KEPT));
    }
}

const fn idle(permitted: CapabilitySet) -> CapabilitySets {
    CapabilitySets { effective: CapabilitySet::empty(), permitted, inheritable: CapabilitySet::empty() }
}

/// Whether [`with`] opens files whoever owns them.
#[must_use]
pub fn opens_all_files() -> bool {
    capabilities(None).is_ok_and(|sets| sets.permitted.contains(CapabilitySet::DAC_OVERRIDE))
}

/// Does `work` with what this thread has kept.
pub fn with<T>(work: impl FnOnce() -> T) -> T {
    let _awake = Awake::new();
    work()
}

/// While it lives, what was kept is in force.
struct Awake {
    idle: Option<CapabilitySets>,
}

impl Awake {
    fn new() -> Self {
        let idle =
            capabilities(None).ok().filter(|sets| !sets.permitted.is_empty() && sets.effective.is_empty());
        if let Some(sets) = idle {
            // It cannot fail: whatever is permitted may be put in force.
            let _ = set_capabilities(None, CapabilitySets { effective: sets.permitted, ..sets });
        }
        Self { idle }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        if let Some(sets) = self.idle {
            let _ = set_capabilities(None, sets);
        }
    }
}

/// Runs `start`, which starts another program, so that what was kept goes on there.
///
/// # Errors
/// What `start` says, or the system to the capabilities.
pub fn hand_on<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let sets = capabilities(None)?;
    if geteuid().is_root() || sets.permitted.is_empty() {
        return start();
    }
    set_capabilities(None, CapabilitySets { inheritable: sets.permitted, ..sets })?;
    let raised = sets.permitted.iter().try_for_each(|one| configure_capability_in_ambient_set(one, true));
    let started = raised.map_err(io::Error::from).and_then(|()| start());
    let lowered = clear_ambient_capability_set().and_then(|()| set_capabilities(None, sets));
    lowered?;
    started
}

/// Gives up every capability of this thread for good, but for what `proxy_bind … transparent` needs where that is
/// configured. A process that serves as root has said so (`user root`), and keeps what it has.
pub fn give_up(config: Option<&Config>) {
    if geteuid().is_root() {
        return;
    }
    let Ok(had) = capabilities(None) else { return };
    let left = match config {
        Some(config) if binds_transparently(config) => had.permitted & CapabilitySet::NET_RAW,
        Some(_) | None => CapabilitySet::empty(),
    };
    // Both only take away, which is always allowed.
    let _ = clear_ambient_capability_set();
    let _ = set_capabilities(None, CapabilitySets { effective: left, ..idle(left) });
}

fn binds_transparently(config: &Config) -> bool {
    config.locations.iter().any(|location| match &location.content {
        Content::Proxy(proxy) => proxy.bind.as_ref().is_some_and(|bind| bind.transparent),
        Content::Files | Content::StubStatus | Content::Api { .. } | Content::EmptyGif => false,
    })
}
