//! What the command line asks for.
//!
//! Two languages share one command line. Where the first argument is a bare word, it is a subcommand of ours and its
//! options are read by [`lexopt`]. Everything else is nginx's own language, read as nginx reads it: letters may be
//! joined (`-tq`), a value may follow at once or as the next argument (`-cFILE`, `-c FILE`), and a value ends its word.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::explain::ask::Ask;
use crate::upstream;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run with a configuration file.
    Serve(Options),
    /// `-t`, `-T`: check the configuration; `dump` prints its files too.
    Test {
        /// The configuration.
        options: Options,
        /// `-T`
        dump: bool,
        /// `-v`, `-V` or `-h` beside it: said first.
        version: Option<Version>,
    },
    /// `-s`: signal the running process.
    Signal(Options, Signal),
    /// `-v`, `-V`, `-h`, `-?`, each adding to the one before.
    Version(Version),
    /// `ringgate demo`
    Demo {
        /// `--listen`
        listen: Vec<String>,
        /// `--print-config`
        print_config: bool,
    },
    /// `ringgate proxy`
    Proxy {
        /// `--listen`
        listen: Vec<String>,
        /// `--to`, in their order.
        to: Vec<String>,
        /// `--print-config`
        print_config: bool,
    },
    /// `ringgate lint`
    Lint {
        /// The configuration.
        options: Options,
        /// `--json`
        json: bool,
    },
    /// `ringgate explain`
    Explain {
        /// The configuration.
        options: Options,
        /// The request.
        ask: Ask,
        /// `--json`
        json: bool,
    },
    /// `ringgate upstream`
    Upstream(upstream::Request),
    /// `ringgate help`
    Help,
}

/// nginx's options that say where the configuration is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-p`
    pub prefix: Option<PathBuf>,
    /// `-c`
    pub conf: Option<PathBuf>,
    /// `-e`
    pub error_log: Option<PathBuf>,
    /// `-g`
    pub globals: Option<OsString>,
    /// `-q`
    pub quiet: bool,
}

/// How much to print about ourselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// `-h`, `-?`
    pub help: bool,
    /// `-V`
    pub configure: bool,
}

/// The values of `-s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Exit at once.
    Stop,
    /// Finish what is in flight, then exit.
    Quit,
    /// Open the log files again.
    Reopen,
    /// Read the configuration again.
    Reload,
}

impl Signal {
    fn parse(name: &[u8]) -> Option<Self> {
        match name {
            b"stop" => Some(Self::Stop),
            b"quit" => Some(Self::Quit),
            b"reopen" => Some(Self::Reopen),
            b"reload" => Some(Self::Reload),
            _ => None,
        }
    }
}

/// Reads the arguments behind the program's name.
///
/// # Errors
/// The words to print after `nginx: `.
pub fn parse(args: &[OsString]) -> Result<Action, String> {
    match args.first() {
        // Not nginx's, but the first thing that people try.
        Some(first) if first == "--help" => Ok(Action::Help),
        Some(first) if first == "--version" => Ok(Action::Version(Version::default())),
        Some(first) if first.as_bytes().first().is_some_and(|byte| *byte != b'-') => {
            subcommand(first, args.get(1..).unwrap_or_default())
        }
        _ => nginx(args),
    }
}

/// What nginx's flags have asked for so far.
#[derive(Default)]
struct Flags {
    options: Options,
    version: Option<Version>,
    test: bool,
    dump: bool,
    signal: Option<Signal>,
}

fn nginx(args: &[OsString]) -> Result<Action, String> {
    let mut flags = Flags::default();
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        let Some(letters) = word.as_bytes().strip_prefix(b"-") else {
            return Err(invalid(word));
        };
        flags.word(letters, &mut rest)?;
    }
    // nginx's own order: a test comes before a signal, and a question about itself ends only a run without a test.
    Ok(match flags {
        Flags { test: true, dump, options, version, .. } => Action::Test { options, dump, version },
        Flags { version: Some(version), .. } => Action::Version(version),
        Flags { signal: Some(signal), options, .. } => Action::Signal(options, signal),
        Flags { options, .. } => Action::Serve(options),
    })
}

impl Flags {
    /// The letters of one word; `rest` gives the value of a letter that has none in its own word.
    fn word<'a>(
        &mut self,
        mut letters: &'a [u8],
        rest: &mut impl Iterator<Item = &'a OsString>,
    ) -> Result<(), String> {
        while let Some((&letter, behind)) = letters.split_first() {
            letters = behind;
            if let Some(what) = wants(letter) {
                let value =
                    if behind.is_empty() { rest.next().map(|next| next.as_bytes()) } else { Some(behind) };
                let missing = || format!("option \"-{}\" requires {what}", char::from(letter));
                return self.value(letter, value.ok_or_else(missing)?);
            }
            self.letter(letter)?;
        }
        Ok(())
    }

    fn letter(&mut self, letter: u8) -> Result<(), String> {
        match letter {
            b'?' | b'h' => self.version.get_or_insert_default().help = true,
            b'v' => _ = self.version.get_or_insert_default(),
            b'V' => self.version.get_or_insert_default().configure = true,
            b't' => self.test = true,
            b'T' => (self.test, self.dump) = (true, true),
            b'q' => self.options.quiet = true,
            _ => return Err(format!("invalid option: \"{}\"", char::from(letter))),
        }
        Ok(())
    }

    fn value(&mut self, letter: u8, value: &[u8]) -> Result<(), String> {
        let text = OsString::from_vec(value.to_vec());
        match letter {
            b'p' => self.options.prefix = Some(text.into()),
            b'e' => self.options.error_log = Some(text.into()),
            b'c' => self.options.conf = Some(text.into()),
            b'g' => self.options.globals = Some(text),
            _ => {
                let signal = Signal::parse(value);
                let wrong = || format!("invalid option: \"-s {}\"", String::from_utf8_lossy(value));
                self.signal = Some(signal.ok_or_else(wrong)?);
            }
        }
        Ok(())
    }
}

/// nginx's word for the value that a letter wants.
fn wants(letter: u8) -> Option<&'static str> {
    match letter {
        b'p' => Some("directory name"),
        b'e' | b'c' => Some("file name"),
        b'g' | b's' => Some("parameter"),
        _ => None,
    }
}

fn invalid(word: &OsStr) -> String {
    format!("invalid option: \"{}\"", word.to_string_lossy())
}

fn subcommand(name: &OsStr, args: &[OsString]) -> Result<Action, String> {
    let (mut listen, mut to, mut print_config) = (Vec::new(), Vec::new(), false);
    let known = ["demo", "proxy", "lint", "explain", "upstream", "help"];
    let Some(name) = known.into_iter().find(|known| name == *known) else {
        return Err(format!("{}; \"ringgate help\" lists the subcommands", invalid(name)));
    };
    if name == "lint" {
        return lint(args);
    }
    if name == "explain" {
        return explain(args);
    }
    if name == "upstream" {
        return Ok(upstream::parse(args)?.map_or(Action::Help, Action::Upstream));
    }
    let mut parser = lexopt::Parser::from_args(args);
    let text = |value: Result<OsString, lexopt::Error>| {
        let value = value.map_err(|error| error.to_string())?;
        value.into_string().map_err(|value| format!("\"{}\" is no address", value.to_string_lossy()))
    };
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            lexopt::Arg::Long("listen") if name != "help" => listen.push(text(parser.value())?),
            lexopt::Arg::Long("to") if name == "proxy" => to.push(text(parser.value())?),
            lexopt::Arg::Long("print-config") if name != "help" => print_config = true,
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(Action::Help),
            lexopt::Arg::Long(_) | lexopt::Arg::Short(_) | lexopt::Arg::Value(_) => {
                return Err(format!("{name}: {}", argument.unexpected()));
            }
        }
    }
    Ok(match name {
        "demo" => Action::Demo { listen, print_config },
        "proxy" if to.is_empty() => return Err("proxy: at least one --to ADDRESS is needed".into()),
        "proxy" => Action::Proxy { listen, to, print_config },
        _ => Action::Help,
    })
}

fn lint(args: &[OsString]) -> Result<Action, String> {
    let mut parser = lexopt::Parser::from_args(args);
    let (mut options, mut json) = (Options::default(), false);
    let words = |error: lexopt::Error| format!("lint: {error}");
    while let Some(argument) = parser.next().map_err(words)? {
        match argument {
            lexopt::Arg::Short('c') => options.conf = Some(parser.value().map_err(words)?.into()),
            lexopt::Arg::Short('p') => options.prefix = Some(parser.value().map_err(words)?.into()),
            lexopt::Arg::Short('g') => options.globals = Some(parser.value().map_err(words)?),
            lexopt::Arg::Long("json") => json = true,
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(Action::Help),
            lexopt::Arg::Long(_) | lexopt::Arg::Short(_) | lexopt::Arg::Value(_) => {
                return Err(words(argument.unexpected()));
            }
        }
    }
    Ok(Action::Lint { options, json })
}

fn explain(args: &[OsString]) -> Result<Action, String> {
    let mut parser = lexopt::Parser::from_args(args);
    let (mut options, mut json) = (Options::default(), false);
    let mut ask = Ask { answer: 200, ..Ask::default() };
    let mut words = Vec::new();
    let failed = |error: lexopt::Error| format!("explain: {error}");
    let text = |value: OsString| value.to_string_lossy().into_owned();
    while let Some(argument) = parser.next().map_err(failed)? {
        match argument {
            lexopt::Arg::Short('c') => options.conf = Some(parser.value().map_err(failed)?.into()),
            lexopt::Arg::Short('p') => options.prefix = Some(parser.value().map_err(failed)?.into()),
            lexopt::Arg::Short('g') => options.globals = Some(parser.value().map_err(failed)?),
            lexopt::Arg::Short('H') => ask.headers.push(text(parser.value().map_err(failed)?)),
            lexopt::Arg::Long("from") => {
                let address = text(parser.value().map_err(failed)?);
                ask.from = Some(Ask::address(&address).map_err(|error| format!("explain: {error}"))?);
            }
            lexopt::Arg::Long("data") => ask.data = Some(text(parser.value().map_err(failed)?)),
            lexopt::Arg::Long("answer") => {
                let status = text(parser.value().map_err(failed)?);
                let known = status.parse().ok().filter(|status| (200..600).contains(status));
                ask.answer = known.ok_or_else(|| format!("explain: \"{status}\" is no status"))?;
            }
            lexopt::Arg::Long("json") => json = true,
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(Action::Help),
            lexopt::Arg::Value(word) => words.push(text(word)),
            lexopt::Arg::Long(_) | lexopt::Arg::Short(_) => return Err(failed(argument.unexpected())),
        }
    }
    match <[String; 2]>::try_from(words) {
        Ok([method, url]) => Ok(Action::Explain { options, ask: Ask { method, url, ..ask }, json }),
        Err(_) => {
            Err("explain: a method and a URL are needed: ringgate explain GET http://example.com/".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str]) -> Result<Action, String> {
        parse(&line.iter().map(OsString::from).collect::<Vec<_>>())
    }

    fn options(set: impl FnOnce(&mut Options)) -> Options {
        let mut options = Options::default();
        set(&mut options);
        options
    }

    #[test]
    fn flags_are_read_as_nginx_reads_them() {
        let conf = |name: &str| options(|o| o.conf = Some(name.into()));
        let quiet = options(|o| o.quiet = true);
        let test = |options, dump, version| Action::Test { options, dump, version };
        let table: &[(&[&str], Action)] = &[
            (&[], Action::Serve(Options::default())),
            (&["-"], Action::Serve(Options::default())),
            (&["-c", "a.conf"], Action::Serve(conf("a.conf"))),
            (&["-ca.conf"], Action::Serve(conf("a.conf"))),
            (&["-g", ""], Action::Serve(options(|o| o.globals = Some("".into())))),
            (&["-c", "-t"], Action::Serve(conf("-t"))),
            (&["-tq"], test(quiet.clone(), false, None)),
            (&["-q", "-T"], test(quiet, true, None)),
            (&["-tca.conf"], test(conf("a.conf"), false, None)),
            (&["-tc", "a.conf"], test(conf("a.conf"), false, None)),
            (&["-t", "-s", "stop", "-v"], test(Options::default(), false, Some(Version::default()))),
            (&["-s", "stop"], Action::Signal(Options::default(), Signal::Stop)),
            (&["-squit"], Action::Signal(Options::default(), Signal::Quit)),
            (&["-sreload", "-ca.conf"], Action::Signal(conf("a.conf"), Signal::Reload)),
            (&["-c", "x", "-s", "reopen"], Action::Signal(conf("x"), Signal::Reopen)),
            (&["-v"], Action::Version(Version::default())),
            (&["-V"], Action::Version(Version { configure: true, help: false })),
            (&["-h?"], Action::Version(Version { configure: false, help: true })),
            (
                &["-p", "/p", "-e", "stderr", "-g", "daemon off;"],
                Action::Serve(options(|o| {
                    o.prefix = Some("/p".into());
                    o.error_log = Some("stderr".into());
                    o.globals = Some("daemon off;".into());
                })),
            ),
        ];
        for (line, expected) in table {
            assert_eq!(read(line).as_ref(), Ok(expected), "{line:?}");
        }
    }

    #[test]
    fn subcommands_are_bare_words() {
        let proxy = Action::Proxy {
            listen: vec![":80".into()],
            to: vec!["a:1".into(), "b:2".into()],
            print_config: true,
        };
        let line = ["proxy", "--listen=:80", "--to", "a:1", "--print-config", "--to", "b:2"];
        assert_eq!(read(&line), Ok(proxy));
        assert_eq!(read(&["demo"]), Ok(Action::Demo { listen: vec![], print_config: false }));
        let lint = Action::Lint { options: options(|o| o.conf = Some("a.conf".into())), json: true };
        assert_eq!(read(&["lint", "-c", "a.conf", "--json"]), Ok(lint));
        assert_eq!(read(&["help"]), Ok(Action::Help));
        assert_eq!(read(&["demo", "--help"]), Ok(Action::Help));
        assert_eq!(read(&["--help"]), Ok(Action::Help));
    }

    #[test]
    fn what_is_wrong_is_said_in_nginxs_words() {
        let table: &[(&[&str], &str)] = &[
            (&["-x"], "invalid option: \"x\""),
            (&["-tz"], "invalid option: \"z\""),
            (&["-t", "foo"], "invalid option: \"foo\""),
            (&["-c"], "option \"-c\" requires file name"),
            (&["-e"], "option \"-e\" requires file name"),
            (&["-p"], "option \"-p\" requires directory name"),
            (&["-g"], "option \"-g\" requires parameter"),
            (&["-s"], "option \"-s\" requires parameter"),
            (&["-s", "foo"], "invalid option: \"-s foo\""),
            (&["foo"], "invalid option: \"foo\"; \"ringgate help\" lists the subcommands"),
            (&["proxy"], "proxy: at least one --to ADDRESS is needed"),
            (&["demo", "--to", "x"], "demo: invalid option '--to'"),
            (&["lint", "x"], "lint: unexpected argument \"x\""),
            (&["proxy", "--to"], "missing argument for option '--to'"),
        ];
        for (line, expected) in table {
            assert_eq!(read(line), Err((*expected).to_owned()), "{line:?}");
        }
    }
}
