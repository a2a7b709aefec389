//! From PCRE's syntax to that of our engines, where the same characters mean something else or nothing.
//!
//! | PCRE | here |
//! | --- | --- |
//! | `$` and `\Z`: also before a newline at the very end | `(?:\n?\z)` |
//! | `{` that begins no quantifier, `[`, `&`, `~` and doubled `-` in a class: ordinary | escaped |
//! | `(?'name'…)`, `(?#comment)`, `\Q…\E` | the plain form |
//! | `\h`, `\H`, `\R`, `\N`, `\e`, `\<`, `\>` | what they stand for |
//! | `a++`, `a*+`, `a?+`, `a{2}+`: possessive | marked, for the backtracking engine |
//! | `(*UTF8)`, `(*UTF)`, `(*UCP)` in front | marked: characters, not bytes |
//!
//! What is in neither language (recursion, callouts, `(?|…)`) is left as it is, for the compiler to refuse.

use alloc::string::String;

/// `$` without `(?m)`.
const END: &str = r"(?:\n?\z)";

/// A pattern in the engines' syntax.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) pattern: String,
    /// It has a possessive quantifier, which the linear engine would read as another.
    pub(super) backtracks: bool,
    /// It matches characters, not bytes.
    pub(super) unicode: bool,
}

pub(super) fn translate(pattern: &str) -> Translated {
    let mut rest = pattern;
    let mut unicode = false;
    while let Some(behind) = ["(*UTF8)", "(*UTF)", "(*UCP)"].iter().find_map(|verb| rest.strip_prefix(verb)) {
        rest = behind;
        unicode = true;
    }
    let mut translator = Translator { rest, out: String::new(), backtracks: false };
    translator.run(is_multi_line(rest));
    Translated { pattern: translator.out, backtracks: translator.backtracks, unicode }
}

/// Whether `(?m)` or the like is set somewhere: `$` then means the end of a line.
fn is_multi_line(pattern: &str) -> bool {
    pattern.split("(?").skip(1).any(|flags| {
        let flags = flags
            .find(|c: char| !c.is_ascii_lowercase())
            .map_or(flags, |end| flags.get(..end).unwrap_or_default());
        flags.contains('m')
    })
}

struct Translator<'a> {
    rest: &'a str,
    out: String,
    backtracks: bool,
}

impl<'a> Translator<'a> {
    fn run(&mut self, multi_line: bool) {
        while let Some(c) = self.rest.chars().next() {
            if self.eat("(?#") {
                self.take_until(")");
            } else if self.eat("(?'") {
                let name = self.take_until("'");
                self.out.push_str("(?P<");
                self.out.push_str(name);
                self.out.push('>');
            } else if self.eat("(?") {
                self.out.push_str("(?");
            } else if self.eat(r"\Q") {
                self.quote();
            } else if self.eat("\\") {
                self.escape();
            } else if self.eat("[") {
                self.class();
            } else if c == '{' {
                self.brace();
            } else {
                self.eat_char(c);
                match c {
                    '$' if !multi_line => self.out.push_str(END),
                    '*' | '+' | '?' => {
                        self.out.push(c);
                        self.quantifier_suffix();
                    }
                    _ => self.out.push(c),
                }
            }
        }
    }

    fn eat(&mut self, text: &str) -> bool {
        self.rest.strip_prefix(text).map(|rest| self.rest = rest).is_some()
    }

    fn eat_char(&mut self, c: char) {
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.eat_char(c);
        Some(c)
    }

    /// Up to `end`, which is eaten too; or all that is left.
    fn take_until(&mut self, end: &str) -> &'a str {
        let (taken, rest) = self.rest.split_once(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn literal(&mut self, c: char) {
        if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    fn quote(&mut self) {
        for c in self.take_until(r"\E").chars() {
            self.literal(c);
        }
    }

    /// Behind a backslash, outside a class.
    fn escape(&mut self) {
        match self.next() {
            Some('h') => self.out.push_str(r"[\t ]"),
            Some('H') => self.out.push_str(r"[^\t ]"),
            Some('N') => self.out.push_str(r"[^\n]"),
            Some('R') => self.out.push_str(r"(?:\r\n|[\n\x0b\f\r\x85])"),
            Some('Z') => self.out.push_str(END),
            Some('e') => self.out.push_str(r"\x1b"),
            // A lone end of a quotation means nothing.
            Some('E') => {}
            Some(c) => self.escaped(c),
            None => self.out.push('\\'),
        }
    }

    fn escaped(&mut self, c: char) {
        if matches!(c, '<' | '>') || !c.is_ascii() {
            return self.out.push(c);
        }
        self.out.push('\\');
        self.out.push(c);
        // `\x{2f}`, `\p{L}`, `\g{1}`, `\k{name}`: this brace is no quantifier.
        if matches!(c, 'x' | 'p' | 'P' | 'g' | 'k') && self.rest.starts_with('{') {
            let inside = self.take_until("}");
            self.out.push_str(inside);
            self.out.push('}');
        }
    }

    /// `{2}`, `{2,}`, `{2,3}`; any other brace is itself.
    fn brace(&mut self) {
        let inside = self.rest.get(1..).and_then(|rest| rest.split_once('}')).map(|(inside, _)| inside);
        let is_quantifier = inside.is_some_and(|inside| {
            let (min, max) = inside.split_once(',').unwrap_or((inside, ""));
            !min.is_empty() && min.bytes().chain(max.bytes()).all(|digit| digit.is_ascii_digit())
        });
        if is_quantifier {
            let quantifier = self.take_until("}");
            self.out.push_str(quantifier);
            self.out.push('}');
            self.quantifier_suffix();
        } else {
            self.eat_char('{');
            self.out.push_str(r"\{");
        }
    }

    fn quantifier_suffix(&mut self) {
        if self.eat("+") {
            self.out.push('+');
            self.backtracks = true;
        } else if self.eat("?") {
            self.out.push('?');
        }
    }

    /// Behind the bracket that opens a class.
    fn class(&mut self) {
        self.out.push('[');
        if self.eat("^") {
            self.out.push('^');
        }
        if self.eat("]") {
            self.out.push_str(r"\]");
        }
        // A dash here is itself, and not a range: in front, behind another one that means a range, behind `\w`.
        let mut dash_is_literal = true;
        while let Some(c) = self.next() {
            let was_literal = core::mem::replace(&mut dash_is_literal, false);
            match c {
                ']' => {
                    self.out.push(']');
                    return;
                }
                '[' if self.rest.starts_with(':') && self.rest.contains(":]") => {
                    let name = self.take_until(":]");
                    self.out.push('[');
                    self.out.push_str(name);
                    self.out.push_str(":]");
                    dash_is_literal = true;
                }
                '-' if was_literal => self.out.push_str(r"\-"),
                '-' => {
                    self.out.push('-');
                    dash_is_literal = true;
                }
                '[' | '&' | '~' => self.literal(c),
                '\\' => dash_is_literal = self.class_escape(),
                _ => self.out.push(c),
            }
        }
    }

    /// Behind a backslash inside a class; whether it stood for more than one character.
    fn class_escape(&mut self) -> bool {
        match self.next() {
            Some('h') => self.out.push_str(r"\t "),
            Some('e') => self.out.push_str(r"\x1b"),
            Some('b') => self.out.push_str(r"\x08"),
            Some(c) => {
                self.escaped(c);
                return matches!(c, 'd' | 'D' | 's' | 'S' | 'w' | 'W');
            }
            None => self.out.push('\\'),
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_translated() {
        let table = [
            (r"^/a/(.*)$", r"^/a/(.*)(?:\n?\z)"),
            (r"a\Z", r"a(?:\n?\z)"),
            (r"(?m)a$", r"(?m)a$"),
            (r"^/{id}/a{2}/b{2,}?/c{,3}", r"^/\{id}/a{2}/b{2,}?/c\{,3}"),
            (r"\/a\-b\_c\.d", r"\/a\-b\_c\.d"),
            (r"\<a\>", "<a>"),
            (r"(?'x'a)(?<y>b)(?P<z>c)", r"(?P<x>a)(?<y>b)(?P<z>c)"),
            (r"a(?#b)c\Qa.b\Ed", r"aca\.bd"),
            (r"[[a&&b~~c]", r"[\[a\&\&b\~\~c]"),
            (r"[]a]", r"[\]a]"),
            (r"[--/][+--][\w-.][a-z-9]", r"[\--/][+-\-][\w\-.][a-z-9]"),
            (r"[[:alpha:]_\h$]", r"[[:alpha:]_\t $]"),
            (r"\x{2f}\h", r"\x{2f}[\t ]"),
        ];
        for (pattern, expected) in table {
            assert_eq!(translate(pattern).pattern, expected, "{pattern}");
        }
        assert!(
            translate("a++").backtracks && translate("a{2}+").backtracks && !translate("a+?b+").backtracks
        );
        assert!(translate("(*UTF8)a").unicode);
    }
}
