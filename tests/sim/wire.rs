//! A strict, independent HTTP/1.1 reader for both ends: what it does not accept, the worker must not send.
//!
//! It shares no code with the core on purpose. RFC 9112 is read to the letter: CRLF everywhere, tokens as names, one
//! framing field at most, no space around the colon but one behind it where there is a value.

/// A message's start line and fields, names in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, String)>,
}

/// How a message's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// What the bytes said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A head; call [`Reader::body`] next.
    Head(Head),
    Data(Vec<u8>),
    /// The body's end, with its trailers.
    End(Vec<(String, String)>),
}

enum State {
    Head,
    /// A head was given out and nobody has said yet how its body ends.
    Undecided,
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
    /// Behind an upgrade: bytes without meaning.
    Raw,
}

/// Turns bytes into events.
pub(crate) struct Reader {
    bytes: Vec<u8>,
    state: State,
}

type Parsed<T> = Result<T, String>;

impl Reader {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), state: State::Head }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether the next byte would begin a message, and none has come.
    pub(crate) fn is_between_messages(&self) -> bool {
        matches!(self.state, State::Head) && self.bytes.is_empty()
    }

    /// Whether an end of the stream is a proper end here.
    pub(crate) fn may_end(&self) -> bool {
        self.is_between_messages() || matches!(self.state, State::UntilClose | State::Raw)
    }

    /// Bytes that came without having been understood, for messages.
    pub(crate) fn rest(&self) -> String {
        String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(80)]).into_owned()
    }

    /// Says how the body of the head just given out ends.
    pub(crate) fn body(&mut self, framing: Framing) {
        assert!(matches!(self.state, State::Undecided));
        self.state = match framing {
            Framing::Length(n) => State::Length(n),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        };
    }

    /// What follows the head just given out is no HTTP.
    pub(crate) fn tunnel(&mut self) {
        self.state = State::Raw;
    }

    /// The next event; none if more bytes are needed.
    pub(crate) fn next(&mut self) -> Parsed<Option<Event>> {
        loop {
            match self.state {
                State::Undecided => return Err("reader: nobody decided on the framing".to_owned()),
                State::Head => return self.head(),
                State::Length(0) => {
                    self.state = State::Head;
                    return Ok(Some(Event::End(Vec::new())));
                }
                State::Length(left) => {
                    return Ok(self.take(left).map(|data| {
                        self.state = State::Length(left - data.len() as u64);
                        Event::Data(data)
                    }));
                }
                State::ChunkSize => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    let size = chunk_size(&line)?;
                    self.state = if size == 0 { State::Trailers } else { State::ChunkData(size) };
                }
                State::ChunkData(left) => {
                    let Some(data) = self.take(left) else { return Ok(None) };
                    let left = left - data.len() as u64;
                    self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
                    return Ok(Some(Event::Data(data)));
                }
                State::ChunkEnd => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    if !line.is_empty() {
                        return Err(format!("no CRLF behind a chunk but {line:?}"));
                    }
                    self.state = State::ChunkSize;
                }
                State::Trailers => {
                    let Some(lines) = self.block()? else { return Ok(None) };
                    self.state = State::Head;
                    return Ok(Some(Event::End(fields(&lines)?)));
                }
                State::UntilClose | State::Raw => return Ok(self.take(u64::MAX).map(Event::Data)),
            }
        }
    }

    fn head(&mut self) -> Parsed<Option<Event>> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let Some(mut lines) = self.block()? else { return Ok(None) };
        if lines.is_empty() {
            return Err("an empty line where a head was expected".to_owned());
        }
        let line = lines.remove(0);
        self.state = State::Undecided;
        Ok(Some(Event::Head(Head { line, fields: fields(&lines)? })))
    }

    fn take(&mut self, max: u64) -> Option<Vec<u8>> {
        let n = self.bytes.len().min(usize::try_from(max).unwrap_or(usize::MAX));
        (n > 0).then(|| self.bytes.drain(..n).collect())
    }

    /// The next line without its CRLF.
    fn line(&mut self) -> Parsed<Option<String>> {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line: Vec<u8> = self.bytes.drain(..=end).collect();
        text(&line).map(Some)
    }

    /// All lines up to an empty one; nothing is taken before that one is there.
    fn block(&mut self) -> Parsed<Option<Vec<String>>> {
        let mut lines = Vec::new();
        let mut at = 0;
        while let Some(len) = self.bytes[at..].iter().position(|byte| *byte == b'\n') {
            let line = text(&self.bytes[at..=at + len])?;
            at += len + 1;
            if line.is_empty() {
                self.bytes.drain(..at);
                return Ok(Some(lines));
            }
            lines.push(line);
        }
        if self.bytes.len() > 64 * 1024 { Err("a head of 64 KiB".to_owned()) } else { Ok(None) }
    }
}

/// The text of a line that ends in CRLF and holds no other control byte.
fn text(line: &[u8]) -> Parsed<String> {
    let shown = || String::from_utf8_lossy(line).into_owned();
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| format!("a line without CRLF: {:?}", shown()))?;
    if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(format!("a control byte in {:?}", shown()));
    }
    String::from_utf8(line.to_vec()).map_err(|_| format!("not UTF-8: {:?}", shown()))
}

fn chunk_size(line: &str) -> Parsed<u64> {
    let plain = !line.is_empty() && line.len() <= 8 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    let size = plain.then(|| u64::from_str_radix(line, 16).ok()).flatten();
    size.ok_or_else(|| format!("no chunk size: {line:?}"))
}

fn fields(lines: &[String]) -> Parsed<Vec<(String, String)>> {
    let token = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let field = |line: &String| {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("no colon in {line:?}"))?;
        if !token(name) {
            return Err(format!("no token before the colon in {line:?}"));
        }
        Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
    };
    lines.iter().map(field).collect()
}

impl Head {
    /// Every value of this field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a field that stands there at most once.
    pub(crate) fn one(&self, name: &str) -> Parsed<Option<&str>> {
        match self.all(name)[..] {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            _ => Err(format!("{name} stands there twice")),
        }
    }

    /// Whether a list field holds this word.
    pub(crate) fn has_word(&self, name: &str, word: &str) -> bool {
        self.all(name).iter().flat_map(|value| value.split(',')).any(|w| w.trim().eq_ignore_ascii_case(word))
    }

    /// The framing that the fields ask for, if they ask for one (RFC 9112, section 6.3).
    fn declared(&self) -> Parsed<Option<Framing>> {
        let length = self.one("content-length")?;
        match (self.one("transfer-encoding")?, length) {
            (Some(_), Some(_)) => Err("Content-Length and Transfer-Encoding together".to_owned()),
            (Some("chunked"), None) => Ok(Some(Framing::Chunked)),
            (Some(other), None) => Err(format!("Transfer-Encoding {other:?}")),
            (None, Some(digits)) => {
                let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                let length = plain.then(|| digits.parse().ok()).flatten();
                length.map(|n| Some(Framing::Length(n))).ok_or_else(|| format!("Content-Length {digits:?}"))
            }
            (None, None) => Ok(None),
        }
    }

    /// A request's body.
    pub(crate) fn request_framing(&self) -> Parsed<Framing> {
        Ok(self.declared()?.unwrap_or(Framing::Length(0)))
    }

    /// A response's body.
    pub(crate) fn response_framing(&self, head_request: bool) -> Parsed<Framing> {
        let declared = self.declared()?;
        let status = self.status()?;
        let bodiless = status < 200 || status == 204 || status == 304;
        if (status < 200 || status == 204) && declared.is_some() {
            return Err(format!("a framing field in a {status}"));
        }
        if bodiless || head_request {
            return Ok(Framing::Length(0));
        }
        Ok(declared.unwrap_or(Framing::UntilClose))
    }

    /// A response's status.
    pub(crate) fn status(&self) -> Parsed<u16> {
        let words: Vec<&str> = self.line.splitn(3, ' ').collect();
        match words[..] {
            ["HTTP/1.1", code, _] if code.len() == 3 => {
                code.parse().ok().filter(|code| (100..600).contains(code))
            }
            _ => None,
        }
        .ok_or_else(|| format!("no status line: {:?}", self.line))
    }

    /// A request's method, target and version.
    pub(crate) fn request_line(&self) -> Parsed<(&str, &str, &str)> {
        let words: Vec<&str> = self.line.split(' ').collect();
        match words[..] {
            [method, target, version @ ("HTTP/1.1" | "HTTP/1.0")] if !target.is_empty() => {
                Ok((method, target, version))
            }
            _ => Err(format!("no request line: {:?}", self.line)),
        }
    }
}
