//! What holds at a place: the block itself, and what it inherits from the blocks around it.

use std::borrow::Cow;

use super::tree::Directive;

/// The blocks that rules look at.
const PLACES: [&str; 6] = ["http", "server", "location", "if", "limit_except", "upstream"];

/// A block with those around it.
#[derive(Clone)]
pub struct Scope<'a> {
    /// From the file's own level to the innermost block.
    levels: Vec<&'a [Directive]>,
    /// The directives that open them, the file's own level left out.
    openers: Vec<&'a Directive>,
    /// The directive that opens the block; none for the file itself.
    opener: Option<&'a Directive>,
    /// The server around it.
    server: Option<&'a Directive>,
}

/// Shows every block to `look`.
pub fn walk<'a>(tree: &'a [Directive], look: &mut dyn FnMut(&Scope<'a>)) {
    visit(&Scope { levels: vec![tree], openers: Vec::new(), opener: None, server: None }, look);
}

fn visit<'a>(scope: &Scope<'a>, look: &mut dyn FnMut(&Scope<'a>)) {
    look(scope);
    for item in scope.own_items() {
        let Some(block) = &item.block else { continue };
        if PLACES.iter().any(|place| item.name.is(place)) {
            let mut levels = scope.levels.clone();
            levels.push(&block.items);
            let mut openers = scope.openers.clone();
            openers.push(item);
            let server = if item.name.is("server") { Some(item) } else { scope.server };
            visit(&Scope { levels, openers, opener: Some(item), server }, look);
        }
    }
}

impl<'a> Scope<'a> {
    /// The directives of the block itself.
    pub fn own_items(&self) -> &'a [Directive] {
        self.levels.last().copied().unwrap_or_default()
    }

    /// Those of one name in the block itself.
    pub fn own(&self, name: &'static str) -> impl Iterator<Item = &'a Directive> + use<'a> {
        self.own_items().iter().filter(move |item| item.name.is(name))
    }

    /// Those of one name that hold here: of the innermost level that has any, as nginx inherits lists.
    pub fn in_force(&self, name: &'static str) -> Vec<&'a Directive> {
        let of = |level: &&'a [Directive]| -> Vec<&'a Directive> {
            level.iter().filter(|item| item.name.is(name)).collect()
        };
        self.levels.iter().rev().map(of).find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// As [`in_force`](Self::in_force), of several names that are inherited together.
    pub fn in_force_of(&self, names: &[&'static str]) -> Vec<&'a Directive> {
        let of = |level: &&'a [Directive]| -> Vec<&'a Directive> {
            level.iter().filter(|item| names.iter().any(|name| item.name.is(name))).collect()
        };
        self.levels.iter().rev().map(of).find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// Those of one name that stand in the location, or in the `if` and `limit_except` blocks between it and here.
    pub fn in_location(&self, name: &'static str) -> Vec<&'a Directive> {
        let outermost = self.levels.len().saturating_sub(self.depth_below_location());
        let inner = self.levels.get(outermost..).unwrap_or_default();
        let of = |level: &&'a [Directive]| -> Vec<&'a Directive> {
            level.iter().filter(|item| item.name.is(name)).collect()
        };
        inner.iter().rev().map(of).find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// How many levels the location and what is inside of it take up.
    fn depth_below_location(&self) -> usize {
        self.openers.iter().rev().position(|opener| opener.name.is("location")).map_or(0, |at| at + 1)
    }

    /// Those of one name that the block's own ones replace.
    pub fn replaced(&self, name: &'static str) -> Vec<&'a Directive> {
        let outer = self.levels.split_last().map(|(_, outer)| outer.to_vec()).unwrap_or_default();
        Self { levels: outer, openers: Vec::new(), opener: None, server: None }.in_force(name)
    }

    /// The last one of this name that holds here.
    pub fn value(&self, name: &'static str) -> Option<&'a Directive> {
        self.in_force(name).last().copied()
    }

    /// The server around it, or the server itself.
    pub fn server(&self) -> Option<&'a Directive> {
        self.server
    }

    /// The directive that opens the block.
    pub fn opener(&self) -> Option<&'a Directive> {
        self.opener
    }

    /// Whether this is a block of that kind.
    pub fn is(&self, kind: &str) -> bool {
        self.opener.is_some_and(|opener| opener.name.is(kind))
    }

    /// The location's path, if this is a location that is chosen by the beginning of the URI.
    pub fn prefix(&self) -> Option<Cow<'a, str>> {
        self.opener.filter(|_| self.is("location")).and_then(prefix_of)
    }

    /// The locations of the server around, nested ones included.
    pub fn locations(&self) -> Vec<&'a Directive> {
        let mut found = Vec::new();
        let mut open: Vec<&'a [Directive]> = self.server.map(Directive::children).into_iter().collect();
        while let Some(items) = open.pop() {
            for item in items.iter().filter(|item| item.name.is("location")) {
                found.push(item);
                open.push(item.children());
            }
        }
        found
    }
}

/// The path of a location without a modifier, or with `^~`.
pub fn prefix_of(location: &Directive) -> Option<Cow<'_, str>> {
    let path = match location.args.as_slice() {
        [path] => path,
        [modifier, path] if modifier.is("^~") => path,
        _ => return None,
    };
    Some(path.text()).filter(|path| path.starts_with('/'))
}

/// The first argument.
pub fn first(item: &Directive) -> Cow<'_, str> {
    item.args.first().map(super::tree::Arg::text).unwrap_or_default()
}

/// The second argument.
pub fn second(item: &Directive) -> Cow<'_, str> {
    item.args.get(1).map(super::tree::Arg::text).unwrap_or_default()
}

/// Whether the first argument is this header name.
pub fn names(item: &Directive, header: &str) -> bool {
    first(item).eq_ignore_ascii_case(header)
}
