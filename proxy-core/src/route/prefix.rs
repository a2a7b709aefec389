//! A compact radix tree over locations that are found by their text.
//!
//! A search walks down the URI once: what it costs grows with the URI and with the branching on its way, not with the
//! number of locations.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// What a text stands for: an index into its owner's list, for each of the two ways to be found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    /// `= /text`
    pub(super) exact: Option<u32>,
    /// `/text` or `^~ /text`
    pub(super) prefix: Option<u32>,
}

/// The tree.
#[derive(Debug, Default)]
pub(super) struct PrefixTree {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// What this node adds to its parent's text.
    label: Box<[u8]>,
    ends: Ends,
    /// Sorted by their label's first byte, of which no two have the same.
    children: Vec<Self>,
}

/// What a search found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walk {
    /// The text that is all of the URI.
    pub(super) whole: Ends,
    /// The longest prefix.
    pub(super) longest: Option<u32>,
    /// The text that is the URI and one slash more.
    pub(super) with_slash: Ends,
}

impl PrefixTree {
    /// The place of `text` in the tree, made if it is new.
    pub(super) fn entry(&mut self, text: &[u8]) -> &mut Ends {
        self.root.entry(text)
    }

    /// `shorter` is told of each prefix that a longer one replaces.
    pub(super) fn walk(&self, uri: &[u8], mut shorter: impl FnMut(u32)) -> Walk {
        let mut walk = Walk::default();
        let mut node = &self.root;
        let mut rest = uri;
        loop {
            if let Some(longer) = node.ends.prefix
                && let Some(replaced) = walk.longest.replace(longer)
            {
                shorter(replaced);
            }
            let Some(first) = rest.first() else {
                walk.whole = node.ends;
                walk.with_slash = node
                    .child(b'/')
                    .filter(|child| *child.label == *b"/")
                    .map_or(Ends::default(), |child| child.ends);
                return walk;
            };
            let Some(child) = node.child(*first) else { return walk };
            let Some(behind) = rest.strip_prefix(&*child.label) else {
                let is_slash = child.label.strip_prefix(rest).is_some_and(|missing| missing == b"/");
                walk.with_slash = if is_slash { child.ends } else { Ends::default() };
                return walk;
            };
            (node, rest) = (child, behind);
        }
    }
}

impl Node {
    fn child(&self, first: u8) -> Option<&Self> {
        self.children.get(self.place(first).ok()?)
    }

    fn place(&self, first: u8) -> Result<usize, usize> {
        self.children.binary_search_by_key(&Some(&first), |child| child.label.first())
    }

    fn entry(&mut self, text: &[u8]) -> &mut Ends {
        let Some(first) = text.first() else { return &mut self.ends };
        let at = self.place(*first).unwrap_or_else(|at| {
            self.children.insert(at, Self { label: text.into(), ..Self::default() });
            at
        });
        let Some(child) = self.children.get_mut(at) else { return &mut self.ends };
        let common = child.label.iter().zip(text).take_while(|(a, b)| a == b).count();
        child.split(common);
        child.entry(text.get(common..).unwrap_or_default())
    }

    /// Cuts the label after `at` bytes; what is behind becomes an only child.
    fn split(&mut self, at: usize) {
        let Some((head, tail)) = self.label.split_at_checked(at).filter(|(_, tail)| !tail.is_empty()) else {
            return;
        };
        let (head, tail) = (Box::from(head), Box::from(tail));
        let below = Self { label: tail, ends: self.ends, children: core::mem::take(&mut self.children) };
        *self = Self { label: head, ends: Ends::default(), children: Vec::from([below]) };
    }
}
