//! Several files become one tree: the main file, `-g` in front of it, and everything that is included.
//!
//! `include` is resolved here, on the bare tree, in every context (nginx does it inside `types`, `map` and `geo` too).
//! A relative name starts at the directory of the *main* file. A name with `*`, `?` or `[` is a pattern: sorted, and
//! without a match it includes nothing; a plain name must exist. What nginx leaves to the kernel's limits has bounds
//! here: depth, number of inclusions, number of directives, and a cycle is an error.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Severity};
use super::parser::{BLOCK_DEPTH_MAX, TextKind, parse};
use super::span::{FileId, Sources};
use super::tree::Directive;

/// Files may include files this deep at most.
pub const INCLUDE_DEPTH_MAX: usize = 32;
/// So many inclusions are followed at most, each match of a pattern being one.
pub const INCLUSIONS_MAX: usize = 100_000;
/// All inclusions together may give so many directives at most.
pub const DIRECTIVES_MAX: usize = 4_000_000;

/// Where configuration files come from: the disk, or a table in a test.
pub trait Files {
    /// The bytes of a file.
    ///
    /// # Errors
    /// As the operating system says; [`io::Error::raw_os_error`] is shown to the user as nginx shows it.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The paths that match a pattern, sorted.
    ///
    /// # Errors
    /// A message if the pattern itself is malformed.
    fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>, String>;
}

/// The real file system.
#[derive(Debug, Default)]
pub struct Disk;

/// As glob(3) with nginx's flags: a leading dot and a slash must be written.
const GLOB_OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let matches = glob::glob_with(pattern, GLOB_OPTIONS).map_err(|error| error.to_string())?;
        let mut paths = Vec::new();
        for path in matches {
            paths.push(path.map_err(|error| error.to_string())?);
        }
        paths.sort();
        Ok(paths)
    }
}

/// A table of files in memory.
#[derive(Debug, Default)]
pub struct Memory {
    /// Path and content of each file.
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let found = self.files.iter().find(|(name, _)| name == path);
        found.map(|(_, bytes)| bytes.clone()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let pattern = glob::Pattern::new(pattern).map_err(|error| error.to_string())?;
        let names = self.files.iter().map(|(name, _)| name);
        let mut paths: Vec<_> =
            names.filter(|name| pattern.matches_path_with(name, GLOB_OPTIONS)).cloned().collect();
        paths.sort();
        Ok(paths)
    }
}

/// What a load gives: always a tree, and what is wrong with it.
#[derive(Debug)]
pub struct Loaded {
    /// Every file that was read.
    pub sources: Sources,
    /// The directives with all includes replaced by what they include.
    pub tree: Vec<Directive>,
    /// Syntax and file errors.
    pub diagnostics: Vec<Diagnostic>,
}

/// Loads `main` (an absolute path) and all that it includes; `globals` is the value of `-g` and comes first.
pub fn load(files: &dyn Files, main: &Path, globals: Option<&str>) -> Loaded {
    let mut loader = Loader::new(files, main);
    let mut tree = Vec::new();
    if let Some(text) = globals {
        let id = loader.sources.add_command_line(text);
        let items = loader.parse(id, TextKind::CommandLine);
        tree.extend(loader.expand(items));
    }
    match files.read(main) {
        Ok(bytes) => {
            let id = loader.sources.add_file(main.to_path_buf(), bytes);
            loader.stack.push(id);
            let items = loader.parse(id, TextKind::File);
            tree.extend(loader.expand(items));
        }
        Err(error) => {
            let message = open_failed(main, &error);
            loader.diagnostics.push(Diagnostic::new(Severity::Emerg, None, message));
        }
    }
    Loaded { sources: loader.sources, tree, diagnostics: loader.diagnostics }
}

/// nginx's words for a file that cannot be opened: `open() "PATH" failed (2: No such file or directory)`.
pub fn open_failed(path: &Path, error: &io::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" (os error").next().unwrap_or(&text);
    match error.raw_os_error() {
        Some(code) => format!("open() \"{}\" failed ({code}: {reason})", path.display()),
        None => format!("open() \"{}\" failed ({reason})", path.display()),
    }
}

struct Loader<'a> {
    files: &'a dyn Files,
    /// The directory of the main file.
    base: PathBuf,
    sources: Sources,
    diagnostics: Vec<Diagnostic>,
    /// The trees of files that were parsed before, so that a file included twice reports its mistakes once.
    parsed: HashMap<FileId, Vec<Directive>>,
    /// The files that include one another at this moment.
    stack: Vec<FileId>,
    inclusions: usize,
    directives: usize,
    /// Blocks that are open at this moment, over all files.
    depth: usize,
}

impl<'a> Loader<'a> {
    fn new(files: &'a dyn Files, main: &Path) -> Self {
        let base = main.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        Self {
            files,
            base,
            sources: Sources::default(),
            diagnostics: Vec::new(),
            parsed: HashMap::new(),
            stack: Vec::new(),
            inclusions: 0,
            directives: 0,
            depth: 0,
        }
    }

    fn parse(&mut self, id: FileId, kind: TextKind) -> Vec<Directive> {
        if let Some(items) = self.parsed.get(&id) {
            return items.clone();
        }
        let bytes = self.sources.file(id).map(|file| file.bytes()).unwrap_or_default();
        let (items, diagnostics) = parse(id, bytes, kind);
        self.diagnostics.extend(diagnostics);
        self.parsed.insert(id, items.clone());
        items
    }

    /// Replaces each `include` in the tree.
    fn expand(&mut self, items: Vec<Directive>) -> Vec<Directive> {
        let mut out = Vec::with_capacity(items.len());
        for mut item in items {
            if item.name.is("include") && item.block.is_none() && item.args.len() == 1 {
                out.extend(self.include(&item));
                continue;
            }
            self.directives += 1;
            if let Some(block) = &mut item.block {
                // The parser bounds one file; included files may go on from there.
                if self.depth >= BLOCK_DEPTH_MAX {
                    let message = format!("blocks are nested deeper than {BLOCK_DEPTH_MAX} levels");
                    self.diagnostics.push(Diagnostic::emerg(item.span, message));
                    continue;
                }
                self.depth += 1;
                block.items = self.expand(std::mem::take(&mut block.items));
                self.depth -= 1;
            }
            out.push(item);
        }
        out
    }

    fn include(&mut self, directive: &Directive) -> Vec<Directive> {
        let Some(name) = directive.args.first() else { return Vec::new() };
        let path = self.base.join(&*name.text());
        let pattern = path.to_string_lossy();
        if !pattern.contains(['*', '?', '[']) {
            return self.include_file(directive, &path);
        }
        match self.files.glob(&pattern) {
            Ok(paths) => paths.iter().flat_map(|path| self.include_file(directive, path)).collect(),
            Err(error) => {
                let message = format!("glob() \"{pattern}\" failed ({error})");
                self.error(directive, message);
                Vec::new()
            }
        }
    }

    fn include_file(&mut self, directive: &Directive, path: &Path) -> Vec<Directive> {
        self.inclusions += 1;
        let too_much = self.inclusions > INCLUSIONS_MAX || self.directives > DIRECTIVES_MAX;
        if too_much || self.stack.len() >= INCLUDE_DEPTH_MAX {
            // Said once: a tree of includes that is too large would say it for each of its leaves.
            if self.inclusions <= INCLUSIONS_MAX + 1 {
                self.error(
                    directive,
                    format!("too many or too deeply nested includes at \"{}\"", path.display()),
                );
                self.inclusions = INCLUSIONS_MAX + 1;
            }
            return Vec::new();
        }
        let id = match self.sources.find(path) {
            Some(id) => id,
            None => match self.files.read(path) {
                Ok(bytes) => self.sources.add_file(path.to_path_buf(), bytes),
                Err(error) => {
                    self.error(directive, open_failed(path, &error));
                    return Vec::new();
                }
            },
        };
        if self.stack.contains(&id) {
            self.error(directive, format!("\"{}\" includes itself", path.display()));
            return Vec::new();
        }
        self.stack.push(id);
        let items = self.parse(id, TextKind::File);
        let items = self.expand(items);
        self.stack.pop();
        items
    }

    fn error(&mut self, directive: &Directive, message: String) {
        let span = directive.args.first().map_or(directive.span, |arg| arg.span);
        let mut diagnostic = Diagnostic::emerg(span, message);
        diagnostic.anchor(directive.terminator());
        self.diagnostics.push(diagnostic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::tree::dump;

    fn load_files(files: &[(&str, &str)]) -> (String, Vec<String>) {
        let files =
            files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect();
        let loaded = load(&Memory { files }, Path::new("/c/n.conf"), Some("pid x;"));
        let said = loaded.diagnostics.iter().map(|d| d.headline(&loaded.sources)).collect();
        (dump(&loaded.tree), said)
    }

    #[test]
    fn includes_are_expanded_in_place() {
        let (tree, said) = load_files(&[
            ("/c/n.conf", "include a.conf; http { include d/*.conf; types { include /m; } }"),
            ("/c/a.conf", "user u;"),
            ("/c/d/2.conf", "b;"),
            ("/c/d/1.conf", "a;"),
            ("/c/d/.h.conf", "no;"),
            ("/m", "text/html html;"),
        ]);
        assert_eq!(
            tree,
            "pid \"x\"\nuser \"u\"\nhttp {\n  a\n  b\n  types {\n    text/html \"html\"\n  }\n}\n"
        );
        assert!(said.is_empty(), "{said:?}");
    }

    #[test]
    fn missing_files_cycles_and_floods_end() {
        let (_, said) = load_files(&[]);
        assert_eq!(said, ["open() \"/c/n.conf\" failed (2: No such file or directory)"]);
        let (_, said) = load_files(&[("/c/n.conf", "include a;\n\ninclude /x/y*;")]);
        assert_eq!(said, ["open() \"/c/a\" failed (2: No such file or directory) in /c/n.conf:1"]);
        let (_, said) = load_files(&[("/c/n.conf", "include a;"), ("/c/a", "\ninclude n.conf;")]);
        assert_eq!(said, ["\"/c/n.conf\" includes itself in /c/a:2"]);
        let deep = format!("{}include a;{}", "x {".repeat(60), "}".repeat(60));
        let inner = format!("{}{}", "y {".repeat(60), "}".repeat(60));
        let (_, said) = load_files(&[("/c/n.conf", &deep), ("/c/a", &inner)]);
        assert_eq!(said, ["blocks are nested deeper than 100 levels in /c/a:1"]);
        let flood: Vec<_> = (0..20)
            .map(|n| (format!("/c/{n}"), format!("include {0}; include {0}; include {0};", n + 1)))
            .collect();
        let mut files = vec![("/c/n.conf", "include 0;"), ("/c/20", "x;")];
        files.extend(flood.iter().map(|(path, text)| (path.as_str(), text.as_str())));
        assert_eq!(load_files(&files).1.len(), 1);
    }
}
