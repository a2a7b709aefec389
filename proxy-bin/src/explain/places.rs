//! Which line of the configuration says so: from the core's origins back to the tree of directives.

use proxy_core::config::{Config, LocationId, Origin, ServerId};

use crate::conf::scope::{self, Scope};
use crate::conf::span::{Sources, Span};
use crate::conf::tree::Directive;

/// A directive in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The directive's own text, without its block.
    pub directive: String,
}

/// A configuration's text, for looking things up.
pub struct Places<'a> {
    sources: &'a Sources,
    tree: &'a [Directive],
    config: &'a Config,
}

impl<'a> Places<'a> {
    pub(super) fn new(sources: &'a Sources, tree: &'a [Directive], config: &'a Config) -> Self {
        Self { sources, tree, config }
    }

    /// Where a directive stands.
    pub(super) fn of(&self, item: &Directive) -> Place {
        let position = self.sources.start(item.span);
        Place {
            file: self.file(item.span),
            line: position.line,
            column: position.column,
            directive: self.text(item),
        }
    }

    fn file(&self, span: Span) -> String {
        let path = self.sources.file(span.file).and_then(|file| file.path());
        path.map_or_else(|| "command line".to_owned(), |path| path.to_string_lossy().into_owned())
    }

    /// A directive's own text on one line.
    fn text(&self, item: &Directive) -> String {
        let bytes = self.sources.file(item.span.file).map(|file| file.bytes()).unwrap_or_default();
        let range = item.span.start as usize..item.span.end as usize;
        let text = String::from_utf8_lossy(bytes.get(range).unwrap_or_default()).into_owned();
        let words: Vec<&str> = text.trim_end_matches([';', '{']).split_whitespace().collect();
        words.join(" ")
    }

    fn is_at(&self, item: &Directive, origin: &Origin) -> bool {
        item.span.start == origin.offset && self.file(item.span) == *origin.file
    }

    /// The directive that the core names.
    pub(super) fn at(&self, origin: &Origin) -> Option<Place> {
        fn find<'t>(items: &'t [Directive], wanted: &dyn Fn(&Directive) -> bool) -> Option<&'t Directive> {
            items
                .iter()
                .find_map(|item| if wanted(item) { Some(item) } else { find(item.children(), wanted) })
        }
        find(self.tree, &|item| self.is_at(item, origin)).map(|item| self.of(item))
    }

    /// What holds at a location, a server's own level or an `if` block.
    pub(super) fn scope(&self, server: ServerId, location: LocationId) -> Option<Scope<'a>> {
        let location = &self.config.location(location)?.origin;
        let server = &self.config.server(server)?.origin;
        let mut found = None;
        scope::walk(self.tree, &mut |scope| {
            let here = scope.opener().is_some_and(|opener| self.is_at(opener, location));
            let inside = scope.server().is_some_and(|outer| self.is_at(outer, server));
            if found.is_none() && here && inside {
                found = Some(scope.clone());
            }
        });
        found
    }

    /// The directives of one name directly in `http`.
    pub(super) fn in_http(&self, name: &'static str) -> impl Iterator<Item = &'a Directive> + use<'a> {
        let blocks = self.tree.iter().filter(|item| item.name.is("http"));
        blocks.flat_map(Directive::children).filter(move |item| item.name.is(name))
    }

    /// A location as it is written: `~* \.php$`, `if ($x)`, or a name for the server's own level.
    pub(super) fn label(&self, id: LocationId) -> String {
        let Some(location) = self.config.location(id) else { return String::new() };
        match self.at(&location.origin) {
            Some(place) if place.directive.starts_with("location") => {
                place.directive.trim_start_matches("location").trim_start().to_owned()
            }
            Some(place) if place.directive == "server" => "the server's own level".to_owned(),
            Some(place) => place.directive,
            None => String::from_utf8_lossy(&location.pattern).into_owned(),
        }
    }

    pub(super) fn location(&self, id: LocationId) -> Option<Place> {
        self.at(&self.config.location(id)?.origin)
    }
}
