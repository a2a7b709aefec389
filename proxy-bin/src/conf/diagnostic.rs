//! What is wrong, where, and what to do about it.
//!
//! The first line of a rendered diagnostic is nginx's own, `nginx: [emerg] MESSAGE in FILE:LINE`, because scripts and
//! people look for it. Behind it comes what nginx does not say: the column, the source line with the place marked,
//! related places and a suggestion.

use std::fmt::Write as _;

use super::span::{Sources, Span};

/// How bad it is, by nginx's log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Emerg,
    /// It works, but probably not as meant.
    Warn,
    /// Something to know, e.g. a directive without effect here.
    Notice,
}

impl Severity {
    /// nginx's name of the level.
    pub fn name(self) -> &'static str {
        match self {
            Self::Emerg => "emerg",
            Self::Warn => "warn",
            Self::Notice => "notice",
        }
    }
}

/// One finding about the configuration.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// nginx's message, where nginx has one, without the place.
    pub message: String,
    /// The place; `None` where there is no text at all, e.g. a missing main file.
    pub span: Option<Span>,
    /// Related places and why they matter.
    pub labels: Vec<(Span, String)>,
    /// Suggestions.
    pub helps: Vec<String>,
    anchor: Option<Span>,
}

impl Diagnostic {
    /// A finding at `span`.
    pub fn new(severity: Severity, span: Option<Span>, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity, message, span, labels: Vec::new(), helps: Vec::new(), anchor: None }
    }

    /// An error at `span`.
    pub fn emerg(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Emerg, Some(span), message)
    }

    /// A warning at `span`.
    pub fn warn(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warn, Some(span), message)
    }

    /// A notice at `span`.
    pub fn notice(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Notice, Some(span), message)
    }

    /// Sets the place whose line nginx prints, where it is not the line of the span's start: nginx names the line on
    /// which the directive ends.
    pub fn anchor(&mut self, span: Span) -> &mut Self {
        self.anchor = Some(span);
        self
    }

    /// As [`Self::anchor`], with the end of the file.
    pub fn anchor_at_end(&mut self) -> &mut Self {
        self.anchor = self.span.map(|span| Span { start: u32::MAX, end: u32::MAX, ..span });
        self
    }

    /// Adds a related place.
    pub fn label(&mut self, span: Span, text: impl Into<String>) -> &mut Self {
        self.labels.push((span, text.into()));
        self
    }

    /// Adds a suggestion.
    pub fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.helps.push(text.into());
        self
    }

    /// The line that nginx would print, without the level: `MESSAGE in FILE:LINE`.
    pub fn headline(&self, sources: &Sources) -> String {
        let Some(span) = self.anchor.or(self.span) else { return self.message.clone() };
        match sources.file(span.file).and_then(|file| file.path()) {
            Some(path) => format!("{} in {}:{}", self.message, path.display(), sources.line(span)),
            None => format!("{} in command line", self.message),
        }
    }
}

/// Puts diagnostics into the order in which nginx would meet them: by file (in the order of inclusion), by place (what
/// is found at the end of a file stands there), the worst first; last what has no place. What is said
/// of one place several times, because its file is included several times, stays once.
pub fn arrange(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics
        .sort_by_key(|d| (d.span.is_none(), d.anchor.or(d.span).map(|s| (s.file, s.start)), d.severity));
    diagnostics.dedup_by(|a, b| a.span == b.span && a.message == b.message);
}

/// Whether any of them forbids to use the configuration.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|d| d.severity == Severity::Emerg)
}

/// Source lines are cut to this many characters around the place.
const EXCERPT_CHARS_MAX: usize = 160;
/// Of them, this many may stand before the place.
const EXCERPT_CHARS_BEFORE: usize = 60;

/// The whole report; `colours` only where a terminal reads it.
pub fn render(diagnostics: &[Diagnostic], sources: &Sources, colours: bool) -> String {
    let paint = Paint { colours };
    diagnostics.iter().map(|diagnostic| render_one(diagnostic, sources, paint)).collect()
}

fn render_one(diagnostic: &Diagnostic, sources: &Sources, paint: Paint) -> String {
    let level = paint.level(diagnostic.severity);
    let mut out = format!("nginx: {level} {}\n", printable(&diagnostic.headline(sources)));
    if let Some(span) = diagnostic.span {
        excerpt(&mut out, sources, span, '^', "", paint);
    }
    for (span, text) in &diagnostic.labels {
        excerpt(&mut out, sources, *span, '-', text, paint);
    }
    for help in &diagnostic.helps {
        let _ = writeln!(out, "  {} {}", paint.strong("= help:"), printable(help));
    }
    out
}

/// `--> file:line:column`, the line, and the place underlined.
fn excerpt(out: &mut String, sources: &Sources, span: Span, mark: char, label: &str, paint: Paint) {
    let Some(file) = sources.file(span.file) else { return };
    let (start, end) = (sources.start(span), sources.end(span));
    let name = file.path().map_or_else(|| "command line".into(), |path| path.display().to_string());
    let line: Vec<char> = String::from_utf8_lossy(file.line(start.line)).chars().collect();
    let last = if end.line == start.line { end.column - 1 } else { line.len() };
    let first = (start.column - 1).min(line.len());
    let from = if line.len() > EXCERPT_CHARS_MAX { first.saturating_sub(EXCERPT_CHARS_BEFORE) } else { 0 };
    let to = line.len().min(from + EXCERPT_CHARS_MAX);
    let width = start.line.to_string().len();
    let text: String = line.iter().skip(from).take(to - from).map(|c| visible(*c)).collect();
    let pad: String =
        line.iter().skip(from).take(first - from).map(|c| if *c == '\t' { '\t' } else { ' ' }).collect();
    let marks: String = std::iter::repeat_n(mark, last.clamp(first + 1, to.max(first + 1)) - first).collect();
    let _ = writeln!(out, "{:width$}--> {}:{}:{}", "", printable(&name), start.line, start.column);
    let _ = writeln!(out, "{} | {text}", paint.strong(&start.line.to_string()));
    let label = if label.is_empty() { String::new() } else { format!(" {}", printable(label)) };
    let _ = writeln!(out, "{:width$} | {pad}{}{label}", "", paint.strong(&marks));
}

/// Control characters from a file must not reach the terminal.
fn visible(c: char) -> char {
    if c == '\t' || !c.is_control() { c } else { char::REPLACEMENT_CHARACTER }
}

fn printable(text: &str) -> String {
    text.chars().map(visible).collect()
}

#[derive(Clone, Copy)]
struct Paint {
    colours: bool,
}

impl Paint {
    fn level(self, severity: Severity) -> String {
        let code = match severity {
            Severity::Emerg => "31",
            Severity::Warn => "33",
            Severity::Notice => "36",
        };
        let text = format!("[{}]", severity.name());
        if self.colours { format!("\x1b[1;{code}m{text}\x1b[0m") } else { text }
    }

    fn strong(self, text: &str) -> String {
        if self.colours { format!("\x1b[1m{text}\x1b[0m") } else { text.into() }
    }
}

/// The candidate nearest to `word`, if one is near enough to have been meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= allowed)
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_shows_the_place() {
        let mut sources = Sources::default();
        let text = "http {\n\tprox_pass é x;\n}\n";
        let file = sources.add_file("/etc/n.conf".into(), text.as_bytes().to_vec());
        let mut diagnostic = Diagnostic::emerg(Span::new(file, 8..17), "unknown directive \"prox_pass\"");
        diagnostic.help("did you mean \"proxy_pass\"?").label(Span::new(file, 18..20), "this");
        let expected = "nginx: [emerg] unknown directive \"prox_pass\" in /etc/n.conf:2\n \
            --> /etc/n.conf:2:2\n2 | \tprox_pass é x;\n  | \t^^^^^^^^^\n \
            --> /etc/n.conf:2:12\n2 | \tprox_pass é x;\n  | \t          - this\n  = help: did you mean \"proxy_pass\"?\n";
        assert_eq!(render(&[diagnostic], &sources, false), expected);
    }

    #[test]
    fn suggestions_are_near() {
        let names = ["proxy_pass", "listen", "root", "return"];
        assert_eq!(nearest("prox_pass", names), Some("proxy_pass"));
        assert_eq!(nearest("lsiten", names), Some("listen"));
        assert_eq!(nearest("rot", names), Some("root"));
        assert_eq!(nearest("gzip", names), None);
    }
}
