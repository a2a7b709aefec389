//! The file that a URI stands for: `root` and `alias`.

use alloc::vec::Vec;

use super::{Env, always};
use crate::config::Root;
use crate::exchange::Facts;
use crate::exchange::facts::Nested;

impl Facts {
    /// `$document_root`: what `root` or `alias` says.
    ///
    /// `$realpath_root` is the same: the core does not see the disk, and so cannot resolve links.
    pub(super) fn write_root(&self, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        let Some(location) = env.config.location(self.location) else { return false };
        let (Root::Root(template) | Root::Alias { path: template, .. }) = &location.core.root;
        self.nest(Nested::Root, || template.write(self, env, out))
    }

    /// `$request_filename`: the root with the URI behind it. `alias` takes the place of what the location matched; in
    /// a regex location it is the whole path.
    pub(super) fn write_path(&self, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        let Some(location) = env.config.location(self.location) else { return false };
        if !self.write_root(env, out) {
            return false;
        }
        let rest = match location.core.root {
            Root::Root(_) => self.uri.as_slice(),
            Root::Alias { replaces: None, .. } => &[],
            Root::Alias { replaces: Some(bytes), .. } => self.uri.get(bytes..).unwrap_or_default(),
        };
        always(rest, out)
    }
}
