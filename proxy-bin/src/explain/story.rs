//! What is told: entries in order, each with its place in the configuration, for people and for tools.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::places::Place;

/// One thing that was decided.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What kind of thing: `server`, `location`, `rewrite` …
    pub kind: &'static str,
    /// In words.
    pub text: String,
    /// The directive that is the reason.
    pub place: Option<Place>,
    /// What belongs to it, line by line.
    pub lines: Vec<Line>,
    /// The same for tools.
    pub data: Map<String, Value>,
}

/// A line below an entry.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it says.
    pub text: String,
    /// The directive that is the reason.
    pub place: Option<Place>,
    /// What else is the reason; may be empty.
    pub note: &'static str,
}

/// The whole account.
#[derive(Debug)]
pub struct Story {
    /// In the order in which it happened.
    pub entries: Vec<Entry>,
}

impl Entry {
    pub(super) fn new(kind: &'static str, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), place: None, lines: Vec::new(), data: Map::new() }
    }

    pub(super) fn at(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    pub(super) fn line(self, text: impl Into<String>, place: Option<Place>) -> Self {
        self.noted(text, place, "")
    }

    pub(super) fn noted(mut self, text: impl Into<String>, place: Option<Place>, note: &'static str) -> Self {
        self.lines.push(Line { text: text.into(), place, note });
        self
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }
}

/// How wide the first column is, in characters.
const KIND_WIDTH: usize = 11;
/// Where places begin if the text leaves room, in characters.
const PLACE_COLUMN: usize = 68;

impl Story {
    /// For people; files below `base` are named without it.
    #[must_use]
    pub fn human(&self, base: &Path) -> String {
        let mut out = String::new();
        for entry in &self.entries {
            let text = format!("{:KIND_WIDTH$}{}", entry.kind, entry.text);
            row(&mut out, &text, entry.place.as_ref(), "", base);
            for line in &entry.lines {
                let text = format!("{:KIND_WIDTH$}  {}", "", line.text);
                row(&mut out, &text, line.place.as_ref(), line.note, base);
            }
        }
        out
    }

    /// For tools: `{"entries": […]}`, each with `kind`, `text`, `file`, `line`, `column`, `directive`, `lines` and what
    /// its kind adds.
    #[must_use]
    pub fn json(&self) -> String {
        let entries: Value = self.entries.iter().map(object).collect();
        format!("{:#}\n", json!({ "entries": entries }))
    }
}

/// A line with its place, or another reason, at the right.
fn row(out: &mut String, text: &str, place: Option<&Place>, note: &str, base: &Path) {
    let text = text.trim_end();
    let reason = place.map_or_else(
        || note.to_owned(),
        |place| {
            let file = Path::new(&place.file);
            format!("{}:{}", file.strip_prefix(base).unwrap_or(file).display(), place.line)
        },
    );
    out.push_str(text);
    if !reason.is_empty() {
        out.push_str(&" ".repeat(PLACE_COLUMN.saturating_sub(text.chars().count()).max(2)));
        out.push_str(&reason);
    }
    out.push('\n');
}

fn object(entry: &Entry) -> Value {
    let lines = entry.lines.iter().map(|line| {
        let mut object = Map::from_iter([("text".to_owned(), Value::from(line.text.clone()))]);
        add_place(&mut object, line.place.as_ref());
        if !line.note.is_empty() {
            object.insert("note".to_owned(), line.note.into());
        }
        Value::Object(object)
    });
    let lines: Value = lines.collect();
    let mut object = entry.data.clone();
    object.insert("kind".to_owned(), entry.kind.into());
    object.insert("text".to_owned(), entry.text.clone().into());
    object.insert("lines".to_owned(), lines);
    add_place(&mut object, entry.place.as_ref());
    Value::Object(object)
}

fn add_place(object: &mut Map<String, Value>, place: Option<&Place>) {
    let Some(place) = place else { return };
    object.insert("file".to_owned(), place.file.clone().into());
    object.insert("line".to_owned(), place.line.into());
    object.insert("column".to_owned(), place.column.into());
    object.insert("directive".to_owned(), place.directive.clone().into());
}
