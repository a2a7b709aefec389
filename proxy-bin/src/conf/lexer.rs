//! Words, exactly as nginx cuts them (`ngx_conf_read_token` in its `ngx_conf_file.c`).
//!
//! The rules that surprise people, each of which nginx has and so have we:
//! - `#`, `"`, `'`, `{`, `}` and `;` are special only where a word starts; inside a word only white space, `;` and
//!   `{` end it, so `a#b`, `a"b` and `80}` are plain words.
//! - `{` right after `$` belongs to the word (`${name}`), in quotes or not.
//! - A backslash protects the next byte. `\"`, `\'`, `\\` lose the backslash and `\t`, `\r`, `\n` become the control
//!   character; before any other byte the backslash stays, which is what regular expressions need.
//! - After a closing quote only white space, `;`, `{` or `)` may follow.
//!
//! The lexer never stops: after an error it goes on behind the offending byte, so that one run finds all mistakes.

use super::span::{FileId, Span};
use super::tree::Arg;

/// A parameter may be this long at most, as in nginx (its read buffer).
pub const PARAMETER_BYTES_MAX: usize = 4096;

/// One lexical element.
#[derive(Debug, PartialEq, Eq)]
pub enum Token {
    /// A name or an argument.
    Word(Arg),
    /// `;`
    End(Span),
    /// `{`
    Open(Span),
    /// `}`
    Close(Span),
    /// Something that nginx refuses; lexing goes on behind it.
    Error(Error),
}

/// A lexical mistake.
#[derive(Debug, PartialEq, Eq)]
pub struct Error {
    /// Where.
    pub span: Span,
    /// What.
    pub kind: ErrorKind,
}

/// The kinds of lexical mistakes.
#[derive(Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A byte that cannot stand right behind a closing quote.
    AfterQuote(u8),
    /// The file ended inside a quoted word that started with this quote.
    OpenQuote(u8),
    /// A word longer than [`PARAMETER_BYTES_MAX`]; the quote it began with, if any.
    TooLong(Option<u8>),
}

/// Cuts one file into tokens.
#[derive(Debug)]
pub struct Lexer<'a> {
    bytes: &'a [u8],
    file: FileId,
    at: usize,
    /// Set behind a closing quote, where a separator must follow.
    need_space: bool,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of `bytes`; a UTF-8 byte order mark there is skipped.
    pub fn new(file: FileId, bytes: &'a [u8]) -> Self {
        let at = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Self { bytes, file, at, need_space: false }
    }

    /// The place behind the last byte.
    pub fn end(&self) -> Span {
        Span::new(self.file, self.bytes.len()..self.bytes.len())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn span(&self, start: usize) -> Span {
        Span::new(self.file, start..self.at)
    }

    fn skip_space_and_comments(&mut self) -> bool {
        let before = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'#' if !self.need_space || self.at > before => self.skip_line(),
                _ => break,
            }
        }
        self.at > before
    }

    fn skip_line(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }

    /// A word in quotes; `at` is on the opening quote.
    fn quoted(&mut self, quote: u8) -> Token {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None => {
                    let kind = ErrorKind::OpenQuote(quote);
                    return Token::Error(Error { span: Span::new(self.file, start..start + 1), kind });
                }
                Some(b'\\') => self.at = (self.at + 2).min(self.bytes.len()),
                Some(byte) => {
                    self.at += 1;
                    if byte == quote {
                        break;
                    }
                }
            }
        }
        self.need_space = true;
        self.word(start, start + 1..self.at - 1, Some(quote))
    }

    /// A word without quotes; `at` is on its first byte.
    fn plain(&mut self) -> Token {
        let start = self.at;
        let mut after_dollar = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'\\' => {
                    self.at = (self.at + 2).min(self.bytes.len());
                    after_dollar = false;
                    continue;
                }
                b'{' if after_dollar => {}
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' if self.at > start => break,
                _ => after_dollar = byte == b'$',
            }
            self.at += 1;
        }
        self.word(start, start..self.at, None)
    }

    fn word(&mut self, start: usize, inner: std::ops::Range<usize>, quote: Option<u8>) -> Token {
        let span = self.span(start);
        if inner.len() >= PARAMETER_BYTES_MAX {
            return Token::Error(Error { span, kind: ErrorKind::TooLong(quote) });
        }
        let bytes = unescape(self.bytes.get(inner).unwrap_or_default());
        Token::Word(Arg { bytes, span, quoted: quote.is_some() })
    }

    fn after_quote(&mut self, byte: u8) -> Option<Token> {
        self.need_space = false;
        if matches!(byte, b';' | b'{' | b')') {
            return None;
        }
        let start = self.at;
        self.skip_junk();
        Some(Token::Error(Error { span: self.span(start), kind: ErrorKind::AfterQuote(byte) }))
    }

    /// The rest of the word that is glued to a closing quote.
    fn skip_junk(&mut self) {
        while !matches!(self.peek(), None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{')) {
            self.at += 1;
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        if self.skip_space_and_comments() {
            self.need_space = false;
        }
        let byte = self.peek()?;
        if self.need_space
            && let Some(error) = self.after_quote(byte)
        {
            return Some(error);
        }
        let start = self.at;
        Some(match byte {
            b';' | b'{' | b'}' => {
                self.at += 1;
                let span = self.span(start);
                match byte {
                    b';' => Token::End(span),
                    b'{' => Token::Open(span),
                    _ => Token::Close(span),
                }
            }
            b'"' | b'\'' => self.quoted(byte),
            _ => self.plain(),
        })
    }
}

fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        rest = match rest {
            [] => return out,
            [b'\\', byte @ (b'"' | b'\'' | b'\\'), tail @ ..] => {
                out.push(*byte);
                tail
            }
            [b'\\', b't', tail @ ..] => {
                out.push(b'\t');
                tail
            }
            [b'\\', b'r', tail @ ..] => {
                out.push(b'\r');
                tail
            }
            [b'\\', b'n', tail @ ..] => {
                out.push(b'\n');
                tail
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::span::Sources;

    fn lex(text: &str) -> String {
        let file = Sources::default().add_command_line(text);
        let show = |token: Token| match token {
            Token::Word(word) => format!("<{}>", String::from_utf8_lossy(&word.bytes)),
            Token::End(_) => ";".into(),
            Token::Open(_) => "{".into(),
            Token::Close(_) => "}".into(),
            Token::Error(error) => format!("!{:?}@{}", error.kind, error.span.start),
        };
        Lexer::new(file, text.as_bytes()).map(show).collect()
    }

    #[test]
    fn words_are_cut_as_nginx_cuts_them() {
        let table: &[(&str, &str)] = &[
            ("a b;", "<a><b>;"),
            ("a  b # c\n;# d", "<a><b>;"),
            ("a#b c'd' e}f }", "<a#b><c'd'><e}f>}"),
            (r#"a "b c" 'd "e"';"#, r#"<a><b c><d "e">;"#),
            (r#"a "\"\'\\\t\n\r\.\d";"#, "<a><\"'\\\t\n\r\\.\\d>;"),
            (r"a \;b\ c \.php$;", r"<a><\;b\ c><\.php$>;"),
            ("a $b{ c ${d}e; $f}", "<a><$b>{<c><${d}e>;<$f}>"),
            ("a ${{b};", "<a><${{b}>;"),
            (r#"a "b"{"c";}"#, r#"<a><b>{<c>;}"#),
            ("if ($a = 'b') {}", "<if><($a><=><b><)>{}"),
            (r#"a "b"c;"#, "<a><b>!AfterQuote(99)@5;"),
            (r#"a "b"#, "<a>!OpenQuote(34)@2"),
            ("\u{feff}a\r\n b;\r\n", "<a><b>;"),
            ("a{b c}d;", "<a>{<b><c}d>;"),
            ("", ""),
            ("a \\", "<a><\\>"),
        ];
        for (input, expected) in table {
            assert_eq!(lex(input), *expected, "{input:?}");
        }
        assert_eq!(lex(&format!("a {};", "b".repeat(4096))), "<a>!TooLong(None)@2;");
        assert_eq!(lex(&format!("a {};", "b".repeat(4095))).len(), 3 + 4097 + 1);
    }
}
