//! Where in which file: the coordinates that every token, directive and diagnostic carries.
//!
//! A [`Span`] is a file number and a byte range, so it is cheap to copy and survives the tree's transformations.
//! [`Sources`] keeps the exact bytes of every file that was read: it turns a span into a line and a column for
//! messages, and it is what `-T` prints.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The number of a file in [`Sources`], in the order in which the files were first read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

/// A byte range in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The span of `range` in `file`.
    pub fn new(file: FileId, range: Range<usize>) -> Self {
        let clamp = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { file, start: clamp(range.start), end: clamp(range.end) }
    }

    /// From the start of `self` to the end of `last`, which must be in the same file to have an effect.
    pub fn to(self, last: Self) -> Self {
        if last.file == self.file { Self { end: self.end.max(last.end), ..self } } else { self }
    }

    /// The last byte alone, e.g. the `;` of a directive.
    pub fn last_byte(self) -> Self {
        Self { start: self.end.saturating_sub(1).max(self.start), ..self }
    }
}

/// A place for people: line and column count from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// One configuration text.
#[derive(Debug)]
pub struct SourceFile {
    path: Option<PathBuf>,
    bytes: Vec<u8>,
    line_starts: Vec<usize>,
}

impl SourceFile {
    fn new(path: Option<PathBuf>, bytes: Vec<u8>) -> Self {
        let after_newline =
            bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after_newline).collect();
        Self { path, bytes, line_starts }
    }

    /// The path under which the file was read; `None` for the directives of `-g`.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The exact bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of line `line` (from 1) without its line end; empty past the last line.
    pub fn line(&self, line: usize) -> &[u8] {
        let starts = |at: usize| self.line_starts.get(at).copied();
        let Some(start) = line.checked_sub(1).and_then(starts) else { return &[] };
        let end = starts(line).unwrap_or(self.bytes.len());
        let text = self.bytes.get(start..end).unwrap_or_default();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        text.strip_suffix(b"\r").unwrap_or(text)
    }

    fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).max(1)
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.line_of(offset);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let before = self.bytes.get(start..offset.min(self.bytes.len())).unwrap_or_default();
        Position { line, column: 1 + String::from_utf8_lossy(before).chars().count() }
    }
}

/// All configuration texts of one load, in the order in which they were first read.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
    by_path: HashMap<PathBuf, FileId>,
}

impl Sources {
    /// Adds a file that was read from `path`.
    pub fn add_file(&mut self, path: PathBuf, bytes: Vec<u8>) -> FileId {
        let id = self.push(SourceFile::new(Some(path.clone()), bytes));
        self.by_path.insert(path, id);
        id
    }

    /// Adds the text of `-g`.
    pub fn add_command_line(&mut self, text: &str) -> FileId {
        self.push(SourceFile::new(None, text.as_bytes().to_vec()))
    }

    fn push(&mut self, file: SourceFile) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(file);
        id
    }

    /// The file that was read from `path`, if it was.
    pub fn find(&self, path: &Path) -> Option<FileId> {
        self.by_path.get(path).copied()
    }

    /// The directory of the main file: the first that was read.
    pub fn directory(&self) -> Option<&Path> {
        self.files.iter().find_map(SourceFile::path).and_then(Path::parent)
    }

    /// The file with that number.
    pub fn file(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// All files, in the order in which they were first read.
    pub fn files(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter()
    }

    /// Where the span starts.
    pub fn start(&self, span: Span) -> Position {
        self.position(span.file, span.start as usize)
    }

    /// The line in which the span starts. Cheap, where [`start`](Self::start) counts the characters of its line.
    pub fn line(&self, span: Span) -> usize {
        self.file(span.file).map_or(1, |file| file.line_of(span.start as usize))
    }

    /// Where the span ends (the place after its last byte).
    pub fn end(&self, span: Span) -> Position {
        self.position(span.file, span.end as usize)
    }

    fn position(&self, id: FileId, offset: usize) -> Position {
        self.file(id).map_or(Position { line: 1, column: 1 }, |file| file.position(offset))
    }

    /// What `-T` prints: each file once, `# configuration file PATH:`, then its exact bytes and a newline.
    pub fn dump(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for file in &self.files {
            let Some(path) = file.path() else { continue };
            out.extend_from_slice(format!("# configuration file {}:\n", path.display()).as_bytes());
            out.extend_from_slice(&file.bytes);
            out.push(b'\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters() {
        let mut sources = Sources::default();
        let text = "a ü;\r\n\n€x";
        let id = sources.add_file("/x".into(), text.as_bytes().to_vec());
        let at = |needle: &str| {
            let start = text.find(needle).unwrap();
            sources.start(Span::new(id, start..start + needle.len()))
        };
        assert_eq!(at("a"), Position { line: 1, column: 1 });
        assert_eq!(at(";"), Position { line: 1, column: 4 });
        assert_eq!(at("x"), Position { line: 3, column: 2 });
        let file = sources.file(id).unwrap();
        assert_eq!(file.line(1), "a ü;".as_bytes());
        assert_eq!(file.line(2), b"");
        assert_eq!(file.line(3), "€x".as_bytes());
        assert_eq!(file.line(4), b"");
    }
}
