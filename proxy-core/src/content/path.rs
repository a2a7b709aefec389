//! From a URI to a path: `root`, `alias`, and the wall around them.
//!
//! Nothing outside the directory that the configuration names is ever opened, whatever a URI was rewritten to: a path
//! in which `..` would be followed, or that only shares a prefix with the directory's name, maps to nothing.

use alloc::vec::Vec;

use crate::command::Level;
use crate::config::{Piece, Root, Template};
use crate::exchange::Exchange;
use crate::exchange::context::{Context, Generation};

/// A URI's path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mapped {
    /// The whole path.
    pub(crate) path: Vec<u8>,
    /// How much of it is the directory's name.
    pub(crate) root_bytes: usize,
    /// How much of it the configuration says literally: `..` is followed there.
    trusted_bytes: usize,
}

/// What stands for the location's part of the URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alias {
    /// `root`: the whole URI is appended.
    None,
    /// `alias`: the URI without its first so many bytes is.
    Prefix(usize),
    /// `alias` in a regex location: it is the path already.
    Whole,
}

impl Exchange {
    /// How the present location maps URIs.
    pub(crate) fn alias(&self, generation: &Generation) -> Alias {
        match self.core(generation).map(|core| &core.root) {
            None | Some(Root::Root(_)) => Alias::None,
            Some(Root::Alias { replaces: None, .. }) => Alias::Whole,
            Some(Root::Alias { replaces: Some(bytes), .. }) => Alias::Prefix(*bytes),
        }
    }

    /// The directory of the present location. None where a rewritten URI has nothing to do with the alias any more.
    pub(crate) fn map_root(&self, generation: &Generation, ctx: &mut Context) -> Option<Mapped> {
        let core = self.core(generation)?;
        if matches!(core.root, Root::Alias { .. }) && !self.facts.valid_location {
            let name = generation.config.location(self.facts.found).map(|found| &*found.pattern);
            let name = name.unwrap_or_default().escape_ascii();
            let text =
                alloc::format!("\"alias\" cannot be used in location \"{name}\" where URI was rewritten");
            self.log_error(Level::Alert, &text, ctx);
            return None;
        }
        let (Root::Root(template) | Root::Alias { path: template, .. }) = &core.root;
        let mut path = self.evaluate(template, generation, ctx);
        let literal = template.as_literal().is_some();
        if literal && matches!(core.root, Root::Root(_)) && path.last() == Some(&b'/') {
            path.pop();
        }
        let root_bytes = path.len();
        Some(Mapped { path, root_bytes, trusted_bytes: literal_bytes(template).min(root_bytes) })
    }

    /// The path of the present URI.
    pub(crate) fn map_uri(&self, generation: &Generation, ctx: &mut Context) -> Option<Mapped> {
        let mut mapped = self.map_root(generation, ctx)?;
        let skipped = match self.alias(generation) {
            Alias::None => 0,
            Alias::Prefix(bytes) => bytes,
            Alias::Whole if self.add_uri_to_alias => 0,
            Alias::Whole => return Some(mapped),
        };
        mapped.path.extend_from_slice(self.facts.uri.get(skipped..).unwrap_or_default());
        Some(mapped)
    }

    /// Lets a path through that lies below its directory.
    pub(crate) fn guarded(&self, mapped: &Mapped, ctx: &mut Context) -> bool {
        let inside = mapped.is_inside();
        if !inside {
            let path = super::files::shown(&mapped.path);
            self.log_error(Level::Error, &alloc::format!("\"{path}\" lies outside its directory"), ctx);
        }
        inside
    }
}

impl Mapped {
    /// A path that the configuration computes as a whole.
    pub(crate) fn of_template(template: &Template, path: Vec<u8>) -> Self {
        let trusted_bytes = literal_bytes(template).min(path.len());
        Self { path, root_bytes: 0, trusted_bytes }
    }

    /// Whether the path lies below its directory. The directory itself and a file that `alias` names do.
    pub(crate) fn is_inside(&self) -> bool {
        let path = self.path.as_slice();
        let Some((root, rest)) = path.split_at_checked(self.root_bytes) else { return false };
        let joined = rest.is_empty() || rest.starts_with(b"/") || root.ends_with(b"/");
        // The segment that the trusted part ends in the middle of counts: `/y/` and `../z` make `/y/../z`.
        let trusted = path.get(..self.trusted_bytes).unwrap_or_default();
        let whole = path.get(trusted.len()..).is_none_or(|rest| rest.is_empty() || rest.starts_with(b"/"));
        let last = memchr::memrchr(b'/', trusted).map_or(0, |slash| slash + 1);
        let start = if whole { trusted.len() } else { last };
        let mut segments = path.get(start..).unwrap_or_default().split(|byte| *byte == b'/');
        joined
            && path.first() == Some(&b'/')
            && memchr::memchr(0, path).is_none()
            && segments.all(|segment| segment != b"..")
    }
}

/// How many bytes of its text come before a template's first variable.
fn literal_bytes(template: &Template) -> usize {
    match template.pieces().first() {
        Some(Piece::Literal(text)) => text.len(),
        Some(Piece::Variable(_)) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_directory_is_mapped() {
        for (root, rest, inside) in [
            ("/srv/www", "/a/b.html", true),
            ("/srv/../www", "/a", true),
            ("/srv/www", "", true),
            ("/srv/www/", "a", true),
            ("/srv/www/", "../etc/passwd", false),
            ("/srv/www/", "a/../../etc", false),
            ("/srv/www", "..", false),
            ("/srv/www", "x", false),
            ("/srv/www", "/a/..", false),
            ("/srv/www", "/..a/a..", true),
            ("/srv/www", "/a\0b", false),
            ("relative", "/a", false),
            ("", "/a", true),
        ] {
            let path = [root.as_bytes(), rest.as_bytes()].concat();
            let mapped = Mapped { path, root_bytes: root.len(), trusted_bytes: root.len() };
            assert_eq!(mapped.is_inside(), inside, "{root} {rest:?}");
        }
        let path = b"/srv/../etc".to_vec();
        let by_variable = Mapped { root_bytes: path.len(), path, trusted_bytes: 5 };
        assert!(!by_variable.is_inside());
    }
}
