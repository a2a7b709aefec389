//! How a case file is written.
//!
//! ```text
//! # what the file is about
//! === config
//! what stands inside `http { }`: @PORT0@ … are the proxy's ports, @UP@ and @UP2@ upstreams, @DEAD@ is nobody's address,
//! @TLS@ where the certificates are
//! === file html/index.html
//! a file in the proxy's directory, @DIR@
//! === link html/l
//! a symbolic link there, and what it says: @DIR@ is the proxy's directory
//! === case its name
//! # a comment
//! --- request            what the client sends, and then reads one reply for
//! --- request replies=2  a pipeline; `interim` reads a 100, `abort` leaves once the upstream has the request,
//!                        `half` closes its side, `new` takes a new connection, `port=1` goes to @PORT1@
//! --- reply              what the upstream answers; one section for each request that reaches it, the last one repeats
//! --- reply then=close   closes afterwards; `silent` never ends, `early` does not wait for the request's body
//! --- differs            why nginx is not asked about this case
//! --- client             what the client got, bodies without framing
//! --- upstream           what the upstream got
//! --- access             the new lines of @DIR@/access.log
//! --- error              the new lines of the error log, without time and numbers
//! ```
//! Requests, replies and what came of them are written as [`super::bytes`] says.

/// A file of cases.
#[derive(Debug, Default)]
pub(super) struct File {
    /// The comment at the top.
    pub(super) about: String,
    /// What stands in `http`.
    pub(super) config: String,
    /// Names and contents.
    pub(super) files: Vec<(String, String)>,
    /// Names of symbolic links and what they say.
    pub(super) links: Vec<(String, String)>,
    pub(super) cases: Vec<Case>,
}

/// One case.
#[derive(Debug, Default)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) comment: String,
    pub(super) requests: Vec<Section>,
    pub(super) replies: Vec<Section>,
    pub(super) differs: Option<String>,
    pub(super) client: String,
    pub(super) upstream: String,
    pub(super) access: Option<String>,
    pub(super) error: Option<String>,
}

/// A section that may come more than once.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    /// The words behind its name.
    pub(super) options: String,
    pub(super) lines: String,
}

impl Section {
    /// Whether the option is given.
    pub(super) fn has(&self, option: &str) -> bool {
        self.options.split_whitespace().any(|word| word == option)
    }

    /// The value of an option.
    pub(super) fn value(&self, option: &str) -> Option<&str> {
        self.options
            .split_whitespace()
            .find_map(|word| word.strip_prefix(option).and_then(|rest| rest.strip_prefix('=')))
    }
}

impl File {
    /// Reads a file.
    pub(super) fn parse(text: &str) -> Self {
        let mut parts = text.strip_suffix('\n').unwrap_or(text).split("\n=== ");
        let mut file = Self { about: parts.next().unwrap().to_owned() + "\n", ..Self::default() };
        for part in parts {
            let (title, body) = part.split_once('\n').unwrap_or((part, ""));
            match title.split_once(' ').unwrap_or((title, "")) {
                ("config", _) => file.config = body.to_owned(),
                ("file", name) => file.files.push((name.to_owned(), body.to_owned())),
                ("link", name) => file.links.push((name.to_owned(), body.to_owned())),
                ("case", name) => file.cases.push(Case::parse(name, body)),
                (other, _) => panic!("=== {other}"),
            }
        }
        file
    }

    /// Writes it back.
    pub(super) fn text(&self) -> String {
        let mut text = self.about.trim_end().to_owned() + "\n=== config\n" + self.config.trim_end() + "\n";
        for (name, content) in &self.files {
            text += &format!("=== file {name}\n{}\n", content.trim_end());
        }
        for (name, target) in &self.links {
            text += &format!("=== link {name}\n{}\n", target.trim_end());
        }
        for case in &self.cases {
            text += &case.text();
        }
        text
    }
}

impl Case {
    fn parse(name: &str, body: &str) -> Self {
        let body = format!("\n{body}");
        let mut parts = body.split("\n--- ");
        let comment = parts.next().unwrap().trim().to_owned();
        let mut case = Self { name: name.to_owned(), comment, ..Self::default() };
        for part in parts {
            let (title, lines) = part.split_once('\n').unwrap_or((part, ""));
            let (kind, options) = title.split_once(' ').unwrap_or((title, ""));
            // The split has taken the last line's end.
            let lines = if part.contains('\n') { format!("{lines}\n") } else { String::new() };
            match kind {
                "request" => case.requests.push(Section { options: options.to_owned(), lines }),
                "reply" => case.replies.push(Section { options: options.to_owned(), lines }),
                "differs" => case.differs = Some(lines),
                "client" => case.client = lines,
                "upstream" => case.upstream = lines,
                "access" => case.access = Some(lines),
                "error" => case.error = Some(lines),
                other => panic!("--- {other}"),
            }
        }
        case
    }

    fn text(&self) -> String {
        let mut text = format!("=== case {}\n", self.name);
        if !self.comment.is_empty() {
            text += &format!("{}\n", self.comment);
        }
        let mut section = |name: &str, lines: &str| text += &format!("--- {name}\n{lines}");
        for request in &self.requests {
            section(format!("request {}", request.options).trim_end(), &request.lines);
        }
        for reply in &self.replies {
            section(format!("reply {}", reply.options).trim_end(), &reply.lines);
        }
        if let Some(differs) = &self.differs {
            section("differs", differs);
        }
        section("client", &self.client);
        section("upstream", &self.upstream);
        for (name, lines) in [("access", &self.access), ("error", &self.error)] {
            if let Some(lines) = lines {
                section(name, lines);
            }
        }
        text
    }
}
